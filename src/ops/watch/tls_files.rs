//! Certificates in files: read at start, and again when they change.

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use thiserror::Error;

use crate::ops::config::Config;
use crate::ops::config::checks::comma_separated;
use crate::ops::watch::files::{Outcome, Watched};
use crate::runtime::gateway::Orders;
use crate::tls::{CertifiedFiles, ConfigError, Ticketing, TlsConfig};

/// Why certificates could not be read.
#[derive(Debug, Error)]
pub enum TlsFilesError {
    /// A file.
    #[error("{file}: {error}")]
    File {
        /// Which.
        file: String,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// What is in them.
    #[error(transparent)]
    Content(#[from] ConfigError),
}

/// When a file was written last, and how long it is; nothing if it cannot be seen.
type Stamp = Option<(SystemTime, u64)>;

/// The files, and what they were like when they were read last.
#[derive(Debug)]
pub struct TlsFiles {
    /// Certificate and key of each.
    pairs: Vec<(String, String)>,
    tickets: Ticketing,
    stamps: Vec<Stamp>,
}

impl TlsFiles {
    /// The files that a configuration names; nothing if TLS is not spoken.
    ///
    /// # Errors
    /// If there are no keys for tickets.
    pub fn new(config: &Config) -> Result<Option<TlsFiles>, TlsFilesError> {
        let list = |text: &Option<String>| -> Vec<String> {
            comma_separated(text.as_deref().unwrap_or_default()).map(str::to_owned).collect()
        };
        let keys = list(&config.tls.key_files);
        let pairs: Vec<_> = list(&config.tls.certificate_files).into_iter().zip(keys).collect();
        if pairs.is_empty() {
            return Ok(None);
        }
        Ok(Some(TlsFiles { pairs, tickets: Ticketing::new()?, stamps: Vec::new() }))
    }

    /// Whether the files that a configuration names could be used.
    ///
    /// # Errors
    /// The first that cannot.
    pub fn check(config: &Config) -> Result<(), TlsFilesError> {
        TlsFiles::new(config)?.as_mut().map(TlsFiles::load).transpose().map(drop)
    }

    /// Reads all of them.
    ///
    /// # Errors
    /// The first that cannot be read or used.
    pub fn load(&mut self) -> Result<TlsConfig, TlsFilesError> {
        // Before they are read: a file that changes meanwhile is read again.
        self.stamps = self.look();
        let read = |file: &String| {
            fs::read(file).map_err(|error| TlsFilesError::File { file: file.clone(), error })
        };
        let mut files = Vec::with_capacity(self.pairs.len());
        for (certificate, key) in &self.pairs {
            files.push(CertifiedFiles {
                certificate_name: certificate.clone(),
                certificate: read(certificate)?,
                key_name: key.clone(),
                key: read(key)?,
            });
        }
        Ok(TlsConfig::new(&files, &self.tickets)?)
    }

    /// Whether any was written since they were read last, also in vain.
    #[must_use]
    pub fn have_changed(&self) -> bool {
        self.look() != self.stamps
    }

    fn look(&self) -> Vec<Stamp> {
        let stamp = |file: &String| {
            let data = fs::metadata(file).ok()?;
            Some((data.modified().ok()?, data.len()))
        };
        self.pairs.iter().flat_map(|(certificate, key)| [stamp(certificate), stamp(key)]).collect()
    }
}

/// Time between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// How often certificates were read again.
#[derive(Debug, Default)]
pub struct TlsStatus {
    reloads: AtomicU64,
    errors: AtomicU64,
}

impl TlsStatus {
    /// Times at which renewed certificates were given to the shards.
    #[must_use]
    pub fn reloads(&self) -> u64 {
        self.reloads.load(Ordering::Relaxed)
    }

    /// Times at which they could not be used.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }
}

/// The certificates of a running gateway.
pub struct WatchedTls {
    files: TlsFiles,
    orders: Orders,
    status: Arc<TlsStatus>,
}

impl WatchedTls {
    /// Looks after files that the shards were started with.
    #[must_use]
    pub fn new(files: TlsFiles, orders: Orders, status: Arc<TlsStatus>) -> WatchedTls {
        WatchedTls { files, orders, status }
    }
}

impl Watched for WatchedTls {
    fn name(&self) -> &'static str {
        "certificates"
    }

    fn interval(&self) -> Duration {
        LOOK_INTERVAL
    }

    fn look(&mut self) {
        if self.files.have_changed() {
            // What is wrong with them is in the log.
            let _ = self.reload();
        }
    }

    fn reload(&mut self) -> Outcome {
        match self.files.load() {
            Ok(config) => {
                self.orders.renew_tls(&config);
                self.status.reloads.fetch_add(1, Ordering::Relaxed);
                tracing::info!("certificates are renewed: new connections get them");
                Ok(self.files.pairs.len())
            }
            Err(error) => {
                self.status.errors.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%error, "certificates are not renewed: the old ones stay");
                Err(error.to_string())
            }
        }
    }
}
