//! Questions from elsewhere: CSV as spreadsheets write it, or JSON as a show has them. They are held to
//! the same limits as those of a show file, and all that is wrong is said at once.

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use crate::base::limits::{OPTIONS_MAX, OPTIONS_MIN, SETTINGS_FILE_BYTES_MAX};
use crate::ops::json_document;
use crate::ops::nearest::suggestion;
use crate::ops::problems::{Origin, Problems};
use crate::ops::show_file::csv::{self, Cell, CellError};
use crate::ops::show_file::read_questions;
use crate::ops::toml_table::Document;
use crate::quiz::definition::QuestionDefinition;

/// The columns of CSV, by what their first line calls them.
pub const COLUMNS: [&str; OPTIONS_MAX + 2] =
    ["text", "option_1", "option_2", "option_3", "option_4", "option_5", "option_6", "correct"];
const TEXT: usize = 0;
const CORRECT: usize = OPTIONS_MAX + 1;

/// In which form questions come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A first line with [`COLUMNS`], and a question a line.
    Csv,
    /// An array of questions, or an object with `questions`.
    Json,
}

/// The questions in the bytes of a file that is called `name`.
///
/// # Errors
/// Everything that is wrong with them. Keys of CSV are names of columns.
pub fn questions(
    name: &str,
    bytes: &[u8],
    form: Form,
) -> Result<Vec<QuestionDefinition>, Problems> {
    let mut problems = Problems::new();
    let text = match text_of(name, bytes) {
        Ok(text) => text,
        Err((origin, reason)) => {
            problems.push_unreadable(origin, reason);
            return problems.none_or(Vec::new());
        }
    };
    let document = match form {
        Form::Json => json_document::parse(name, text, "questions", &mut problems),
        Form::Csv => csv_document(name, text, &mut problems),
    };
    // A table without columns would only be said to lack everything.
    if problems.any_unreadable() {
        return problems.none_or(Vec::new());
    }
    let mut root = document.root();
    let questions = read_questions(&mut root, &mut problems);
    root.finish(|_| None, &mut problems);
    if form == Form::Csv {
        problems.rename_keys(column_of);
    }
    problems.none_or(questions)
}

/// The text of bytes; a byte order mark is none of it.
fn text_of<'b>(name: &str, bytes: &'b [u8]) -> Result<&'b str, (Origin, String)> {
    let origin = |line| Origin::File { name: name.to_owned(), line };
    if bytes.len() > SETTINGS_FILE_BYTES_MAX {
        let reason = format!("has {} bytes, more than {SETTINGS_FILE_BYTES_MAX}", bytes.len());
        return Err((origin(None), reason));
    }
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        (origin(Some(line)), "is not UTF-8: save it as \"CSV UTF-8\" or as UTF-8".to_owned())
    })
}

/// The column that a key of the reader means.
fn column_of(key: &str) -> String {
    let inner = key.split_once("].").map_or(key, |(_, inner)| inner);
    let option = inner.strip_prefix("options[").and_then(|rest| rest.strip_suffix(']'));
    match option.and_then(|index| index.parse::<usize>().ok()) {
        Some(index) => format!("option_{}", index + 1),
        None if inner == "options" => "option_1".to_owned(),
        None if COLUMNS.contains(&inner) => inner.to_owned(),
        None => String::new(),
    }
}

/// A document as JSON would be, with the cells' places.
fn csv_document<'t>(name: &str, text: &str, problems: &mut Problems) -> Document<'t> {
    let separator = csv::separator(text);
    let (rows, errors) = csv::rows(text, separator);
    // Knows where lines begin, and nothing else.
    let places = Document::of(name, text, DeTable::new());
    for CellError { at, reason } in errors {
        problems.push(places.origin(at..at), "", reason);
    }
    let mut rows = rows.into_iter();
    let Some(columns) = read_header(rows.next(), &places, problems) else {
        return Document::empty(name);
    };
    let mut questions = DeArray::new();
    let mut whole = 0..0;
    for row in rows {
        let from = row.first().map_or(0, |cell| cell.span.start);
        whole = from..row.last().map_or(from, |cell| cell.span.end);
        let question = question_of(row, &columns, &places, problems);
        questions.push(Spanned::new(whole.clone(), DeValue::Table(question)));
    }
    let mut root = DeTable::new();
    let key = Spanned::new(whole.clone(), "questions".into());
    root.insert(key, Spanned::new(whole, DeValue::Array(questions)));
    Document::of(name, text, root)
}

/// Which column stands at each place; nothing if the first line is none that names them.
fn read_header(
    row: Option<Vec<Cell>>,
    places: &Document<'_>,
    problems: &mut Problems,
) -> Option<Vec<Option<usize>>> {
    let form = "the first line names the columns: text,option_1,option_2,…,correct";
    let Some(row) = row else {
        problems.push_unreadable(places.origin(0..0), format!("is empty; {form}"));
        return None;
    };
    let mut columns: Vec<Option<usize>> = Vec::new();
    let mut is_good = true;
    let mut wrong = |at: &Cell, reason: String| {
        problems.push(places.origin(at.span.clone()), "", reason);
        is_good = false;
    };
    for cell in &row {
        let name = cell.text.trim().to_lowercase();
        let known = COLUMNS.iter().position(|column| *column == name);
        match known {
            Some(_) if columns.contains(&known) => {
                wrong(cell, format!("the column `{name}` stands twice"));
            }
            None if !name.is_empty() => {
                let hint = suggestion(&name, &COLUMNS);
                wrong(cell, format!("there is no column `{name}`{hint}; {form}"));
            }
            _ => {}
        }
        columns.push(known);
    }
    for needed in ["text", "option_1", "option_2", "correct"] {
        let index = COLUMNS.iter().position(|column| *column == needed);
        if !columns.contains(&index)
            && let Some(cell) = row.first()
        {
            wrong(cell, format!("the column `{needed}` is missing; {form}"));
        }
    }
    if is_good {
        return Some(columns);
    }
    // The rest would be read in the light of a wrong line.
    problems.push_unreadable(places.origin(0..0), "nothing below the first line was read");
    None
}

fn question_of<'t>(
    row: Vec<Cell>,
    columns: &[Option<usize>],
    places: &Document<'_>,
    problems: &mut Problems,
) -> DeTable<'t> {
    let from = row.first().map_or(0, |cell| cell.span.start);
    let mut cells: [Option<Cell>; COLUMNS.len()] = Default::default();
    for (place, cell) in row.into_iter().enumerate() {
        match columns.get(place) {
            Some(Some(column)) => cells[*column] = Some(cell),
            _ if cell.text.trim().is_empty() => {}
            _ => {
                let reason = "is more than the first line has columns; put cells with separators in \
                              them in quotes";
                problems.push(places.origin(cell.span), "", reason);
            }
        }
    }
    let mut question = DeTable::new();
    let mut put = |name: &'static str, span: std::ops::Range<usize>, value: DeValue<'t>| {
        question.insert(Spanned::new(span.clone(), name.into()), Spanned::new(span, value));
    };
    let blank = || Cell { text: String::new(), span: from..from };
    let text = cells[TEXT].take().unwrap_or_else(blank);
    put("text", text.span, DeValue::String(text.text.into()));
    let correct = cells[CORRECT].take().unwrap_or_else(blank);
    let options = &cells[TEXT + 1..CORRECT];
    let is_filled =
        |cell: &Option<Cell>| cell.as_ref().is_some_and(|it| !it.text.trim().is_empty());
    let count = options.iter().rposition(is_filled).map_or(0, |last| last + 1).max(OPTIONS_MIN);
    let index = correct_of(correct.text.trim(), count).unwrap_or_else(|reason| {
        problems.push(places.origin(correct.span.clone()), "correct", reason);
        // A stand-in that is right: what is wrong has been said.
        0
    });
    let mut array = DeArray::new();
    for option in options.iter().take(count) {
        let option = option.clone().unwrap_or_else(blank);
        array.push(Spanned::new(option.span, DeValue::String(option.text.into())));
    }
    put("options", from..from, DeValue::Array(array));
    if let Ok(number) = DeValue::parse(DIGITS[index]) {
        put("correct", correct.span, number.into_inner());
    }
    question
}

/// The indices of options.
const DIGITS: [&str; OPTIONS_MAX] = ["0", "1", "2", "3", "4", "5"];

/// The index of the correct option, which is given as the N of `option_N` or as its letter.
fn correct_of(text: &str, count: usize) -> Result<usize, String> {
    let letter = |text: &str| match text.as_bytes() {
        [letter] if letter.is_ascii_alphabetic() => {
            Some(usize::from(letter.to_ascii_uppercase() - b'A'))
        }
        _ => None,
    };
    let number = text.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
    match number.or_else(|| letter(text)) {
        Some(index) if index < count.min(OPTIONS_MAX) => Ok(index),
        _ => {
            let last = char::from(b'A' + u8::try_from(count.max(1) - 1).unwrap_or(0));
            Err(format!(
                "`{text}` is no option of this question: give 1 to {count}, or A to {last}"
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::OptionIndex;
    use expect_test::{Expect, expect};

    fn check(text: &str, form: Form, expected: &Expect) {
        let said = match questions("q", text.as_bytes(), form) {
            Ok(questions) => questions
                .iter()
                .map(|it| format!("{} {:?} {}\n", it.text, it.options, it.correct.0))
                .collect(),
            Err(problems) => format!("{problems}\n"),
        };
        expected.assert_eq(&said);
    }

    #[test]
    fn questions_come_from_csv() {
        let text = "\u{feff}Text;option_1;option_2;option_3;correct\r\n\
                    \"What; or \"\"who\"\"?\";a;b;c;3\r\n\r\nWhere?;here;there;;B\r\n";
        check(
            text,
            Form::Csv,
            &expect![[r#"
                What; or "who"? ["a", "b", "c"] 2
                Where? ["here", "there"] 1
            "#]],
        );
    }

    #[test]
    fn everything_that_is_wrong_with_csv_is_said_with_line_and_column() {
        let text = "text,option_1,option_2,option_3,correct\n\
                    Which?,a,a,,4\n\
                    ,a,b,c,1\n\
                    \"Two\nlines\",a,,c,D\n\
                    Which?,a,b,,2,more\n\
                    Why?,a,b,c,\n\
                    How?,\"a,b,c,1\n";
        check(
            text,
            Form::Csv,
            &expect![[r#"
                q:2: correct: `4` is no option of this question: give 1 to 2, or A to B
                q:2: option_2: duplicate option `a`
                q:3: text: is empty
                q:5: correct: `D` is no option of this question: give 1 to 3, or A to C
                q:5: option_2: is empty
                q:6: is more than the first line has columns; put cells with separators in them in quotes
                q:6: text: duplicate question: the same text is at q:2: questions[0].text
                q:7: correct: `` is no option of this question: give 1 to 3, or A to C
                q:8: begins with a quote that is never closed
                q:8: option_1: is empty
            "#]],
        );
        for (text, expected) in [
            (
                "",
                expect![[r#"
                q:1: is empty; the first line names the columns: text,option_1,option_2,…,correct
            "#]],
            ),
            (
                "text,option_1,optoin_2,correct\na,b,c,1\n",
                expect![[r#"
                q:1: there is no column `optoin_2`; did you mean `option_2`?; the first line names the columns: text,option_1,option_2,…,correct
                q:1: the column `option_2` is missing; the first line names the columns: text,option_1,option_2,…,correct
                q:1: nothing below the first line was read
            "#]],
            ),
            (
                "text,option_1,option_2,correct\n",
                expect![[r#"
                q:1: a show has at least one question
            "#]],
            ),
        ] {
            check(text, Form::Csv, &expected);
        }
    }

    #[test]
    fn questions_come_from_json() {
        let good = r#"[{"text": "Which?", "options": ["a", "b"], "correct": 1}]"#;
        let one = QuestionDefinition {
            text: "Which?".into(),
            options: vec!["a".into(), "b".into()],
            correct: OptionIndex(1),
        };
        assert_eq!(questions("q", good.as_bytes(), Form::Json), Ok(vec![one.clone()]));
        let within = format!("\u{feff}{{\"questions\": {good}}}");
        assert_eq!(questions("q", within.as_bytes(), Form::Json), Ok(vec![one]));
        check(
            "[\n{\"text\": \"Which?\", \"options\": [\"a\"], \"correct\": 1},\n\
             {\"text\": \"\", \"options\": [\"a\", \"b\"], \"correct\": 2, \"note\": 1},\n7]",
            Form::Json,
            &expect![[r#"
                q:2: questions[0].options: has 1 options; a question has 2 to 6 of them
                q:3: questions[1].text: is empty
                q:3: questions[1].correct: option index 2 is out of range: options are counted from 0 to 1
                q:3: questions[1].note: unknown key; the nearest valid one is `text`
                q:4: questions[2]: expects a table, got a whole number
            "#]],
        );
    }

    #[test]
    fn what_is_no_text_is_refused_with_its_line() {
        let wrong = questions("q", b"text,option_1\n\xe4,b\n", Form::Csv).unwrap_err();
        assert!(wrong.to_string().starts_with("q:2: is not UTF-8"), "{wrong}");
        let long = vec![b'a'; SETTINGS_FILE_BYTES_MAX + 1];
        assert!(questions("q", &long, Form::Csv).is_err());
        let many: String = (0..=100).map(|it| format!("q{it},a,b,1\n")).collect();
        let many = format!("text,option_1,option_2,correct\n{many}");
        let wrong = questions("q", many.as_bytes(), Form::Csv).unwrap_err();
        assert_eq!(wrong.to_string(), "q:102: is one question more than 100");
    }
}
