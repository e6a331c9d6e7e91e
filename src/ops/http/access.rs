//! Who may use the operator API.

use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, ORIGIN};
use subtle::ConstantTimeEq;

use crate::ops::http::listener::Peer;
use crate::ops::secret::Secret;

/// Why somebody may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// A token is set and none came, or another one.
    Token,
    /// No token is set and the peer is on another host.
    Remote,
    /// No token is set and a web page sent this: any page that the operator has open could.
    WebPage,
}

/// Whether `peer` may use the API. With a token set it is asked of everybody, also on loopback.
pub(super) fn check(token: Option<&Secret>, peer: Peer, headers: &HeaderMap) -> Result<(), Denied> {
    let Some(token) = token else {
        return match (peer.0.ip().to_canonical().is_loopback(), headers.contains_key(ORIGIN)) {
            (true, false) => Ok(()),
            (true, true) => Err(Denied::WebPage),
            (false, _) => Err(Denied::Remote),
        };
    };
    // RFC 6750 §2.1; the scheme's name is in any case (RFC 9110 §11.1).
    let given = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.as_bytes().split_at_checked("Bearer ".len()))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"Bearer "))
        .map(|(_, given)| given);
    match given {
        Some(given) if bool::from(given.ct_eq(token.bytes())) => Ok(()),
        _ => Err(Denied::Token),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderName, HeaderValue};

    #[test]
    fn who_may() {
        let token = Secret::new(b"sixteen-bytes-or".to_vec());
        let good: &[(HeaderName, &str)] = &[(AUTHORIZATION, "Bearer sixteen-bytes-or")];
        let lower: &[(HeaderName, &str)] = &[(AUTHORIZATION, "bearer sixteen-bytes-or")];
        let wrong: &[(HeaderName, &str)] = &[(AUTHORIZATION, "Bearer sixteen-bytes-ox")];
        let longer: &[(HeaderName, &str)] = &[(AUTHORIZATION, "Bearer sixteen-bytes-or-more")];
        let basic: &[(HeaderName, &str)] = &[(AUTHORIZATION, "Basic sixteen-bytes-or")];
        let short: &[(HeaderName, &str)] = &[(AUTHORIZATION, "Bea")];
        let page: &[(HeaderName, &str)] = &[(ORIGIN, "https://example.org")];
        for (token, peer, headers, expected) in [
            (None, "127.0.0.1:1", &[][..], Ok(())),
            (None, "127.9.9.9:1", &[], Ok(())),
            (None, "[::1]:1", &[], Ok(())),
            (None, "[::ffff:127.0.0.1]:1", &[], Ok(())),
            (None, "[::ffff:192.0.2.1]:1", &[], Err(Denied::Remote)),
            (None, "192.0.2.1:1", &[], Err(Denied::Remote)),
            (None, "127.0.0.1:1", page, Err(Denied::WebPage)),
            (Some(&token), "127.0.0.1:1", &[], Err(Denied::Token)),
            (Some(&token), "192.0.2.1:1", good, Ok(())),
            (Some(&token), "192.0.2.1:1", lower, Ok(())),
            (Some(&token), "192.0.2.1:1", wrong, Err(Denied::Token)),
            (Some(&token), "192.0.2.1:1", longer, Err(Denied::Token)),
            (Some(&token), "192.0.2.1:1", basic, Err(Denied::Token)),
            (Some(&token), "192.0.2.1:1", short, Err(Denied::Token)),
        ] {
            let headers: HeaderMap = headers
                .iter()
                .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)))
                .collect();
            let peer = Peer(peer.parse().expect("an address"));
            assert_eq!(check(token, peer, &headers), expected, "{peer:?} {headers:?}");
        }
    }
}
