//! Any bytes as compressed messages: bounded or an error, and the same however they are cut; and
//! what was deflated inflates to what it was.
#![no_main]

use std::ops::ControlFlow;

use libfuzzer_sys::fuzz_target;
use tidegate::wire::deflate::{Deflater, Inflater};
use tidegate::wire::frame::{Data, OpCode, encode_frame, payload_start};
use tidegate::wire::message::{Decoded, Decoder, Role};

const MESSAGE_BYTES_MAX: usize = 4_096;

fn decode(bytes: &[u8], piece: usize) -> (Vec<String>, Option<u16>) {
    let decoder = Decoder { role: Role::Server, message_bytes_max: MESSAGE_BYTES_MAX };
    let (mut pending, mut inflater, mut messages) = (None, Inflater::default(), Vec::new());
    for part in bytes.chunks(piece.max(1)) {
        let mut part = part.to_vec();
        let decoded =
            decoder.decode_with(&mut pending, Some(&mut inflater), &mut part, |message| {
                messages.push(format!("{message:?}"));
                ControlFlow::Continue(())
            });
        match decoded {
            Ok(Decoded::Closed) => break,
            Ok(_) => {}
            Err(error) => return (messages, Some(error.close_code())),
        }
    }
    (messages, None)
}

fuzz_target!(|bytes: &[u8]| {
    let Some((cut, bytes)) = bytes.split_first() else {
        return;
    };
    let mut inflater = Inflater::default();
    if let Ok(message) = inflater.inflate(bytes, MESSAGE_BYTES_MAX) {
        assert!(message.len() <= MESSAGE_BYTES_MAX);
    }
    assert_eq!(decode(bytes, bytes.len()), decode(bytes, usize::from(*cut)));
    let mut plain = Vec::new();
    encode_frame(OpCode::Data(Data::Binary), bytes, &mut plain);
    let window_bits = 9 + cut % 7;
    if let Some(frame) = Deflater::new(u32::from(cut % 9) + 1, window_bits).deflate_frame(&plain) {
        let start = payload_start(&frame);
        assert_eq!(inflater.inflate(&frame[start..], bytes.len()), Ok(bytes));
    }
});
