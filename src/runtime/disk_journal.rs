//! The journal on disk: carries out the writer's steps with glommio's files, one at a time.
//!
//! A task of the shard's executor does it, beside the pump. The pump appends records and asks what
//! is durable; the task wakes the pump's plane when something has become so. A step that failed is
//! reported, the writer goes on in another segment, and the next try waits a moment: a disk that is
//! full may be emptied, and until then nothing is acknowledged and nothing is lost.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::task::{Poll, Waker as TaskWaker};
use std::time::Duration;

use glommio::io::{Directory, DmaFile};
use glommio::timer::sleep;

use crate::base::ids::RecordNumber;
use crate::base::time::Time;
use crate::net::Waker;
use crate::runtime::clock::Clock;
use crate::store::format::{BLOCK_BYTES, Key};
use crate::store::writer::{Step, Writer};

/// After a failure the next step waits so long, twice as long after each further one.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(1);
/// A disk that goes on failing is told of this often.
const TROUBLE_INTERVAL: Duration = Duration::from_secs(10);

/// What went wrong with a step.
#[derive(Debug, thiserror::Error)]
#[error("{what} {}: {error}", path.display())]
pub struct StepError {
    what: &'static str,
    path: PathBuf,
    #[source]
    error: io::Error,
}

/// The pump's end of a journal on disk.
#[derive(Clone)]
pub struct DiskJournal {
    shared: Rc<RefCell<Shared>>,
}

struct Shared {
    writer: Writer,
    told: RecordNumber,
    /// The task, if it has nothing to do.
    idle: Option<TaskWaker>,
    is_closing: bool,
    /// Steps that failed since the start.
    failures_total: u64,
}

impl DiskJournal {
    /// Begins with what the writer continues; [`run`] must be spawned beside it.
    #[must_use]
    pub fn new(writer: Writer) -> DiskJournal {
        let told = writer.durable();
        let shared = Shared { writer, told, idle: None, is_closing: false, failures_total: 0 };
        DiskJournal { shared: Rc::new(RefCell::new(shared)) }
    }

    /// Takes a record.
    pub fn append(&self, key: Key, payload: &[u8]) -> RecordNumber {
        let mut shared = self.shared.borrow_mut();
        let number = shared.writer.append(key, payload);
        shared.wake_task();
        number
    }

    /// The newest durable record, if it has not been told before.
    pub fn newly_durable(&self) -> Option<RecordNumber> {
        let mut shared = self.shared.borrow_mut();
        let durable = shared.writer.durable();
        let is_news = durable > shared.told;
        shared.told = durable;
        is_news.then_some(durable)
    }

    /// True while records wait for a file.
    #[must_use]
    pub fn is_writing(&self) -> bool {
        self.shared.borrow().writer.is_busy()
    }

    /// Steps that failed in a row; 0 while all is well.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.shared.borrow().writer.failures()
    }

    /// Steps that failed since the start.
    #[must_use]
    pub fn failures_total(&self) -> u64 {
        self.shared.borrow().failures_total
    }

    /// Where every key is in its sequence.
    #[must_use]
    pub fn sequences(&self) -> BTreeMap<Key, u64> {
        self.shared.borrow().writer.sequences().clone()
    }

    /// Ends in order: the task writes what is there and the mark of the end, and returns.
    pub fn close(&self) {
        let mut shared = self.shared.borrow_mut();
        shared.writer.close();
        shared.is_closing = true;
        shared.wake_task();
    }
}

impl Shared {
    fn wake_task(&mut self) {
        if let Some(task) = self.idle.take() {
            task.wake();
        }
    }
}

/// Carries out the journal's steps until it is closed. Files go to `folder`, which exists.
pub async fn run(journal: DiskJournal, folder: PathBuf, clock: Clock, plane: Waker) {
    let mut files = Files { folder, current: None };
    let mut trouble = Trouble::default();
    while let Some(step) = next_step(&journal, &clock).await {
        let outcome = files.carry_out(step).await;
        let failures = {
            let shared = &mut *journal.shared.borrow_mut();
            match &outcome {
                Ok(()) => shared.writer.done(),
                Err(_) => shared.writer.failed(),
            }
            shared.failures_total += u64::from(outcome.is_err());
            shared.writer.failures()
        };
        trouble.note(clock.now(), outcome.as_ref().err(), failures);
        if outcome.is_err() {
            files.leave().await;
            let pause = RETRY_PAUSE * 2_u32.saturating_pow(failures.min(8) - 1);
            sleep(pause.min(RETRY_PAUSE_MAX)).await;
        }
        plane.wake();
    }
    files.leave().await;
}

/// Says what is wrong with the disk, once in a while, and when it is over.
#[derive(Default)]
struct Trouble {
    since: Option<Time>,
    said_at: Time,
    failures: u32,
}

impl Trouble {
    fn note(&mut self, now: Time, error: Option<&StepError>, failures: u32) {
        let Some(error) = error else {
            if let Some(since) = self.since.take() {
                let (seconds, failures) = (now.since(since).as_secs_f64(), self.failures);
                tracing::warn!(failures, seconds, "the journal goes on");
            }
            return;
        };
        self.failures = failures;
        let is_first = self.since.is_none();
        if is_first || now.since(self.said_at) >= TROUBLE_INTERVAL {
            self.said_at = now;
            tracing::error!(
                %error,
                failures,
                "the journal could not be written and is tried again in another file; until then \
                 nothing is acknowledged and nothing is lost"
            );
        }
        self.since.get_or_insert(now);
    }
}

/// Waits for a step; nothing once the journal is closed and all is written.
async fn next_step(journal: &DiskJournal, clock: &Clock) -> Option<Step> {
    poll_fn(|context| {
        let mut shared = journal.shared.borrow_mut();
        let now_unix_ms = clock.display().unix_ms(clock.now());
        if let Some(step) = shared.writer.next(now_unix_ms) {
            return Poll::Ready(Some(step));
        }
        if shared.is_closing {
            return Poll::Ready(None);
        }
        shared.idle = Some(context.waker().clone());
        Poll::Pending
    })
    .await
}

/// The name of a segment's file.
#[must_use]
pub fn segment_name(segment: u64) -> String {
    format!("{segment:08}.journal")
}

struct Files {
    folder: PathBuf,
    current: Option<DmaFile>,
}

impl Files {
    async fn carry_out(&mut self, step: Step) -> Result<(), StepError> {
        match step {
            Step::Open { segment, header, size_bytes } => {
                self.leave().await;
                let path = self.folder.join(segment_name(segment));
                let file = DmaFile::create(&path).await.map_err(failing("making", &path))?;
                #[cfg(test)]
                faults::meet("allocating", &path).await?;
                // Allocated, so that a full disk is met here and not in the middle of a show.
                let allocated = file.pre_allocate(size_bytes, false).await;
                allocated.map_err(failing("allocating", &path))?;
                write(&file, 0, &header, &path).await?;
                self.sync_folder().await?;
                self.current = Some(file);
            }
            Step::Write { segment, offset, bytes } => {
                let path = self.folder.join(segment_name(segment));
                let file = self.current.as_ref().expect("a segment is opened before it is written");
                write(file, offset, &bytes, &path).await?;
            }
        }
        Ok(())
    }

    async fn sync_folder(&self) -> Result<(), StepError> {
        let folder = &self.folder;
        let opened = Directory::open(folder).await.map_err(failing("opening", folder))?;
        opened.sync().await.map_err(failing("syncing", folder))?;
        opened.close().await.map_err(failing("closing", folder))
    }

    /// Lets the current segment go. It is synced already, or nothing more is expected of it.
    async fn leave(&mut self) {
        if let Some(file) = self.current.take()
            && let Err(error) = file.close().await
        {
            tracing::warn!(%error, "closing a journal segment failed");
        }
    }
}

/// Writes whole blocks and makes them durable.
async fn write(file: &DmaFile, offset: u64, bytes: &[u8], path: &Path) -> Result<(), StepError> {
    assert!(bytes.len().is_multiple_of(BLOCK_BYTES), "whole blocks are written");
    let mut buffer = file.alloc_dma_buffer(bytes.len());
    buffer.as_bytes_mut().copy_from_slice(bytes);
    #[cfg(test)]
    faults::meet("writing to", path).await?;
    let written = file.write_at(buffer, offset).await.map_err(failing("writing to", path))?;
    if written != bytes.len() {
        let error = io::Error::new(io::ErrorKind::WriteZero, "the disk took a part only");
        return Err(StepError { what: "writing to", path: path.to_path_buf(), error });
    }
    #[cfg(test)]
    faults::meet("syncing", path).await?;
    file.fdatasync().await.map_err(failing("syncing", path))
}

fn failing<E: Into<io::Error>>(what: &'static str, path: &Path) -> impl FnOnce(E) -> StepError {
    move |error| StepError { what, path: path.to_path_buf(), error: error.into() }
}

/// What a test lets go wrong: one operation on this thread's files, counted from the first.
#[cfg(test)]
mod faults {
    use std::cell::Cell;

    use super::{Duration, Path, StepError, failing, io, sleep};

    #[derive(Clone, Copy)]
    pub(super) enum Fault {
        Fails,
        Takes(Duration),
    }

    thread_local! {
        static NEXT: Cell<Option<(u32, Fault)>> = const { Cell::new(None) };
    }

    /// Lets the operation behind so many others go wrong.
    pub(super) fn plan(behind: u32, fault: Fault) {
        NEXT.set(Some((behind, fault)));
    }

    /// True if what was planned has not happened.
    pub(super) fn is_left() -> bool {
        NEXT.take().is_some()
    }

    pub(super) async fn meet(what: &'static str, path: &Path) -> Result<(), StepError> {
        match NEXT.get() {
            None => Ok(()),
            Some((0, fault)) => {
                NEXT.set(None);
                match fault {
                    Fault::Fails => Err(failing(what, path)(io::Error::from_raw_os_error(5))),
                    Fault::Takes(time) => {
                        sleep(time).await;
                        Ok(())
                    }
                }
            }
            Some((behind, fault)) => {
                NEXT.set(Some((behind - 1, fault)));
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::faults::Fault;
    use super::*;
    use crate::base::ids::BucketId;
    use crate::runtime::reactor::make_executor;
    use crate::store::scan::{Scan, SegmentFile, Tail, scan};
    use crate::store::writer::{Continuation, SEGMENT_BYTES_MIN};

    fn read_back(folder: &Path, visit: &mut dyn FnMut(&[u8])) -> Scan {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder).expect("the folder") {
            let path = entry.expect("an entry").path();
            let stem = path.file_stem().and_then(|stem| stem.to_str()).expect("a name");
            files.push((stem.parse().expect("a number"), std::fs::read(&path).expect("a file")));
        }
        files.sort();
        let files: Vec<SegmentFile<'_>> =
            files.iter().map(|(segment, bytes)| SegmentFile { segment: *segment, bytes }).collect();
        scan(&files, &mut |_, record| visit(record.payload)).expect("a sound journal")
    }

    fn journal(from: Continuation) -> DiskJournal {
        DiskJournal::new(Writer::new(0, 1, SEGMENT_BYTES_MIN, from))
    }

    #[test]
    fn records_are_durable_in_order_and_read_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().to_path_buf();
        let executor = make_executor("journal").expect("an executor");
        executor.run(async move {
            let journal = journal(Continuation::default());
            let waker = Waker::new().expect("an eventfd");
            let task = glommio::spawn_local(run(journal.clone(), path, Clock::start(), waker));
            let key = Key::Bucket(BucketId(5));
            let mut last = RecordNumber(0);
            for record in 0..400_u64 {
                last = journal.append(key, &[record.to_le_bytes()[0]; 5_000]);
                if record % 20 == 0 {
                    sleep(Duration::from_micros(200)).await;
                }
            }
            let mut durable = RecordNumber(0);
            while durable < last {
                sleep(Duration::from_micros(200)).await;
                if let Some(news) = journal.newly_durable() {
                    assert!(news > durable);
                    durable = news;
                }
            }
            assert!(!journal.is_writing());
            journal.close();
            task.await;
        });
        let mut expected = 0_u64;
        let scan = read_back(folder.path(), &mut |payload| {
            assert_eq!(payload, [expected.to_le_bytes()[0]; 5_000]);
            expected += 1;
        });
        assert_eq!((expected, scan.tail), (400, Tail::Closed));
        assert!(scan.continuation.counted.segment > 1, "more than one segment was filled");
    }

    /// Without a place for its files the journal acknowledges nothing, tries again, and goes on
    /// when there is one.
    #[test]
    fn a_disk_that_refuses_is_tried_again_and_nothing_is_lost() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("later");
        let executor = make_executor("journal").expect("an executor");
        let place = path.clone();
        executor.run(async move {
            let journal = journal(Continuation::default());
            let waker = Waker::new().expect("an eventfd");
            let task =
                glommio::spawn_local(run(journal.clone(), place.clone(), Clock::start(), waker));
            let last = journal.append(Key::Bucket(BucketId(5)), b"kept");
            while journal.failures() < 2 {
                sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(journal.newly_durable(), None);
            std::fs::create_dir(&place).expect("a folder");
            let durable = loop {
                sleep(Duration::from_millis(1)).await;
                if let Some(durable) = journal.newly_durable() {
                    break durable;
                }
            };
            assert_eq!((durable, journal.failures()), (last, 0));
            journal.close();
            task.await;
        });
        let mut payloads = Vec::new();
        read_back(&path, &mut |payload| payloads.push(payload.to_vec()));
        assert_eq!(payloads, [b"kept".to_vec()]);
    }

    /// Writes some records, most of which fill a third of a segment, with a fault on the way.
    fn write_with(fault: Option<(u32, Fault)>, records: u8) -> (tempfile::TempDir, bool, u64) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().to_path_buf();
        let executor = make_executor("journal").expect("an executor");
        let (is_left, failures) = executor.run(async move {
            if let Some((behind, fault)) = fault {
                faults::plan(behind, fault);
            }
            let journal = journal(Continuation::default());
            let waker = Waker::new().expect("an eventfd");
            let task = glommio::spawn_local(run(journal.clone(), path, Clock::start(), waker));
            for record in 0..records {
                let number = journal.append(Key::Bucket(BucketId(5)), &payload(record));
                loop {
                    sleep(Duration::from_micros(300)).await;
                    match journal.newly_durable() {
                        Some(durable) if durable == number => break,
                        Some(durable) => assert!(durable < number, "promised and not given"),
                        None => {}
                    }
                }
            }
            journal.close();
            task.await;
            (faults::is_left(), journal.failures_total())
        });
        (folder, is_left, failures)
    }

    fn payload(record: u8) -> Vec<u8> {
        vec![record; 350_000]
    }

    /// The n-th operation on a file fails, for every n: what was under way is written into another
    /// segment, the one that failed is not written to any more, and every record counts once.
    #[test]
    fn whichever_write_or_sync_fails_nothing_is_lost_and_nothing_is_twice() {
        const RECORDS: u8 = 7;
        let mut operations = 0;
        loop {
            let (folder, is_left, failures) = write_with(Some((operations, Fault::Fails)), RECORDS);
            if is_left {
                break;
            }
            assert_eq!(failures, 1, "operation {operations}");
            let mut found = Vec::new();
            let scan = read_back(folder.path(), &mut |payload| found.push(payload.to_vec()));
            let expected: Vec<_> = (0..RECORDS).map(payload).collect();
            assert!(found == expected, "operation {operations}: {} records", found.len());
            assert_eq!(scan.tail, Tail::Closed, "operation {operations}");
            operations += 1;
        }
        // Three segments with three operations each, and two for every group.
        assert!(operations >= 3 * 3 + 2 * u32::from(RECORDS), "{operations} operations");
    }

    #[test]
    fn while_a_sync_takes_its_time_nothing_is_promised_and_what_comes_waits_together() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().to_path_buf();
        let executor = make_executor("journal").expect("an executor");
        executor.run(async move {
            let slow = Duration::from_millis(400);
            // Behind the three operations of opening a segment and the first group's write.
            faults::plan(4, Fault::Takes(slow));
            let clock = Clock::start();
            let journal = journal(Continuation::default());
            let waker = Waker::new().expect("an eventfd");
            let task = glommio::spawn_local(run(journal.clone(), path, clock, waker));
            let begun = clock.now();
            let first = journal.append(Key::Bucket(BucketId(5)), b"first");
            let mut last = first;
            let mut told = Vec::new();
            while told.last() != Some(&last) || last.0 < 20 {
                if last.0 < 20 {
                    last = journal.append(Key::Bucket(BucketId(5)), b"more");
                }
                sleep(Duration::from_millis(5)).await;
                if let Some(durable) = journal.newly_durable() {
                    assert!(clock.now().since(begun) >= slow, "{durable:?} was told too early");
                    told.push(durable);
                }
            }
            assert!(told.len() <= 3, "what waited went together: {told:?}");
            journal.close();
            task.await;
        });
        let mut count = 0;
        read_back(folder.path(), &mut |_| count += 1);
        assert_eq!(count, 20);
    }
}
