//! `tidegate serve`: a gateway with its operator's HTTP and its shows, from start to SIGTERM.

use std::ffi::OsString;
use std::io;

use thiserror::Error;

use crate::base::entropy::SystemEntropy;
use crate::ops::cli::{ExitStatus, ServeArguments};
use crate::ops::config::Config;
use crate::ops::gateway_settings::{as_echo, gateway_settings};
use crate::ops::host::{self, HostError};
use crate::ops::log;
use crate::ops::problems::Problems;
use crate::ops::settings::{Settings, SettingsSources};
use crate::ops::signals;
use crate::runtime::clock::Clock;
use crate::runtime::fatal::end_process_on_panic;
use crate::runtime::gateway::{Gateway, StartError};

/// Why serving did not begin.
#[derive(Debug, Error)]
pub enum ServeError {
    /// Files, environment or flags.
    #[error(transparent)]
    Settings(#[from] Problems),
    /// The log.
    #[error(transparent)]
    Log(#[from] log::LogError),
    /// This host.
    #[error(transparent)]
    Host(#[from] HostError),
    /// Listeners or shards.
    #[error(transparent)]
    Gateway(#[from] StartError),
    /// Signals.
    #[error("SIGTERM and SIGINT cannot be watched: {0}; raise the limits on threads and files")]
    Signals(#[source] io::Error),
}

impl ServeError {
    /// What the process ends with.
    #[must_use]
    pub fn exit_status(&self) -> ExitStatus {
        match self {
            ServeError::Settings(_) => ExitStatus::Settings,
            ServeError::Host(_)
            | ServeError::Gateway(StartError::Executor { .. } | StartError::Plane { .. }) => {
                ExitStatus::Host
            }
            ServeError::Log(_) | ServeError::Gateway(_) | ServeError::Signals(_) => {
                ExitStatus::Failed
            }
        }
    }
}

/// Serves until SIGTERM or SIGINT, and until then returns only if it could not begin. Sets up the
/// log and the panic hook of the process: to be called once.
///
/// # Errors
/// Why it could not begin; whatever had begun is stopped.
pub fn serve(
    arguments: &ServeArguments,
    environment: Vec<(OsString, OsString)>,
) -> Result<(), ServeError> {
    let sources = SettingsSources {
        config: arguments.config.clone(),
        shows: arguments.show.clone(),
        environment,
        flags: arguments.flags(),
    };
    let Settings { mut config, shows: _ } = Settings::load(&sources)?;
    log::start(config.log.level, config.log.format, config.log.filter.as_deref())?;
    end_process_on_panic();
    let stop = signals::watch().map_err(ServeError::Signals)?;
    let gateway = start_gateway(&mut config, arguments.echo)?;
    // The watcher lives as long as the process.
    if let Ok(signal) = stop.recv() {
        tracing::info!(signal, "stopping");
    }
    gateway.stop_within(std::time::Duration::from_millis(config.limits.drain_timeout_ms));
    tracing::info!("stopped");
    Ok(())
}

fn start_gateway(config: &mut Config, echo: bool) -> Result<Gateway, ServeError> {
    let files = host::raise_file_limit()?;
    for note in config.make_missing_secrets(&mut SystemEntropy) {
        tracing::warn!("{note}");
    }
    let mut settings = gateway_settings(config, files);
    if settings.plane.slots_per_ring < config.net.slots_per_ring {
        let (slots, files) = (settings.plane.slots_per_ring, files.soft);
        tracing::info!(slots, files, "rings have fewer slots than net.slots_per_ring");
    }
    if echo {
        settings = as_echo(settings);
    }
    for warning in host::inspect(settings.shards, &settings.plane)? {
        tracing::warn!("{warning}");
    }
    let gateway = Gateway::start(&settings, Clock::start())?;
    tracing::info!(
        address = %gateway.local_address(),
        shards = settings.shards,
        echo,
        "listening for clients"
    );
    Ok(gateway)
}
