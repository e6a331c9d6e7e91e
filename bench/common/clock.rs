//! The two clocks of a measurement: wall time, and CPU time of a whole process.
//!
//! CPU time is the kernel's own account of a process (all threads, user and system), in
//! nanoseconds, read from outside through `clock_getcpuclockid(3)`. On loopback it contains the
//! receive half of what the process sends: the kernel does that work within the sending call.

use std::io;
use std::time::Duration;

use crate::common::problem::{Doing as _, Problem};

/// Nanoseconds of the monotonic clock.
pub(crate) fn now_ns() -> u64 {
    read(libc::CLOCK_MONOTONIC).unwrap_or(0)
}

/// Nanoseconds of CPU that the calling thread has used.
pub(crate) fn thread_cpu_ns() -> u64 {
    read(libc::CLOCK_THREAD_CPUTIME_ID).unwrap_or(0)
}

/// CPU time of another process, while that lives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProcessClock(libc::clockid_t);

impl ProcessClock {
    /// The clock of process `pid`.
    pub(crate) fn of(pid: u32) -> Result<ProcessClock, Problem> {
        let mut clock = 0;
        let pid = libc::pid_t::try_from(pid).unwrap_or(libc::pid_t::MAX);
        // SAFETY: `clock` is valid for the call to write to.
        match unsafe { libc::clock_getcpuclockid(pid, &raw mut clock) } {
            0 => Ok(ProcessClock(clock)),
            errno => Err(io::Error::from_raw_os_error(errno)).doing("finding a server's CPU clock"),
        }
    }

    /// Nanoseconds so far.
    pub(crate) fn ns(self) -> Result<u64, Problem> {
        read(self.0).doing("reading a server's CPU time (has it ended?)")
    }
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
