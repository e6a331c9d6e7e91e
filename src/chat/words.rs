//! Sensitive words: a list, and what is done about them in a text.
//!
//! The list is a text, one word or phrase a line; `#` begins a comment. Behind `=` a line may say
//! `refuse` or `replace` in place of the list's own action, and `whole` for a word that counts only
//! where no letter or digit touches it (`ass = whole` leaves "class" alone):
//!
//! ```text
//! # insults
//! 傻瓜
//! fuck = refuse
//! ass = whole, replace
//! ```
//!
//! Words and texts are folded alike ([`crate::chat::fold`]), so one line covers width, case,
//! accents and separators. All words are looked for in one walk over the text (Aho–Corasick).

use std::collections::BTreeMap;

use aho_corasick::{AhoCorasick, MatchKind};
use thiserror::Error;

use crate::base::limits::{WORD_LETTERS_MAX, WORD_LIST_BYTES_MAX, WORDS_MAX};
use crate::chat::fold::Folded;

/// Errors of one list that are told; who mends those sees the rest.
const ERRORS_MAX: usize = 20;
/// What stands for each character of a replaced word.
const MASK: char = '*';

/// What is done about a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Each of its characters is replaced.
    Replace,
    /// The whole text is refused.
    Refuse,
}

impl Action {
    /// All, in the order of [`Self::WORDS`].
    pub const ALL: [Action; 2] = [Action::Replace, Action::Refuse];
    /// How they are written.
    pub const WORDS: &'static [&'static str] = &["replace", "refuse"];
}

/// A line that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct WordError {
    /// Counted from 1; nothing if it is the whole list that is wrong.
    pub line: Option<usize>,
    /// What is wrong, and what would be right.
    pub reason: String,
}

/// What was found in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// No word of the list.
    Nothing,
    /// Words that were replaced.
    Replaced,
    /// A word for which the text is refused.
    Refused,
}

/// A word of the list where it stands in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Its line in the list, counted from 1.
    pub line: usize,
    /// What is done about it.
    pub action: Action,
    /// It counts only where no letter or digit touches it.
    pub is_whole: bool,
    /// The byte of the text at which it begins.
    pub start: usize,
    /// The byte behind its last one.
    pub end: usize,
}

#[derive(Clone, Copy, Debug)]
struct Word {
    line: usize,
    action: Action,
    is_whole: bool,
}

/// A list, ready to be looked for.
#[derive(Clone, Debug, Default)]
pub struct WordList {
    matcher: Option<AhoCorasick>,
    words: Vec<Word>,
}

impl WordList {
    /// Reads a list. Words without an action of their own get `action`.
    ///
    /// # Errors
    /// The lines that are wrong, as many as are worth telling.
    pub fn parse(text: &str, action: Action) -> Result<WordList, Vec<WordError>> {
        let mut known: BTreeMap<String, Word> = BTreeMap::new();
        let mut errors = Vec::new();
        let mut folded = Folded::default();
        if text.len() > WORD_LIST_BYTES_MAX {
            let reason = format!("has more than {WORD_LIST_BYTES_MAX} bytes; shorten the list");
            return Err(vec![WordError { line: None, reason }]);
        }
        let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
        for (line, content) in (1..).zip(text.lines()) {
            let content = content.split('#').next().unwrap_or_default().trim();
            if content.is_empty() {
                continue;
            }
            let read = read_line(line, content, action, &mut folded);
            let read = read.and_then(|word| match known.get(folded.text()) {
                Some(before)
                    if (before.action, before.is_whole) != (word.action, word.is_whole) =>
                {
                    Err(format!("`{content}` is in line {} with another action", before.line))
                }
                Some(_) => Ok(()),
                None if known.len() == WORDS_MAX => {
                    Err(format!("there are more than {WORDS_MAX} words; shorten the list"))
                }
                None => {
                    known.insert(folded.text().to_owned(), word);
                    Ok(())
                }
            });
            if let Err(reason) = read {
                errors.push(WordError { line: Some(line), reason });
                if errors.len() == ERRORS_MAX {
                    break;
                }
            }
        }
        if errors.is_empty() { WordList::build(&known) } else { Err(errors) }
    }

    fn build(known: &BTreeMap<String, Word>) -> Result<WordList, Vec<WordError>> {
        if known.is_empty() {
            return Ok(WordList::default());
        }
        // All matches are wanted, also those within others: one of them may refuse.
        let matcher = AhoCorasick::builder().match_kind(MatchKind::Standard).build(known.keys());
        let matcher = matcher.map_err(|error| {
            vec![WordError { line: None, reason: format!("the list is too large: {error}") }]
        })?;
        Ok(WordList { matcher: Some(matcher), words: known.values().copied().collect() })
    }

    /// How many different words it has.
    #[must_use]
    pub fn count(&self) -> usize {
        self.words.len()
    }

    /// The words in `text`, of which `folded` is the folding, in the order in which they end. They may
    /// overlap.
    pub fn hits<'a>(&'a self, text: &'a str, folded: &'a Folded) -> impl Iterator<Item = Hit> + 'a {
        let found = self.matcher.iter().flat_map(|it| it.find_overlapping_iter(folded.text()));
        found.filter_map(move |found| {
            let Word { line, action, is_whole } = self.words[found.pattern().as_usize()];
            let (start, end) = folded.origin(found.start(), found.end());
            let counts = !is_whole || !is_touched(text, start, end);
            counts.then_some(Hit { line, action, is_whole, start, end })
        })
    }

    /// Looks for words in `text`, of which `folded` is the folding, and replaces those that are to
    /// be replaced. `spans` is scratch.
    pub fn censor(
        &self,
        text: &mut String,
        folded: &Folded,
        spans: &mut Vec<(usize, usize)>,
    ) -> Found {
        spans.clear();
        for hit in self.hits(text, folded) {
            if hit.action == Action::Refuse {
                return Found::Refused;
            }
            spans.push((hit.start, hit.end));
        }
        if spans.is_empty() {
            return Found::Nothing;
        }
        replace(text, spans);
        Found::Replaced
    }
}

/// The word of a line that is not empty; its letters are in `folded`.
fn read_line(
    line: usize,
    content: &str,
    action: Action,
    folded: &mut Folded,
) -> Result<Word, String> {
    let (text, wishes) = content.split_once('=').unwrap_or((content, ""));
    let mut word = Word { line, action, is_whole: false };
    for wish in wishes.split(',').map(str::trim).filter(|wish| !wish.is_empty()) {
        match wish {
            "replace" => word.action = Action::Replace,
            "refuse" => word.action = Action::Refuse,
            "whole" => word.is_whole = true,
            _ => return Err(format!("`{wish}` is none of replace, refuse and whole")),
        }
    }
    if text.len() > 64 * WORD_LETTERS_MAX {
        return Err(format!("the line is too long: a word has at most {WORD_LETTERS_MAX} letters"));
    }
    folded.fold(text);
    let letters = folded.text().chars().count();
    if letters == 0 {
        let text = text.trim();
        return Err(format!("`{text}` has no letter and no digit, and nothing else is looked at"));
    }
    if letters > WORD_LETTERS_MAX {
        return Err(format!("has {letters} letters; a word has at most {WORD_LETTERS_MAX}"));
    }
    Ok(word)
}

/// Whether a letter or digit stands right before or behind.
fn is_touched(text: &str, start: usize, end: usize) -> bool {
    let before = text[..start].chars().next_back();
    let behind = text[end..].chars().next();
    [before, behind].into_iter().flatten().any(char::is_alphanumeric)
}

/// Puts a mask in the place of each character within the spans, which may overlap.
fn replace(text: &mut String, spans: &mut [(usize, usize)]) {
    spans.sort_unstable();
    let mut replaced = String::with_capacity(text.len());
    let mut done = 0;
    for (start, end) in spans.iter().copied() {
        let start = start.max(done);
        if start >= end {
            continue;
        }
        replaced.push_str(&text[done..start]);
        replaced.extend(text[start..end].chars().map(|_| MASK));
        done = end;
    }
    replaced.push_str(&text[done..]);
    *text = replaced;
}

#[cfg(test)]
mod tests;
