//! What became of a player at a question.

/// Why a question was not passed by a correct answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Failing {
    /// In time, but another option than the correct one.
    Wrong,
    /// The arrival stamp lies after `answer_by`, whatever the option.
    Late,
    /// No answer, although the player had an open connection while the question was open.
    Silent,
    /// No answer and no open connection while the question was open.
    Unreachable,
}

/// A player's verdict at one question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Answered correctly and in time.
    Passed,
    /// Failed, and the revive card made it good.
    Revived(Failing),
    /// Failed: out of the game.
    Out(Failing),
}

impl Verdict {
    /// All verdicts, in the order of their codes.
    pub const ALL: [Verdict; 9] = [
        Verdict::Passed,
        Verdict::Out(Failing::Wrong),
        Verdict::Out(Failing::Late),
        Verdict::Out(Failing::Silent),
        Verdict::Out(Failing::Unreachable),
        Verdict::Revived(Failing::Wrong),
        Verdict::Revived(Failing::Late),
        Verdict::Revived(Failing::Silent),
        Verdict::Revived(Failing::Unreachable),
    ];

    /// The code in sealed results, in the game hash and in reports: 1 to 9. Codes never change
    /// their meaning.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Verdict::Passed => 1,
            Verdict::Out(Failing::Wrong) => 2,
            Verdict::Out(Failing::Late) => 3,
            Verdict::Out(Failing::Silent) => 4,
            Verdict::Out(Failing::Unreachable) => 5,
            Verdict::Revived(Failing::Wrong) => 6,
            Verdict::Revived(Failing::Late) => 7,
            Verdict::Revived(Failing::Silent) => 8,
            Verdict::Revived(Failing::Unreachable) => 9,
        }
    }

    /// The verdict with this code, if there is one.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Verdict> {
        Verdict::ALL.get(usize::from(code).checked_sub(1)?).copied()
    }

    /// Whether the player may go on: correctly, or by a card.
    #[must_use]
    pub const fn passes(self) -> bool {
        !matches!(self, Verdict::Out(_))
    }

    /// Whether a revive card was used.
    #[must_use]
    pub const fn uses_card(self) -> bool {
        matches!(self, Verdict::Revived(_))
    }

    /// What went wrong, if anything did.
    #[must_use]
    pub const fn failing(self) -> Option<Failing> {
        match self {
            Verdict::Passed => None,
            Verdict::Revived(failing) | Verdict::Out(failing) => Some(failing),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_lead_back_to_their_verdicts() {
        for (place, verdict) in Verdict::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(verdict.code()), place + 1);
            assert_eq!(Verdict::from_code(verdict.code()), Some(verdict));
        }
        assert_eq!(Verdict::from_code(0), None);
        assert_eq!(Verdict::from_code(10), None);
    }
}
