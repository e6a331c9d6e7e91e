//! The list of sensitive words of a running gateway: read at start, again when its file changes,
//! and when an operator asks for it.
//!
//! A thread of its own looks after the file and builds what is looked for; the shards are given the
//! finished list. A broken file changes nothing: it is logged and counted, and what was in force
//! stays.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};
use std::{fs, io, thread};

use flume::{Receiver, RecvTimeoutError, Sender};
use tokio::sync::oneshot;

use crate::chat::words::{Action, WordList};
use crate::ops::config::ChatConfig;
use crate::ops::problems::{Origin, Problems};
use crate::ops::settings::read_file;
use crate::runtime::operator::Caller;
use crate::shard::operator::OperatorRequest;

/// How often the file is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Requests of operators that may wait.
const ORDERS_MAX: usize = 16;

/// Where the words stand, and what is done about them.
#[derive(Clone, Debug)]
pub struct WordsFile {
    path: PathBuf,
    action: Action,
}

/// What tells one state of a file from another.
type Stamp = Option<(SystemTime, u64)>;

/// How many words are in force now, or why nothing has changed.
type Outcome = Result<usize, String>;

impl WordsFile {
    /// The file of the configuration, if there is one.
    #[must_use]
    pub fn of(config: &ChatConfig) -> Option<WordsFile> {
        let path = PathBuf::from(config.words_file.as_ref()?);
        Some(WordsFile { path, action: config.words_action })
    }

    /// Reads the list.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(&self) -> Result<WordList, Problems> {
        let name = self.path.display().to_string();
        let mut problems = Problems::new();
        match read_file(&self.path).map(|text| WordList::parse(&text, self.action)) {
            Ok(Ok(words)) => return Ok(words),
            Ok(Err(errors)) => {
                for error in errors {
                    let origin = Origin::File { name: name.clone(), line: error.line };
                    problems.push(origin, "", error.reason);
                }
            }
            Err(reason) => problems.push(Origin::File { name, line: None }, "", reason),
        }
        Err(problems)
    }

    fn stamp(&self) -> Stamp {
        let metadata = fs::metadata(&self.path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    }

    /// Where it stands.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// What the thread is asked for.
enum Order {
    Reload(oneshot::Sender<Outcome>),
    Stop,
}

/// Looks after the file until it is stopped.
pub struct WordsKeeper {
    orders: Sender<Order>,
    thread: JoinHandle<()>,
}

/// Asks for the list to be read again, from any thread.
#[derive(Clone)]
pub struct WordsHandle(Sender<Order>);

impl WordsHandle {
    /// Reads the list again: how many words are in force then.
    ///
    /// # Errors
    /// Why what was in force still is.
    pub async fn reload(&self) -> Result<usize, String> {
        let (answer, answered) = oneshot::channel();
        let sent = self.0.try_send(Order::Reload(answer));
        sent.map_err(|_| "the list is being read already; try again".to_owned())?;
        answered.await.unwrap_or_else(|_| Err("the gateway is stopping".to_owned()))
    }
}

impl WordsKeeper {
    /// Begins to look after a file whose words the shards were started with.
    ///
    /// # Errors
    /// No thread could be started.
    pub fn start(file: WordsFile, caller: Caller) -> io::Result<WordsKeeper> {
        let (orders, ordered) = flume::bounded(ORDERS_MAX);
        // What changed since the start is seen by the first look, which finds no state known.
        let keeping = Keeping { file, caller, seen: None, is_told: false };
        let builder = thread::Builder::new().name("words".to_owned());
        let thread = builder.spawn(move || keeping.run(&ordered))?;
        Ok(WordsKeeper { orders, thread })
    }

    /// For those who ask.
    #[must_use]
    pub fn handle(&self) -> WordsHandle {
        WordsHandle(self.orders.clone())
    }

    /// Ends it.
    pub fn stop(self) {
        // The thread is gone if this fails.
        let _ = self.orders.send(Order::Stop);
        if self.thread.join().is_err() {
            tracing::error!("the thread of the word list had panicked");
        }
    }
}

struct Keeping {
    file: WordsFile,
    caller: Caller,
    /// The state of the file that was read last, good or broken.
    seen: Stamp,
    /// It was said that there is no such file.
    is_told: bool,
}

impl Keeping {
    fn run(mut self, ordered: &Receiver<Order>) {
        loop {
            match ordered.recv_timeout(LOOK_INTERVAL) {
                Ok(Order::Reload(answer)) => {
                    self.seen = self.file.stamp();
                    // An operator who did not wait for the answer is none of our business.
                    let _ = answer.send(self.reload());
                }
                Err(RecvTimeoutError::Timeout) => self.look(),
                Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn look(&mut self) {
        let stamp = self.file.stamp();
        if stamp != self.seen || (stamp.is_none() && !self.is_told) {
            self.seen = stamp;
            self.is_told = stamp.is_none();
            let _ = self.reload();
        }
    }

    fn reload(&mut self) -> Outcome {
        let path = self.file.path().display();
        let words = match self.file.read() {
            Ok(words) => Arc::new(words),
            Err(problems) => {
                tracing::error!(%path, %problems, "the list of words is broken; the one before stays in force");
                if let Err(error) = self.caller.call(OperatorRequest::NoteBrokenWords) {
                    tracing::warn!(%error, "a broken list of words was not counted");
                }
                return Err(problems.to_string());
            }
        };
        let count = words.count();
        match self.caller.call(OperatorRequest::SetWords(words)) {
            Ok(_) => {
                tracing::info!(%path, words = count, "the list of words is in force");
                Ok(count)
            }
            Err(error) => {
                tracing::error!(%error, "the list of words is not in force on every shard yet");
                // The next look tries again.
                (self.seen, self.is_told) = (None, false);
                Err(error.to_string())
            }
        }
    }
}
