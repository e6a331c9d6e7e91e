//! Parking: the one order of enabling, polling and waiting that loses no wake.

use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

use super::{Clock, Plane};
use crate::base::time::Time;
use crate::net::user_data::{self, Operation};
use crate::net::wake::Waker;

/// The user data of the one timer.
const TIMER: u64 = (Operation::Timer as u64) << 60;

impl Plane {
    /// Prepares for waiting until `deadline` at the latest. If it says true, the caller looks for
    /// mail once more and then awaits 8 bytes from the eventfd (it may be readable at once); in
    /// any case, and also if it does not wait, it calls [`Plane::unpark`] before the next turn. If
    /// it says false there is work: call [`Plane::turn`].
    ///
    /// Not worth it in the middle of work: a wake through an executor costs about 50 µs, after a
    /// [`nap`](Plane::nap) some 10.
    pub fn prepare_park(&mut self, deadline: Option<Time>, clock: &dyn Fn() -> Time) -> bool {
        if self.has_work() {
            return false;
        }
        self.now = clock();
        // Slots may have become free, or this may be the first thing that the plane does.
        self.serve_listener();
        let resume = self.accept_resumes_at();
        let deadline = [deadline, resume].into_iter().flatten().min();
        if deadline.is_some_and(|deadline| deadline <= self.now) {
            return false;
        }
        self.set_timer(deadline);
        // Enable first, look afterwards: an event between the two is either seen by the look or
        // signalled. The other way round it would be neither. The fence orders our store before
        // our loads, as the kernel orders its own.
        self.waker.set_parked(true);
        for bank in &mut self.banks {
            bank.ring.set_eventfd_enabled(true);
        }
        fence(Ordering::SeqCst);
        // A timer whose end was found by the look wakes nobody any more.
        if self.look_is_idle(clock) && (deadline.is_none() || self.timer.is_some()) {
            return true;
        }
        self.unpark();
        false
    }

    /// After [`Plane::prepare_park`] has said true: blocks the thread until anything happens, but no
    /// longer than `longest`; true if something did. It costs a fraction of a wait through an
    /// executor's reactor, which meanwhile stands still.
    #[must_use]
    pub fn nap(&self, longest: Duration) -> bool {
        self.waker.wait(longest)
    }

    /// Ends parking, whether it was waited or not.
    pub fn unpark(&mut self) {
        self.waker.set_parked(false);
        for bank in &mut self.banks {
            bank.ring.set_eventfd_enabled(false);
        }
    }

    /// The eventfd to wait for, owned by the plane: a read of 8 bytes ends when anything happened.
    #[must_use]
    pub fn eventfd(&self) -> RawFd {
        self.waker.raw()
    }

    /// A descriptor of the same eventfd for an owner of its own (glommio's `BufferedFile`).
    ///
    /// # Errors
    /// If the process has no descriptor left.
    pub fn duplicate_eventfd(&self) -> io::Result<OwnedFd> {
        self.waker.duplicate()
    }

    /// What other threads wake this plane with.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    fn look_is_idle(&mut self, clock: Clock<'_>) -> bool {
        self.collect_all(clock);
        self.count();
        !self.has_work() && self.banks.iter_mut().all(|bank| bank.ring.is_quiet())
    }

    /// Arms the timer, or moves it if it would come too late. One that comes too early is left:
    /// it costs one wake, moving it each time would cost a system call each.
    fn set_timer(&mut self, deadline: Option<Time>) {
        let Some(deadline) = deadline else { return };
        if self.timer.is_some_and(|timer| timer <= deadline) {
            return;
        }
        let armed = self.timer.map(|_| TIMER);
        let user_data = match armed {
            None => TIMER,
            Some(_) => user_data::encode(Operation::TimerUpdate, 0, 0),
        };
        self.banks[0].ring.set_timer(deadline.since(self.now), armed, user_data);
        self.timer = Some(deadline);
    }
}
