//! Broken promises, as sentences: the first ones in full, all of them counted.

/// Sentences that are kept; a broken gateway would otherwise fill the memory.
pub const VIOLATIONS_KEPT_MAX: usize = 100;

/// What was found to be wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Violations {
    kept: Vec<String>,
    count: u64,
}

impl Violations {
    /// Nothing wrong yet.
    #[must_use]
    pub fn new() -> Violations {
        Violations::default()
    }

    /// Notes a broken promise. The sentence is made only if it will be kept.
    pub fn note(&mut self, sentence: impl FnOnce() -> String) {
        self.count += 1;
        if self.kept.len() < VIOLATIONS_KEPT_MAX {
            self.kept.push(sentence());
        }
    }

    /// Notes a broken promise unless `holds`.
    pub fn check(&mut self, holds: bool, sentence: impl FnOnce() -> String) {
        if !holds {
            self.note(sentence);
        }
    }

    /// How many there were, also those that were not kept.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The first [`VIOLATIONS_KEPT_MAX`].
    #[must_use]
    pub fn sentences(&self) -> &[String] {
        &self.kept
    }

    /// Adds those of another list.
    pub fn append(&mut self, other: Violations) {
        let unkept = other.count - other.kept.len() as u64;
        for sentence in other.kept {
            self.note(|| sentence);
        }
        self.count += unkept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_bounded_and_the_count_is_not() {
        let mut violations = Violations::new();
        for number in 0..250 {
            violations.check(number % 2 == 0, || format!("{number}"));
        }
        assert_eq!((violations.count(), violations.sentences().len()), (125, 100));
        assert_eq!(violations.sentences()[1], "3");
        let mut more = Violations::new();
        more.note(|| "more".to_owned());
        more.append(violations);
        assert_eq!((more.count(), more.sentences().len()), (126, 100));
    }
}
