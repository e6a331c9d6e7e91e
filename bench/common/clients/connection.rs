//! What one client has heard so far: the response to its upgrade, then frames.

use super::{Audience, Outgoing};

/// No server has reason to answer an upgrade with more.
const RESPONSE_BYTES_MAX: usize = 16_384;

/// A whole frame that arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heard<'a> {
    /// Which client.
    pub(crate) index: u32,
    /// RFC 6455 §5.2; with the bit that says that the payload is compressed (RFC 7692 §6).
    pub(crate) opcode: u8,
    /// Header and payload on the wire.
    pub(crate) frame_bytes: usize,
    /// The payload.
    pub(crate) payload: &'a [u8],
    /// When the batch was received that contained its end.
    pub(crate) at_ns: u64,
}

/// The state of a client.
#[derive(Debug, Default)]
pub(super) struct Connection {
    /// What is not yet a whole response or frame.
    #[expect(clippy::box_collection, reason = "a million clients that wait for nothing")]
    partial: Option<Box<Vec<u8>>>,
    upgraded: bool,
    listed: bool,
}

impl Connection {
    /// Whether it stands in the list of those to be read.
    pub(super) fn is_listed(&self) -> bool {
        self.listed
    }

    /// Whether the server has agreed to speak WebSocket.
    pub(super) fn is_upgraded(&self) -> bool {
        self.upgraded
    }

    pub(super) fn set_listed(&mut self, listed: bool) {
        self.listed = listed;
    }

    /// Takes what arrived.
    pub(super) fn hear(
        &mut self,
        index: u32,
        bytes: &[u8],
        at_ns: u64,
        audience: &mut dyn Audience,
        outgoing: &mut Outgoing,
    ) -> Result<(), String> {
        let Some(mut partial) = self.partial.take() else {
            let used = self.walk(index, bytes, at_ns, audience, outgoing)?;
            if used < bytes.len() {
                self.partial = Some(Box::new(bytes[used..].to_vec()));
            }
            return Ok(());
        };
        partial.extend_from_slice(bytes);
        let used = self.walk(index, &partial, at_ns, audience, outgoing)?;
        partial.drain(..used);
        self.partial = (!partial.is_empty()).then_some(partial);
        Ok(())
    }

    /// Takes what is whole; returns how many bytes that was.
    fn walk(
        &mut self,
        index: u32,
        bytes: &[u8],
        at_ns: u64,
        audience: &mut dyn Audience,
        outgoing: &mut Outgoing,
    ) -> Result<usize, String> {
        let mut used = 0;
        if !self.upgraded {
            let Some((status, length)) = response(bytes)? else {
                return Ok(0);
            };
            used = length;
            self.upgraded = true;
            audience.upgraded(index, status, outgoing);
        }
        while let Some((opcode, header, length)) = header(&bytes[used..])? {
            let Some(payload) = bytes[used + header..].get(..length) else {
                break;
            };
            let frame_bytes = header + length;
            audience.heard(Heard { index, opcode, frame_bytes, payload, at_ns }, outgoing);
            used += frame_bytes;
        }
        Ok(used)
    }
}

/// Status and length of the response at the start of `bytes`, if it is whole.
fn response(bytes: &[u8]) -> Result<Option<(u16, usize)>, String> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return if bytes.len() > RESPONSE_BYTES_MAX { Err(unexpected(bytes)) } else { Ok(None) };
    };
    let status = bytes.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    match status {
        Some(101) => Ok(Some((101, end + 4))),
        _ => Err(unexpected(bytes)),
    }
}

fn unexpected(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(400)]);
    format!("the server refused the upgrade: {text}")
}

/// Opcode, bytes of the header and of the payload of the frame at the start of `bytes` (RFC 6455
/// §5.2), if its header is whole.
pub(crate) fn header(bytes: &[u8]) -> Result<Option<(u8, usize, usize)>, String> {
    let [first, second, rest @ ..] = bytes else {
        return Ok(None);
    };
    if second & 0x80 != 0 || first & 0x30 != 0 {
        return Err(format!("a server's frame begins with {first:02x} {second:02x}"));
    }
    let extended = match second {
        126 => 2,
        127 => 8,
        _ => return Ok(Some((first & 0x4F, 2, usize::from(*second)))),
    };
    let Some(length) = rest.get(..extended) else {
        return Ok(None);
    };
    let length = length.iter().fold(0_usize, |length, byte| length << 8 | usize::from(*byte));
    Ok(Some((first & 0x4F, 2 + extended, length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Ear(Vec<(u8, usize, Vec<u8>)>, u16);

    impl Audience for Ear {
        fn request(&mut self, _: u32, _: &mut Vec<u8>) {}

        fn upgraded(&mut self, _: u32, status: u16, _: &mut Outgoing) {
            self.1 = status;
        }

        fn heard(&mut self, heard: Heard<'_>, _: &mut Outgoing) {
            self.0.push((heard.opcode, heard.frame_bytes, heard.payload.to_vec()));
        }
    }

    fn stream() -> Vec<u8> {
        let mut bytes = b"HTTP/1.1 101 Switching Protocols\r\nx: y\r\n\r\n".to_vec();
        bytes.extend([0x82, 3, 1, 2, 3, 0x81, 0, 0x82, 126, 0, 200]);
        bytes.extend([7; 200]);
        bytes
    }

    #[test]
    fn frames_are_found_wherever_the_pieces_end() {
        let (stream, mut outgoing) = (stream(), Outgoing::default());
        for size in 1..=stream.len() {
            let (mut connection, mut ear) = (Connection::default(), Ear::default());
            for piece in stream.chunks(size) {
                connection.hear(0, piece, 0, &mut ear, &mut outgoing).unwrap();
            }
            let expected = [(2, 5, vec![1, 2, 3]), (1, 2, vec![]), (2, 204, vec![7; 200])];
            assert_eq!((ear.0.as_slice(), ear.1), (&expected[..], 101), "pieces of {size}");
            assert!(connection.partial.is_none());
        }
    }

    #[test]
    fn what_is_no_server() {
        for bytes in [&b"HTTP/1.1 503 No\r\n\r\n"[..], b"SSH-2.0\r\n\r\n", &[b'x'; 20_000]] {
            let (mut connection, mut outgoing) = (Connection::default(), Outgoing::default());
            assert!(connection.hear(0, bytes, 0, &mut Ear::default(), &mut outgoing).is_err());
        }
        assert!(header(&[0x82, 0x85]).is_err());
    }
}
