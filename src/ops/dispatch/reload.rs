//! The dispatcher's file, read at the start and again on SIGHUP: whole or not at all.
//!
//! The file, the files of tokens and the certificates are read and checked each time in the same way.
//! If anything is wrong, or a key has changed that only a restart can put in force, what was in force
//! stays, and the log says why.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use ureq::Agent;

use super::DispatchError;
use super::ask;
use super::settings::DispatchSettings;

/// What the settings are read from.
pub(super) struct Source {
    pub(super) path: PathBuf,
    /// As it was at the start: nobody can change that of a process from outside.
    pub(super) environment: Vec<(OsString, OsString)>,
}

/// Settings that can be put in force.
pub(super) struct Loaded {
    pub(super) settings: Arc<DispatchSettings>,
    /// Asks gateways by them.
    pub(super) agent: Agent,
}

impl Source {
    /// # Errors
    /// Everything that is wrong with the settings, or with the certificates.
    pub(super) fn load(&self) -> Result<Loaded, DispatchError> {
        let settings = DispatchSettings::load(&self.path, &self.environment)?;
        let agent = ask::agent(&settings).map_err(DispatchError::Certificates)?;
        Ok(Loaded { settings: Arc::new(settings), agent })
    }

    /// Reads them again.
    ///
    /// # Errors
    /// Why what is in force stays, in one line.
    pub(super) fn load_again(&self, in_force: &DispatchSettings) -> Result<Loaded, String> {
        let loaded = self.load().map_err(|error| match error {
            DispatchError::Settings(problems) => {
                let list: Vec<String> = problems.list().iter().map(ToString::to_string).collect();
                list.join("; ")
            }
            other => other.to_string(),
        })?;
        let fixed = fixed(in_force, &loaded.settings);
        if fixed.is_empty() {
            return Ok(loaded);
        }
        Err(format!("these need a restart, and nothing was changed: {}", fixed.join(", ")))
    }
}

/// Keys that differ, and that were used up at the start.
fn fixed(before: &DispatchSettings, after: &DispatchSettings) -> Vec<&'static str> {
    let all = [
        ("listen", before.listen != after.listen),
        ("operator_listen", before.operator_listen != after.operator_listen),
        ("connections_max", before.connections_max != after.connections_max),
        ("log_format", before.log_format != after.log_format),
    ];
    all.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
}

/// Gateways that have come and gone, for the log.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Moved {
    pub(super) added: Vec<String>,
    pub(super) removed: Vec<String>,
}

impl Moved {
    pub(super) fn between(before: &DispatchSettings, after: &DispatchSettings) -> Moved {
        let operators = |settings: &DispatchSettings| -> BTreeSet<String> {
            settings.gateways.iter().map(|it| it.operator.clone()).collect()
        };
        let names_without = |settings: &DispatchSettings, others: &BTreeSet<String>| {
            let only = settings.gateways.iter().filter(|it| !others.contains(&it.operator));
            only.map(|it| it.name.clone()).collect()
        };
        Moved {
            added: names_without(after, &operators(before)),
            removed: names_without(before, &operators(after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(top: &str, gateways: &[(&str, u16)]) -> DispatchSettings {
        let gateways: String = gateways
            .iter()
            .map(|(name, port)| {
                format!(
                    "[[gateways]]\nname = \"{name}\"\nurls = [\"wss://{name}.example/\"]\n\
                     operator = \"http://127.0.0.1:{port}\"\n"
                )
            })
            .collect();
        let text = format!("{top}\n{gateways}");
        DispatchSettings::parse("d.toml", &text, &[], &|_| Err(String::new())).unwrap()
    }

    #[test]
    fn what_was_used_up_at_the_start_needs_a_restart_and_nothing_else_does() {
        let one = [("a", 1)];
        let before = settings("", &one);
        for (top, expected) in [
            ("listen = \"127.0.0.1:1\"", &["listen"][..]),
            ("operator_listen = \"127.0.0.1:1\"", &["operator_listen"]),
            ("connections_max = 7\nlog_format = \"json\"", &["connections_max", "log_format"]),
            ("interval_ms = 700\ntimeout_ms = 60\nfailures_max = 1\nttl_s = 1\nlist_max = 1", &[]),
            ("origins = [\"*\"]\nlog_level = \"debug\"\ncertificates_file = \"ca.pem\"", &[]),
        ] {
            assert_eq!(fixed(&before, &settings(top, &one)), expected, "{top}");
        }
        assert!(fixed(&before, &settings("", &[("b", 2), ("c", 3)])).is_empty());
    }

    #[test]
    fn gateways_are_told_by_where_their_operator_is() {
        let before = settings("", &[("a", 1), ("b", 2), ("c", 3)]);
        let after = settings("", &[("renamed", 2), ("c", 4), ("a", 1)]);
        let expected = Moved { added: vec!["c".to_owned()], removed: vec!["c".to_owned()] };
        assert_eq!(Moved::between(&before, &after), expected);
    }
}
