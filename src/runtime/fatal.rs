//! How a process ends that found a fault in itself.
//!
//! A shard that is gone leaves the others waiting for its mail, so a panic in any thread ends the
//! whole process, at once, with a status of its own: a service manager starts it again.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{self, PanicHookInfo};
use std::process;

/// The exit status after a panic (`EX_SOFTWARE` of `sysexits.h`).
pub const PANIC_EXIT_STATUS: i32 = 70;

/// From now on a panic in any thread is logged and ends the process with [`PANIC_EXIT_STATUS`].
/// Call it once, after the log was set up.
///
/// The hook itself ends the process, before anything unwinds or aborts: so the status is the same
/// in all build profiles, and nobody catches a panic and goes on.
pub fn end_process_on_panic() {
    panic::set_hook(Box::new(|info| {
        log(info);
        process::exit(PANIC_EXIT_STATUS);
    }));
}

fn log(info: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    let message = info.payload_as_str().unwrap_or("a panic without text");
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        tracing::error!(thread, location, %backtrace, "panicked, ending the process: {message}");
    } else {
        tracing::error!(thread, location, "panicked, ending the process: {message}");
    }
}
