//! Show files: a show with its questions, written in TOML by a person.
//!
//! One show per file; the operator API takes the same as JSON. Everything that is wrong is reported at once, each with file, line, key and
//! reason. What is right becomes a [`ShowDefinition`] that keeps every promise of its fields.

mod csv;
pub mod date;
pub mod import;
pub mod rains;

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::de::DeValue;

use crate::base::ids::{OptionIndex, RoomId, ShowId};
use crate::base::limits::{
    NAME_BYTES_MAX, OPTIONS_MAX, OPTIONS_MIN, PRIZE_POOL_CENTS_MAX, QUESTION_TEXT_BYTES_MAX,
    QUESTIONS_MAX, SHOWS_MAX,
};
use crate::ops::json_document;
use crate::ops::nearest::suggestion;
use crate::ops::problems::{Origin, Problems};
use crate::ops::show_file::date::unix_ms;
use crate::ops::show_file::rains::FiledRain;
use crate::ops::toml_table::{Document, Placed, Read, Table, describe};
use crate::quiz::definition::{QuestionDefinition, ReviveCoverage, ShowDefinition, Timing};
use crate::quiz::money::Cents;

/// The longest of all times in a show file.
const DURATION_MS_MAX: i64 = 3_600_000;

/// The show that the demo plays.
const BUNDLED: &str = include_str!("bundled_show.toml");

/// What a show file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShowFile {
    /// The show.
    pub definition: ShowDefinition,
    /// How it runs by itself; none where an operator gives every command.
    pub pace: Option<Pace>,
    /// Its red-packet rains.
    pub rains: Vec<FiledRain>,
}

/// The pace of a show that runs without an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// From the opening of the lobby to the first question.
    pub lobby: Duration,
    /// From the close of a question to its reveal.
    pub reveal_pause: Duration,
    /// From a reveal to the next question, or to the settlement.
    pub next_pause: Duration,
    /// From the settlement, or the cancellation, to the end: whoever comes back within it still
    /// finds the show in its room, with its prize.
    pub end_pause: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            lobby: Duration::from_secs(5),
            reveal_pause: Duration::from_secs(1),
            next_pause: Duration::from_secs(2),
            end_pause: Duration::from_secs(10),
        }
    }
}

/// The show that the demo plays.
///
/// # Panics
/// If the file in the source tree is wrong, which a test excludes.
#[must_use]
pub fn bundled() -> ShowFile {
    match parse("bundled_show.toml", BUNDLED) {
        Ok(show) => show,
        Err(problems) => panic!("{problems}"),
    }
}

/// Reads one show from `text`, the contents of the file `name`.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(name: &str, text: &str) -> Result<ShowFile, Problems> {
    let mut problems = Problems::new();
    let document = Document::parse(name, text, &mut problems);
    let (show, _) = read(&document, None, &mut problems);
    problems.none_or(show)
}

/// Reads one show from JSON with the keys of a show file. `id` is the show's where the text has none,
/// which it then must not contradict.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse_json(name: &str, text: &str, id: Option<ShowId>) -> Result<ShowFile, Problems> {
    let mut problems = Problems::new();
    let document = json_document::parse(name, text, "questions", &mut problems);
    let (show, _) = read(&document, id, &mut problems);
    problems.none_or(show)
}

/// The same from TOML.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse_as(name: &str, text: &str, id: ShowId) -> Result<ShowFile, Problems> {
    let mut problems = Problems::new();
    let document = Document::parse(name, text, &mut problems);
    let (show, _) = read(&document, Some(id), &mut problems);
    problems.none_or(show)
}

/// Reads several shows that shall be loaded together: `(name, contents)` of each file.
///
/// # Errors
/// Everything that is wrong with any of them, and with having them at the same time.
pub fn parse_all(files: &[(String, String)]) -> Result<Vec<ShowFile>, Problems> {
    let mut problems = Problems::new();
    let mut shows: Vec<ShowFile> = Vec::new();
    let mut places: Vec<Places> = Vec::new();
    for (name, text) in files {
        let document = Document::parse(name, text, &mut problems);
        let (show, place) = read(&document, None, &mut problems);
        let ids = |show: &ShowFile| (show.definition.id, show.definition.room);
        for (other, first) in shows.iter().zip(&places) {
            if ids(other).0 == ids(&show).0 && ids(&show).0.0 != 0 {
                let reason = format!("show {} is also in {}", ids(&show).0, first.id);
                problems.push(place.id.clone(), "id", reason);
            }
            if ids(other).1 == ids(&show).1 && ids(&show).1.0 != 0 {
                let reason = format!("room {} has a show already: {}", ids(&show).1, first.room);
                problems.push(place.room.clone(), "room", reason);
            }
        }
        shows.push(show);
        places.push(place);
    }
    if let Some((name, _)) = files.get(SHOWS_MAX) {
        let origin = Origin::File { name: name.clone(), line: None };
        problems.push(origin, "", format!("is one show more than {SHOWS_MAX}"));
    }
    problems.none_or(shows)
}

/// Where those keys stand that two shows must not share.
struct Places {
    id: Origin,
    room: Origin,
}

/// Reads what can be read. Ids that could not be read are 0; `named` is the one that the show has
/// anyway.
fn read(
    document: &Document<'_>,
    named: Option<ShowId>,
    problems: &mut Problems,
) -> (ShowFile, Places) {
    let mut root = document.root();
    let ids = 1..=i64::MAX;
    let id = root.integer("id", ids.clone(), problems);
    match (named, &id) {
        (None, None) if !root.has("id") => root.missing("id", problems),
        (Some(named), Some(id)) if u64::try_from(id.value) != Ok(named.0) => {
            let reason = format!("is {}, and the show is {named}: leave it out", id.value);
            problems.push(id.origin.clone(), id.key.clone(), reason);
        }
        _ => {}
    }
    let room = root.integer("room", ids, problems);
    let number = |read: &Option<Read<i64>>| {
        read.as_ref().and_then(|read| u64::try_from(read.value).ok()).unwrap_or(0)
    };
    let show_id = named.map_or_else(|| number(&id), |named| named.0);
    let room_id = if root.has("room") { number(&room) } else { show_id };
    let place = |read: &Option<Read<i64>>| read.as_ref().map(|read| read.origin.clone());
    let id_place = place(&id).unwrap_or(root.origin());
    let places = Places { room: place(&room).unwrap_or(id_place.clone()), id: id_place };

    let title = required_text(&mut root, "title", NAME_BYTES_MAX, problems);
    let starts_at_unix_ms = read_starts_at(&mut root, problems);
    let pool = root.integer("prize_pool_cents", 0..=PRIZE_POOL_CENTS_MAX, problems);
    if !root.has("prize_pool_cents") {
        root.missing("prize_pool_cents", problems);
    }
    let account = root.text("remainder_account", NAME_BYTES_MAX, problems);
    let revive = read_revive(&mut root, problems);
    let timing = read_timing(&mut root, problems);
    let pace = root.has("pace").then(|| read_pace(&mut root, problems));
    let questions = read_questions(&mut root, problems);
    let rains = rains::read(&mut root, problems);
    // `pace` is a key even of a show that has none.
    let _ = root.value("pace");
    root.finish(elsewhere, problems);

    let definition = ShowDefinition {
        id: ShowId(show_id),
        room: RoomId(room_id),
        title,
        starts_at_unix_ms,
        prize_pool: Cents(pool.map_or(0, |pool| pool.value)),
        remainder_account: account.map_or_else(|| "remainder".to_owned(), |read| read.value),
        revive,
        timing,
        questions,
    };
    (ShowFile { definition, pace, rains }, places)
}

/// Keys that people put into the wrong table.
fn elsewhere(name: &str) -> Option<String> {
    const PLACES: &[(&str, &[&str])] = &[
        ("revive", &["wrong", "late", "unreachable"]),
        ("timing", TIMING_KEYS),
        ("pace", PACE_KEYS),
        ("questions", &["text", "options", "correct"]),
        ("rains", rains::RAIN_KEYS),
    ];
    let (table, _) = PLACES.iter().find(|(_, names)| names.contains(&name))?;
    Some(format!("{table}.{name}"))
}

fn required_text(
    table: &mut Table<'_, '_>,
    name: &'static str,
    bytes_max: usize,
    problems: &mut Problems,
) -> String {
    if !table.has(name) {
        table.missing(name, problems);
    }
    table.text(name, bytes_max, problems).map(|read| read.value).unwrap_or_default()
}

/// 0 where it is not said: it is displayed, and a show that runs by itself waits for it.
fn read_starts_at(root: &mut Table<'_, '_>, problems: &mut Problems) -> i64 {
    let Some(placed) = root.value("starts_at") else { return 0 };
    let outcome = match placed.value {
        DeValue::Datetime(datetime) => unix_ms(datetime),
        DeValue::String(text) => match text.parse() {
            Ok(datetime) => unix_ms(&datetime),
            Err(_) => Err(date::expectation()),
        },
        other => Err(format!("{}, got {}", date::expectation(), describe(other))),
    };
    placed.read(outcome, problems).map_or(0, |read| read.value)
}

fn read_revive(root: &mut Table<'_, '_>, problems: &mut Problems) -> ReviveCoverage {
    let mut table = root.table("revive", problems);
    let mut coverage = ReviveCoverage::default();
    for (name, place) in [
        ("wrong", &mut coverage.wrong),
        ("late", &mut coverage.late),
        ("unreachable", &mut coverage.unreachable),
    ] {
        if let Some(read) = table.boolean(name, problems) {
            *place = read.value;
        }
    }
    table.finish(|_| None, problems);
    coverage
}

const TIMING_KEYS: &[&str] = &[
    "lead_ms",
    "display_slack_ms",
    "countdown_ms",
    "ticket_life_ms",
    "stream_delay_ms",
    "extension_max_ms",
    "early_push_max_ms",
];
const PACE_KEYS: &[&str] = &["lobby_ms", "reveal_pause_ms", "next_pause_ms", "end_pause_ms"];

fn read_timing(root: &mut Table<'_, '_>, problems: &mut Problems) -> Timing {
    let mut table = root.table("timing", problems);
    let mut timing = Timing::default();
    let places = [
        // A question that takes no time cannot be answered; one without a lead is late everywhere.
        (&mut timing.lead, 1),
        (&mut timing.display_slack, 0),
        (&mut timing.countdown, 100),
        (&mut timing.ticket_life, 0),
        (&mut timing.stream_delay, 0),
        (&mut timing.extension_max, 0),
        (&mut timing.early_push_max, 0),
    ];
    for (name, (place, least)) in TIMING_KEYS.iter().zip(places) {
        read_duration(&mut table, name, least..=DURATION_MS_MAX, place, problems);
    }
    table.finish(|_| None, problems);
    timing
}

fn read_pace(root: &mut Table<'_, '_>, problems: &mut Problems) -> Pace {
    let mut table = root.table("pace", problems);
    let mut pace = Pace::default();
    let places =
        [&mut pace.lobby, &mut pace.reveal_pause, &mut pace.next_pause, &mut pace.end_pause];
    for (name, place) in PACE_KEYS.iter().zip(places) {
        read_duration(&mut table, name, 0..=DURATION_MS_MAX, place, problems);
    }
    table.finish(|_| None, problems);
    pace
}

fn read_duration(
    table: &mut Table<'_, '_>,
    name: &'static str,
    range_ms: RangeInclusive<i64>,
    place: &mut Duration,
    problems: &mut Problems,
) {
    if let Some(read) = table.integer(name, range_ms, problems) {
        *place = Duration::from_millis(read.value.unsigned_abs());
    }
}

fn read_questions(root: &mut Table<'_, '_>, problems: &mut Problems) -> Vec<QuestionDefinition> {
    if !root.has("questions") {
        root.missing("questions", problems);
    }
    let mut questions = Vec::new();
    let mut texts: Vec<Read<String>> = Vec::new();
    let before = problems.list().len();
    let tables = root.tables("questions", problems);
    if tables.is_empty() && root.has("questions") && problems.list().len() == before {
        let origin = root.origin_of("questions");
        problems.push(origin, "questions", "a show has at least one question");
    }
    for (index, table) in tables.into_iter().enumerate() {
        if index == QUESTIONS_MAX {
            let reason = format!("is one question more than {QUESTIONS_MAX}");
            problems.push(table.origin(), format!("questions[{index}]"), reason);
            break;
        }
        questions.push(read_question(table, &mut texts, problems));
    }
    questions
}

fn read_question(
    mut table: Table<'_, '_>,
    texts: &mut Vec<Read<String>>,
    problems: &mut Problems,
) -> QuestionDefinition {
    if !table.has("text") {
        table.missing("text", problems);
    }
    let text = table.text("text", QUESTION_TEXT_BYTES_MAX, problems);
    if let Some(text) = &text {
        match texts.iter().find(|other| other.value == text.value) {
            Some(first) => {
                let Read { origin, key, .. } = first;
                let reason = format!("duplicate question: the same text is at {origin}: {key}");
                problems.push(text.origin.clone(), text.key.clone(), reason);
            }
            None => texts.push(text.clone()),
        }
    }
    let options = read_options(&mut table, problems);
    if !table.has("correct") {
        table.missing("correct", problems);
    }
    let correct = table.value("correct").and_then(|placed| {
        let option = correct_option(&placed, options.as_deref());
        placed.read(option, problems)
    });
    table.finish(|_| None, problems);
    QuestionDefinition {
        text: text.map(|read| read.value).unwrap_or_default(),
        options: options.into_iter().flatten().map(|read| read.value).collect(),
        correct: correct.map_or(OptionIndex(0), |read| read.value),
    }
}

fn read_options(table: &mut Table<'_, '_>, problems: &mut Problems) -> Option<Vec<Read<String>>> {
    if !table.has("options") {
        table.missing("options", problems);
    }
    let (origin, key) = (table.origin_of("options"), table.key("options"));
    let options = table.texts("options", QUESTION_TEXT_BYTES_MAX, problems)?;
    if !(OPTIONS_MIN..=OPTIONS_MAX).contains(&options.len()) {
        let count = options.len();
        let reason =
            format!("has {count} options; a question has {OPTIONS_MIN} to {OPTIONS_MAX} of them");
        problems.push(origin, key, reason);
        return None;
    }
    for (index, option) in options.iter().enumerate() {
        let earlier = &options[..index];
        if !option.value.is_empty() && earlier.iter().any(|other| other.value == option.value) {
            let reason = format!("duplicate option `{}`", option.value);
            problems.push(option.origin.clone(), option.key.clone(), reason);
        }
    }
    Some(options)
}

/// Options are counted from 0; nothing is checked against options that could not be read.
fn correct_option(
    placed: &Placed<'_, '_>,
    options: Option<&[Read<String>]>,
) -> Result<OptionIndex, String> {
    let count = options.map_or(OPTIONS_MAX, <[_]>::len);
    let range = format!("options are counted from 0 to {}", count.saturating_sub(1));
    if let DeValue::String(text) = placed.value {
        let texts: Vec<&str> =
            options.unwrap_or_default().iter().map(|read| read.value.as_str()).collect();
        return Err(match texts.iter().position(|option| option == text) {
            Some(index) => format!("expects the index of an option, here {index}; {range}"),
            None => format!(
                "expects the index of an option, got a string that is none{}",
                suggestion(text, &texts)
            ),
        });
    }
    let number = crate::ops::toml_table::integer_of(placed.value)?;
    match u8::try_from(number) {
        Ok(index) if usize::from(index) < count => Ok(OptionIndex(index)),
        _ => Err(format!("option index {number} is out of range: {range}")),
    }
}

#[cfg(test)]
mod tests;
