//! Answers: recorded once, judged at once, and sealed before they leave.

use std::hint::black_box;

use super::{Current, ShowReplica, eligibility, follows};
use crate::base::bugs::{self, Bug};
use crate::base::ids::{EventNumber, OptionIndex, QuestionIndex, ShardId, UserId};
use crate::base::time::Time;
use crate::quiz::judge::{Admission, CardFacts, Merits, RefusalReason, admit, assess};
use crate::quiz::phase::Phase;
use crate::quiz::player::Player;
use crate::quiz::seal::{SealedResult, VerdictRecord};
use crate::quiz::users::{UserEntry, Users, WARMED};
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

/// What became of an answer. The result is sealed, or not yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerOutcome<R = SealedResult> {
    /// Recorded and judged; the reply is this.
    Recorded(R),
    /// Was recorded before, or silence was settled; the reply is the same as then.
    Repeated(R),
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

/// A player's result at the current question, on record and to be sealed by [`ShowReplica::seal`]
/// before it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsealed {
    record: VerdictRecord,
    revision: u8,
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

impl Unsealed {
    /// What it says.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.record.verdict
    }
}

impl<R> AnswerOutcome<R> {
    /// The same with another result.
    pub(crate) fn map<S>(self, seal: impl FnOnce(R) -> S) -> AnswerOutcome<S> {
        match self {
            AnswerOutcome::Recorded(result) => AnswerOutcome::Recorded(seal(result)),
            AnswerOutcome::Repeated(result) => AnswerOutcome::Repeated(seal(result)),
            AnswerOutcome::Deferred => AnswerOutcome::Deferred,
            AnswerOutcome::StillDeferred => AnswerOutcome::StillDeferred,
            AnswerOutcome::Ahead => AnswerOutcome::Ahead,
            AnswerOutcome::Refused(reason) => AnswerOutcome::Refused(reason),
        }
    }
}

impl ShowReplica {
    /// Takes a player's answer. The first well-formed one binds; every repeat gets its reply. The
    /// result is still to be sealed, by [`ShowReplica::seal`].
    pub fn judge(
        &mut self,
        user: UserId,
        input: &AnswerInput,
        users: &mut Users,
    ) -> AnswerOutcome<Unsealed> {
        if input.sender_applied > self.last_event {
            return AnswerOutcome::Ahead;
        }
        if matches!(self.phase, Phase::Ended | Phase::Cancelled) {
            return AnswerOutcome::Refused(RefusalReason::ShowEnded);
        }
        let Some((place, index)) = self.find(user, users) else {
            return AnswerOutcome::Refused(RefusalReason::NotJoined);
        };
        if self.voided.get(input.question.index()) == Some(&true) {
            return AnswerOutcome::Refused(RefusalReason::QuestionVoided);
        }
        let Some(current) = &mut self.current else {
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
        let player = self.roster.at_mut(place.bucket, index);
        // Joined this question after the `answer_by` that is known: the next event says whether
        // that was within an extension.
        if self.phase == Phase::Open && usize::from(player.joined_after) == self.voided.len() {
            return AnswerOutcome::Ahead;
        }
        let entry = users.entry_mut(place);
        let before = (*player, *entry);
        player.turn_to(input.question, entry);
        let may_answer = may_answer(self.phase, &self.voided, current, player, input);
        if let Some(repeated) = current.repeat(player, input, may_answer.is_ok()) {
            return repeated;
        }
        match may_answer {
            Ok(()) => current.first_answer(player, input, entry),
            Err(refusal) => {
                // A refusal is not on record, so nothing may have changed.
                (*player, *entry) = before;
                AnswerOutcome::Refused(refusal)
            }
        }
    }

    /// Brings what judging answers of these players takes into the cache: for each, judging alone
    /// waits three times for memory; here some wait together. Changes nothing.
    ///
    /// # Panics
    /// If a player lives on another shard.
    pub fn warm(&self, players: &[UserId], users: &Users) {
        let mut read = 0;
        for some in players.chunks(WARMED) {
            for place in users.find_each(some).into_iter().flatten() {
                if let Some(index) = self.roster.find(place) {
                    read ^= self.roster.at(place.bucket, index).passed;
                }
            }
        }
        black_box(read);
    }

    /// Seals what [`ShowReplica::judge`] brought: the same bytes every time.
    ///
    /// # Panics
    /// If `result` is not of the question that was judged last.
    #[must_use]
    pub fn seal(&self, user: UserId, result: Unsealed) -> SealedResult {
        self.current.as_ref().expect("it was judged at this question").seal(user, result)
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
        let (Some((place, index)), Some(current)) = (self.find(user, users), &self.current) else {
            return false;
        };
        if current.shown.question != question || ticket.option.index() >= current.option_count {
            return false;
        }
        let player = self.roster.at_mut(place.bucket, index);
        player.turn_to(question, users.entry_mut(place));
        player.bind(ticket.option, ticket.arrived);
        true
    }

    /// What is on record of a player at the current question.
    #[must_use]
    pub fn record(&self, user: UserId, users: &Users) -> Option<AnswerRecord> {
        let (place, index) = self.find(user, users)?;
        self.record_of(self.roster.at(place.bucket, index))
    }
}

/// Whether a first answer may be recorded: by what is public, and by the player's ticket.
fn may_answer(
    phase: Phase,
    voided: &[bool],
    current: &Current,
    player: &Player,
    input: &AnswerInput,
) -> Result<(), RefusalReason> {
    admit(&Admission {
        running: matches!(phase, Phase::Open | Phase::Closing),
        eligibility: eligibility(voided, player),
        current: current.shown.question == input.question,
        follows: follows(voided, player, input.question),
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

impl Current {
    /// The reply to a player who is on record already.
    fn repeat(
        &mut self,
        player: &Player,
        input: &AnswerInput,
        may_answer: bool,
    ) -> Option<AnswerOutcome<Unsealed>> {
        if let Some(result) = self.unsealed(player) {
            if bugs::active(Bug::CountTwice)
                && let Some(option) = player.option()
            {
                self.counts.answered += 1;
                self.counts.options[option.index()] += 1;
            }
            return Some(AnswerOutcome::Repeated(result));
        }
        let recorded = player.option()?;
        // The first on record binds the option. The same answer, given again on another shard, may
        // have overtaken the one in time: it is not judged yet, and gives way.
        let earlier = input.stamp() < { player.arrived };
        let overtaken = input.option == recorded && earlier && may_answer;
        (!overtaken).then_some(AnswerOutcome::StillDeferred)
    }

    /// Records an answer, and judges it if it came in time.
    fn first_answer(
        &mut self,
        player: &mut Player,
        input: &AnswerInput,
        entry: &mut UserEntry,
    ) -> AnswerOutcome<Unsealed> {
        let arrived = input.stamp();
        player.record_answer(input.option, arrived, input.ticket.is_some());
        if arrived > self.shown.answer_by {
            return AnswerOutcome::Deferred;
        }
        self.judge_recorded(player, entry);
        AnswerOutcome::Recorded(self.unsealed(player).expect("it was judged above"))
    }

    /// Judges the answer on record by the `answer_by` that is known; the player may answer.
    pub(super) fn judge_recorded(&mut self, player: &mut Player, entry: &mut UserEntry) {
        player.set_held_card(entry.cards > 0);
        let option = player.option().expect("there is an answer on record");
        let card = self.card_facts(player, entry.cards > 0);
        let merits = Merits {
            in_time: { player.arrived } <= self.shown.answer_by,
            correct: option == self.correct,
            card,
        };
        let verdict = assess(&merits);
        self.counts.answered += 1;
        self.counts.by_ticket += u64::from(player.is_by_ticket());
        if merits.in_time {
            self.counts.options[option.index()] += 1;
            self.counts.revivable[option.index()] += u64::from(card.revives(Failing::Wrong));
        }
        self.enter_verdict(player, verdict, entry);
    }

    /// Records a verdict, spends the card and counts.
    pub(super) fn enter_verdict(
        &mut self,
        player: &mut Player,
        verdict: Verdict,
        entry: &mut UserEntry,
    ) {
        if verdict.uses_card() {
            entry.cards -= 1;
        }
        let new_record = verdict.passes() && player.passed + 1 > entry.best_passed;
        player.record_verdict(verdict, new_record);
        self.counts.count_verdict(verdict);
        self.counts.new_records += u64::from(new_record);
    }

    /// What a card could do for `player` at this question.
    pub(super) fn card_facts(&self, player: &Player, held: bool) -> CardFacts {
        CardFacts {
            held,
            unused: !player.card.is_some() || bugs::active(Bug::CardTwice),
            coverage: self.coverage,
            last_question: self.shown.last,
        }
    }

    /// The player's result at this question, if there is one.
    fn unsealed(&self, player: &Player) -> Option<Unsealed> {
        if !player.is_about(self.shown.question) {
            return None;
        }
        let record = VerdictRecord {
            verdict: player.verdict()?,
            new_record: player.is_new_record(),
            by_ticket: player.is_by_ticket(),
            option: player.option(),
            passed: player.passed_by_now(),
        };
        Some(Unsealed { record, revision: player.revision })
    }

    fn seal(&self, user: UserId, result: Unsealed) -> SealedResult {
        self.sealer.seal(user, result.revision, result.record)
    }

    /// The player's result at this question, sealed; the same bytes every time.
    pub(super) fn sealed(&self, user: UserId, player: &Player) -> Option<SealedResult> {
        Some(self.seal(user, self.unsealed(player)?))
    }
}
