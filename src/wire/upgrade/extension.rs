//! `permessage-deflate` in the upgrade, RFC 7692 §7.1: which offer is taken, and the answer.

use super::Headers;
use crate::wire::deflate::WINDOW_BITS_DEFAULT;

const NAME: &str = "permessage-deflate";

/// What was agreed on: no context takeover on either side, always.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeflateTerms {
    /// The window that the server may use, in bits, 8 to 15.
    pub window_bits: u8,
    /// Whether the offer named it, so that the response has to.
    names_window: bool,
}

impl DeflateTerms {
    /// The first offer that is well-formed: every such offer can be kept, because a server is free
    /// to send a message uncompressed, and a client's window is never larger than ours.
    pub(super) fn negotiate(headers: &Headers<'_>) -> Option<DeflateTerms> {
        headers.list("sec-websocket-extensions").find_map(read_offer)
    }

    /// The value of the response's header.
    pub(super) fn response(self) -> String {
        let mut value = format!("{NAME}; server_no_context_takeover; client_no_context_takeover");
        if self.names_window {
            value.push_str(&format!("; server_max_window_bits={}", self.window_bits));
        }
        value
    }
}

/// One offer, if it is one of this extension and says nothing that RFC 7692 does not know: such
/// offers are to be declined.
fn read_offer(offer: &str) -> Option<DeflateTerms> {
    let mut parts = offer.split(';').map(str::trim_ascii);
    if parts.next() != Some(NAME) {
        return None;
    }
    let mut terms = DeflateTerms { window_bits: WINDOW_BITS_DEFAULT, names_window: false };
    let mut seen = [false; 4];
    for part in parts {
        let (name, value) = match part.split_once('=') {
            Some((name, value)) => (name.trim_ascii(), Some(unquoted(value.trim_ascii()))),
            None => (part, None),
        };
        let place = match (name, value) {
            ("server_no_context_takeover", None) => 0,
            ("client_no_context_takeover", None) => 1,
            ("server_max_window_bits", Some(value)) => {
                terms = DeflateTerms { window_bits: window_bits(value)?, names_window: true };
                2
            }
            ("client_max_window_bits", value) => {
                value.map_or(Some(WINDOW_BITS_DEFAULT), window_bits)?;
                3
            }
            _ => return None,
        };
        if std::mem::replace(&mut seen[place], true) {
            return None;
        }
    }
    Some(terms)
}

fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
}

/// 8 to 15, in decimal without leading zeros (RFC 7692 §7.1.2).
fn window_bits(value: &str) -> Option<u8> {
    let bits = value.parse().ok().filter(|bits| (8..=15).contains(bits));
    bits.filter(|_| !value.starts_with(['0', '+']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use httparse::Header;

    #[test]
    fn the_first_well_formed_offer_is_taken() {
        for (value, expected) in [
            ("", None),
            ("x-webkit-deflate-frame", None),
            ("permessage-deflate", Some("")),
            ("permessage-deflate; client_max_window_bits", Some("")),
            ("permessage-deflate;client_max_window_bits=9 ; server_no_context_takeover", Some("")),
            ("permessage-deflate; server_max_window_bits=10", Some("10")),
            ("permessage-deflate; server_max_window_bits=\"15\"", Some("15")),
            ("permessage-deflate; server_max_window_bits=8", Some("8")),
            ("permessage-deflate; server_max_window_bits", None),
            ("permessage-deflate; server_max_window_bits=7", None),
            ("permessage-deflate; server_max_window_bits=16", None),
            ("permessage-deflate; server_max_window_bits=09", None),
            ("permessage-deflate; client_max_window_bits=zwölf", None),
            ("permessage-deflate; server_no_context_takeover=1", None),
            ("permessage-deflate; server_no_context_takeover; server_no_context_takeover", None),
            ("permessage-deflate; something_new", None),
            ("permessage-deflate; something_new, permessage-deflate", Some("")),
            (
                "other; x=1, permessage-deflate; server_max_window_bits=9, permessage-deflate",
                Some("9"),
            ),
        ] {
            let headers = [Header { name: "Sec-WebSocket-Extensions", value: value.as_bytes() }];
            let answer = DeflateTerms::negotiate(&Headers(&headers)).map(DeflateTerms::response);
            let expected = expected.map(|bits| {
                let named =
                    "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
                if bits.is_empty() {
                    named.to_owned()
                } else {
                    format!("{named}; server_max_window_bits={bits}")
                }
            });
            assert_eq!(answer, expected, "{value}");
        }
    }
}
