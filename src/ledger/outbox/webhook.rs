//! One try: the request, and what its answer means.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use zeroize::Zeroizing;

use crate::base::limits::PAYOUT_ANSWER_BYTES_MAX;
use crate::ledger::error::LedgerError;
use crate::ledger::outbox::Payout;
use crate::ledger::outbox::settings::OutboxSettings;
use crate::ledger::outbox::sign::{IDEMPOTENCY_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, sign};

/// The body of a webhook. Ids are text: not every reader of JSON has numbers of 64 bits.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayoutRequest {
    /// `payout`.
    #[serde(rename = "type")]
    pub kind: String,
    /// As in the header.
    pub idempotency_key: String,
    /// Whose balance.
    pub user: String,
    /// Which of this user's withdrawals.
    pub withdrawal: String,
    /// How much.
    pub amount_cents: i64,
    /// When it was requested.
    pub requested_at_unix_ms: i64,
}

/// The body of an answer that counts.
#[derive(Debug, Serialize, Deserialize)]
pub struct PayoutAnswer {
    /// `accepted` or `refused`.
    pub status: String,
    /// As in the request.
    pub idempotency_key: String,
    /// The balance system's own name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Why it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What one try came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was taken.
    Acknowledged {
        /// The balance system's own name for it.
        reference: Option<String>,
    },
    /// It will never be taken.
    Refused {
        /// What was said.
        why: String,
    },
    /// Nobody knows whether it was taken.
    Failed {
        /// What happened.
        why: String,
        /// How long the balance system asks to be left alone.
        after: Option<Duration>,
    },
}

/// The way to the balance system.
#[derive(Clone)]
pub struct Webhook {
    agent: Agent,
    url: String,
    secret: Zeroizing<Vec<u8>>,
}

impl Webhook {
    /// # Errors
    /// The settings cannot be used, or the certificates cannot be read.
    pub fn new(settings: &OutboxSettings) -> Result<Webhook, LedgerError> {
        settings.check()?;
        let mut tls = TlsConfig::builder();
        if let Some(path) = &settings.certificates {
            tls = tls.root_certs(root_certificates(path)?);
        }
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            // Followed, a redirect would carry a signed request to somebody else.
            .max_redirects(0)
            // The balance system is the operator's own: no proxy of the environment stands between.
            .proxy(None)
            .timeout_global(Some(settings.timeout))
            .max_idle_connections_per_host(usize::from(settings.concurrency))
            .max_idle_connections(usize::from(settings.concurrency))
            .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls.build())
            .build()
            .new_agent();
        Ok(Webhook { agent, url: settings.url.clone(), secret: settings.secret.clone() })
    }

    /// Sends a payout once, and waits for what becomes of it.
    #[must_use]
    pub fn send(&self, payout: &Payout, now_unix_ms: i64) -> Answer {
        let key = payout.withdrawal.idempotency_key();
        let request = PayoutRequest {
            kind: "payout".to_owned(),
            idempotency_key: key.clone(),
            user: payout.withdrawal.user.to_string(),
            withdrawal: payout.withdrawal.number.to_string(),
            amount_cents: payout.amount.0,
            requested_at_unix_ms: payout.at_unix_ms,
        };
        let body = match serde_json::to_vec(&request) {
            Ok(body) => body,
            Err(error) => return failed(format!("the request cannot be written: {error}")),
        };
        let timestamp_s = now_unix_ms.div_euclid(1_000);
        let sent = self
            .agent
            .post(&self.url)
            .header("content-type", "application/json")
            .header(IDEMPOTENCY_HEADER, &key)
            .header(TIMESTAMP_HEADER, timestamp_s.to_string())
            .header(SIGNATURE_HEADER, sign(&self.secret, timestamp_s, &body))
            .send(&body[..]);
        let mut response = match sent {
            Ok(response) => response,
            Err(error) => return failed(error.to_string()),
        };
        let after = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
        let after = after.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
        let status = response.status().as_u16();
        let text = response.body_mut().with_config().limit(PAYOUT_ANSWER_BYTES_MAX).read_to_vec();
        match text {
            Ok(text) => judge(status, after, &text, &key),
            // The status alone may say that it is refused, never that it was taken.
            Err(_) if !(200..300).contains(&status) => judge(status, after, b"", &key),
            Err(error) => failed(format!("status {status}, and its answer broke off: {error}")),
        }
    }
}

/// The certificates of a file, as those that servers' are signed by.
///
/// # Errors
/// The file cannot be read, or has none.
pub fn root_certificates(path: &Path) -> Result<RootCerts, LedgerError> {
    let doing = "cannot be read";
    let path = path.to_path_buf();
    let pem = std::fs::read(&path).map_err(|source| LedgerError::File {
        path: path.clone(),
        doing,
        source,
    })?;
    let found: Result<Vec<Certificate<'static>>, _> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(Ok(certificate)),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        })
        .collect();
    let wrong = |what: String| LedgerError::Input { path: path.clone(), line: 1, what };
    let found = found.map_err(|error| wrong(error.to_string()))?;
    if found.is_empty() {
        return Err(wrong("there is no certificate in it".to_owned()));
    }
    Ok(RootCerts::new_with_certs(&found))
}

fn failed(why: String) -> Answer {
    Answer::Failed { why, after: None }
}

/// What an answer means. Only an answer that says so, for this key, is an acknowledgement.
///
/// Statuses that speak of this payout refuse it: 400, 409, 410, 413, 422. Others of 400 to 499
/// speak of the way (a wrong secret, a wrong path, too many at once), which an operator mends while
/// payouts wait.
fn judge(status: u16, after: Option<Duration>, text: &[u8], key: &str) -> Answer {
    let answer: Option<PayoutAnswer> =
        serde_json::from_slice(text).ok().filter(|it: &PayoutAnswer| it.idempotency_key == key);
    let said = |answer: Option<PayoutAnswer>| {
        let reason = answer.and_then(|answer| answer.reason);
        let reason = reason.unwrap_or_else(|| String::from_utf8_lossy(text).trim().to_owned());
        let colon = if reason.is_empty() { "" } else { ": " };
        format!("status {status}{colon}{reason}")
    };
    match (status, answer) {
        (200..=299, Some(answer)) if answer.status == "accepted" => {
            Answer::Acknowledged { reference: answer.reference }
        }
        (200..=299, Some(answer)) if answer.status == "refused" => {
            Answer::Refused { why: said(Some(answer)) }
        }
        (200..=299, _) => failed(format!("{} is no acknowledgement of {key}", said(None))),
        (400 | 409 | 410 | 413 | 422, answer) => Answer::Refused { why: said(answer) },
        (300..=399, _) => failed(format!("status {status}: redirects are not followed")),
        (_, answer) => Answer::Failed { why: said(answer), after },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_acknowledgement_of_this_payout_is_one() {
        let key = "withdrawal:7:1";
        let accepted =
            r#"{"status":"accepted","idempotency_key":"withdrawal:7:1","reference":"B9"}"#;
        let after = Some(Duration::from_secs(7));
        for (status, text, expected) in [
            (200, accepted, "acknowledged B9"),
            (201, &accepted.replace(",\"reference\":\"B9\"", ""), "acknowledged "),
            (200, &accepted.replace("7:1", "7:2"), "failed status 200: {"),
            (200, &accepted.replace("accepted", "ok"), "failed status 200: {"),
            (200, &accepted.replace("accepted", "refused"), "refused status 200: {"),
            (200, "", "failed status 200 is no acknowledgement of withdrawal:7:1"),
            (204, "<html>", "failed status 204: <html> is no acknowledgement"),
            (302, accepted, "failed status 302: redirects are not followed"),
            (
                422,
                r#"{"status":"refused","idempotency_key":"withdrawal:7:1","reason":"closed"}"#,
                "refused status 422: closed",
            ),
            (409, "", "refused status 409"),
            (401, "who?", "failed status 401: who?, again after 7 s"),
            (404, "", "failed status 404, again after 7 s"),
            (429, "slow", "failed status 429: slow, again after 7 s"),
            (500, accepted, "failed status 500: {"),
            (503, "", "failed status 503, again after 7 s"),
        ] {
            let said = match judge(status, after, text.as_bytes(), key) {
                Answer::Acknowledged { reference } => {
                    format!("acknowledged {}", reference.unwrap_or_default())
                }
                Answer::Refused { why } => format!("refused {why}"),
                Answer::Failed { why, after: None } => format!("failed {why}"),
                Answer::Failed { why, after: Some(after) } => {
                    format!("failed {why}, again after {} s", after.as_secs())
                }
            };
            assert!(said.starts_with(expected), "{status} {text}: {said}");
        }
    }
}
