//! What is measured: a process of its own that holds connections and, when told, sends everybody
//! the same bytes. Gateway, floors and peers are all behind this one trait.

use crate::common::clock::ProcessClock;
use crate::common::counting::{Greeting, Request};
use crate::common::problem::Problem;

/// A server under test. Dropped, its process ends.
pub(crate) trait Server {
    /// Its process.
    fn process_id(&self) -> u32;

    /// Where it listens, on all loopback addresses.
    fn port(&self) -> u16;

    /// The upgrade request of each client.
    fn request(&self) -> Request;

    /// When a client counts as being in.
    fn greeting(&self) -> Greeting;

    /// Tells it to send `messages` messages to everybody, and does not wait.
    fn broadcast(&mut self, messages: u32) -> Result<(), Problem>;

    /// Waits for the server's word that it was told.
    fn await_word(&mut self) -> Result<(), Problem>;

    /// The CPU clock of the whole process.
    fn cpu(&self) -> Result<ProcessClock, Problem> {
        ProcessClock::of(self.process_id())
    }
}
