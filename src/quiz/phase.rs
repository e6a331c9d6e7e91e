//! The phases of a show as one table.
//!
//! The director and every replica move through the same table, so a replica refuses an event that
//! its director could not have decided. Which *question* a phase concerns is kept beside it.

use std::fmt;

/// Where a show stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Known, not begun.
    Announced,
    /// The audience gathers.
    Lobby,
    /// A question takes answers.
    Open,
    /// The time is over; shards drain and silence is settled.
    Closing,
    /// Every player of the question has a verdict; nobody may know it.
    Closed,
    /// The result key of the question is public.
    Revealed,
    /// The key of the revealed question was corrected and buckets judge again.
    Rejudging,
    /// The question does not count; everybody stands where they stood before it.
    Voided,
    /// Paused in the lobby.
    PausedInLobby,
    /// Paused between closing and reveal.
    PausedInClosed,
    /// Paused after a reveal.
    PausedInRevealed,
    /// Paused after a void.
    PausedInVoided,
    /// Buckets freeze; nothing can be voided any more.
    Settling,
    /// The prize is split; buckets pay.
    Settled,
    /// Over.
    Ended,
    /// Called off; nobody is paid.
    Cancelled,
}

/// What moves a show from one phase to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// The lobby opens.
    OpenLobby,
    /// The next question goes out early, sealed.
    PushQuestion,
    /// The question that went out early is taken back.
    WithdrawQuestion,
    /// The next question is published.
    OpenQuestion,
    /// The open question gets more time.
    ExtendQuestion,
    /// The time of the open question is over.
    BeginClosing,
    /// Every bucket has settled the question.
    CloseQuestion,
    /// The result key is released.
    Reveal,
    /// The question is declared void.
    Void,
    /// The correct option of the revealed question is corrected.
    BeginRejudging,
    /// Every bucket has judged again.
    FinishRejudging,
    /// A pause begins.
    Pause,
    /// The pause is over.
    Resume,
    /// Settlement begins.
    BeginSettling,
    /// The prize is split.
    FinishSettling,
    /// The show is called off.
    Cancel,
    /// The show is over.
    End,
}

impl Phase {
    /// All phases, in the order of a show.
    pub const ALL: [Phase; 16] = [
        Phase::Announced,
        Phase::Lobby,
        Phase::Open,
        Phase::Closing,
        Phase::Closed,
        Phase::Revealed,
        Phase::Rejudging,
        Phase::Voided,
        Phase::PausedInLobby,
        Phase::PausedInClosed,
        Phase::PausedInRevealed,
        Phase::PausedInVoided,
        Phase::Settling,
        Phase::Settled,
        Phase::Ended,
        Phase::Cancelled,
    ];

    /// The phase after `step`, or nothing where that step is impossible.
    #[must_use]
    pub const fn after(self, step: Step) -> Option<Phase> {
        let next = match (step, self) {
            (Step::OpenLobby, Phase::Announced) | (Step::Resume, Phase::PausedInLobby) => {
                Phase::Lobby
            }
            (Step::OpenQuestion, Phase::Lobby | Phase::Revealed | Phase::Voided)
            | (Step::ExtendQuestion, Phase::Open) => Phase::Open,
            (Step::BeginClosing, Phase::Open) => Phase::Closing,
            (Step::CloseQuestion, Phase::Closing) | (Step::Resume, Phase::PausedInClosed) => {
                Phase::Closed
            }
            (Step::Reveal, Phase::Closed)
            | (Step::FinishRejudging, Phase::Rejudging)
            | (Step::Resume, Phase::PausedInRevealed) => Phase::Revealed,
            (Step::BeginRejudging, Phase::Revealed) => Phase::Rejudging,
            (
                Step::Void,
                Phase::Open | Phase::Closing | Phase::Closed | Phase::Revealed | Phase::Rejudging,
            )
            | (Step::Resume, Phase::PausedInVoided) => Phase::Voided,
            (Step::Void, Phase::PausedInClosed | Phase::PausedInRevealed)
            | (Step::Pause, Phase::Voided) => Phase::PausedInVoided,
            (Step::Pause, Phase::Lobby) => Phase::PausedInLobby,
            (Step::Pause, Phase::Closed) => Phase::PausedInClosed,
            (Step::Pause, Phase::Revealed) => Phase::PausedInRevealed,
            (Step::BeginSettling, Phase::Revealed | Phase::Voided) => Phase::Settling,
            (Step::FinishSettling, Phase::Settling) => Phase::Settled,
            // Where a question can lie with the clients: it lies there whatever the phase.
            (Step::PushQuestion, Phase::Lobby | Phase::Revealed | Phase::Voided) => self,
            (
                Step::WithdrawQuestion,
                Phase::Lobby
                | Phase::Revealed
                | Phase::Rejudging
                | Phase::Voided
                | Phase::PausedInLobby
                | Phase::PausedInRevealed
                | Phase::PausedInVoided,
            ) => self,
            (Step::Cancel, phase) if phase.before_settled() => Phase::Cancelled,
            (Step::End, Phase::Settled | Phase::Cancelled) => Phase::Ended,
            _ => return None,
        };
        Some(next)
    }

    /// Whether the prize is not split yet and the show was not called off.
    #[must_use]
    pub const fn before_settled(self) -> bool {
        !matches!(self, Phase::Settled | Phase::Ended | Phase::Cancelled)
    }

    /// Whether the current question has verdicts that nobody may know yet.
    #[must_use]
    pub const fn hides_verdicts(self) -> bool {
        matches!(self, Phase::Open | Phase::Closing | Phase::Closed | Phase::PausedInClosed)
    }

    /// Whether players may use cards, or get them back: from the first question until nothing can be
    /// undone any more, because settlement has begun or the show was called off.
    #[must_use]
    pub const fn moves_cards(self) -> bool {
        !matches!(
            self,
            Phase::Announced
                | Phase::Lobby
                | Phase::PausedInLobby
                | Phase::Settling
                | Phase::Settled
                | Phase::Ended
                | Phase::Cancelled
        )
    }

    /// Whether the show is paused.
    #[must_use]
    pub const fn is_paused(self) -> bool {
        matches!(
            self,
            Phase::PausedInLobby
                | Phase::PausedInClosed
                | Phase::PausedInRevealed
                | Phase::PausedInVoided
        )
    }
}

impl Step {
    /// All steps, in the order of a show.
    pub const ALL: [Step; 17] = [
        Step::OpenLobby,
        Step::PushQuestion,
        Step::WithdrawQuestion,
        Step::OpenQuestion,
        Step::ExtendQuestion,
        Step::BeginClosing,
        Step::CloseQuestion,
        Step::Reveal,
        Step::Void,
        Step::BeginRejudging,
        Step::FinishRejudging,
        Step::Pause,
        Step::Resume,
        Step::BeginSettling,
        Step::FinishSettling,
        Step::Cancel,
        Step::End,
    ];
}

impl fmt::Display for Phase {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Phase::Announced => "announced",
            Phase::Lobby => "lobby",
            Phase::Open => "open",
            Phase::Closing => "closing",
            Phase::Closed => "closed",
            Phase::Revealed => "revealed",
            Phase::Rejudging => "rejudging",
            Phase::Voided => "voided",
            Phase::PausedInLobby => "paused in the lobby",
            Phase::PausedInClosed => "paused before the reveal",
            Phase::PausedInRevealed => "paused after the reveal",
            Phase::PausedInVoided => "paused after the void",
            Phase::Settling => "settling",
            Phase::Settled => "settled",
            Phase::Ended => "ended",
            Phase::Cancelled => "cancelled",
        })
    }
}

#[cfg(test)]
mod tests;
