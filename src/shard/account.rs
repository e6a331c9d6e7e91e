//! A show as its records tell it: who was offered what and when, what came, how it was judged, which
//! cards that took, and what everybody won.
//!
//! [`crate::shard::witness`] fills it in by doing records again. Here is what follows from it:
//! the times and outcomes of questions ([`questions`]), and where a player stands in the end
//! ([`PlayerAccount::outcome`]). Absent: every thought of how it is shown, and of what may not be
//! told yet, but for [`QuestionFacts::is_told`], which says it.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::ids::{BucketId, OptionIndex, QuestionIndex, RainIndex, ShardId, ShowId, UserId};
use crate::base::time::Time;
use crate::quiz::definition::ShowDefinition;
use crate::quiz::event::{NumberedEvent, QuestionOpening, Reveal, Settlement, ShowEvent};
use crate::quiz::money::Cents;
use crate::quiz::phase::Phase;
use crate::quiz::replica::TicketStamp;
use crate::quiz::report::QuestionCounts;
use crate::quiz::verdict::Verdict;
use crate::shard::coverage::Reach;

/// Where a record stands. A user is on one shard in a run, so run and record order what happened to
/// it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Which run of the process.
    pub run: u64,
    /// Its place among the shard's records of that run, from 1.
    pub record: u64,
    /// Which shard.
    pub shard: ShardId,
}

/// All that is known of a show.
#[derive(Clone, Debug)]
pub struct ShowAccount {
    /// Which show.
    pub show: ShowId,
    /// Buckets of the deployment.
    pub buckets: u16,
    /// What its director decided, the announcement first.
    pub history: Vec<NumberedEvent>,
    /// The runs of the process that it spans.
    pub runs: Vec<RunAccount>,
    /// When each shard had queued each question.
    pub offers: Vec<Offer>,
    /// How questions came to connections.
    pub reaches: Vec<ShardReach>,
    /// Everybody who joined.
    pub players: BTreeMap<UserId, PlayerAccount>,
    /// Other shows that hide verdicts at this moment: how many cards anybody holds may tell them.
    pub hiding_elsewhere: BTreeSet<ShowId>,
}

/// One run of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunAccount {
    /// Which.
    pub run: u64,
    /// Its shards.
    pub shards: u16,
    /// When it began.
    pub began_at: Time,
    /// Unix time of the zero of time, as the run showed it.
    pub zero_unix_ms: i64,
}

/// A shard had queued a question for everybody in the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Where it is on record.
    pub place: Place,
    /// Which question.
    pub question: QuestionIndex,
    /// When.
    pub at: Time,
    /// Connections that were in the room.
    pub connections: u64,
}

/// How a question came to the connections of a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardReach {
    /// Where it is on record.
    pub place: Place,
    /// Which question.
    pub question: QuestionIndex,
    /// How.
    pub reach: Reach,
}

/// A player in the show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlayerAccount {
    /// The user's bucket.
    pub bucket: BucketId,
    /// When it joined first.
    pub joined_at: Time,
    /// Cards that it held then.
    pub cards_at_join: u8,
    /// Its sessions in the show's room.
    pub visits: Vec<Visit>,
    /// The questions at which it was in the game, ascending.
    pub answers: Vec<AnswerAccount>,
    /// What became of its cards since it joined.
    pub cards: Vec<CardMove>,
    /// What it won in rains.
    pub packets: Vec<Packet>,
    /// The prize is in its balance.
    pub is_paid: bool,
}

/// A session in the show's room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visit {
    /// In which run.
    pub run: u64,
    /// The shard of the connection.
    pub shard: ShardId,
    /// Since when.
    pub since: Time,
    /// Until when, if it ended.
    pub until: Option<Time>,
}

/// A player at a question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnswerAccount {
    /// Which question.
    pub question: QuestionIndex,
    /// When and on which shard it was offered in time.
    pub offered: Option<(Time, ShardId)>,
    /// The answer that counts.
    pub given: Option<Given>,
    /// The ticket that binds the option.
    pub ticket: Option<TicketStamp>,
    /// How it was judged: at first, and each time that the question was judged again.
    pub judgements: Vec<Judgement>,
}

/// An answer on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given {
    /// Where.
    pub place: Place,
    /// Which option.
    pub option: OptionIndex,
    /// When it came.
    pub arrived: Time,
    /// The ticket that it came with.
    pub ticket: Option<TicketStamp>,
}

impl Given {
    /// What it is judged by: the ticket's stamp, or its own.
    #[must_use]
    pub fn stamp(&self) -> Time {
        self.ticket.map_or(self.arrived, |ticket| ticket.arrived)
    }
}

/// A verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Where it was given.
    pub place: Place,
    /// 0 at first, then the number of the re-judgement.
    pub revision: u8,
    /// Cards that the player held before it.
    pub cards: u8,
    /// What it is.
    pub verdict: Verdict,
}

/// A card came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CardMove {
    /// Where.
    pub place: Place,
    /// How many more, or fewer.
    pub change: i16,
    /// Why.
    pub cause: CardCause,
}

/// Why a card came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CardCause {
    /// The operator granted it.
    Granted,
    /// The operator took it away.
    Expired,
    /// For an invitation.
    Invitation,
    /// A verdict at a question used it, or another verdict, or a void, gave it back.
    Question(ShowId, QuestionIndex),
}

/// What a tap won in a rain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Where it is on record.
    pub place: Place,
    /// Which rain.
    pub rain: RainIndex,
    /// Which of the user's taps.
    pub slot: u8,
    /// The packet's number.
    pub number: u32,
    /// What it is worth.
    pub cents: Cents,
}

/// Where a player stands, by what is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Came after the first question that counts.
    Spectator,
    /// Failed a question.
    Out(QuestionIndex, Verdict),
    /// In the game.
    InPlay,
    /// Passed every question that counts, and the show is settled.
    Winner,
}

/// One question of a show, by what its director decided.
#[derive(Clone, Debug)]
pub struct QuestionFacts {
    /// How it opened.
    pub opening: QuestionOpening,
    /// When it was decided to open it.
    pub opened_at: Time,
    /// The latest display, extensions included.
    pub show_by: Time,
    /// The last moment for an answer, extensions included.
    pub answer_by: Time,
    /// When it was extended, and until when it was to be shown then.
    pub extensions: Vec<(Time, Time)>,
    /// When its closing began, until when tickets counted, and whether every shard was known to
    /// have had it by `show_by`.
    pub closing: Option<(Time, Time, bool)>,
    /// When it was closed, and how it went.
    pub closed: Option<(Time, QuestionCounts, u64)>,
    /// When it was revealed, and what.
    pub reveal: Option<(Time, Reveal)>,
    /// When it was voided.
    pub voided_at: Option<Time>,
    /// The keys that it was judged by again.
    pub rejudgements: Vec<Rejudgement>,
}

/// A question was judged again.
#[derive(Clone, Copy, Debug)]
pub struct Rejudgement {
    /// When that began.
    pub begun_at: Time,
    /// By which option.
    pub correct: OptionIndex,
    /// When all had been judged, how it went, and who was left.
    pub done: Option<(Time, QuestionCounts, u64)>,
}

impl QuestionFacts {
    fn new(opening: &QuestionOpening, opened_at: Time) -> QuestionFacts {
        QuestionFacts {
            opening: opening.clone(),
            opened_at,
            show_by: opening.show_by,
            answer_by: opening.answer_by,
            extensions: Vec::new(),
            closing: None,
            closed: None,
            reveal: None,
            voided_at: None,
            rejudgements: Vec::new(),
        }
    }

    /// Which.
    #[must_use]
    pub fn question(&self) -> QuestionIndex {
        self.opening.question
    }

    /// Whether its key and its verdicts are public: it was revealed, and is not being judged again.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.reveal.is_some() && self.rejudgements.iter().all(|again| again.done.is_some())
    }

    /// Whether it counts and is told.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.voided_at.is_none() && self.is_told()
    }

    /// The correct options by which it was judged, by revision; none before they are told.
    #[must_use]
    pub fn correct(&self) -> Vec<OptionIndex> {
        let told = self.is_told().then_some(&self.reveal).and_then(Option::as_ref);
        let first = told.map(|(_, reveal)| reveal.correct);
        let again = self.rejudgements.iter().map(|again| again.correct);
        first.into_iter().flat_map(|first| std::iter::once(first).chain(again.clone())).collect()
    }
}

/// Where a show with this history stands.
#[must_use]
pub fn phase(history: &[NumberedEvent]) -> Phase {
    let steps = history.iter().filter_map(|event| event.event.step());
    steps.fold(Phase::Announced, |phase, step| phase.after(step).unwrap_or(phase))
}

/// The questions that a show has asked.
#[must_use]
pub fn questions(history: &[NumberedEvent]) -> Vec<QuestionFacts> {
    let mut questions: Vec<QuestionFacts> = Vec::new();
    let mut phase = Phase::Announced;
    for NumberedEvent { decided_at, event, .. } in history {
        let before = phase;
        phase = event.step().and_then(|step| phase.after(step)).unwrap_or(phase);
        if let ShowEvent::QuestionOpened(opening) = event {
            questions.push(QuestionFacts::new(opening, *decided_at));
        }
        let Some(last) = questions.last_mut() else { continue };
        match event {
            ShowEvent::QuestionExtended { show_by, answer_by, .. } => {
                last.extensions.push((*decided_at, *show_by));
                (last.show_by, last.answer_by) = (*show_by, *answer_by);
            }
            ShowEvent::QuestionClosing { answer_by, close_after, is_offered, .. } => {
                last.answer_by = *answer_by;
                last.closing = Some((*decided_at, *close_after, *is_offered));
            }
            ShowEvent::QuestionClosed { counts, in_play, .. } => {
                last.closed = Some((*decided_at, *counts, *in_play));
            }
            ShowEvent::Revealed(reveal) => last.reveal = Some((*decided_at, reveal.clone())),
            ShowEvent::QuestionVoided { .. } => last.voided_at = Some(*decided_at),
            // An unrevealed question is undone.
            ShowEvent::Cancelled if before.hides_verdicts() => last.voided_at = Some(*decided_at),
            ShowEvent::Rejudging { correct, .. } => {
                let (begun_at, correct) = (*decided_at, *correct);
                last.rejudgements.push(Rejudgement { begun_at, correct, done: None });
            }
            ShowEvent::Rejudged { in_play, counts, .. } => {
                if let Some(again) = last.rejudgements.last_mut() {
                    again.done = Some((*decided_at, *counts, *in_play));
                }
            }
            ShowEvent::Announced(_)
            | ShowEvent::LobbyOpened
            | ShowEvent::QuestionPushed(_)
            | ShowEvent::QuestionWithdrawn { .. }
            | ShowEvent::QuestionOpened(_)
            | ShowEvent::Paused
            | ShowEvent::Resumed
            | ShowEvent::Settling
            | ShowEvent::Settled(_)
            | ShowEvent::Cancelled
            | ShowEvent::Ended
            | ShowEvent::Rain(_) => {}
        }
    }
    questions
}

impl ShowAccount {
    /// What was announced.
    ///
    /// # Panics
    /// If the history does not begin with it: it was read from journals whose checks it passed.
    #[must_use]
    pub fn definition(&self) -> &ShowDefinition {
        match self.history.first().map(|first| &first.event) {
            Some(ShowEvent::Announced(definition)) => definition,
            _ => panic!("a history begins with the announcement"),
        }
    }

    /// Where the show stands.
    #[must_use]
    pub fn phase(&self) -> Phase {
        phase(&self.history)
    }

    /// How the prize was split, if it was.
    #[must_use]
    pub fn settlement(&self) -> Option<&Settlement> {
        self.history.iter().find_map(|event| match &event.event {
            ShowEvent::Settled(settlement) => Some(settlement),
            _ => None,
        })
    }

    /// A moment as Unix milliseconds, by the run in which it was.
    #[must_use]
    pub fn unix_ms(&self, at: Time) -> i64 {
        let run = self.runs.iter().rev().find(|run| run.began_at <= at).or(self.runs.first());
        let zero = run.map_or(0, |run| run.zero_unix_ms);
        zero.saturating_add(i64::try_from(at.as_millis()).unwrap_or(i64::MAX))
    }
}

impl PlayerAccount {
    /// What is known of the player at a question.
    #[must_use]
    pub fn at(&self, question: QuestionIndex) -> Option<&AnswerAccount> {
        let place = self.answers.binary_search_by_key(&question, |answer| answer.question);
        place.ok().map(|place| &self.answers[place])
    }

    /// The same, to be filled in.
    pub(super) fn at_mut(&mut self, question: QuestionIndex) -> &mut AnswerAccount {
        let place = self.answers.binary_search_by_key(&question, |answer| answer.question);
        let place = place.unwrap_or_else(|place| {
            self.answers.insert(place, AnswerAccount { question, ..AnswerAccount::default() });
            place
        });
        &mut self.answers[place]
    }

    /// Where the player stands, by the questions that are told; `is_settled` if the show is.
    #[must_use]
    pub fn outcome(&self, questions: &[QuestionFacts], is_settled: bool) -> Outcome {
        let counting = |facts: &&QuestionFacts| facts.counts();
        let first = questions.iter().find(|facts| facts.voided_at.is_none());
        if first.is_some_and(|first| {
            let is_closed = first.closing.is_some();
            is_closed && first.answer_by < self.joined_at
        }) {
            return Outcome::Spectator;
        }
        let mut passed = 0;
        for facts in questions.iter().filter(counting) {
            let judged = self.at(facts.question()).and_then(|answer| answer.judgements.last());
            match judged.map(|judged| judged.verdict) {
                Some(verdict) if !verdict.passes() => {
                    return Outcome::Out(facts.question(), verdict);
                }
                Some(_) => passed += 1,
                // Not judged yet, as far as the records go.
                None => return Outcome::InPlay,
            }
        }
        if is_settled && passed > 0 { Outcome::Winner } else { Outcome::InPlay }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::EventNumber;
    use crate::base::limits::OPTIONS_MAX;
    use crate::quiz::seal::SecretKey;
    use crate::quiz::verdict::Failing;

    const OUT: Verdict = Verdict::Out(Failing::Wrong);

    fn opened(question: u16) -> ShowEvent {
        let at = |offset: u64| Time(1_000 * u64::from(question) + offset);
        ShowEvent::QuestionOpened(QuestionOpening {
            question: QuestionIndex(question),
            show_at: at(0),
            show_by: at(10),
            answer_by: at(100),
            result_key: SecretKey::from_bytes([1; 32]),
            question_key: SecretKey::from_bytes([2; 32]),
            commitment: [3; 32],
        })
    }

    fn closed(question: u16) -> [ShowEvent; 2] {
        let (answer_by, question) =
            (Time(1_000 * u64::from(question) + 100), QuestionIndex(question));
        let close_after = Time(answer_by.0 + 50);
        let counts = QuestionCounts::default();
        [
            ShowEvent::QuestionClosing { question, answer_by, close_after, is_offered: true },
            ShowEvent::QuestionClosed { question, counts, in_play: 1 },
        ]
    }

    fn revealed(question: u16) -> ShowEvent {
        ShowEvent::Revealed(Reveal {
            question: QuestionIndex(question),
            result_key: [1; 32],
            correct: OptionIndex(1),
            option_counts: [0; OPTIONS_MAX],
            in_play: 1,
        })
    }

    fn asked(question: u16) -> Vec<ShowEvent> {
        let mut events = vec![opened(question)];
        events.extend(closed(question));
        events.push(revealed(question));
        events
    }

    fn facts(events: Vec<ShowEvent>) -> Vec<QuestionFacts> {
        let events = std::iter::once(ShowEvent::LobbyOpened).chain(events);
        let numbered = (2..).zip(events).map(|(number, event)| {
            let (show, number, decided_at) = (ShowId(1), EventNumber(number), Time(number));
            NumberedEvent { show, number, decided_at, event }
        });
        questions(&numbered.collect::<Vec<_>>())
    }

    fn player(joined_at: u64, verdicts: &[(u16, Verdict)]) -> PlayerAccount {
        let mut player = PlayerAccount { joined_at: Time(joined_at), ..PlayerAccount::default() };
        for (question, verdict) in verdicts {
            let (place, revision, cards) = (Place::default(), 0, 0);
            let judgement = Judgement { place, revision, cards, verdict: *verdict };
            player.at_mut(QuestionIndex(*question)).judgements.push(judgement);
        }
        player
    }

    #[test]
    fn a_question_is_told_by_its_reveal_and_not_while_it_is_judged_again() {
        let (question, correct) = (QuestionIndex(0), OptionIndex(2));
        let mut events = vec![opened(0)];
        let told = |events: &[ShowEvent]| facts(events.to_vec())[0].is_told();
        assert!(!told(&events));
        events.extend(closed(0));
        assert!(!told(&events));
        events.push(revealed(0));
        assert!(told(&events));
        assert_eq!(facts(events.clone())[0].correct(), [OptionIndex(1)]);
        events.push(ShowEvent::Rejudging { question, correct, revision: 1 });
        assert!(!told(&events) && facts(events.clone())[0].correct().is_empty());
        let counts = QuestionCounts::default();
        events.push(ShowEvent::Rejudged { question, correct, in_play: 1, counts });
        assert!(told(&events));
        assert_eq!(facts(events)[0].correct(), [OptionIndex(1), OptionIndex(2)]);
    }

    #[test]
    fn a_show_that_is_called_off_undoes_what_was_not_revealed() {
        let called_off = |mut events: Vec<ShowEvent>| {
            events.push(ShowEvent::Cancelled);
            facts(events)[0].voided_at.is_some()
        };
        assert!(called_off(vec![opened(0)]));
        assert!(!called_off(asked(0)));
    }

    #[test]
    fn outcomes() {
        let two = facts([asked(0), asked(1)].concat());
        let voided = [asked(0), vec![ShowEvent::QuestionVoided { question: QuestionIndex(0) }]];
        let voided = facts([voided.concat(), asked(1)].concat());
        let hidden = facts([asked(0), vec![opened(1)]].concat());
        let (pass, out) = (Verdict::Passed, OUT);
        for (facts, player, is_settled, expected) in [
            (&two, player(100, &[(0, pass), (1, pass)]), true, Outcome::Winner),
            (&two, player(100, &[(0, pass), (1, pass)]), false, Outcome::InPlay),
            (&two, player(101, &[]), true, Outcome::Spectator),
            (&two, player(0, &[(0, out)]), true, Outcome::Out(QuestionIndex(0), out)),
            (&two, player(0, &[(0, pass)]), true, Outcome::InPlay),
            (&voided, player(500, &[(0, out), (1, pass)]), true, Outcome::Winner),
            (&voided, player(1_101, &[]), true, Outcome::Spectator),
            (&hidden, player(0, &[(0, pass), (1, out)]), false, Outcome::InPlay),
        ] {
            assert_eq!(player.outcome(facts, is_settled), expected, "{player:?}");
        }
    }
}
