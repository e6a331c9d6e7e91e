//! Answers: recorded once, judged at once, sealed at once.

use super::{Current, OpenQuestion, ShowReplica};
use crate::base::bugs::{self, Bug};
use crate::base::ids::{EventNumber, OptionIndex, QuestionIndex, ShardId, UserId};
use crate::base::time::Time;
use crate::quiz::judge::{Admission, CardFacts, Eligibility, Merits, RefusalReason, admit, assess};
use crate::quiz::phase::Phase;
use crate::quiz::player::Player;
use crate::quiz::seal::{SealedResult, VerdictRecord};
use crate::quiz::users::{UserEntry, UserPlace, Users};
use crate::quiz::verdict::{Failing, Verdict};

/// An answer as it comes from the connection's shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerInput {
    /// Which question.
    pub question: QuestionIndex,
    /// Which option; anything a client may send.
    pub option: OptionIndex,
    /// The arrival stamp of these bytes.
    pub arrived: Time,
    /// From a retry ticket whose MAC, show, question, user and expiry are verified.
    pub ticket: Option<TicketStamp>,
    /// The last event that the connection's shard had applied.
    pub sender_applied: EventNumber,
}

impl AnswerInput {
    /// What the answer is judged by: the ticket's stamp, or its own.
    #[must_use]
    pub fn stamp(&self) -> Time {
        self.ticket.map_or(self.arrived, |ticket| ticket.arrived)
    }
}

/// What a verified ticket says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TicketStamp {
    /// The option it is bound to.
    pub option: OptionIndex,
    /// When the answer first arrived.
    pub arrived: Time,
}

/// What became of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerOutcome {
    /// Recorded and judged; the reply is this.
    Recorded(SealedResult),
    /// Was recorded before, or silence was settled; the reply is the same as then.
    Repeated(SealedResult),
    /// Recorded, but it came after `answer_by` as far as this shard knows: the result comes out of
    /// a later slice, when the barrier has shown that none came before it.
    Deferred,
    /// Was recorded as [`AnswerOutcome::Deferred`] before, and is not judged yet.
    StillDeferred,
    /// The sender knew events that this replica has not applied, or the next one decides whether
    /// the player came in time. Nothing changed: hold the answer (a few per user at most) and give
    /// it again after the next event.
    Ahead,
    /// Not recorded.
    Refused(RefusalReason),
}

/// What is on record of a player at the current question; for journal and fairness report. Not for
/// any player before the reveal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerRecord {
    /// Which question.
    pub question: QuestionIndex,
    /// When and on which shard it was offered, if it was.
    pub offered: Option<(Time, ShardId)>,
    /// The option and the stamp it is judged by, if there is an answer.
    pub answer: Option<(OptionIndex, Time)>,
    /// Whether that stamp is a retry ticket's.
    pub by_ticket: bool,
    /// The verdict, if it is judged.
    pub verdict: Option<Verdict>,
    /// How often the verdict was revised.
    pub revision: u8,
}

impl ShowReplica {
    /// Takes a player's answer. The first well-formed one binds; every repeat gets its reply.
    pub fn answer(
        &mut self,
        user: UserId,
        input: &AnswerInput,
        users: &mut Users,
    ) -> AnswerOutcome {
        if input.sender_applied > self.last_event {
            return AnswerOutcome::Ahead;
        }
        if matches!(self.phase, Phase::Ended | Phase::Cancelled) {
            return AnswerOutcome::Refused(RefusalReason::ShowEnded);
        }
        let found = users.find(user).and_then(|place| Some((place, self.player_place(place)?)));
        let Some((place, index)) = found else {
            return AnswerOutcome::Refused(RefusalReason::NotJoined);
        };
        if self.voided.get(input.question.index()) == Some(&true) {
            return AnswerOutcome::Refused(RefusalReason::QuestionVoided);
        }
        let Some(current) = &self.current else {
            let waiting = matches!(self.phase, Phase::Lobby | Phase::Voided);
            return AnswerOutcome::Refused(if waiting {
                RefusalReason::NotCurrentQuestion
            } else {
                RefusalReason::NotRunning
            });
        };
        if current.shown.question != input.question {
            return AnswerOutcome::Refused(RefusalReason::NotCurrentQuestion);
        }
        let question = current.shown.question;
        let player = &mut self.buckets[place.bucket].players[index];
        // Joined this question after the `answer_by` that is known: the next event says whether
        // that was within an extension.
        if self.phase == Phase::Open && usize::from(player.joined_after) == self.voided.len() {
            return AnswerOutcome::Ahead;
        }
        player.turn_to(question, users.entry_mut(place));
        if let Some(repeated) = self.repeat(user, input, place, index) {
            return repeated;
        }
        self.first_answer(user, input, place, index, users)
    }

    /// The reply to a player who is on record already.
    fn repeat(
        &mut self,
        user: UserId,
        input: &AnswerInput,
        place: UserPlace,
        index: usize,
    ) -> Option<AnswerOutcome> {
        let player = self.buckets[place.bucket].players[index];
        let current = self.current.as_mut()?;
        if let Some(sealed) = current.sealed(user, &player) {
            if bugs::active(Bug::CountTwice)
                && let Some(option) = player.option()
            {
                current.counts.answered += 1;
                current.counts.options[option.index()] += 1;
            }
            return Some(AnswerOutcome::Repeated(sealed));
        }
        let recorded = player.option()?;
        // The first on record binds the option. The same answer, given again on another shard, may
        // have overtaken the one in time: it is not judged yet, and gives way.
        let overtaken = input.option == recorded
            && input.stamp() < player.arrived
            && self.may_answer(&player, input).is_ok();
        (!overtaken).then_some(AnswerOutcome::StillDeferred)
    }

    fn first_answer(
        &mut self,
        user: UserId,
        input: &AnswerInput,
        place: UserPlace,
        index: usize,
        users: &mut Users,
    ) -> AnswerOutcome {
        let player = self.buckets[place.bucket].players[index];
        if let Err(refusal) = self.may_answer(&player, input) {
            return AnswerOutcome::Refused(refusal);
        }
        let arrived = input.stamp();
        let current = self.current_mut();
        let known_late = arrived > current.shown.answer_by;
        let bucket = &mut self.buckets[place.bucket];
        bucket.players[index].record_answer(input.option, arrived, input.ticket.is_some());
        if known_late {
            return AnswerOutcome::Deferred;
        }
        self.judge_recorded(place, index, users);
        let player = self.buckets[place.bucket].players[index];
        let current = self.current.as_ref().expect("it was there above");
        let sealed = current.sealed(user, &player).expect("it was judged above");
        AnswerOutcome::Recorded(sealed)
    }

    /// Whether a first answer may be recorded: by what is public, and by the player's ticket.
    fn may_answer(&self, player: &Player, input: &AnswerInput) -> Result<(), RefusalReason> {
        let current = self.current.as_ref().ok_or(RefusalReason::NotCurrentQuestion)?;
        admit(&Admission {
            running: matches!(self.phase, Phase::Open | Phase::Closing),
            eligibility: self.eligibility(player),
            current: current.shown.question == input.question,
            follows: self.follows(player, input.question),
        })?;
        if input.option.index() >= current.option_count {
            return Err(RefusalReason::NoSuchOption);
        }
        if player.is_bound_against(input.option, input.stamp())
            || input.ticket.is_some_and(|ticket| ticket.option != input.option)
        {
            return Err(RefusalReason::AnswerBound);
        }
        Ok(())
    }

    /// Judges the answer on record by the `answer_by` that is known; the player may answer.
    pub(super) fn judge_recorded(&mut self, place: UserPlace, index: usize, users: &mut Users) {
        let entry = users.entry_mut(place);
        let player = &mut self.buckets[place.bucket].players[index];
        player.set_held_card(entry.cards > 0);
        let player = *player;
        let option = player.option().expect("there is an answer on record");
        let card = self.card_facts(&player, entry.cards > 0);
        let current = self.current_mut();
        let merits = Merits {
            in_time: player.arrived <= current.shown.answer_by,
            correct: option == current.correct,
            card,
        };
        let verdict = assess(&merits);
        current.counts.answered += 1;
        current.counts.by_ticket += u64::from(player.is_by_ticket());
        if merits.in_time {
            current.counts.options[option.index()] += 1;
            current.counts.revivable[option.index()] += u64::from(card.revives(Failing::Wrong));
        }
        self.enter_verdict(place, index, verdict, entry);
    }

    /// Records a verdict, spends the card and counts.
    pub(super) fn enter_verdict(
        &mut self,
        place: UserPlace,
        index: usize,
        verdict: Verdict,
        entry: &mut UserEntry,
    ) {
        let player = &mut self.buckets[place.bucket].players[index];
        if verdict.uses_card() {
            entry.cards -= 1;
        }
        let new_record = verdict.passes() && player.passed + 1 > entry.best_passed;
        player.record_verdict(verdict, new_record);
        let counts = &mut self.current_mut().counts;
        counts.count_verdict(verdict);
        counts.new_records += u64::from(new_record);
    }

    /// What a card could do for `player` at the current question.
    pub(super) fn card_facts(&self, player: &Player, held: bool) -> CardFacts {
        CardFacts {
            held,
            unused: !player.card.is_some() || bugs::active(Bug::CardTwice),
            coverage: self.definition.revive,
            last_question: self.current.as_ref().is_some_and(|current| current.shown.last),
        }
    }

    /// A retry ticket was issued to this player: it binds the option of everything that arrived
    /// after its stamp. The earliest stamp counts, however the mail came, and what comes after the
    /// answer is on record changes nothing. Says whether the ticket is for the current question.
    pub fn ticket_issued(
        &mut self,
        user: UserId,
        question: QuestionIndex,
        ticket: TicketStamp,
        users: &mut Users,
    ) -> bool {
        let found = users.find(user).and_then(|place| Some((place, self.player_place(place)?)));
        let (Some((place, index)), Some(current)) = (found, &self.current) else { return false };
        if current.shown.question != question || ticket.option.index() >= current.option_count {
            return false;
        }
        let player = &mut self.buckets[place.bucket].players[index];
        player.turn_to(question, users.entry_mut(place));
        player.bind(ticket.option, ticket.arrived);
        true
    }

    /// What is on record of a player at the current question.
    #[must_use]
    pub fn record(&self, user: UserId, users: &Users) -> Option<AnswerRecord> {
        let place = users.find(user)?;
        let player = &self.buckets[place.bucket].players[self.player_place(place)?];
        let OpenQuestion { question, show_by, .. } = self.current.as_ref()?.shown;
        if !player.is_about(question) || self.eligibility(player) != Eligibility::InPlay {
            return None;
        }
        Some(AnswerRecord {
            question,
            offered: player.offered(show_by),
            answer: player.option().map(|option| (option, player.arrived)),
            by_ticket: player.is_by_ticket(),
            verdict: player.verdict(),
            revision: player.revision,
        })
    }
}

impl Current {
    /// The player's result at this question, sealed; the same bytes every time.
    pub(super) fn sealed(&self, user: UserId, player: &Player) -> Option<SealedResult> {
        if !player.is_about(self.shown.question) {
            return None;
        }
        let verdict = player.verdict()?;
        let record = VerdictRecord {
            verdict,
            new_record: player.is_new_record(),
            by_ticket: player.is_by_ticket(),
            option: player.option(),
            passed: player.passed_by_now(),
        };
        Some(self.sealer.seal(user, player.revision, record))
    }
}
