//! The configuration, read again on SIGHUP: whole or not at all.
//!
//! File, environment and flags are read and checked as at the start. If anything is wrong, or a key
//! has changed that only a restart can put in force ([`Key::is_live`]), nothing changes, and the log
//! says what. Otherwise the shards go on by the new values, in the order of their mail, and so do the
//! limits on connecting, those on memory, the log, and the next drain. Whoever is connected stays.
//!
//! [`Key::is_live`]: crate::ops::config::keys::Key::is_live

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use crate::ops::config::{Config, keys};
use crate::ops::drain::DrainSettings;
use crate::ops::gateway_settings::{gate_settings, live_settings};
use crate::ops::log::LogHandle;
use crate::ops::settings::{Settings, SettingsSources};
use crate::ops::watch::files::{Outcome, Watched};
use crate::ops::watch::pressure::PressureLimits;
use crate::runtime::gateway::{Caller, GateHandle};
use crate::shard::operator::OperatorRequest;

/// It is read when it is asked for only: nobody wants half of an edit.
const INTERVAL: Duration = Duration::from_secs(3_600);

/// What metrics show of the configuration.
#[derive(Debug, Default)]
pub struct ConfigStatus {
    reloads: AtomicU64,
    errors: AtomicU64,
    is_stale: AtomicBool,
}

/// [`ConfigStatus`] at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConfigCounts {
    /// Times at which it was read again and is in force.
    pub reloads: u64,
    /// Times at which it was read again and nothing changed, because it could not be put in force.
    pub errors: u64,
    /// The last time was such a time.
    pub is_stale: bool,
}

impl ConfigStatus {
    /// The counts now.
    #[must_use]
    pub fn counts(&self) -> ConfigCounts {
        ConfigCounts {
            reloads: self.reloads.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
            is_stale: self.is_stale.load(Ordering::Relaxed),
        }
    }

    /// It was read again.
    pub(crate) fn note(&self, is_in_force: bool) {
        let count = if is_in_force { &self.reloads } else { &self.errors };
        count.fetch_add(1, Ordering::Relaxed);
        self.is_stale.store(!is_in_force, Ordering::Relaxed);
    }
}

/// Those who go on by other values.
pub struct Followers {
    /// The shards.
    pub caller: Caller,
    /// Limits on connecting.
    pub gate: GateHandle,
    /// Limits on memory.
    pub pressure: watch::Sender<PressureLimits>,
    /// The next drain.
    pub drain: watch::Sender<DrainSettings>,
    /// The log.
    pub log: LogHandle,
}

impl Followers {
    /// Shards first: they are who may not answer, and then nobody else has anything new.
    fn take(&self, config: &Config) -> Result<(), String> {
        let live = Arc::new(live_settings(config));
        self.caller.call(OperatorRequest::SetLive(live)).map_err(|error| {
            format!("{error}; some shards may have the new settings: reload once more")
        })?;
        self.gate.set(&gate_settings(&config.limits));
        self.pressure.send_replace(pressure_limits(config));
        self.drain.send_replace(DrainSettings::of(config));
        let log = &config.log;
        self.log.set(log.level, log.filter.as_deref()).map_err(|error| error.to_string())
    }
}

/// Limits on memory.
#[must_use]
pub fn pressure_limits(config: &Config) -> PressureLimits {
    PressureLimits {
        user_memory_bytes_max: config.limits.user_memory_bytes_max,
        memory_available_bytes_min: config.limits.memory_available_bytes_min,
    }
}

/// The configuration of a running gateway.
pub struct WatchedConfig {
    sources: SettingsSources,
    /// As it was read, without what was made at the start.
    in_force: Config,
    followers: Followers,
    status: Arc<ConfigStatus>,
}

impl WatchedConfig {
    /// Looks after what `in_force` was read from. Shows are read at the start only.
    #[must_use]
    pub fn new(
        sources: &SettingsSources,
        in_force: Config,
        followers: Followers,
        status: Arc<ConfigStatus>,
    ) -> WatchedConfig {
        let sources = SettingsSources { shows: Vec::new(), ..sources.clone() };
        WatchedConfig { sources, in_force, followers, status }
    }

    fn renew(&mut self) -> Outcome {
        let settings = Settings::load(&self.sources);
        let Settings { config, .. } = settings.map_err(|problems| {
            let problems: Vec<String> = problems.list().iter().map(ToString::to_string).collect();
            problems.join("; ")
        })?;
        let changed = changed(&self.in_force, &config)?;
        self.followers.take(&config)?;
        self.in_force = config;
        Ok(changed.len())
    }
}

/// The keys that differ.
fn changed(before: &Config, after: &Config) -> Result<Vec<String>, String> {
    let differs = |key: &&keys::Key| !key.is_same(before, after);
    let (live, fixed): (Vec<_>, Vec<_>) = keys::all().filter(differs).partition(|it| it.is_live());
    let mut fixed: Vec<String> = fixed.into_iter().map(keys::Key::path).collect();
    let (gate, next) = (gate_settings(&before.limits), gate_settings(&after.limits));
    let line = |config: &Config| config.egress.line_rate_mbit > 0;
    for (was, is, what) in [
        (gate.is_on(), next.is_on(), "limits on connecting, from none or to none"),
        (
            gate.counts_addresses(),
            next.counts_addresses(),
            "limits by address, from none or to none",
        ),
        (line(before), line(after), "egress.line_rate_mbit, from 0 or to 0"),
    ] {
        if was != is {
            fixed.push(what.to_owned());
        }
    }
    if fixed.is_empty() {
        return Ok(live.into_iter().map(keys::Key::path).collect());
    }
    Err(format!("these need a restart, and nothing was changed: {}", fixed.join(", ")))
}

impl Watched for WatchedConfig {
    fn name(&self) -> &'static str {
        "config"
    }

    fn interval(&self) -> Duration {
        INTERVAL
    }

    fn look(&mut self) {}

    fn reload(&mut self) -> Outcome {
        let outcome = self.renew();
        self.status.note(outcome.is_ok());
        match &outcome {
            Ok(0) => tracing::info!("the configuration was read again: nothing has changed"),
            Ok(keys) => tracing::info!(keys, "the configuration was read again, and is in force"),
            Err(error) => tracing::error!(error, "the configuration stays as it was"),
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn outcome(change: impl FnOnce(&mut Config)) -> String {
        let before = Config::default();
        let mut after = before.clone();
        change(&mut after);
        match changed(&before, &after) {
            Ok(keys) => keys.join(", "),
            Err(error) => error,
        }
    }

    #[test]
    fn every_key_is_seen_to_change_and_some_need_a_restart() {
        assert_eq!(outcome(|_| {}), "");
        expect!["limits.messages_per_second_max, chat.user_burst, log.filter"].assert_eq(&outcome(
            |config| {
                config.limits.messages_per_second_max += 1;
                config.chat.user_burst += 1;
                config.log.filter = Some("debug".to_owned());
            },
        ));
        expect![
            "these need a restart, and nothing was changed: shards, auth.audience, operator.listen"
        ]
        .assert_eq(&outcome(|config| {
            config.shards += 1;
            config.limits.messages_per_second_max += 1;
            config.operator.listen.set_port(1);
            config.auth.audience = Some("quiz".to_owned());
        }));
        expect!["these need a restart, and nothing was changed: limits on connecting, from none or to none, limits by address, from none or to none, egress.line_rate_mbit, from 0 or to 0"]
            .assert_eq(&outcome(|config| {
                config.limits.connections_per_address_max = 7;
                config.egress.line_rate_mbit = 100;
            }));
    }
}
