//! On what a figure was measured: every report carries it.

use std::fs;
use std::process::Command;

use serde::Serialize;
use tidegate::net::probe::raise_file_limit;

use crate::common::memory;
use crate::common::pinned;

/// Machine, kernel, commit, limits, versions.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    cpu: String,
    cores: usize,
    memory_mib: u64,
    kernel: String,
    file_limit: u64,
    tcp_mem_pages: String,
    version: &'static str,
    /// Of the working directory; with `+` if files differ from it.
    commit: String,
    profile: &'static str,
}

impl Machine {
    /// Looks. Must be called before the process is pinned.
    pub(crate) fn look() -> Machine {
        let cpuinfo = read("/proc/cpuinfo");
        let cpu =
            cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
        Machine {
            cpu: cpu.unwrap_or("unknown").to_owned(),
            cores: pinned::available().len(),
            memory_mib: memory::total_bytes().unwrap_or(0) >> 20,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            file_limit: raise_file_limit().map_or(0, |limit| limit.soft),
            tcp_mem_pages: read("/proc/sys/net/ipv4/tcp_mem")
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" "),
            version: env!("CARGO_PKG_VERSION"),
            commit: commit(),
            profile: if cfg!(debug_assertions) { "debug" } else { "release" },
        }
    }

    /// Open files that this process, and each that it starts, may have.
    pub(crate) fn file_limit(&self) -> u64 {
        self.file_limit
    }

    /// In a line, for people.
    pub(crate) fn line(&self) -> String {
        let Machine { cpu, cores, memory_mib, kernel, version, commit, profile, .. } = self;
        format!(
            "{cores} × {cpu}, {memory_mib} MiB, Linux {kernel}; tidegate {version} ({commit}, {profile})"
        )
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else {
        return "unknown".to_owned();
    };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]);
    if changed.is_some_and(|files| files.is_empty()) { commit } else { format!("{commit}+") }
}
