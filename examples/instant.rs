//! Everybody answers in the same instant: nothing may be lost, however small the completion queue.
//!
//! ```text
//! cargo run --release --example instant -- [connections] [completion queue entries]
//! ```
//!
//! A gateway and its players in one process: all join, a question is published, and once everybody
//! has it all answers leave in one go. Prints one JSON object; exit status 1 if an answer got no
//! reply or was refused.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program for figures")]

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tidegate::auth::keys::KeySet;
use tidegate::auth::token::{NewToken, TokenPolicy, mint};
use tidegate::base::hash::PlacementKey;
use tidegate::base::ids::{ConnId, OptionIndex, RoomId, ShowId, UserId};
use tidegate::base::metrics::Metric;
use tidegate::chat::settings::ChatSettings;
use tidegate::net::probe::raise_file_limit;
use tidegate::net::{
    Event, ListenSettings, Plane, PlaneSettings, SendOutcome, SendRequest, TurnLimits,
};
use tidegate::quiz::definition::{QuestionDefinition, ReviveCoverage, ShowDefinition, Timing};
use tidegate::quiz::director::Command;
use tidegate::quiz::money::Cents;
use tidegate::runtime::clock::Clock;
use tidegate::runtime::edge::EdgeSettings;
use tidegate::runtime::gateway::{EntropySource, Gateway, GatewaySettings};
use tidegate::shard::config::{Admission, Downlink};
use tidegate::shard::limits::ConnectionLimits;
use tidegate::shard::operator::OperatorRequest;
use tidegate::wire::codec::{Encoding, decode_server, encode_client};
use tidegate::wire::message::{Decoder, Message, Pending, Role};
use tidegate::wire::proto;
use tidegate::wire::upgrade::{Accept, ClientRequest, parse_accept};

const SECRET: &[u8] = b"a secret of thirty-two bytes or more";
const SHOW: ShowId = ShowId(1);
const ROOM: RoomId = RoomId(1);
/// Connects that are under way at the same time.
const CONNECTING_MAX: usize = 256;
/// Nobody stands between these players and their gateway.
const NONCE: [u8; 16] = [5; 16];
const PATIENCE: Duration = Duration::from_secs(60);

/// One player: as little as a client can be.
#[derive(Default)]
struct Player {
    conn: ConnId,
    head: Vec<u8>,
    upgraded: bool,
    pending: Option<Box<Pending>>,
    is_in: bool,
    has_question: bool,
    acknowledged: bool,
    refused: bool,
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|it| it.parse::<u32>().expect("a number"));
    let connections = arguments.next().unwrap_or(9_000);
    let completions = arguments.next().unwrap_or(4_096);
    let files = u32::try_from(raise_file_limit().unwrap().soft).unwrap_or(u32::MAX);
    let slots_per_ring = files.min(16_384);
    let plane = PlaneSettings { slots_per_ring, ..PlaneSettings::default() };
    let gateway = start(PlaneSettings { cq_entries: completions, ..plane });
    let clock = gateway.clock();
    gateway.call(OperatorRequest::Announce(show())).unwrap();
    order(&gateway, Command::OpenLobby);

    let mut crowd = Crowd::new(Plane::new(plane, None).unwrap(), clock, connections);
    crowd.come_in(gateway.local_address());
    order(&gateway, Command::Publish);
    crowd.run("the question reaches everybody", |crowd| crowd.count(|it| it.has_question));
    let begun = clock.now();
    crowd.answer();
    let sent_ms = clock.now().since(begun).as_millis();
    crowd.run("every answer is replied to", |crowd| {
        crowd.count(|it| it.acknowledged) + crowd.count(|it| it.refused)
    });
    let all_ms = clock.now().since(begun).as_millis();
    let sum = |metric| gateway.snapshots().iter().map(|it| it.get(metric)).sum::<u64>();
    std::thread::park_timeout(Duration::from_millis(300));
    let (acknowledged, refused) = (crowd.count(|it| it.acknowledged), crowd.count(|it| it.refused));
    println!(
        "{}",
        serde_json::json!({
            "connections": connections, "completion_entries": completions,
            "answers_acknowledged": acknowledged, "answers_refused": refused,
            "lost": connections as usize - acknowledged - refused,
            "sent_within_ms": sent_ms, "all_replied_within_ms": all_ms,
            "completion_overflows": sum(Metric::CompletionOverflows),
            "polls_rearmed": sum(Metric::PollsRearmed),
        })
    );
    drop(crowd);
    gateway.stop();
    std::process::exit(i32::from(acknowledged != connections as usize));
}

struct Crowd {
    plane: Plane,
    clock: Clock,
    players: Vec<Player>,
    by_place: Vec<u32>,
}

impl Crowd {
    fn new(plane: Plane, clock: Clock, connections: u32) -> Crowd {
        let players = (0..connections).map(|_| Player::default()).collect();
        Crowd { plane, clock, players, by_place: Vec::new() }
    }

    fn count(&self, is_so: impl Fn(&Player) -> bool) -> usize {
        self.players.iter().filter(|player| is_so(player)).count()
    }

    /// Turns until everybody has got there, or patience ends.
    fn run(&mut self, what: &str, done: impl Fn(&Crowd) -> usize) {
        let until = self.clock.now() + PATIENCE;
        while done(self) < self.players.len() && self.clock.now() < until {
            self.turn();
        }
        eprintln!("{what}: {} of {}", done(self), self.players.len());
    }

    fn come_in(&mut self, gateway: SocketAddr) {
        for index in 0..self.players.len() {
            while index - self.count(|it| it.is_in).min(index) >= CONNECTING_MAX {
                self.turn();
            }
            let conn = self.plane.connect(gateway, None).unwrap();
            let place = conn.place as usize;
            self.by_place.resize(self.by_place.len().max(place + 1), u32::MAX);
            self.by_place[place] = u32::try_from(index).unwrap();
            self.players[index].conn = conn;
        }
        self.run("everybody is in the room", |crowd| crowd.count(|it| it.is_in));
    }

    fn turn(&mut self) {
        let Crowd { plane, clock, players, by_place } = self;
        let (mut greetings, mut gone) = (Vec::new(), Vec::new());
        let limits = TurnLimits { receives: 1_024, ..TurnLimits::default() };
        plane.turn(&|| clock.now(), limits, &mut |event| match event {
            Event::Connected { conn } => greetings.push(by_place[conn.place as usize]),
            Event::Received { conn, bytes, .. } => {
                hear(&mut players[by_place[conn.place as usize] as usize], bytes);
            }
            Event::Ended { conn, .. } | Event::ConnectFailed { conn, .. } => gone.push(conn),
            _ => {}
        });
        for index in greetings {
            let request = greeting(index);
            self.send_all(&[(index as usize, request)]);
        }
        assert!(gone.is_empty(), "nobody is thrown out: {gone:?}");
    }

    /// All answers, in as few system calls as the rings allow.
    fn answer(&mut self) {
        let frames: Vec<_> = (0..self.players.len()).map(|index| (index, answer(index))).collect();
        self.send_all(&frames);
    }

    fn send_all(&mut self, frames: &[(usize, Vec<u8>)]) {
        let requests: Vec<_> = frames
            .iter()
            .map(|(index, bytes)| SendRequest { conn: self.players[*index].conn, bytes })
            .collect();
        let mut outcomes = Vec::new();
        self.plane.send(&requests, &mut outcomes);
        for (outcome, request) in outcomes.iter().zip(&requests) {
            assert_eq!(
                *outcome,
                SendOutcome::Sent(request.bytes.len()),
                "an empty socket takes it"
            );
        }
    }
}

fn hear(player: &mut Player, bytes: &mut [u8]) {
    if !player.upgraded {
        player.head.extend_from_slice(bytes);
        let encoding = Encoding::Proto;
        let request = ClientRequest { host: "x", target: "/", encoding, nonce: NONCE };
        let Accept::Accepted { consumed } = parse_accept(&player.head, &request) else {
            return;
        };
        player.upgraded = true;
        let mut rest = player.head.split_off(consumed);
        player.head = Vec::new();
        return hear_frames(player, &mut rest);
    }
    hear_frames(player, bytes);
}

fn hear_frames(player: &mut Player, bytes: &mut [u8]) {
    let decoder = Decoder { role: Role::Client, message_bytes_max: 65_536 };
    let mut pending = player.pending.take();
    decoder
        .decode(&mut pending, bytes, |message| {
            if matches!(message, Message::Binary(_)) {
                understand(player, &decode_server(Encoding::Proto, &message).unwrap());
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    player.pending = pending;
}

fn understand(player: &mut Player, frame: &proto::ServerFrame) {
    use proto::{notification, response, server_frame::Body};
    player.refused |= frame.failure.is_some();
    let Some(Body::Business(business)) = &frame.body else {
        return;
    };
    match &business.body {
        Some(proto::business::Body::Response(response)) => {
            if let Some(response::Payload::AnswerReceived(_)) = &response.payload {
                player.acknowledged = true
            }
        }
        Some(proto::business::Body::Notification(notification)) => match &notification.payload {
            Some(notification::Payload::Question(_)) => player.has_question = true,
            // The snapshot comes when the user's home has taken the player in.
            Some(notification::Payload::Snapshot(_)) => player.is_in = true,
            _ => {}
        },
        _ => {}
    }
}

fn greeting(index: u32) -> Vec<u8> {
    let user = UserId(u64::from(index) + 1);
    let issued_unix_s = Clock::start().display().zero_unix_ms / 1_000;
    let token = mint(SECRET, NewToken { user, issued_unix_s, lifetime_s: 60, audience: None });
    let target = format!("/?token={token}&room={ROOM}");
    let encoding = Encoding::Proto;
    ClientRequest { host: "x", target: &target, encoding, nonce: NONCE }.to_bytes()
}

fn answer(index: usize) -> Vec<u8> {
    let option = u32::try_from(index % 3).unwrap();
    let answer = proto::Answer { show_id: SHOW.0, question: 0, option, ..Default::default() };
    let payload = Some(proto::request::Payload::Answer(answer));
    let business = proto::Business {
        r#type: proto::BusinessType::Answer.into(),
        sequence: "a".into(),
        body: Some(proto::business::Body::Request(proto::Request { payload })),
    };
    let frame = proto::ClientFrame { r#type: 1, business: Some(business), ..Default::default() };
    let mut bytes = Vec::new();
    encode_client(Encoding::Proto, &frame, [1, 2, 3, 4], &mut bytes);
    bytes
}

fn order(gateway: &Gateway, command: Command) {
    gateway.call(OperatorRequest::Command { show: SHOW, command }).unwrap();
}

fn show() -> Arc<ShowDefinition> {
    let second = Duration::from_secs(1);
    Arc::new(ShowDefinition {
        id: SHOW,
        room: ROOM,
        title: "In the same instant".into(),
        starts_at_unix_ms: 0,
        prize_pool: Cents(0),
        remainder_account: "house".into(),
        revive: ReviveCoverage::default(),
        timing: Timing { countdown: 60 * second, ..Timing::default() },
        questions: vec![QuestionDefinition {
            text: "Which?".into(),
            options: vec!["a".into(), "b".into(), "c".into()],
            correct: OptionIndex(0),
        }],
    })
}

fn start(plane: PlaneSettings) -> Gateway {
    let settings = GatewaySettings {
        shards: 2,
        buckets: 1_024,
        listen: ListenSettings::new(([127, 0, 0, 1], 0).into()),
        plane,
        token_keys: Arc::new(KeySet::of_secret(SECRET)),
        token_policy: TokenPolicy::default(),
        placement_key: PlacementKey([7; 16]),
        ticket_key: [9; 32],
        entropy: EntropySource::System,
        message_bytes_max: 4_096,
        spill_bytes_max: 65_536,
        handshake_timeout_ms: 10_000,
        heartbeat_interval_ms: 60_000,
        idle_timeout_ms: 300_000,
        limits: ConnectionLimits::default(),
        edge: EdgeSettings::default(),
        echo: false,
        // Nothing is asked to come again: the whole burst is taken at once.
        admission: Admission {
            mailbox_age_ms: 60_000,
            turn_ms: 60_000,
            force_retry_percent: 0,
            retry_after_max_ms: 500,
        },
        downlink: Downlink::default(),
        chat: ChatSettings::default(),
        words: Arc::default(),
    };
    Gateway::start(&settings, Clock::start()).unwrap()
}
