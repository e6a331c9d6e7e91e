//! What one connection may do, beside the timeouts: how much it may send, how old it may get, and
//! from which pages browsers may come.
//!
//! Rates and ages stand in tables of their own by place, two bytes each, which come into being
//! where connections are: a connection's own state does not grow. Rates are counted by the second:
//! at the seam of two seconds twice as much may pass.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::base::chunked::Chunked;
use crate::base::ids::ConnId;
use crate::base::limits::UPGRADE_BYTES_MAX;
use crate::base::time::Time;
use crate::shard::Shard;
use crate::shard::conn::NO_ROOM;
use crate::wire::close::CloseReason;
use crate::wire::codec;
use crate::wire::message::Message;
use crate::wire::proto;

/// An age is kept as so many parts of the greatest one.
const AGE_PARTS: u32 = 4_096;
/// Connections that came together do not go together: up to this many parts are taken off.
const AGE_JITTER_PARTS: u32 = AGE_PARTS / 8;
/// Answers pass the limit on messages up to this many times.
const ANSWERS_FACTOR: u16 = 4;

/// Bits of a count that are messages; the others are pings.
const MESSAGE_BITS: u32 = 10;
const MESSAGES_MASK: u16 = (1 << MESSAGE_BITS) - 1;
/// Messages of one second that can be told apart from more.
pub const MESSAGES_PER_SECOND_MOST: u16 = MESSAGES_MASK / ANSWERS_FACTOR - 1;
/// Pings of one second that can be told apart from more.
pub const PINGS_PER_SECOND_MOST: u16 = (1 << (16 - MESSAGE_BITS)) - 2;

/// Limits of a connection; 0 is no limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Messages within a second, at most [`MESSAGES_PER_SECOND_MOST`].
    pub messages_per_second_max: u16,
    /// Pings within a second, at most [`PINGS_PER_SECOND_MOST`].
    pub pings_per_second_max: u16,
    /// How old a connection gets at most, milliseconds.
    pub age_max_ms: u32,
    /// Bytes of the upgrade request, at most [`UPGRADE_BYTES_MAX`].
    pub upgrade_bytes_max: usize,
    /// Origins from which browsers may connect; none, or `*` among them: from all.
    pub origins: Arc<[String]>,
}

impl Default for ConnectionLimits {
    /// No limits but that on the upgrade request.
    fn default() -> ConnectionLimits {
        ConnectionLimits {
            messages_per_second_max: 0,
            pings_per_second_max: 0,
            age_max_ms: 0,
            upgrade_bytes_max: UPGRADE_BYTES_MAX,
            origins: Arc::new([]),
        }
    }
}

/// What came of a connection in the present second: ten bits of messages, six of pings.
#[derive(Clone, Copy, Debug, Default)]
struct Sent(u16);

/// The counts of all connections.
#[derive(Default)]
pub(crate) struct Rates {
    sent: Chunked<Sent>,
    /// Places that were counted in the present second, to be cleared with it.
    counted: Vec<u32>,
    second: u64,
}

/// When connections were opened, in parts of the greatest age.
#[derive(Default)]
pub(crate) struct Ages {
    opened: Chunked<u16>,
}

impl Sent {
    fn messages(self) -> u16 {
        self.0 & MESSAGES_MASK
    }

    fn pings(self) -> u16 {
        self.0 >> MESSAGE_BITS
    }

    fn add_message(&mut self) {
        self.0 += u16::from(self.messages() < MESSAGES_MASK);
    }

    fn add_ping(&mut self) {
        if self.pings() < u16::MAX >> MESSAGE_BITS {
            self.0 += 1 << MESSAGE_BITS;
        }
    }
}

impl Rates {
    fn count(&mut self, now: Time, place: u32, add: impl FnOnce(&mut Sent)) -> Sent {
        let second = now.as_millis() / 1_000;
        if second != self.second {
            self.second = second;
            for place in self.counted.drain(..) {
                self.sent.take(place);
            }
            self.counted.shrink_to(1_024);
        }
        let sent = self.sent.get_mut(place);
        if sent.0 == 0 {
            self.counted.push(place);
        }
        add(sent);
        *sent
    }

    fn forget(&mut self, place: u32) {
        if let Some(sent) = self.sent.find_mut(place) {
            // It stays in the list of those that were counted.
            *sent = Sent::default();
        }
    }
}

impl Ages {
    fn part_ms(age_max_ms: u32) -> u32 {
        age_max_ms.div_ceil(AGE_PARTS).max(1)
    }

    fn now(&self, now: Time, age_max_ms: u32) -> u16 {
        // Wraps after sixteen times the greatest age.
        let parts = now.as_millis() / u64::from(Ages::part_ms(age_max_ms));
        u16::try_from(parts & u64::from(u16::MAX)).unwrap_or(0)
    }
}

/// The part of the greatest age that this connection does not reach.
fn jitter_parts(id: ConnId) -> u32 {
    // A multiplication is enough: nobody gains by choosing it.
    let mixed = (id.place ^ id.generation.rotate_left(16)).wrapping_mul(0x9E37_79B9);
    (mixed >> 16) % AGE_JITTER_PARTS
}

impl Shard {
    /// A place is used by a new connection.
    pub(crate) fn begin_limits(&mut self, id: ConnId) {
        self.rates.forget(id.place);
        let age_max_ms = self.config.limits.age_max_ms;
        if age_max_ms > 0 {
            *self.ages.opened.get_mut(id.place) = self.ages.now(self.now, age_max_ms);
        }
    }

    /// Closes a connection that has reached its greatest age. Nobody loses a show by it: who is in
    /// the room of one that has not ended stays.
    pub(crate) fn close_for_age(&mut self, id: ConnId) {
        let age_max_ms = self.config.limits.age_max_ms;
        let room = self.conns.get(id).map_or(NO_ROOM, |conn| conn.room);
        if age_max_ms == 0 || room != NO_ROOM && self.carries_show(self.rooms.id(room)) {
            return;
        }
        let opened = self.ages.opened.find(id.place).copied().unwrap_or(0);
        let age = u32::from(self.ages.now(self.now, age_max_ms).wrapping_sub(opened));
        if age >= AGE_PARTS - jitter_parts(id) {
            self.close(id, CloseReason::Aged);
        }
    }

    /// Counts a message. Beyond the limit the connection is closed, except that answers still
    /// count: the rules of the game let a first answer pass every limit.
    pub(crate) fn count_message(&mut self, id: ConnId, message: &Message<'_>) -> Counted {
        let limits = &self.config.limits;
        let (messages_max, pings_max) =
            (limits.messages_per_second_max, limits.pings_per_second_max);
        let is_ping = matches!(message, Message::Ping(_));
        let max = if is_ping { pings_max } else { messages_max };
        if max == 0 || matches!(message, Message::Close(_)) {
            return Counted::Within;
        }
        if is_ping {
            let pings = self.rates.count(self.now, id.place, Sent::add_ping).pings();
            return if pings > pings_max { self.too_much(id) } else { Counted::Within };
        }
        let messages = self.rates.count(self.now, id.place, Sent::add_message).messages();
        let is_data = matches!(message, Message::Text(_) | Message::Binary(_));
        if messages <= messages_max {
            Counted::Within
        } else if is_data && messages <= messages_max * ANSWERS_FACTOR {
            Counted::AnswersOnly
        } else {
            self.too_much(id)
        }
    }

    /// Handles a message of a connection that is over its limit if it is an answer, and closes the
    /// connection if it is not.
    pub(crate) fn answer_only(
        &mut self,
        id: ConnId,
        message: &Message<'_>,
        arrived: Time,
    ) -> ControlFlow<()> {
        use proto::request::Payload;
        let frame = self.encoding(id).map(|encoding| codec::decode_client(encoding, message));
        if let Some(Ok(frame)) = frame {
            let body = frame.business.as_ref().and_then(|business| business.body.as_ref());
            if let Some(proto::business::Body::Request(request)) = body
                && matches!(request.payload, Some(Payload::Answer(_)))
            {
                self.client_frame(id, frame, arrived);
                return ControlFlow::Continue(());
            }
        }
        self.too_much(id);
        ControlFlow::Break(())
    }

    fn too_much(&mut self, id: ConnId) -> Counted {
        self.fail(id, CloseReason::RateLimited, CloseReason::RateLimited.meaning());
        Counted::TooMuch
    }

    /// Whether a browser's page may connect: one that says where it comes from, and from elsewhere
    /// than is allowed, may not. Clients that are no browsers say nothing (RFC 6455 §10.2).
    pub(crate) fn is_origin_allowed(&self, origin: Option<&str>) -> bool {
        let origins = &self.config.limits.origins;
        let allowed = |origin: &str| origins.iter().any(|one| one.eq_ignore_ascii_case(origin));
        self.allows_all_origins() || origin.is_none_or(allowed)
    }

    /// Whether pages of every origin may connect.
    pub(crate) fn allows_all_origins(&self) -> bool {
        let origins = &self.config.limits.origins;
        origins.is_empty() || origins.iter().any(|one| one == "*")
    }

    /// Counts a short request like a message; false if it is one too many. Answers pass as they do
    /// on a WebSocket.
    pub(crate) fn count_short(&mut self, id: ConnId, is_answer: bool) -> bool {
        let max = self.config.limits.messages_per_second_max;
        if max == 0 {
            return true;
        }
        let max = if is_answer { max * ANSWERS_FACTOR } else { max };
        self.rates.count(self.now, id.place, Sent::add_message).messages() <= max
    }
}

/// What a message counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    /// It is to be handled.
    Within,
    /// It is to be handled if it is an answer.
    AnswersOnly,
    /// The connection was closed for it.
    TooMuch,
}
