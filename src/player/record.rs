//! What one player knows, and the comparison with what it is told.
//!
//! A [`Record`] is one player's own memory: what it answered, which card it holds, how far it has
//! seen the room. [`Checks`] is what all players of a swarm share: the script, the sums of what
//! they did, and the violations found. Both are pure; time comes in with each call.

mod question;

use std::collections::BTreeMap;

use prost::Message as _;

use crate::base::ids::{OptionIndex, QuestionIndex, ShowId, UserId};
use crate::base::limits::OPTIONS_MAX;
use crate::base::time::Time;
use crate::player::script::Script;
use crate::player::violations::Violations;
use crate::quiz::definition::{ReviveCoverage, ShowDefinition};
use crate::quiz::seal::{KEY_BYTES, Sealer};
use crate::quiz::verdict::Verdict;
use crate::wire::codec::Encoding;
use crate::wire::proto;

use question::Current;
pub use question::{Answered, Shown};

/// Names of the lanes, by their place in a position.
const LANES: [&str; 3] = ["high", "mid", "low"];

/// What the players counted at one question.
#[derive(Clone, Debug, Default)]
pub struct QuestionSums {
    /// When each player that was shown the question had parsed it first.
    pub shown_at: Vec<Time>,
    /// Players who had it early and opened it with its key.
    pub opened_by_key: u64,
    /// Players in the game who sent an answer, in time or too late.
    pub answers_sent: u64,
    /// Of those, the ones that were acknowledged.
    pub answers_acknowledged: u64,
    /// Answers in time that were refused.
    pub in_time_refused: u64,
    /// Answers in time, per option.
    pub options: [u64; OPTIONS_MAX],
    /// Passed by the correct answer.
    pub correct: u64,
    /// Out at this question.
    pub eliminated: u64,
    /// Saved by a card.
    pub revived: u64,
    /// The reveal, which must be the same for everybody.
    pub reveal: Option<proto::Reveal>,
}

/// What all players of a swarm share.
pub struct Checks {
    /// What they do.
    pub script: Script,
    /// Which show they play.
    pub show: ShowId,
    /// The gateway may die and begin again: connections that end by themselves are no fault.
    pub gateway_may_die: bool,
    /// What was found to be wrong.
    pub violations: Violations,
    /// By question.
    pub questions: Vec<QuestionSums>,
    /// The settlement, which must be the same for everybody.
    pub settled: Option<proto::Settled>,
    coverage: ReviveCoverage,
    /// Bytes of a reply that holds a sealed result, by question and encoding: a right answer's
    /// must not differ from a wrong one's.
    reply_bytes: BTreeMap<(QuestionIndex, Encoding), usize>,
    sealer: Option<([u8; KEY_BYTES], QuestionIndex, Sealer)>,
}

impl Checks {
    /// For one show.
    #[must_use]
    pub fn new(script: Script, definition: &ShowDefinition) -> Checks {
        Checks {
            questions: vec![QuestionSums::default(); definition.questions.len()],
            script,
            show: definition.id,
            gateway_may_die: false,
            violations: Violations::new(),
            settled: None,
            coverage: definition.revive,
            reply_bytes: BTreeMap::new(),
            sealer: None,
        }
    }

    /// The question of this index, if the show has it.
    fn index(&self, question: u32) -> Option<QuestionIndex> {
        let index = u16::try_from(question).map(QuestionIndex).ok()?;
        (index.index() < self.questions.len()).then_some(index)
    }

    fn sums(&mut self, question: QuestionIndex) -> &mut QuestionSums {
        &mut self.questions[question.index()]
    }

    /// The question's sealer under the released key; made once for all players.
    fn sealer(&mut self, key: [u8; KEY_BYTES], question: QuestionIndex) -> &Sealer {
        let fits = |(known, at, _): &([u8; KEY_BYTES], QuestionIndex, Sealer)| {
            *known == key && *at == question
        };
        if !self.sealer.as_ref().is_some_and(fits) {
            let secret = crate::quiz::seal::SecretKey::from_bytes(key);
            self.sealer = Some((key, question, Sealer::new(&secret, self.show, question)));
        }
        let (_, _, sealer) = self.sealer.as_ref().expect("it was made above");
        sealer
    }
}

/// One player's own memory.
#[derive(Clone, Debug)]
pub struct Record {
    user: UserId,
    in_play: bool,
    /// Cards held, as of the last reveal.
    cards: u8,
    card_used: bool,
    last_revealed: Option<QuestionIndex>,
    current: Option<Current>,
    /// The question that came early, sealed.
    sealed_question: Option<Box<proto::SealedQuestion>>,
    /// The key that came before what it opens: they travel by two lanes.
    question_key: Option<Box<proto::QuestionKey>>,
    /// By question, as long as the player is in the game.
    verdicts: Vec<Verdict>,
    settled: bool,
    epoch: u64,
    /// The newest version that was seen in each lane; nothing before the first join.
    seen: Option<[u64; 3]>,
}

/// What a returning player asks the gateway to go on from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The room's epoch.
    pub epoch: u64,
    /// The newest version seen in the high, mid and low lane.
    pub seen: [u64; 3],
}

impl Record {
    /// A player before its first question.
    #[must_use]
    pub fn new(user: UserId, script: &Script) -> Record {
        Record {
            user,
            in_play: true,
            cards: u8::from(script.holds_card(user)),
            card_used: false,
            last_revealed: None,
            current: None,
            sealed_question: None,
            question_key: None,
            verdicts: Vec::new(),
            settled: false,
            epoch: 0,
            seen: None,
        }
    }

    /// Who this is.
    #[must_use]
    pub fn user(&self) -> UserId {
        self.user
    }

    /// Whether the player is in the game, by its own record as of the last reveal.
    #[must_use]
    pub fn is_in_play(&self) -> bool {
        self.in_play
    }

    /// Its verdicts so far, by question.
    #[must_use]
    pub fn verdicts(&self) -> &[Verdict] {
        &self.verdicts
    }

    /// True once the prize is split and the player was told.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.settled
    }

    /// Whether the player won, by its own record.
    #[must_use]
    pub fn has_won(&self) -> bool {
        self.in_play && self.verdicts.last().is_some_and(|verdict| verdict.passes())
    }

    /// Where to go on in the room; nothing before the first join.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.seen.map(|seen| Position { epoch: self.epoch, seen })
    }

    /// The gateway let the player into the room.
    pub fn joined(&mut self, joined: &proto::Joined, checks: &mut Checks) {
        let user = self.user;
        let mut granted = [0; 3];
        for position in &joined.positions {
            if let Some(lane) = lane_index(position.lane) {
                granted[lane] = position.version;
            }
        }
        if let Some(seen) = self.seen {
            let epoch = self.epoch;
            let is_new = checks.gateway_may_die && joined.epoch != epoch && !joined.resumed;
            let resumed = joined.resumed && joined.epoch == epoch && granted == seen || is_new;
            checks.violations.check(resumed, || {
                format!("user {user}: coming back at {seen:?} of epoch {epoch} gave {joined:?}")
            });
        }
        self.epoch = joined.epoch;
        self.seen = Some(granted);
    }

    /// Something came through a lane, up to this version. High-lane versions have no holes and no repeats.
    pub fn stamped(&mut self, stamp: &proto::RoomStamp, last_version: u64, checks: &mut Checks) {
        let user = self.user;
        let (Some(lane), Some(seen)) = (lane_index(stamp.lane), self.seen.as_mut()) else {
            return checks
                .violations
                .note(|| format!("user {user}: {stamp:?} came before the player was in the room"));
        };
        let (expected, version) = (seen[lane] + 1, stamp.version);
        let holds = if lane == 0 { version == expected } else { version >= expected };
        let same = stamp.epoch == self.epoch;
        checks.violations.check(holds && same, || {
            let lane = LANES[lane];
            format!(
                "user {user}: version {version} came in the {lane} lane where {expected} was next \
                 (epoch {})",
                stamp.epoch
            )
        });
        seen[lane] = last_version;
    }

    /// The gateway says that something is missing.
    pub fn gap(&mut self, gap: &proto::Gap, checks: &mut Checks) {
        let user = self.user;
        if let (Some(lane), Some(seen)) = (lane_index(gap.lane), self.seen.as_mut()) {
            seen[lane] = gap.last_missing;
            checks
                .violations
                .check(lane != 0, || format!("user {user}: a hole in the high lane: {gap:?}"));
        }
    }

    /// What the player is told on its way into the room.
    pub fn snapshot(&mut self, snapshot: &proto::Snapshot, server_ms: i64, checks: &mut Checks) {
        let user = self.user;
        let phase = snapshot.show.as_ref().map(proto::ShowState::phase);
        let is_settled = matches!(phase, Some(proto::Phase::Settled | proto::Phase::Ended));
        if checks.gateway_may_die {
            self.catch_up(snapshot, server_ms, checks);
            self.settled |= is_settled;
        }
        let last_revealed = snapshot.last_revealed.and_then(|question| checks.index(question));
        // A reveal that waits in the lanes is in the snapshot already.
        if last_revealed == self.last_revealed {
            let standing = match (self.in_play, is_settled) {
                (true, true) => proto::Standing::Winner,
                (true, false) => proto::Standing::InPlay,
                (false, _) => proto::Standing::Out,
            };
            let holds =
                snapshot.standing() == standing && snapshot.revive_cards == u32::from(self.cards);
            let cards = self.cards;
            checks.violations.check(holds, || {
                format!(
                    "user {user}: the snapshot says {:?} with {} cards, the player's record \
                     {standing:?} with {cards}",
                    snapshot.standing(),
                    snapshot.revive_cards
                )
            });
        }
        if let Some(settled) = checks.settled.as_ref().filter(|_| is_settled) {
            let prize = if self.in_play { settled.per_head_cents } else { 0 };
            let told = snapshot.prize_cents;
            checks
                .violations
                .check(told == prize, || format!("user {user}: won {prize}, was told {told}"));
        }
        if let Some(reveal) = &snapshot.last_reveal
            && let Some(index) = checks.index(reveal.question)
            && let Some(first) = &checks.sums(index).reveal
        {
            let same = first == reveal;
            checks.violations.check(same, || {
                format!("user {user}: the snapshot's reveal of question {index} is another")
            });
        }
        self.recorded(snapshot, checks);
    }

    /// What went out while a gateway died may have reached nobody. Its lanes begin anew, and what
    /// they had said is in the snapshot only.
    fn catch_up(&mut self, snapshot: &proto::Snapshot, server_ms: i64, checks: &mut Checks) {
        let Some(reveal) = &snapshot.last_reveal else { return };
        let last_revealed = self.last_revealed.map(|index| u32::from(index.0));
        if last_revealed < Some(reveal.question) {
            self.recorded(snapshot, checks);
            self.reveal(reveal, server_ms, checks);
        }
    }

    /// The prize is split.
    pub fn settled(&mut self, settled: &proto::Settled, checks: &mut Checks) {
        let user = self.user;
        self.settled = true;
        match &checks.settled {
            None => checks.settled = Some(*settled),
            Some(first) => {
                let same = first == settled;
                checks
                    .violations
                    .check(same, || format!("user {user} was told of another settlement"));
            }
        }
    }

    /// A reply to an answer holds a sealed result or, for one that came late, none.
    pub fn acknowledged(
        &mut self,
        question: u32,
        received: &proto::AnswerReceived,
        encoding: Encoding,
        checks: &mut Checks,
    ) {
        let user = self.user;
        let Some(current) = self.current_at(question) else {
            return checks.violations.note(|| {
                format!("user {user}: an answer to question {question} was acknowledged after it")
            });
        };
        let index = current.index;
        if !std::mem::replace(&mut current.acknowledged, true) {
            checks.sums(index).answers_acknowledged += 1;
        }
        let Some(result) = &received.result else {
            let late = current.answered().is_some_and(|(_, when)| when == Answered::TooLate);
            return checks.violations.check(late, || {
                format!("user {user}, question {question}: no result for an answer in time")
            });
        };
        let bytes = match encoding {
            Encoding::Proto => received.encoded_len(),
            Encoding::Json => serde_json::to_vec(received).map_or(0, |text| text.len()),
        };
        let usual = *checks.reply_bytes.entry((index, encoding)).or_insert(bytes);
        checks.violations.check(usual == bytes, || {
            format!(
                "user {user}, question {question}: a reply of {bytes} bytes, others have {usual}"
            )
        });
        self.result(result, checks);
    }

    /// An answer was refused.
    pub fn refused(
        &mut self,
        question: QuestionIndex,
        failure: &proto::Failure,
        checks: &mut Checks,
    ) {
        let user = self.user;
        if self.in_play {
            checks.sums(question).in_time_refused += 1;
            checks.violations.note(|| {
                format!("user {user}, question {question}: the answer was refused: {failure:?}")
            });
        } else {
            let holds = failure.reason() == proto::Reason::OutOfGame;
            checks.violations.check(holds, || {
                format!("user {user} is out; its answer to question {question} got {failure:?}")
            });
        }
    }
}

/// The place of a lane; nothing for one that this client does not know.
fn lane_index(lane: i32) -> Option<usize> {
    match proto::Lane::try_from(lane) {
        Ok(proto::Lane::High) => Some(0),
        Ok(proto::Lane::Mid) => Some(1),
        Ok(proto::Lane::Low) => Some(2),
        Ok(proto::Lane::Unspecified) | Err(_) => None,
    }
}

/// The option of this number, if it is one.
fn option_index(option: u32) -> Option<OptionIndex> {
    u8::try_from(option).ok().map(OptionIndex)
}

#[cfg(test)]
mod tests;
