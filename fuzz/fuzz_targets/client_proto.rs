//! Any bytes as a client's Protobuf frame: an error, or a frame that can be encoded.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::wire::codec::{Encoding, decode_client, encode_client};
use tidegate::wire::message::Message;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(frame) = decode_client(Encoding::Proto, &Message::Binary(bytes)) {
        let mut encoded = Vec::new();
        encode_client(Encoding::Proto, &frame, [1, 2, 3, 4], &mut encoded);
        assert!(!encoded.is_empty());
    }
});
