//! Journals that stand still while a question is open.
//!
//! What players do meanwhile is taken and counts by its stamp, but nobody is told so before it is
//! durable, and an event that would give more time could not leave. So the question is held: it does
//! not close, and when all journals go on it gets its whole time again if too little is left. Beyond
//! `extension_max` it is offered for voiding; it is still settled if nobody voids it and it was
//! offered everywhere in time.

use super::question::Coverage;
use super::{Director, Notice};
use crate::base::ids::ShardId;
use crate::base::time::Time;
use crate::quiz::phase::Phase;

impl Director {
    /// The journals of these shards stand still; of none: all go on. To be called again and again,
    /// before [`Director::due`].
    pub fn journals_stand(&mut self, now: Time, shards: &[ShardId]) {
        let is_open = self.phase == Phase::Open;
        let Some(state) = self.question.as_mut().filter(|_| is_open) else { return };
        let question = state.index;
        match &mut state.standing {
            None if shards.is_empty() => {}
            None => {
                let shards = shards.to_vec();
                state.standing = Some((now, shards.clone()));
                self.notices.push(Notice::JournalsStand { question, shards });
            }
            Some(_) if shards.is_empty() => self.journals_go_on(now),
            Some((_, known)) => {
                known.clear();
                known.extend_from_slice(shards);
            }
        }
    }

    fn journals_go_on(&mut self, now: Time) {
        let countdown = self.definition.timing.countdown;
        let state = self.question.as_mut().expect("an open question exists");
        let Some((since, shards)) = state.standing.take() else { return };
        let question = state.index;
        self.notices.push(Notice::JournalsGoOn { question });
        let is_offered = match state.coverage {
            Coverage::Failed => return,
            Coverage::Awaited => now < state.show_by,
            Coverage::Complete => true,
        };
        let left = state.answer_by.since(now);
        if !is_offered || left < now.since(since).min(countdown) {
            self.extend(now, shards);
        }
    }

    /// When a question that is held is given up.
    pub(super) fn standing_deadline(&self) -> Option<Time> {
        let state = self.question.as_ref().filter(|state| state.coverage != Coverage::Failed)?;
        let extended = state.first_show_by + self.definition.timing.extension_max;
        Some(extended.max(self.close_after(state.answer_by)))
    }

    pub(super) fn stand_too_long(&mut self) {
        let state = self.question.as_mut().expect("an open question exists");
        let Some((_, shards)) = &state.standing else { return };
        let (question, late) = (state.index, shards.clone());
        state.coverage = Coverage::Failed;
        self.notices.push(Notice::VoidNeeded { question, late });
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{acknowledge, millis, opened};
    use super::*;
    use crate::base::ids::QuestionIndex;
    use crate::quiz::event::ShowEvent;

    const QUESTION: QuestionIndex = QuestionIndex(0);
    const STANDING: [ShardId; 1] = [ShardId(1)];

    /// Shown by 500 ms, answered by 2,500 ms, closing at 3,100 ms, extended by 2,000 ms at most.
    fn offered() -> Director {
        let mut director = opened();
        acknowledge(&mut director, 0, 10);
        acknowledge(&mut director, 1, 10);
        director
    }

    #[test]
    fn a_question_does_not_close_while_a_journal_stands_and_gets_its_time_again() {
        let mut director = offered();
        director.journals_stand(millis(900), &STANDING);
        director.due(millis(2_400));
        assert_eq!((director.phase(), director.deadline()), (Phase::Open, Some(millis(3_100))));
        director.journals_stand(millis(1_900), &[]);
        let (show_by, answer_by) = (millis(2_400), millis(4_400));
        let extended = ShowEvent::QuestionExtended { question: QUESTION, show_by, answer_by };
        assert_eq!(director.take_events()[0].event, extended);
        let notices = [
            Notice::JournalsStand { question: QUESTION, shards: STANDING.to_vec() },
            Notice::JournalsGoOn { question: QUESTION },
            Notice::QuestionExtended { question: QUESTION, late: STANDING.to_vec(), show_by },
        ];
        assert_eq!(director.take_notices(), notices);
        director.due(millis(5_000));
        assert_eq!(director.phase(), Phase::Closing);
    }

    #[test]
    fn a_question_with_time_enough_left_is_not_extended() {
        let mut director = offered();
        director.journals_stand(millis(600), &STANDING);
        director.journals_stand(millis(1_400), &[]);
        assert!(director.take_events().is_empty());
        assert_eq!(director.deadline(), Some(millis(3_100)));
    }

    #[test]
    fn beyond_the_longest_extension_a_held_question_is_offered_for_voiding() {
        let mut director = offered();
        director.journals_stand(millis(2_450), &STANDING);
        director.due(millis(3_099));
        assert_eq!(director.take_notices().len(), 1);
        director.due(millis(3_100));
        let needed = Notice::VoidNeeded { question: QUESTION, late: STANDING.to_vec() };
        assert_eq!(director.take_notices(), [needed]);
        assert_eq!((director.phase(), director.deadline()), (Phase::Open, None));
        director.journals_stand(millis(9_000), &[]);
        director.due(millis(9_000));
        assert_eq!(director.phase(), Phase::Closing);
        // Nobody has voided it, and it was offered everywhere: it can be settled.
        acknowledge(&mut director, 0, 9_100);
        assert!(director.take_notices().contains(&Notice::OfferedAfterAll { question: QUESTION }));
    }
}
