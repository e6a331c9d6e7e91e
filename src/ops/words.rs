//! The list of sensitive words of a running gateway: read at start, again when its file changes,
//! and when an operator asks for it.
//!
//! The list is built off the shard cores ([`crate::ops::watch::files`]); the shards are given it
//! finished. What would become of a text, a shard says, with the words that it has.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::chat::desk::{FoundWord, Refusal, Said, Trial};
use crate::chat::words::{Action, WordList};
use crate::ops::config::ChatConfig;
use crate::ops::problems::{Origin, Problems};
use crate::ops::settings::read_file;
use crate::ops::watch::files::{Outcome, Watched};
use crate::runtime::operator::Caller;
use crate::shard::operator::OperatorRequest;

/// How often the file is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// What the list is called where files are watched.
pub const WORDS: &str = "words";

/// Where the words stand, and what is done about them.
#[derive(Clone, Debug)]
pub struct WordsFile {
    path: PathBuf,
    action: Action,
}

/// What tells one state of a file from another.
type Stamp = Option<(SystemTime, u64)>;

impl WordsFile {
    /// The file of the configuration, if there is one.
    #[must_use]
    pub fn of(config: &ChatConfig) -> Option<WordsFile> {
        let path = PathBuf::from(config.words_file.as_ref()?);
        Some(WordsFile { path, action: config.words_action })
    }

    /// Reads the list.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(&self) -> Result<WordList, Problems> {
        let name = self.path.display().to_string();
        let mut problems = Problems::new();
        match read_file(&self.path).map(|text| WordList::parse(&text, self.action)) {
            Ok(Ok(words)) => return Ok(words),
            Ok(Err(errors)) => {
                for error in errors {
                    let origin = Origin::File { name: name.clone(), line: error.line };
                    problems.push(origin, "", error.reason);
                }
            }
            Err(reason) => problems.push(Origin::File { name, line: None }, "", reason),
        }
        Err(problems)
    }

    fn stamp(&self) -> Stamp {
        let metadata = fs::metadata(&self.path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    }

    /// Where it stands.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The file of a running gateway.
pub struct WatchedWords {
    file: WordsFile,
    caller: Caller,
    /// The state of the file that was read last, good or broken.
    seen: Stamp,
    /// It was said that there is no such file.
    is_told: bool,
}

impl WatchedWords {
    /// Looks after a file whose words the shards were started with.
    #[must_use]
    pub fn new(file: WordsFile, caller: Caller) -> WatchedWords {
        // What changed since the start is seen by the first look, which finds no state known.
        WatchedWords { file, caller, seen: None, is_told: false }
    }

    fn read_again(&mut self) -> Outcome {
        let path = self.file.path().display();
        let words = match self.file.read() {
            Ok(words) => Arc::new(words),
            Err(problems) => {
                tracing::error!(%path, %problems, "the list of words is broken; the one before stays in force");
                if let Err(error) = self.caller.call(OperatorRequest::NoteBrokenWords) {
                    tracing::warn!(%error, "a broken list of words was not counted");
                }
                return Err(problems.to_string());
            }
        };
        let count = words.count();
        match self.caller.call(OperatorRequest::SetWords(words)) {
            Ok(_) => {
                tracing::info!(%path, words = count, "the list of words is in force");
                Ok(count)
            }
            Err(error) => {
                tracing::error!(%error, "the list of words is not in force on every shard yet");
                // The next look tries again.
                (self.seen, self.is_told) = (None, false);
                Err(error.to_string())
            }
        }
    }
}

/// What would become of a text, as it is told over HTTP.
///
/// | field | meaning |
/// |---|---|
/// | `outcome` | `passes`, `replaced` (with a `*` for each character of its words) or `refused` |
/// | `becomes` | the text as it would go out; null where it is refused |
/// | `refusal` | null, or `{code, message}`: `empty`, `too_long` or `word` |
/// | `found` | words of the list in it, in order, 50 at most: `text`, `line`, `action`, `whole` |
/// | `words`, `bytes_max` | words that are in force, and bytes that a text may have |
#[must_use]
pub fn trial_json(trial: &Trial) -> Value {
    let (outcome, becomes, refusal) = match &trial.outcome {
        Ok(Said { text, is_replaced: true }) => ("replaced", Some(text), None),
        Ok(Said { text, is_replaced: false }) => ("passes", Some(text), None),
        Err(refusal) => ("refused", None, Some(refusal)),
    };
    let refusal = refusal.map(|it| json!({ "code": refusal_word(*it), "message": it.to_string() }));
    json!({
        "outcome": outcome,
        "becomes": becomes,
        "refusal": refusal,
        "found": trial.found.iter().map(found_json).collect::<Vec<_>>(),
        "words": trial.word_count,
        "bytes_max": trial.bytes_max,
    })
}

fn found_json(found: &FoundWord) -> Value {
    let FoundWord { text, line, action, is_whole } = found;
    let action = match action {
        Action::Replace => "replace",
        Action::Refuse => "refuse",
    };
    json!({ "text": text, "line": line, "action": action, "whole": is_whole })
}

fn refusal_word(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Empty => "empty",
        Refusal::TooLong { .. } => "too_long",
        Refusal::Word => "word",
        Refusal::Muted { .. }
        | Refusal::TooFast { .. }
        | Refusal::Duplicate
        | Refusal::Flood
        | Refusal::Overloaded { .. }
        | Refusal::OpaqueForbidden => panic!("nobody says a text that is tried: {refusal}"),
    }
}

impl Watched for WatchedWords {
    fn name(&self) -> &'static str {
        WORDS
    }

    fn interval(&self) -> Duration {
        LOOK_INTERVAL
    }

    fn look(&mut self) {
        let stamp = self.file.stamp();
        if stamp != self.seen || (stamp.is_none() && !self.is_told) {
            self.seen = stamp;
            self.is_told = stamp.is_none();
            let _ = self.read_again();
        }
    }

    fn reload(&mut self) -> Outcome {
        self.seen = self.file.stamp();
        self.read_again()
    }
}
