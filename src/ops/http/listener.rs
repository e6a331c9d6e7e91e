//! A listener with a limit on connections and on the time that each step of them takes, so that
//! nobody who reaches the address holds a place without asking something.
//!
//! A request, from its first byte (or from the accept) to the first byte of its answer, has one
//! time; the rest of the answer, and the silence until the next request, another. Bytes prolong
//! neither: a byte now and then would hold a place for ever.

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

/// A request must have come, and its answer begun, within this; a director answers within five.
const REQUEST_MAX: Duration = Duration::from_secs(15);
/// The answer must be written, and the next request begun, within this.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer(pub(crate) SocketAddr);

impl Connected<IncomingStream<'_, BoundedListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, BoundedListener>) -> Peer {
        Peer(*stream.remote_addr())
    }
}

/// A listener whose connections count against a limit while they live.
pub(crate) struct BoundedListener {
    inner: TcpListener,
    places: Arc<Semaphore>,
}

impl BoundedListener {
    /// Takes `connections_max` at the same time; more wait in the kernel's backlog.
    pub(crate) fn new(inner: TcpListener, connections_max: usize) -> BoundedListener {
        BoundedListener { inner, places: Arc::new(Semaphore::new(connections_max)) }
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
        let deadline = Box::pin(tokio::time::sleep(REQUEST_MAX));
        (BoundedStream { inner, deadline, answering: false, _place: place }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

/// A connection that ends by itself when it takes too long.
pub(crate) struct BoundedStream {
    inner: TcpStream,
    deadline: Pin<Box<Sleep>>,
    /// The last thing that moved was a byte of an answer.
    answering: bool,
    _place: OwnedSemaphorePermit,
}

impl BoundedStream {
    /// Bytes moved, in one direction or the other: a turn of direction begins a new time.
    fn moved(&mut self, answering: bool) {
        if self.answering != answering {
            self.answering = answering;
            let time = if answering { ANSWER_MAX } else { REQUEST_MAX };
            // Tokio's clock, which runs on this thread's runtime only.
            let until = Instant::now() + time;
            self.deadline.as_mut().reset(until);
        }
    }

    /// What cannot be done now may never be.
    fn wait<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        match self.deadline.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }

    fn wrote(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Pending => self.wait(context),
            Poll::Ready(_) => {
                self.moved(true);
                written
            }
        }
    }
}

impl AsyncRead for BoundedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let ready = Pin::new(&mut self.inner).poll_read(context, buffer);
        if ready.is_pending() {
            return self.wait(context);
        }
        self.moved(false);
        ready
    }
}

impl AsyncWrite for BoundedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.wrote(context, written)
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
        let written = Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        self.wrote(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    const CONNECTIONS_MAX: usize = 64;

    #[tokio::test]
    async fn a_connection_holds_its_place_until_it_is_dropped() {
        let inner = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = inner.local_addr().expect("an address");
        let mut listener = BoundedListener::new(inner, CONNECTIONS_MAX);
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

    /// A connection and its client.
    async fn pair() -> (TcpStream, BoundedStream) {
        let inner = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = inner.local_addr().expect("an address");
        let mut listener = BoundedListener::new(inner, CONNECTIONS_MAX);
        let client = TcpStream::connect(address).await.expect("connects");
        let (stream, _) = listener.accept().await;
        (client, stream)
    }

    #[tokio::test]
    async fn a_byte_now_and_then_holds_no_place() {
        let (mut client, mut stream) = pair().await;
        let until = stream.deadline.deadline();
        for _ in 0..3 {
            client.write_all(b"G").await.expect("sends");
            assert_eq!(stream.read_u8().await.expect("a byte"), b'G');
            assert_eq!(stream.deadline.deadline(), until, "a byte prolongs nothing");
        }
        // The limit as if it had passed.
        stream.deadline.as_mut().reset(Instant::now());
        let error = stream.read_u8().await.expect_err("too long");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn an_answer_and_the_next_request_have_times_of_their_own() {
        let (mut client, mut stream) = pair().await;
        client.write_all(b"?").await.expect("sends");
        stream.read_u8().await.expect("a byte");
        let asked = stream.deadline.deadline();
        stream.write_u8(b'!').await.expect("sends");
        let answered = stream.deadline.deadline();
        assert!(answered > asked);
        stream.write_u8(b'!').await.expect("sends");
        assert_eq!(stream.deadline.deadline(), answered);
        client.write_all(b"?").await.expect("sends");
        stream.read_u8().await.expect("a byte");
        assert!(stream.deadline.deadline() < answered, "the next request");
    }

    #[tokio::test]
    async fn who_does_not_read_the_answer_is_left() {
        let (_client, mut stream) = pair().await;
        stream.write_u8(b'!').await.expect("sends");
        stream.deadline.as_mut().reset(Instant::now());
        let error = stream.write_all(&vec![0; 64 << 20]).await.expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
