//! Messages that wait for their room's next tick, to go out together.
//!
//! Every message has its version when it is put in; what is taken out is one batch that stands for
//! all versions since the last one. A batch is thinned here, before it is encoded, so that all
//! receivers get the same messages: nobody gets everything at somebody else's cost. Deliberately
//! absent: what a message is, and how a batch is encoded.

use std::time::Duration;

use crate::base::time::Time;

/// Versions that may wait without a message of theirs going out: then a batch without messages
/// tells of them.
const HOLES_MAX: u32 = 2_048;
/// A whole message, in the unit that shares and rates are kept in.
const WHOLE: u64 = 1_000;

/// How long messages wait for company.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// From one tick to the next.
    pub tick: Duration,
    /// The same while waiting saves bytes: at least [`Pace::tick`].
    pub tick_max: Duration,
    /// Bytes of messages from which on waiting longer saves nothing.
    pub fill_bytes: usize,
}

/// What may go out at a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thinning {
    /// How many of a thousand messages there is room for.
    pub share_permille: u16,
    /// Messages per second, 0: any number.
    pub rate_max: u32,
}

impl Thinning {
    /// Everything goes out.
    pub const NONE: Thinning = Thinning { share_permille: 1_000, rate_max: 0 };
}

/// What goes out together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged<M> {
    /// Versions that the batch stands for.
    pub versions: u32,
    /// The messages that it carries, in the order of their versions.
    pub messages: Vec<M>,
    /// A bit for each version, the lowest of the first byte first: set if its message was thinned
    /// out. Bytes of zeros at the end are left out.
    pub thinned: Vec<u8>,
}

/// The messages of one lane that wait.
#[derive(Debug)]
pub struct TickQueue<M> {
    waiting: Vec<Waiting<M>>,
    /// Versions since the last batch.
    versions: u32,
    bytes: usize,
    last_at: Option<Time>,
    /// What is left of shares and rates of messages, in thousandths of one.
    share_credit: u64,
    rate_credit: u64,
    /// When the rate was looked at last; before that, a second's worth has been saved up.
    rated_at: Option<Time>,
}

#[derive(Debug)]
struct Waiting<M> {
    /// Its version, counted from the first since the last batch.
    offset: u32,
    /// It is not thinned out.
    is_kept: bool,
    message: M,
}

impl<M> Default for TickQueue<M> {
    fn default() -> TickQueue<M> {
        TickQueue {
            waiting: Vec::new(),
            versions: 0,
            bytes: 0,
            last_at: None,
            share_credit: 0,
            rate_credit: 0,
            rated_at: None,
        }
    }
}

impl<M> TickQueue<M> {
    /// Versions that were given since the last batch.
    #[must_use]
    pub fn versions(&self) -> u32 {
        self.versions
    }

    /// Bytes of the messages that wait.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// True if no message waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Puts in the message with the next version; one that `is_kept` is never thinned out.
    pub fn push(&mut self, message: M, bytes: usize, is_kept: bool) {
        self.waiting.push(Waiting { offset: self.versions, is_kept, message });
        self.versions += 1;
        self.bytes += bytes;
    }

    /// The message with the next version is thinned out at once.
    pub fn push_thinned(&mut self) {
        self.versions += 1;
    }

    /// When what waits is to be taken: at once after a silence.
    #[must_use]
    pub fn due(&self, now: Time, pace: &Pace) -> Option<Time> {
        if self.waiting.is_empty() && self.versions < HOLES_MAX {
            return None;
        }
        // One more like those that wait would not fit any more.
        let next = self.bytes + self.bytes / self.waiting.len().max(1);
        let interval = if next < pace.fill_bytes { pace.tick_max } else { pace.tick };
        Some(self.last_at.map_or(now, |last| (last + interval).max(now)))
    }

    /// The earliest moment of the next tick.
    #[must_use]
    pub fn not_before(&self, pace: &Pace) -> Time {
        self.last_at.map_or(Time::ZERO, |last| last + pace.tick)
    }

    /// What goes out now, if anything does; a batch without messages only if it is asked for.
    pub fn take(
        &mut self,
        now: Time,
        thinning: Thinning,
        without_messages: bool,
    ) -> Option<Merged<M>> {
        let can_go = self.waiting.iter().filter(|it| !it.is_kept).count() as u64;
        let goes = self.room_for(now, can_go, thinning);
        let mut thinned = vec![0xFF_u8; (self.versions as usize).div_ceil(8)];
        let mut messages = Vec::with_capacity(self.waiting.len());
        let mut place = 0;
        self.bytes = 0;
        self.last_at = Some(now);
        for Waiting { offset, is_kept, message } in self.waiting.drain(..) {
            // Spread evenly: neither the first nor the last are better off.
            let goes_out = is_kept || (place + 1) * goes / can_go > place * goes / can_go;
            place += u64::from(!is_kept);
            if goes_out {
                thinned[offset as usize / 8] &= !(1 << (offset % 8));
                messages.push(message);
            }
        }
        if messages.is_empty() && self.versions < HOLES_MAX && !without_messages {
            return None;
        }
        if !self.versions.is_multiple_of(8)
            && let Some(last) = thinned.last_mut()
        {
            *last &= (1 << (self.versions % 8)) - 1;
        }
        let end = thinned.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        thinned.truncate(end);
        Some(Merged { versions: std::mem::take(&mut self.versions), messages, thinned })
    }

    /// How many of `count` messages there is room for; what is less than a message is kept for
    /// the next time.
    fn room_for(&mut self, now: Time, count: u64, thinning: Thinning) -> u64 {
        let mut goes = count;
        let share = u64::from(thinning.share_permille);
        if share < WHOLE {
            self.share_credit += count * share;
            goes = self.share_credit / WHOLE;
            self.share_credit %= WHOLE;
        }
        if thinning.rate_max > 0 {
            let rate = u64::from(thinning.rate_max);
            let elapsed_ms = self.rated_at.map_or(1_000, |at| now.since(at).as_millis());
            let elapsed_ms = u64::try_from(elapsed_ms).unwrap_or(u64::MAX).min(WHOLE);
            self.rated_at = Some(now);
            // At most what one second brings, so that silence saves nothing up.
            self.rate_credit = (self.rate_credit + rate * elapsed_ms).min(rate * WHOLE);
            goes = goes.min(self.rate_credit / WHOLE);
            self.rate_credit -= goes * WHOLE;
        }
        goes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PACE: Pace = Pace {
        tick: Duration::from_millis(200),
        tick_max: Duration::from_millis(500),
        fill_bytes: 1_000,
    };

    fn queue(count: u32) -> TickQueue<u32> {
        let mut queue = TickQueue::default();
        (0..count).for_each(|message| queue.push(message, 100, false));
        queue
    }

    #[test]
    fn a_room_that_begins_with_the_process_has_room_for_its_first_message() {
        let mut queue = TickQueue::default();
        queue.push("first", 5, false);
        let thinning = Thinning { share_permille: 1_000, rate_max: 20 };
        let merged = queue.take(Time::from_millis(1), thinning, false);
        assert_eq!(merged.map(|merged| merged.messages), Some(vec!["first"]));
    }

    #[test]
    fn the_first_after_a_silence_goes_at_once_and_the_next_wait() {
        let at = Time::from_millis;
        let mut queue = queue(1);
        assert_eq!(queue.due(at(5_000), &PACE), Some(at(5_000)));
        let merged = queue.take(at(5_000), Thinning::NONE, false).unwrap();
        assert_eq!((merged.versions, merged.messages, merged.thinned), (1, vec![0], vec![]));
        assert_eq!(queue.due(at(5_001), &PACE), None);
        queue.push(1, 100, false);
        assert_eq!(queue.due(at(5_010), &PACE), Some(at(5_500)), "company saves bytes");
        queue.push(2, 900, false);
        assert_eq!(queue.due(at(5_020), &PACE), Some(at(5_200)), "company enough");
        assert_eq!(queue.due(at(9_000), &PACE), Some(at(9_000)));
    }

    #[test]
    fn thinning_is_spread_and_says_what_is_gone() {
        let mut queue = queue(10);
        queue.push(10, 1, true);
        queue.push_thinned();
        let half = Thinning { share_permille: 500, rate_max: 0 };
        let merged = queue.take(Time::from_millis(1), half, false).unwrap();
        assert_eq!((merged.versions, merged.messages), (12, vec![1, 3, 5, 7, 9, 10]));
        assert_eq!(merged.thinned, [0b0101_0101, 0b1001]);
    }

    #[test]
    fn what_is_less_than_a_message_adds_up() {
        let mut queue = TickQueue::default();
        let tenth = Thinning { share_permille: 100, rate_max: 0 };
        let mut batches = Vec::new();
        for message in 0..40 {
            queue.push(message, 1, false);
            batches.extend(queue.take(Time::from_millis(message), tenth, false));
        }
        let found: Vec<_> = batches.iter().map(|it| (it.versions, it.messages.clone())).collect();
        assert_eq!(found, [(10, vec![9]), (10, vec![19]), (10, vec![29]), (10, vec![39])]);
    }

    #[test]
    fn a_rate_is_held_over_seconds() {
        let mut queue = TickQueue::default();
        let rate = Thinning { share_permille: 1_000, rate_max: 30 };
        let mut carried = 0;
        for tick in 1..=50 {
            (0..100).for_each(|message| queue.push(message, 1, false));
            let merged = queue.take(Time::from_millis(tick * 200), rate, false);
            carried += merged.map_or(0, |it| it.messages.len());
        }
        // A second was saved up before the first.
        assert_eq!(carried, 30 + 49 * 6);
    }

    proptest! {
        #[test]
        fn every_version_is_carried_or_thinned(
            steps in proptest::collection::vec((0_u32..30, any::<bool>(), 0_u16..=1_000, 0_u32..50), 1..40),
        ) {
            let (mut queue, mut given, mut stood_for) = (TickQueue::default(), 0_u32, 0_u32);
            for (step, (count, is_kept, share_permille, rate_max)) in (1..).zip(steps) {
                for _ in 0..count {
                    queue.push(given, 1, is_kept);
                    given += 1;
                }
                let thinning = Thinning { share_permille, rate_max };
                let Some(merged) = queue.take(Time::from_millis(step * 100), thinning, false) else {
                    continue;
                };
                let mut messages = merged.messages.iter();
                for offset in 0..merged.versions {
                    let byte = merged.thinned.get(offset as usize / 8).copied().unwrap_or(0);
                    if byte & 1 << (offset % 8) == 0 {
                        prop_assert_eq!(messages.next(), Some(&(stood_for + offset)));
                    } else {
                        prop_assert!(!is_kept || offset + count < merged.versions);
                    }
                }
                prop_assert_eq!(messages.next(), None);
                stood_for += merged.versions;
            }
            prop_assert_eq!(stood_for + queue.versions(), given);
        }
    }
}
