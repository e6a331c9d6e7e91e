//! `tidegate demo`: a whole show with real players against a real gateway, in one process.
//!
//! [`play`] is the library's way to do it: it starts the gateway on a free loopback port, sends a
//! [`Swarm`](crate::player::swarm::Swarm) of players there, runs the show as an operator would,
//! and compares at the end what the gateway says with what the players counted themselves.
//! [`demo`] is the command around it: show file, progress, summary, exit status. With `--keep` it
//! plays such shows one after the other, and people may play too (`keep`).

mod books;
mod keep;
mod operator;
mod outcome;
mod progress;
mod stage;

use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;

use crate::ops::cli::{DemoArguments, ExitStatus};
use crate::ops::commands::{Surroundings, complain};
use crate::ops::http::HttpError;
use crate::ops::problems::{Origin, Problems};
use crate::ops::settings::read_file;
use crate::ops::show_file::{self, Pace, ShowFile};
use crate::player::swarm::SwarmError;
use crate::quiz::definition::ShowDefinition;
use crate::runtime::data::DataError;
use crate::runtime::feed::FeedError;
use crate::runtime::gateway::{CallError, StartError};

pub use books::LedgerOutcome;
pub use outcome::{Coverage, DemoOutcome, QuestionOutcome, own_game_hash};
use progress::Progress;
pub(in crate::ops) use stage::gateway_settings;

/// Why a demo could not be played to its end.
#[derive(Debug, Error)]
pub enum DemoError {
    /// The gateway did not start.
    #[error("the gateway did not start: {0}")]
    Gateway(#[from] StartError),
    /// The folder.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The book.
    #[error("the ledger cannot begin: {0}")]
    Ledger(#[from] FeedError),
    /// The folder has a deployment.
    #[error(
        "{}: there is a deployment in this folder already; give the demo a new one",
        .0.display()
    )]
    UsedBefore(PathBuf),
    /// The players did not start.
    #[error("the players did not start: {0}")]
    Swarm(#[from] SwarmError),
    /// An order to the show got no answer or was refused.
    #[error("{order}: {error}")]
    Order {
        /// What was ordered.
        order: &'static str,
        /// What the gateway said.
        error: CallError,
    },
    /// Something did not happen in the time that it may take.
    #[error("{what} did not happen within {seconds} s; is this host busy with something else?")]
    TooSlow {
        /// What was waited for.
        what: String,
        /// How long, seconds.
        seconds: u64,
    },
    /// The players' thread ended before the show did.
    #[error("the players' thread ended before the show did")]
    SwarmEnded,
    /// The operator's HTTP.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// Signals.
    #[error("SIGTERM and SIGINT cannot be watched: {0}; raise the limits on threads and files")]
    Signals(#[source] std::io::Error),
    /// The output is gone.
    #[error("the addresses cannot be printed: {0}")]
    Output(#[source] std::io::Error),
    /// A signal asked for the end.
    #[error("the demo was stopped")]
    Stopped,
    /// A question was late on some shard beyond all extensions.
    #[error(
        "question {0} reached a part of the gateway too late and cannot count; play with fewer players"
    )]
    VoidNeeded(u16),
}

/// `tidegate demo`: success only if every check held.
pub fn demo(arguments: &DemoArguments, surroundings: &mut Surroundings<'_>) -> ExitStatus {
    let show = match load_show(arguments.show.as_ref()) {
        Ok(show) => show,
        Err(problems) => return complain(&problems, surroundings.complaints),
    };
    let mut progress = if arguments.json { Progress::hidden() } else { Progress::shown() };
    if arguments.keep {
        let kept = keep::run(arguments, show, &mut progress, surroundings);
        progress.end();
        return kept.unwrap_or_else(|error| {
            // If even complaining fails, the status still tells.
            let _ = writeln!(surroundings.complaints, "{error}");
            ExitStatus::Failed
        });
    }
    let outcome = match stage::play(arguments, show, &mut progress) {
        Ok(outcome) => outcome,
        Err(error) => {
            progress.end();
            // If even complaining fails, the status still tells.
            let _ = writeln!(surroundings.complaints, "{error}");
            return ExitStatus::Failed;
        }
    };
    progress.end();
    let written = if arguments.json {
        writeln!(surroundings.output, "{}", outcome.to_json())
    } else {
        write!(surroundings.output, "{}", outcome.summary())
    };
    let flushed = written.and_then(|()| surroundings.output.flush());
    if flushed.is_ok() && outcome.violations.count() == 0 {
        ExitStatus::Success
    } else {
        ExitStatus::Failed
    }
}

/// Plays the show that `arguments` ask for, without progress or output.
///
/// # Errors
/// If it could not be played to its end. Broken promises are no error: they are in the outcome.
pub fn play(arguments: &DemoArguments, show: ShowFile) -> Result<DemoOutcome, DemoError> {
    stage::play(arguments, show, &mut Progress::hidden())
}

/// The show of the file, or the bundled one.
///
/// # Errors
/// Everything that is wrong with the file.
pub fn load_show(path: Option<&PathBuf>) -> Result<ShowFile, Problems> {
    let Some(path) = path else {
        return Ok(show_file::bundled());
    };
    let name = path.display().to_string();
    match read_file(path) {
        Ok(text) => show_file::parse(&name, &text),
        Err(reason) => {
            let mut problems = Problems::new();
            problems.push_unreadable(Origin::File { name, line: None }, reason);
            Err(problems)
        }
    }
}

/// The show as it is played: as many questions as were asked for, from the beginning again if it
/// has fewer, and with the countdown that was asked for.
fn as_played(arguments: &DemoArguments, show: &ShowFile) -> (Arc<ShowDefinition>, Pace) {
    let mut definition = show.definition.clone();
    let questions = std::mem::take(&mut definition.questions);
    definition.questions =
        questions.into_iter().cycle().take(usize::from(arguments.questions)).collect();
    if let Some(countdown_ms) = arguments.countdown_ms {
        definition.timing.countdown = std::time::Duration::from_millis(countdown_ms);
    }
    (Arc::new(definition), show.pace.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(questions: u16) -> DemoArguments {
        DemoArguments {
            players: 1,
            questions,
            countdown_ms: Some(1_234),
            shards: None,
            seed: 1,
            force_retry: 0,
            show: None,
            data: None,
            json: true,
            keep: false,
            listen: None,
            guests: None,
        }
    }

    #[test]
    fn a_show_is_cut_or_repeated_to_the_questions_asked_for() {
        let bundled = show_file::bundled().definition.questions;
        for count in [1, 3, bundled.len() + 2] {
            let asked = arguments(u16::try_from(count).unwrap());
            let (definition, _) = as_played(&asked, &show_file::bundled());
            assert_eq!(definition.questions.len(), count);
            assert_eq!(definition.questions[count - 1], bundled[(count - 1) % bundled.len()]);
            assert_eq!(definition.timing.countdown.as_millis(), 1_234);
        }
    }

    #[test]
    fn a_wrong_show_file_is_refused_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("show.toml");
        std::fs::write(&path, "id = 1\nprize_pool_cents = -5\n").unwrap();
        let asked = DemoArguments { show: Some(path), ..arguments(1) };
        let (mut output, mut complaints) = (Vec::new(), Vec::new());
        let mut surroundings = Surroundings {
            environment: vec![],
            now_unix_s: 0,
            output: &mut output,
            complaints: &mut complaints,
        };
        assert_eq!(demo(&asked, &mut surroundings), ExitStatus::Settings);
        let complaints = String::from_utf8(complaints).unwrap();
        assert!(complaints.contains("show.toml:2: prize_pool_cents"), "{complaints}");
        assert!(output.is_empty());
    }
}
