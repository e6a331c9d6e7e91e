//! A text as sensitive words are looked for in it: without width, case, accents and separators.
//!
//! Each character is decomposed by compatibility (Unicode Annex #15, NFKD: `ｆ`, `𝐟`, `ⓕ` and `Ｆ`
//! become `f`, `㎏` becomes `kg`), put into lower case, and kept only if letters or digits remain
//! of it; so accents, spaces, punctuation, symbols and invisible joiners vanish. Korean syllables
//! and Japanese voiced sounds are put together again, so that no word is found in half a character.
//! Each folded letter knows which bytes of the text it came from.
//!
//! Deliberately absent: letters of other scripts that merely look alike, digits in the place of
//! letters, traditional for simplified Chinese. A list names such spellings as words of their own.

use unicode_normalization::char::{compose, decompose_compatible};

/// A folded text, and where each of its letters came from. Used again for its capacity.
#[derive(Debug, Default)]
pub struct Folded {
    text: String,
    letters: Vec<Letter>,
}

/// One folded letter.
#[derive(Clone, Copy, Debug)]
struct Letter {
    /// Where it begins in the folded text.
    at: u32,
    /// The bytes of the text that it came from.
    start: u32,
    end: u32,
}

impl Folded {
    /// Folds `text`, which has less than 4 GiB.
    pub fn fold(&mut self, text: &str) {
        self.text.clear();
        self.letters.clear();
        for (start, letter) in text.char_indices() {
            let (start, end) = (size(start), size(start + letter.len_utf8()));
            if letter.is_ascii() {
                if letter.is_ascii_alphanumeric() {
                    self.push(letter.to_ascii_lowercase(), start, end);
                }
            } else if is_plain_chinese(letter) {
                self.push(letter, start, end);
            } else {
                decompose_compatible(letter, |part| self.fold_part(part, start, end));
            }
        }
    }

    /// What the text was folded to.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The bytes of the original text from which the folded bytes `start..end` came.
    ///
    /// # Panics
    /// If no folded letter begins before `end`.
    #[must_use]
    pub fn origin(&self, start: usize, end: usize) -> (usize, usize) {
        let first = self.letters.partition_point(|letter| (letter.at as usize) < start);
        let after = self.letters.partition_point(|letter| (letter.at as usize) < end);
        (self.letters[first].start as usize, self.letters[after - 1].end as usize)
    }

    fn fold_part(&mut self, part: char, start: u32, end: u32) {
        if is_completing(part)
            && let Some(last) = self.text.chars().next_back()
            && let Some(whole) = compose(last, part)
        {
            self.text.pop();
            self.text.push(whole);
            if let Some(letter) = self.letters.last_mut() {
                letter.end = end;
            }
            return;
        }
        match part {
            // Full case folding where lower case is not enough.
            'ß' | 'ẞ' => {
                self.push('s', start, end);
                self.push('s', start, end);
            }
            'ς' => self.push('σ', start, end),
            _ => {
                for lower in part.to_lowercase().filter(|lower| lower.is_alphanumeric()) {
                    self.push(lower, start, end);
                }
            }
        }
    }

    fn push(&mut self, letter: char, start: u32, end: u32) {
        self.letters.push(Letter { at: size(self.text.len()), start, end });
        self.text.push(letter);
    }
}

/// Unified ideographs have no case and no decomposition.
fn is_plain_chinese(letter: char) -> bool {
    ('\u{4E00}'..='\u{9FFF}').contains(&letter)
}

/// What makes another character of the one before: vowels and finals of Korean syllables, and the
/// Japanese marks of voicing.
fn is_completing(part: char) -> bool {
    matches!(part, '\u{1161}'..='\u{1175}' | '\u{11A8}'..='\u{11C2}' | '\u{3099}' | '\u{309A}')
}

fn size(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("a text has less than 4 GiB")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn folded(text: &str) -> String {
        let mut folded = Folded::default();
        folded.fold(text);
        folded.text().to_owned()
    }

    #[test]
    fn width_case_accents_and_separators_vanish() {
        for (text, expected) in [
            ("Fuck", "fuck"),
            ("ＦＵＣＫ", "fuck"),
            ("f.u-c k", "fuck"),
            ("f\u{200D}u\u{200B}c\u{2060}k", "fuck"),
            ("ⓕ𝐮𝒸𝕜", "fuck"),
            ("fúçk", "fuck"),
            ("f\u{301}u\u{308}ck", "fuck"),
            ("敏感词", "敏感词"),
            ("敏 感，词！", "敏感词"),
            ("敏。感…词", "敏感词"),
            ("微❤信", "微信"),
            ("㎏ ① ５０％", "kg150"),
            ("STRASSE straße", "strassestrasse"),
            ("ΣΟΦΟΣ σοφος", "σοφοσσοφοσ"),
            ("İstanbul", "istanbul"),
            ("Ёлка ёлка", "елкаелка"),
            ("한국어", "한국어"),
            ("\u{1112}\u{1161}\u{11AB}", "한"),
            ("ｶﾞｷﾞ ガギ", "ガギガギ"),
            ("がか\u{3099}", "がが"),
            ("!?… 👍🏽", ""),
        ] {
            assert_eq!(folded(text), expected, "{text:?}");
        }
    }

    #[test]
    fn half_a_character_is_none() {
        assert!(!folded("각").contains(&folded("가")));
        assert!(!folded("が").contains(&folded("か")));
    }

    #[test]
    fn letters_know_where_they_came_from() {
        let text = "«ｆ.ú»㎏ｶﾞ";
        let mut folded = Folded::default();
        folded.fold(text);
        assert_eq!(folded.text(), "fukgガ");
        let origin = |start, end| {
            let (start, end) = folded.origin(start, end);
            &text[start..end]
        };
        assert_eq!(origin(0, 1), "ｆ");
        assert_eq!(origin(0, 2), "ｆ.ú");
        assert_eq!(origin(2, 3), "㎏");
        assert_eq!(origin(1, 4), "ú»㎏");
        assert_eq!(origin(4, 7), "ｶﾞ");
    }

    proptest! {
        #[test]
        fn folding_again_changes_nothing_and_origins_are_characters(text in ".{0,60}") {
            let mut once = Folded::default();
            once.fold(&text);
            for letter in &once.letters {
                prop_assert!(text.get(letter.start as usize..letter.end as usize).is_some());
                prop_assert!(letter.start < letter.end);
            }
            for pair in once.letters.windows(2) {
                prop_assert!(pair[0].start <= pair[1].start && pair[0].end <= pair[1].end);
            }
            prop_assert_eq!(folded(once.text()), once.text());
        }
    }
}
