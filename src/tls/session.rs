//! One connection's TLS, without a socket and without buffers of its own.

use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus,
};
use thiserror::Error;

use super::config::TlsConfig;

/// RFC 8446 §5.1: bytes of plain text in one record.
const RECORD_BYTES: usize = 16 * 1024;
/// Header, nonce of TLS 1.2, type of TLS 1.3, tag: what a record adds at most with the ciphers that
/// are offered.
const RECORD_OVERHEAD_BYTES: usize = 32;
/// Room that is made first for a message of the handshake; a certificate chain asks for more.
const HANDSHAKE_ROOM_BYTES: usize = 512;

/// Why a session ends.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum SessionError {
    /// The peer broke the protocol, or we have nothing in common.
    #[error("TLS failed: {0}")]
    Protocol(#[from] rustls::Error),
    /// The key has encrypted as much as it may.
    #[error("the key of this connection is worn out")]
    WornOut,
    /// Something is to be sent or received before the handshake is over or after it has failed.
    #[error("the handshake is not over, or has failed")]
    NotOpen,
}

/// What came of received bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// The handshake is over: [`Session::seal`] works.
    pub is_open: bool,
    /// The peer sends no more.
    pub is_closed: bool,
}

/// One connection's TLS.
pub struct Session {
    connection: UnbufferedServerConnection,
    /// A record, or a message of the handshake, that has not come wholly. The library remembers how
    /// far it is *in these bytes*, so it is never called without them.
    incoming: Vec<u8>,
    is_open: bool,
    /// It has failed: the library is not called again.
    is_broken: bool,
}

impl Session {
    /// Begins a handshake as a server.
    ///
    /// # Errors
    /// If the library refuses its configuration.
    pub fn new(config: &TlsConfig) -> Result<Session, SessionError> {
        let connection = UnbufferedServerConnection::new(config.0.clone())?;
        Ok(Session { connection, incoming: Vec::new(), is_open: false, is_broken: false })
    }

    /// Takes what was received. Plain bytes are added to `plain`, and what is to be sent to `out`,
    /// also where it fails: the alert that says why.
    ///
    /// # Errors
    /// The session is over.
    pub fn receive(
        &mut self,
        bytes: &mut [u8],
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<Received, SessionError> {
        if self.is_broken {
            return Err(SessionError::NotOpen);
        }
        if self.incoming.is_empty() {
            let (taken, received) = self.process(bytes, plain, out)?;
            self.incoming.extend_from_slice(&bytes[taken..]);
            return Ok(received);
        }
        let mut incoming = std::mem::take(&mut self.incoming);
        incoming.extend_from_slice(bytes);
        let (taken, received) = self.process(&mut incoming, plain, out)?;
        if taken < incoming.len() {
            incoming.drain(..taken);
            self.incoming = incoming;
        }
        Ok(received)
    }

    /// Works through `data` until nothing more can be done; returns how much of it was taken.
    fn process(
        &mut self,
        data: &mut [u8],
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(usize, Received), SessionError> {
        let mut received = Received::default();
        let mut taken = 0;
        loop {
            let UnbufferedStatus { mut discard, state } =
                self.connection.process_tls_records(&mut data[taken..]);
            let mut is_done = false;
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        discard += record.discard;
                        plain.extend_from_slice(record.payload);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut encode)) => {
                    write(out, |room| encode.encode(room))?;
                }
                Ok(ConnectionState::TransmitTlsData(transmit)) => transmit.done(),
                Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                    received.is_closed = true;
                    is_done = true;
                }
                Ok(ConnectionState::WriteTraffic(_)) => {
                    self.is_open = true;
                    is_done = true;
                }
                // Early data is not offered, so none comes.
                Ok(_) => is_done = true,
                Err(error) => {
                    (self.is_open, self.is_broken) = (false, true);
                    self.alert(out);
                    return Err(error.into());
                }
            }
            taken += discard;
            if is_done {
                received.is_open = self.is_open;
                return Ok((taken, received));
            }
        }
    }

    /// Writes what is left to be said after an error. While something is, the library looks at no
    /// input; otherwise it would, and at bytes that are not there.
    fn alert(&mut self, out: &mut Vec<u8>) {
        while self.connection.wants_write() {
            let UnbufferedStatus { state, .. } = self.connection.process_tls_records(&mut []);
            let Ok(ConnectionState::EncodeTlsData(mut encode)) = state else { return };
            if write(out, |room| encode.encode(room)).is_err() {
                return;
            }
        }
    }

    /// Whether the handshake is over.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// Adds the records that carry `plain` to `out`.
    ///
    /// # Errors
    /// The handshake is not over, or the key is worn out.
    pub fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), SessionError> {
        let records = plain.len() / RECORD_BYTES + 1;
        self.with_traffic(out, plain.len() + records * RECORD_OVERHEAD_BYTES, |traffic, room| {
            traffic.encrypt(plain, room)
        })
    }

    /// Adds the record that says that nothing more is sent (RFC 8446 §6.1). One that cannot be made
    /// is left out: the connection ends anyway.
    pub fn close(&mut self, out: &mut Vec<u8>) {
        let closed = self.with_traffic(out, RECORD_OVERHEAD_BYTES * 2, |traffic, room| {
            traffic.queue_close_notify(room)
        });
        let _ = closed;
    }

    fn with_traffic(
        &mut self,
        out: &mut Vec<u8>,
        room_bytes: usize,
        mut act: impl FnMut(&mut Traffic<'_>, &mut [u8]) -> Result<usize, EncryptError>,
    ) -> Result<(), SessionError> {
        if !self.is_open {
            return Err(SessionError::NotOpen);
        }
        loop {
            let UnbufferedStatus { discard, state } =
                self.connection.process_tls_records(&mut self.incoming);
            let done = match state {
                Ok(ConnectionState::EncodeTlsData(mut encode)) => {
                    write(out, |room| encode.encode(room))?;
                    None
                }
                Ok(ConnectionState::TransmitTlsData(transmit)) => {
                    transmit.done();
                    None
                }
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    let start = out.len();
                    out.resize(start + room_bytes, 0);
                    let written = act(&mut traffic, &mut out[start..]);
                    out.truncate(start + written.as_ref().copied().unwrap_or(0));
                    Some(written.map(drop).map_err(|_| SessionError::WornOut))
                }
                // The peer has closed its direction: ours is still open.
                Ok(ConnectionState::PeerClosed) => None,
                Ok(_) => Some(Err(SessionError::NotOpen)),
                Err(error) => {
                    (self.is_open, self.is_broken) = (false, true);
                    return Err(error.into());
                }
            };
            // All that was complete was taken when it came, so this is nothing as a rule.
            self.incoming.drain(..discard);
            if let Some(done) = done {
                return done;
            }
        }
    }

    /// Bytes of memory behind this that we know of; what the library allocates is not among them.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of::<Session>() + self.incoming.capacity()
    }
}

type Traffic<'c> = rustls::unbuffered::WriteTraffic<'c, rustls::server::ServerConnectionData>;

/// Lets `encode` write behind what `out` has, with as much room as it asks for.
fn write(
    out: &mut Vec<u8>,
    mut encode: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>,
) -> Result<(), SessionError> {
    let start = out.len();
    let mut room = HANDSHAKE_ROOM_BYTES;
    loop {
        out.resize(start + room, 0);
        match encode(&mut out[start..]) {
            Ok(written) => {
                out.truncate(start + written);
                return Ok(());
            }
            Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) => {
                room = required_size;
            }
            Err(EncodeError::AlreadyEncoded) => {
                out.truncate(start);
                return Ok(());
            }
        }
    }
}
