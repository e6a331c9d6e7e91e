//! Files that are read again while the gateway runs: token keys, sensitive words, certificates.
//!
//! One thread looks at all of them, each at its own interval, when SIGHUP comes, and when an operator
//! asks; no shard ever waits for a file. What a file means and whom its content is given to is its
//! own business ([`Watched`]). One that cannot be used changes nothing: it is logged and counted, and
//! what was in force stays. Deliberately absent: memory and descriptors, whose watch must not wait for
//! a shard that takes its time with new keys.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use flume::{Receiver, RecvTimeoutError, Sender};
use signal_hook::consts::SIGHUP;
use tokio::sync::oneshot;

use crate::ops::service;

/// Requests of operators that may wait.
const ORDERS_MAX: usize = 16;
/// The longest between two looks at whether SIGHUP came.
const STEP_MAX: Duration = Duration::from_millis(500);

/// How much is in force now (words, keys, certificates), or why nothing has changed.
pub type Outcome = Result<usize, String>;

/// A file, or several that belong together, and what is done with their content.
pub trait Watched: Send {
    /// What it is called, for who wants it read again.
    fn name(&self) -> &'static str;

    /// Time between two looks.
    fn interval(&self) -> Duration;

    /// Reads it again if it has changed, and orders what follows from that.
    fn look(&mut self);

    /// Reads it again, changed or not.
    ///
    /// # Errors
    /// Why what was in force still is.
    fn reload(&mut self) -> Outcome;
}

/// The thread that looks.
pub struct FileWatch {
    orders: Sender<Order>,
    thread: JoinHandle<()>,
}

enum Order {
    Reload { name: &'static str, answer: oneshot::Sender<Outcome> },
    Stop,
}

/// Asks for one of the files to be read again, from any thread.
#[derive(Clone)]
pub struct ReloadHandle {
    name: &'static str,
    orders: Sender<Order>,
}

impl ReloadHandle {
    /// Reads it again: how much is in force then.
    ///
    /// # Errors
    /// Why what was in force still is.
    pub async fn reload(&self) -> Outcome {
        let (answer, answered) = oneshot::channel();
        let sent = self.orders.try_send(Order::Reload { name: self.name, answer });
        sent.map_err(|_| "files are being read already; try again".to_owned())?;
        answered.await.unwrap_or_else(|_| Err("the gateway is stopping".to_owned()))
    }
}

impl FileWatch {
    /// Begins to look.
    ///
    /// # Errors
    /// If the thread or the handler of SIGHUP cannot be had.
    pub fn start(watched: Vec<Box<dyn Watched>>) -> io::Result<FileWatch> {
        let is_asked = Arc::new(AtomicBool::new(false));
        // With nothing to read again the signal means what it always does: the end of a terminal. A
        // service manager has no terminal, and its reload must end nobody's show.
        if !watched.is_empty() || service::is_managed() {
            signal_hook::flag::register(SIGHUP, Arc::clone(&is_asked))?;
        }
        let (orders, ordered) = flume::bounded(ORDERS_MAX);
        let watched = watched.into_iter().map(|it| Looked { since: Duration::ZERO, it }).collect();
        let watching = Watching { watched, is_asked };
        let builder = std::thread::Builder::new().name("files".to_owned());
        let thread = builder.spawn(move || watching.run(&ordered))?;
        Ok(FileWatch { orders, thread })
    }

    /// For those who want a file read again.
    #[must_use]
    pub fn handle(&self, name: &'static str) -> ReloadHandle {
        ReloadHandle { name, orders: self.orders.clone() }
    }

    /// Looks no more.
    pub fn stop(self) {
        // The thread is gone if this fails.
        let _ = self.orders.send(Order::Stop);
        if self.thread.join().is_err() {
            tracing::error!("the thread that watches files had panicked");
        }
    }
}

struct Looked {
    /// For how long it was not looked at, counted in waits; one that was cut short counts whole.
    since: Duration,
    it: Box<dyn Watched>,
}

struct Watching {
    watched: Vec<Looked>,
    /// SIGHUP came.
    is_asked: Arc<AtomicBool>,
}

impl Watching {
    fn run(mut self, ordered: &Receiver<Order>) {
        loop {
            let left = |looked: &Looked| looked.it.interval().saturating_sub(looked.since);
            let step = self.watched.iter().map(left).min().unwrap_or(STEP_MAX).min(STEP_MAX);
            match ordered.recv_timeout(step) {
                Ok(Order::Reload { name, answer }) => {
                    // An operator who did not wait for the answer is none of our business.
                    let _ = answer.send(self.reload(name));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            }
            let is_asked = self.is_asked.swap(false, Ordering::Relaxed);
            for looked in &mut self.watched {
                looked.since += step;
                if is_asked {
                    // What is wrong with it is in the log.
                    let _ = looked.it.reload();
                } else if looked.since >= looked.it.interval() {
                    looked.since = Duration::ZERO;
                    looked.it.look();
                }
            }
        }
    }

    fn reload(&mut self, name: &str) -> Outcome {
        let found = self.watched.iter_mut().find(|looked| looked.it.name() == name);
        found.map_or_else(|| Err(format!("no {name} are watched")), |looked| looked.it.reload())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts looks, and tells of reloads.
    struct Counted {
        name: &'static str,
        looks: Sender<&'static str>,
        reloads: usize,
    }

    impl Watched for Counted {
        fn name(&self) -> &'static str {
            self.name
        }

        fn interval(&self) -> Duration {
            Duration::from_millis(1)
        }

        fn look(&mut self) {
            let _ = self.looks.send(self.name);
        }

        fn reload(&mut self) -> Outcome {
            self.reloads += 1;
            if self.reloads > 1 { Err("again".to_owned()) } else { Ok(self.reloads) }
        }
    }

    #[tokio::test]
    async fn all_files_are_looked_at_and_one_is_read_when_it_is_asked_for() {
        let (looks, looked) = flume::unbounded();
        let counted = |name| Counted { name, looks: looks.clone(), reloads: 0 };
        let watched: Vec<Box<dyn Watched>> = vec![Box::new(counted("a")), Box::new(counted("b"))];
        let watch = FileWatch::start(watched).expect("a thread");
        let handle = watch.handle("b");
        assert_eq!(handle.reload().await, Ok(1));
        assert_eq!(handle.reload().await, Err("again".to_owned()));
        assert_eq!(watch.handle("c").reload().await, Err("no c are watched".to_owned()));
        let mut seen: Vec<_> = (0..4).filter_map(|_| looked.recv().ok()).collect();
        seen.sort_unstable();
        assert_eq!(seen, ["a", "a", "b", "b"]);
        watch.stop();
        assert!(handle.reload().await.is_err());
    }
}
