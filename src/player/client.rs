//! One player on the wire: connects, upgrades, speaks, breaks off and comes back.
//!
//! A client touches no socket: it is told what happened and says in its [`Context`] what is to be
//! done. Its connection may break at any time, on purpose or not; what it knows (its record,
//! requests without an answer, retry tickets) outlives connections.

mod acts;
mod hear;
mod taps;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::ControlFlow;
use std::time::Duration;

use bytes::Bytes;

use crate::base::ids::{ConnId, OptionIndex, QuestionIndex, RoomId, UserId};
use crate::base::time::{DisplayClock, Time};
use crate::player::record::{Checks, Record};
use crate::player::script::{Plan, Script};
use crate::wire::close::CloseReason;
use crate::wire::codec::{Encoding, TYPE_AUTHENTICATE, TYPE_HEARTBEAT, encode_client};
use crate::wire::frame::encode_masked_close;
use crate::wire::message::{Decoded, Decoder, Message, Pending, Role};
use crate::wire::proto;
use crate::wire::upgrade::{Accept, ClientRequest, parse_accept};

/// Bytes of a message from the gateway that a player takes.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// A player whose connection broke against its will waits so long.
const COME_BACK: Duration = Duration::from_millis(500);
/// Requests that may wait for an answer; more would mean that the gateway answers nothing.
const REQUESTS_MAX: usize = 64;

/// What happens to a client at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Alarm {
    /// Connect.
    Connect,
    /// A step of the plan of a question.
    Step {
        /// Which question.
        question: QuestionIndex,
        /// Which step.
        step: u8,
    },
    /// A retry is due.
    Retry,
    /// Try to send again what the socket did not take.
    Send,
    /// Let the gateway hear something on this connection.
    Heartbeat {
        /// Which of the client's connections, counted from 1.
        connection: u32,
    },
}

/// What the clients of a swarm did, beside answering.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deeds {
    /// Players that have been in the room.
    pub joined: u64,
    /// Connections after the first.
    pub reconnects: u64,
    /// Answers that were told to come again.
    pub retried: u64,
    /// Pieces of nonsense sent.
    pub garbage: u64,
    /// Older connections that were closed because a newer one came.
    pub replaced: u64,
    /// Answers given again.
    pub repeated: u64,
    /// Heartbeats that were answered.
    pub heartbeats: u64,
    /// The longest round trip of a heartbeat, milliseconds.
    pub rtt_longest_ms: i64,
    /// Taps at rains whose last outcome is known.
    pub taps: u64,
    /// Packets that they brought.
    pub packets: u64,
    /// What was in them.
    pub packet_cents: i64,
}

/// What the swarm does for its clients after an event.
#[derive(Debug)]
pub enum Order {
    /// Connect this client, as soon as there is room for another connect in flight.
    Connect(u32),
    /// Close a connection, with these last bytes.
    Close(ConnId, Vec<u8>),
    /// Close a connection with a reset.
    Reset(ConnId),
}

/// What a client works with.
pub struct Context<'a> {
    /// The moment.
    pub now: Time,
    /// How time is displayed by the host whose clock all share.
    pub display: DisplayClock,
    /// Where the show is.
    pub room: RoomId,
    /// The gateway, for the `Host` header.
    pub host: &'a str,
    /// Makes access tokens.
    pub token: &'a dyn Fn(UserId) -> String,
    /// What all players share.
    pub checks: &'a mut Checks,
    /// What was done.
    pub deeds: &'a mut Deeds,
    /// What is to come.
    pub alarms: &'a mut BinaryHeap<Reverse<(Time, u32, Alarm)>>,
    /// What is to be done.
    pub orders: &'a mut Vec<Order>,
}

/// Where a client stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Not connected: not yet, or not any more.
    Away,
    /// Waiting for the connection.
    Connecting,
    /// Waiting for the answer to the upgrade.
    Upgrading,
    /// Waiting for session and room.
    Entering,
    /// In the room.
    InRoom,
    /// Has sent something for which the gateway must close with this code.
    Doomed(u16),
    /// Has said goodbye.
    Leaving,
}

/// A request that has no answer yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    Join,
    Answer { question: QuestionIndex, option: OptionIndex },
    Nonsense(proto::Reason),
    Tap { rain: u32, slot: u32, is_last: bool },
}

/// A request on its way.
#[derive(Clone, Copy, Debug)]
struct Asked {
    sequence: u32,
    /// On which of the client's connections.
    connection: u32,
    request: Request,
}

/// A retry ticket.
#[derive(Clone, Debug)]
struct Ticket {
    question: QuestionIndex,
    option: OptionIndex,
    ticket: Bytes,
    due: Time,
    sent: bool,
}

/// The connection that a newer one of the same user takes over from.
struct Older {
    conn: ConnId,
    pending: Option<Box<Pending>>,
}

/// One player.
pub struct Client {
    place: u32,
    record: Record,
    encoding: Encoding,
    stage: Stage,
    conn: ConnId,
    connection: u32,
    older: Option<Box<Older>>,
    pending: Option<Box<Pending>>,
    response: Vec<u8>,
    out: Vec<u8>,
    sequence: u32,
    requests: Vec<Asked>,
    /// Failures without a sequence that are to come.
    nonsense: Vec<proto::Reason>,
    tickets: Vec<Ticket>,
    plan: Option<(QuestionIndex, Plan)>,
    /// Steps whose moment came while the client was not in the room.
    postponed: Vec<u8>,
    skew_ms: i64,
    /// The gateway's clock minus the client's, as estimated.
    offset_ms: i64,
    rtt_best_ms: i64,
    heartbeat_ms: u32,
    has_joined: bool,
    taps: taps::Taps,
}

impl Client {
    /// The client at `place` of its swarm.
    #[must_use]
    pub fn new(place: u32, user: UserId, script: &Script) -> Client {
        Client {
            place,
            record: Record::new(user, script),
            encoding: if Script::speaks_json(user) { Encoding::Json } else { Encoding::Proto },
            stage: Stage::Away,
            conn: ConnId::default(),
            connection: 0,
            older: None,
            pending: None,
            response: Vec::new(),
            out: Vec::new(),
            sequence: 0,
            requests: Vec::new(),
            nonsense: Vec::new(),
            tickets: Vec::new(),
            plan: None,
            postponed: Vec::new(),
            skew_ms: script.clock_skew_ms(user),
            offset_ms: 0,
            rtt_best_ms: i64::MAX,
            heartbeat_ms: 10_000,
            has_joined: false,
            taps: taps::Taps::new(),
        }
    }

    /// What the player knows.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// True if the client has no connection of its own any more.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.stage == Stage::Away && self.older.is_none()
    }

    /// True while the client is on its way into the room.
    #[must_use]
    pub fn is_entering(&self) -> bool {
        matches!(self.stage, Stage::Connecting | Stage::Upgrading | Stage::Entering)
    }

    /// True if the client has no connection and none is under way.
    #[must_use]
    pub fn may_connect(&self) -> bool {
        self.stage == Stage::Away
    }

    /// Whether the connection is one of the client's own.
    #[must_use]
    pub fn owns(&self, conn: ConnId) -> bool {
        let older = self.older.as_ref().is_some_and(|older| older.conn == conn);
        older || conn == self.conn && self.stage != Stage::Away
    }

    /// Its present connection, and what waits to be sent on it; at most one send of it is under
    /// way at a time.
    #[must_use]
    pub fn outgoing(&self) -> (ConnId, &[u8]) {
        (self.conn, &self.out)
    }

    /// So many bytes were sent.
    pub fn sent(&mut self, count: usize) {
        self.out.drain(..count);
    }

    /// The connection took nothing and never will: its end is about to be reported.
    pub fn sent_in_vain(&mut self) {
        self.out.clear();
    }

    /// A connect to the gateway is under way.
    pub fn connecting(&mut self, conn: ConnId, context: &mut Context<'_>) {
        context.deeds.reconnects += u64::from(self.connection > 0);
        self.connection += 1;
        self.conn = conn;
        self.stage = Stage::Connecting;
        self.pending = None;
        self.response.clear();
        self.out.clear();
        self.nonsense.clear();
        // The reply to an answer goes to whatever session exists when it is ready.
        self.requests.retain(|asked| matches!(asked.request, Request::Answer { .. }));
    }

    /// The connection stands: the upgrade request goes out.
    pub fn connected(&mut self, context: &mut Context<'_>) {
        self.stage = Stage::Upgrading;
        let mut target = "/".to_owned();
        if !Script::joins_by_frames(self.record.user()) {
            let token = (context.token)(self.record.user());
            let seals = u8::from(Script::opens_seals(self.record.user()));
            target = format!("/ws?token={token}&room={}&seals={seals}", context.room);
            if let Some(position) = self.record.position() {
                let [high, mid, low] = position.seen;
                let epoch = position.epoch;
                target += &format!("&epoch={epoch}&high={high}&mid={mid}&low={low}");
            }
        }
        self.out = self.upgrade(context.host, &target).to_bytes();
    }

    /// Bytes came on one of the client's connections.
    pub fn received(&mut self, conn: ConnId, bytes: &mut [u8], context: &mut Context<'_>) {
        if conn != self.conn {
            return self.received_on_older(conn, bytes, context);
        }
        if self.stage != Stage::Upgrading {
            return self.frames(bytes, context);
        }
        self.response.extend_from_slice(bytes);
        let user = self.record.user();
        match parse_accept(&self.response, &self.upgrade(context.host, "/")) {
            Accept::Incomplete => {}
            Accept::Accepted { consumed } => {
                self.stage = Stage::Entering;
                let mut rest = std::mem::take(&mut self.response).split_off(consumed);
                if Script::joins_by_frames(user) {
                    self.authenticate(context);
                }
                self.frames(&mut rest, context);
            }
            refused @ (Accept::Refused { .. } | Accept::Broken(_)) => {
                context
                    .checks
                    .violations
                    .note(|| format!("user {user}: the upgrade gave {refused:?}"));
                self.drop_connection(context);
            }
        }
    }

    /// A connection ended without a close frame, or could not be made.
    pub fn ended(&mut self, conn: ConnId, how: &str, context: &mut Context<'_>) {
        let user = self.record.user();
        context.orders.push(Order::Close(conn, Vec::new()));
        if conn != self.conn {
            let was_older = self.older.take_if(|older| older.conn == conn).is_some();
            if was_older && !context.checks.gateway_may_die {
                context.checks.violations.note(|| {
                    format!("user {user}: the older connection ended without a reason ({how})")
                });
            }
            return;
        }
        if self.stage != Stage::Leaving {
            let is_fault = !context.checks.gateway_may_die;
            context.checks.violations.check(!is_fault, || {
                format!("user {user}: the connection ended by itself ({how})")
            });
            self.come_back(context.now + COME_BACK, context);
        }
        self.stage = Stage::Away;
        self.out.clear();
    }

    /// Says goodbye; the gateway answers and closes.
    pub fn say_goodbye(&mut self, context: &mut Context<'_>) {
        match self.stage {
            Stage::Away | Stage::Leaving => {}
            Stage::InRoom => {
                let mask = self.mask();
                encode_masked_close(Some(CloseReason::Normal.code()), "", mask, &mut self.out);
                self.stage = Stage::Leaving;
            }
            Stage::Connecting | Stage::Upgrading | Stage::Entering | Stage::Doomed(_) => {
                context.orders.push(Order::Close(self.conn, Vec::new()));
                self.stage = Stage::Away;
            }
        }
    }

    /// Ends everything at once, whatever is left.
    pub fn abandon(&mut self, context: &mut Context<'_>) {
        if self.stage != Stage::Away {
            context.orders.push(Order::Close(self.conn, Vec::new()));
            self.stage = Stage::Away;
        }
        if let Some(older) = self.older.take() {
            context.orders.push(Order::Close(older.conn, Vec::new()));
        }
    }

    fn upgrade<'a>(&self, host: &'a str, target: &'a str) -> ClientRequest<'a> {
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&self.record.user().0.to_le_bytes());
        nonce[8..12].copy_from_slice(&self.connection.to_le_bytes());
        ClientRequest { host, target, encoding: self.encoding, nonce }
    }

    fn frames(&mut self, bytes: &mut [u8], context: &mut Context<'_>) {
        if bytes.is_empty() || matches!(self.stage, Stage::Away | Stage::Connecting) {
            return;
        }
        let decoder = Decoder { role: Role::Client, message_bytes_max: MESSAGE_BYTES_MAX };
        let mut pending = self.pending.take();
        let connection = self.connection;
        let decoded = decoder.decode(&mut pending, bytes, |message| {
            self.message(&message, context);
            if self.stage == Stage::Away {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        if self.connection == connection {
            self.pending = pending;
        }
        if let Err(error) = decoded {
            let user = self.record.user();
            context.checks.violations.note(|| format!("user {user}: a broken frame: {error}"));
            self.drop_connection(context);
        }
    }

    /// On the connection that was taken over, only its end is of interest.
    fn received_on_older(&mut self, conn: ConnId, bytes: &mut [u8], context: &mut Context<'_>) {
        let Some(older) = self.older.as_mut().filter(|older| older.conn == conn) else {
            return;
        };
        let decoder = Decoder { role: Role::Client, message_bytes_max: MESSAGE_BYTES_MAX };
        let mut code = None;
        let decoded = decoder.decode(&mut older.pending, bytes, |message| {
            if let Message::Close(close) = message {
                code = Some(close.map_or(0, |close| close.code));
            }
            ControlFlow::Continue(())
        });
        if matches!(decoded, Ok(Decoded::All)) {
            return;
        }
        let user = self.record.user();
        let replaced = code == Some(CloseReason::Replaced.code());
        context.deeds.replaced += u64::from(replaced);
        context.checks.violations.check(replaced, || {
            format!("user {user}: the older connection was closed with {code:?}, not `replaced`")
        });
        let mut last = Vec::new();
        encode_masked_close(code, "", self.mask(), &mut last);
        context.orders.push(Order::Close(conn, last));
        self.older = None;
    }

    /// Breaks the connection off after something that must not happen.
    fn drop_connection(&mut self, context: &mut Context<'_>) {
        context.orders.push(Order::Reset(self.conn));
        self.stage = Stage::Away;
        self.out.clear();
        self.come_back(context.now + COME_BACK, context);
    }

    fn come_back(&mut self, at: Time, context: &mut Context<'_>) {
        context.alarms.push(Reverse((at, self.place, Alarm::Connect)));
    }

    fn authenticate(&mut self, context: &mut Context<'_>) {
        let user = self.record.user();
        self.send(&proto::ClientFrame {
            r#type: TYPE_AUTHENTICATE,
            user_id: user.0,
            token: (context.token)(user),
            ..Default::default()
        });
    }

    fn heartbeat(&mut self, context: &mut Context<'_>) {
        let heartbeat = proto::Heartbeat {
            client_sent_ms: self.clock_ms(context),
            rtt_ms: u32::try_from(self.rtt_best_ms).unwrap_or(0),
            ..Default::default()
        };
        self.send(&proto::ClientFrame {
            r#type: TYPE_HEARTBEAT,
            heartbeat: Some(heartbeat),
            ..Default::default()
        });
        // Spread over a tenth, so that those who came together do not beat together.
        let spread = u64::from(self.place % 100) * u64::from(self.heartbeat_ms) / 1_000;
        let wait = Duration::from_millis(u64::from(self.heartbeat_ms) - spread);
        let alarm = Alarm::Heartbeat { connection: self.connection };
        context.alarms.push(Reverse((context.now + wait, self.place, alarm)));
    }

    fn send(&mut self, frame: &proto::ClientFrame) {
        let mask = self.mask();
        encode_client(self.encoding, frame, mask, &mut self.out);
    }

    /// A mask that differs from frame to frame. It guards proxies against chosen bytes; between
    /// us and our own gateway there is none.
    fn mask(&self) -> [u8; 4] {
        let mixed = (self.sequence ^ self.place.rotate_left(16)).wrapping_mul(0x9E37_79B9);
        (mixed | 1).to_le_bytes()
    }

    /// The client's own clock, milliseconds: off by its skew.
    fn clock_ms(&self, context: &Context<'_>) -> i64 {
        context.display.unix_ms(context.now) + self.skew_ms
    }

    /// The gateway's clock as the client estimates it.
    fn server_ms(&self, context: &Context<'_>) -> i64 {
        self.clock_ms(context) + self.offset_ms
    }

    /// The moment at which the gateway's clock shows `server_ms`, as the client estimates it.
    fn moment(&self, server_ms: i64, context: &Context<'_>) -> Time {
        let shown = server_ms - self.offset_ms - self.skew_ms - context.display.zero_unix_ms;
        Time::from_millis(u64::try_from(shown).unwrap_or(0))
    }
}
