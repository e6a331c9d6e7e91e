//! Any text as a client's JSON frame: an error, or a frame that can be encoded and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::wire::codec::{Encoding, decode_client};
use tidegate::wire::message::Message;

fuzz_target!(|text: &str| {
    if let Ok(frame) = decode_client(Encoding::Json, &Message::Text(text)) {
        let mut bytes = Vec::new();
        tidegate::wire::codec::encode_client(Encoding::Json, &frame, [1, 2, 3, 4], &mut bytes);
        assert!(!bytes.is_empty());
    }
});
