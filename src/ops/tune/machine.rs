//! What is no sysctl: kernel, limits of the process, memory, processors.

use crate::net::PlaneSettings;
use crate::net::probe::{self, Needs};
use crate::ops::tune::check::{Check, State};
use crate::ops::tune::host_files::{HostFiles, Reading};
use crate::ops::tune::profile::Profile;

/// A ring's table may not be larger than RLIMIT_NOFILE; with fewer slots there are more rings, and
/// each costs a look in every turn. So many hold the largest table and everything else.
const FILES_MIN: u64 = 262_144;
/// What firmware and the kernel keep of the memory that was bought.
const MEMORY_SHARE_PERCENT: u64 = 93;

/// What is, and whether that is well.
struct Seen(State, String);

impl Seen {
    fn judged(is_fine: bool, current: impl Into<String>) -> Seen {
        Seen(if is_fine { State::Fine } else { State::Wrong }, current.into())
    }

    fn unreadable(reading: &Reading) -> Seen {
        let why = match reading {
            Reading::Unreadable(why) => format!("it cannot be read: {why}"),
            Reading::Absent => "it cannot be seen: there is no such file".to_owned(),
            Reading::Text(text) => format!("it cannot be understood: \"{text}\""),
        };
        Seen(State::Unknown, why)
    }
}

/// Name, what is wanted, why, cost, what to do.
type Words<'w> = [&'w str; 5];

fn check([name, wanted, why, cost, fix]: Words<'_>, Seen(state, current): Seen) -> Check {
    let [name, wanted, why, cost, fix] = [name, wanted, why, cost, fix].map(str::to_owned);
    Check { name, state, current, wanted, why, cost, fix }
}

/// Everything of the machine; `process` is whose limits are looked at: `self` or a number.
#[must_use]
pub fn machine(profile: &Profile, host: &HostFiles, process: &str) -> Vec<Check> {
    let mut checks = vec![kernel(host), io_uring_allowed(host)];
    checks.extend(rings(host));
    checks.extend([
        files(host, process),
        locked_memory(host, process),
        memory(profile, host),
        huge_pages(host),
        governor(host),
        connection_table(profile, host),
    ]);
    checks
}

/// Cores that are there.
#[must_use]
pub fn cores(host: &HostFiles) -> Option<u64> {
    count_of_list(host.read("sys/devices/system/cpu/online").text()?)
}

/// How many numbers a list of the kernel's names: `0-3,8`.
#[must_use]
pub fn count_of_list(list: &str) -> Option<u64> {
    let mut count: u64 = 0;
    for range in list.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        count = count.checked_add(last.checked_sub(first)?.checked_add(1)?)?;
    }
    Some(count)
}

fn kernel(host: &HostFiles) -> Check {
    let reading = host.read("proc/sys/kernel/osrelease");
    let seen = match &reading {
        Reading::Text(release) => {
            let findings = probe::judge_release(release);
            let found: Vec<String> = findings.into_iter().map(|finding| finding.text).collect();
            let what = if found.is_empty() { release.clone() } else { found.join(" ") };
            Seen::judged(found.is_empty(), what)
        }
        Reading::Absent | Reading::Unreadable(_) => Seen::unreadable(&reading),
    };
    check(
        [
            "kernel",
            "6.13 or newer; 6.1 at least, and none of the series with known faults",
            "6.1 has what the rings cannot do without; before 6.13 closed connections linger; two series \
             report storms of ENOBUFS and ENOMEM without reason",
            "below 6.1 the gateway does not start; with the others clients stay connected or lose messages",
            "install a newer kernel",
        ],
        seen,
    )
}

fn io_uring_allowed(host: &HostFiles) -> Check {
    let reading = host.sysctl("kernel.io_uring_disabled");
    let seen = match reading.text() {
        Some("0") => Seen(State::Fine, "0".to_owned()),
        Some(value) => Seen(State::Wrong, value.to_owned()),
        // Before 6.6 it could not be forbidden.
        None if reading == Reading::Absent => {
            Seen(State::NotHere, "this kernel cannot forbid io_uring".to_owned())
        }
        None => Seen::unreadable(&reading),
    };
    check(
        [
            "kernel.io_uring_disabled",
            "0",
            "the gateway is built on io_uring: 1 allows it to kernel.io_uring_group only, 2 to nobody",
            "the gateway does not start (exit status 71)",
            "sysctl -w kernel.io_uring_disabled=0; with 1, add the service to the group (SupplementaryGroups=)",
        ],
        seen,
    )
}

/// Making a ring tells more than any file, but only of this host and of what this process may.
fn rings(host: &HostFiles) -> Option<Check> {
    if !host.is_this_host() {
        return None;
    }
    let seen = match probe::gather() {
        Ok(facts) => match probe::judge_rings(&facts) {
            None => Seen(State::Fine, "a ring with all that is needed was made".to_owned()),
            Some(finding) => Seen(State::Wrong, finding.text),
        },
        Err(error) => Seen(State::Unknown, format!("limits cannot be read: {error}")),
    };
    Some(check(
        [
            "io_uring",
            "rings with SINGLE_ISSUER and DEFER_TASKRUN, and nine operations",
            "seccomp profiles of containers refuse it, whatever the kernel can do",
            "the gateway does not start (exit status 71)",
            "as it says",
        ],
        seen,
    ))
}

/// A line of `/proc/PID/limits`: soft and hard.
fn limit(host: &HostFiles, process: &str, name: &str) -> Result<(u64, u64), Seen> {
    let reading = host.read(&format!("proc/{process}/limits"));
    let Reading::Text(text) = &reading else { return Err(Seen::unreadable(&reading)) };
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    let number = |word: &str| match word {
        "unlimited" => Some(u64::MAX),
        word => word.parse().ok(),
    };
    let mut numbers = line.split_whitespace().map(number);
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(soft), Some(hard)) => Ok((soft, hard)),
        _ => Err(Seen(State::Unknown, format!("proc/{process}/limits has no \"{name}\""))),
    }
}

fn of_whom(process: &str) -> String {
    if process == "self" {
        "of this shell; the service's own: --pid".to_owned()
    } else {
        format!("of process {process}")
    }
}

fn files(host: &HostFiles, process: &str) -> Check {
    let seen = match limit(host, process, "Max open files") {
        // The gateway raises the soft limit by itself.
        Ok((_, hard)) => Seen::judged(hard >= FILES_MIN, format!("{hard} ({})", of_whom(process))),
        Err(seen) => seen,
    };
    check(
        [
            "RLIMIT_NOFILE, hard",
            "at least 262144",
            "a ring's table of connections may not be larger: 131,072 slots, and twice that for everything else",
            "more and smaller rings, each of which costs a look in every turn; below 1,100 no start",
            "LimitNOFILE=1048576 in the unit, or `ulimit -Hn 1048576`",
        ],
        seen,
    )
}

fn locked_memory(host: &HostFiles, process: &str) -> Check {
    let plane = PlaneSettings::default();
    let needs = cores(host).map(|cores| Needs {
        shards: u32::try_from(cores).unwrap_or(u32::MAX),
        rings_per_shard: 8,
        slots_per_ring: plane.slots_per_ring,
        sq_entries: plane.sq_entries,
        cq_entries: plane.cq_entries,
    });
    let wanted = needs.map(|needs| probe::locked_bytes_wanted(&needs));
    let status = host.read(&format!("proc/{process}/status"));
    let is_exempt = status.text().is_some_and(probe::may_lock_any);
    let seen = match (limit(host, process, "Max locked memory"), wanted) {
        (Ok((soft, _)), _) if is_exempt => {
            let whom = of_whom(process);
            Seen(State::Fine, format!("{soft} bytes, of which CAP_IPC_LOCK exempts it ({whom})"))
        }
        (Ok((soft, _)), _) if soft == u64::MAX => {
            Seen(State::Fine, format!("unlimited ({})", of_whom(process)))
        }
        (Ok((soft, _)), Some(wanted)) => {
            Seen::judged(soft >= wanted, format!("{soft} bytes ({})", of_whom(process)))
        }
        (Ok(_), None) => Seen(State::Unknown, "the number of cores cannot be read".to_owned()),
        (Err(seen), _) => seen,
    };
    let wanted = wanted.map_or("unlimited".to_owned(), |it| format!("unlimited, or {it} bytes"));
    check(
        [
            "RLIMIT_MEMLOCK",
            &wanted,
            "rings are locked memory, and each shard's executor registers up to 30 MiB; root is exempt",
            "rings cannot be added when connections come, and the gateway stays below what it could hold",
            "LimitMEMLOCK=infinity in the unit, or `ulimit -l unlimited`",
        ],
        seen,
    )
}

fn memory(profile: &Profile, host: &HostFiles) -> Check {
    let reading = host.read("proc/meminfo");
    let total = reading.text().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    });
    let wanted_kib = profile.memory_gib << 20;
    let seen = match total {
        Some(kib) => Seen::judged(
            kib >= wanted_kib / 100 * MEMORY_SHARE_PERCENT,
            format!("{:.1} GiB", f64::from(u32::try_from(kib >> 10).unwrap_or(u32::MAX)) / 1024.0),
        ),
        None => Seen::unreadable(&reading),
    };
    check(
        [
            "memory",
            &format!("at least {} GiB", profile.memory_gib),
            "a connection has 4.2 KB of the kernel and 0.2 KB of the gateway, and tcp_mem has to fit beside it",
            "accepts are held before all connections are there, or the kernel kills processes",
            "a larger host, or the smaller profile",
        ],
        seen,
    )
}

fn huge_pages(host: &HostFiles) -> Check {
    let reading = host.read("sys/kernel/mm/transparent_hugepage/enabled");
    let chosen = reading.text().and_then(|text| text.split(['[', ']']).nth(1));
    let seen = match chosen {
        Some(mode) => Seen::judged(mode != "always", mode),
        None if reading == Reading::Absent => {
            Seen(State::NotHere, "this kernel has no transparent huge pages".to_owned())
        }
        None => Seen::unreadable(&reading),
    };
    check(
        [
            "transparent huge pages",
            "madvise or never",
            "tables grow by pieces and are touched at random; with `always` the kernel makes huge pages of them \
             in the middle of a turn, and keeps what was freed",
            "turns of milliseconds while memory is compacted, and a larger resident set",
            "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled; at boot: transparent_hugepage=madvise",
        ],
        seen,
    )
}

fn governor(host: &HostFiles) -> Check {
    const FOLDER: &str = "sys/devices/system/cpu";
    let is_core = |name: &String| {
        let number = name.strip_prefix("cpu").unwrap_or_default();
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    };
    let cores = host.names(FOLDER).into_iter().filter(is_core);
    let readings: Vec<Reading> =
        cores.map(|core| host.read(&format!("{FOLDER}/{core}/cpufreq/scaling_governor"))).collect();
    let mut others: Vec<&str> =
        readings.iter().filter_map(Reading::text).filter(|it| *it != "performance").collect();
    others.sort_unstable();
    others.dedup();
    let unreadable = readings.iter().find(|it| matches!(it, Reading::Unreadable(_)));
    let seen = if let Some(reading) = unreadable {
        Seen::unreadable(reading)
    } else if !others.is_empty() {
        Seen(State::Wrong, others.join(", "))
    } else if readings.iter().any(|reading| reading.text().is_some()) {
        Seen(State::Fine, "performance".to_owned())
    } else {
        Seen(State::NotHere, "no cpufreq: the hypervisor or the firmware decides".to_owned())
    };
    check(
        [
            "governor of the cores",
            "performance",
            "a shard sleeps between two questions; other governors have it wake at a low frequency, just when a \
             million have to be sent to",
            "the first milliseconds of every push are slower by the ratio of the frequencies",
            "cpupower frequency-set -g performance",
        ],
        seen,
    )
}

fn connection_table(profile: &Profile, host: &HostFiles) -> Check {
    let reading = host.sysctl("net.ipv4.tcp_ehash_entries");
    // Negative in a network namespace that shares the host's.
    let entries = reading.text().and_then(|text| text.trim_start_matches('-').parse::<u64>().ok());
    let seen = match entries {
        Some(entries) if entries >= profile.connections => Seen(State::Fine, entries.to_string()),
        Some(entries) => Seen(State::Advice, entries.to_string()),
        None if reading == Reading::Absent => {
            Seen(State::NotHere, "this kernel does not tell".to_owned())
        }
        None => Seen::unreadable(&reading),
    };
    let slots = profile.connections.next_power_of_two();
    check(
        [
            "net.ipv4.tcp_ehash_entries",
            &format!("at least {}", profile.connections),
            "the kernel's table of connections has so many chains and never grows; looking a connection up is the \
             largest single item of a push's profile (7.6 %)",
            "two and more connections in each chain: every packet waits for memory once more. Not measured",
            &format!("boot with thash_entries={slots}; it cannot be changed later"),
        ],
        seen,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::tune::profile::ProfileName;
    use std::path::Path;

    const GOOD: &[(&str, &str)] = &[
        ("proc/sys/kernel/osrelease", "6.18.4-generic\n"),
        ("proc/sys/kernel/io_uring_disabled", "0\n"),
        (
            "proc/77/limits",
            "Limit  Soft Limit  Hard Limit  Units\nMax open files   1024   1048576  files\n\
             Max locked memory  unlimited  unlimited  bytes\n",
        ),
        ("proc/meminfo", "MemTotal:       32546132 kB\nMemFree: 1 kB\n"),
        ("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n"),
        ("sys/devices/system/cpu/online", "0-15\n"),
        ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n"),
        ("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "performance\n"),
        ("sys/devices/system/cpu/cpufreq/x", ""),
        ("proc/sys/net/ipv4/tcp_ehash_entries", "1048576\n"),
    ];

    fn plant(folder: &Path, path: &str, text: &str) {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, text).expect("written");
    }

    /// What is not fine on a good host with `changes`; an empty text takes a file away.
    fn not_fine(changes: &[(&str, &str)]) -> Vec<(String, State, String)> {
        let folder = tempfile::tempdir().expect("a folder");
        for (path, text) in GOOD.iter().chain(changes) {
            plant(folder.path(), path, text);
        }
        for (path, _) in changes.iter().filter(|(_, text)| text.is_empty()) {
            std::fs::remove_file(folder.path().join(path)).expect("removed");
        }
        let profile = Profile::new(ProfileName::Large, None);
        let checks = machine(&profile, &HostFiles::new(folder.path()), "77").into_iter();
        let bad = checks.filter(|it| it.state != State::Fine);
        bad.map(|it| (it.name, it.state, it.current)).collect()
    }

    #[test]
    fn a_good_machine_is_fine() {
        assert_eq!(not_fine(&[]), []);
    }

    #[test]
    fn each_fault_is_found_alone() {
        let limits = |files: u64, locked: &str| {
            format!(
                "Max open files {files} {files} files\nMax locked memory {locked} {locked} bytes"
            )
        };
        let (few, little, enough) = (
            limits(262_143, "unlimited"),
            limits(262_144, "8388608"),
            limits(262_144, "999999999"),
        );
        for (path, text, name, state, current) in [
            ("proc/sys/kernel/osrelease", "6.1.20-x", "kernel", State::Wrong, "liburing#778"),
            ("proc/sys/kernel/osrelease", "5.15.0", "kernel", State::Wrong, "too old"),
            ("proc/sys/kernel/osrelease", "", "kernel", State::Unknown, "no such file"),
            (
                "proc/sys/kernel/io_uring_disabled",
                "1",
                "kernel.io_uring_disabled",
                State::Wrong,
                "1",
            ),
            (
                "proc/sys/kernel/io_uring_disabled",
                "",
                "kernel.io_uring_disabled",
                State::NotHere,
                "",
            ),
            ("proc/77/limits", &few, "RLIMIT_NOFILE, hard", State::Wrong, "262143 (of process 77)"),
            ("proc/77/limits", &little, "RLIMIT_MEMLOCK", State::Wrong, "8388608 bytes"),
            ("proc/meminfo", "MemTotal: 31000000 kB", "memory", State::Wrong, "29.6 GiB"),
            ("proc/meminfo", "nothing", "memory", State::Unknown, "\"nothing\""),
            (
                "sys/kernel/mm/transparent_hugepage/enabled",
                "[always] madvise never",
                "transparent huge pages",
                State::Wrong,
                "always",
            ),
            (
                "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor",
                "schedutil",
                "governor of the cores",
                State::Wrong,
                "schedutil",
            ),
            (
                "proc/sys/net/ipv4/tcp_ehash_entries",
                "-524288",
                "net.ipv4.tcp_ehash_entries",
                State::Advice,
                "524288",
            ),
        ] {
            let found = not_fine(&[(path, text)]);
            let [(what, how, is)] = found.as_slice() else { panic!("{path}: {found:?}") };
            assert_eq!((what.as_str(), *how), (name, state), "{found:?}");
            assert!(is.contains(current), "{is}");
        }
        assert_eq!(not_fine(&[("proc/77/limits", &enough)]), []);
        let root = ("proc/77/status", "Name: x\nCapEff:\t000001ffffffffff\n");
        assert_eq!(not_fine(&[("proc/77/limits", &little), root]), []);
        let unknown = not_fine(&[("proc/77/limits", "Max x 1 1")]);
        assert!(unknown.len() == 2 && unknown.iter().all(|(_, state, _)| *state == State::Unknown));
        let no_governor: Vec<_> = GOOD
            .iter()
            .filter(|(path, _)| path.contains("governor"))
            .map(|it| (it.0, ""))
            .collect();
        assert_eq!(not_fine(&no_governor)[0].1, State::NotHere);
    }

    #[test]
    fn lists_of_the_kernel() {
        for (list, count) in [
            ("0", Some(1)),
            ("0-15", Some(16)),
            ("0-3,8,10-11", Some(7)),
            ("", None),
            ("3-1", None),
        ] {
            assert_eq!(count_of_list(list), count, "{list}");
        }
    }
}
