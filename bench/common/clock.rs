//! The two clocks of a measurement: wall time, and CPU time of a whole process.
//!
//! CPU time is the kernel's own account of a process (all threads, user and system), in
//! nanoseconds, read from outside through `clock_getcpuclockid(3)`. On loopback it contains the
//! receive half of what the process sends: the kernel does that work within the sending call.
//!
//! Or it leaves it to a thread of its own, `ksoftirqd` of that core, when much has come together: whole
//! batches of sends by io_uring bring that about, a `send()` at a time does not. A server has its
//! cores to itself, so what that thread does there is the server's, and is added.

use std::io;
use std::time::Duration;

use crate::common::pinned;
use crate::common::problem::{Doing as _, Problem};

/// Nanoseconds of the monotonic clock.
pub(crate) fn now_ns() -> u64 {
    read(libc::CLOCK_MONOTONIC).unwrap_or(0)
}

/// Nanoseconds of CPU that the calling thread has used.
pub(crate) fn thread_cpu_ns() -> u64 {
    read(libc::CLOCK_THREAD_CPUTIME_ID).unwrap_or(0)
}

/// CPU time of another process, while that lives, and of the kernel's threads that receive on the
/// cores to which it is pinned.
#[derive(Clone, Debug)]
pub(crate) struct ProcessClock {
    own: libc::clockid_t,
    receiving: Vec<libc::clockid_t>,
}

impl ProcessClock {
    /// The clock of process `pid`.
    pub(crate) fn of(pid: u32) -> Result<ProcessClock, Problem> {
        let own = clock_of(pid).doing("finding a server's CPU clock")?;
        let cores = pinned::cores_of(pid).doing("asking to which cores a server is pinned")?;
        Ok(ProcessClock { own, receiving: receiving_clocks(&cores) })
    }

    /// Nanoseconds of the process alone.
    pub(crate) fn own_ns(&self) -> Result<u64, Problem> {
        read(self.own).doing("reading a server's CPU time (has it ended?)")
    }

    /// Nanoseconds so far.
    pub(crate) fn ns(&self) -> Result<u64, Problem> {
        let mut all_ns = self.own_ns()?;
        for clock in &self.receiving {
            all_ns += read(*clock).doing("reading the CPU time of ksoftirqd")?;
        }
        Ok(all_ns)
    }
}

fn clock_of(pid: u32) -> io::Result<libc::clockid_t> {
    let mut clock = 0;
    let pid = libc::pid_t::try_from(pid).unwrap_or(libc::pid_t::MAX);
    // SAFETY: `clock` is valid for the call to write to.
    match unsafe { libc::clock_getcpuclockid(pid, &raw mut clock) } {
        0 => Ok(clock),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// Clocks of `ksoftirqd` of these cores; none where a container does not see the kernel's threads.
fn receiving_clocks(cores: &[usize]) -> Vec<libc::clockid_t> {
    let names: Vec<String> = cores.iter().map(|core| format!("ksoftirqd/{core}")).collect();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        names.iter().any(|wanted| wanted == name.trim())
    })
    .filter_map(|pid| clock_of(pid).ok())
    .collect()
}

fn read(clock: libc::clockid_t) -> io::Result<u64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for the call to write to.
    if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let (seconds, nanoseconds) = (time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs());
    Ok(seconds * 1_000_000_000 + nanoseconds)
}

/// Sleeps: for what happens in other processes and says nothing about itself.
#[expect(clippy::disallowed_methods, reason = "the kernel's memory settles without an event")]
pub(crate) fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

/// Seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "tokens are dated by the wall clock")]
pub(crate) fn unix_s() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_secs()).unwrap_or(i64::MAX)
}
