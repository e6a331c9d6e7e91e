//! `tidegate dispatch`: hands clients the gateways to try, in order, by what each carries.
//!
//! ```text
//! gateways ◄── ask, a thread each ──► what is known ──► orders ──► answers ──► GET /v1/gateways
//!              (ask)                  (roster)          (order)   (answers)    (http)
//! ```
//!
//! It is a process of its own, beside the gateways or before them, and there may be several: they keep
//! nothing and need not know of each other. Clients and operators never share a listener. What is
//! decided, [`order`] and [`roster`] decide, without a clock or I/O. Deliberately absent: who asks
//! (users are not bound to gateways here), and carrying connections, which go to the gateways
//! themselves.

pub mod answers;
pub mod ask;
pub mod board;
mod http;
mod lead;
pub mod load;
pub mod metrics;
pub mod order;
mod reload;
pub mod roster;
pub mod settings;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::Args;
use signal_hook::consts::SIGHUP;
use thiserror::Error;
use tokio::sync::watch;

use crate::base::entropy::SystemEntropy;
use crate::ledger::error::LedgerError;
use crate::ops::cli::ExitStatus;
use crate::ops::http::{HttpError, HttpPlace, HttpServer};
use crate::ops::log;
use crate::ops::problems::Problems;
use crate::ops::reload::ConfigStatus;
use crate::ops::service::{self, LoopWatchdog};
use crate::ops::signals;
use crate::runtime::clock::Clock;
use crate::runtime::fatal::end_process_on_panic;

use answers::Counts;
use board::Looker;
use http::Desk;
use lead::{Asking, Lead, Note};
use reload::{Loaded, Source};
use settings::DispatchSettings;

/// Orders are drawn anew, and silence is noticed, at least so often.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// Connections of operators; more wait.
const OPERATOR_CONNECTIONS_MAX: usize = 64;
/// What came and was not looked at: a report of each gateway, several times over.
const ASKED_WAITING_MAX: usize = 4 * settings::GATEWAYS_MAX;

/// `tidegate dispatch`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(
    after_help = "Clients ask GET /v1/gateways of the file's `listen`; `operator_listen` has /metrics, \
                  /healthz and /readyz. The token of the gateways' operator HTTP is in `token_file` or \
                  in TIDEGATE_DISPATCH_TOKEN. SIGHUP has the file read again. docs/dispatch.md has \
                  every key."
)]
pub struct DispatchArguments {
    /// The dispatcher's file (TOML): where it listens, and the gateways
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Check the file, say everything that is wrong, and exit
    #[arg(long)]
    pub check: bool,
}

/// Why dispatching did not begin.
#[derive(Debug, Error)]
pub enum DispatchError {
    /// The file, or the token.
    #[error(transparent)]
    Settings(#[from] Problems),
    /// The certificates.
    #[error("certificates_file: {0}")]
    Certificates(#[source] LedgerError),
    /// The log.
    #[error(transparent)]
    Log(#[from] log::LogError),
    /// A listener.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The output is gone.
    #[error("the outcome cannot be printed: {0}")]
    Output(#[source] io::Error),
    /// Threads.
    #[error("the threads that ask the gateways cannot be started: {0}; raise the limit on threads")]
    Threads(#[source] io::Error),
    /// Signals.
    #[error(
        "SIGTERM, SIGINT and SIGHUP cannot be watched: {0}; raise the limits on threads and files"
    )]
    Signals(#[source] io::Error),
}

impl DispatchError {
    /// What the process ends with.
    #[must_use]
    pub fn exit_status(&self) -> ExitStatus {
        match self {
            DispatchError::Settings(_) | DispatchError::Certificates(_) => ExitStatus::Settings,
            DispatchError::Http(HttpError::Thread { .. })
            | DispatchError::Threads(_)
            | DispatchError::Signals(_) => ExitStatus::Host,
            DispatchError::Log(_)
            | DispatchError::Output(_)
            | DispatchError::Http(HttpError::Bind { .. } | HttpError::Listener { .. }) => {
                ExitStatus::Failed
            }
        }
    }
}

/// Dispatches until SIGTERM or SIGINT. Sets up the log and the panic hook of the process: to be called
/// once.
///
/// # Errors
/// Why it could not begin; whatever had begun is stopped.
pub fn dispatch(
    arguments: &DispatchArguments,
    environment: &[(OsString, OsString)],
    output: &mut dyn Write,
) -> Result<(), DispatchError> {
    let source = Source { path: arguments.config.clone(), environment: environment.to_vec() };
    let Loaded { settings, agent } = source.load()?;
    if arguments.check {
        let (name, count) = (arguments.config.display(), settings.gateways.len());
        let listen = settings.listen;
        return writeln!(output, "{name}: valid; {count} gateways; listens on {listen}")
            .map_err(DispatchError::Output);
    }
    let log = log::start(settings.log_level, settings.log_format, None)?;
    end_process_on_panic();
    let clock = Clock::start();
    let (sender, notes) = flume::bounded(ASKED_WAITING_MAX);
    let told = sender.clone();
    signals::watch(move |signal| told.try_send(Note::Signal(signal)).is_ok())
        .map_err(DispatchError::Signals)?;
    let is_asked_to_reload = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGHUP, Arc::clone(&is_asked_to_reload))
        .map_err(DispatchError::Signals)?;
    let mut looker = Looker::new(Arc::clone(&settings));
    let board = watch::Sender::new(Arc::new(looker.look(clock.now(), &mut SystemEntropy)));
    let status = Arc::<ConfigStatus>::default();
    let desk = Desk {
        counts: Counts::default(),
        board: board.subscribe(),
        status: Arc::clone(&status),
        clock,
    };
    let servers = Servers::start(&settings, &Arc::new(desk))?;
    let asking = match Asking::start(&settings, &agent, sender) {
        Ok(asking) => asking,
        Err(error) => {
            servers.stop();
            return Err(DispatchError::Threads(error));
        }
    };
    let watchdog = LoopWatchdog::as_asked();
    service::ready(&format!("handing out gateways on {}", servers.clients.local_address()));
    let mut lead = Lead {
        source,
        settings,
        looker,
        board,
        asking,
        status,
        is_asked_to_reload,
        log,
        clock,
        watchdog,
    };
    lead.until_signal(&notes);
    service::stopping("stopping: requests that are under way are answered");
    // Nobody reads any more, and nobody shall wait for that.
    drop(notes);
    servers.stop();
    lead.asking.stop();
    tracing::info!("stopped");
    Ok(())
}

/// Both listeners.
struct Servers {
    clients: HttpServer,
    operators: HttpServer,
}

impl Servers {
    fn start(settings: &DispatchSettings, desk: &Arc<Desk>) -> Result<Servers, HttpError> {
        let DispatchSettings { listen, operator_listen, connections_max, .. } = *settings;
        let place = HttpPlace {
            key: "operator_listen",
            address: operator_listen,
            thread: "operators",
            connections_max: OPERATOR_CONNECTIONS_MAX,
        };
        let operators = HttpServer::start(&place, http::operators(desk))?;
        let place =
            HttpPlace { key: "listen", address: listen, thread: "clients", connections_max };
        let clients = match HttpServer::start(&place, http::clients(desk)) {
            Ok(clients) => clients,
            Err(error) => {
                operators.stop();
                return Err(error);
            }
        };
        tracing::info!(address = %operators.local_address(), "operator HTTP is listening");
        tracing::info!(
            address = %clients.local_address(),
            gateways = settings.gateways.len(),
            "listening for clients that ask for a gateway"
        );
        Ok(Servers { clients, operators })
    }

    fn stop(self) {
        self.clients.stop();
        self.operators.stop();
    }
}
