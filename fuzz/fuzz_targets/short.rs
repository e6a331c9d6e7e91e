//! Any bytes as a short request: read whole, or refused; what stands behind one changes nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::base::limits::SHORT_BODY_BYTES_MAX;
use tidegate::wire::codec::Encoding;
use tidegate::wire::proto::Answer;
use tidegate::wire::short::{Short, is_short, parse};

fuzz_target!(|bytes: &[u8]| {
    let _ = is_short(bytes);
    match parse(bytes) {
        Short::Complete(request) => {
            assert!(request.consumed <= bytes.len() && request.body.len() <= SHORT_BODY_BYTES_MAX);
            let again = parse(&bytes[..request.consumed]);
            assert!(matches!(again, Short::Complete(same) if same.consumed == request.consumed));
            for encoding in Encoding::ALL {
                let _ = request.message::<Answer>(encoding);
            }
        }
        Short::Broken(error) => assert!(error.status() >= 400),
        Short::Incomplete { .. } => assert!(bytes.len() <= 8_192 + SHORT_BODY_BYTES_MAX),
    }
});
