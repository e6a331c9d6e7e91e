//! What texts of the configuration must be beside texts.

use crate::base::addresses::Network;
use crate::base::limits;
use crate::ledger::error::LedgerError;
use crate::ledger::outbox::settings::OutboxSettings;
use crate::ledger::outbox::sign::SECRET_BYTES_MIN;
use crate::ops::secret::Secret;
use crate::wire::close::Moving;

/// Bytes of an operator's token at least.
const OPERATOR_TOKEN_BYTES_MIN: usize = 16;

/// The numbers in a list such as `1,7`.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn kinds(text: &str) -> Result<Vec<u32>, String> {
    let number = |word: &str| {
        let word = word.trim();
        let number = word.parse().ok().filter(|kind| *kind > 0);
        number.ok_or_else(|| format!("`{word}` is no kind; kinds are numbers from 1 on"))
    };
    text.split(',').map(number).collect()
}

/// The secret of a text that is long enough for HS256.
///
/// # Errors
/// How short it is.
pub fn token_secret(text: &str) -> Result<Secret, String> {
    let least = limits::TOKEN_SECRET_BYTES_MIN;
    if text.len() < least {
        let reason = format!("has {} bytes, HS256 needs at least {least}", text.len());
        return Err(format!("{reason}; `openssl rand -hex 32` makes one"));
    }
    Ok(Secret::new(text.as_bytes().to_vec()))
}

/// Origins are scheme, host and port as browsers write them (RFC 6454 §6.2): no path, and no wildcard
/// but the one that is all of them.
///
/// # Errors
/// Which of them is none.
pub(crate) fn is_origins(text: &str) -> Result<(), String> {
    for origin in comma_separated(text).filter(|origin| *origin != "*") {
        let host = origin.split_once("://").map(|(scheme, host)| (scheme.is_empty(), host));
        let valid = matches!(host, Some((false, host)) if !host.is_empty() && !host.contains(['/', '*', ' ']));
        if !valid {
            let example = "https://quiz.example";
            return Err(format!(
                "`{origin}` is no origin, such as `{example}`: no path, no wildcard but `*` alone"
            ));
        }
    }
    Ok(())
}

pub(super) fn is_networks(text: &str) -> Result<(), String> {
    Network::list(text).map(drop).map_err(|error| error.to_string())
}

/// The parts of a list in one text.
pub(crate) fn comma_separated(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

/// The token of the operator's HTTP.
///
/// # Errors
/// What is wrong with it, without repeating it.
pub(crate) fn operator_token(text: &str) -> Result<Secret, String> {
    let least = OPERATOR_TOKEN_BYTES_MIN;
    if text.len() < least {
        return Err(format!("has {} bytes, fewer than {least}", text.len()));
    }
    // It travels in a header line (RFC 6750 §2.1).
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("may have visible ASCII characters only".to_owned());
    }
    Ok(Secret::new(text.as_bytes().to_vec()))
}

/// The secret of webhooks.
///
/// # Errors
/// How short it is.
pub(crate) fn payout_secret(text: &str) -> Result<Secret, String> {
    let least = SECRET_BYTES_MIN;
    if text.len() < least {
        let reason = format!("has {} bytes, webhooks need at least {least}", text.len());
        return Err(format!("{reason}; `openssl rand -hex 32` makes one"));
    }
    Ok(Secret::new(text.as_bytes().to_vec()))
}

/// Gateways that clients may be sent to when a gateway is drained.
pub(super) fn is_gateways(text: &str) -> Result<(), String> {
    let gateways: Vec<String> = comma_separated(text).map(str::to_owned).collect();
    check_gateways(&gateways)
}

/// The same for a list.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check_gateways(urls: &[String]) -> Result<(), String> {
    let (count, most) = (urls.len(), limits::DRAIN_GATEWAYS_MAX);
    if count > most {
        return Err(format!("{count} gateways: name at most {most}"));
    }
    for url in urls {
        let rest = url.strip_prefix("wss://").or_else(|| url.strip_prefix("ws://"));
        let host = rest.and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or_default();
        if host.is_empty() || !url.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!("`{url}` is no address of a gateway, such as wss://b.example/"));
        }
        // It travels in a close frame.
        let (bytes, most) = (url.len(), Moving::URL_BYTES_MAX);
        if bytes > most {
            return Err(format!("`{url}` has {bytes} bytes, more than {most}"));
        }
    }
    Ok(())
}

/// An address that payouts may be sent to.
pub(super) fn is_payout_url(text: &str) -> Result<(), String> {
    OutboxSettings::new(text, vec![0; SECRET_BYTES_MIN]).check().map_err(|error| match error {
        LedgerError::Settings { what } => what,
        other => other.to_string(),
    })
}
