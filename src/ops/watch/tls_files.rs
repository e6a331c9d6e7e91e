//! Certificates in files: read at start, and again when they change.

use std::fs;
use std::io;
use std::time::SystemTime;

use thiserror::Error;

use crate::ops::config::Config;
use crate::ops::config::keys::comma_separated;
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
