//! What was broken once: a shard that is its own home, its clients, and a socket each that takes
//! as much as the test lets it.

mod access;
mod downlink;
mod drain;
mod gifts;
mod limits;
mod service;
mod several;
mod short;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::auth::token::{NewToken, mint};
use crate::base::entropy::SeededEntropy;
use crate::base::ids::{ConnId, OptionIndex, RoomId, ShowId, UserId};
use crate::chat::settings::ChatSettings;
use crate::quiz::definition::{QuestionDefinition, ReviveCoverage, ShowDefinition, Timing};
use crate::quiz::director::Command;
use crate::quiz::money::Cents;
use crate::room::lane::Lane;
use crate::shard::config::{Admission, Downlink};
use crate::shard::input::SendResult;
use crate::shard::limits::ConnectionLimits;
use crate::shard::mail::ServiceMessages;
use crate::shard::operator::{OperatorAnswer, OperatorError, OperatorRequest};
use crate::wire::close::CloseReason;
use crate::wire::codec::{
    Encoding, TYPE_AUTHENTICATE, TYPE_BUSINESS, TYPE_HEARTBEAT, decode_server, encode_client,
};
use crate::wire::message::{Decoder, Message, Role};
use crate::wire::proto;
use crate::wire::upgrade::ClientRequest;

const SECRET: &[u8] = b"a secret of thirty-two bytes or more";
const SHOW: ShowId = ShowId(5);
const ROOM: RoomId = RoomId(7);
const CLOCK: DisplayClock = DisplayClock { zero_unix_ms: 1_800_000_000_000 };

struct Stage {
    shard: Shard,
    now: Time,
    places: u32,
    sent: BTreeMap<u32, Vec<u8>>,
    /// Bytes that a socket takes in one send.
    takes: usize,
    ended: Vec<ConnId>,
    records: Vec<Record>,
}

/// What a client got, in order: frames and at last, perhaps, the code of a close frame.
#[derive(Debug, Default)]
struct Heard {
    frames: Vec<proto::ServerFrame>,
    closed: Option<u16>,
}

impl Stage {
    fn new() -> Stage {
        let shard = a_shard(ShardId(0), 1, 0);
        let now = Time::from_millis(1_000);
        let sent = BTreeMap::new();
        let (ended, records) = (Vec::new(), Vec::new());
        Stage { shard, now, places: 0, sent, takes: usize::MAX, ended, records }
    }

    fn step(&mut self, input: Input<'_>) {
        self.shard.step(self.now, input);
        self.carry_out();
    }

    fn carry_out(&mut self) {
        loop {
            let effects: Vec<Effect> = self.shard.effects().collect();
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                match effect {
                    Effect::Close { conn, last } => {
                        self.sent.entry(conn.place).or_default().extend_from_slice(&last);
                        self.ended.push(conn);
                    }
                    Effect::ReadOut { conn } => self.shard.step(self.now, Input::ReadOut { conn }),
                    Effect::Journal { number, record } => {
                        self.records.push(record);
                        self.shard.step(self.now, Input::Durable { record: number });
                    }
                    Effect::Post { .. } => panic!("there is no other shard"),
                    Effect::Answer { answer, .. } => assert!(answer.is_ok(), "{answer:?}"),
                }
            }
        }
    }

    /// Sends what is planned until nothing is.
    fn send(&mut self) {
        while self.send_batch() {}
    }

    /// Sends one batch; false if there was nothing to send.
    fn send_batch(&mut self) -> bool {
        if self.shard.plan_sends(16) > 0 {
            let mut results = Vec::new();
            for plan in self.shard.plans() {
                let bytes = self.shard.bytes_of(plan);
                let count = bytes.len().min(self.takes);
                let got = self.sent.entry(plan.conn.place).or_default();
                got.extend_from_slice(&bytes[..count]);
                let blocked = count == 0 && !bytes.is_empty();
                results.push(if blocked { SendResult::Blocked } else { SendResult::Sent(count) });
            }
            self.shard.sends_done(self.now, &results);
            self.carry_out();
        }
        self.shard.has_sends_due()
    }

    /// Lets the patrol walk for some seconds.
    fn patrol(&mut self, seconds: u32) {
        for _ in 0..seconds {
            self.now = self.now + Duration::from_secs(1);
            self.step(Input::Tick);
        }
    }

    fn upgrade(&mut self, target: &str) -> ConnId {
        let conn = ConnId { place: self.places, generation: 1 };
        self.places += 1;
        let peer = std::net::SocketAddr::from(([127, 0, 0, 1], 9));
        self.step(Input::Opened { conn, peer });
        let (encoding, nonce) = (Encoding::Proto, [1; 16]);
        let request = ClientRequest { host: "quiz.example", target, encoding, nonce };
        self.receive(conn, request.to_bytes());
        conn
    }

    fn enter(&mut self, user: u64) -> ConnId {
        self.enter_room(user, ROOM)
    }

    fn enter_room(&mut self, user: u64, room: RoomId) -> ConnId {
        let conn = self.upgrade(&format!("/?token={}&room={room}", token(user)));
        self.send();
        conn
    }

    /// The service says something in a room.
    fn say(&mut self, room: RoomId) {
        let messages = vec![Bytes::from_static(&[b'x'; 20])];
        let messages = ServiceMessages { room, lane: Lane::High, kind: 0, messages };
        self.step(Input::Operator { ticket: 1, request: OperatorRequest::Publish(messages) });
    }

    fn receive(&mut self, conn: ConnId, mut bytes: Vec<u8>) {
        self.step(Input::Received { conn, bytes: &mut bytes, arrived: self.now });
    }

    /// What an operator is answered.
    fn ask_operator(&mut self, request: OperatorRequest) -> Result<OperatorAnswer, OperatorError> {
        self.shard.step(self.now, Input::Operator { ticket: 1, request });
        let mut answered = None;
        loop {
            let effects: Vec<Effect> = self.shard.effects().collect();
            if effects.is_empty() {
                return answered.expect("an answer");
            }
            for effect in effects {
                match effect {
                    Effect::Answer { answer, .. } => answered = Some(answer),
                    Effect::Close { conn, .. } => self.ended.push(conn),
                    Effect::Journal { number, record } => {
                        self.records.push(record);
                        self.shard.step(self.now, Input::Durable { record: number });
                    }
                    Effect::ReadOut { .. } | Effect::Post { .. } => {}
                }
            }
        }
    }

    fn order(&mut self, command: Command) {
        let request = OperatorRequest::Command { show: SHOW, command };
        self.step(Input::Operator { ticket: 1, request });
    }

    fn announce(&mut self) {
        let definition = Arc::new(show());
        self.step(Input::Operator { ticket: 1, request: OperatorRequest::Announce(definition) });
    }

    /// Lets time pass until the question that is open is closed.
    fn close_question(&mut self) {
        for _ in 0..400 {
            self.now = self.now + Duration::from_millis(10);
            self.step(Input::ReceivedAll { until: self.now });
            if self.shard.deadline().is_some_and(|deadline| deadline <= self.now) {
                self.step(Input::Tick);
            }
        }
    }

    fn heard(&self, conn: ConnId) -> Heard {
        heard_in(&self.sent[&conn.place])
    }
}

/// What a client got, of all bytes that were sent to it.
fn heard_in(bytes: &[u8]) -> Heard {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let mut frames = bytes[end + 4..].to_vec();
    let decoder = Decoder { role: Role::Client, message_bytes_max: 1 << 20 };
    let mut heard = Heard::default();
    let mut pending = None;
    let decoded = decoder.decode(&mut pending, &mut frames, |message| {
        assert_eq!(heard.closed, None, "{message:?} follows a close frame");
        match &message {
            Message::Close(close) => heard.closed = close.map(|close| close.code),
            message => heard.frames.push(decode_server(Encoding::Proto, message).unwrap()),
        }
        ControlFlow::Continue(())
    });
    decoded.unwrap();
    heard
}

impl Heard {
    /// The answer to a request: its payload, or the failure.
    fn reply(&self, sequence: &str) -> String {
        let found = self.frames.iter().find_map(|frame| match &frame.body {
            Some(proto::server_frame::Body::Business(it)) if it.sequence == sequence => {
                Some(format!("{:?}", it.body))
            }
            _ => frame
                .failure
                .as_ref()
                .filter(|it| it.sequence == sequence)
                .map(|it| format!("{:?}", it.reason())),
        });
        found.unwrap_or_else(|| panic!("no reply to {sequence}: {self:?}"))
    }

    fn epoch(&self) -> u64 {
        let joined = self.frames.iter().find_map(|frame| match &frame.body {
            Some(proto::server_frame::Body::Business(it)) => match &it.body {
                Some(proto::business::Body::Response(it)) => match &it.payload {
                    Some(proto::response::Payload::Joined(joined)) => Some(joined.epoch),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        });
        joined.unwrap()
    }

    /// Versions of the low lane, and gaps as the last version that is missing.
    fn low_lane(&self) -> Vec<(&'static str, u64)> {
        let mut found = Vec::new();
        for frame in &self.frames {
            let Some(proto::server_frame::Body::Business(business)) = &frame.body else { continue };
            let Some(proto::business::Body::Notification(it)) = &business.body else { continue };
            if let Some(proto::notification::Payload::Gap(gap)) = &it.payload {
                found.push(("gap", gap.last_missing));
            } else if let Some(stamp) = it.stamp.as_ref().filter(|it| it.lane() == proto::Lane::Low)
            {
                found.push(("message", stamp.version));
            }
        }
        found
    }
}

/// A shard of several; `force_retry_percent` of answers are asked to come again.
fn a_shard(me: ShardId, shard_count: u16, force_retry_percent: u8) -> Shard {
    let key = PlacementKey([3; 16]);
    let config = ShardConfig {
        me,
        placement: Placement::new(key, 8, shard_count),
        clock: CLOCK,
        decoder: Decoder { role: Role::Server, message_bytes_max: 4_096 },
        spill_bytes_max: 2_000,
        lane_bytes_max: 1_500,
        handshake_timeout_ms: 1_000,
        heartbeat_interval_ms: 1_000,
        idle_timeout_ms: 60_000,
        limits: ConnectionLimits::default(),
        echo: false,
        admission: Admission {
            mailbox_age_ms: 1_000,
            turn_ms: 1_000,
            force_retry_percent,
            retry_after_max_ms: 0,
        },
        downlink: Downlink { info_interval_ms: 0, ..Downlink::default() },
        chat: ChatSettings::unlimited(),
        words: Arc::default(),
    };
    let secrets = Secrets {
        ticket_key: TicketKey::new([9; 32], CLOCK),
        verifier: TokenVerifier::new(SECRET),
        entropy: Box::new(SeededEntropy::new(1, 1)),
    };
    Shard::new(config, secrets)
}

fn token(user: u64) -> String {
    let issued_unix_s = CLOCK.zero_unix_ms / 1_000;
    let user = UserId(user);
    mint(SECRET, NewToken { user, issued_unix_s, lifetime_s: 86_400, audience: None })
}

fn show() -> ShowDefinition {
    ShowDefinition {
        id: SHOW,
        room: ROOM,
        title: "A show".into(),
        starts_at_unix_ms: 0,
        prize_pool: Cents(100),
        remainder_account: "house".into(),
        revive: ReviveCoverage::default(),
        timing: Timing {
            lead: Duration::from_millis(50),
            display_slack: Duration::from_millis(50),
            countdown: Duration::from_millis(500),
            ticket_life: Duration::from_millis(100),
            ..Timing::default()
        },
        questions: vec![QuestionDefinition {
            text: "Which?".into(),
            options: ["a", "b"].map(String::from).to_vec(),
            correct: OptionIndex(1),
        }],
    }
}

fn encoded(frame: &proto::ClientFrame) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_client(Encoding::Proto, frame, [1, 2, 3, 4], &mut bytes);
    bytes
}

fn request(sequence: &str, payload: proto::request::Payload) -> Vec<u8> {
    let request = proto::Request { payload: Some(payload) };
    let business = proto::Business {
        r#type: 0,
        sequence: sequence.into(),
        body: Some(proto::business::Body::Request(request)),
    };
    let frame = proto::ClientFrame {
        r#type: TYPE_BUSINESS,
        business: Some(business),
        ..proto::ClientFrame::default()
    };
    encoded(&frame)
}

fn chat() -> Vec<u8> {
    let data = Bytes::from_static(&[b'x'; 60]);
    let publish = proto::Publish { lane: proto::Lane::Low.into(), data };
    request("p", proto::request::Payload::Publish(publish))
}

#[test]
fn members_who_gathered_before_the_announcement_play() {
    let mut stage = Stage::new();
    let conn = stage.enter(1);
    stage.announce();
    stage.order(Command::OpenLobby);
    stage.order(Command::Publish);
    let answer = proto::Answer { show_id: SHOW.0, question: 0, option: 1, ticket: Bytes::new() };
    stage.receive(conn, request("a", proto::request::Payload::Answer(answer)));
    stage.send();
    let reply = stage.heard(conn).reply("a");
    assert!(reply.contains("AnswerReceived"), "{reply}");
}

#[test]
fn an_older_connection_that_leaves_does_not_end_the_presence_of_the_newer() {
    let mut stage = Stage::new();
    stage.announce();
    stage.order(Command::OpenLobby);
    let older = stage.enter(1);
    let newer = stage.enter(1);
    assert_eq!(stage.heard(older).closed, Some(CloseReason::Replaced.code()));
    stage.step(Input::Ended { conn: older });
    stage.order(Command::Publish);
    stage.close_question();
    let record = stage.shard.answer_record(SHOW, UserId(1)).unwrap();
    assert!(record.verdict.is_some() && record.offered.is_some(), "{record:?}");
    assert_eq!(stage.heard(newer).closed, None);
}

#[test]
fn a_join_that_a_newer_one_replaces_is_answered() {
    let mut stage = Stage::new();
    let conn = stage.upgrade("/");
    let authenticate = proto::ClientFrame {
        r#type: TYPE_AUTHENTICATE,
        user_id: 1,
        token: token(1),
        ..proto::ClientFrame::default()
    };
    let mut bytes = encoded(&authenticate);
    for (sequence, room_id) in [("one", 3), ("two", 4)] {
        let join = proto::Join { room_id, ..proto::Join::default() };
        bytes.extend(request(sequence, proto::request::Payload::Join(join)));
    }
    stage.receive(conn, bytes);
    stage.send();
    let heard = stage.heard(conn);
    assert_eq!(heard.reply("one"), "NotInRoom");
    assert!(heard.reply("two").contains("Joined"), "{heard:?}");
}

#[test]
fn nothing_follows_a_close_frame() {
    let mut stage = Stage::new();
    let conn = stage.enter(1);
    stage.shard.close(conn, CloseReason::Replaced);
    stage.send();
    let bytes = stage.sent[&conn.place].len();
    let left = proto::Left { room_id: 1 };
    stage.shard.respond(conn, "late", proto::response::Payload::Left(left));
    stage.send();
    assert_eq!(stage.sent[&conn.place].len(), bytes);
    assert_eq!(stage.heard(conn).closed, Some(CloseReason::Replaced.code()));
}

#[test]
fn a_gap_precedes_what_follows_it() {
    let mut stage = Stage::new();
    let conn = stage.enter(1);
    // More than the lane holds, before anything is sent: the sweep meets a lapped reader.
    for _ in 0..40 {
        stage.receive(conn, chat());
        stage.now = stage.now + Duration::from_millis(500);
        stage.step(Input::Tick);
    }
    stage.send();
    let lane = stage.heard(conn).low_lane();
    let (first, missing) = lane[0];
    assert_eq!(first, "gap", "{lane:?}");
    let expected = (missing + 1..=40).map(|version| ("message", version));
    assert!(lane[1..].iter().copied().eq(expected), "{lane:?}");
}

#[test]
fn a_slow_reader_is_closed_behind_the_frame_that_was_begun() {
    let mut stage = Stage::new();
    let conn = stage.enter(1);
    let speaker = stage.enter(2);
    stage.receive(speaker, chat());
    stage.takes = 40;
    stage.send();
    let beat = proto::ClientFrame { r#type: TYPE_HEARTBEAT, ..proto::ClientFrame::default() };
    stage.takes = 0;
    for _ in 0..200 {
        stage.receive(conn, encoded(&beat));
        stage.send();
    }
    assert_eq!(stage.shard.counters().closes[CloseReason::TooSlow as usize], 1);
    stage.takes = usize::MAX;
    stage.step(Input::Writable { conn });
    stage.send();
    assert_eq!(stage.heard(conn).closed, Some(CloseReason::TooSlow.code()));
    assert_eq!(stage.ended, [conn]);
}

#[test]
fn a_busy_room_leaves_others_their_turn() {
    let mut stage = Stage::new();
    for user in 1..=200 {
        stage.enter_room(user, RoomId(1));
    }
    let quiet = stage.enter_room(201, RoomId(2));
    stage.say(RoomId(1));
    stage.say(RoomId(2));
    let heard = stage.heard(quiet).frames.len();
    // Room 1 never comes to rest: it is said something more in before each batch.
    for _ in 0..4 {
        stage.say(RoomId(1));
        assert!(stage.send_batch());
    }
    assert_eq!(stage.heard(quiet).frames.len(), heard + 1);
}

#[test]
fn whatever_rooms_clients_enter_a_show_has_its_place() {
    let mut stage = Stage::new();
    let wanderer = stage.enter(1);
    let first_room = RoomId(100);
    let members = crate::base::limits::ROOMS_MAX as u64 + 10;
    for room in first_room.0..first_room.0 + members {
        let join = proto::Join { room_id: room, ..proto::Join::default() };
        stage.receive(wanderer, request("j", proto::request::Payload::Join(join)));
        stage.send();
        stage.sent.clear();
    }
    stage.announce();
    stage.order(Command::OpenLobby);
    let player = stage.enter(2);
    stage.order(Command::Publish);
    stage.send();
    let heard = format!("{:?}", stage.heard(player));
    assert!(heard.contains("Some(Question("), "{heard}");
}

#[test]
fn while_the_host_stood_still_nobody_was_silent() {
    let mut stage = Stage::new();
    let conn = stage.enter(1);
    stage.step(Input::ReceivedAll { until: stage.now });
    stage.patrol(70);
    stage.send();
    assert_eq!(stage.heard(conn).closed, None, "what it said may not have been read");
    stage.step(Input::ReceivedAll { until: stage.now });
    stage.patrol(1);
    stage.send();
    assert_eq!(stage.heard(conn).closed, Some(CloseReason::HeartbeatTimeout.code()));
}

/// RFC 6455 §5.5.1.
#[test]
fn one_close_frame_is_sent() {
    let mut stage = Stage::new();
    let conn = stage.enter(1);
    stage.shard.close(conn, CloseReason::Replaced);
    stage.send();
    stage.receive(conn, vec![0xFF; 20]);
    assert_eq!(stage.ended, [conn]);
    assert_eq!(stage.heard(conn).closed, Some(CloseReason::Replaced.code()));
}

#[test]
fn who_comes_while_the_gateway_stops_is_told_so() {
    let mut stage = Stage::new();
    stage.step(Input::Shutdown);
    let conn = stage.upgrade("/");
    assert_eq!(stage.ended, [conn]);
    assert!(stage.sent[&conn.place].starts_with(b"HTTP/1.1 503 "));
}
