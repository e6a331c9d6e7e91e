//! What the edge of a shard has done, as plain numbers.

use super::gate::Refusal;

/// Counts since the shard began; all only grow, except `waiting`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct EdgeCounters {
    /// Connections refused, by [`Refusal`].
    pub(crate) refused: [u64; Refusal::ALL.len()],
    /// Connections that a dry run let in although they were to be refused, by [`Refusal`].
    pub(crate) refused_in_dry_run: [u64; Refusal::ALL.len()],
    /// PROXY headers taken.
    pub(crate) proxy_headers: u64,
    /// Connections closed because their PROXY header was wrong or missing.
    pub(crate) proxy_errors: u64,
    /// Handshakes of TLS done.
    pub(crate) tls_handshakes: u64,
    /// Connections that TLS failed on.
    pub(crate) tls_errors: u64,
    /// Connections closed because header or handshake did not come in time.
    pub(crate) timeouts: u64,
    /// Connections that are not let in yet.
    pub(crate) waiting: u64,
}
