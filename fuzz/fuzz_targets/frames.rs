//! Any bytes as WebSocket frames: the same messages and the same end however they are cut.
#![no_main]

use std::ops::ControlFlow;

use libfuzzer_sys::fuzz_target;
use tidegate::wire::message::{Decoder, Pending, Role};

const MESSAGE_BYTES_MAX: usize = 4_096;

fn decode(bytes: &[u8], piece: usize) -> (Vec<String>, Option<u16>) {
    let decoder = Decoder { role: Role::Server, message_bytes_max: MESSAGE_BYTES_MAX };
    let mut pending: Option<Box<Pending>> = None;
    let mut messages = Vec::new();
    for part in bytes.chunks(piece.max(1)) {
        let mut part = part.to_vec();
        let decoded = decoder.decode(&mut pending, &mut part, |message| {
            messages.push(format!("{message:?}"));
            ControlFlow::Continue(())
        });
        match decoded {
            Ok(tidegate::wire::message::Decoded::Closed) => break,
            Ok(_) => {}
            Err(error) => return (messages, Some(error.close_code())),
        }
        let memory = pending.as_ref().map_or(0, |pending| pending.memory_bytes());
        assert!(memory <= 4 * MESSAGE_BYTES_MAX, "{memory} bytes are kept");
    }
    (messages, None)
}

fuzz_target!(|bytes: &[u8]| {
    let Some((cut, bytes)) = bytes.split_first() else {
        return;
    };
    let whole = decode(bytes, bytes.len());
    assert_eq!(whole, decode(bytes, usize::from(*cut)));
});
