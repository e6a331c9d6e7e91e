//! Flags that every subject has.

use std::path::PathBuf;

use clap::Args;

use crate::common::pinned;
use crate::common::problem::Problem;

/// Where things run and how the result is printed.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// Cores of the server under test, separated by commas; it gets a shard for each
    #[arg(long, value_name = "CORES", default_value = "0", value_delimiter = ',')]
    pub(crate) server_core: Vec<usize>,
    /// Core of the load
    #[arg(long, value_name = "CORE", default_value_t = 1)]
    pub(crate) client_core: usize,
    /// Interleaved repetitions, of which the median is reported
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) repetitions: Option<u32>,
    /// Port of the server under test; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub(crate) port: u16,
    /// Another tidegate binary to measure, in place of the gateway that is built into this one
    #[arg(long, value_name = "PATH")]
    pub(crate) gateway: Option<PathBuf>,
    /// Print one JSON object as the last line
    #[arg(long)]
    pub(crate) json: bool,
}

impl Options {
    /// Says what is wrong before anything starts, and pins this process to the load's core.
    pub(crate) fn take_effect(&self) -> Result<(), Problem> {
        let cores = pinned::available();
        let wanted = self.server_core.iter().map(|core| ("--server-core", core));
        for (flag, core) in wanted.chain([("--client-core", &self.client_core)]) {
            if !cores.contains(core) {
                return Err(Problem::new(format!(
                    "{flag} {core}: there is no such core for this process; choose from {cores:?}"
                )));
            }
        }
        if let Some(path) = self.gateway.as_ref().filter(|path| !path.is_file()) {
            let path = path.display();
            return Err(Problem::new(format!(
                "--gateway {path}: no such file; build it, or leave it out"
            )));
        }
        if self.port != 0 {
            check_port(self.port)?;
        }
        pinned::pin(&[self.client_core])
    }

    /// Repetitions as asked for, or a subject's own number.
    pub(crate) fn repetitions_or(&self, default: u32) -> u32 {
        self.repetitions.unwrap_or(default)
    }
}

/// A port that somebody listens on is an error, not somebody else's server measured.
fn check_port(port: u16) -> Result<(), Problem> {
    match std::net::TcpListener::bind(("0.0.0.0", port)) {
        Ok(_) => Ok(()),
        Err(error) => Err(Problem::new(format!(
            "--port {port} cannot be used: {error}; stop what listens there, or leave --port out for a free one"
        ))),
    }
}
