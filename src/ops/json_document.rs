//! JSON as a [`Document`], so that what is written in it is read and checked as a show file is, with
//! the line of everything that is wrong.
//!
//! `serde_json` says first whether the text is JSON at all, and how deep it may nest. The scanner here
//! goes over the same text once more, because it has to know where things stand.

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use crate::base::limits::SETTINGS_FILE_BYTES_MAX;
use crate::ops::problems::{Origin, Problems};
use crate::ops::toml_table::Document;

/// The document of a text that is called `name`. An array at the top becomes the key `as_key` of a table.
/// A key whose value is null counts as absent.
pub fn parse<'t>(
    name: &str,
    text: &'t str,
    as_key: &'static str,
    problems: &mut Problems,
) -> Document<'t> {
    let origin = |line| Origin::File { name: name.to_owned(), line };
    if text.len() > SETTINGS_FILE_BYTES_MAX {
        let reason = format!("has {} bytes, more than {SETTINGS_FILE_BYTES_MAX}", text.len());
        problems.push_unreadable(origin(None), reason);
        return Document::empty(name);
    }
    if let Err(error) = serde_json::from_str::<serde_json::Value>(text) {
        let reason = format!("not JSON: {error}");
        problems.push_unreadable(origin(Some(error.line().max(1))), reason);
        return Document::empty(name);
    }
    let mut scanner = Scanner { text, at: 0, nulls: Vec::new(), twice: Vec::new() };
    let top = scanner.value();
    let Scanner { nulls, twice, .. } = scanner;
    let root = match top.map(|it| (it.span(), it.into_inner())) {
        Some((_, DeValue::Table(table))) => table,
        Some((span, array @ DeValue::Array(_))) => {
            let mut table = DeTable::new();
            table.insert(Spanned::new(span.clone(), as_key.into()), Spanned::new(span, array));
            table
        }
        _ => {
            let reason = format!("expects an object, or an array of {as_key}");
            problems.push_unreadable(origin(Some(1)), reason);
            DeTable::new()
        }
    };
    let document = Document::of(name, text, root);
    for at in nulls {
        problems.push(document.origin(at..at), "", "null is no element of a list");
    }
    for (at, key) in twice {
        problems.push(document.origin(at..at), key, "stands twice in its object");
    }
    document
}

/// Goes over a text that is known to be JSON; where it were not, the scanner would end early.
struct Scanner<'t> {
    text: &'t str,
    at: usize,
    /// Where a null stands in an array.
    nulls: Vec<usize>,
    /// Keys that their object has already.
    twice: Vec<(usize, String)>,
}

impl<'t> Scanner<'t> {
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while bytes.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }

    /// Takes a byte if it comes next.
    fn take(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        if is_next {
            self.at += 1;
        }
        is_next
    }

    /// The next value; nothing for null.
    fn value(&mut self) -> Option<Spanned<DeValue<'t>>> {
        let first = self.peek()?;
        let from = self.at;
        let value = match first {
            b'{' => DeValue::Table(self.table()),
            b'[' => DeValue::Array(self.array()),
            b'"' => DeValue::String(self.string()?.into()),
            _ => self.word()?,
        };
        Some(Spanned::new(from..self.at, value))
    }

    fn table(&mut self) -> DeTable<'t> {
        let mut table = DeTable::new();
        self.at += 1;
        while self.peek() == Some(b'"') {
            let from = self.at;
            let Some(key) = self.string() else { break };
            let span = from..self.at;
            self.take(b':');
            let value = self.value();
            if table.contains_key(key.as_str()) {
                self.twice.push((from, key.clone()));
            }
            if let Some(value) = value {
                table.insert(Spanned::new(span, key.into()), value);
            }
            if !self.take(b',') {
                break;
            }
        }
        self.take(b'}');
        table
    }

    fn array(&mut self) -> DeArray<'t> {
        let mut array = DeArray::new();
        self.at += 1;
        while !matches!(self.peek(), None | Some(b']')) {
            let from = self.at;
            match self.value() {
                Some(value) => array.push(value),
                None => self.nulls.push(from),
            }
            if !self.take(b',') {
                break;
            }
        }
        self.take(b']');
        array
    }

    fn string(&mut self) -> Option<String> {
        let from = self.at;
        let mut is_escaped = false;
        for (offset, byte) in self.text.bytes().enumerate().skip(from + 1) {
            match byte {
                b'"' if !is_escaped => {
                    self.at = offset + 1;
                    return serde_json::from_str(self.text.get(from..self.at)?).ok();
                }
                b'\\' => is_escaped = !is_escaped,
                _ => is_escaped = false,
            }
        }
        None
    }

    /// `true`, `false` or a number; nothing for null.
    fn word(&mut self) -> Option<DeValue<'t>> {
        let rest = self.text.get(self.at..)?;
        let end = rest
            .find(|letter: char| matches!(letter, ',' | ']' | '}') || letter.is_ascii_whitespace());
        let word = rest.get(..end.unwrap_or(rest.len()))?;
        self.at += word.len();
        match word {
            "null" => None,
            // Numbers and booleans of JSON are written so in TOML, too.
            word => DeValue::parse(word).ok().map(Spanned::into_inner),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn problems_of(text: &str) -> Vec<String> {
        let mut problems = Problems::new();
        let document = parse("show", text, "list", &mut problems);
        let mut root = document.root();
        let number = root.integer("number", 1..=9, &mut problems);
        let texts = root.texts("list", 10, &mut problems);
        root.finish(|_| None, &mut problems);
        let mut said: Vec<String> = problems.list().iter().map(ToString::to_string).collect();
        if said.is_empty() {
            said.push(format!("{:?}", (number.map(|it| it.value), texts.map(|it| it.len()))));
        }
        said
    }

    #[test]
    fn what_stands_in_json_is_found_with_its_line() {
        for (text, said) in [
            (
                "{\"number\": 3, \"list\": [\"a\", \"\\u00e4\\n\\\"]\"]}",
                &["(Some(3), Some(2))"][..],
            ),
            ("[\"a\", \"b\"]", &["(None, Some(2))"]),
            ("{\"number\": null}", &["(None, None)"]),
            (
                "{\n\"number\": 12,\n\"list\": [\n\"a\",\n2, null],\n\"x\": true}",
                &[
                    "show:5: null is no element of a list",
                    "show:2: number: 12 is out of range: expects 1 to 9; the nearest valid one is 9",
                    "show:5: list[1]: expects a string, got a whole number",
                    "show:6: x: unknown key; the nearest valid one is `list`",
                ],
            ),
            ("{\"number\": 1,\n\"number\": 2}", &["show:2: number: stands twice in its object"]),
            (
                "{\"number\": 1.5}",
                &["show:1: number: expects a whole number, got a number with a fraction"],
            ),
            (
                "{\"number\": -1e2}",
                &["show:1: number: expects a whole number, got a number with a fraction"],
            ),
            ("3", &["show:1: expects an object, or an array of list"]),
            ("{\n\"number\" 1}", &["show:2: not JSON: expected `:` at line 2 column 10"]),
            ("", &["show:1: not JSON: EOF while parsing a value at line 1 column 0"]),
        ] {
            assert_eq!(problems_of(text), said, "{text}");
        }
        assert!(problems_of(&"[".repeat(100_000))[0].contains("not JSON"), "too deep");
    }

    proptest! {
        /// Bytes of a peer never panic, and what serde_json reads has a place here.
        #[test]
        fn any_json_is_gone_over_to_its_end(text in "[\\[\\]{},:\"\\\\ na0-9.eE+-]{0,40}") {
            let mut problems = Problems::new();
            let _ = parse("x", &text, "list", &mut problems);
            if let Ok(value) = serde_json::from_str::<serde_json::Value>(&text) {
                let mut scanner = Scanner { text: &text, at: 0, nulls: vec![], twice: vec![] };
                let found = scanner.value();
                prop_assert_eq!(scanner.peek(), None, "something is left");
                prop_assert_eq!(found.is_none(), value.is_null());
            }
        }
    }
}
