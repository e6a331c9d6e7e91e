//! Memory: of a process, and of the kernel.
//!
//! A process's is its resident set (`/proc/PID/smaps_rollup`, exact). The kernel's is slab as
//! `/proc/meminfo` has it: sockets, their files and polls live there. It is the whole machine's, so
//! what is reported is a difference between two moments, and on loopback it holds *both* ends of
//! every connection.

use std::fs;
use std::time::Duration;

use crate::common::clock::pause;
use crate::common::problem::{Doing as _, Problem};

/// Kernel memory that one loopback connection needs, both ends, generously: measured 7.7 to 8.2 KB.
const KERNEL_BYTES_PER_CONNECTION: u64 = 8_600;
/// User memory per connection of the servers we start and of our client, generously.
const USER_BYTES_PER_CONNECTION: u64 = 600;
/// What the machine needs beside.
const RESERVE_BYTES: u64 = 1 << 30;
/// The kernel frees sockets behind our back: between looks, and until we no longer wait.
const LOOK: Duration = Duration::from_millis(250);
const LOOKS_MAX: u32 = 60;
/// Slab moves by less than this on a machine at rest.
const REST_BYTES: u64 = 256 * 1_024;

/// Resident bytes of a process.
pub(crate) fn resident_bytes(pid: u32) -> Result<u64, Problem> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).doing(format!("reading {path}"))?;
    field(&text, "Rss:").ok_or_else(|| Problem::new(format!("{path} has no line Rss")))
}

/// Bytes in the kernel's slabs.
pub(crate) fn slab_bytes() -> Result<u64, Problem> {
    meminfo("Slab:")
}

/// Slab once it has stopped moving, or after a while.
pub(crate) fn slab_at_rest() -> Result<u64, Problem> {
    let mut last = slab_bytes()?;
    for _ in 0..LOOKS_MAX {
        pause(LOOK);
        let now = slab_bytes()?;
        if now.abs_diff(last) < REST_BYTES {
            return Ok(now);
        }
        last = now;
    }
    Ok(last)
}

/// Bytes of the machine.
pub(crate) fn total_bytes() -> Result<u64, Problem> {
    meminfo("MemTotal:")
}

/// Refuses what cannot fit: so many loopback connections, both ends here.
pub(crate) fn check_room(connections: u64) -> Result<(), Problem> {
    let available = meminfo("MemAvailable:")?;
    let per_connection = KERNEL_BYTES_PER_CONNECTION + USER_BYTES_PER_CONNECTION;
    let needed = connections * per_connection + RESERVE_BYTES;
    if needed <= available {
        return Ok(());
    }
    let fit = available.saturating_sub(RESERVE_BYTES) / per_connection;
    Err(Problem::new(format!(
        "{connections} connections need about {} MiB here (both ends of each are on this machine) and {} MiB \
         are free: ask for {fit} connections at most, or free memory",
        needed >> 20,
        available >> 20,
    )))
}

fn meminfo(name: &str) -> Result<u64, Problem> {
    let text = fs::read_to_string("/proc/meminfo").doing("reading /proc/meminfo")?;
    field(&text, name).ok_or_else(|| Problem::new(format!("/proc/meminfo has no line {name}")))
}

/// The value of a line such as `Rss:   123 kB`, in bytes.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1_024)
}
