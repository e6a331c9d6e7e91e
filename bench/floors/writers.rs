//! The floor of durable acknowledgements: group commit, and nothing else.
//!
//! So many writers, a thread and a file each on the disk that is measured. Records fall due at a
//! steady rate; a writer takes all that are due, writes them as one group of whole blocks past the
//! page cache, makes it durable (`fdatasync`), and acknowledges them. What comes meanwhile is its
//! next group. Nothing is received, judged, encoded or sent.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Error, Result, Write as _, stdout};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use clap::Args;
use tidegate::store::format::{BLOCK_BYTES, GROUP_BODY_BYTES_MAX};

use crate::common::clock::{now_ns, pause};

/// What the writers are told.
#[derive(Clone, Debug, Args)]
pub(crate) struct WritersArguments {
    /// Where the files are made and removed again
    pub(crate) folder: PathBuf,
    pub(crate) writers: u32,
    /// Records a second, of all writers
    pub(crate) rate: u32,
    /// Records of all writers
    pub(crate) records: u32,
    pub(crate) record_bytes: usize,
}

/// A file that is full is written from its beginning again: all of it is allocated once.
const FILE_BYTES: i64 = 64 << 20;

/// Writes, and prints the times from due to durable, in nanoseconds, a line each.
pub(crate) fn run(arguments: &WritersArguments) -> Result<()> {
    let WritersArguments { folder, writers, rate, records, record_bytes } = arguments;
    let start_ns = now_ns() + 10_000_000;
    let write = |writer: u32| {
        let path = folder.join(format!("writer-{}-{writer}", std::process::id()));
        let due_ns = (writer..*records)
            .step_by(*writers as usize)
            .map(|record| start_ns + u64::from(record) * 1_000_000_000 / u64::from(*rate));
        let times = commit(&path, &due_ns.collect::<Vec<_>>(), *record_bytes);
        std::fs::remove_file(&path)?;
        times
    };
    let times = thread::scope(|scope| {
        let threads: Vec<_> =
            (0..*writers).map(|writer| scope.spawn(move || write(writer))).collect();
        threads
            .into_iter()
            .map(|it| it.join().expect("a writer does not panic"))
            .collect::<Vec<_>>()
    });
    let mut output = BufWriter::new(stdout().lock());
    for times in times {
        for time_ns in times? {
            writeln!(output, "{time_ns}")?;
        }
    }
    output.flush()
}

/// One writer: for each record the time from its due moment until it is durable.
fn commit(path: &Path, due_ns: &[u64], record_bytes: usize) -> Result<Vec<u64>> {
    let file =
        OpenOptions::new().write(true).create_new(true).custom_flags(libc::O_DIRECT).open(path)?;
    allocate(&file)?;
    let memory = vec![0xa5; GROUP_BODY_BYTES_MAX + BLOCK_BYTES];
    let group = &memory[memory.as_ptr().align_offset(BLOCK_BYTES)..][..GROUP_BODY_BYTES_MAX];
    let (mut times_ns, mut offset) = (Vec::with_capacity(due_ns.len()), 0);
    while let Some(next_ns) = due_ns.get(times_ns.len()) {
        let now = now_ns();
        if *next_ns > now {
            pause(Duration::from_nanos(next_ns - now));
            continue;
        }
        let waiting = &due_ns[times_ns.len()..];
        let due =
            waiting.partition_point(|at_ns| *at_ns <= now).min(GROUP_BODY_BYTES_MAX / record_bytes);
        let bytes = &group[..(due * record_bytes).next_multiple_of(BLOCK_BYTES)];
        if offset + bytes.len() as u64 > FILE_BYTES.unsigned_abs() {
            offset = 0;
        }
        file.write_all_at(bytes, offset)?;
        file.sync_data()?;
        offset += bytes.len() as u64;
        let durable_ns = now_ns();
        times_ns.extend(waiting[..due].iter().map(|at_ns| durable_ns - at_ns));
    }
    Ok(times_ns)
}

fn allocate(file: &File) -> Result<()> {
    // SAFETY: the descriptor is open; the call touches no memory of ours.
    let result = unsafe { libc::fallocate64(file.as_raw_fd(), 0, 0, FILE_BYTES) };
    if result == 0 { Ok(()) } else { Err(Error::last_os_error()) }
}
