//! Everything a run is told by files, environment and flags, read and checked in one go.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::base::limits::SETTINGS_FILE_BYTES_MAX;
use crate::ops::config::{Config, Sources};
use crate::ops::problems::{Origin, Problems};
use crate::ops::show_file::{self, ShowFile};

/// What was asked for on the command line, and the environment.
#[derive(Clone, Debug, Default)]
pub struct SettingsSources {
    /// The configuration file.
    pub config: Option<PathBuf>,
    /// The show files.
    pub shows: Vec<PathBuf>,
    /// The whole environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Flags that set keys: (flag, key, value).
    pub flags: Vec<(&'static str, &'static str, String)>,
}

/// What they say.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The configuration.
    pub config: Config,
    /// The shows, in the order of their files.
    pub shows: Vec<ShowFile>,
}

impl Settings {
    /// Reads and checks all of it.
    ///
    /// # Errors
    /// Everything that is wrong with any of it.
    pub fn load(sources: &SettingsSources) -> Result<Settings, Problems> {
        let mut problems = Problems::new();
        let mut read = |path: &PathBuf| {
            let name = path.display().to_string();
            match read_file(path) {
                Ok(text) => Some((name, text)),
                Err(reason) => {
                    problems.push_unreadable(Origin::File { name, line: None }, reason);
                    None
                }
            }
        };
        let file = sources.config.as_ref().and_then(&mut read);
        let shows: Vec<(String, String)> = sources.shows.iter().filter_map(read).collect();
        let config_sources = Sources {
            file,
            environment: sources.environment.clone(),
            flags: sources.flags.clone(),
        };
        let config = Config::load(&config_sources, &|path| read_file(Path::new(path)));
        match (config, show_file::parse_all(&shows)) {
            (Ok(config), Ok(shows)) => problems.none_or(Settings { config, shows }),
            (config, shows) => {
                for errors in [config.err(), shows.err()].into_iter().flatten() {
                    problems.append(errors);
                }
                Err(problems)
            }
        }
    }
}

/// The text of a settings file.
///
/// # Errors
/// Why it cannot be had. A file that is too long comes back one byte too long, which its reader
/// refuses, so that a device or a huge file fills no memory.
pub fn read_file(path: &Path) -> Result<String, String> {
    let file = File::open(path).map_err(|error| format!("cannot be opened: {error}"))?;
    let mut text = String::new();
    file.take(SETTINGS_FILE_BYTES_MAX as u64 + 1)
        .read_to_string(&mut text)
        .map_err(|error| format!("cannot be read: {error}"))?;
    Ok(text)
}
