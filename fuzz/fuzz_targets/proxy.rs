//! Any bytes as a PROXY header: what is read depends on the bytes alone, not on how they are cut,
//! and what is written again reads the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::wire::proxy::{HEADER_BYTES_MAX, Proxy, header, parse};

fuzz_target!(|bytes: &[u8]| {
    let whole = parse(bytes);
    for length in 0..bytes.len().min(HEADER_BYTES_MAX) {
        match parse(&bytes[..length]) {
            Ok(Proxy::Incomplete) => {}
            // Once it is known it stays so.
            known => return assert_eq!(known, whole),
        }
    }
    if let Ok(Proxy::Header { consumed, client }) = whole {
        assert!(consumed <= bytes.len() && consumed <= HEADER_BYTES_MAX);
        if let Some(client) = client {
            let again = header(client, client);
            let consumed = again.len();
            assert_eq!(parse(&again), Ok(Proxy::Header { consumed, client: Some(client) }));
        }
    }
});
