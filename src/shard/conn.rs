//! The connections of one shard: a table by place, grown in chunks.
//!
//! The state that every connection costs is [`Conn`], 72 bytes at most; what only some need hangs
//! off it in boxes.

use crate::base::ids::{ConnId, RoomId, UserId};
use crate::base::time::Time;
use crate::room::lane::{EncodingIndex, Position};
use crate::shard::session::State;
use crate::shard::short::ShortConn;
use crate::wire::codec::{Encoding, Form};
use crate::wire::deflate::WINDOW_BITS_DEFAULT;
use crate::wire::message::Pending;
use crate::wire::upgrade::DeflateTerms;

/// Connections in one chunk of the table: 72 KiB.
const CHUNK: usize = 1_024;

/// No local room.
pub(crate) const NO_ROOM: u32 = u32::MAX;

/// What every connection costs.
#[derive(Default)]
pub(crate) struct Conn {
    /// Nobody (0) until a token was accepted.
    pub(crate) user: UserId,
    /// An incomplete frame or an unfinished fragmented message.
    pub(crate) pending: Option<Box<Pending>>,
    /// Bytes that precede everything else.
    pub(crate) spill: Option<Box<Spill>>,
    /// What is needed only on the way into a room.
    pub(crate) entry: Option<Box<Entry>>,
    pub(crate) generation: u32,
    /// Index into the shard's local rooms, or [`NO_ROOM`].
    pub(crate) room: u32,
    /// The low bits of the version wanted next, per lane.
    pub(crate) cursors: [u32; 3],
    /// Milliseconds since the process's zero: when the client was heard last or, before it is
    /// authenticated and once it is closing, when that state began.
    pub(crate) clock_ms: u32,
    /// Unix seconds.
    pub(crate) token_expires_s: u32,
    /// A keyed hash of the session's token: a later frame may carry no other.
    pub(crate) token_check: u32,
    /// The question for which this connection was given a ticket, plus one; 0: none.
    pub(crate) ticketed: u16,
    /// Rounds of the patrol in a row that found the socket full.
    pub(crate) stalled_rounds: u8,
    pub(crate) state: State,
    pub(crate) form: ConnForm,
    pub(crate) flags: Flags,
}

const _: () = assert!(size_of::<Conn>() <= 72);

impl Conn {
    /// What is kept on the way into a room; made anew for a later join.
    pub(crate) fn entry_mut(&mut self) -> &mut Entry {
        self.entry.get_or_insert_default()
    }
}

/// How messages to and from a connection are written, in one byte: bit 0 the encoding, bit 1 whether
/// the client opens sealed questions, bits 4 to 7 the window in which messages to it may be compressed, in bits; 0: messages are not compressed.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ConnForm(u8);

const OPENS_SEALS: u8 = 1 << 1;

impl ConnForm {
    /// What was negotiated.
    pub(crate) fn new(encoding: Encoding, deflate: Option<DeflateTerms>) -> ConnForm {
        let window_bits = deflate.map_or(0, |terms| terms.window_bits);
        ConnForm(window_bits << 4 | u8::from(encoding == Encoding::Json))
    }

    /// The client says that it opens sealed questions, or says nothing of it.
    pub(crate) fn note_seals(&mut self, opens: bool) {
        self.0 |= if opens { OPENS_SEALS } else { 0 };
    }

    /// Whether a key is enough for the client where a question was pushed early.
    pub(crate) fn opens_seals(self) -> bool {
        self.0 & OPENS_SEALS != 0
    }

    pub(crate) fn encoding(self) -> Encoding {
        Encoding::ALL[usize::from(self.0 & 1)]
    }

    /// The form of rooms' messages, by [`Form::index`]. What all share is compressed in the largest
    /// window: who allows less gets it uncompressed.
    pub(crate) fn index(self) -> EncodingIndex {
        let is_deflated = self.window_bits() == Some(WINDOW_BITS_DEFAULT);
        Form { encoding: self.encoding(), is_deflated }.index()
    }

    /// Whether the client may send compressed messages.
    pub(crate) fn may_inflate(self) -> bool {
        self.window_bits().is_some()
    }

    /// The window in which messages to the client may be compressed.
    pub(crate) fn window_bits(self) -> Option<u8> {
        Some(self.0 >> 4).filter(|bits| *bits > 0)
    }
}

/// Facts about a connection, one bit each.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Flags(u8);

impl Flags {
    /// The place is in use.
    pub(crate) const OPEN: Flags = Flags(1);
    /// The last send was short or refused; the socket will say when it takes more.
    pub(crate) const BLOCKED: Flags = Flags(2);
    /// A reply of this turn waits in the outbox.
    pub(crate) const REPLYING: Flags = Flags(4);
    /// Stands in the list of those to be served from their cursors outside a sweep.
    pub(crate) const CATCHING_UP: Flags = Flags(8);
    /// A newer session exists; what this one had received is still read.
    pub(crate) const REPLACED: Flags = Flags(16);
    /// Close as soon as the spill is sent.
    pub(crate) const CLOSE_WHEN_SENT: Flags = Flags(32);
    /// Stands in the list of those whose spill is to be sent.
    pub(crate) const FLUSHING: Flags = Flags(64);
    /// Stands in the list of those for whom the kernel had no memory.
    pub(crate) const STARVED: Flags = Flags(128);

    pub(crate) fn has(self, flag: Flags) -> bool {
        self.0 & flag.0 != 0
    }

    pub(crate) fn set(&mut self, flag: Flags) {
        self.0 |= flag.0;
    }

    pub(crate) fn clear(&mut self, flag: Flags) {
        self.0 &= !flag.0;
    }
}

/// Bytes that were begun or could not be sent: they go before anything else.
#[derive(Default)]
pub(crate) struct Spill {
    bytes: Vec<u8>,
    sent: usize,
    /// Of what is unsent, the rest of a frame that everybody in the room gets.
    frame: usize,
}

impl Spill {
    /// The rest of a room's frame of which a part was sent.
    pub(crate) fn of_frame(rest: &[u8]) -> Spill {
        Spill { bytes: rest.to_vec(), sent: 0, frame: rest.len() }
    }

    /// Unsent bytes that were made for this connection alone: what a reader piles up. The rest of a
    /// frame is bounded by the lane.
    pub(crate) fn own_bytes(&self) -> usize {
        self.unsent().len() - self.frame
    }

    /// What is still to be sent.
    pub(crate) fn unsent(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// Adds bytes at the end.
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Puts bytes before what is still to be sent.
    pub(crate) fn prepend(&mut self, bytes: &[u8]) {
        let mut joined = Vec::with_capacity(bytes.len() + self.unsent().len());
        joined.extend_from_slice(bytes);
        joined.extend_from_slice(self.unsent());
        *self = Spill { bytes: joined, sent: 0, frame: self.frame };
    }

    /// Notes that so many more bytes were sent.
    pub(crate) fn advance(&mut self, sent: usize) {
        self.sent += sent;
        self.frame = self.frame.saturating_sub(sent);
        assert!(self.sent <= self.bytes.len(), "more was sent than there was");
        // A reader that always leaves something would let what was sent pile up before it.
        if self.sent > self.bytes.len() / 2 {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
    }
}

/// What a connection needs only until it is in a room, or while it is a short one.
#[derive(Default)]
pub(crate) struct Entry {
    /// The request as far as it has come.
    pub(crate) request: Vec<u8>,
    /// What there is to know of it if it is no WebSocket.
    pub(crate) short: Option<ShortConn>,
    /// The room asked for, and where to continue in it.
    pub(crate) join: Option<JoinWish>,
}

/// A wish to enter a room.
pub(crate) struct JoinWish {
    pub(crate) room: RoomId,
    pub(crate) resume: Option<Position>,
    /// Of the request; empty if it was part of the upgrade.
    pub(crate) sequence: String,
}

/// All connections of a shard, by place.
#[derive(Default)]
pub(crate) struct ConnTable {
    chunks: Vec<Box<[Conn]>>,
    open: u32,
}

impl ConnTable {
    /// Number of open connections.
    pub(crate) fn open_count(&self) -> u32 {
        self.open
    }

    /// One more than the greatest place that was ever used.
    pub(crate) fn places_end(&self) -> u32 {
        u32::try_from(self.chunks.len() * CHUNK).unwrap_or(u32::MAX)
    }

    /// Takes a place into use.
    ///
    /// # Panics
    /// If it is in use: the socket plane frees a place only when it was closed here.
    pub(crate) fn open(&mut self, id: ConnId, now: Time) {
        let (chunk, index) = split(id.place);
        while self.chunks.len() <= chunk {
            self.chunks.push(std::iter::repeat_with(Conn::default).take(CHUNK).collect());
        }
        let conn = &mut self.chunks[chunk][index];
        assert!(!conn.flags.has(Flags::OPEN), "place {} is used twice", id.place);
        *conn = Conn {
            generation: id.generation,
            room: NO_ROOM,
            clock_ms: clock_ms(now),
            flags: Flags::OPEN,
            ..Conn::default()
        };
        self.open += 1;
    }

    /// Frees a place.
    pub(crate) fn close(&mut self, id: ConnId) {
        if let Some(conn) = self.get_mut(id) {
            *conn = Conn::default();
            self.open -= 1;
        }
    }

    /// The open connection with this id.
    pub(crate) fn get(&self, id: ConnId) -> Option<&Conn> {
        let (chunk, index) = split(id.place);
        let conn = self.chunks.get(chunk)?.get(index)?;
        (conn.flags.has(Flags::OPEN) && conn.generation == id.generation).then_some(conn)
    }

    /// The open connection with this id.
    pub(crate) fn get_mut(&mut self, id: ConnId) -> Option<&mut Conn> {
        let (chunk, index) = split(id.place);
        let conn = self.chunks.get_mut(chunk)?.get_mut(index)?;
        (conn.flags.has(Flags::OPEN) && conn.generation == id.generation).then_some(conn)
    }

    /// The open connection at a place, whatever its generation.
    pub(crate) fn at(&self, place: u32) -> Option<(ConnId, &Conn)> {
        let (chunk, index) = split(place);
        let conn = self.chunks.get(chunk)?.get(index)?;
        let id = ConnId { place, generation: conn.generation };
        conn.flags.has(Flags::OPEN).then_some((id, conn))
    }
}

fn split(place: u32) -> (usize, usize) {
    (place as usize / CHUNK, place as usize % CHUNK)
}

/// A moment in 32 bits of milliseconds; wraps after 49 days, so only differences count.
#[expect(clippy::cast_possible_truncation, reason = "wraps on purpose")]
pub(crate) fn clock_ms(now: Time) -> u32 {
    now.as_millis() as u32
}

/// Milliseconds from `earlier` to `now`, both from [`clock_ms`].
pub(crate) fn elapsed_ms(now: u32, earlier: u32) -> u32 {
    now.wrapping_sub(earlier)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_of_a_frame_is_not_what_a_reader_piled_up() {
        let mut spill = Spill::of_frame(&[1; 100]);
        assert_eq!(spill.own_bytes(), 0);
        spill.append(&[2; 30]);
        spill.advance(60);
        assert_eq!((spill.own_bytes(), spill.unsent().len()), (30, 70));
        spill.advance(55);
        assert_eq!((spill.own_bytes(), spill.unsent().len()), (15, 15));
    }

    #[test]
    fn a_reader_that_never_catches_up_keeps_no_memory() {
        let mut spill = Spill::default();
        spill.append(&[1; 100]);
        for round in 0..100_000_u32 {
            let byte = u8::try_from(round % 251).unwrap();
            spill.append(&[byte; 100]);
            spill.advance(100);
            assert_eq!(spill.unsent(), [byte; 100]);
        }
        assert!(spill.bytes.capacity() < 1_000, "{}", spill.bytes.capacity());
    }
}
