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

/// Says what is wrong and ends the process with [`PANIC_EXIT_STATUS`], for a fault of our own that
/// no thread can unwind from.
pub fn end_process(reason: &str) -> ! {
    tracing::error!("ending the process: {reason}");
    process::exit(PANIC_EXIT_STATUS);
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    const CHILD: &str = "TIDEGATE_TEST_PANICS";

    #[test]
    fn a_panic_in_any_thread_ends_the_process_with_a_status_of_its_own() {
        let output = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "runtime::fatal::tests::in_a_child", "--nocapture"])
            .env(CHILD, "1")
            .output()
            .expect("runs");
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(PANIC_EXIT_STATUS), "{text}");
        assert!(text.contains("ending the process: a shard's own bug"), "{text}");
        assert!(text.contains("shard-7") && text.contains("fatal.rs:"), "{text}");
    }

    /// The child of the test above; by itself it does nothing.
    #[test]
    fn in_a_child() {
        if std::env::var_os(CHILD).is_none() {
            return;
        }
        tracing_subscriber::fmt().init();
        end_process_on_panic();
        let shard = std::thread::Builder::new().name("shard-7".to_owned());
        let shard = shard.spawn(|| panic!("a shard's own bug")).expect("a thread");
        let _ = shard.join();
        unreachable!("the process has ended");
    }
}
