//! SIGTERM and SIGINT: the first asks for an orderly end, the second ends at once.

use std::io;
use std::process;
use std::thread;

use flume::Receiver;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Watches for both signals from now on. The first one that comes is put into the queue; the next
/// ends the process with 128 + its number, as a shell would report it.
///
/// # Errors
/// If the handlers or the thread cannot be had.
pub fn watch() -> io::Result<Receiver<&'static str>> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let (sender, receiver) = flume::bounded(1);
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let mut is_first = true;
        for signal in signals.forever() {
            let name = if signal == SIGINT { "SIGINT" } else { "SIGTERM" };
            // Nobody waits for it while the process is still starting or has begun to end.
            if !std::mem::take(&mut is_first) || sender.try_send(name).is_err() {
                tracing::warn!(signal = name, "a second signal: ending at once");
                process::exit(128 + signal);
            }
        }
    })?;
    Ok(receiver)
}
