//! The operator's commands.

use std::fmt;

use super::Director;
use crate::base::entropy::Entropy;
use crate::base::ids::{OptionIndex, QuestionIndex};
use crate::base::limits::REJUDGES_MAX;
use crate::base::time::Time;
use crate::quiz::event::{Reveal, ShowEvent};
use crate::quiz::money::{Cents, split};
use crate::quiz::phase::{Phase, Step};

/// What an operator can order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Let the audience in.
    OpenLobby,
    /// Send the next question out early, sealed: publish opens it with a key.
    PushEarly,
    /// Take back the question that was pushed early: publish sends it whole.
    Withdraw,
    /// Publish the next question.
    Publish,
    /// Release the result key of the closed question.
    Reveal,
    /// Pause the show.
    Pause,
    /// Go on after a pause.
    Resume,
    /// Declare the current question void, for everybody.
    Void,
    /// Correct the key of the revealed question.
    Rejudge {
        /// Which question: the one revealed last.
        question: QuestionIndex,
        /// The option that is correct in truth.
        correct: OptionIndex,
        /// False: only say what it would mean in money.
        confirm: bool,
    },
    /// Split the prize.
    Settle,
    /// Call the show off.
    Cancel,
    /// Close the books.
    End,
}

/// A command without its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CommandKind {
    /// [`Command::OpenLobby`].
    OpenLobby,
    /// [`Command::PushEarly`].
    PushEarly,
    /// [`Command::Withdraw`].
    Withdraw,
    /// [`Command::Publish`].
    Publish,
    /// [`Command::Reveal`].
    Reveal,
    /// [`Command::Pause`].
    Pause,
    /// [`Command::Resume`].
    Resume,
    /// [`Command::Void`].
    Void,
    /// [`Command::Rejudge`].
    Rejudge,
    /// [`Command::Settle`].
    Settle,
    /// [`Command::Cancel`].
    Cancel,
    /// [`Command::End`].
    End,
}

/// What a command did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandOutcome {
    /// It was decided; see [`Director::take_events`].
    Done,
    /// Nothing was decided: this is what it would mean.
    Preview(RejudgePreview),
}

/// What a corrected key would mean. Exact, unless a player has spent the card that it needs in
/// another show meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RejudgePreview {
    /// Which question.
    pub question: QuestionIndex,
    /// What counts as correct now.
    pub correct_before: OptionIndex,
    /// What would count as correct.
    pub correct_after: OptionIndex,
    /// Players in the game now.
    pub in_play_before: u64,
    /// Players in the game then.
    pub in_play_after: u64,
    /// The share of each if the show were settled now.
    pub per_head_before: Cents,
    /// The share of each then.
    pub per_head_after: Cents,
}

/// Why a command was refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// Not in this phase.
    #[error(
        "{command} is not possible while the show is {phase}; possible now: {}",
        Allowed(allowed)
    )]
    NotNow {
        /// What was ordered.
        command: CommandKind,
        /// Where the show stands.
        phase: Phase,
        /// What could be ordered instead.
        allowed: Vec<CommandKind>,
    },
    /// All questions have been asked.
    #[error("the show has no question left: settle it")]
    NoQuestionLeft,
    /// The show's definition does not allow it.
    #[error(
        "questions of this show are not pushed early: set timing.early_push_max_ms in its file"
    )]
    NoEarlyPush,
    /// One question at a time lies with the clients.
    #[error("question {question} is pushed already: publish it, or withdraw it")]
    PushedAlready {
        /// Which question.
        question: QuestionIndex,
    },
    /// There is nothing to take back.
    #[error("no question is pushed early now")]
    NothingPushed,
    /// Settlement needs all questions asked.
    #[error("question {next} has not been asked: publish it, or cancel the show")]
    QuestionsLeft {
        /// The next one.
        next: QuestionIndex,
    },
    /// Only the question revealed last can be judged again.
    #[error("question {question} is not the one revealed last: earlier questions stand")]
    NotLastRevealed {
        /// The one that was named.
        question: QuestionIndex,
    },
    /// The question has no such option.
    #[error(
        "question {question} has {option_count} options, counted from 0: there is no option {option}"
    )]
    NoSuchOption {
        /// Which question.
        question: QuestionIndex,
        /// The option that was named.
        option: OptionIndex,
        /// How many it has.
        option_count: usize,
    },
    /// The option counts as correct already.
    #[error("option {option} of question {question} counts as correct already")]
    SameOption {
        /// Which question.
        question: QuestionIndex,
        /// The option that was named.
        option: OptionIndex,
    },
    /// The question was corrected too often.
    #[error(
        "question {question} was judged again {REJUDGES_MAX} times, the most possible: void it"
    )]
    TooManyRejudges {
        /// Which question.
        question: QuestionIndex,
    },
    /// Tickets are still out.
    #[error("retry tickets can be redeemed until {until}: end the show after that")]
    TicketsOut {
        /// When the last one expires.
        until: Time,
    },
    /// A rain falls, or what was grabbed is being counted.
    #[error("a red-packet rain is not over yet: end it, or wait until it is")]
    RainsFall,
    /// Some shard has not paid its winners yet.
    #[error("the prize is not paid out on every shard yet: try again in a moment")]
    NotPaidOut,
}

/// Commands as a list for people.
struct Allowed<'a>(&'a [CommandKind]);

impl fmt::Display for Allowed<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return formatter.write_str("nothing");
        }
        for (place, kind) in self.0.iter().enumerate() {
            write!(formatter, "{}{kind}", if place == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl CommandKind {
    /// All commands.
    pub const ALL: [CommandKind; 12] = [
        CommandKind::OpenLobby,
        CommandKind::PushEarly,
        CommandKind::Withdraw,
        CommandKind::Publish,
        CommandKind::Reveal,
        CommandKind::Pause,
        CommandKind::Resume,
        CommandKind::Void,
        CommandKind::Rejudge,
        CommandKind::Settle,
        CommandKind::Cancel,
        CommandKind::End,
    ];

    /// The command in one word, for paths and machines.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            CommandKind::OpenLobby => "open-lobby",
            CommandKind::PushEarly => "push-early",
            CommandKind::Withdraw => "withdraw",
            CommandKind::Publish => "publish",
            CommandKind::Reveal => "reveal",
            CommandKind::Pause => "pause",
            CommandKind::Resume => "resume",
            CommandKind::Void => "void",
            CommandKind::Rejudge => "rejudge",
            CommandKind::Settle => "settle",
            CommandKind::Cancel => "cancel",
            CommandKind::End => "end",
        }
    }

    const fn step(self) -> Step {
        match self {
            CommandKind::OpenLobby => Step::OpenLobby,
            CommandKind::PushEarly => Step::PushQuestion,
            CommandKind::Withdraw => Step::WithdrawQuestion,
            CommandKind::Publish => Step::OpenQuestion,
            CommandKind::Reveal => Step::Reveal,
            CommandKind::Pause => Step::Pause,
            CommandKind::Resume => Step::Resume,
            CommandKind::Void => Step::Void,
            CommandKind::Rejudge => Step::BeginRejudging,
            CommandKind::Settle => Step::BeginSettling,
            CommandKind::Cancel => Step::Cancel,
            CommandKind::End => Step::End,
        }
    }
}

impl fmt::Display for CommandKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.word().replace('-', " "))
    }
}

impl Command {
    /// The command without its arguments.
    #[must_use]
    pub const fn kind(&self) -> CommandKind {
        match self {
            Command::OpenLobby => CommandKind::OpenLobby,
            Command::PushEarly => CommandKind::PushEarly,
            Command::Withdraw => CommandKind::Withdraw,
            Command::Publish => CommandKind::Publish,
            Command::Reveal => CommandKind::Reveal,
            Command::Pause => CommandKind::Pause,
            Command::Resume => CommandKind::Resume,
            Command::Void => CommandKind::Void,
            Command::Rejudge { .. } => CommandKind::Rejudge,
            Command::Settle => CommandKind::Settle,
            Command::Cancel => CommandKind::Cancel,
            Command::End => CommandKind::End,
        }
    }
}

impl Director {
    /// The commands that are possible now.
    #[must_use]
    pub fn allowed(&self) -> Vec<CommandKind> {
        let asked = self.next_question().is_none();
        CommandKind::ALL
            .into_iter()
            .filter(|kind| self.phase.after(kind.step()).is_some())
            .filter(|kind| match kind {
                CommandKind::PushEarly => self.may_push().is_ok(),
                CommandKind::Withdraw => self.pushed.is_some(),
                CommandKind::Publish => !asked,
                CommandKind::Settle => asked,
                CommandKind::OpenLobby
                | CommandKind::Reveal
                | CommandKind::Pause
                | CommandKind::Resume
                | CommandKind::Void
                | CommandKind::Rejudge
                | CommandKind::Cancel
                | CommandKind::End => true,
            })
            .collect()
    }

    /// Takes an operator's command. Keys of a question are drawn from `entropy`.
    ///
    /// # Errors
    /// If it is not possible now; the error says what is. Nothing was changed then.
    pub fn command(
        &mut self,
        now: Time,
        command: Command,
        entropy: &mut dyn Entropy,
    ) -> Result<CommandOutcome, CommandError> {
        let kind = command.kind();
        if self.phase.after(kind.step()).is_none() {
            let (phase, allowed) = (self.phase, self.allowed());
            return Err(CommandError::NotNow { command: kind, phase, allowed });
        }
        let event = match command {
            Command::OpenLobby => ShowEvent::LobbyOpened,
            Command::PushEarly => self.push_early(now, entropy)?,
            Command::Withdraw => self.withdraw()?,
            Command::Publish => self.publish(now, entropy)?,
            Command::Reveal => self.reveal(),
            Command::Pause => ShowEvent::Paused,
            Command::Resume => ShowEvent::Resumed,
            Command::Void => self.void(),
            Command::Rejudge { question, correct, confirm } => {
                let preview = self.preview(question, correct)?;
                if !confirm {
                    return Ok(CommandOutcome::Preview(preview));
                }
                self.rejudge(correct)
            }
            Command::Settle => {
                self.may_settle()?;
                ShowEvent::Settling
            }
            Command::Cancel => {
                self.close_all_rains(now);
                self.pushed = None;
                ShowEvent::Cancelled
            }
            Command::End => {
                self.may_end(now)?;
                self.end_rains(now)?;
                ShowEvent::Ended
            }
        };
        self.emit(now, event);
        Ok(CommandOutcome::Done)
    }

    fn reveal(&self) -> ShowEvent {
        let state = self.question.as_ref().expect("a closed question exists");
        ShowEvent::Revealed(Reveal {
            question: state.index,
            result_key: *state.result_key.expose(),
            correct: state.correct,
            option_counts: state.counts.options,
            in_play: state.in_play,
        })
    }

    fn void(&mut self) -> ShowEvent {
        let question = self.question.take().expect("a question that can be voided exists").index;
        if let Some(last) = self.voided.last_mut() {
            *last = true;
        }
        ShowEvent::QuestionVoided { question }
    }

    fn preview(
        &self,
        question: QuestionIndex,
        correct: OptionIndex,
    ) -> Result<RejudgePreview, CommandError> {
        let state = self.question.as_ref().expect("a revealed question exists");
        if state.index != question {
            return Err(CommandError::NotLastRevealed { question });
        }
        let option_count = self.definition.questions[question.index()].options.len();
        if correct.index() >= option_count {
            return Err(CommandError::NoSuchOption { question, option: correct, option_count });
        }
        if state.correct == correct {
            return Err(CommandError::SameOption { question, option: correct });
        }
        if state.revision == REJUDGES_MAX {
            return Err(CommandError::TooManyRejudges { question });
        }
        let pool = self.definition.prize_pool;
        let in_play_after = state.counts.passing_if(correct.index());
        Ok(RejudgePreview {
            question,
            correct_before: state.correct,
            correct_after: correct,
            in_play_before: state.in_play,
            in_play_after,
            per_head_before: split(pool, state.in_play).per_head,
            per_head_after: split(pool, in_play_after).per_head,
        })
    }

    fn rejudge(&mut self, correct: OptionIndex) -> ShowEvent {
        let state = self.question.as_mut().expect("a revealed question exists");
        state.correct = correct;
        state.revision += 1;
        state.forget_summaries();
        let (question, revision) = (state.index, state.revision);
        ShowEvent::Rejudging { question, correct, revision }
    }
}
