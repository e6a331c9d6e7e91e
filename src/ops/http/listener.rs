//! A listener with a limit on connections and on their silence, so that nobody who reaches the
//! operator's address can hold all its places.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

/// Connections at the same time; more wait in the kernel's backlog.
const CONNECTIONS_MAX: usize = 64;
/// A connection from which nothing comes for so long is closed.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Peer(pub(super) SocketAddr);

impl Connected<IncomingStream<'_, BoundedListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, BoundedListener>) -> Peer {
        Peer(*stream.remote_addr())
    }
}

/// A listener whose connections count against a limit while they live.
pub(super) struct BoundedListener {
    inner: TcpListener,
    places: Arc<Semaphore>,
}

impl BoundedListener {
    pub(super) fn new(inner: TcpListener) -> BoundedListener {
        BoundedListener { inner, places: Arc::new(Semaphore::new(CONNECTIONS_MAX)) }
    }
}

impl Listener for BoundedListener {
    type Io = BoundedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (BoundedStream, SocketAddr) {
        let Ok(place) = Arc::clone(&self.places).acquire_owned().await else {
            unreachable!("nobody closes the semaphore");
        };
        // Axum's own listener logs errors and waits before it tries again.
        let (inner, address) = Listener::accept(&mut self.inner).await;
        let silence = Box::pin(tokio::time::sleep(SILENCE_MAX));
        (BoundedStream { inner, silence, _place: place }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

/// A connection that ends by itself when nothing comes.
pub(super) struct BoundedStream {
    inner: TcpStream,
    silence: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl AsyncRead for BoundedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let ready = Pin::new(&mut self.inner).poll_read(context, buffer);
        if ready.is_ready() {
            // Tokio's clock, which runs on this thread's runtime only.
            let until = Instant::now() + SILENCE_MAX;
            self.silence.as_mut().reset(until);
            return ready;
        }
        match self.silence.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncWrite for BoundedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_holds_its_place_until_it_is_dropped() {
        let inner = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = inner.local_addr().expect("an address");
        let mut listener = BoundedListener::new(inner);
        let mut held = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            let client = TcpStream::connect(address).await.expect("connects");
            held.push((client, listener.accept().await));
        }
        assert_eq!(listener.places.available_permits(), 0);
        let client = TcpStream::connect(address).await.expect("waits in the backlog");
        held.pop();
        let (_stream, peer) = listener.accept().await;
        assert_eq!(peer, client.local_addr().expect("an address"));
        assert_eq!(listener.places.available_permits(), 0);
    }

    #[tokio::test]
    async fn silence_ends_a_connection_and_a_byte_prolongs_it() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let inner = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = inner.local_addr().expect("an address");
        let mut listener = BoundedListener::new(inner);
        let mut client = TcpStream::connect(address).await.expect("connects");
        let (mut stream, _) = listener.accept().await;
        // The limit as if it had passed: what has come is still read, and begins it again.
        stream.silence.as_mut().reset(Instant::now());
        client.write_all(b"x").await.expect("sends");
        client.flush().await.expect("sends");
        stream.inner.readable().await.expect("readable");
        assert_eq!(stream.read_u8().await.expect("a byte"), b'x');
        assert!(stream.silence.deadline() > Instant::now());
        stream.silence.as_mut().reset(Instant::now());
        let error = stream.read_u8().await.expect_err("nothing comes");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
