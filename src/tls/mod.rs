//! TLS 1.2 and 1.3 for one connection at a time, on bytes: rustls without sockets and buffers.
//!
//! A [`Session`] takes what was received and yields plain bytes and what is to be sent; it keeps
//! only what is incomplete. [`TlsConfig`] is made of certificates, shared by all sessions that began
//! with it, and replaced as a whole: who is connected stays with the older one.
//!
//! The seam for TLS in the kernel is [`Session`]: after the handshake rustls can hand out its keys
//! (`enable_secret_extraction`), a socket option would take them, and the session would go; what
//! calls it would then send plain bytes as for a connection without TLS. Nothing of that is built.
//! Deliberately absent: files, sockets, clocks; certificates of clients; early data (it could be
//! replayed); sessions kept in the server's memory (tickets are kept by clients).

mod config;
mod session;

#[cfg(test)]
mod tests;

pub use config::{CertifiedFiles, ConfigError, Ticketing, TlsConfig};
pub use session::{Received, Session, SessionError};
