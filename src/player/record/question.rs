//! One question as its player lives it: shown, answered, sealed, revealed.

use super::{Checks, Record, option_index};
use crate::base::ids::{OptionIndex, QuestionIndex, UserId};
use crate::base::time::Time;
use crate::player::early::opened;
use crate::player::script::Script;
use crate::quiz::definition::ReviveCoverage;
use crate::quiz::seal::{KEY_BYTES, SealedResult, SecretKey, commitment};
use crate::quiz::verdict::{Failing, Verdict};
use crate::wire::proto;

/// When an answer was given, by the player's own clock; never close to the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// Before the end.
    InTime,
    /// After it.
    TooLate,
}

/// The question that was shown last.
#[derive(Clone, Debug)]
pub(super) struct Current {
    pub(super) index: QuestionIndex,
    commitment: Vec<u8>,
    answer_by_ms: i64,
    last: bool,
    answer: Option<(OptionIndex, Answered)>,
    pub(super) acknowledged: bool,
    sealed: Option<SealedResult>,
}

impl Current {
    pub(super) fn answered(&self) -> Option<(OptionIndex, Answered)> {
        self.answer
    }
}

/// How a question reached its player.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// When its frame was parsed.
    pub at: Time,
    /// The same on the gateway's clock, as the player estimates it, Unix milliseconds.
    pub server_ms: i64,
    /// Through the lane, so that the player was in the room when it was published.
    pub stamped: bool,
}

impl Record {
    /// A question came. True if it is new to the player.
    pub fn question(
        &mut self,
        question: &proto::Question,
        shown: Shown,
        checks: &mut Checks,
    ) -> bool {
        let user = self.user;
        let Some(index) = checks.index(question.question) else {
            checks.violations.note(|| format!("user {user} was shown {question:?}"));
            return false;
        };
        if let Some(current) = &self.current
            && current.index >= index
        {
            let same = current.index == index && current.commitment == question.commitment;
            checks.violations.check(same, || {
                format!("user {user}: question {index} came again and is another one")
            });
            return false;
        }
        if shown.stamped {
            let late_ms = shown.server_ms - question.show_by_ms;
            checks.violations.check(late_ms <= 0, || {
                format!("user {user}: question {index} came {late_ms} ms after its latest display")
            });
        }
        let last = index.index() + 1 == checks.questions.len();
        checks.violations.check(question.last == last, || {
            format!("user {user}: question {index} says last = {}", question.last)
        });
        self.current = Some(Current {
            index,
            commitment: question.commitment.to_vec(),
            answer_by_ms: question.answer_by_ms,
            last,
            answer: None,
            acknowledged: false,
            sealed: None,
        });
        checks.sums(index).shown_at.push(shown.at);
        true
    }

    /// The next question came, sealed: what it says, if its key is here already.
    pub fn sealed_question(
        &mut self,
        sealed: proto::SealedQuestion,
        checks: &mut Checks,
    ) -> Option<proto::Question> {
        if Script::opens_seals(self.user) {
            self.sealed_question = Some(Box::new(sealed));
        }
        self.opened(checks)
    }

    /// The key of a question came: what it opens, if that is here.
    pub fn question_key(
        &mut self,
        key: proto::QuestionKey,
        checks: &mut Checks,
    ) -> Option<proto::Question> {
        self.question_key = Some(Box::new(key));
        self.opened(checks)
    }

    fn opened(&mut self, checks: &mut Checks) -> Option<proto::Question> {
        let user = self.user;
        let key = self.question_key.as_ref()?;
        let sealed = self.sealed_question.as_ref()?;
        if sealed.show_id != key.show_id || sealed.question != key.question {
            return None;
        }
        match opened(sealed, key) {
            Ok(question) => {
                if let Some(index) = checks.index(question.question) {
                    checks.sums(index).opened_by_key += 1;
                }
                Some(question)
            }
            Err(error) => {
                checks
                    .violations
                    .note(|| format!("user {user}, question {}: {error}", key.question));
                None
            }
        }
    }

    /// Everybody gets more time.
    pub fn extended(&mut self, extended: &proto::QuestionExtended) {
        if let Some(current) = self.current_at(extended.question) {
            current.answer_by_ms = extended.answer_by_ms;
        }
    }

    /// The last moment for an answer to the question that was shown last, Unix milliseconds.
    #[must_use]
    pub fn answer_by_ms(&self) -> i64 {
        self.current.as_ref().map_or(0, |current| current.answer_by_ms)
    }

    /// The player sends its answer. Only the first one counts; true if this is it.
    pub fn answers(
        &mut self,
        question: QuestionIndex,
        option: OptionIndex,
        when: Answered,
        checks: &mut Checks,
    ) -> bool {
        let in_play = self.in_play;
        let Some(current) = self.current.as_mut().filter(|current| current.index == question)
        else {
            return false;
        };
        if !in_play || current.answer.is_some() {
            return false;
        }
        current.answer = Some((option, when));
        let sums = checks.sums(question);
        sums.answers_sent += 1;
        if when == Answered::InTime
            && let Some(count) = sums.options.get_mut(option.index())
        {
            *count += 1;
        }
        true
    }

    /// The answer that was given and not acknowledged, to be sent again after a reconnect.
    #[must_use]
    pub fn unacknowledged(&self) -> Option<(QuestionIndex, OptionIndex)> {
        let current = self.current.as_ref().filter(|current| !current.acknowledged)?;
        current.answer.map(|(option, _)| (current.index, option))
    }

    /// Whether the answer to the question was acknowledged.
    #[must_use]
    pub fn is_acknowledged(&self, question: QuestionIndex) -> bool {
        self.current.as_ref().is_some_and(|it| it.index == question && it.acknowledged)
    }

    /// A sealed result came. Every one for the same question is the same, byte for byte.
    pub fn result(&mut self, result: &proto::SealedResult, checks: &mut Checks) {
        let (user, in_play, show) = (self.user, self.in_play, checks.show.0);
        let question = result.question;
        let Some(current) = self.current_at(question).filter(|_| result.show_id == show) else {
            return checks.violations.note(|| {
                format!("user {user}: a result of question {question}, which is not shown")
            });
        };
        checks.violations.check(in_play, || {
            format!("user {user} is out and got a result of question {question}")
        });
        let Some(sealed) = sealed_result(result) else {
            return checks.violations.note(|| {
                format!("user {user}, question {question}: a sealed result of a wrong length")
            });
        };
        let first = *current.sealed.get_or_insert(sealed);
        checks.violations.check(first == sealed, || {
            format!(
                "user {user}, question {question}: a repeated reply holds another result than the \
                 first"
            )
        });
    }

    /// What the snapshot says of the player's answer agrees with what the player sent.
    pub(super) fn recorded(&mut self, snapshot: &proto::Snapshot, checks: &mut Checks) {
        let user = self.user;
        let current = self.current.as_ref();
        let open = snapshot.open_question.as_ref().map(|open| open.question);
        let recorded = snapshot.recorded_option.and_then(option_index);
        let sent = current.and_then(|current| current.answer).map(|(option, _)| option);
        if let Some(recorded) = recorded {
            checks.violations.check(sent == Some(recorded), || {
                format!(
                    "user {user}: the snapshot has option {recorded}, the player's record {sent:?}"
                )
            });
        } else if let Some(current) = current
            && open == Some(u32::from(current.index.0))
        {
            checks.violations.check(!current.acknowledged, || {
                let index = current.index;
                format!("user {user}: the acknowledged answer to {index} is not in the snapshot")
            });
        }
        let shown = current.map(|current| u32::from(current.index.0));
        if let Some(result) = &snapshot.recorded_result
            && shown == Some(result.question)
            && self.in_play
        {
            self.result(result, checks);
        }
    }

    /// The key is released: everything that was sealed can be checked now.
    pub fn reveal(&mut self, reveal: &proto::Reveal, server_ms: i64, checks: &mut Checks) {
        let user = self.user;
        let (Some(index), Some(correct)) =
            (checks.index(reveal.question), option_index(reveal.correct_option))
        else {
            return checks.violations.note(|| format!("user {user} got {reveal:?}"));
        };
        match &checks.sums(index).reveal {
            None => checks.sums(index).reveal = Some(reveal.clone()),
            Some(first) => {
                let same = first == reveal;
                checks.violations.check(same, || {
                    format!("user {user}: the reveal of question {index} is not that of others")
                });
            }
        }
        if checks.gateway_may_die && self.last_revealed == Some(index) {
            // It was in the snapshot, and now comes by the lane.
            return;
        }
        self.last_revealed = Some(index);
        let Some(current) = self.current.clone().filter(|current| current.index == index) else {
            return checks
                .violations
                .note(|| format!("user {user} was never shown question {index}"));
        };
        let Ok(key) = <[u8; KEY_BYTES]>::try_from(reveal.result_key.as_ref()) else {
            return checks
                .violations
                .note(|| format!("user {user}: the key of question {index} has a wrong length"));
        };
        checks.violations.check(server_ms > current.answer_by_ms, || {
            format!("user {user}: question {index} was revealed while answers were taken")
        });
        check_public(user, &current, correct, key, checks);
        if self.in_play {
            self.judged(&current, correct, key, checks);
        } else {
            checks.violations.check(current.sealed.is_none(), || {
                format!("user {user} is out and has a result of question {index}")
            });
        }
    }

    /// Compares the player's own verdict with the sealed one, and lives with it.
    fn judged(
        &mut self,
        current: &Current,
        correct: OptionIndex,
        key: [u8; KEY_BYTES],
        checks: &mut Checks,
    ) {
        let (user, index) = (self.user, current.index);
        let card = self.cards > 0 && !self.card_used && !current.last;
        let opened =
            current.sealed.as_ref().map(|sealed| checks.sealer(key, index).open(user, sealed));
        let mut answer = current.answer;
        if let (true, Some(Ok(record)), Some((option, Answered::TooLate))) =
            (checks.gateway_may_die, &opened, answer)
            && record.verdict.failing() != Some(Failing::Late)
        {
            // The question was extended by the gateway's absence.
            answer = Some((option, Answered::InTime));
        }
        let mut verdict = own_verdict(answer, correct, card, checks.coverage);
        if let (true, Some(Ok(record)), None) = (checks.gateway_may_die, &opened, answer)
            && record.verdict.failing() == Some(Failing::Unreachable)
        {
            // Not back yet when the question was to be shown, and it would not have answered.
            let is_covered = card && checks.coverage.unreachable;
            verdict =
                if is_covered { Verdict::Revived } else { Verdict::Out }(Failing::Unreachable);
        }
        let passed = self.verdicts.iter().filter(|verdict| verdict.passes()).count()
            + usize::from(verdict.passes());
        match opened {
            None => checks
                .violations
                .note(|| format!("user {user} has no result of question {index} at its reveal")),
            Some(opened) => match opened {
                Err(error) => {
                    checks.violations.note(|| format!("user {user}, question {index}: {error}"))
                }
                Ok(opened) => {
                    let own = current.answer.map(|(option, _)| option);
                    let same = opened.verdict == verdict
                        && opened.option == own
                        && usize::from(opened.passed) == passed;
                    checks.violations.check(same, || {
                        format!(
                            "user {user}, question {index}: the gateway says {opened:?}, the \
                             player's record {verdict:?} with option {own:?}, {passed} passed"
                        )
                    });
                }
            },
        }
        let sums = checks.sums(index);
        match verdict {
            Verdict::Passed => sums.correct += 1,
            Verdict::Revived(_) => sums.revived += 1,
            Verdict::Out(_) => sums.eliminated += 1,
        }
        self.verdicts.push(verdict);
        self.in_play = verdict.passes();
        if verdict.uses_card() {
            self.card_used = true;
            self.cards -= 1;
        }
    }

    /// The question shown last, if it is this one.
    pub(super) fn current_at(&mut self, question: u32) -> Option<&mut Current> {
        self.current.as_mut().filter(|current| u32::from(current.index.0) == question)
    }
}

/// What everybody can check: the key was fixed beforehand, and the option is the author's.
fn check_public(
    user: UserId,
    current: &Current,
    correct: OptionIndex,
    key: [u8; KEY_BYTES],
    checks: &mut Checks,
) {
    let index = current.index;
    let committed = commitment(&SecretKey::from_bytes(key), correct, checks.show, index);
    checks.violations.check(committed[..] == current.commitment[..], || {
        format!("user {user}: key and option of question {index} are not what was committed to")
    });
    let expected = checks.script.correct(index);
    checks.violations.check(correct == expected, || {
        format!("user {user}: option {correct} of question {index} is said to be correct, not {expected}")
    });
}

/// The rules, written down a second time: what an answer is worth.
fn own_verdict(
    answer: Option<(OptionIndex, Answered)>,
    correct: OptionIndex,
    card: bool,
    coverage: ReviveCoverage,
) -> Verdict {
    let (failing, covered) = match answer {
        Some((option, Answered::InTime)) if option == correct => return Verdict::Passed,
        Some((_, Answered::InTime)) => (Failing::Wrong, coverage.wrong),
        Some((_, Answered::TooLate)) => (Failing::Late, coverage.late),
        None => (Failing::Silent, coverage.late),
    };
    if card && covered { Verdict::Revived(failing) } else { Verdict::Out(failing) }
}

fn sealed_result(result: &proto::SealedResult) -> Option<SealedResult> {
    Some(SealedResult {
        nonce: result.nonce.as_ref().try_into().ok()?,
        ciphertext: result.ciphertext.as_ref().try_into().ok()?,
    })
}
