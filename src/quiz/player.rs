//! A player's record in one show: 46 bytes.
//!
//! It has two halves: where the player stood *before* the current question, and what the current
//! question brought. Voiding drops the second half; re-judging computes it again from the first;
//! only when the next question opens (or settlement begins) is it folded into the first. That is
//! all the undo information there is, and it suffices because only the current question can be
//! undone.

mod stored;

use crate::base::ids::{OptionIndex, QuestionIndex, ShardId};
use crate::base::time::Time;
use crate::quiz::users::{Slot, UserEntry};
use crate::quiz::verdict::Verdict;

/// "No shard" and "no option" in the packed fields.
const NO_SHARD: u16 = u16::MAX;
const NO_OPTION: u8 = u8::MAX;

const FLAG_NEW_RECORD: u8 = 1;
const FLAG_BY_TICKET: u8 = 2;
const FLAG_CARD_HELD: u8 = 4;
const FLAG_OFFERED: u8 = 8;
const FLAG_PAID: u8 = 16;
const FLAG_FROZEN: u8 = 32;

/// A question's place plus one in a byte, so that 0 is "none".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark(u8);

impl Mark {
    pub(crate) const NONE: Mark = Mark(0);

    pub(crate) fn of(question: QuestionIndex) -> Mark {
        Mark(u8::try_from(question.0 + 1).expect("a show has at most 100 questions"))
    }

    pub(crate) fn question(self) -> Option<QuestionIndex> {
        self.0.checked_sub(1).map(|place| QuestionIndex(u16::from(place)))
    }
}

/// A verdict at a question, in two bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct At {
    question: Mark,
    code: u8,
}

impl At {
    pub(crate) fn new(question: Mark, verdict: Verdict) -> At {
        At { question, code: verdict.code() }
    }

    pub(crate) fn get(self) -> Option<(QuestionIndex, Verdict)> {
        Some((self.question.question()?, Verdict::from_code(self.code)?))
    }

    pub(crate) fn is_some(self) -> bool {
        self.question != Mark::NONE
    }
}

/// A player in one show. In this order and packed: what judging an answer touches comes first and
/// lies in one line of the cache three times out of four; two bytes are lost to alignment otherwise.
#[derive(Clone, Copy, Debug)]
#[repr(C, packed(2))]
pub(crate) struct Player {
    // The current question.
    /// The arrival stamp that the recorded answer is judged by. Without an answer, the stamp of the
    /// ticket that binds the option.
    pub(crate) arrived: Time,
    current: Mark,
    verdict_code: u8,
    option: u8,
    bound: u8,
    /// How often the verdict was revised.
    pub(crate) revision: u8,
    flags: u8,

    // Before the current question.
    /// How many questions had closed when the player joined.
    pub(crate) joined_after: u8,
    /// The last question passed, correctly or by a card.
    pub(crate) last_passed: Mark,
    /// Out at this question, and why.
    pub(crate) out: At,
    /// Card used at this question, and for what.
    pub(crate) card: At,
    /// Questions passed in this show.
    pub(crate) passed: u8,

    /// The user's place in the bucket.
    pub(crate) slot: Slot,

    // The session, and when the current question was offered.
    session_shard: u16,
    offered_shard: u16,
    /// Since when the present session exists; meaningless without one.
    session_since: Time,
    /// Meaningful with `FLAG_OFFERED`.
    offered_at: Time,
}

const _: () = assert!(size_of::<Player>() == 46);

impl Default for Player {
    /// Nobody: what fills memory that no player has yet.
    fn default() -> Player {
        Player::new(Slot(0), 0)
    }
}

impl Player {
    pub(crate) fn new(slot: Slot, joined_after: u8) -> Player {
        Player {
            session_since: Time::NEVER,
            arrived: Time::NEVER,
            offered_at: Time::NEVER,
            slot,
            session_shard: NO_SHARD,
            offered_shard: NO_SHARD,
            joined_after,
            out: At::default(),
            card: At::default(),
            last_passed: Mark::NONE,
            passed: 0,
            current: Mark::NONE,
            verdict_code: 0,
            option: NO_OPTION,
            bound: NO_OPTION,
            revision: 0,
            flags: 0,
        }
    }

    /// The verdict at the current question, if there is one.
    pub(crate) fn verdict(&self) -> Option<Verdict> {
        Verdict::from_code(self.verdict_code)
    }

    pub(crate) fn option(&self) -> Option<OptionIndex> {
        (self.option != NO_OPTION).then_some(OptionIndex(self.option))
    }

    /// Whether a ticket binds the player, who has no answer on record, to another option than
    /// `option` given at `stamp`: only what came after the ticket's own answer.
    pub(crate) fn is_bound_against(&self, option: OptionIndex, stamp: Time) -> bool {
        self.option == NO_OPTION && self.bound != NO_OPTION && self.bound != option.0 && {
            self.arrived
        } <= stamp
    }

    /// A ticket was issued for an answer that arrived at `stamp`: the earliest binds. After the
    /// answer it changes nothing.
    pub(crate) fn bind(&mut self, option: OptionIndex, stamp: Time) {
        if self.option == NO_OPTION && (self.bound == NO_OPTION || stamp < { self.arrived }) {
            self.bound = option.0;
            self.arrived = stamp;
        }
    }

    pub(crate) fn record_answer(&mut self, option: OptionIndex, arrived: Time, by_ticket: bool) {
        assert!(
            self.option == NO_OPTION
                || self.option == option.0 && self.verdict_code == 0 && arrived < { self.arrived },
            "the first answer binds"
        );
        self.option = option.0;
        self.arrived = arrived;
        self.set(FLAG_BY_TICKET, by_ticket);
    }

    pub(crate) fn record_verdict(&mut self, verdict: Verdict, new_record: bool) {
        assert!(self.current != Mark::NONE, "a verdict belongs to a question");
        self.verdict_code = verdict.code();
        self.set(FLAG_NEW_RECORD, new_record);
    }

    pub(crate) fn clear_verdict(&mut self) {
        self.verdict_code = 0;
        self.set(FLAG_NEW_RECORD, false);
    }

    pub(crate) fn current(&self) -> Mark {
        self.current
    }

    pub(crate) fn is_about(&self, question: QuestionIndex) -> bool {
        self.current == Mark::of(question)
    }

    pub(crate) fn is_new_record(&self) -> bool {
        self.flags & FLAG_NEW_RECORD != 0
    }

    pub(crate) fn is_by_ticket(&self) -> bool {
        self.flags & FLAG_BY_TICKET != 0
    }

    pub(crate) fn held_card(&self) -> bool {
        self.flags & FLAG_CARD_HELD != 0
    }

    pub(crate) fn set_held_card(&mut self, held: bool) {
        self.set(FLAG_CARD_HELD, held);
    }

    pub(crate) fn is_paid(&self) -> bool {
        self.flags & FLAG_PAID != 0
    }

    pub(crate) fn set_paid(&mut self) {
        self.set(FLAG_PAID, true);
    }

    /// When and on which shard the current question was offered, if it was by `show_by`: whoever
    /// came later got it too, but was not offered it in time.
    pub(crate) fn offered(&self, show_by: Time) -> Option<(Time, ShardId)> {
        let offered = self.flags & FLAG_OFFERED != 0 && { self.offered_at } <= show_by;
        offered.then_some((self.offered_at, ShardId(self.offered_shard)))
    }

    /// Notes that the current question was offered to the session that exists, if that one lived
    /// at some time in `opened_at..until`. The first offer counts.
    pub(crate) fn note_offer(&mut self, opened_at: Time, until: Time) {
        if self.session_shard != NO_SHARD {
            let (shard, since) = (ShardId(self.session_shard), self.session_since);
            self.note_offer_on(shard, since, opened_at, until);
        }
    }

    /// The same of a session on `shard` that lived from `since` to `until`.
    pub(crate) fn note_offer_on(
        &mut self,
        shard: ShardId,
        since: Time,
        opened_at: Time,
        until: Time,
    ) {
        let offered_at = since.max(opened_at);
        let is_first = self.flags & FLAG_OFFERED == 0 || offered_at < { self.offered_at };
        if until > opened_at && is_first {
            self.set(FLAG_OFFERED, true);
            self.offered_at = offered_at;
            self.offered_shard = shard.0;
        }
    }

    /// What was offered is to be offered again.
    pub(crate) fn withdraw_offer(&mut self) {
        self.set(FLAG_OFFERED, false);
    }

    pub(crate) fn begin_session(&mut self, shard: ShardId, since: Time) {
        self.session_shard = shard.0;
        self.session_since = since;
    }

    pub(crate) fn end_session(&mut self) {
        self.session_shard = NO_SHARD;
    }

    /// Turns to `question`: what an earlier one brought becomes history. Without a verdict there
    /// is nothing to keep.
    pub(crate) fn turn_to(&mut self, question: QuestionIndex, user: &mut UserEntry) {
        if self.current == Mark::of(question) {
            return;
        }
        self.fold(user);
        self.current = Mark::of(question);
    }

    /// Makes the current question history: it cannot be undone any more.
    pub(crate) fn fold(&mut self, user: &mut UserEntry) {
        self.freeze(user);
        self.drop_current();
    }

    /// Makes the last question history, but keeps what it brought: a repeat gets the same reply.
    pub(crate) fn freeze(&mut self, user: &mut UserEntry) {
        if let Some(verdict) = self.verdict().filter(|_| !self.is_frozen()) {
            match verdict {
                Verdict::Passed => {}
                Verdict::Revived(_) => self.card = At::new(self.current, verdict),
                Verdict::Out(_) => self.out = At::new(self.current, verdict),
            }
            if verdict.passes() {
                self.last_passed = self.current;
                self.passed += 1;
                user.best_passed = user.best_passed.max(self.passed);
            }
        }
        self.set(FLAG_FROZEN, true);
    }

    /// Where a card was used in this show, the current question included.
    pub(crate) fn card_used_at(&self) -> Option<QuestionIndex> {
        let current = self.verdict().filter(|verdict| verdict.uses_card());
        let current = current.and_then(|_| self.current.question());
        current.or_else(|| self.card.get().map(|(question, _)| question))
    }

    /// Questions passed by now, the current one included.
    pub(crate) fn passed_by_now(&self) -> u8 {
        let current = self.verdict().is_some_and(Verdict::passes) && !self.is_frozen();
        self.passed + u8::from(current)
    }

    fn is_frozen(&self) -> bool {
        self.flags & FLAG_FROZEN != 0
    }

    /// Undoes the current question; a card that it used comes back.
    pub(crate) fn undo(&mut self, user: &mut UserEntry) {
        if self.verdict().is_some_and(Verdict::uses_card) {
            user.cards += 1;
        }
        self.drop_current();
    }

    /// The verdict at `question`, which counts and is history or current.
    pub(crate) fn verdict_at(&self, question: QuestionIndex) -> Option<Verdict> {
        let mark = Mark::of(question);
        if mark == self.current {
            return self.verdict();
        }
        let at = |at: At| at.get().filter(|(found, _)| *found == question).map(|found| found.1);
        at(self.out).or_else(|| at(self.card)).or_else(|| {
            let first = Mark(self.joined_after + 1);
            (mark >= first && mark <= self.last_passed).then_some(Verdict::Passed)
        })
    }

    fn drop_current(&mut self) {
        self.current = Mark::NONE;
        self.verdict_code = 0;
        self.option = NO_OPTION;
        self.bound = NO_OPTION;
        self.arrived = Time::NEVER;
        self.revision = 0;
        self.flags &= FLAG_PAID;
    }

    fn set(&mut self, flag: u8, on: bool) {
        if on {
            self.flags |= flag;
        } else {
            self.flags &= !flag;
        }
    }
}
