//! Any bytes as an upgrade request: an answer or a refusal, the same at every cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::wire::codec::Encoding;
use tidegate::wire::upgrade::{Upgrade, accept_response, parse};

fuzz_target!(|bytes: &[u8]| {
    match parse(bytes, Encoding::Proto) {
        Upgrade::Complete { request, consumed } => {
            assert!(consumed <= bytes.len());
            assert!(accept_response(&request).starts_with(b"HTTP/1.1 101 "));
            // What is complete does not become incomplete or another request by bytes behind it.
            let again = parse(&bytes[..consumed], Encoding::Proto);
            assert!(matches!(again, Upgrade::Complete { consumed: same, .. } if same == consumed));
        }
        Upgrade::Rejected { response, .. } => assert!(response.starts_with(b"HTTP/1.1 ")),
        Upgrade::Incomplete => {}
    }
});
