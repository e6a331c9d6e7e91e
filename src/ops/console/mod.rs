//! The operations console: pages on the operator's address on which people run shows, behind a login.
//!
//! It decides nothing and has no way of its own to the shows: what is ordered on a page goes through
//! the same [`OperatorPort`](crate::ops::http::OperatorPort) as the bearer-token API, which stays as
//! it is. Every order names the show's last event that its page has seen, and the director's shard
//! refuses it if there is another one since: neither two clicks nor two operators do a thing twice.
//!
//! Invariants: viewers are told nothing that is not revealed; every change needs a session, its token,
//! a page of ours as its origin and a role, and is in the [`audit`] log; what grows is bounded.
//! Deliberately absent: anything on the players' addresses.

pub mod accounts;
mod assets;
pub mod audit;
mod control;
mod door;
mod editing;
mod figures;
mod planning;
mod rehearsing;
pub mod sessions;
mod throttle;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use thiserror::Error;
use tokio::sync::Semaphore;

use crate::base::entropy::SystemEntropy;
use crate::base::ids::{EventNumber, ShowId};
use crate::base::time::Time;
use crate::ops::config::OperatorConfig;
use crate::ops::console::accounts::{Accounts, AccountsError, HashedPassword};
use crate::ops::console::audit::AuditLog;
pub(crate) use crate::ops::console::control::{allowed_at, routes};
use crate::ops::console::sessions::{Lifetimes, Session, Sessions};
use crate::ops::console::throttle::Throttle;
use crate::ops::secret::Secret;
use crate::ops::watch::files::{Outcome, Watched};

#[expect(clippy::disallowed_types, reason = "the operator's own thread; no shard waits for it")]
type Mutex<T> = std::sync::Mutex<T>;

/// How often the accounts' file is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Passwords that are hashed at the same time, 19 MiB each.
const HASHES_MAX: usize = 1;
/// Shows whose last orders are remembered.
const LAST_ORDERS_MAX: usize = 256;

/// Why there is no console.
#[derive(Debug, Error)]
pub enum ConsoleError {
    /// Its accounts.
    #[error("operator.accounts_file: {0}")]
    Accounts(#[from] AccountsError),
    /// Its audit file.
    #[error("the console's audit file cannot be kept in {folder}: {source}")]
    Audit {
        /// The data folder.
        folder: String,
        /// What the system says.
        source: io::Error,
    },
}

/// How the console is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsoleSettings {
    /// The file with the accounts.
    pub accounts_file: PathBuf,
    /// How long sessions live.
    pub lifetimes: Lifetimes,
    /// Cookies are for TLS only, whatever a proxy says of itself.
    pub cookie_secure: bool,
    /// Part of the cookie's name: gateways on one host have one each.
    pub port: u16,
}

impl ConsoleSettings {
    /// What the configuration says; nothing if it wants no console.
    #[must_use]
    pub fn of(config: &OperatorConfig) -> Option<ConsoleSettings> {
        Some(ConsoleSettings {
            accounts_file: PathBuf::from(config.accounts_file.as_ref()?),
            lifetimes: ConsoleSettings::lifetimes_of(config),
            cookie_secure: config.cookie_secure,
            port: config.listen.port(),
        })
    }

    /// How long sessions live, as the configuration says.
    #[must_use]
    pub fn lifetimes_of(config: &OperatorConfig) -> Lifetimes {
        Lifetimes {
            idle: Duration::from_secs(config.session_idle_s),
            whole: Duration::from_secs(config.session_max_s),
        }
    }
}

/// Everything that the pages share.
pub struct Console {
    settings: ConsoleSettings,
    audit: AuditLog,
    state: Mutex<State>,
    hashing: Arc<Semaphore>,
    /// Verified where no account has the name, so that it takes as long.
    nobody: HashedPassword,
}

struct State {
    accounts: Accounts,
    sessions: Sessions,
    throttle: Throttle,
    last_orders: BTreeMap<ShowId, LastOrder>,
}

/// What was ordered of a show last.
#[derive(Clone, Debug, PartialEq, Eq)]
struct LastOrder {
    name: String,
    action: String,
    at: Time,
    at_unix_ms: i64,
    /// The show's last event as whoever ordered it had seen it.
    seen: EventNumber,
}

impl Console {
    /// Reads the accounts and goes on with the audit file in `data`.
    ///
    /// # Errors
    /// If either cannot be used.
    ///
    /// # Panics
    /// If argon2 cannot hash at all.
    pub fn start(settings: ConsoleSettings, data: Option<&Path>) -> Result<Console, ConsoleError> {
        let accounts = Accounts::read(&settings.accounts_file)?;
        if accounts.count() == 0 {
            let path = settings.accounts_file.display();
            tracing::warn!(%path, "the console has no accounts: `tidegate account add` makes one");
        }
        let audit = AuditLog::start(data).map_err(|source| {
            let folder = data.map(|path| path.display().to_string()).unwrap_or_default();
            ConsoleError::Audit { folder, source }
        })?;
        Ok(Console::with(accounts, settings, audit))
    }

    /// With these accounts, and nothing in any file.
    ///
    /// # Panics
    /// If argon2 cannot hash at all.
    #[must_use]
    pub fn in_memory(accounts: Accounts, lifetimes: Lifetimes) -> Console {
        let settings = ConsoleSettings {
            accounts_file: PathBuf::new(),
            lifetimes,
            cookie_secure: false,
            port: 0,
        };
        Console::with(accounts, settings, AuditLog::in_memory())
    }

    fn with(accounts: Accounts, settings: ConsoleSettings, audit: AuditLog) -> Console {
        let mut entropy = SystemEntropy;
        let nobody = HashedPassword::new(b"the password of nobody at all", &mut entropy);
        let Ok(nobody) = nobody else { panic!("a password of this length can be hashed") };
        let state = State {
            accounts,
            sessions: Sessions::new(settings.lifetimes),
            throttle: Throttle::new(&mut entropy),
            last_orders: BTreeMap::new(),
        };
        let (state, hashing) = (Mutex::new(state), Arc::new(Semaphore::new(HASHES_MAX)));
        Console { settings, audit, state, hashing, nobody }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here stops half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes other accounts: sessions of those who are gone or changed end.
    pub fn set_accounts(&self, accounts: Accounts) {
        let mut state = self.state();
        state.sessions.keep_those_of(&accounts);
        state.accounts = accounts;
    }

    fn cookie_name(&self) -> String {
        format!("tidegate_console_{}", self.settings.port)
    }

    fn session(&self, id: &str, now: Time) -> Option<Session> {
        self.state().sessions.find(id, now)
    }

    /// Begins a session if this is the password of the account; takes as long whether there is one or
    /// not.
    async fn log_in(&self, name: &str, password: Secret, now: Time) -> Option<(String, Session)> {
        let account = self.state().accounts.get(name).cloned();
        let hash = account.as_ref().map_or(&self.nobody, |it| &it.password).clone();
        let Ok(_turn) = self.hashing.acquire().await else {
            unreachable!("nobody closes the semaphore");
        };
        let is_right = tokio::task::spawn_blocking(move || hash.is(password.bytes())).await.ok()?;
        let account = account.filter(|_| is_right)?;
        let mut state = self.state();
        // It may be another one by now.
        if state.accounts.get(name) != Some(&account) {
            return None;
        }
        Some(state.sessions.begin(name, account, now, &mut SystemEntropy))
    }

    fn take_try(&self, peer: IpAddr, name: &str, now: Time) -> Result<(), Duration> {
        self.state().throttle.take(peer, name, now)
    }

    fn last_order(&self, show: ShowId) -> Option<LastOrder> {
        self.state().last_orders.get(&show).cloned()
    }

    /// Notes an order before it is carried out, so that who is refused because of it learns whose it
    /// was; the one before.
    fn note_order(&self, show: ShowId, order: LastOrder) -> Option<LastOrder> {
        let mut state = self.state();
        let before = state.last_orders.insert(show, order);
        if state.last_orders.len() > LAST_ORDERS_MAX {
            state.last_orders.pop_first();
        }
        before
    }

    /// The order was refused: the one before stands, unless there is another by now.
    fn forget_order(&self, show: ShowId, order: &LastOrder, before: Option<LastOrder>) {
        let mut state = self.state();
        if state.last_orders.get(&show) == Some(order) {
            match before {
                Some(before) => state.last_orders.insert(show, before),
                None => state.last_orders.remove(&show),
            };
        }
    }
}

/// The accounts' file of a running gateway.
pub struct WatchedAccounts {
    console: Arc<Console>,
    /// The state of the file that was read last, good or broken.
    seen: Option<(SystemTime, u64)>,
}

impl WatchedAccounts {
    /// Looks after the file of a console.
    #[must_use]
    pub fn new(console: Arc<Console>) -> WatchedAccounts {
        // What changed since the start is seen by the first look, which finds no state known.
        WatchedAccounts { console, seen: None }
    }

    fn stamp(&self) -> Option<(SystemTime, u64)> {
        let metadata = fs::metadata(&self.console.settings.accounts_file).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    }
}

impl Watched for WatchedAccounts {
    fn name(&self) -> &'static str {
        "accounts"
    }

    fn interval(&self) -> Duration {
        LOOK_INTERVAL
    }

    fn look(&mut self) {
        if self.stamp() != self.seen {
            let _ = self.reload();
        }
    }

    fn reload(&mut self) -> Outcome {
        self.seen = self.stamp();
        match Accounts::read(&self.console.settings.accounts_file) {
            Ok(accounts) => {
                let count = accounts.count();
                self.console.set_accounts(accounts);
                tracing::info!(accounts = count, "the console's accounts are in force");
                Ok(count)
            }
            Err(error) => {
                tracing::error!(%error, "the console's accounts cannot be read: those before stay in force");
                Err(error.to_string())
            }
        }
    }
}
