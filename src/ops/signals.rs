//! SIGTERM and SIGINT: the first asks for an orderly end, a drain; the second ends at once.

use std::io;
use std::process;
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Watches for both signals from now on. `tell` is told of the first one that comes, and says whether
/// anybody hears it; the next ends the process with 128 + its number, as a shell would report it.
///
/// # Errors
/// If the handlers or the thread cannot be had.
pub fn watch(tell: impl Fn(&'static str) -> bool + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let mut is_first = true;
        for signal in signals.forever() {
            let name = if signal == SIGINT { "SIGINT" } else { "SIGTERM" };
            if !std::mem::take(&mut is_first) || !tell(name) {
                tracing::warn!(signal = name, "a second signal: ending at once");
                process::exit(128 + signal);
            }
        }
    })?;
    Ok(())
}
