//! The floor of fan-out: a plain `send()` loop in slot order.
//!
//! It accepts so many connections, answers each upgrade with the same 101, and then, for each line
//! `b K` on standard input, sends K finished messages to every socket with one `send` each. Nothing
//! is looked up, encoded, queued or remembered: what is left is the kernel's cost.

use std::io::{BufRead as _, Error, ErrorKind, Read as _, Result, Write as _, stdin, stdout};
use std::net::TcpStream;
use std::os::fd::AsRawFd as _;

use socket2::{Domain, Socket, Type};
use tidegate::wire::frame::{Data, OpCode, encode_frame, header_bytes};

/// The response to the example request of RFC 6455 §1.2.
pub(crate) const RESPONSE: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Runs until standard input ends.
pub(crate) fn run(connections: u32, frame_bytes: usize, port: u16) -> Result<()> {
    let listener = listen(port)?;
    let mut sockets = Vec::new();
    for _ in 0..connections {
        let (socket, _) = listener.accept()?;
        let mut socket = TcpStream::from(socket);
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut piece = [0; 1_024];
            let count = socket.read(&mut piece)?;
            if count == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            request.extend_from_slice(&piece[..count]);
        }
        socket.write_all(RESPONSE)?;
        sockets.push(socket);
    }
    let frame = frame(frame_bytes);
    for line in stdin().lock().lines() {
        let bytes = frame.repeat(messages(&line?)?);
        for socket in &sockets {
            let (fd, flags) = (socket.as_raw_fd(), libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL);
            // SAFETY: the bytes are valid for the call to read.
            let sent = unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags) };
            if sent < 0 {
                return Err(Error::last_os_error());
            }
            if sent.unsigned_abs() < bytes.len() {
                return Err(Error::other("the clients read too slowly: a send was short"));
            }
        }
        say("done")?;
    }
    Ok(())
}

/// Listens on all addresses, with the options that the gateway's listeners have, and says where.
pub(crate) fn listen(port: u16) -> Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(16 * 1024)?;
    socket.set_send_buffer_size(32 * 1024)?;
    socket.bind(&std::net::SocketAddr::from(([0, 0, 0, 0], port)).into())?;
    socket.listen(65_535)?;
    let address = socket.local_addr()?.as_socket();
    say(&format!("ready {}", address.map_or(0, |address| address.port())))?;
    Ok(socket)
}

/// A binary message that is so long on the wire (RFC 6455 §5.2).
pub(crate) fn frame(bytes: usize) -> Vec<u8> {
    let mut frame = Vec::new();
    let header = header_bytes(bytes.saturating_sub(2));
    let payload = vec![b'x'; bytes.saturating_sub(header)];
    encode_frame(OpCode::Data(Data::Binary), &payload, &mut frame);
    frame
}

/// The K of a line `b K`.
pub(crate) fn messages(line: &str) -> Result<usize> {
    let count = line.strip_prefix("b ").and_then(|count| count.parse().ok());
    count.ok_or_else(|| Error::other(format!("`{line}` is no command")))
}

/// A line for whoever started us.
pub(crate) fn say(line: &str) -> Result<()> {
    let mut out = stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}
