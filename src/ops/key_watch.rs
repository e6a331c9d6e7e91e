//! The file with the public keys of access tokens, read again when it changes.
//!
//! A thread of its own looks at the file now and then, compares its text and gives new keys to all
//! shards; no shard ever waits for a file. A file that cannot be used changes nothing: the keys that
//! were read last go on, the log says what is wrong with it, and metrics show it.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use flume::{Receiver, RecvTimeoutError, Sender};

use crate::auth::keys::{Jwks, KeySet};
use crate::ops::config::Config;
use crate::ops::settings::read_file;
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

/// The watching thread. Dropped without [`KeyWatch::stop`], it ends too, but nobody waits.
pub struct KeyWatch {
    /// Dropped to stop.
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl KeyWatch {
    /// Begins to watch `auth.jwks_file`, if the configuration has one.
    ///
    /// # Errors
    /// If there is no thread to be had.
    pub fn start(
        config: &Config,
        caller: Caller,
        status: Arc<KeyStatus>,
    ) -> io::Result<Option<KeyWatch>> {
        let (Some(path), Some(text)) = (&config.auth.jwks_file, &config.auth.jwks) else {
            return Ok(None);
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
        let (stop, stopped) = flume::bounded(0);
        let thread = std::thread::Builder::new()
            .name("token-keys".to_owned())
            .spawn(move || watch(file, poll, &stopped, &caller, &status))?;
        Ok(Some(KeyWatch { stop, thread }))
    }

    /// Ends the thread and waits for it.
    pub fn stop(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!("the thread that watches the token keys had panicked");
        }
    }
}

fn watch(
    mut file: KeyFile,
    poll: Duration,
    stopped: &Receiver<()>,
    caller: &Caller,
    status: &KeyStatus,
) {
    while stopped.recv_timeout(poll) == Err(RecvTimeoutError::Timeout) {
        match file.look(read_file(Path::new(&file.path))) {
            Look::Nothing => {}
            Look::Recovered => status.is_stale.store(false, Ordering::Relaxed),
            Look::Unusable(reason) => {
                let path = &file.path;
                tracing::error!(path, reason, "auth.jwks_file cannot be used; the keys stay");
                status.failed();
            }
            Look::Keys(jwks) => take(&mut file, jwks, caller, status),
        }
    }
}

/// Gives new keys to all shards. One that did not answer may have them or not; it is asked again.
fn take(file: &mut KeyFile, jwks: Jwks, caller: &Caller, status: &KeyStatus) {
    let keys = Arc::new(jwks.keys.clone());
    match caller.call(OperatorRequest::SetKeys(Arc::clone(&keys))) {
        Ok(_) => {
            announce(&file.path, &jwks);
            status.taken(&keys);
            status.reloads.fetch_add(1, Ordering::Relaxed);
            file.taken();
        }
        Err(error) => {
            tracing::error!(%error, "the new token keys did not reach every shard; trying again");
            status.failed();
            file.not_taken();
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
