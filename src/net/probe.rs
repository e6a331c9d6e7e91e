//! What this kernel, container and process lack for the socket plane, in plain sentences.
//!
//! [`gather`] looks, [`judge`] decides; the decision is pure, so that kernels which are not here
//! can be tested. Absent on purpose: changing anything, but for [`raise_file_limit`].

use std::fmt;
use std::io;

use io_uring::opcode;

use crate::net::ring::{Ring, RingError};
use crate::net::socket::{Limit, Resource};

/// The floor: `IORING_SETUP_DEFER_TASKRUN` came with it.
const KERNEL_MIN: Version = Version(6, 1, 0);
/// Before this a closed direct descriptor stays open while any operation that was submitted
/// earlier on its ring is in flight, and polls always are (liburing#1192).
const KERNEL_PROMPT_CLOSE: Version = Version(6, 13, 0);
/// What one glommio executor asks for, bytes.
const EXECUTOR_LOCKED_BYTES: u64 = 512 * 1024;
/// What it takes where it can: it registers buffers of 10 MiB with each of its three rings, and
/// goes on without if that is refused. Executors come before our rings, so the rest is ours.
const EXECUTOR_BUFFER_BYTES: u64 = 3 * 10 * 1024 * 1024;
/// Descriptors that a process needs beside connections: listeners, rings, files, standard ones.
const OTHER_FILES: u64 = 64;

/// Operations that the plane cannot do without.
const OPERATIONS: [(u8, &str); 9] = [
    (opcode::Accept::CODE, "IORING_OP_ACCEPT"),
    (opcode::AsyncCancel::CODE, "IORING_OP_ASYNC_CANCEL"),
    (opcode::Close::CODE, "IORING_OP_CLOSE"),
    (opcode::Connect::CODE, "IORING_OP_CONNECT"),
    (opcode::PollAdd::CODE, "IORING_OP_POLL_ADD"),
    (opcode::Recv::CODE, "IORING_OP_RECV"),
    (opcode::Send::CODE, "IORING_OP_SEND"),
    (opcode::Timeout::CODE, "IORING_OP_TIMEOUT"),
    (opcode::TimeoutRemove::CODE, "IORING_OP_TIMEOUT_REMOVE"),
];

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The gateway cannot run.
    Fatal,
    /// It runs, with a consequence that the text names.
    Warning,
}

/// Something that is missing: what, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// One or two sentences for the operator.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// What the gateway is going to ask for.
#[derive(Clone, Copy, Debug)]
pub struct Needs {
    /// Shards, each with a glommio executor of its own.
    pub shards: u32,
    /// Rings of one shard, at most.
    pub rings_per_shard: u32,
    /// Slots of one ring's file table.
    pub slots_per_ring: u32,
    /// Entries of a ring's submission queue.
    pub sq_entries: u32,
    /// Entries of a ring's completion queue.
    pub cq_entries: u32,
}

/// What became of making a ring with all the flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RingTrial {
    /// It works, but these operations are unknown.
    Made {
        /// Their names in the kernel.
        missing: Vec<String>,
    },
    /// `io_uring_setup` failed with this errno(3).
    Refused(i32),
    /// A feature is missing.
    Lacks(String),
}

/// What was found on this machine.
#[derive(Clone, Debug)]
pub struct Facts {
    /// `/proc/sys/kernel/osrelease`.
    pub kernel: String,
    /// `/proc/sys/kernel/io_uring_disabled`, which exists since 6.6.
    pub io_uring_disabled: Option<u8>,
    /// Whether a seccomp filter is active on this process (`/proc/self/status`).
    pub seccomp: bool,
    /// The ring.
    pub ring: RingTrial,
    /// RLIMIT_NOFILE.
    pub files: Limit,
    /// RLIMIT_MEMLOCK, bytes.
    pub locked_memory: Limit,
    /// Whether locked memory is limited at all: not for root (CAP_IPC_LOCK).
    pub may_lock_any: bool,
}

/// Looks at this machine and process. Makes a ring and drops it.
///
/// # Errors
/// If the process cannot even read its own limits.
pub fn gather() -> io::Result<Facts> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let status = read("/proc/self/status").unwrap_or_default();
    Ok(Facts {
        kernel: read("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
        io_uring_disabled: read("/proc/sys/kernel/io_uring_disabled")
            .and_then(|text| text.trim().parse().ok()),
        seccomp: field(&status, "Seccomp:").is_some_and(|mode| mode != "0"),
        ring: try_ring(),
        files: Resource::Files.read()?,
        locked_memory: Resource::LockedMemory.read()?,
        may_lock_any: may_lock_any(&status),
    })
}

/// Raises the soft limit of open files to the hard one; says what applies then.
///
/// # Errors
/// If the kernel refuses, which it does not for a soft limit up to the hard one.
pub fn raise_file_limit() -> io::Result<Limit> {
    Resource::Files.raise()
}

/// What is missing for `needs`; empty if nothing. The worst comes first.
#[must_use]
pub fn judge(facts: &Facts, needs: &Needs) -> Vec<Finding> {
    let mut findings = Vec::new();
    judge_ring(facts, &mut findings);
    judge_kernel(&facts.kernel, &mut findings);
    judge_limits(facts, needs, &mut findings);
    findings.sort_by_key(|finding| finding.severity == Severity::Warning);
    findings
}

/// What is known against a kernel of this release (`uname -r`), whatever else is well.
#[must_use]
pub fn judge_release(release: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    judge_kernel(release, &mut findings);
    findings
}

/// Whether the rings can be made here: what forbids it, if anything does.
#[must_use]
pub fn judge_rings(facts: &Facts) -> Option<Finding> {
    let mut findings = Vec::new();
    judge_ring(facts, &mut findings);
    findings.pop()
}

/// What a process without CAP_IPC_LOCK should be allowed to lock for `needs`, bytes.
#[must_use]
pub fn locked_bytes_wanted(needs: &Needs) -> u64 {
    rings_locked_bytes(needs) + u64::from(needs.shards) * EXECUTOR_BUFFER_BYTES
}

/// Of all rings at full load, and what executors cannot do without.
fn rings_locked_bytes(needs: &Needs) -> u64 {
    // An entry to submit is 64 bytes and one of the index array 4, a completion 16.
    let ring = 68 * u64::from(needs.sq_entries) + 16 * u64::from(needs.cq_entries);
    let shards = u64::from(needs.shards);
    shards * (u64::from(needs.rings_per_shard) * ring + EXECUTOR_LOCKED_BYTES)
}

fn judge_ring(facts: &Facts, findings: &mut Vec<Finding>) {
    let errno = match &facts.ring {
        RingTrial::Made { missing } if missing.is_empty() => return,
        RingTrial::Made { missing } => {
            let names = missing.join(", ");
            findings.push(fatal(format!(
                "Linux {} lacks the io_uring operations {names}: run Linux {KERNEL_MIN} or newer.",
                facts.kernel
            )));
            return;
        }
        RingTrial::Lacks(feature) => {
            findings.push(fatal(format!(
                "The io_uring of Linux {} lacks {feature}: run Linux {KERNEL_MIN} or newer.",
                facts.kernel
            )));
            return;
        }
        RingTrial::Refused(errno) => *errno,
    };
    let text = match (errno, facts.io_uring_disabled) {
        (libc::EPERM, Some(2)) => {
            "io_uring is switched off on this host: kernel.io_uring_disabled \
             is 2 (nobody may use it). Run `sysctl kernel.io_uring_disabled=0`."
                .to_owned()
        }
        (libc::EPERM, Some(1)) => {
            "io_uring is reserved on this host: kernel.io_uring_disabled is 1 \
             (only the group kernel.io_uring_group and CAP_SYS_ADMIN may use it). Add this process \
             to that group, or run `sysctl kernel.io_uring_disabled=0`."
                .to_owned()
        }
        (libc::EPERM | libc::EACCES, _) => "io_uring_setup is refused (EPERM), as by the default \
             seccomp profiles of Docker and containerd. Run the container with a profile that \
             allows io_uring_setup, io_uring_enter and io_uring_register (`--security-opt \
             seccomp=PROFILE`)."
            .to_owned(),
        (libc::ENOSYS, _) if facts.seccomp => "io_uring_setup is refused (ENOSYS) by a seccomp \
             filter, as in some containers. Allow io_uring_setup, io_uring_enter and \
             io_uring_register in its profile."
            .to_owned(),
        (libc::ENOSYS, _) => format!(
            "Linux {} has no io_uring: use a kernel with CONFIG_IO_URING, {KERNEL_MIN} or newer.",
            facts.kernel
        ),
        (libc::EINVAL, _) => format!(
            "Linux {} does not know the io_uring flags SINGLE_ISSUER and DEFER_TASKRUN: run Linux \
             {KERNEL_MIN} or newer.",
            facts.kernel
        ),
        (libc::ENOMEM, _) => "io_uring_setup is out of memory (ENOMEM), most often of locked \
             memory: raise RLIMIT_MEMLOCK (`LimitMEMLOCK=infinity`, `ulimit -l unlimited`)."
            .to_owned(),
        (libc::EMFILE | libc::ENFILE, _) => "io_uring_setup found no free file descriptor: raise \
             RLIMIT_NOFILE (`LimitNOFILE=`, `ulimit -n`) or fs.file-max."
            .to_owned(),
        _ => format!("io_uring_setup failed: {}.", io::Error::from_raw_os_error(errno)),
    };
    findings.push(fatal(text));
}

fn judge_kernel(kernel: &str, findings: &mut Vec<Finding>) {
    let Some(version) = Version::parse(kernel) else {
        findings.push(warning(format!(
            "The kernel's version \"{kernel}\" cannot be read; tidegate needs Linux {KERNEL_MIN}."
        )));
        return;
    };
    if version < KERNEL_MIN {
        findings.push(fatal(format!(
            "Linux {kernel} is too old: tidegate needs {KERNEL_MIN} or newer."
        )));
        return;
    }
    if version < KERNEL_PROMPT_CLOSE {
        findings.push(warning(format!(
            "Linux {kernel} keeps the sockets of closed connections, and sends no FIN, while older \
             connections of the same ring live (liburing#1192): run Linux {KERNEL_PROMPT_CLOSE} or \
             newer."
        )));
    }
    if version.has_spurious_enomem() {
        findings.push(warning(format!(
            "Linux {kernel} reports out of memory (ENOMEM) without reason (seastar#2728): update \
             to 6.6.86, 6.12.21, 6.13.9 or newer."
        )));
    }
    if version >= Version(6, 1, 7) && version < Version(6, 2, 0) {
        findings.push(warning(format!(
            "Linux {kernel} is of a series with storms of ENOBUFS since 6.1.7 (liburing#778): run \
             a newer series."
        )));
    }
}

fn judge_limits(facts: &Facts, needs: &Needs, findings: &mut Vec<Finding>) {
    let Limit { soft, hard } = facts.files;
    let wanted = u64::from(needs.slots_per_ring);
    if soft < wanted {
        let remedy = if hard >= wanted {
            "raise the soft limit"
        } else {
            "raise it (`LimitNOFILE=`, `ulimit -Hn`) or set a smaller table"
        };
        findings.push(fatal(format!(
            "RLIMIT_NOFILE is {soft}, but a ring's file table of {wanted} slots may not exceed it: \
             {remedy}."
        )));
    }
    let rings = u64::from(needs.shards) * (u64::from(needs.rings_per_shard) + 3);
    let descriptors = rings + 4 * u64::from(needs.shards) + OTHER_FILES;
    if soft < descriptors {
        findings.push(fatal(format!(
            "RLIMIT_NOFILE is {soft}, but {} shards with up to {} rings each need {descriptors} \
             descriptors: raise it (`LimitNOFILE=`, `ulimit -n`).",
            needs.shards, needs.rings_per_shard
        )));
    }
    if facts.may_lock_any {
        return;
    }
    let locked = facts.locked_memory.soft;
    if locked < EXECUTOR_LOCKED_BYTES {
        findings.push(fatal(format!(
            "RLIMIT_MEMLOCK is {locked} bytes, but an executor needs {EXECUTOR_LOCKED_BYTES}: raise \
             it (`LimitMEMLOCK=infinity`, `ulimit -l unlimited`)."
        )));
        return;
    }
    let shards = u64::from(needs.shards);
    let rings = rings_locked_bytes(needs);
    let taken = shards.min(locked / EXECUTOR_BUFFER_BYTES) * EXECUTOR_BUFFER_BYTES;
    if locked < rings + taken {
        let all = locked_bytes_wanted(needs);
        findings.push(warning(format!(
            "RLIMIT_MEMLOCK is {locked} bytes, but all rings at full load need about {rings}, and \
             the executors of {shards} shards take up to 30 MiB each before them: raise it to {all} \
             or more (`LimitMEMLOCK=infinity`, `ulimit -l unlimited`), or adding rings may fail."
        )));
    }
}

fn fatal(text: String) -> Finding {
    Finding { severity: Severity::Fatal, text }
}

fn warning(text: String) -> Finding {
    Finding { severity: Severity::Warning, text }
}

fn try_ring() -> RingTrial {
    match Ring::bare(8, 16) {
        Ok(ring) => match ring.missing_operations(&OPERATIONS) {
            Ok(missing) => {
                RingTrial::Made { missing: missing.into_iter().map(str::to_owned).collect() }
            }
            Err(error) => RingTrial::Refused(error.raw_os_error().unwrap_or(0)),
        },
        Err(RingError::Feature(feature)) => RingTrial::Lacks(feature.to_owned()),
        Err(RingError::Setup(error)) => RingTrial::Refused(error.raw_os_error().unwrap_or(0)),
        Err(error) => RingTrial::Lacks(error.to_string()),
    }
}

/// The value of a line of `/proc/self/status`.
fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

/// Whether the effective capabilities of a `/proc/PID/status` contain CAP_IPC_LOCK (capabilities(7):
/// number 14): then locked memory is not limited.
#[must_use]
pub fn may_lock_any(status: &str) -> bool {
    let capabilities = field(status, "CapEff:").and_then(|text| u64::from_str_radix(text, 16).ok());
    capabilities.is_some_and(|bits| bits & (1 << 14) != 0)
}

/// A kernel's version: 6.12.21 and the like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u32, u32, u32);

impl Version {
    /// Reads the numbers at the beginning of a release name, such as `6.8.0-41-generic`.
    fn parse(release: &str) -> Option<Version> {
        let end = release.find(|letter: char| !letter.is_ascii_digit() && letter != '.');
        let mut numbers = release[..end.unwrap_or(release.len())].split('.');
        let major = numbers.next()?.parse().ok()?;
        let minor = numbers.next()?.parse().ok()?;
        let patch = numbers.next().and_then(|number| number.parse().ok()).unwrap_or(0);
        Some(Version(major, minor, patch))
    }

    /// Fixed in 6.14 and in three stable series; those between ended without.
    fn has_spurious_enomem(self) -> bool {
        match self {
            Version(6, 6, patch) => patch < 86,
            Version(6, 7..=11, _) => true,
            Version(6, 12, patch) => patch < 21,
            Version(6, 13, patch) => patch < 9,
            _ => false,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Version(major, minor, patch) = self;
        write!(formatter, "{major}.{minor}")?;
        if *patch > 0 { write!(formatter, ".{patch}") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEEDS: Needs = Needs {
        shards: 2,
        rings_per_shard: 64,
        slots_per_ring: 16_384,
        sq_entries: 1_024,
        cq_entries: 4_096,
    };

    fn good() -> Facts {
        Facts {
            kernel: "6.18.4-generic".to_owned(),
            io_uring_disabled: Some(0),
            seccomp: false,
            ring: RingTrial::Made { missing: Vec::new() },
            files: Limit { soft: 20_000, hard: 20_000 },
            locked_memory: Limit { soft: u64::MAX, hard: u64::MAX },
            may_lock_any: false,
        }
    }

    /// What is found, each with whether it is fatal.
    fn found(facts: &Facts) -> Vec<(bool, String)> {
        let findings = judge(facts, &NEEDS);
        findings
            .into_iter()
            .map(|finding| (finding.severity == Severity::Fatal, finding.to_string()))
            .collect()
    }

    #[test]
    fn a_good_machine_has_no_findings() {
        assert_eq!(found(&good()), []);
    }

    #[test]
    fn each_cause_is_named_with_its_remedy() {
        let refused = |errno, disabled, seccomp| Facts {
            ring: RingTrial::Refused(errno),
            io_uring_disabled: disabled,
            seccomp,
            ..good()
        };
        let kernel = |kernel: &str| Facts { kernel: kernel.to_owned(), ..good() };
        let locked = |soft| Facts { locked_memory: Limit { soft, hard: soft }, ..good() };
        let files = |soft, hard| Facts { files: Limit { soft, hard }, ..good() };
        let ring = |ring| Facts { ring, ..good() };
        let table: Vec<(Facts, bool, &[&str])> = vec![
            (
                refused(libc::EPERM, Some(2), false),
                true,
                &["kernel.io_uring_disabled is 2", "sysctl"],
            ),
            (refused(libc::EPERM, Some(1), false), true, &["io_uring_group", "is 1"]),
            (refused(libc::EPERM, Some(0), true), true, &["seccomp", "Docker", "--security-opt"]),
            (refused(libc::ENOSYS, None, true), true, &["seccomp", "profile"]),
            (refused(libc::ENOSYS, None, false), true, &["CONFIG_IO_URING"]),
            (refused(libc::EINVAL, None, false), true, &["DEFER_TASKRUN", "6.1"]),
            (refused(libc::ENOMEM, None, false), true, &["RLIMIT_MEMLOCK"]),
            (refused(libc::EMFILE, None, false), true, &["RLIMIT_NOFILE"]),
            (refused(libc::EIO, None, false), true, &["Input/output error"]),
            (ring(RingTrial::Lacks("IORING_FEAT_NODROP".into())), true, &["IORING_FEAT_NODROP"]),
            (
                ring(RingTrial::Made { missing: vec!["IORING_OP_SEND".into()] }),
                true,
                &["IORING_OP_SEND", "6.1"],
            ),
            (kernel("5.15.0-91-generic"), true, &["5.15.0-91-generic is too old", "6.1"]),
            (kernel("unknown"), false, &["cannot be read"]),
            (kernel("6.13.3"), false, &["seastar#2728", "6.13.9"]),
            (files(1_024, 524_288), true, &["is 1024", "raise the soft limit"]),
            (files(4_096, 4_096), true, &["is 4096", "smaller table"]),
            (locked(64 * 1024), true, &["RLIMIT_MEMLOCK is 65536", "LimitMEMLOCK"]),
            (locked(8 << 20), false, &["RLIMIT_MEMLOCK is 8388608", "adding rings may fail"]),
            // The executors leave 4 MiB of it.
            (locked(64 << 20), false, &["RLIMIT_MEMLOCK is 67108864", "30 MiB each"]),
        ];
        for (facts, is_fatal, words) in table {
            let findings = found(&facts);
            assert_eq!(findings.len(), 1, "{findings:?}");
            assert_eq!(findings[0].0, is_fatal, "{findings:?}");
            for word in words {
                assert!(findings[0].1.contains(word), "{word:?} is not in {:?}", findings[0].1);
            }
        }
    }

    #[test]
    fn known_bad_kernels_are_told() {
        let words = |kernel: &str| -> Vec<&str> {
            let facts = Facts { kernel: kernel.to_owned(), ..good() };
            let findings = found(&facts);
            ["#1192", "#2728", "#778"]
                .into_iter()
                .filter(|word| findings.iter().any(|(_, text)| text.contains(word)))
                .collect()
        };
        assert_eq!(words("6.1.6"), ["#1192"]);
        assert_eq!(words("6.1.90-debian"), ["#1192", "#778"]);
        assert_eq!(words("6.6.85"), ["#1192", "#2728"]);
        assert_eq!(words("6.6.86"), ["#1192"]);
        assert_eq!(words("6.8.0-41-generic"), ["#1192", "#2728"]);
        assert_eq!(words("6.12.21"), ["#1192"]);
        assert_eq!(words("6.13.9"), Vec::<&str>::new());
        assert_eq!(words("7.0-rc1"), Vec::<&str>::new());
    }

    #[test]
    fn few_descriptors_for_many_rings() {
        let facts = Facts { files: Limit { soft: 150, hard: 150 }, ..good() };
        let needs = Needs { slots_per_ring: 100, ..NEEDS };
        let findings = judge(&facts, &needs);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].text.contains("206 descriptors"), "{findings:?}");
    }

    #[test]
    fn status_lines_are_read() {
        let status = "Name:\tx\nCapEff:\t0000000000004000\nSeccomp:\t2\n";
        assert!(may_lock_any(status));
        assert!(!may_lock_any("CapEff:\t0000000000000400\n"));
        assert_eq!(field(status, "Seccomp:"), Some("2"));
    }

    #[test]
    fn this_machine_can_run_the_tests() {
        let limit = raise_file_limit().expect("a soft limit can be raised to the hard one");
        assert_eq!(limit.soft, limit.hard);
        let facts = gather().expect("limits can be read");
        assert_eq!(facts.ring, RingTrial::Made { missing: Vec::new() });
        let needs = Needs { shards: 1, rings_per_shard: 1, slots_per_ring: 100, ..NEEDS };
        let fatal = judge(&facts, &needs).iter().any(|found| found.severity == Severity::Fatal);
        assert!(!fatal, "{:?}", judge(&facts, &needs));
    }
}
