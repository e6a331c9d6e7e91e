//! What a subject found: a table for people, or one JSON object as the last line.

use std::io::{Write as _, stdout};

use serde::Serialize;

use crate::common::machine::Machine;
use crate::common::problem::{Doing as _, Problem};

/// A finding as it is printed for machines.
#[derive(Serialize)]
struct Printed<'a, R> {
    subject: &'static str,
    #[serde(flatten)]
    report: &'a R,
    machine: &'a Machine,
}

/// Rows of a table: what, how much, and what to know about it.
#[derive(Default)]
pub(crate) struct Table(Vec<[String; 3]>);

impl Table {
    /// One more row.
    pub(crate) fn row(&mut self, what: &str, figure: impl Into<String>, note: impl Into<String>) {
        self.0.push([what.to_owned(), figure.into(), note.into()]);
    }
}

/// Prints a report.
pub(crate) fn print<R: Serialize>(
    subject: &'static str,
    machine: &Machine,
    report: &R,
    json: bool,
    table: Table,
) -> Result<(), Problem> {
    print_text(subject, machine, report, json, &laid_out(&table))
}

/// Prints a report whose table is laid out already.
pub(crate) fn print_text<R: Serialize>(
    subject: &'static str,
    machine: &Machine,
    report: &R,
    json: bool,
    table: &str,
) -> Result<(), Problem> {
    let mut out = stdout().lock();
    let written = if json {
        let printed = Printed { subject, report, machine };
        let line = serde_json::to_string(&printed).doing("writing the report as JSON")?;
        writeln!(out, "{line}")
    } else {
        write!(out, "{subject} on {}\n{table}", machine.line())
    };
    written.and_then(|()| out.flush()).doing("writing to standard output")
}

fn laid_out(Table(rows): &Table) -> String {
    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let (what_width, figure_width) = (width(0), width(1));
    let mut text = String::new();
    for [what, figure, note] in rows {
        let line = format!("  {what:what_width$}  {figure:>figure_width$}  {note}");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
