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
}

impl Posts {
    /// `addresses` by shard; nothing for the shard itself.
    #[must_use]
    pub fn new(addresses: Vec<Option<Address<Batch>>>) -> Posts {
        let waiting = addresses.iter().map(|_| VecDeque::new()).collect();
        Posts { addresses, waiting }
    }

    /// Number of shards of the process.
    #[must_use]
    pub fn shard_count(&self) -> u16 {
        u16::try_from(self.addresses.len()).unwrap_or(u16::MAX)
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
    /// If the receiving shard is gone while this one runs: then the process must end.
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
                Err(TrySendError::Disconnected(_)) => panic!("shard {to} is gone"),
            }
        }
    }
}
