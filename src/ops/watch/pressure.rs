//! Whether the host has memory and descriptors for more clients.
//!
//! What is short is told before it is gone, because those who are connected need more of it too: for
//! what they are sent and what they have not read. What was short must be clearly better before
//! accepting goes on, or it would begin and stop with every client.

use std::fmt;
use std::fs;
use std::io;

/// Limits that an operator sets; 0 is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PressureLimits {
    /// The process's resident memory, bytes.
    pub user_memory_bytes_max: u64,
    /// What the kernel could still give without swapping, bytes.
    pub memory_available_bytes_min: u64,
}

/// What the kernel says of this process and this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readings {
    /// The process's resident memory, bytes.
    pub user_memory_bytes: u64,
    /// What could still be given, bytes.
    pub memory_available_bytes: u64,
    /// Pages that all TCP sockets of the host have.
    pub tcp_pages: u64,
    /// Pages at which the kernel refuses them more (`net.ipv4.tcp_mem`).
    pub tcp_pages_max: u64,
    /// Open descriptors of the process. Clients have none: theirs are in tables of rings.
    pub files: u64,
    /// As many as it may have.
    pub files_max: u64,
}

/// What is short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Short {
    /// The process has as much memory as it may.
    UserMemory(u64),
    /// The host has little left.
    AvailableMemory(u64),
    /// The host's sockets have nearly all that they may.
    SocketMemory {
        /// Pages.
        pages: u64,
        /// As many as there may be.
        pages_max: u64,
    },
    /// The process has nearly all descriptors that it may.
    Files(u64),
}

impl fmt::Display for Short {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Short::UserMemory(bytes) => {
                write!(formatter, "the process has {bytes} bytes (limits.user_memory_bytes_max)")
            }
            Short::AvailableMemory(bytes) => {
                write!(formatter, "{bytes} bytes are left (limits.memory_available_bytes_min)")
            }
            Short::SocketMemory { pages, pages_max } => {
                write!(formatter, "sockets have {pages} of {pages_max} pages (net.ipv4.tcp_mem)")
            }
            Short::Files(files) => write!(formatter, "{files} files are open (RLIMIT_NOFILE)"),
        }
    }
}

impl PressureLimits {
    /// What is short, if anything; `was_short` asks for a clear improvement.
    #[must_use]
    pub fn short_of(&self, readings: &Readings, was_short: bool) -> Option<Short> {
        let Readings { user_memory_bytes, memory_available_bytes, .. } = *readings;
        let Readings { tcp_pages, tcp_pages_max, files, files_max, .. } = *readings;
        // Percent of the limit at which something is short.
        let (own, shared) = if was_short { (95, 85) } else { (100, 93) };
        let beyond = |value: u64, percent: u64, max: u64| {
            max > 0 && u128::from(value) * 100 >= u128::from(max) * u128::from(percent)
        };
        if beyond(user_memory_bytes, own, self.user_memory_bytes_max) {
            return Some(Short::UserMemory(user_memory_bytes));
        }
        let least = self.memory_available_bytes_min;
        let least = if was_short { least.saturating_add(least / 4) } else { least };
        if memory_available_bytes < least {
            return Some(Short::AvailableMemory(memory_available_bytes));
        }
        if beyond(tcp_pages, shared, tcp_pages_max) {
            return Some(Short::SocketMemory { pages: tcp_pages, pages_max: tcp_pages_max });
        }
        beyond(files, shared, files_max).then_some(Short::Files(files))
    }
}

impl Readings {
    /// Reads them.
    ///
    /// # Errors
    /// If /proc does not say them.
    pub fn take() -> io::Result<Readings> {
        let status = fs::read_to_string("/proc/self/status")?;
        let memory = fs::read_to_string("/proc/meminfo")?;
        let sockets = fs::read_to_string("/proc/net/sockstat")?;
        let tcp_mem = fs::read_to_string("/proc/sys/net/ipv4/tcp_mem")?;
        let limits = fs::read_to_string("/proc/self/limits")?;
        let files = fs::read_dir("/proc/self/fd")?.count() as u64;
        let unreadable = || io::Error::new(io::ErrorKind::InvalidData, "/proc has another form");
        Readings::parse(&status, &memory, &sockets, &tcp_mem, &limits)
            .map(|readings| Readings { files, ..readings })
            .ok_or_else(unreadable)
    }

    fn parse(
        status: &str,
        memory: &str,
        sockets: &str,
        tcp_mem: &str,
        limits: &str,
    ) -> Option<Readings> {
        let after = |text: &str, name: &str| -> Option<u64> {
            let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
            rest.split_whitespace().next()?.parse().ok()
        };
        let tcp = sockets.lines().find_map(|line| line.strip_prefix("TCP:"))?;
        let mut words = tcp.split_whitespace().skip_while(|word| *word != "mem");
        Some(Readings {
            user_memory_bytes: after(status, "VmRSS:")? * 1_024,
            memory_available_bytes: after(memory, "MemAvailable:")? * 1_024,
            tcp_pages: words.nth(1)?.parse().ok()?,
            tcp_pages_max: tcp_mem.split_whitespace().nth(2)?.parse().ok()?,
            files: 0,
            // "unlimited" is no limit.
            files_max: after(limits, "Max open files").unwrap_or(0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WELL: Readings = Readings {
        user_memory_bytes: 500,
        memory_available_bytes: 5_000,
        tcp_pages: 10,
        tcp_pages_max: 100,
        files: 50,
        files_max: 1_000,
    };
    const LIMITS: PressureLimits =
        PressureLimits { user_memory_bytes_max: 1_000, memory_available_bytes_min: 800 };

    #[test]
    fn what_is_short_is_named_and_must_get_clearly_better() {
        let full = Short::SocketMemory { pages: 93, pages_max: 100 };
        let better = Short::SocketMemory { pages: 85, pages_max: 100 };
        for (readings, at_first, afterwards) in [
            (WELL, None, None),
            (
                Readings { user_memory_bytes: 1_000, ..WELL },
                Some(Short::UserMemory(1_000)),
                Some(Short::UserMemory(1_000)),
            ),
            (Readings { user_memory_bytes: 960, ..WELL }, None, Some(Short::UserMemory(960))),
            (Readings { user_memory_bytes: 940, ..WELL }, None, None),
            (
                Readings { memory_available_bytes: 799, ..WELL },
                Some(Short::AvailableMemory(799)),
                Some(Short::AvailableMemory(799)),
            ),
            (
                Readings { memory_available_bytes: 900, ..WELL },
                None,
                Some(Short::AvailableMemory(900)),
            ),
            (Readings { tcp_pages: 93, ..WELL }, Some(full), Some(full)),
            (Readings { tcp_pages: 85, ..WELL }, None, Some(better)),
            (Readings { files: 990, ..WELL }, Some(Short::Files(990)), Some(Short::Files(990))),
            (Readings { files: 990, files_max: 0, ..WELL }, None, None),
        ] {
            assert_eq!(LIMITS.short_of(&readings, false), at_first, "{readings:?}");
            assert_eq!(LIMITS.short_of(&readings, true), afterwards, "{readings:?}");
        }
        let none = PressureLimits { user_memory_bytes_max: 0, memory_available_bytes_min: 0 };
        let readings = Readings { user_memory_bytes: u64::MAX, memory_available_bytes: 0, ..WELL };
        assert_eq!(none.short_of(&readings, false), None);
    }

    #[test]
    fn the_kernel_is_understood() {
        let sockets =
            "sockets: used 300\nTCP: inuse 7 orphan 0 tw 3 alloc 9 mem 42\nUDP: inuse 1 mem 2\n";
        let limits = "Limit Soft Hard Units\nMax open files            1024   4096   files\n";
        let readings = Readings::parse(
            "Name:\tx\nVmRSS:\t    2048 kB\n",
            "MemTotal: 9 kB\nMemAvailable:    1000 kB\n",
            sockets,
            "10\t20\t30\n",
            limits,
        );
        let expected = Readings {
            user_memory_bytes: 2_048 * 1_024,
            memory_available_bytes: 1_024_000,
            tcp_pages: 42,
            tcp_pages_max: 30,
            files: 0,
            files_max: 1_024,
        };
        assert_eq!(readings, Some(expected));
        let here = Readings::take().expect("Linux with /proc");
        assert!(here.user_memory_bytes > 0 && here.files > 0 && here.tcp_pages_max > 0);
    }
}
