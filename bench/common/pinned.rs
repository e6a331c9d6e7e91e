//! Cores: which there are, and processes that stay on theirs.

use std::io;
use std::process::{Child, Command};

use crate::common::problem::{Doing as _, Problem};

/// Cores that this process may use.
pub(crate) fn available() -> Vec<usize> {
    core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect()
}

/// Pins the calling thread, and whatever it will start, to `cores`.
pub(crate) fn pin(cores: &[usize]) -> Result<(), Problem> {
    // SAFETY: a set of all zeros is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for core in cores {
        // SAFETY: the macro's function checks the number against the size of the set.
        unsafe { libc::CPU_SET(*core, &mut set) }
    }
    // SAFETY: the set is valid for the call to read; 0 is the calling thread.
    let result =
        unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) };
    if result == 0 {
        return Ok(());
    }
    Err(io::Error::last_os_error()).doing(format!("pinning to core {cores:?}"))
}

/// Cores on which process `pid` may run.
pub(crate) fn cores_of(pid: u32) -> io::Result<Vec<usize>> {
    // SAFETY: a set of all zeros is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    // SAFETY: the set is valid for the call to write to.
    if unsafe { libc::sched_getaffinity(pid, size_of::<libc::cpu_set_t>(), &raw mut set) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the macro's function checks the number against the size of the set.
    let is_in = |core: &usize| unsafe { libc::CPU_ISSET(*core, &set) };
    let bits = usize::try_from(libc::CPU_SETSIZE).map_err(io::Error::other)?;
    Ok((0..bits).filter(is_in).collect())
}

/// Starts `command` pinned to `cores` from its first instruction on: a child inherits the cores of
/// the thread that starts it. The caller is pinned to `own` afterwards.
pub(crate) fn spawn(command: &mut Command, cores: &[usize], own: usize) -> Result<Child, Problem> {
    pin(cores)?;
    let child = command.spawn();
    pin(&[own])?;
    child.doing(format!("starting {}", command.get_program().display()))
}
