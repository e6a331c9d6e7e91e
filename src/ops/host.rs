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
pub fn inspect(
    shards: u16,
    plane: &PlaneSettings,
    connections_max: u32,
) -> Result<Vec<String>, HostError> {
    let needs = Needs {
        shards: u32::from(shards),
        rings_per_shard: plane.rings_max,
        slots_per_ring: plane.slots_per_ring,
        sq_entries: plane.sq_entries,
        cq_entries: plane.cq_entries,
    };
    let facts = probe::gather().map_err(HostError::Limits)?;
    let mut warnings = Vec::from_iter(out_of_reach(shards, plane, connections_max));
    for finding in probe::judge(&facts, &needs) {
        match finding.severity {
            Severity::Fatal => return Err(HostError::Missing(finding.text)),
            Severity::Warning => warnings.push(finding.text),
        }
    }
    Ok(warnings)
}

/// What keeps the gateway from holding as many connections as it is told.
fn out_of_reach(shards: u16, plane: &PlaneSettings, connections_max: u32) -> Option<String> {
    let PlaneSettings { slots_per_ring: slots, rings_max: rings, .. } = plane;
    let reach = u64::from(shards) * u64::from(*rings) * u64::from(*slots);
    (reach < u64::from(connections_max)).then(|| {
        format!(
            "limits.connections_max is {connections_max}, but {shards} shards with {rings} rings of \
             {slots} slots hold {reach}: raise RLIMIT_NOFILE (`LimitNOFILE=`, `ulimit -n`) or \
             net.slots_per_ring where rings are small, or net.rings_max."
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_that_no_ring_can_hold_are_told_at_start() {
        let plane = |slots_per_ring, rings_max| PlaneSettings {
            slots_per_ring,
            rings_max,
            ..PlaneSettings::default()
        };
        assert_eq!(out_of_reach(2, &plane(16_384, 31), 1_000_000), None);
        assert_eq!(out_of_reach(1, &plane(100, 1), 100), None);
        let text = out_of_reach(2, &plane(1_024, 64), 1_000_000).expect("a warning");
        assert!(text.contains("hold 131072") && text.contains("RLIMIT_NOFILE"), "{text}");
    }
}
