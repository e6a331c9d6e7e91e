//! The file with the public keys of access tokens, read again when it changes.
//!
//! Its text is compared, and new keys are given to all shards ([`crate::ops::watch::files`] says
//! when). A file that cannot be used changes nothing: the keys that were read last go on, the log says
//! what is wrong with it, and metrics show it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use crate::auth::keys::{Jwks, KeySet};
use crate::auth::token::TokenVerifier;
use crate::ops::config::Config;
use crate::ops::settings::read_file;
use crate::ops::watch::files::{Outcome, Watched};
use crate::runtime::gateway::Caller;
use crate::shard::operator::OperatorRequest;

/// What metrics show of the keys.
#[derive(Debug, Default)]
pub struct KeyStatus {
    public_keys: AtomicU64,
    reloads: AtomicU64,
    errors: AtomicU64,
    is_stale: AtomicBool,
}

/// [`KeyStatus`] at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyCounts {
    /// Public keys that tokens are verified with.
    pub public_keys: u64,
    /// Times at which other keys were taken from the file.
    pub reloads: u64,
    /// Times at which the file had changed and could not be used, or the shards did not take it.
    pub errors: u64,
    /// The file as it is now is not what tokens are verified with.
    pub is_stale: bool,
}

impl KeyStatus {
    /// The counts now.
    #[must_use]
    pub fn counts(&self) -> KeyCounts {
        KeyCounts {
            public_keys: self.public_keys.load(Ordering::Relaxed),
            reloads: self.reloads.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
            is_stale: self.is_stale.load(Ordering::Relaxed),
        }
    }

    fn failed(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        self.is_stale.store(true, Ordering::Relaxed);
    }

    fn taken(&self, keys: &KeySet) {
        self.public_keys.store(keys.public_count() as u64, Ordering::Relaxed);
        self.is_stale.store(false, Ordering::Relaxed);
    }
}

/// What a look at the file found.
#[derive(Debug)]
enum Look {
    /// What was there before, good or bad.
    Nothing,
    /// Other keys.
    Keys(Jwks),
    /// Something that cannot be used.
    Unusable(String),
    /// The keys that are in use already, after something that could not be used.
    Recovered,
}

/// The file, and what is known of it.
struct KeyFile {
    path: String,
    config: Config,
    /// What the last look found, good or bad.
    seen: Result<String, String>,
    /// The text of the keys in use.
    in_use: String,
}

impl KeyFile {
    fn look(&mut self, found: Result<String, String>) -> Look {
        if found == self.seen {
            return Look::Nothing;
        }
        self.seen = found;
        match &self.seen {
            Err(reason) => Look::Unusable(reason.clone()),
            Ok(text) if *text == self.in_use => Look::Recovered,
            Ok(text) => match self.config.token_keys(Some(text)) {
                Ok(jwks) => Look::Keys(jwks),
                Err(errors) => {
                    let reasons: Vec<String> = errors.iter().map(ToString::to_string).collect();
                    Look::Unusable(reasons.join("; "))
                }
            },
        }
    }

    /// The shards took what was seen.
    fn taken(&mut self) {
        if let Ok(text) = &self.seen {
            self.in_use.clone_from(text);
        }
    }

    /// They did not: the next look finds it again.
    fn not_taken(&mut self) {
        self.seen = Ok(self.in_use.clone());
    }
}

/// The keys of a running gateway.
pub struct WatchedKeys {
    file: KeyFile,
    poll: Duration,
    caller: Caller,
    status: Arc<KeyStatus>,
    /// Whoever else verifies tokens.
    verifier: watch::Sender<Arc<TokenVerifier>>,
}

impl WatchedKeys {
    /// Looks after `auth.jwks_file`, if the configuration has one; the shards were started with its
    /// keys.
    #[must_use]
    pub fn of(
        config: &Config,
        caller: Caller,
        status: Arc<KeyStatus>,
        verifier: watch::Sender<Arc<TokenVerifier>>,
    ) -> Option<WatchedKeys> {
        let (Some(path), Some(text)) = (&config.auth.jwks_file, &config.auth.jwks) else {
            return None;
        };
        if let Ok(jwks) = config.token_keys(Some(text)) {
            announce(path, &jwks);
            status.taken(&jwks.keys);
        }
        let file = KeyFile {
            path: path.clone(),
            config: config.clone(),
            seen: Ok(text.clone()),
            in_use: text.clone(),
        };
        let poll = Duration::from_millis(config.auth.jwks_poll_ms);
        Some(WatchedKeys { file, poll, caller, status, verifier })
    }
}

impl Watched for WatchedKeys {
    fn name(&self) -> &'static str {
        "keys"
    }

    fn interval(&self) -> Duration {
        self.poll
    }

    fn look(&mut self) {
        let WatchedKeys { file, caller, status, verifier, .. } = self;
        match file.look(read_file(Path::new(&file.path))) {
            Look::Nothing => {}
            Look::Recovered => status.is_stale.store(false, Ordering::Relaxed),
            Look::Unusable(reason) => {
                let path = &file.path;
                tracing::error!(path, reason, "auth.jwks_file cannot be used; the keys stay");
                status.failed();
            }
            Look::Keys(jwks) => {
                let keys = Arc::new(jwks.keys.clone());
                if take(file, jwks, caller, status) {
                    let policy = file.config.token_policy();
                    verifier.send_replace(Arc::new(TokenVerifier::with_keys(keys, policy)));
                }
            }
        }
    }

    /// What is as it was need not be taken again: its text was compared.
    fn reload(&mut self) -> Outcome {
        self.look();
        let counts = self.status.counts();
        if counts.is_stale {
            return Err("the file cannot be used; the log says why".to_owned());
        }
        Ok(usize::try_from(counts.public_keys).unwrap_or(usize::MAX))
    }
}

/// Gives new keys to all shards, and says whether they have them. One that did not answer may have them or not; it is asked again.
fn take(file: &mut KeyFile, jwks: Jwks, caller: &Caller, status: &KeyStatus) -> bool {
    let keys = Arc::new(jwks.keys.clone());
    match caller.call(OperatorRequest::SetKeys(Arc::clone(&keys))) {
        Ok(_) => {
            announce(&file.path, &jwks);
            status.taken(&keys);
            status.reloads.fetch_add(1, Ordering::Relaxed);
            file.taken();
            true
        }
        Err(error) => {
            tracing::error!(%error, "the new token keys did not reach every shard; trying again");
            status.failed();
            file.not_taken();
            false
        }
    }
}

fn announce(path: &str, jwks: &Jwks) {
    for note in &jwks.left_out {
        tracing::warn!(path, "{note}");
    }
    tracing::info!(path, keys = jwks.keys.public_count(), "token keys");
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    const JWKS: &str = include_str!("../../tests/keys/jwks.json");

    fn file() -> KeyFile {
        KeyFile {
            path: "jwks.json".to_owned(),
            config: Config::default(),
            seen: Ok(JWKS.to_owned()),
            in_use: JWKS.to_owned(),
        }
    }

    #[test]
    fn only_a_change_is_told_and_only_once() {
        let mut file = file();
        let fewer = JWKS.replacen("\"sig\"", "\"enc\"", 1);
        assert!(matches!(file.look(Ok(JWKS.to_owned())), Look::Nothing));
        let Look::Keys(jwks) = file.look(Ok(fewer.clone())) else { panic!("other keys") };
        assert_eq!(jwks.keys.public_count(), 3);
        file.taken();
        assert!(matches!(file.look(Ok(fewer)), Look::Nothing));
    }

    #[test]
    fn what_cannot_be_used_changes_nothing() {
        let mut file = file();
        for (found, expected) in [
            (Err("cannot be opened".to_owned()), expect!["cannot be opened"]),
            (
                Ok(JWKS[..900].to_owned()),
                expect![
                    "is not a JSON Web Key Set, an object with an array `keys`: EOF while parsing an object at line 29 column 5"
                ],
            ),
            (
                Ok(JWKS.replacen("\"kid\": \"ec\"", "\"kid\": \"rsa\"", 1)),
                expect![[
                    r#"keys[1] (kid "rsa"): has the `kid` of an earlier key; give each its own"#
                ]],
            ),
        ] {
            let Look::Unusable(reason) = file.look(found.clone()) else { panic!("{found:?}") };
            expected.assert_eq(&reason);
            assert!(matches!(file.look(found), Look::Nothing), "told once");
        }
        assert!(matches!(file.look(Ok(JWKS.to_owned())), Look::Recovered));
    }

    #[test]
    fn keys_that_the_shards_did_not_take_are_found_again() {
        let mut file = file();
        let fewer = JWKS.replacen("\"sig\"", "\"enc\"", 1);
        for _ in 0..2 {
            assert!(matches!(file.look(Ok(fewer.clone())), Look::Keys(_)));
            file.not_taken();
        }
    }
}
