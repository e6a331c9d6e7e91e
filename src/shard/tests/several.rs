//! Several shards, and mail between them that comes when the test lets it.

use std::collections::{BTreeSet, VecDeque};

use super::*;
use crate::auth::revocation::Revocation;
use crate::base::ids::EventNumber;
use crate::base::limits::SHOWS_MAX;
use crate::shard::quiz_mail::QuizMail;

const SHARDS: u16 = 3;
/// The shard of all connections.
const ENTRY: usize = 0;

struct Several {
    shards: Vec<Shard>,
    placement: Placement,
    now: Time,
    mail: BTreeMap<(usize, usize), VecDeque<Mail>>,
    /// Ways on which mail waits.
    held: BTreeSet<(usize, usize)>,
    places: u32,
    sent: BTreeMap<u32, Vec<u8>>,
    answers: Vec<String>,
    records: Vec<Record>,
}

impl Several {
    fn new(force_retry_percent: u8) -> Several {
        let shard = |me| a_shard(me, SHARDS, force_retry_percent);
        Several {
            shards: ShardId::all(SHARDS).map(shard).collect(),
            placement: Placement::new(PlacementKey([3; 16]), 8, SHARDS),
            now: Time::from_millis(1_000),
            mail: BTreeMap::new(),
            held: BTreeSet::new(),
            places: 0,
            sent: BTreeMap::new(),
            answers: Vec::new(),
            records: Vec::new(),
        }
    }

    /// A show with its director on one shard and its room on another.
    fn show(&self, director: usize, room_home: usize) -> ShowDefinition {
        let id = (1..).map(ShowId).find(|id| self.placement.show_home(*id).index() == director);
        let room = (1..).map(RoomId).find(|id| self.placement.room_home(*id).index() == room_home);
        ShowDefinition { id: id.unwrap(), room: room.unwrap(), ..show() }
    }

    fn user(&self, home: usize) -> UserId {
        let lives = |user: &UserId| self.placement.user_home(*user).index() == home;
        (1..).map(UserId).find(lives).unwrap()
    }

    fn step(&mut self, at: usize, input: Input<'_>) {
        self.shards[at].step(self.now, input);
        self.carry_out(at);
    }

    fn carry_out(&mut self, at: usize) {
        loop {
            let effects: Vec<Effect> = self.shards[at].effects().collect();
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                match effect {
                    Effect::Post { to, mail } => {
                        self.mail.entry((at, to.index())).or_default().push_back(mail);
                    }
                    Effect::Journal { number, record } => {
                        self.records.push(record);
                        self.shards[at].step(self.now, Input::Durable { record: number });
                    }
                    Effect::Answer { answer, .. } => self.answers.push(match answer {
                        Ok(_) => "done".into(),
                        Err(error) => error.to_string(),
                    }),
                    Effect::Close { .. } | Effect::ReadOut { .. } => {}
                }
            }
        }
    }

    /// Delivers all mail that is not held, and sends what is to be sent.
    fn deliver(&mut self) {
        loop {
            let due = |(way, mail): &(&(usize, usize), &VecDeque<Mail>)| {
                !self.held.contains(way) && !mail.is_empty()
            };
            let Some(way) = self.mail.iter().find(due).map(|(way, _)| *way) else { break };
            let mail = self.mail.remove(&way).unwrap_or_default().into();
            let from = ShardId(u16::try_from(way.0).unwrap());
            let batch = Batch { from, posted_at: self.now, lag: Duration::ZERO, mail };
            self.step(way.1, Input::Mail(batch));
        }
        for at in 0..self.shards.len() {
            while self.shards[at].plan_sends(16) > 0 {
                let mut results = Vec::new();
                for plan in self.shards[at].plans() {
                    let bytes = self.shards[at].bytes_of(plan);
                    self.sent.entry(plan.conn.place).or_default().extend_from_slice(bytes);
                    results.push(SendResult::Sent(bytes.len()));
                }
                self.shards[at].sends_done(self.now, &results);
                self.carry_out(at);
            }
        }
    }

    fn operate(&mut self, at: usize, request: OperatorRequest) {
        self.step(at, Input::Operator { ticket: 1, request });
    }

    fn announce(&mut self, definition: &ShowDefinition) {
        let at = self.placement.show_home(definition.id).index();
        self.operate(at, OperatorRequest::Announce(Arc::new(definition.clone())));
    }

    fn order(&mut self, show: ShowId, command: Command) {
        let at = self.placement.show_home(show).index();
        self.operate(at, OperatorRequest::Command { show, command });
    }

    /// A client comes to the entry shard and, perhaps, into a room.
    fn connect(&mut self, user: UserId, room: Option<RoomId>) -> ConnId {
        let conn = ConnId { place: self.places, generation: 1 };
        self.places += 1;
        let peer = std::net::SocketAddr::from(([127, 0, 0, 1], 9));
        self.step(ENTRY, Input::Opened { conn, peer });
        let room = room.map_or(String::new(), |room| format!("&room={room}"));
        let target = format!("/?token={}{room}", token(user.0));
        let (encoding, nonce) = (Encoding::Proto, [1; 16]);
        let request = ClientRequest { host: "quiz.example", target: &target, encoding, nonce };
        self.receive(conn, request.to_bytes());
        self.deliver();
        conn
    }

    fn receive(&mut self, conn: ConnId, mut bytes: Vec<u8>) {
        self.step(ENTRY, Input::Received { conn, bytes: &mut bytes, arrived: self.now });
    }

    fn answer(&mut self, conn: ConnId, show: ShowId, sequence: &str, option: u32) {
        let answer = proto::Answer { show_id: show.0, question: 0, option, ticket: Bytes::new() };
        self.receive(conn, request(sequence, proto::request::Payload::Answer(answer)));
    }

    fn reply(&self, conn: ConnId, sequence: &str) -> String {
        heard_in(&self.sent[&conn.place]).reply(sequence)
    }

    /// A show whose first question is open, with one player who lives on shard 1.
    fn with_question(force_retry_percent: u8) -> (Several, ShowId, ConnId) {
        let mut several = Several::new(force_retry_percent);
        let definition = several.show(2, ENTRY);
        several.announce(&definition);
        several.deliver();
        several.order(definition.id, Command::OpenLobby);
        several.deliver();
        let user = several.user(1);
        let conn = several.connect(user, Some(definition.room));
        (several, definition.id, conn)
    }
}

#[test]
fn repeats_of_an_answer_that_waits_for_its_event_get_the_same_reply() {
    let (mut several, show, conn) = Several::with_question(0);
    several.held.insert((2, 1));
    several.order(show, Command::Publish);
    several.deliver();
    let sequences = ["a", "b", "c", "d", "e"];
    for sequence in sequences {
        several.answer(conn, show, sequence, 1);
        several.deliver();
    }
    // More than may wait: only the first passes all limits.
    assert_eq!(several.reply(conn, "e"), "RateLimited");
    several.held.clear();
    several.deliver();
    let first = several.reply(conn, "a");
    assert!(first.contains("AnswerReceived") && first.contains("ciphertext"), "{first}");
    for sequence in &sequences[1..4] {
        assert_eq!(several.reply(conn, sequence), first, "{sequence}");
    }
    let answers = several.records.iter().filter(|it| matches!(it, Record::Answer { .. })).count();
    assert_eq!(answers, 1);
}

#[test]
fn a_shard_with_members_acknowledges_a_question_only_when_it_is_queued() {
    let mut several = Several::new(0);
    // The director on shard 2, the room on shard 1, everybody on shard 0.
    let definition = several.show(2, 1);
    let show = definition.id;
    several.announce(&definition);
    several.deliver();
    several.order(show, Command::OpenLobby);
    several.deliver();
    let conn = several.connect(several.user(0), Some(definition.room));
    several.held.extend([(1, ENTRY), (ENTRY, 2)]);
    several.order(show, Command::Publish);
    several.deliver();
    let acknowledged = |several: &Several| {
        let mail = several.mail.get(&(ENTRY, 2)).into_iter().flatten();
        mail.filter(|mail| matches!(mail, Mail::Quiz(QuizMail::Acknowledged { .. }))).count()
    };
    assert_eq!(several.shards[ENTRY].applied_event(show), EventNumber(3));
    assert_eq!(acknowledged(&several), 0, "it knows the question, and has offered it to nobody");
    several.held.remove(&(1, ENTRY));
    several.deliver();
    assert_eq!(acknowledged(&several), 1);
    assert_eq!(several.shards[ENTRY].queued_event(show), EventNumber(3));
    let heard = heard_in(&several.sent[&conn.place]);
    assert!(format!("{heard:?}").contains("Which?"), "{heard:?}");
}

#[test]
fn nobody_gets_a_ticket_outside_of_the_shows_room() {
    let (mut several, show, inside) = Several::with_question(100);
    let user = UserId(several.user(1).0 + 1);
    let outside = several.connect(user, None);
    several.order(show, Command::Publish);
    several.deliver();
    for conn in [inside, outside] {
        several.answer(conn, show, "a", 1);
    }
    several.deliver();
    assert!(several.reply(inside, "a").contains("RetryAnswer"));
    assert_eq!(several.reply(outside, "a"), "NotInRoom");
    let bound = several.records.iter().any(|it| matches!(it, Record::TicketIssued { .. }));
    assert!(bound, "{:?}", several.records);
}

#[test]
fn two_shows_announced_at_once_are_neither_too_many_nor_in_one_room() {
    let mut several = Several::new(0);
    let one = several.show(1, ENTRY);
    let other = ShowDefinition { room: one.room, ..several.show(2, ENTRY) };
    several.announce(&one);
    several.announce(&other);
    several.deliver();
    let expected = "room";
    assert_eq!(several.answers.iter().filter(|it| *it == "done").count(), 1);
    assert_eq!(several.answers.iter().filter(|it| it.starts_with(expected)).count(), 1);
    let announced = |several: &Several, definition: &ShowDefinition| {
        several.shards[0].applied_event(definition.id) > EventNumber(0)
    };
    assert!(announced(&several, &one) != announced(&several, &other));
    for number in 0..SHOWS_MAX as u64 + 1 {
        let (id, room) = (ShowId(1_000 + number), RoomId(1_000 + number));
        several.announce(&ShowDefinition { id, room, ..show() });
    }
    several.answers.clear();
    several.deliver();
    let refused = several.answers.iter().filter(|it| it.contains("as many shows as it can"));
    assert_eq!(refused.count(), 2, "{:?}", several.answers);
}

#[test]
fn a_room_is_free_for_another_show_once_one_has_ended_everywhere() {
    let mut several = Several::new(0);
    let one = several.show(1, ENTRY);
    several.announce(&one);
    several.deliver();
    let user = several.user(1);
    several.connect(user, Some(one.room));
    // Shard 2 learns of the end last, after the next show in the room is announced.
    several.held.insert((1, 2));
    several.order(one.id, Command::Cancel);
    several.order(one.id, Command::End);
    several.deliver();
    let next = ShowDefinition { room: one.room, ..several.show(0, ENTRY) };
    several.announce(&next);
    several.deliver();
    several.held.clear();
    several.deliver();
    several.order(next.id, Command::OpenLobby);
    several.deliver();
    several.order(next.id, Command::Publish);
    several.deliver();
    let again = several.connect(UserId(user.0 + 1), Some(one.room));
    several.answer(again, next.id, "a", 1);
    several.deliver();
    assert!(several.reply(again, "a").contains("AnswerReceived"));
}

#[test]
fn a_frame_of_somebody_else_is_refused_with_its_sequence() {
    let (mut several, ..) = Several::with_question(0);
    let conn = several.connect(several.user(2), None);
    let business = proto::Business { sequence: "mine".into(), ..proto::Business::default() };
    let frame = proto::ClientFrame {
        r#type: TYPE_BUSINESS,
        user_id: 4_711,
        business: Some(business),
        ..proto::ClientFrame::default()
    };
    several.receive(conn, encoded(&frame));
    several.deliver();
    assert_eq!(several.reply(conn, "mine"), "IdentityMismatch");
}

#[test]
fn a_session_that_opens_while_its_user_is_revoked_is_closed() {
    let mut several = Several::new(0);
    let user = several.user(1);
    // What the entry shard posts to the user's home waits: the session is nobody's yet.
    several.held.insert((ENTRY, 1));
    let conn = several.connect(user, None);
    let revocation =
        Revocation::User { user, issued_until_unix_s: None, refused_until_unix_s: None };
    for at in [1, 2, ENTRY] {
        several.operate(at, OperatorRequest::Revoke(revocation.clone()));
        several.deliver();
    }
    assert_eq!(heard_in(&several.sent[&conn.place]).closed, None);
    several.held.clear();
    several.deliver();
    let closed = heard_in(&several.sent[&conn.place]).closed;
    assert_eq!(closed, Some(CloseReason::TokenRevoked.code()));
}
