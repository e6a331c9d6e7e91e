//! Mailboxes between shards: bounded, in order, one batch per destination and turn.
//!
//! A batch that a full mailbox does not take stays with its sender, which then leaves its sockets
//! unread. A sleeping receiver is woken through its eventfd; one that runs is not disturbed.

use std::collections::VecDeque;

use flume::{Receiver, Sender, TrySendError};

use crate::base::ids::ShardId;
use crate::net::Waker;
use crate::shard::mail::Batch;

/// Batches that a mailbox holds: about a second's worth of turns from each of 16 shards.
const MAILBOX_BATCHES: usize = 4_096;

/// A way to put something into another thread's queue and wake it if it sleeps.
pub struct Address<T> {
    queue: Sender<T>,
    waker: Waker,
}

impl<T> Clone for Address<T> {
    fn clone(&self) -> Address<T> {
        Address { queue: self.queue.clone(), waker: self.waker.clone() }
    }
}

impl<T> Address<T> {
    /// The queue of the thread that `waker` wakes.
    #[must_use]
    pub fn new(queue: Sender<T>, waker: Waker) -> Address<T> {
        Address { queue, waker }
    }

    /// Puts `item` into the queue; gives it back if there is no room or nobody to take it.
    ///
    /// # Errors
    /// The item, and why it was not taken.
    pub fn try_send(&self, item: T) -> Result<(), TrySendError<T>> {
        self.queue.try_send(item)?;
        self.waker.wake();
        Ok(())
    }

    /// Wakes the thread if it sleeps, without any item.
    pub fn wake(&self) {
        self.waker.wake();
    }
}

/// A shard's mailbox: one queue for all senders.
#[must_use]
pub fn mailbox() -> (Sender<Batch>, Receiver<Batch>) {
    flume::bounded(MAILBOX_BATCHES)
}

/// What a shard has posted: a batch in the making for each destination, and those that a full
/// mailbox has not taken yet.
pub struct Posts {
    addresses: Vec<Option<Address<Batch>>>,
    waiting: Vec<VecDeque<Batch>>,
    /// This shard is done, so others may be gone.
    is_done: bool,
}

impl Posts {
    /// `addresses` by shard; nothing for the shard itself.
    #[must_use]
    pub fn new(addresses: Vec<Option<Address<Batch>>>) -> Posts {
        let waiting = addresses.iter().map(|_| VecDeque::new()).collect();
        Posts { addresses, waiting, is_done: false }
    }

    /// Number of shards of the process.
    #[must_use]
    pub fn shard_count(&self) -> u16 {
        u16::try_from(self.addresses.len()).unwrap_or(u16::MAX)
    }

    /// From now on a shard that is gone is none of our business: shards end when all are done.
    pub fn be_done(&mut self) {
        self.is_done = true;
    }

    /// Posts a batch behind those that wait for the same destination.
    pub fn post(&mut self, to: ShardId, batch: Batch) {
        self.waiting[to.index()].push_back(batch);
        self.deliver(to.index());
    }

    /// Tries those again that a full mailbox did not take; true if some still wait.
    pub fn deliver_waiting(&mut self) -> bool {
        for to in 0..self.waiting.len() {
            self.deliver(to);
        }
        self.waiting.iter().any(|waiting| !waiting.is_empty())
    }

    /// # Panics
    /// If the receiving shard is gone before this one is done: then the process must end.
    fn deliver(&mut self, to: usize) {
        let Some(address) = &self.addresses[to] else {
            assert!(self.waiting[to].is_empty(), "a shard posts nothing to itself");
            return;
        };
        while let Some(batch) = self.waiting[to].pop_front() {
            match address.try_send(batch) {
                Ok(()) => {}
                Err(TrySendError::Full(batch)) => {
                    self.waiting[to].push_front(batch);
                    return;
                }
                Err(TrySendError::Disconnected(_)) => {
                    assert!(self.is_done, "shard {to} is gone");
                    self.waiting[to].clear();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::time::Time;

    /// Shard 0 posting to shard 1, which is gone.
    fn post_to_nobody(is_done: bool) {
        let (sender, receiver) = mailbox();
        let waker = Waker::new().expect("an eventfd");
        let mut posts = Posts::new(vec![None, Some(Address::new(sender, waker))]);
        drop(receiver);
        if is_done {
            posts.be_done();
        }
        let (from, posted_at, lag) = (ShardId(0), Time::ZERO, Duration::ZERO);
        posts.post(ShardId(1), Batch { from, posted_at, lag, mail: Vec::new() });
        assert!(!posts.deliver_waiting());
    }

    #[test]
    fn the_last_words_of_a_shard_that_is_done_may_find_nobody() {
        post_to_nobody(true);
    }

    #[test]
    #[should_panic(expected = "shard 1 is gone")]
    fn a_shard_that_is_gone_too_early_ends_the_process() {
        post_to_nobody(false);
    }
}
