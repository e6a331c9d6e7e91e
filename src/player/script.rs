//! What each player does: a pure function of seed, user and question.
//!
//! No decision depends on time or on the order in which anything arrives, so one seed plays one
//! game, on any number of shards and under any load. Every planned moment stays at least
//! [`MARGIN`] away from the limits of its question (the last moment for an answer, the end of the
//! tickets), so that noise cannot turn one verdict into another.
//!
//! Invariants: of every [`CLASSES`] users with neighbouring ids two know every answer, two hold a
//! card and fail once, one is late and one is silent; so 50 players of a show with two or more
//! questions have winners, eliminated and revived ones at its end.

use std::time::Duration;

use crate::base::ids::{OptionIndex, QuestionIndex, UserId};
use crate::quiz::definition::ShowDefinition;

/// How far every planned moment stays away from a limit.
pub const MARGIN: Duration = Duration::from_millis(300);
/// Users with neighbouring ids among whom every class occurs exactly once.
pub const CLASSES: u64 = 8;

/// The share of watchers, in percent, who try to answer although they are out.
const TEMPTED_PERCENT: u64 = 10;
/// The share of questions that a casual player gets wrong, in percent.
const CASUAL_WRONG_PERCENT: u64 = 25;

/// What the script knows of a question: more than any client is told before the reveal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Which option is correct.
    pub correct: OptionIndex,
    /// How many there are.
    pub option_count: u8,
}

/// Plays all users of one show.
#[derive(Clone, Debug)]
pub struct Script {
    seed: u64,
    questions: Vec<Known>,
    /// How long after `answer_by` an answer still reaches an open question.
    late_window: Duration,
}

/// What a user is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// Knows every answer.
    Champion,
    /// Holds a card, is wrong once, and knows all the others.
    Saved,
    /// Holds a card and is wrong twice.
    SavedOnce,
    /// Too late once.
    Late,
    /// Silent once.
    Silent,
    /// Wrong now and then.
    Casual,
}

/// What becomes of a question with this player.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Answers in time with this option.
    InTime(OptionIndex),
    /// Answers with this option when it is too late.
    TooLate(OptionIndex),
    /// Does not answer.
    Silence,
    /// Answers with this option although it is out, and expects to be refused.
    Tempted(OptionIndex),
}

/// Something to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Give the answer.
    Answer,
    /// Answer again, with this other option; waits until the first answer is acknowledged.
    AnswerAgain(OptionIndex),
    /// Break the connection; with a reset, or in order.
    Leave {
        /// With a reset.
        reset: bool,
    },
    /// Connect again and resume.
    Return,
    /// Send something that makes no sense.
    Garbage(Garbage),
    /// Connect a second time while the first connection lives.
    TakeOver,
}

/// Nonsense of several kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Garbage {
    /// A message that cannot be decoded: a failure, and the connection goes on.
    Undecodable,
    /// Business without a request: a failure, and the connection goes on.
    EmptyBusiness,
    /// A type that does not exist: a failure, and the connection goes on.
    UnknownType,
    /// An answer with an option that does not exist: refused, and it binds nothing.
    NoSuchOption,
    /// An answer to a question that is not open: refused.
    OtherQuestion,
    /// Text where binary was agreed, or the reverse: the connection is closed.
    WrongKind,
    /// Bytes that are no frame: the connection is closed.
    BrokenFrame,
}

impl Garbage {
    /// All kinds.
    pub const ALL: [Garbage; 7] = [
        Garbage::Undecodable,
        Garbage::EmptyBusiness,
        Garbage::UnknownType,
        Garbage::NoSuchOption,
        Garbage::OtherQuestion,
        Garbage::WrongKind,
        Garbage::BrokenFrame,
    ];
}

/// A moment of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// So many thousandths of the countdown after the latest display.
    Countdown(u16),
    /// So many milliseconds after the last moment for an answer.
    AfterEnd(u16),
}

/// An act and its moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// When.
    pub at: Moment,
    /// What.
    pub act: Act,
}

/// What a player does at one question, in order of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What becomes of it.
    pub intent: Intent,
    /// How.
    pub steps: Vec<Step>,
}

/// What a draw is for: each has its own stream of numbers.
#[derive(Clone, Copy)]
enum Purpose {
    Stumble,
    SecondStumble,
    Casual,
    Option,
    Manner,
    Timing,
    Card,
    Skew,
    Rotation,
    Tempted,
}

impl Script {
    /// A script for all questions of `definition`.
    #[must_use]
    pub fn new(seed: u64, definition: &ShowDefinition) -> Script {
        let known = definition.questions.iter().map(|question| Known {
            correct: question.correct,
            option_count: u8::try_from(question.options.len()).unwrap_or(u8::MAX),
        });
        let timing = &definition.timing;
        Script {
            seed,
            questions: known.collect(),
            late_window: timing.ticket_life + timing.stream_delay,
        }
    }

    /// Questions of the show.
    #[must_use]
    pub fn question_count(&self) -> usize {
        self.questions.len()
    }

    /// Which option is correct.
    ///
    /// # Panics
    /// If there is no such question.
    #[must_use]
    pub fn correct(&self, question: QuestionIndex) -> OptionIndex {
        self.questions[question.index()].correct
    }

    /// Whether the operator grants the user a revive card before the show.
    #[must_use]
    pub fn holds_card(&self, user: UserId) -> bool {
        match self.class(user) {
            Class::Saved | Class::SavedOnce => true,
            Class::Casual => self.draw(user, 0, Purpose::Card).is_multiple_of(4),
            Class::Champion | Class::Late | Class::Silent => false,
        }
    }

    /// Whether the user speaks JSON.
    #[must_use]
    pub fn speaks_json(user: UserId) -> bool {
        user.0.is_multiple_of(5)
    }

    /// Whether the user opens questions that come early, sealed; the others get them whole.
    #[must_use]
    pub fn opens_seals(user: UserId) -> bool {
        !user.0.is_multiple_of(7)
    }

    /// Whether the user authenticates and joins by frames instead of in the upgrade request.
    #[must_use]
    pub fn joins_by_frames(user: UserId) -> bool {
        user.0 % 10 == 3
    }

    /// Whether the user looks at its prize once the show is settled.
    #[must_use]
    pub fn looks_at_prize(user: UserId) -> bool {
        user.0 % 4 == 1
    }

    /// How far the user's own clock is ahead of the gateway's, milliseconds; below a minute.
    #[must_use]
    pub fn clock_skew_ms(&self, user: UserId) -> i64 {
        let draw = self.draw(user, 0, Purpose::Skew) % 120_001;
        i64::try_from(draw).unwrap_or(0) - 60_000
    }

    /// What a player in the game does.
    ///
    /// # Panics
    /// If there is no such question.
    #[must_use]
    pub fn plan(&self, user: UserId, question: QuestionIndex) -> Plan {
        let intent = self.intent(user, question);
        let mut dice = self.draw(user, question.0, Purpose::Timing);
        let mut between = |low: u16, high: u16| {
            let span = u64::from(high - low) + 1;
            let drawn = u16::try_from(dice % span).unwrap_or(0);
            dice = mix(dice);
            low + drawn
        };
        let countdown = |at, act| Step { at: Moment::Countdown(at), act };
        let manner = self.draw(user, question.0, Purpose::Manner);
        let reset = manner >> 32 & 1 == 1;
        let steps = match intent {
            Intent::InTime(option) => match manner % 100 {
                0..60 => vec![countdown(between(300, 600), Act::Answer)],
                60..70 => {
                    let other = self.other_option(question, option, manner >> 40);
                    vec![
                        countdown(between(300, 450), Act::Answer),
                        countdown(between(500, 600), Act::AnswerAgain(other)),
                    ]
                }
                70..76 => vec![
                    countdown(between(50, 200), Act::Leave { reset }),
                    countdown(between(300, 400), Act::Return),
                    countdown(between(500, 600), Act::Answer),
                ],
                76..83 => vec![
                    countdown(between(300, 380), Act::Answer),
                    countdown(between(450, 500), Act::Leave { reset }),
                    countdown(between(550, 650), Act::Return),
                ],
                83..95 => {
                    let kinds = Garbage::ALL.len() as u64;
                    let kind = usize::try_from((manner >> 8) % kinds).unwrap_or(0);
                    vec![
                        countdown(between(50, 250), Act::Garbage(Garbage::ALL[kind])),
                        countdown(between(450, 600), Act::Answer),
                    ]
                }
                _ => vec![
                    countdown(between(50, 250), Act::TakeOver),
                    countdown(between(450, 600), Act::Answer),
                ],
            },
            Intent::TooLate(_) => {
                let window = u16::try_from(self.late_window.as_millis()).unwrap_or(u16::MAX);
                let margin = margin_ms() + margin_ms() / 6;
                let latest = window.saturating_sub(margin).min(5_000).max(margin);
                let at = Moment::AfterEnd(between(margin, latest));
                vec![Step { at, act: Act::Answer }]
            }
            Intent::Silence | Intent::Tempted(_) if manner.is_multiple_of(4) => vec![
                countdown(between(50, 200), Act::Leave { reset }),
                countdown(between(300, 650), Act::Return),
            ],
            Intent::Silence | Intent::Tempted(_) => vec![],
        };
        Plan { intent, steps }
    }

    /// What somebody does who is out of the game: mostly watch.
    ///
    /// # Panics
    /// If there is no such question.
    #[must_use]
    pub fn watch(&self, user: UserId, question: QuestionIndex) -> Plan {
        let tempted = self.draw(user, question.0, Purpose::Tempted);
        if tempted % 100 >= TEMPTED_PERCENT {
            return Plan { intent: Intent::Silence, steps: vec![] };
        }
        let at = 300 + u16::try_from((tempted >> 16) % 301).unwrap_or(0);
        let step = Step { at: Moment::Countdown(at), act: Act::Answer };
        Plan { intent: Intent::Tempted(self.correct(question)), steps: vec![step] }
    }

    fn intent(&self, user: UserId, question: QuestionIndex) -> Intent {
        let correct = self.correct(question);
        let wrong = || {
            let draw = self.draw(user, question.0, Purpose::Option);
            self.other_option(question, correct, draw)
        };
        let count = self.questions.len() as u64;
        let stumble = |purpose, among: u64| self.draw(user, 0, purpose) % among.max(1);
        let number = u64::from(question.0);
        // Where a card has to help, not at the last question.
        let first = stumble(Purpose::Stumble, count - 1);
        match self.class(user) {
            Class::Champion => Intent::InTime(correct),
            Class::Saved if count > 1 && number == first => Intent::InTime(wrong()),
            Class::SavedOnce => {
                let second =
                    first + 1 + stumble(Purpose::SecondStumble, count - 1 - first.min(count - 1));
                if number == first || number == second {
                    Intent::InTime(wrong())
                } else {
                    Intent::InTime(correct)
                }
            }
            Class::Late if number == stumble(Purpose::Stumble, count) => {
                if self.late_window >= MARGIN * 3 {
                    Intent::TooLate(correct)
                } else {
                    Intent::Silence
                }
            }
            Class::Silent if number == stumble(Purpose::Stumble, count) => Intent::Silence,
            Class::Casual
                if self.draw(user, question.0, Purpose::Casual) % 100 < CASUAL_WRONG_PERCENT =>
            {
                Intent::InTime(wrong())
            }
            Class::Saved | Class::Late | Class::Silent | Class::Casual => Intent::InTime(correct),
        }
    }

    fn class(&self, user: UserId) -> Class {
        let rotation = self.draw(UserId(0), 0, Purpose::Rotation);
        match user.0.wrapping_add(rotation) % CLASSES {
            0 | 1 => Class::Champion,
            2 => Class::Saved,
            3 => Class::SavedOnce,
            4 => Class::Late,
            5 => Class::Silent,
            _ => Class::Casual,
        }
    }

    fn other_option(&self, question: QuestionIndex, option: OptionIndex, draw: u64) -> OptionIndex {
        let count = self.questions[question.index()].option_count;
        let step = 1 + u8::try_from(draw % u64::from(count - 1)).unwrap_or(0);
        OptionIndex((option.0 + step) % count)
    }

    fn draw(&self, user: UserId, question: u16, purpose: Purpose) -> u64 {
        let place = u64::from(question) << 8 | purpose as u64;
        mix(mix(mix(self.seed) ^ user.0) ^ place)
    }
}

fn margin_ms() -> u16 {
    u16::try_from(MARGIN.as_millis()).unwrap_or(u16::MAX)
}

/// A permutation of 64 bits without visible order (the finaliser of SplitMix64).
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests;
