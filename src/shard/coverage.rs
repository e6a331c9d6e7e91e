//! How fast a question came to the connections of a shard: for the fairness report.
//!
//! A question's message goes through its room's lane, so whoever's cursor passes its version has it:
//! given to the socket, or begun and kept to be finished first. That is counted by the time it took,
//! in slots of a thirty-second part, and goes on record when the question closes. Nothing follows
//! from it.

use std::collections::BTreeMap;

use crate::base::ids::{QuestionIndex, ShowId};
use crate::base::time::Time;

/// Binary digits of a slot's bound that count: slots are 1/32 of their bound wide at most.
const DIGITS: u32 = 6;

/// How a question came to the connections of one shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Connections that were in the show's room when the question was queued for them.
    pub connections: u64,
    /// When the first of them had it; nothing if none ever did.
    pub first: Option<Time>,
    /// When the last of them had it.
    pub last: Option<Time>,
    /// How many had it within so many microseconds of its opening and in none of the slots before;
    /// ascending.
    pub slots: Vec<(u64, u64)>,
}

impl Reach {
    /// How many connections had the question.
    #[must_use]
    pub fn served(&self) -> u64 {
        self.slots.iter().map(|(_, count)| *count).sum()
    }
}

/// One question on its way.
struct Going {
    show: ShowId,
    question: QuestionIndex,
    opened_at: Time,
    /// The room's place on this shard, and the message's version in its lane.
    room: u32,
    version: u64,
    connections: u64,
    first: Option<Time>,
    last: Time,
    /// Had it at `last`, and stand in no slot yet: sends of one batch have one time.
    at_last: u64,
    slots: BTreeMap<u64, u64>,
}

impl Going {
    fn fill_slot(&mut self) {
        if self.at_last > 0 {
            *self.slots.entry(slot(self.opened_at, self.last)).or_default() += self.at_last;
            self.at_last = 0;
        }
    }
}

/// A question that begins its way.
pub(crate) struct Begun {
    pub(crate) show: ShowId,
    pub(crate) question: QuestionIndex,
    pub(crate) opened_at: Time,
    pub(crate) room: u32,
    pub(crate) version: u64,
    pub(crate) connections: u64,
}

/// The questions that are on their way through this shard: one for each show that has one open.
#[derive(Default)]
pub(crate) struct Coverage(Vec<Going>);

impl Coverage {
    /// A question's message is in its lane.
    pub(crate) fn begin(&mut self, begun: Begun) {
        let Begun { show, question, opened_at, room, version, connections } = begun;
        self.0.retain(|going| going.show != show);
        self.0.push(Going {
            show,
            question,
            opened_at,
            room,
            version,
            connections,
            first: None,
            last: Time::ZERO,
            at_last: 0,
            slots: BTreeMap::new(),
        });
    }

    /// A connection has everything in a room's lane from one version to another.
    #[inline]
    pub(crate) fn note(&mut self, now: Time, room: u32, version: u64, next_version: u64) {
        for going in &mut self.0 {
            if going.room == room && (version..next_version).contains(&going.version) {
                if going.last != now {
                    going.fill_slot();
                    going.last = now;
                }
                going.first.get_or_insert(now);
                going.at_last += 1;
            }
        }
    }

    /// The question of a show is over: what became of it, if one was on its way.
    pub(crate) fn end(&mut self, show: ShowId) -> Option<(QuestionIndex, Reach)> {
        let place = self.0.iter().position(|going| going.show == show)?;
        let mut going = self.0.swap_remove(place);
        going.fill_slot();
        let reach = Reach {
            connections: going.connections,
            first: going.first,
            last: going.first.map(|_| going.last),
            slots: going.slots.into_iter().collect(),
        };
        Some((going.question, reach))
    }
}

/// The bound of the slot, in microseconds since the opening, that a moment belongs to.
fn slot(opened_at: Time, at: Time) -> u64 {
    let micros = u64::try_from(at.since(opened_at).as_nanos().div_ceil(1_000)).unwrap_or(u64::MAX);
    let digits = u64::BITS - micros.leading_zeros();
    let shift = digits.saturating_sub(DIGITS);
    micros | ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SHOW: ShowId = ShowId(1);

    fn begun(opened_at: Time) -> Begun {
        let question = QuestionIndex(2);
        Begun { show: SHOW, question, opened_at, room: 5, version: 10, connections: 4 }
    }

    #[test]
    fn whoever_passes_the_version_is_counted_at_its_time() {
        let mut coverage = Coverage::default();
        coverage.begin(begun(Time(1_000_000)));
        let at = |micros: u64| Time(1_000_000 + 1_000 * micros);
        coverage.note(at(3), 5, 8, 10); // up to the version, not beyond it
        coverage.note(at(4), 6, 8, 11); // another room
        coverage.note(at(5), 5, 10, 11);
        coverage.note(at(5), 5, 9, 20);
        coverage.note(at(5), 5, 11, 20); // had it before
        coverage.note(at(1_000), 5, 10, 11);
        let (question, reach) = coverage.end(SHOW).unwrap();
        assert_eq!((question, reach.connections, reach.served()), (QuestionIndex(2), 4, 3));
        assert_eq!((reach.first, reach.last), (Some(at(5)), Some(at(1_000))));
        assert_eq!(reach.slots, [(5, 2), (1_007, 1)]);
        assert_eq!(coverage.end(SHOW), None);
    }

    #[test]
    fn nobody_may_ever_have_had_it() {
        let mut coverage = Coverage::default();
        coverage.begin(begun(Time(9)));
        let (_, reach) = coverage.end(SHOW).unwrap();
        assert_eq!((reach.first, reach.last, reach.served()), (None, None, 0));
    }

    proptest! {
        #[test]
        fn a_slot_is_a_thirty_second_wide(micros in 0..u64::MAX / 1_000) {
            let bound = slot(Time::ZERO, Time(micros * 1_000));
            prop_assert!(bound >= micros && bound - micros <= micros / 32);
        }
    }
}
