//! How payouts are sent.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ureq::http::Uri;
use zeroize::Zeroizing;

use crate::base::limits::PAYOUT_CONCURRENCY_MAX;
use crate::ledger::error::LedgerError;
use crate::ledger::outbox::sign::SECRET_BYTES_MIN;

/// How payouts are sent.
#[derive(Clone)]
pub struct OutboxSettings {
    /// Where to: `https://…`, or `http://…` to a private address or a name of the operator's.
    pub url: String,
    /// What webhooks are signed with.
    pub secret: Zeroizing<Vec<u8>>,
    /// Certificates to trust in place of the public ones (PEM).
    pub certificates: Option<PathBuf>,
    /// How long one try may take.
    pub timeout: Duration,
    /// Payouts under way at the same time; of one user there is one.
    pub concurrency: u16,
    /// Tries before a payout is a dead letter.
    pub tries_max: u32,
    /// How long to wait after the first failure; twice as long after each further one.
    pub backoff_first: Duration,
    /// The longest wait.
    pub backoff_max: Duration,
}

impl OutboxSettings {
    /// Eight at a time; twenty tries, which with waits from a second to fifteen minutes take some
    /// two to three hours: a balance system may be away for a show's evening.
    #[must_use]
    pub fn new(url: impl Into<String>, secret: Vec<u8>) -> OutboxSettings {
        OutboxSettings {
            url: url.into(),
            secret: Zeroizing::new(secret),
            certificates: None,
            timeout: Duration::from_secs(10),
            concurrency: 8,
            tries_max: 20,
            backoff_first: Duration::from_secs(1),
            backoff_max: Duration::from_secs(900),
        }
    }

    /// Whether they can be used.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> Result<(), LedgerError> {
        check_url(&self.url)?;
        let wrong = |what: String| Err(LedgerError::Settings { what });
        if self.secret.len() < SECRET_BYTES_MIN {
            let bytes = self.secret.len();
            return wrong(format!(
                "the secret has {bytes} bytes, at least {SECRET_BYTES_MIN} are needed; `openssl rand \
                 -hex 32` makes one"
            ));
        }
        if self.concurrency == 0 || self.concurrency > PAYOUT_CONCURRENCY_MAX || self.tries_max == 0
        {
            return wrong(format!(
                "the concurrency is 1 to {PAYOUT_CONCURRENCY_MAX}, and there is at least one try"
            ));
        }
        Ok(())
    }

    /// How long to wait after the `tries`th failure: between half of a doubling wait and all of it, as
    /// `draw` of 0 to 65,535 says; so that many that failed together do not come together again.
    #[must_use]
    pub fn backoff(&self, tries: u32, draw: u16) -> Duration {
        let doublings = tries.saturating_sub(1).min(30);
        let full = self.backoff_first.saturating_mul(1 << doublings).min(self.backoff_max);
        full / 2 + full / 2 * u32::from(draw) / u32::from(u16::MAX)
    }
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            // 100.64.0.0/10 is what carriers and overlays number their insides with (RFC 6598).
            let [first, second, ..] = address.octets();
            address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || first == 100 && (64..128).contains(&second)
        }
        IpAddr::V6(address) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
    }
}

/// Whether secrets may be sent to this address: http within a network, https anywhere.
///
/// # Errors
/// What is wrong with it.
pub fn check_url(url: &str) -> Result<(), LedgerError> {
    let wrong = |what: String| Err(LedgerError::Settings { what });
    let uri: Uri = match url.parse() {
        Ok(uri) => uri,
        Err(error) => return wrong(format!("the URL {url:?} is none: {error}")),
    };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    match (uri.scheme_str(), host.parse()) {
        (Some("http" | "https"), _) if host.is_empty() => {
            return wrong(format!("the URL {url:?} names no host"));
        }
        (Some("https"), _) | (Some("http"), Err(_)) => {}
        (Some("http"), Ok(address)) if is_private(address) => {}
        (Some("http"), Ok(address)) => {
            return wrong(format!(
                "the URL {url:?} goes to {address} through the internet in clear; use https"
            ));
        }
        _ => {
            return wrong(format!("the URL {url:?} begins with neither http nor https"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_work_are_refused() {
        let secret = || vec![7; 32];
        for (url, says) in [
            ("https://pay.example.org/in", ""),
            ("http://127.0.0.1:9/", ""),
            ("http://[::1]:9/", ""),
            ("http://10.1.2.3/in", ""),
            ("http://balance:8080/", ""),
            ("http://8.8.8.8/", "in clear; use https"),
            ("ftp://x/", "begins with neither"),
            ("/in", "begins with neither"),
            ("a b", "is none"),
        ] {
            let said = OutboxSettings::new(url, secret()).check();
            let said = said.err().map(|error| error.to_string()).unwrap_or_default();
            assert!(said.contains(says) && said.is_empty() == says.is_empty(), "{url}: {said}");
        }
        assert!(OutboxSettings::new("https://x/", vec![7; 31]).check().is_err());
        let many =
            OutboxSettings { concurrency: 257, ..OutboxSettings::new("https://x/", secret()) };
        assert!(many.check().is_err());
    }

    #[test]
    fn waits_double_up_to_a_bound_and_differ() {
        let settings = OutboxSettings::new("https://x/", vec![7; 32]);
        let seconds = |tries, draw| settings.backoff(tries, draw).as_secs_f32();
        assert_eq!(
            [1, 2, 5, 11, 99].map(|tries| seconds(tries, u16::MAX)),
            [1., 2., 16., 900., 900.]
        );
        assert_eq!([1, 2, 5].map(|tries| seconds(tries, 0)), [0.5, 1., 8.]);
    }
}
