//! Who may use the operator API.
//!
//! Without a token it is for programs on this host only. That the peer's address is a loopback one
//! does not say so by itself: a page in the operator's browser, a name that was made to resolve to
//! this host (DNS rebinding) and a reverse proxy all come from there too.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, FORWARDED, HOST, ORIGIN};
use subtle::ConstantTimeEq;

use crate::base::time::Time;
use crate::ops::http::listener::Peer;
use crate::ops::secret::Secret;

/// Refusals are logged at most this often.
const SAID_EVERY_MS: u64 = 1_000;
/// What reverse proxies add for whom they speak.
const PROXY_HEADERS: [&str; 2] = ["x-forwarded-for", "x-real-ip"];

/// Why somebody may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// A token is set and none came, or another one.
    Token,
    /// No token is set and the peer is on another host.
    Remote,
    /// No token is set and a web page sent this: any page that the operator has open could.
    WebPage,
    /// No token is set and the request is for another host's name.
    Host,
    /// No token is set and a proxy sent this for somebody else.
    Proxy,
}

/// Whether `peer` may use the API. With a token set it is asked of everybody, also on loopback.
pub(super) fn check(token: Option<&Secret>, peer: Peer, headers: &HeaderMap) -> Result<(), Denied> {
    let Some(token) = token else { return check_local(peer, headers) };
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

fn check_local(peer: Peer, headers: &HeaderMap) -> Result<(), Denied> {
    if !peer.0.ip().to_canonical().is_loopback() {
        return Err(Denied::Remote);
    }
    if headers.contains_key(FORWARDED) || PROXY_HEADERS.iter().any(|it| headers.contains_key(*it)) {
        return Err(Denied::Proxy);
    }
    // Browsers send `Origin` with what may change something, and tell of others whose page asks
    // (Fetch Metadata §2.1); `none` is what the operator typed into the address bar.
    let site = headers.get("sec-fetch-site").map(|value| value.as_bytes());
    if headers.contains_key(ORIGIN) || site.is_some_and(|site| site != b"none") {
        return Err(Denied::WebPage);
    }
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next().and_then(|host| host.to_str().ok()), hosts.next()) {
        (Some(host), None) if is_this_host(host) => Ok(()),
        _ => Err(Denied::Host),
    }
}

/// Whether a `Host` (RFC 9110 §7.2) can mean this host only: a loopback address, or the one name
/// that resolves to nothing else (RFC 6761 §6.3).
fn is_this_host(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    let four = name.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback());
    name.eq_ignore_ascii_case("localhost") || four || name == "[::1]"
}

/// Lets a refusal be said once in a while, so that nobody fills the log with them.
#[derive(Debug, Default)]
pub(super) struct Quiet {
    next_at_ms: AtomicU64,
    unsaid: AtomicU64,
}

impl Quiet {
    /// How many were not said since the last one, if this one is to be said.
    pub(super) fn say(&self, now: Time) -> Option<u64> {
        let now_ms = now.as_millis();
        // One thread serves; were there more, a line too many would do no harm.
        if now_ms < self.next_at_ms.load(Ordering::Relaxed) {
            self.unsaid.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        self.next_at_ms.store(now_ms + SAID_EVERY_MS, Ordering::Relaxed);
        Some(self.unsaid.swap(0, Ordering::Relaxed))
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
        let here: &[(HeaderName, &str)] = &[(HOST, "127.0.0.1:8091")];
        for (token, peer, headers, expected) in [
            (None, "127.0.0.1:1", here, Ok(())),
            (None, "127.9.9.9:1", here, Ok(())),
            (None, "[::1]:1", here, Ok(())),
            (None, "[::ffff:127.0.0.1]:1", here, Ok(())),
            (None, "[::ffff:192.0.2.1]:1", here, Err(Denied::Remote)),
            (None, "192.0.2.1:1", here, Err(Denied::Remote)),
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

    #[test]
    fn without_a_token_neither_pages_nor_proxies_nor_other_names_come_in() {
        let peer = Peer("127.0.0.1:1".parse().expect("an address"));
        let ask = |headers: &[(&'static str, &'static str)]| {
            let pairs = headers.iter().map(|(name, value)| {
                (HeaderName::from_static(name), HeaderValue::from_static(value))
            });
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(name, value);
            }
            check(None, peer, &headers)
        };
        for host in ["localhost", "LOCALHOST:8091", "localhost.:1", "127.0.0.1", "127.1.2.3:80"] {
            assert_eq!(ask(&[("host", host)]), Ok(()), "{host}");
        }
        assert_eq!(ask(&[("host", "[::1]:8091")]), Ok(()));
        assert_eq!(ask(&[("host", "[::1]")]), Ok(()));
        // A name that an attacker's DNS made point here.
        for host in [
            "show.example",
            "127.0.0.1.example:8091",
            "localhost.example",
            "192.0.2.1",
            "0.0.0.0",
            "",
            ":8091",
            "[::2]",
        ] {
            assert_eq!(ask(&[("host", host)]), Err(Denied::Host), "{host:?}");
        }
        assert_eq!(ask(&[]), Err(Denied::Host));
        assert_eq!(ask(&[("host", "localhost"), ("host", "x")]), Err(Denied::Host));
        for site in ["cross-site", "same-site", "same-origin"] {
            let asked = ask(&[("host", "localhost"), ("sec-fetch-site", site)]);
            assert_eq!(asked, Err(Denied::WebPage), "{site}");
        }
        assert_eq!(ask(&[("host", "localhost"), ("sec-fetch-site", "none")]), Ok(()));
        let origin = ask(&[("host", "localhost"), ("origin", "https://example.org")]);
        assert_eq!(origin, Err(Denied::WebPage));
        for proxy in ["x-forwarded-for", "forwarded", "x-real-ip"] {
            let asked = ask(&[("host", "localhost"), (proxy, "192.0.2.1")]);
            assert_eq!(asked, Err(Denied::Proxy), "{proxy}");
        }
    }

    #[test]
    fn a_thousand_refusals_are_one_line() {
        let quiet = Quiet::default();
        let said = (0..1_000).filter_map(|_| quiet.say(Time::from_millis(10))).collect::<Vec<_>>();
        assert_eq!(said, [0]);
        assert_eq!(quiet.say(Time::from_millis(1_010)), Some(999));
    }
}
