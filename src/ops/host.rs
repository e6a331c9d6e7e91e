//! Whether this host can run the gateway: said before anything is begun, in plain words.

use std::io;

use thiserror::Error;

use crate::net::probe::{self, Needs, Severity};
use crate::net::{Limit, PlaneSettings};

/// Why the gateway cannot run on this host.
#[derive(Debug, Error)]
pub enum HostError {
    /// The process cannot read or raise its own limits.
    #[error("the limit of open files cannot be read or raised: {0}; is /proc mounted?")]
    Limits(#[source] io::Error),
    /// Something is missing that the gateway cannot do without: what, and the remedy.
    #[error("{0}")]
    Missing(String),
}

/// Raises the soft limit of open files to the hard one; says what applies then.
///
/// # Errors
/// If the system refuses.
pub fn raise_file_limit() -> Result<Limit, HostError> {
    probe::raise_file_limit().map_err(HostError::Limits)
}

/// What will go less well than it could on this host, one or two sentences each.
///
/// # Errors
/// What makes it impossible to run: of several findings the first, which is the worst.
pub fn inspect(shards: u16, plane: &PlaneSettings) -> Result<Vec<String>, HostError> {
    let needs = Needs {
        shards: u32::from(shards),
        rings_per_shard: plane.rings_max,
        slots_per_ring: plane.slots_per_ring,
        sq_entries: plane.sq_entries,
        cq_entries: plane.cq_entries,
    };
    let facts = probe::gather().map_err(HostError::Limits)?;
    let mut warnings = Vec::new();
    for finding in probe::judge(&facts, &needs) {
        match finding.severity {
            Severity::Fatal => return Err(HostError::Missing(finding.text)),
            Severity::Warning => warnings.push(finding.text),
        }
    }
    Ok(warnings)
}
