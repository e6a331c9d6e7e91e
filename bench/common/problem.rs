//! Why a measurement did not begin or did not end: one sentence for people, with the remedy.

use std::fmt::{self, Display, Formatter};

/// What went wrong. It is only ever shown, so it is text and nothing else.
#[derive(Debug)]
pub(crate) struct Problem(String);

impl Problem {
    /// From a sentence that says what was wrong, where, and what to do.
    pub(crate) fn new(text: impl Into<String>) -> Problem {
        Problem(text.into())
    }
}

impl Display for Problem {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Says what was being done when an error of the system came.
pub(crate) trait Doing<T> {
    /// `doing` is a phrase such as "reading /proc/meminfo".
    fn doing(self, doing: impl Display) -> Result<T, Problem>;
}

impl<T, E: Display> Doing<T> for Result<T, E> {
    fn doing(self, doing: impl Display) -> Result<T, Problem> {
        self.map_err(|error| Problem::new(format!("{doing} failed: {error}")))
    }
}
