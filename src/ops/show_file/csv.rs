//! Comma-separated values (RFC 4180) cell by cell, each with the place where it begins.

use std::ops::Range;

/// A cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    /// Without its quotes.
    pub(super) text: String,
    /// In the source, with its quotes.
    pub(super) span: Range<usize>,
}

/// What is wrong with a cell, and where it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CellError {
    /// In the source.
    pub(super) at: usize,
    /// What is wrong.
    pub(super) reason: &'static str,
}

/// What spreadsheets put between cells, by their language.
const SEPARATORS: [char; 3] = [',', ';', '\t'];

/// The separator that the first line has most of.
pub(super) fn separator(text: &str) -> char {
    let first = text.lines().next().unwrap_or_default();
    let count = |separator: char| first.matches(separator).count();
    SEPARATORS.into_iter().rev().max_by_key(|it| count(*it)).unwrap_or(',')
}

/// The lines that have anything in them, and what is wrong with cells. A broken cell ends with its
/// line, so that what follows is read.
pub(super) fn rows(text: &str, separator: char) -> (Vec<Vec<Cell>>, Vec<CellError>) {
    let mut reader = Reader { text, at: 0, separator, errors: Vec::new() };
    let mut rows = Vec::new();
    while reader.at < text.len() {
        let row = reader.row();
        if row.iter().any(|cell| !cell.text.trim().is_empty()) {
            rows.push(row);
        }
    }
    (rows, reader.errors)
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    separator: char,
    errors: Vec<CellError>,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn row(&mut self) -> Vec<Cell> {
        let mut row = vec![self.cell()];
        while self.rest().starts_with(self.separator) {
            self.at += self.separator.len_utf8();
            row.push(self.cell());
        }
        self.at += match self.rest() {
            rest if rest.starts_with("\r\n") => 2,
            rest => usize::from(rest.starts_with(['\n', '\r'])),
        };
        row
    }

    fn cell(&mut self) -> Cell {
        let rest = self.rest();
        let blank = rest.len() - rest.trim_start_matches(' ').len();
        if rest[blank..].starts_with('"') {
            self.at += blank;
            return self.quoted();
        }
        let from = self.at;
        let text = self.plain();
        if text.contains('"') {
            let reason = "has a quote in a cell that does not begin with one: put the whole cell in \
                          quotes, and quotes in it twice";
            self.errors.push(CellError { at: from, reason });
        }
        Cell { text, span: from..self.at }
    }

    /// What is left until the cell or the line ends.
    fn plain(&mut self) -> String {
        let rest = self.rest();
        let end = rest.find([self.separator, '\n', '\r']).unwrap_or(rest.len());
        let text = rest[..end].to_owned();
        self.at += end;
        text
    }

    fn quoted(&mut self) -> Cell {
        let from = self.at;
        let mut text = String::new();
        self.at += 1;
        loop {
            let rest = self.rest();
            let Some(end) = rest.find('"') else {
                let reason = "begins with a quote that is never closed";
                self.errors.push(CellError { at: from, reason });
                // What follows may be well: only this line is lost.
                self.at = from;
                self.plain();
                return Cell { text, span: from..self.at };
            };
            text.push_str(&rest[..end]);
            self.at += end + 1;
            if !self.rest().starts_with('"') {
                break;
            }
            text.push('"');
            self.at += 1;
        }
        if !self.plain().trim().is_empty() {
            let reason = "goes on behind its closing quote: write a quote in it twice";
            self.errors.push(CellError { at: from, reason });
        }
        Cell { text: text.replace("\r\n", "\n"), span: from..self.at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> (Vec<Vec<String>>, Vec<(usize, &'static str)>) {
        let (rows, errors) = rows(text, separator(text));
        let texts = |row: Vec<Cell>| row.into_iter().map(|cell| cell.text).collect();
        (
            rows.into_iter().map(texts).collect(),
            errors.into_iter().map(|it| (it.at, it.reason)).collect(),
        )
    }

    #[test]
    fn cells_are_told_apart() {
        for (text, expected) in [
            ("a,b\r\nc,d\r\n", vec![vec!["a", "b"], vec!["c", "d"]]),
            ("a;b\n\n ; \nc;\"d;\"\"e\"\"\nf\"", vec![vec!["a", "b"], vec!["c", "d;\"e\"\nf"]]),
            ("a\tb,c", vec![vec!["a\tb", "c"]]),
            ("a\tb\tc,", vec![vec!["a", "b", "c,"]]),
            ("\"a\" , \"b\"", vec![vec!["a", "b"]]),
            ("a,", vec![vec!["a", ""]]),
            ("", vec![]),
        ] {
            assert_eq!(
                read(text),
                (
                    expected
                        .iter()
                        .map(|row| row.iter().map(ToString::to_string).collect())
                        .collect(),
                    vec![]
                ),
                "{text:?}"
            );
        }
    }

    #[test]
    fn broken_cells_are_said_and_the_rest_is_read() {
        let (rows, errors) = read("a,b\n\"c,d\ne,f\n");
        assert_eq!(rows.len(), 3);
        assert_eq!(errors, [(4, "begins with a quote that is never closed")]);
        let (_, errors) = read("a,b\"c\n\"d\"e,f\n");
        assert_eq!(errors.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [2, 6]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_nothing_panics(
            cells in proptest::collection::vec("[a\",;\n\té]{1,8}", 1..6), noise in "[a\",;\r\n\té ]{0,40}",
        ) {
            let quoted: Vec<String> =
                cells.iter().map(|cell| format!("\"{}\"", cell.replace('"', "\"\""))).collect();
            let (rows, errors) = rows(&quoted.join(","), ',');
            prop_assert!(errors.is_empty());
            let read: Vec<&str> = rows.iter().flatten().map(|cell| cell.text.as_str()).collect();
            if cells.iter().any(|cell| !cell.trim().is_empty()) {
                prop_assert_eq!(read, cells);
            }
            super::rows(&noise, separator(&noise));
        }
    }
}
