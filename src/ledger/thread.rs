//! The thread of the book: takes batches from feeds, and writes as many as wait in one transaction.
//!
//! A disk that is full or can only be read stops nothing: the same batches are tried again every
//! second, and the feeds wait. A cause that cannot be booked stops the book for good, because what
//! follows may rest on it; whoever feeds it is told why, and a person has to look.

use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::base::limits::{LEDGER_BATCHES_MAX, LEDGER_CAUSES_PER_COMMIT_MAX};
use crate::base::priority::give_way;
use crate::ledger::book::{Applied, Batch, Book, FeedId, Position};
use crate::ledger::error::LedgerError;

/// How long the book waits for a disk.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Hears what the book does, on the thread of the book.
pub trait LedgerListener: Send {
    /// These positions are durable: the journal's segments before them may go, as far as the book
    /// is concerned.
    fn written(&mut self, positions: &[(FeedId, Position)], applied: &Applied);
    /// Nothing of what waits was written. If `error` [may pass](LedgerError::may_pass), the same is
    /// tried again; else the book has stopped.
    fn failed(&mut self, error: &LedgerError);
}

/// The running book. Dropped without [`LedgerThread::stop`], it still writes what waits.
pub struct LedgerThread {
    batches: Option<flume::Sender<Vec<Batch>>>,
    stopped: Arc<OnceLock<String>>,
    thread: Option<JoinHandle<()>>,
}

impl LedgerThread {
    /// Opens the book of `directory` and starts its thread.
    ///
    /// # Errors
    /// As [`Book::open`], or there is no thread.
    pub fn start(
        directory: &Path,
        listener: Box<dyn LedgerListener>,
    ) -> Result<LedgerThread, LedgerError> {
        let book = Book::open(directory)?;
        let (batches, waiting) = flume::bounded(LEDGER_BATCHES_MAX);
        let stopped = Arc::new(OnceLock::new());
        let said = Arc::clone(&stopped);
        let path = book.path().to_owned();
        let thread = thread::Builder::new()
            .name("ledger".to_owned())
            .spawn(move || {
                give_way();
                Writer { book, waiting, listener, stopped: said }.run();
            })
            .map_err(|source: io::Error| LedgerError::File {
                path,
                doing: "its thread cannot be started",
                source,
            })?;
        Ok(LedgerThread { batches: Some(batches), stopped, thread: Some(thread) })
    }

    /// Hands a batch over; waits while too many wait.
    ///
    /// # Errors
    /// The book has stopped.
    pub fn feed(&self, batch: Batch) -> Result<(), LedgerError> {
        match self.batches.as_ref().map(|batches| batches.send(vec![batch])) {
            Some(Ok(())) => Ok(()),
            _ => Err(self.why()),
        }
    }

    /// Hands batches over that are to be written together; waits for a place no longer than `wait`, and
    /// gives them back if there was none.
    ///
    /// # Errors
    /// The book has stopped.
    pub fn feed_within(
        &self,
        batches: Vec<Batch>,
        wait: Duration,
    ) -> Result<Option<Vec<Batch>>, LedgerError> {
        let Some(sender) = &self.batches else { return Err(self.why()) };
        match sender.send_timeout(batches, wait) {
            Ok(()) => Ok(None),
            Err(flume::SendTimeoutError::Timeout(batches)) => Ok(Some(batches)),
            Err(flume::SendTimeoutError::Disconnected(_)) => Err(self.why()),
        }
    }

    /// Writes what waits, and ends.
    ///
    /// # Errors
    /// The book had stopped before.
    pub fn stop(mut self) -> Result<(), LedgerError> {
        self.batches = None;
        let ended = self.thread.take().map(JoinHandle::join);
        match (ended, self.stopped.get()) {
            (Some(Ok(())), None) => Ok(()),
            _ => Err(self.why()),
        }
    }

    fn why(&self) -> LedgerError {
        let why = self.stopped.get().cloned();
        LedgerError::Stopped { why: why.unwrap_or_else(|| "its thread is gone".to_owned()) }
    }
}

struct Writer {
    book: Book,
    waiting: flume::Receiver<Vec<Batch>>,
    listener: Box<dyn LedgerListener>,
    stopped: Arc<OnceLock<String>>,
}

impl Writer {
    fn run(mut self) {
        while let Ok(first) = self.waiting.recv() {
            let batches = self.with_what_waits(first);
            if let Err(error) = self.write(&batches) {
                // A feed that is refused finds the reason here.
                let _ = self.stopped.set(error.to_string());
                return;
            }
        }
    }

    fn with_what_waits(&self, first: Vec<Batch>) -> Vec<Batch> {
        let count = |batches: &[Batch]| batches.iter().map(|it| it.causes.len()).sum::<usize>();
        let mut causes = count(&first);
        let mut batches = first;
        while causes < LEDGER_CAUSES_PER_COMMIT_MAX {
            let Ok(more) = self.waiting.try_recv() else { break };
            causes += count(&more);
            batches.extend(more);
        }
        batches
    }

    fn write(&mut self, batches: &[Batch]) -> Result<(), LedgerError> {
        loop {
            match self.book.apply(batches) {
                Ok(applied) => {
                    let reached = |batch: &Batch| (batch.feed, batch.through);
                    let positions: Vec<_> = batches.iter().map(reached).collect();
                    self.listener.written(&positions, &applied);
                    return Ok(());
                }
                Err(error) => {
                    tracing::error!(%error, "the ledger did not write");
                    self.listener.failed(&error);
                    // Whoever stops the book now reads the same causes again at the next start.
                    if !error.may_pass() || self.waiting.is_disconnected() {
                        return Err(error);
                    }
                    thread::park_timeout(RETRY_PAUSE);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::book::fixture::{a_show, batch, directory, prize};

    struct Tell(flume::Sender<String>);

    impl LedgerListener for Tell {
        fn written(&mut self, positions: &[(FeedId, Position)], applied: &Applied) {
            let last = positions.last().map_or(0, |(_, position)| position.0);
            let _ = self.0.send(format!("{} booked, at {last}", applied.booked));
        }

        fn failed(&mut self, error: &LedgerError) {
            let _ = self.0.send(error.to_string());
        }
    }

    #[test]
    fn batches_are_written_and_a_conflict_stops_the_feed() {
        let directory = directory();
        let (tell, heard) = flume::unbounded();
        let book = LedgerThread::start(directory.path(), Box::new(Tell(tell))).expect("started");
        book.feed(a_show(1, 5).remove(0)).expect("taken");
        assert_eq!(heard.recv().as_deref(), Ok("7 booked, at 7"));
        book.feed(batch(2, 0, vec![prize(1, 1, 11)])).expect("taken");
        assert!(
            heard.recv().expect("told").contains("prize:1:1 is in the book with other contents")
        );
        let mut next = book.feed(batch(2, 0, vec![]));
        while next.is_ok() {
            next = book.feed(batch(2, 0, vec![]));
        }
        assert!(next.expect_err("stopped").to_string().contains("takes nothing any more"));
        assert!(book.stop().expect_err("stopped").to_string().contains("prize:1:1"));
        let again = LedgerThread::start(directory.path(), Box::new(Tell(flume::unbounded().0)));
        assert!(again.expect("started").stop().is_ok());
    }
}
