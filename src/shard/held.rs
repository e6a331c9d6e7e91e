//! What must wait for durability waits here, and only here.
//!
//! A reply that promises something, and a show event, leave only after their record is durable.
//! The journal makes records durable in order, so a queue is enough.

use std::collections::VecDeque;
use std::time::Duration;

use crate::base::bugs::{self, Bug};
use crate::base::ids::{RecordNumber, ShardId, UserId};
use crate::base::limits::HELD_EFFECTS_MAX;
use crate::base::time::Time;
use crate::shard::mail::Mail;
use crate::shard::operator::{OperatorAnswer, OperatorError};
use crate::shard::quiz_mail::AnswerReply;

/// What leaves once a record is durable.
#[derive(Debug)]
pub(crate) enum Post {
    /// Mail for a shard.
    Mail(ShardId, Mail),
    /// An operator's answer.
    Answer(u64, Box<Result<OperatorAnswer, OperatorError>>),
    /// A reply for whatever session the user has by then.
    ToSession(UserId, Box<AnswerReply>),
}

/// Posts that wait for records.
#[derive(Default)]
pub(crate) struct Held {
    queue: VecDeque<(RecordNumber, Post)>,
    last: RecordNumber,
    durable: RecordNumber,
    /// When something became durable last, or began to wait for it.
    moved_at: Time,
}

impl Held {
    /// The number of a record that is about to go to the journal.
    pub(crate) fn next_record(&mut self, now: Time) -> RecordNumber {
        if self.last == self.durable {
            self.moved_at = now;
        }
        self.last = RecordNumber(self.last.0 + 1);
        self.last
    }

    /// Keeps a post until everything recorded so far is durable; gives it back if it is.
    pub(crate) fn hold(&mut self, post: Post) -> Option<Post> {
        if self.last == self.durable || bugs::active(Bug::AcknowledgeEarly) {
            return Some(post);
        }
        self.queue.push_back((self.last, post));
        None
    }

    /// Everything up to `record` is durable now.
    ///
    /// # Panics
    /// If the journal goes backwards or promises what it was not given.
    pub(crate) fn durable(&mut self, record: RecordNumber, now: Time) {
        assert!(record >= self.durable, "what was durable stays durable");
        assert!(record <= self.last, "durable before it was journaled");
        self.durable = record;
        self.moved_at = now;
    }

    /// The next post that may leave.
    pub(crate) fn release(&mut self) -> Option<Post> {
        let (record, _) = self.queue.front()?;
        if *record > self.durable {
            return None;
        }
        self.queue.pop_front().map(|(_, post)| post)
    }

    /// True if so much waits that no more should be read from clients.
    pub(crate) fn is_full(&self) -> bool {
        self.queue.len().max(usize::try_from(self.waiting()).unwrap_or(usize::MAX))
            >= HELD_EFFECTS_MAX
    }

    /// Records that are not durable yet.
    pub(crate) fn waiting(&self) -> u64 {
        self.last.0 - self.durable.0
    }

    /// For how long something has waited and nothing became durable.
    pub(crate) fn stands_for(&self, now: Time) -> Duration {
        if self.waiting() == 0 { Duration::ZERO } else { now.since(self.moved_at) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::ConnId;

    fn post(to: u16) -> Post {
        Post::Mail(ShardId(to), Mail::SessionConfirmed { conn: ConnId::default() })
    }

    fn released(held: &mut Held) -> Option<ShardId> {
        held.release().map(|post| match post {
            Post::Mail(to, _) => to,
            Post::ToSession(..) | Post::Answer(..) => panic!("only mail was held"),
        })
    }

    #[test]
    fn nothing_leaves_before_its_record_is_durable() {
        let mut held = Held::default();
        assert!(held.hold(post(9)).is_some(), "nothing was recorded: nothing to wait for");
        let first = held.next_record(Time::ZERO);
        assert!(held.hold(post(0)).is_none());
        let second = held.next_record(Time::ZERO);
        assert!(held.hold(post(1)).is_none());
        assert_eq!(released(&mut held), None);
        held.durable(first, Time::ZERO);
        assert_eq!(released(&mut held), Some(ShardId(0)));
        assert_eq!(released(&mut held), None);
        held.durable(second, Time::ZERO);
        assert_eq!(released(&mut held), Some(ShardId(1)));
        assert!(held.hold(post(9)).is_some());
    }

    #[test]
    fn a_journal_stands_still_while_something_waits_and_nothing_becomes_durable() {
        let mut held = Held::default();
        let at = Time::from_millis;
        assert_eq!(held.stands_for(at(9_000)), Duration::ZERO);
        let first = held.next_record(at(9_000));
        held.next_record(at(9_500));
        assert_eq!((held.waiting(), held.stands_for(at(9_700))), (2, Duration::from_millis(700)));
        held.durable(first, at(9_800));
        assert_eq!((held.waiting(), held.stands_for(at(9_900))), (1, Duration::from_millis(100)));
        held.durable(RecordNumber(2), at(9_950));
        assert_eq!(held.stands_for(at(20_000)), Duration::ZERO);
    }
}
