//! Certificates, by the names that they are for.

use std::fmt;
use std::sync::Arc;

use rustls::client::verify_server_name;
use rustls::crypto::ring::{Ticketer, default_provider, sign::any_supported_type};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ParsedCertificate, ProducesTickets, ResolvesServerCert,
};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, version};
use thiserror::Error;

/// What a WebSocket upgrade is asked over (RFC 6455 needs HTTP/1.1).
const PROTOCOL: &[u8] = b"http/1.1";

/// One certificate with its chain and its key, as the files have them.
#[derive(Clone)]
pub struct CertifiedFiles {
    /// How the certificate's file is called.
    pub certificate_name: String,
    /// PEM: the certificate first, then those that lead to the root.
    pub certificate: Vec<u8>,
    /// How the key's file is called.
    pub key_name: String,
    /// PEM: PKCS#8, SEC1 or PKCS#1.
    pub key: Vec<u8>,
}

/// Why certificates cannot be used. The text names the file and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// There is none.
    #[error("no certificate is named")]
    Nothing,
    /// A file has no certificate in it.
    #[error("{file}: no certificate: {reason}; the file must be PEM, the server's own first")]
    Certificate {
        /// Which file.
        file: String,
        /// What was found.
        reason: String,
    },
    /// A file has no key in it.
    #[error("{file}: no private key: {reason}; the file must be PEM")]
    Key {
        /// Which file.
        file: String,
        /// What was found.
        reason: String,
    },
    /// The key is of a kind that is not supported.
    #[error("{file}: {reason}; use ECDSA P-256 or P-384, Ed25519 or RSA of 2048 bits and more")]
    KeyKind {
        /// Which file.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// The key belongs to another certificate.
    #[error("{key} is not the key of {certificate}: renew both together")]
    Mismatch {
        /// The certificate's file.
        certificate: String,
        /// The key's file.
        key: String,
    },
    /// The library refused the whole.
    #[error("TLS cannot be set up: {0}")]
    Library(String),
}

/// The tickets of a process: they stay valid when certificates are renewed.
#[derive(Clone)]
pub struct Ticketing(Arc<dyn ProducesTickets>);

impl Ticketing {
    /// Keys of the system's entropy, renewed by themselves every few hours.
    ///
    /// # Errors
    /// If the system gives none.
    pub fn new() -> Result<Ticketing, ConfigError> {
        Ticketer::new().map(Ticketing).map_err(|error| ConfigError::Library(error.to_string()))
    }
}

impl fmt::Debug for Ticketing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Ticketing")
    }
}

/// What sessions begin with.
#[derive(Clone, Debug)]
pub struct TlsConfig(pub(super) Arc<ServerConfig>);

impl TlsConfig {
    /// Of one or more certificates. The first is for clients that name no server, or one that no
    /// certificate is for.
    ///
    /// # Errors
    /// What is wrong with the first that cannot be used.
    pub fn new(files: &[CertifiedFiles], tickets: &Ticketing) -> Result<TlsConfig, ConfigError> {
        let keys = files.iter().map(certified).collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() {
            return Err(ConfigError::Nothing);
        }
        let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])
            .map_err(|error| ConfigError::Library(error.to_string()))?;
        let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::new(ByName(keys)));
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = tickets.0.clone();
        // One is what a client uses when it comes again; each costs bytes and time.
        config.send_tls13_tickets = 1;
        config.max_early_data_size = 0;
        Ok(TlsConfig(Arc::new(config)))
    }
}

fn certified(files: &CertifiedFiles) -> Result<Arc<CertifiedKey>, ConfigError> {
    let certificate =
        |reason: String| ConfigError::Certificate { file: files.certificate_name.clone(), reason };
    let chain = CertificateDer::pem_slice_iter(&files.certificate)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| certificate(error.to_string()))?;
    let Some(leaf) = chain.first() else {
        return Err(certificate("the file has none".to_owned()));
    };
    ParsedCertificate::try_from(leaf).map_err(|error| certificate(error.to_string()))?;
    let key = PrivateKeyDer::from_pem_slice(&files.key).map_err(|error| ConfigError::Key {
        file: files.key_name.clone(),
        reason: error.to_string(),
    })?;
    let key = any_supported_type(&key).map_err(|error| ConfigError::KeyKind {
        file: files.key_name.clone(),
        reason: error.to_string(),
    })?;
    let certified = CertifiedKey::new(chain, key);
    certified.keys_match().map_err(|_| ConfigError::Mismatch {
        certificate: files.certificate_name.clone(),
        key: files.key_name.clone(),
    })?;
    Ok(Arc::new(certified))
}

/// Chooses a certificate by the name that the client asks for (SNI, RFC 6066 §3).
#[derive(Debug)]
struct ByName(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().and_then(|name| ServerName::try_from(name).ok());
        let fits = |key: &&Arc<CertifiedKey>| {
            let (Some(name), Some(leaf)) = (&name, key.cert.first()) else { return false };
            let parsed = ParsedCertificate::try_from(leaf);
            parsed.is_ok_and(|parsed| verify_server_name(&parsed, name).is_ok())
        };
        // A single certificate is for everybody: there is nothing to choose.
        let chosen = if self.0.len() > 1 { self.0.iter().find(fits) } else { None };
        chosen.or_else(|| self.0.first()).cloned()
    }
}
