//! TOML files read key by key, so that everything that is wrong is found at once and with its line.
//!
//! A [`Document`] is a parsed file; a [`Table`] is one table of it. A table is asked for each key
//! that it may have; keys that nobody asked for are unknown, and [`Table::finish`] says so. A
//! reader gets a value or nothing; whatever was wrong is in the [`Problems`] by then, so a reader
//! goes on with a stand-in and nothing is reported twice.

use std::ops::{Range, RangeInclusive};

use toml::de::{DeInteger, DeTable, DeValue};

use crate::base::limits::SETTINGS_FILE_BYTES_MAX;
use crate::ops::nearest::suggestion;
use crate::ops::problems::{Origin, Problems};

/// A parsed file.
pub struct Document<'i> {
    name: String,
    /// Where each line begins, bytes.
    line_starts: Vec<usize>,
    root: DeTable<'i>,
}

impl<'i> Document<'i> {
    /// Parses `text`, the contents of the file `name`. Every error of syntax is noted; what the
    /// parser made of the rest is in the document, so that the rest is checked too.
    pub fn parse(name: &str, text: &'i str, problems: &mut Problems) -> Document<'i> {
        if text.len() > SETTINGS_FILE_BYTES_MAX {
            let origin = Origin::File { name: name.to_owned(), line: None };
            let bytes = text.len();
            let reason = format!("has {bytes} bytes, more than {SETTINGS_FILE_BYTES_MAX}");
            problems.push_unreadable(origin, reason);
            return Document::empty(name);
        }
        let (root, errors) = DeTable::parse_recoverable(text);
        let document = Document::of(name, text, root.into_inner());
        for error in errors {
            let origin = document.origin(error.span().unwrap_or(0..0));
            problems.push_unreadable(origin, format!("not TOML: {}", error.message()));
        }
        document
    }

    /// What another reader made of `text`, with spans in it.
    #[must_use]
    pub fn of(name: &str, text: &str, root: DeTable<'i>) -> Document<'i> {
        let line_starts =
            std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Document { name: name.to_owned(), line_starts, root }
    }

    /// A file without a key.
    #[must_use]
    pub fn empty(name: &str) -> Document<'i> {
        Document { name: name.to_owned(), line_starts: vec![0], root: DeTable::new() }
    }

    /// The top table.
    #[must_use]
    pub fn root(&self) -> Table<'_, 'i> {
        Table { document: self, path: String::new(), table: &self.root, span: 0..0, asked: vec![] }
    }

    /// The file and the line in which `span` begins.
    #[must_use]
    pub fn origin(&self, span: Range<usize>) -> Origin {
        let line = self.line_starts.partition_point(|start| *start <= span.start);
        Origin::File { name: self.name.clone(), line: Some(line) }
    }
}

/// One table of a [`Document`].
pub struct Table<'d, 'i> {
    document: &'d Document<'i>,
    /// Where it stands, `questions[3]`; empty for the top table.
    path: String,
    table: &'d DeTable<'i>,
    /// Of its header.
    span: Range<usize>,
    /// Every key that it may have.
    asked: Vec<&'static str>,
}

/// A value with its place, for what is wrong with it beyond its own form.
pub struct Placed<'d, 'i> {
    /// The value as it was parsed.
    pub value: &'d DeValue<'i>,
    /// Where it stands.
    pub origin: Origin,
    /// The key with its path.
    pub key: String,
}

/// A value that was read, and where it stands.
#[derive(Clone, Debug)]
pub struct Read<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub origin: Origin,
    /// The key with its path.
    pub key: String,
}

impl<'d, 'i> Table<'d, 'i> {
    /// Where its header stands.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.document.origin(self.span.clone())
    }

    /// The path of one of its keys.
    #[must_use]
    pub fn key(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Whether `name` is there, whatever its value.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.table.contains_key(name)
    }

    /// Where `name` stands; where its table stands if it is not there.
    #[must_use]
    pub fn origin_of(&self, name: &str) -> Origin {
        self.table
            .get_key_value(name)
            .map_or_else(|| self.origin(), |(key, _)| self.document.origin(key.span()))
    }

    /// The value of `name` if there is one.
    pub fn value(&mut self, name: &'static str) -> Option<Placed<'d, 'i>> {
        self.asked.push(name);
        let value = self.table.get(name)?;
        Some(Placed {
            value: value.get_ref(),
            origin: self.document.origin(value.span()),
            key: self.key(name),
        })
    }

    /// Says that `name` must be there, unless what could not be parsed may have hidden it.
    pub fn missing(&self, name: &str, problems: &mut Problems) {
        if !problems.any_unreadable() {
            problems.push(self.origin(), self.key(name), "missing: this key is required");
        }
    }

    /// A text of 1 to `bytes_max` bytes, trimmed, without control characters.
    pub fn text(
        &mut self,
        name: &'static str,
        bytes_max: usize,
        problems: &mut Problems,
    ) -> Option<Read<String>> {
        let placed = self.value(name)?;
        let text =
            text_of(placed.value).and_then(|text| checked_text(text, bytes_max).map(str::to_owned));
        placed.read(text, problems)
    }

    /// A whole number in `range`.
    pub fn integer(
        &mut self,
        name: &'static str,
        range: RangeInclusive<i64>,
        problems: &mut Problems,
    ) -> Option<Read<i64>> {
        let placed = self.value(name)?;
        let number = integer_of(placed.value)
            .and_then(|number| checked_integer(number, range))
            .and_then(|number| i64::try_from(number).map_err(|_| "does not fit".to_owned()));
        placed.read(number, problems)
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, name: &'static str, problems: &mut Problems) -> Option<Read<bool>> {
        let placed = self.value(name)?;
        let value = boolean_of(placed.value);
        placed.read(value, problems)
    }

    /// A table within this one; an absent one is empty.
    pub fn table(&mut self, name: &'static str, problems: &mut Problems) -> Table<'d, 'i> {
        static EMPTY: std::sync::OnceLock<DeTable<'static>> = std::sync::OnceLock::new();
        let path = self.key(name);
        let document = self.document;
        let found = self.value(name).and_then(|placed| match placed.value {
            DeValue::Table(table) => Some(table),
            other => {
                let reason = format!("expects a table, `[{path}]`, got {}", describe(other));
                problems.push(placed.origin, placed.key, reason);
                None
            }
        });
        let span = self.table.get_key_value(name).map_or(self.span.clone(), |(key, _)| key.span());
        let table = found.unwrap_or_else(|| EMPTY.get_or_init(DeTable::new));
        Table { document, path, table, span, asked: vec![] }
    }

    /// The tables of an array of tables, `[[name]]`; none where it is absent.
    pub fn tables(&mut self, name: &'static str, problems: &mut Problems) -> Vec<Table<'d, 'i>> {
        let path = self.key(name);
        let document = self.document;
        let Some(placed) = self.value(name) else { return Vec::new() };
        let DeValue::Array(array) = placed.value else {
            let reason = format!("expects tables, `[[{path}]]`, got {}", describe(placed.value));
            problems.push(placed.origin, placed.key, reason);
            return Vec::new();
        };
        let mut tables = Vec::new();
        for (index, item) in array.iter().enumerate() {
            let path = format!("{path}[{index}]");
            match item.get_ref() {
                DeValue::Table(table) => {
                    tables.push(Table { document, path, table, span: item.span(), asked: vec![] });
                }
                other => {
                    let reason = format!("expects a table, got {}", describe(other));
                    problems.push(document.origin(item.span()), path, reason);
                }
            }
        }
        tables
    }

    /// The texts of an array, each with its place.
    pub fn texts(
        &mut self,
        name: &'static str,
        bytes_max: usize,
        problems: &mut Problems,
    ) -> Option<Vec<Read<String>>> {
        let document = self.document;
        let placed = self.value(name)?;
        let DeValue::Array(array) = placed.value else {
            let reason = format!("expects an array of strings, got {}", describe(placed.value));
            problems.push(placed.origin, placed.key, reason);
            return None;
        };
        let mut texts = Vec::new();
        for (index, item) in array.iter().enumerate() {
            let item = Placed {
                value: item.get_ref(),
                origin: document.origin(item.span()),
                key: format!("{}[{index}]", placed.key),
            };
            let text = text_of(item.value)
                .and_then(|text| checked_text(text, bytes_max).map(str::to_owned));
            // A stand-in that equals no other text keeps the indices of the others.
            let stand_in =
                Read { value: String::new(), origin: item.origin.clone(), key: item.key.clone() };
            texts.push(item.read(text, problems).unwrap_or(stand_in));
        }
        Some(texts)
    }

    /// Reports every key that was not asked for. `elsewhere` names a table's key that is known by
    /// the same name in another place.
    pub fn finish(self, elsewhere: impl Fn(&str) -> Option<String>, problems: &mut Problems) {
        for (key, _) in self.table {
            let name: &str = key.get_ref();
            if self.asked.contains(&name) {
                continue;
            }
            let hint = match elsewhere(name) {
                Some(place) => format!("; did you mean `{place}`?"),
                None => suggestion(name, &self.asked),
            };
            let origin = self.document.origin(key.span());
            problems.push(origin, self.key(name), format!("unknown key{hint}"));
        }
    }
}

impl Placed<'_, '_> {
    /// The outcome of reading this value, its reason noted where it failed.
    pub fn read<T>(self, outcome: Result<T, String>, problems: &mut Problems) -> Option<Read<T>> {
        match outcome {
            Ok(value) => Some(Read { value, origin: self.origin, key: self.key }),
            Err(reason) => {
                problems.push(self.origin, self.key, reason);
                None
            }
        }
    }
}

/// What kind of value this is, with its article.
#[must_use]
pub fn describe(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

/// The text of a string.
///
/// # Errors
/// What else it is.
pub fn text_of<'v>(value: &'v DeValue<'_>) -> Result<&'v str, String> {
    value.as_str().ok_or_else(|| format!("expects a string, got {}", describe(value)))
}

/// The value of a boolean.
///
/// # Errors
/// What else it is.
pub fn boolean_of(value: &DeValue<'_>) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| format!("expects true or false, got {}", describe(value)))
}

/// The value of a whole number.
///
/// # Errors
/// What else it is.
pub fn integer_of(value: &DeValue<'_>) -> Result<i128, String> {
    let number = |integer: &DeInteger<'_>| {
        i128::from_str_radix(integer.as_str(), integer.radix())
            .map_err(|_| format!("expects a whole number of 64 bits, got {integer}"))
    };
    match value {
        DeValue::Integer(integer) => number(integer),
        other => Err(format!("expects a whole number, got {}", describe(other))),
    }
}

/// `text`, trimmed, if it has 1 to `bytes_max` bytes and no control characters.
///
/// # Errors
/// What is wrong with it.
pub fn checked_text(text: &str, bytes_max: usize) -> Result<&str, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    if text.len() > bytes_max {
        return Err(format!("has {} bytes, more than {bytes_max}", text.len()));
    }
    match text.chars().find(|letter| letter.is_control() && *letter != '\n') {
        Some(letter) => Err(format!("has the control character {letter:?}")),
        None => Ok(text),
    }
}

/// `number`, if it is in `range`.
///
/// # Errors
/// The range and the nearest number in it.
pub fn checked_integer<T: Into<i128> + Copy>(
    number: i128,
    range: RangeInclusive<T>,
) -> Result<i128, String> {
    let (least, most) = ((*range.start()).into(), (*range.end()).into());
    if (least..=most).contains(&number) {
        return Ok(number);
    }
    let nearest = number.clamp(least, most);
    let what = if number < 0 && least >= 0 { "is negative" } else { "is out of range" };
    let range = if most >= i128::from(i64::MAX) {
        format!("at least {least}")
    } else {
        format!("{least} to {most}")
    };
    Err(format!("{number} {what}: expects {range}; the nearest valid one is {nearest}"))
}
