//! What everybody in a show's room is told of its events, and a show's messages in order.
//!
//! A function of the events and the definition alone, without keys that are not public: so what a
//! show's journal holds can be told again, as it was, long after the room is gone.

use std::sync::Arc;

use crate::base::ids::{EventNumber, QuestionIndex, ShowId};
use crate::base::time::{DisplayClock, Time};
use crate::quiz::definition::ShowDefinition;
use crate::quiz::event::{NumberedEvent, QuestionOpening, Reveal, ShowEvent};
use crate::quiz::phase::Phase;
use crate::quiz::replica::OpenQuestion;
use crate::wire::proto;
use crate::wire::proto::notification::Payload as Notice;

/// Messages that are kept of a show: many times what a show with a hundred questions makes, each
/// of which may be extended, voided and judged again.
const MESSAGES_MAX: usize = 4_096;

/// Something that the audience of a show was told.
#[derive(Clone, Debug)]
pub struct ShowMessage {
    /// The event that it tells of; numbers grow from message to message.
    pub event: EventNumber,
    /// When that was decided.
    pub at: Time,
    /// What was said. A question that was opened by a key stands here whole.
    pub payload: Notice,
}

/// A show's messages, in order; the first ones if there are too many.
#[derive(Clone, Debug)]
pub struct Chronicle {
    definition: Arc<ShowDefinition>,
    phase: Phase,
    messages: Vec<ShowMessage>,
}

impl Chronicle {
    /// Before the show's first event.
    #[must_use]
    pub fn new(definition: Arc<ShowDefinition>) -> Chronicle {
        Chronicle { definition, phase: Phase::Announced, messages: Vec::new() }
    }

    /// The next event was decided.
    pub fn note(&mut self, event: &NumberedEvent, clock: DisplayClock) {
        let step = event.event.step();
        self.phase = step.and_then(|step| self.phase.after(step)).unwrap_or(self.phase);
        let payload = notice(event, &self.definition, self.phase, clock);
        if let Some(payload) = payload.filter(|_| self.messages.len() < MESSAGES_MAX) {
            let (event, at) = (event.number, event.decided_at);
            self.messages.push(ShowMessage { event, at, payload });
        }
    }

    /// What was said so far.
    #[must_use]
    pub fn messages(&self) -> &[ShowMessage] {
        &self.messages
    }
}

/// What everybody learns of an event, if there is anything that a player may know. `phase` is the
/// one after it.
pub(super) fn notice(
    event: &NumberedEvent,
    definition: &ShowDefinition,
    phase: Phase,
    clock: DisplayClock,
) -> Option<Notice> {
    let show = event.show;
    Some(match &event.event {
        // Internal: nothing that a player may know has changed.
        ShowEvent::QuestionClosing { .. }
        | ShowEvent::QuestionClosed { .. }
        | ShowEvent::Rejudging { .. }
        // Sealed, it says nothing.
        | ShowEvent::QuestionPushed(_)
        // What a rain's message says depends on how many watch: not on the event alone.
        | ShowEvent::Rain(_) => return None,
        ShowEvent::QuestionWithdrawn { question } => {
            let question = question.0.into();
            Notice::QuestionWithdrawn(proto::QuestionWithdrawn { show_id: show.0, question })
        }
        ShowEvent::QuestionOpened(opening) => {
            Notice::Question(question(definition, &shown(definition, opening), clock))
        }
        ShowEvent::QuestionExtended { question, show_by, answer_by } => {
            Notice::QuestionExtended(proto::QuestionExtended {
                show_id: show.0,
                question: question.0.into(),
                show_by_ms: clock.unix_ms(*show_by),
                answer_by_ms: clock.unix_ms(*answer_by),
            })
        }
        ShowEvent::Revealed(reveal) => Notice::Reveal(revealed(definition, reveal)),
        ShowEvent::QuestionVoided { question } => Notice::QuestionVoided(voided(show, *question)),
        ShowEvent::Rejudged { question, correct, in_play, .. } => Notice::Rejudged(proto::Rejudged {
            show_id: show.0,
            question: question.0.into(),
            correct_option: correct.0.into(),
            in_play: *in_play,
        }),
        ShowEvent::Settled(settlement) => Notice::Settled(proto::Settled {
            show_id: show.0,
            winners: settlement.winners,
            prize_pool_cents: settlement.pool.0,
            per_head_cents: settlement.per_head.0,
            remainder_cents: settlement.remainder.0,
        }),
        ShowEvent::Announced(_)
        | ShowEvent::LobbyOpened
        | ShowEvent::Paused
        | ShowEvent::Resumed
        | ShowEvent::Settling
        | ShowEvent::Cancelled
        | ShowEvent::Ended => Notice::ShowState(show_state(definition, phase)),
    })
}

fn voided(show: ShowId, question: QuestionIndex) -> proto::QuestionVoided {
    proto::QuestionVoided { show_id: show.0, question: question.0.into() }
}

/// A question as it is shown when it opens.
fn shown(definition: &ShowDefinition, opening: &QuestionOpening) -> OpenQuestion {
    OpenQuestion {
        question: opening.question,
        show_at: opening.show_at,
        show_by: opening.show_by,
        answer_by: opening.answer_by,
        commitment: opening.commitment,
        last: opening.question.index() + 1 == definition.questions.len(),
        by_key: false,
    }
}

pub(super) fn question(
    definition: &ShowDefinition,
    open: &OpenQuestion,
    clock: DisplayClock,
) -> proto::Question {
    let asked = &definition.questions[open.question.index()];
    proto::Question {
        show_id: definition.id.0,
        question: open.question.0.into(),
        text: asked.text.clone(),
        options: asked.options.clone(),
        show_at_ms: clock.unix_ms(open.show_at),
        show_by_ms: clock.unix_ms(open.show_by),
        answer_by_ms: clock.unix_ms(open.answer_by),
        commitment: open.commitment.to_vec().into(),
        last: open.last,
    }
}

pub(super) fn revealed(definition: &ShowDefinition, reveal: &Reveal) -> proto::Reveal {
    let options = definition.questions[reveal.question.index()].options.len();
    proto::Reveal {
        show_id: definition.id.0,
        question: reveal.question.0.into(),
        result_key: reveal.result_key.to_vec().into(),
        correct_option: reveal.correct.0.into(),
        option_counts: reveal.option_counts[..options].to_vec(),
        in_play: reveal.in_play,
    }
}

pub(super) fn show_state(definition: &ShowDefinition, phase: Phase) -> proto::ShowState {
    proto::ShowState {
        show_id: definition.id.0,
        room_id: definition.room.0,
        title: definition.title.clone(),
        phase: phase_on_the_wire(phase).into(),
        question_count: u32::try_from(definition.questions.len()).unwrap_or(u32::MAX),
        prize_pool_cents: definition.prize_pool.0,
        starts_at_ms: definition.starts_at_unix_ms,
    }
}

fn phase_on_the_wire(phase: Phase) -> proto::Phase {
    match phase {
        Phase::Announced => proto::Phase::Announced,
        Phase::Lobby => proto::Phase::Lobby,
        Phase::Open => proto::Phase::Open,
        Phase::Closing => proto::Phase::Closing,
        Phase::Closed => proto::Phase::Closed,
        Phase::Revealed | Phase::Rejudging => proto::Phase::Revealed,
        Phase::Voided => proto::Phase::Voided,
        Phase::PausedInLobby
        | Phase::PausedInClosed
        | Phase::PausedInRevealed
        | Phase::PausedInVoided => proto::Phase::Paused,
        Phase::Settling => proto::Phase::Settling,
        Phase::Settled => proto::Phase::Settled,
        Phase::Ended => proto::Phase::Ended,
        Phase::Cancelled => proto::Phase::Cancelled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::{OptionIndex, RoomId};
    use crate::quiz::definition::{QuestionDefinition, ReviveCoverage, Timing};
    use crate::quiz::money::Cents;
    use crate::quiz::seal::SecretKey;

    /// A question that was pushed early stands whole where it opened, and no key before its reveal.
    #[test]
    fn a_chronicle_has_what_was_public_in_order() {
        let asked = QuestionDefinition {
            text: "1 + 1?".to_owned(),
            options: vec!["1".to_owned(), "2".to_owned()],
            correct: OptionIndex(1),
        };
        let definition = Arc::new(ShowDefinition {
            id: ShowId(5),
            room: RoomId(6),
            title: "A show".to_owned(),
            starts_at_unix_ms: 0,
            prize_pool: Cents(100),
            remainder_account: "house".to_owned(),
            revive: ReviveCoverage::default(),
            timing: Timing::default(),
            questions: vec![asked],
        });
        let question = QuestionIndex(0);
        let (result_key, question_key) =
            (SecretKey::from_bytes([7; 32]), SecretKey::from_bytes([8; 32]));
        let opening = QuestionOpening {
            question,
            show_at: Time::from_millis(1),
            show_by: Time::from_millis(2),
            answer_by: Time::from_millis(3),
            result_key: result_key.clone(),
            question_key: question_key.clone(),
            commitment: [9; 32],
        };
        let push = crate::quiz::event::QuestionPush {
            question,
            result_key,
            question_key,
            commitment: [9; 32],
        };
        let mut chronicle = Chronicle::new(definition.clone());
        let events = [
            ShowEvent::Announced(definition.clone()),
            ShowEvent::LobbyOpened,
            ShowEvent::QuestionPushed(push),
            ShowEvent::QuestionOpened(opening),
        ];
        for (number, event) in (1..).zip(events) {
            let (show, number) = (definition.id, EventNumber(number));
            let event = NumberedEvent { show, number, decided_at: Time::ZERO, event };
            chronicle.note(&event, DisplayClock::default());
        }
        let numbers: Vec<u64> = chronicle.messages().iter().map(|it| it.event.0).collect();
        assert_eq!(numbers, [1, 2, 4]);
        let Notice::Question(asked) = &chronicle.messages()[2].payload else {
            panic!("{:?}", chronicle.messages())
        };
        assert_eq!(asked.text, definition.questions[0].text);
        let said = format!("{:?}", chronicle.messages());
        for key in ["7, 7, 7, 7", "8, 8, 8, 8", "\\x07\\x07\\x07", "\\x08\\x08\\x08"] {
            assert!(!said.contains(key), "{said}");
        }
    }
}
