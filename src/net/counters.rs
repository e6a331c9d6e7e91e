//! What a plane has done, as plain numbers: one writer, read by copying.

/// Counters of one plane since it was made. All only grow, except `slots_used`,
/// `rings`, `listening` and `accept_held`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlaneCounters {
    /// Connections accepted.
    pub accepts: u64,
    /// Accepts that failed.
    pub accept_errors: u64,
    /// Times that accepting paused because the kernel was out of something.
    pub accept_pauses: u64,
    /// Times that the caller held accepting.
    pub accept_holds: u64,
    /// 1 while the caller holds accepting.
    pub accept_held: u64,
    /// 1 while the listener is open.
    pub listening: u64,
    /// Connects begun.
    pub connects: u64,
    /// Connects that failed.
    pub connect_errors: u64,
    /// Receives submitted.
    pub recv_calls: u64,
    /// Bytes received.
    pub recv_bytes: u64,
    /// Receives that found nothing.
    pub recv_again: u64,
    /// Receives that the kernel had no memory for; they are repeated.
    pub recv_no_memory: u64,
    /// Sends submitted.
    pub sends: u64,
    /// Bytes sent.
    pub send_bytes: u64,
    /// Sends that took a part only.
    pub short_sends: u64,
    /// Sends that took nothing because the socket was full.
    pub blocked_sends: u64,
    /// Sends that the kernel had no memory for.
    pub no_memory_sends: u64,
    /// Sends whose result never came: they are told as failed.
    pub lost_sends: u64,
    /// Polls armed again because they had ended by themselves.
    pub polls_rearmed: u64,
    /// Times that a completion queue was found overflown. The kernel keeps the rest.
    pub cq_overflows: u64,
    /// Completions that the kernel had no memory to keep: all connections of that ring are looked
    /// after.
    pub lost_completions: u64,
    /// Completions of connections that are gone.
    pub stale_completions: u64,
    /// Connections closed.
    pub closes: u64,
    /// Connections closed with a reset.
    pub aborts: u64,
    /// Closes that the kernel refused and that were repeated.
    pub close_retries: u64,
    /// System calls `io_uring_enter`.
    pub enters: u64,
    /// Rings that could not be made; accepting pauses, connecting fails.
    pub ring_errors: u64,
    /// Connections that exist now, those that are being closed included.
    pub slots_used: u64,
    /// Rings that exist now.
    pub rings: u64,
}
