//! What is wrong with the settings: all of it at once, each in one line that says where.

use std::fmt;

use thiserror::Error;

/// Where a setting comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A file and, where it is known, a line counted from 1.
    File {
        /// As it was named on the command line.
        name: String,
        /// Counted from 1.
        line: Option<usize>,
    },
    /// An environment variable.
    Environment {
        /// Its name.
        name: String,
    },
    /// A flag of the command line.
    Flag {
        /// With its dashes.
        name: String,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File { name, line: Some(line) } => write!(formatter, "{name}:{line}"),
            Origin::File { name, line: None } => write!(formatter, "{name}"),
            Origin::Environment { name } => write!(formatter, "environment {name}"),
            Origin::Flag { name } => write!(formatter, "flag {name}"),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it stands.
    pub origin: Origin,
    /// The key with its path, `limits.connections_max`; empty where no key is to blame.
    pub key: String,
    /// What is wrong and what would be right.
    pub reason: String,
}

impl Origin {
    /// The line, where it is known.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        match self {
            Origin::File { line, .. } => *line,
            Origin::Environment { .. } | Origin::Flag { .. } => None,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            write!(formatter, "{}: {}", self.origin, self.reason)
        } else {
            write!(formatter, "{}: {}: {}", self.origin, self.key, self.reason)
        }
    }
}

/// Everything that is wrong, in the order of its sources and lines. As an error it is never empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Error)]
pub struct Problems {
    list: Vec<Problem>,
    /// Lines that could not be parsed; what a guess at their meaning would say is not noted.
    unreadable: Vec<Origin>,
}

impl Problems {
    /// None yet.
    #[must_use]
    pub fn new() -> Problems {
        Problems::default()
    }

    /// Notes one, unless its line could not even be parsed.
    pub fn push(&mut self, origin: Origin, key: impl Into<String>, reason: impl Into<String>) {
        if self.unreadable.contains(&origin) {
            return;
        }
        self.list.push(Problem { origin, key: key.into(), reason: reason.into() });
    }

    /// Notes a place that could not be parsed.
    pub fn push_unreadable(&mut self, origin: Origin, reason: impl Into<String>) {
        self.list.push(Problem {
            origin: origin.clone(),
            key: String::new(),
            reason: reason.into(),
        });
        self.unreadable.push(origin);
    }

    /// Whether a place could not be parsed: then keys may be missing only because of that.
    #[must_use]
    pub fn any_unreadable(&self) -> bool {
        !self.unreadable.is_empty()
    }

    /// Takes over those of another list.
    pub fn append(&mut self, other: Problems) {
        self.list.extend(other.list);
        self.unreadable.extend(other.unreadable);
    }

    /// All, in order.
    #[must_use]
    pub fn list(&self) -> &[Problem] {
        &self.list
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Gives keys other names, as they stand in the source.
    pub fn rename_keys(&mut self, name: impl Fn(&str) -> String) {
        for problem in &mut self.list {
            problem.key = name(&problem.key);
        }
    }

    /// `value`, if there is none.
    ///
    /// # Errors
    /// All of them, sorted, where there are some.
    pub fn none_or<T>(mut self, value: T) -> Result<T, Problems> {
        if self.list.is_empty() {
            return Ok(value);
        }
        self.list.sort_by(|left, right| left.origin.cmp(&right.origin));
        Err(self)
    }
}

impl fmt::Display for Problems {
    /// One line each, without a line end after the last.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().enumerate() {
            if index > 0 {
                writeln!(formatter)?;
            }
            write!(formatter, "{problem}")?;
        }
        Ok(())
    }
}
