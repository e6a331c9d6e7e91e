//! Asking gateways what they carry: a thread for each, so that one that hangs delays no other.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use flume::{Receiver, RecvTimeoutError, Sender};
use thiserror::Error;
use ureq::Agent;
use ureq::tls::TlsConfig;

use crate::base::entropy::{Entropy, SystemEntropy};
use crate::ledger::error::LedgerError;
use crate::ledger::outbox::webhook::root_certificates;
use crate::ops::secret::Secret;

use super::load::GatewayLoad;
use super::settings::DispatchSettings;

/// A report has some hundred bytes; with a shard on each of 256 cores, some thousand.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;
/// Who failed is asked again after this part of the interval, once: so it is soon known whether it is
/// gone.
const AGAIN_PART: u32 = 4;

/// What one ask came to.
pub type Asked = Result<GatewayLoad, AskError>;

/// Why a gateway's load is not known.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AskError {
    /// No answer.
    #[error("{0}")]
    Unreachable(String),
    /// The token.
    #[error(
        "status {0}: the token is refused; set token_file, or {variable}, to what operator.token is there",
        variable = super::settings::TOKEN_VARIABLE
    )]
    Token(u16),
    /// It does not know the question, or cannot answer it.
    #[error("status {0}: is this the operator's HTTP of a gateway that has GET /v1/load?")]
    Status(u16),
    /// What it answers is no report.
    #[error("its answer is no report of a gateway: {0}")]
    Report(String),
}

/// Hears what became of an ask, and says whether anybody still wants to know.
pub type Tell = Arc<dyn Fn(usize, Asked) -> bool + Send + Sync>;

/// All threads that ask.
#[derive(Default)]
pub struct Askers {
    /// Dropped to stop; nothing: they are told already.
    stop: Option<Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

/// One thread.
struct Asker {
    gateway: usize,
    agent: Agent,
    url: String,
    token: Option<Secret>,
    interval: Duration,
    told: Tell,
    stopped: Receiver<()>,
}

/// Makes the client of all gateways.
///
/// # Errors
/// The certificates cannot be read.
pub fn agent(settings: &DispatchSettings) -> Result<Agent, LedgerError> {
    let mut tls = TlsConfig::builder();
    if let Some(path) = &settings.certificates_file {
        tls = tls.root_certs(root_certificates(path)?);
    }
    Ok(Agent::config_builder()
        .http_status_as_error(false)
        // Followed, a redirect would carry the token to somebody else.
        .max_redirects(0)
        .proxy(None)
        .timeout_global(Some(settings.timeout))
        .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")))
        .tls_config(tls.build())
        .build()
        .new_agent())
}

impl Askers {
    /// Begins to ask; what comes of it is told, with the gateway's place.
    ///
    /// # Errors
    /// If the threads cannot be had.
    pub fn start(settings: &DispatchSettings, agent: &Agent, told: &Tell) -> io::Result<Askers> {
        let (stop, stopped) = flume::bounded::<()>(0);
        let mut threads = Vec::new();
        for (gateway, of) in settings.gateways.iter().enumerate() {
            let asker = Asker {
                gateway,
                agent: agent.clone(),
                url: format!("{}/v1/load", of.operator.trim_end_matches('/')),
                token: of.token.clone(),
                interval: settings.interval,
                told: Arc::clone(told),
                stopped: stopped.clone(),
            };
            let name = format!("ask-{gateway}");
            // Those that have begun end when `stop` is dropped.
            threads.push(std::thread::Builder::new().name(name).spawn(move || asker.run())?);
        }
        Ok(Askers { stop: Some(stop), threads })
    }

    /// Begins no more asks, and does not wait: an ask that is under way has its time.
    pub fn let_go(&mut self) {
        self.stop = None;
    }

    /// No ask is under way, and none will be.
    #[must_use]
    pub fn have_ended(&self) -> bool {
        self.stop.is_none() && self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Asks no more, and waits for asks that are under way.
    pub fn stop(mut self) {
        self.let_go();
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a thread that asks a gateway has panicked");
            }
        }
    }
}

impl Asker {
    fn run(self) {
        let mut failures = 0_u32;
        loop {
            let asked = self.ask();
            failures = if asked.is_ok() { 0 } else { failures.saturating_add(1) };
            if !(self.told)(self.gateway, asked) {
                return;
            }
            let wait = if failures == 1 { self.interval / AGAIN_PART } else { self.interval };
            if self.stopped.recv_timeout(jittered(wait)) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    }

    fn ask(&self) -> Asked {
        let mut request = self.agent.get(&self.url);
        if let Some(token) = &self.token {
            let token = String::from_utf8_lossy(token.bytes());
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let mut response =
            request.call().map_err(|error| AskError::Unreachable(error.to_string()))?;
        match response.status().as_u16() {
            200 => {}
            status @ (401 | 403) => return Err(AskError::Token(status)),
            status => return Err(AskError::Status(status)),
        }
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        let body = body.map_err(|error| AskError::Unreachable(error.to_string()))?;
        serde_json::from_slice(&body).map_err(|error| AskError::Report(error.to_string()))
    }
}

/// Up to a tenth less or more, so that dispatchers that began together do not ask together.
fn jittered(time: Duration) -> Duration {
    let percent = 90 + u32::try_from(SystemEntropy.below(21)).unwrap_or(10);
    time * percent / 100
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_spread_over_a_fifth() {
        let waits: Vec<Duration> = (0..200).map(|_| jittered(Duration::from_secs(10))).collect();
        let (least, most) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
        assert!(*least >= Duration::from_secs(9) && *most <= Duration::from_secs(11));
        assert!(most.saturating_sub(*least) > Duration::from_secs(1));
    }

    #[test]
    fn the_errors_say_what_to_do() {
        assert_eq!(
            AskError::Token(401).to_string(),
            "status 401: the token is refused; set token_file, or TIDEGATE_DISPATCH_TOKEN, to what \
             operator.token is there"
        );
    }
}
