//! A show as one shard has it: the phase, the current question, and the players who live here.
//!
//! A replica applies the director's events strictly in order ([`ShowReplica::apply`]) and moves
//! through the same phase table. It judges answers as they arrive and does everything that concerns
//! *all* its players — silence, re-judging, freezing, paying — bucket by bucket, in slices.
//!
//! Invariants:
//! - Silence is settled only after the event *closing* and a drained mark from **every** shard.
//!   Time alone never settles anybody.
//! - An answer that came after `answer_by` as this shard knows it is recorded, but judged only
//!   behind the barrier: an extension on its way may still put it in time, and so may an answer
//!   of the same player that arrived earlier, on another shard.
//! - What [`snapshot::PlayerSnapshot`] and refusals tell is the last revealed state.
//!
//! Absent: sessions (the shard layer says who is present), mail, and who has to wait for what.

mod answer;
mod apply;
mod rains;
mod restore;
mod roster;
pub mod snapshot;
mod states;
mod work;

use std::sync::Arc;

pub use self::answer::{AnswerInput, AnswerOutcome, AnswerRecord, TicketStamp, Unsealed};
pub use self::apply::{Applied, ApplyError};
pub use self::states::PlayerState;
pub use self::work::{NoSuchStep, PlayerResult, Prizes, SliceProgress, UsedCards, WorkStep};

use self::roster::Roster;
use self::work::Work;
use crate::base::bugs::{self, Bug};
use crate::base::ids::{EventNumber, OptionIndex, QuestionIndex, ShardId, UserId};
use crate::base::time::Time;
use crate::quiz::definition::{ReviveCoverage, ShowDefinition};
use crate::quiz::event::{QuestionPush, Reveal, Settlement};
use crate::quiz::judge::Eligibility;
use crate::quiz::phase::Phase;
use crate::quiz::player::{Mark, Player};
use crate::quiz::rain::RainTaps;
use crate::quiz::report::{QuestionCounts, Tally};
use crate::quiz::seal::{QuestionContent, SealedPlace, Sealer};
use crate::quiz::users::{UserPlace, Users};

/// The question that opened last, as a shard shows it to those who join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenQuestion {
    /// Which question.
    pub question: QuestionIndex,
    /// The earliest display.
    pub show_at: Time,
    /// The latest display, extensions included.
    pub show_by: Time,
    /// The last moment for an answer's arrival, extensions included.
    pub answer_by: Time,
    /// See [`crate::quiz::seal::commitment`].
    pub commitment: [u8; 32],
    /// Whether this is the show's last question, where no card helps.
    pub last: bool,
    /// Whether it lay with the clients before, sealed, and a key opens it there.
    pub by_key: bool,
}

/// The question that lies with the clients, sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// Which question: the next one.
    pub question: QuestionIndex,
    /// See [`crate::quiz::seal::commitment`].
    pub commitment: [u8; 32],
    /// What the clients have: the same bytes for everybody.
    pub sealed: Box<[u8]>,
}

impl Pushed {
    fn new(definition: &ShowDefinition, push: &QuestionPush) -> Pushed {
        let asked = &definition.questions[push.question.index()];
        let place = SealedPlace {
            show: definition.id,
            question: push.question,
            commitment: push.commitment,
        };
        let content = QuestionContent {
            text: asked.text.clone(),
            options: asked.options.clone(),
            last: push.question.index() + 1 == definition.questions.len(),
        };
        let sealed = content.seal(&push.question_key, &place).into_boxed_slice();
        Pushed { question: push.question, commitment: push.commitment, sealed }
    }
}

/// The current question inside.
struct Current {
    shown: OpenQuestion,
    opened_at: Time,
    sealer: Sealer,
    correct: OptionIndex,
    option_count: usize,
    coverage: ReviveCoverage,
    counts: QuestionCounts,
    revision: u8,
}

/// A show on one shard.
pub struct ShowReplica {
    definition: Arc<ShowDefinition>,
    shard: ShardId,
    phase: Phase,
    last_event: EventNumber,
    current: Option<Current>,
    /// The question that lies with the clients, sealed.
    pushed: Option<Pushed>,
    /// Whether each question that has been asked is void.
    voided: Vec<bool>,
    /// How many questions each shard has drained, voided ones included.
    drained: Vec<u16>,
    /// Buckets by their places among this shard's.
    roster: Roster,
    work: Option<Work>,
    joined: u64,
    /// Players in the game before the current question.
    in_play_before: u64,
    settlement: Option<Settlement>,
    /// Since when nothing can be undone any more: settlement began, or the show was called off.
    final_since: Time,
    settled_at: Time,
    /// What was released last and counts.
    reveal: Option<Reveal>,
    /// Who joined the open question after the `answer_by` that is known, and when: an extension
    /// may let them in.
    late_joins: Vec<(UserPlace, Time)>,
    rains: RainTaps,
}

impl ShowReplica {
    /// The replica of a show that was just announced; `users` are this shard's.
    #[must_use]
    pub fn new(definition: Arc<ShowDefinition>, announced: EventNumber, users: &Users) -> Self {
        let shard_count = usize::from(users.placement().shard_count());
        ShowReplica {
            definition,
            shard: users.shard(),
            phase: Phase::Announced,
            last_event: announced,
            current: None,
            pushed: None,
            voided: Vec::new(),
            drained: vec![0; shard_count],
            roster: Roster::new(users.buckets().len()),
            work: None,
            joined: 0,
            in_play_before: 0,
            settlement: None,
            final_since: Time::ZERO,
            settled_at: Time::ZERO,
            reveal: None,
            late_joins: Vec::new(),
            rains: RainTaps::default(),
        }
    }

    /// What was announced.
    #[must_use]
    pub fn definition(&self) -> &Arc<ShowDefinition> {
        &self.definition
    }

    /// The number of the last event applied.
    #[must_use]
    pub fn last_event(&self) -> EventNumber {
        self.last_event
    }

    /// Where the show stands here.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The question that takes answers now.
    #[must_use]
    pub fn open_question(&self) -> Option<&OpenQuestion> {
        if self.phase != Phase::Open {
            return None;
        }
        self.current.as_ref().map(|current| &current.shown)
    }

    /// The question whose answers and repeats are still forwarded to the players' buckets: the one
    /// that opened last, unless it was voided, until the next one or the settlement.
    #[must_use]
    pub fn current_question(&self) -> Option<&OpenQuestion> {
        self.current.as_ref().map(|current| &current.shown)
    }

    /// The question that opened last, unless it was voided, and when its director opened it.
    #[must_use]
    pub fn opened(&self) -> Option<(QuestionIndex, Time)> {
        self.current.as_ref().map(|current| (current.shown.question, current.opened_at))
    }

    /// How often the current question was judged again.
    #[must_use]
    pub fn revision(&self) -> u8 {
        self.current.as_ref().map_or(0, |current| current.revision)
    }

    /// The question that lies with the clients, sealed.
    #[must_use]
    pub fn pushed(&self) -> Option<&Pushed> {
        self.pushed.as_ref()
    }

    /// How the prize was split, once it is.
    #[must_use]
    pub fn settlement(&self) -> Option<&Settlement> {
        self.settlement.as_ref()
    }

    /// What was released last, as it was then; nothing of a question that was voided since.
    #[must_use]
    pub fn last_reveal(&self) -> Option<&Reveal> {
        self.reveal.as_ref()
    }

    /// Live figures of this shard, for the director.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let counts = self.current.as_ref().map(|current| current.counts).unwrap_or_default();
        Tally {
            shard: self.shard,
            applied: self.last_event,
            question: self.current.as_ref().map(|current| current.shown.question),
            joined: self.joined,
            in_play: self.in_play(),
            counts,
        }
    }

    /// A user joined the show's room at `since`, or returned to it. Returning changes nothing.
    ///
    /// # Errors
    /// If this shard keeps as many users as it can.
    pub fn join(&mut self, user: UserId, since: Time, users: &mut Users) -> Result<(), ShardFull> {
        let place = users.enter(user).ok_or(ShardFull)?;
        if self.roster.find(place).is_some() {
            return Ok(());
        }
        let open_here = self.admits_joins_of(since, place.bucket);
        if self.phase == Phase::Open && !open_here {
            self.late_joins.push((place, since));
        }
        let closed = self.voided.len() - usize::from(open_here);
        let joined_after = u8::try_from(closed).expect("a show has at most 100 questions");
        let player = Player::new(place.slot, joined_after);
        self.roster.add(place, player);
        self.joined += 1;
        if self.eligibility(&player) == Eligibility::InPlay {
            self.in_play_before += 1;
        }
        Ok(())
    }

    /// Whether the door to the current question was open at `since`. Neither the way of the mail
    /// nor the order of the slices may decide it: every join until `answer_by` is here before any
    /// silence is settled, because it was posted before its shard's drained mark.
    fn admits_joins_of(&self, since: Time, bucket: usize) -> bool {
        let open = match self.phase {
            Phase::Open => true,
            Phase::Closing => !self.bucket_is_settled(bucket),
            Phase::Announced
            | Phase::Lobby
            | Phase::Closed
            | Phase::Revealed
            | Phase::Rejudging
            | Phase::Voided
            | Phase::PausedInLobby
            | Phase::PausedInClosed
            | Phase::PausedInRevealed
            | Phase::PausedInVoided
            | Phase::Settling
            | Phase::Settled
            | Phase::Ended
            | Phase::Cancelled => false,
        };
        open && self.current.as_ref().is_some_and(|current| since <= current.shown.answer_by)
    }

    /// The current question was extended: whoever joined within the new time came in time.
    fn admit_late_joins(&mut self) {
        for (place, since) in std::mem::take(&mut self.late_joins) {
            if !self.admits_joins_of(since, place.bucket) {
                self.late_joins.push((place, since));
                continue;
            }
            let Some(index) = self.roster.find(place) else { continue };
            let player = self.roster.at_mut(place.bucket, index);
            let before = *player;
            player.joined_after -= 1;
            let after = *player;
            let plays = |player: &Player| self.eligibility(player) == Eligibility::InPlay;
            self.in_play_before += u64::from(plays(&after)) - u64::from(plays(&before));
        }
    }

    /// The user's one session now lives on `shard`, since `since`: when its connection was
    /// authenticated there, or began to read again.
    pub fn present(&mut self, user: UserId, shard: ShardId, since: Time, users: &mut Users) {
        self.with_session(user, since, users, |player| player.begin_session(shard, since));
    }

    /// The user has no session that reads since `at`. To be called only when the session that
    /// counts ended, not when an older one was replaced. Says whether the user is a player here.
    pub fn absent(&mut self, user: UserId, at: Time, users: &mut Users) -> bool {
        self.with_session(user, at, users, Player::end_session)
    }

    /// Notes what the session that exists was offered until `until`, then changes it. False if the
    /// user is no player here.
    fn with_session(
        &mut self,
        user: UserId,
        until: Time,
        users: &mut Users,
        change: impl FnOnce(&mut Player),
    ) -> bool {
        let Some((place, index)) = self.find(user, users) else { return false };
        let current = self.current.as_ref();
        let player = self.roster.at_mut(place.bucket, index);
        if let Some(current) = current {
            player.turn_to(current.shown.question, users.entry_mut(place));
            player.note_offer(current.opened_at, until);
        }
        change(player);
        true
    }

    /// A session on `shard` lived from `since` to `until` and is over: what it was offered counts.
    pub fn visited(
        &mut self,
        user: UserId,
        shard: ShardId,
        since: Time,
        until: Time,
        users: &mut Users,
    ) {
        let (Some((place, index)), Some(current)) = (self.find(user, users), &self.current) else {
            return;
        };
        let player = self.roster.at_mut(place.bucket, index);
        player.turn_to(current.shown.question, users.entry_mut(place));
        player.note_offer_on(shard, since, current.opened_at, until);
    }

    /// Shard `from` has posted everything that it received in time for `question`.
    pub fn drained(&mut self, from: ShardId, question: QuestionIndex) {
        if bugs::active(Bug::LoseDrainedMark) && question.0 == 0 && from.0 == 0 {
            return;
        }
        let mark = &mut self.drained[from.index()];
        *mark = (*mark).max(question.0 + 1);
    }

    /// The question whose drained mark this shard owes to every shard (itself included) as soon as
    /// it has posted everything that it received in time: since it applied *closing*.
    #[must_use]
    pub fn must_drain(&self) -> Option<QuestionIndex> {
        let current = self.current.as_ref().filter(|_| self.phase == Phase::Closing)?;
        Some(current.shown.question)
    }

    /// Whether *closing* is applied and every shard has drained the current question.
    #[must_use]
    pub fn barrier_is_passed(&self) -> bool {
        let Some(question) = self.must_drain() else { return false };
        bugs::active(Bug::SettleEarly) || self.drained.iter().all(|mark| *mark > question.0)
    }

    /// Where a player stood before the current question.
    fn eligibility(&self, player: &Player) -> Eligibility {
        eligibility(&self.voided, player)
    }

    /// Check 4, see [`follows`].
    fn follows(&self, player: &Player, question: QuestionIndex) -> bool {
        follows(&self.voided, player, question)
    }

    fn in_play(&self) -> u64 {
        let eliminated = self.current.as_ref().map_or(0, |current| current.counts.eliminated);
        self.in_play_before - eliminated
    }

    fn find(&self, user: UserId, users: &Users) -> Option<(UserPlace, usize)> {
        let place = users.find(user)?;
        Some((place, self.roster.find(place)?))
    }

    fn current_mut(&mut self) -> &mut Current {
        self.current.as_mut().expect("this phase has a question")
    }
}

/// This shard keeps as many users as it can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this shard keeps as many users as it can: use more shards")]
pub struct ShardFull;

/// Where a player stood before the current question; `voided` says which of those asked are void.
fn eligibility(voided: &[bool], player: &Player) -> Eligibility {
    let first = voided.iter().position(|voided| !voided);
    if first.is_some_and(|first| first < usize::from(player.joined_after)) {
        return Eligibility::Spectator;
    }
    if player.out.is_some() { Eligibility::Out } else { Eligibility::InPlay }
}

/// Check 4: the last question passed is the one before `question` that counts.
fn follows(voided: &[bool], player: &Player, question: QuestionIndex) -> bool {
    let before = voided[..question.index()].iter().rposition(|voided| !voided);
    let mark = before.map_or(Mark::NONE, |place| Mark::of(QuestionIndex(u16_of(place))));
    player.last_passed == mark
}

/// The place of a question; there are at most 100.
fn u16_of(place: usize) -> u16 {
    u16::try_from(place).expect("a show has at most 100 questions")
}

#[cfg(test)]
mod tests;
