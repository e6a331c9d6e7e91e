//! Loopback as a NIC would be: a network namespace in which another core does the receiving.
//!
//! On loopback the core that sends also does the receiver's half of TCP, and the sender is billed
//! for it. Receive packet steering (RPS, `Documentation/networking/scaling.rst` of the kernel) on the
//! interface `lo` hands that half to a core of choice. Set in a namespace of its own, it concerns
//! nobody else, and is gone with the processes in it.
//!
//! Steered packets wait in the queue of the other core, which drops what it has no room for. So do all
//! packets on loopback when a core has so much to do that its receiving waits for its turn among
//! processes. The length of these queues is a setting of the whole machine, so it is raised for the
//! time of the measurement by a process that does nothing else: it puts back what was there when its
//! standard input ends, and that it does however the bench ends.

use std::ffi::CStr;
use std::fs::OpenOptions;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use crate::common::problem::{Doing as _, Problem};

/// The hidden subcommand that keeps the queues long.
pub(crate) const KEEPER: &str = "keep-backlog";
const BACKLOG: &str = "/proc/sys/net/core/netdev_max_backlog";
const STEERING: &str = "/sys/class/net/lo/queues/rx-0/rps_cpus";
/// More than a broadcast to everybody has segments and acknowledgements.
const BACKLOG_PACKETS: u32 = 4_000_000;

/// While it lives, the queues are long.
pub(crate) struct LongQueues(Child);

/// Puts this thread, and every process that it starts from now on, into a namespace of its own, where
/// `core` does what receiving over loopback costs.
pub(crate) fn steer(core: usize) -> Result<LongQueues, Problem> {
    let queues = lengthen_queues()?;
    // SAFETY: a system call without pointers (unshare(2)); other threads stay where they are.
    let result = unsafe { libc::unshare(libc::CLONE_NEWNET | libc::CLONE_NEWNS) };
    system(result).doing(
        "making a network namespace (as root, and where containers may do so: CAP_SYS_ADMIN and CAP_NET_ADMIN)",
    )?;
    mount(c"none", c"/", c"none", libc::MS_REC | libc::MS_PRIVATE)
        .doing("keeping mounts to ourselves")?;
    // What /sys shows of interfaces is of the namespace in which it was mounted.
    mount(c"sysfs", c"/sys", c"sysfs", 0).doing("mounting /sys for the network namespace")?;
    loopback_up().doing("bringing up lo in the network namespace")?;
    std::fs::write(STEERING, mask(core)).doing(format!("writing {STEERING}"))?;
    Ok(queues)
}

/// Where this is allowed (to root), the kernel's queues are long until the result is dropped, and
/// nothing is lost between two processes of this machine however busy it is.
pub(crate) fn lengthen_queues_if_possible() -> Option<LongQueues> {
    lengthen_queues().ok()
}

fn lengthen_queues() -> Result<LongQueues, Problem> {
    let own = std::env::current_exe().doing("finding this program's own file")?;
    let mut command = Command::new(own);
    command.stderr(Stdio::null());
    // In a process group of its own: what interrupts us at the terminal must not interrupt it.
    command.arg(KEEPER).arg(BACKLOG_PACKETS.to_string()).process_group(0);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .doing("starting the process that keeps the kernel's queues long")?;
    let Some(output) = child.stdout.take() else { unreachable!("it was asked for") };
    let mut word = String::new();
    let read = BufReader::new(output).read_line(&mut word);
    let queues = LongQueues(child);
    read.doing("listening to the process that keeps the kernel's queues long")?;
    if word.trim() == "ready" {
        return Ok(queues);
    }
    Err(Problem::new(format!(
        "{BACKLOG} could not be raised: this needs root, and /proc/sys that can be written"
    )))
}

impl Drop for LongQueues {
    fn drop(&mut self) {
        // Its standard input ends; when it has ended, what was there is there again.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// What the hidden subcommand does.
pub(crate) fn keep_backlog(packets: u32) -> Result<(), Problem> {
    // SAFETY: these signals are ignored, no handler runs: whoever started us tells us to end.
    unsafe {
        libc::signal(libc::SIGINT, libc::SIG_IGN);
        libc::signal(libc::SIGTERM, libc::SIG_IGN);
        libc::signal(libc::SIGHUP, libc::SIG_IGN);
    }
    let mut file = OpenOptions::new().read(true).write(true).open(BACKLOG).doing(BACKLOG)?;
    let mut before = String::new();
    file.read_to_string(&mut before).doing(BACKLOG)?;
    let is_enough = before.trim().parse().is_ok_and(|before: u32| before >= packets);
    let mut set = |value: &str| file.rewind().and_then(|()| file.write_all(value.as_bytes()));
    if !is_enough {
        set(&packets.to_string()).doing(BACKLOG)?;
    }
    writeln!(io::stdout(), "ready").doing("saying that the queues are long")?;
    // Whatever ends it, it has ended.
    let _ = io::stdin().read_to_end(&mut Vec::new());
    if is_enough { Ok(()) } else { set(&before).doing(BACKLOG) }
}

/// A set of cores as the kernel reads it: words of 32 bits in hexadecimal, the highest first.
fn mask(core: usize) -> String {
    let word = format!("{:08x}", 1_u32 << (core % 32));
    word + &",00000000".repeat(core / 32)
}

fn mount(source: &CStr, target: &CStr, kind: &CStr, flags: libc::c_ulong) -> io::Result<()> {
    let (source, target, kind) = (source.as_ptr(), target.as_ptr(), kind.as_ptr());
    // SAFETY: three strings that end with zero, and no data (mount(2)).
    system(unsafe { libc::mount(source, target, kind, flags, std::ptr::null()) })
}

/// An interface that is up has its address, 127.0.0.1/8, by itself.
fn loopback_up() -> io::Result<()> {
    // SAFETY: a system call without pointers; the descriptor is nobody else's.
    let socket = unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        system(socket)?;
        OwnedFd::from_raw_fd(socket)
    };
    // SAFETY: a request of all zeros is valid: an empty name and no flags (netdevice(7)).
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (place, letter) in request.ifr_name.iter_mut().zip(c"lo".to_bytes()) {
        *place = libc::c_char::from_ne_bytes([*letter]);
    }
    request.ifr_ifru.ifru_flags =
        libc::c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING).map_err(io::Error::other)?;
    // SAFETY: the request is valid for the call to read.
    system(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) })
}

fn system(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_cores_are_written_as_the_kernel_reads_them() {
        assert_eq!(
            [0, 1, 31, 32, 65].map(mask),
            ["00000001", "00000002", "80000000", "00000001,00000000", "00000002,00000000,00000000"]
        );
    }
}
