//! A gateway with a show, its operator's HTTP in three settings, and its REST for players in two.
//! Whatever is asked of them is compared with the documents.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate::auth::keys::KeySet;
use tidegate::auth::token::{TokenPolicy, TokenVerifier};
use tidegate::base::ids::{OptionIndex, RoomId, ShowId, UserId};
use tidegate::ledger::account::Pool;
use tidegate::ledger::book::{Batch, Book, FeedId, Position};
use tidegate::ledger::cause::{Cause, CauseKind, Reward, Side, WithdrawalId};
use tidegate::ops::autopilot::{Autopilot, AutopilotHandle};
use tidegate::ops::drain::lead::{Lead, Wishes};
use tidegate::ops::drain::{DrainHandle, DrainSettings, Wish};
use tidegate::ops::http::{OperatorHttp, OperatorView, Readiness, ReadyState};
use tidegate::ops::operator_port::GatewayPort;
use tidegate::ops::plans::Plans;
use tidegate::ops::players::{PlayerHttp, PlayerSettings, PlayerView};
use tidegate::ops::rehearsal::Rehearsals;
use tidegate::ops::secret::Secret;
use tidegate::ops::watch::files::{FileWatch, Outcome, ReloadHandle, Watched};
use tidegate::quiz::definition::{QuestionDefinition, ReviveCoverage, ShowDefinition, Timing};
use tidegate::quiz::money::Cents;
use tidegate::runtime::gateway::Gateway;
use tidegate::shard::operator::OperatorRequest;
use tokio::sync::watch;

use crate::client::{self, Client, gateway, token};
use crate::document::{Answered, Document};
use crate::{OPERATOR, PLAYERS};

pub(crate) const PACKET: i64 = 5_000;
const SECRET: &[u8] = b"a secret of thirty-two bytes or more";
const SHOW: ShowId = ShowId(3);
const ROOM: u64 = 30;

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// The operator's HTTP without a token.
    Operator,
    /// With a token, shards that are never fresh enough, and not ready.
    Guarded,
    /// Without a list of words.
    WithoutWords,
    /// The REST for players.
    Players,
    /// The same, where an address may ask once in a second.
    Crowded,
}

pub(crate) struct Served {
    gateway: Arc<Gateway>,
    autopilot: Autopilot,
    lead: Leading,
    operators: [OperatorHttp; 3],
    players: [PlayerHttp; 2],
    words: FileWatch,
    data: TempDir,
    documents: [Document; 2],
    /// The statuses that each operation was seen to answer with, by its document and name.
    seen: RefCell<BTreeMap<(&'static str, String), BTreeSet<u16>>>,
}

/// A thread that leads drains, as the main thread of the program does.
struct Leading {
    wishes: Arc<Wishes>,
    thread: JoinHandle<()>,
}

impl Leading {
    fn start(gateway: &Arc<Gateway>) -> Leading {
        let defaults = DrainSettings {
            spread: Duration::ZERO,
            countdown_wait_max: Duration::ZERO,
            timeout: Duration::ZERO,
            to: Vec::new(),
        };
        let wishes = Arc::new(Wishes::new(defaults));
        let (gateway, leads) = (Arc::clone(gateway), Arc::clone(&wishes));
        let thread = std::thread::spawn(move || {
            Lead::new(&leads, &gateway, &Readiness::new()).until_drained();
        });
        Leading { wishes, thread }
    }

    fn handle(&self) -> DrainHandle {
        self.wishes.handle()
    }

    fn stop(self) {
        self.wishes.sender().send(Wish::Signal("SIGTERM")).unwrap();
        self.thread.join().unwrap();
    }
}

/// A list of words that always has three.
struct Words;

impl Watched for Words {
    fn name(&self) -> &'static str {
        "words"
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(60)
    }

    fn look(&mut self) {}

    fn reload(&mut self) -> Outcome {
        Ok(3)
    }
}

fn definition() -> Arc<ShowDefinition> {
    Arc::new(ShowDefinition {
        id: SHOW,
        room: RoomId(ROOM),
        title: "An evening".into(),
        starts_at_unix_ms: 1_800_000_000_000,
        prize_pool: Cents(100_000),
        remainder_account: "house".into(),
        revive: ReviveCoverage::default(),
        timing: Timing {
            lead: Duration::from_millis(50),
            display_slack: Duration::from_millis(50),
            countdown: Duration::from_millis(1_000),
            ticket_life: Duration::from_millis(100),
            stream_delay: Duration::ZERO,
            extension_max: Duration::from_secs(2),
            early_push_max: Duration::ZERO,
        },
        questions: vec![QuestionDefinition {
            text: "Which one?".into(),
            options: vec!["a".into(), "b".into()],
            correct: OptionIndex(0),
        }],
    })
}

fn operator(
    gateway: &Gateway,
    at: At,
    words: Option<ReloadHandle>,
    drain: Option<DrainHandle>,
    autopilot: AutopilotHandle,
) -> OperatorHttp {
    let clock = gateway.clock();
    let is_guarded = at == At::Guarded;
    let readiness = Arc::new(Readiness::new());
    if !is_guarded {
        readiness.set(ReadyState::Accepting);
    }
    let port = GatewayPort::new(gateway.caller(), clock.display()).with_words(words);
    let port = match at {
        At::Operator => port.with_plans(Plans::new(None, gateway.caller(), clock, autopilot)),
        _ => port,
    };
    let view = OperatorView {
        token: is_guarded.then(|| Secret::new(b"sixteen-bytes-or".to_vec())),
        connections_max: 1_000,
        readiness,
        drain,
        rehearsals: Some(Rehearsals::new(gateway.caller())),
        port: Arc::new(port),
        ..OperatorView::of(gateway)
    };
    let health_stale = if is_guarded { Duration::ZERO } else { view.health_stale };
    let view = OperatorView { health_stale, ..view };
    OperatorHttp::start(SocketAddr::from(([127, 0, 0, 1], 0)), view).unwrap()
}

fn players(gateway: &Gateway, data: &TempDir, address_rate: u32) -> PlayerHttp {
    let keys = Arc::new(KeySet::of_secret(SECRET));
    let verifier = Arc::new(TokenVerifier::with_keys(keys, TokenPolicy::default()));
    let settings = PlayerSettings {
        connections_max: 64,
        ipv6_prefix_bits: 64,
        address_rate,
        share_url: Some("https://quiz.example/?show={show}&code={code}".to_owned()),
        share_text: Some("{title}, {prize} to win: {url}".to_owned()),
        ..PlayerSettings::default()
    };
    let view = PlayerView {
        settings,
        caller: gateway.caller(),
        plans: None,
        clock: gateway.clock(),
        verifier: watch::channel(verifier).1,
        book: PlayerView::book_of(Some(data.path())),
        counts: Arc::default(),
    };
    PlayerHttp::start(SocketAddr::from(([127, 0, 0, 1], 0)), view).unwrap()
}

impl Served {
    pub(crate) fn start() -> Served {
        let gateway = Arc::new(gateway(2));
        gateway.call(OperatorRequest::Announce(definition())).unwrap();
        let data = tempfile::tempdir().unwrap();
        let lead = Leading::start(&gateway);
        let words = FileWatch::start(vec![Box::new(Words)]).unwrap();
        let autopilot = Autopilot::start(gateway.caller(), gateway.clock()).unwrap();
        let list = Some(words.handle("words"));
        let operators = [
            operator(&gateway, At::Operator, list, Some(lead.handle()), autopilot.handle()),
            operator(&gateway, At::Guarded, None, None, autopilot.handle()),
            operator(&gateway, At::WithoutWords, None, None, autopilot.handle()),
        ];
        let players = [players(&gateway, &data, 0), players(&gateway, &data, 1)];
        let documents = [Document::read(OPERATOR), Document::read(PLAYERS)];
        Served {
            gateway,
            autopilot,
            lead,
            operators,
            players,
            words,
            data,
            documents,
            seen: RefCell::default(),
        }
    }

    fn address(&self, at: At) -> SocketAddr {
        match at {
            At::Operator => self.operators[0].local_address(),
            At::Guarded => self.operators[1].local_address(),
            At::WithoutWords => self.operators[2].local_address(),
            At::Players => self.players[0].local_address(),
            At::Crowded => self.players[1].local_address(),
        }
    }

    pub(crate) async fn ask(
        &self,
        at: At,
        method: &str,
        target: &str,
        body: &str,
        status: u16,
    ) -> Value {
        self.ask_with(at, method, target, "", body, status).await
    }

    /// Asks, compares the answer with the document, and gives its JSON.
    pub(crate) async fn ask_with(
        &self,
        at: At,
        method: &str,
        target: &str,
        headers: &str,
        body: &str,
        status: u16,
    ) -> Value {
        let mut answer = (0, String::new(), String::new());
        // The first request of a second is answered where only one is.
        for _ in 0..if at == At::Crowded { 50 } else { 1 } {
            answer = exchange(self.address(at), method, target, headers, body).await;
            if answer.0 == status {
                break;
            }
        }
        let (got, content_type, text) = answer;
        assert_eq!(got, status, "{method} {target} {body}: {text}");
        let (name, document) = match at {
            At::Players | At::Crowded => (PLAYERS, &self.documents[1]),
            At::Operator | At::Guarded | At::WithoutWords => (OPERATOR, &self.documents[0]),
        };
        let path = target.split('?').next().unwrap();
        let operation = document.operation_of(method, path);
        let operation = operation.unwrap_or_else(|| panic!("docs/{name}: no {method} {path}"));
        let answered = Answered { status, content_type: &content_type, body: &text };
        let mut wrong = document.check_answer(operation, &answered);
        if status == 200 {
            wrong.extend(document.check_request(operation, target, body));
        }
        assert!(wrong.is_empty(), "docs/{name}: {method} {target}: {wrong:#?}\n{text}");
        let key = (name, operation.name().to_owned());
        self.seen.borrow_mut().entry(key).or_default().insert(status);
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    /// The text of a good answer that is no JSON.
    pub(crate) async fn text(&self, at: At, method: &str, target: &str) -> String {
        self.ask(at, method, target, "", 200).await;
        exchange(self.address(at), method, target, "", "").await.2
    }

    pub(crate) async fn own(
        &self,
        user: u64,
        method: &str,
        target: &str,
        body: &str,
        status: u16,
    ) -> Value {
        self.own_with(user, method, target, "", body, status).await
    }

    /// Asks the REST for players as a user.
    pub(crate) async fn own_with(
        &self,
        user: u64,
        method: &str,
        target: &str,
        headers: &str,
        body: &str,
        status: u16,
    ) -> Value {
        let headers = format!("authorization: Bearer {}\r\n{headers}", token(user));
        self.ask_with(At::Players, method, target, &headers, body, status).await
    }

    pub(crate) async fn until(&self, target: &str, holds: impl Fn(&Value) -> bool) {
        self.until_at(At::Operator, target, holds).await;
    }

    /// Asks until the answer is as it shall be.
    pub(crate) async fn until_at(&self, at: At, target: &str, holds: impl Fn(&Value) -> bool) {
        let mut last = Value::Null;
        for _ in 0..500 {
            last = self.ask(at, "GET", target, "", 200).await;
            if holds(&last) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{target} stays {last}");
    }

    pub(crate) async fn member(&self, user: u64, room: u64) -> Client {
        Client::in_room(&self.gateway, user, room).await
    }

    pub(crate) async fn player(&self, user: u64) -> Client {
        self.member(user, ROOM).await
    }

    /// Taps until the only packet is this player's.
    pub(crate) async fn grab(&self, player: &mut Client) {
        for attempt in 0..200 {
            let tap = json!({"grab": {"showId": SHOW.0.to_string(), "rain": 0, "slot": 0}});
            player.request(&attempt.to_string(), tap).await;
            let told: client::Json = player.until_response(&attempt.to_string()).await;
            if told["grabbed"]["cents"] == json!(PACKET.to_string()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("no packet came from the director");
    }

    /// Writes one of everything for user 1.
    pub(crate) fn fill_the_book(&self) {
        let (user, show) = (UserId(1), SHOW);
        let withdrawal = WithdrawalId { user, number: 1 };
        let (invitee, side, reward) = (UserId(77), Side::Inviter, Reward::Cards(1));
        let causes = [
            CauseKind::PoolFunded { show, pool: Pool::Prize, amount: Cents(1_000) },
            CauseKind::Prize { show, user, amount: Cents(300) },
            CauseKind::Invitation { inviter: user, invitee, side, reward },
            CauseKind::WithdrawalRequested { withdrawal, amount: Cents(200) },
        ];
        let causes: Vec<_> =
            causes.into_iter().map(|kind| Cause { at_unix_ms: 1_800_000_000_000, kind }).collect();
        let through = Position(causes.len() as u64);
        let batch = Batch { feed: FeedId(1), after: Position(0), through, causes };
        Book::open(self.data.path()).unwrap().apply(&[batch]).unwrap();
    }

    /// Every operation was seen to do what it is for, and to fail if the document says that it can.
    pub(crate) fn prove_coverage(&self) {
        let seen = self.seen.borrow();
        let mut missing = Vec::new();
        for (name, document) in [OPERATOR, PLAYERS].into_iter().zip(&self.documents) {
            for operation in document.operations() {
                let statuses = seen.get(&(name, operation.name().to_owned()));
                let has = |is: fn(&u16) -> bool| statuses.is_some_and(|it| it.iter().any(is));
                if !has(|status| *status < 400) {
                    missing.push(format!("docs/{name}: {} done", operation.name()));
                }
                let can_fail = operation.statuses().iter().any(|status| *status >= 400);
                if can_fail && !has(|status| *status >= 400) {
                    missing.push(format!("docs/{name}: {} refused", operation.name()));
                }
            }
        }
        assert!(missing.is_empty(), "nobody asked for: {missing:#?}");
    }

    pub(crate) fn stop(self) {
        self.operators.into_iter().for_each(OperatorHttp::stop);
        self.players.into_iter().for_each(PlayerHttp::stop);
        self.words.stop();
        self.autopilot.stop();
        self.lead.stop();
        let gateway = Arc::try_unwrap(self.gateway);
        gateway.unwrap_or_else(|_| panic!("nobody else has it")).stop();
    }
}

/// Status, type of the content, and body of an answer.
async fn exchange(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &str,
    body: &str,
) -> (u16, String, String) {
    let length = body.len();
    let request = format!(
        "{method} {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\
         content-length: {length}\r\n\r\n{body}"
    );
    let asked = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        // Who refuses a long body may close before it was sent.
        let _ = stream.write_all(request.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        // Protobuf is no text; nobody looks into it here.
        String::from_utf8_lossy(&answer).into_owned()
    });
    let answer = asked.await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let content_type = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-type").then(|| value.to_owned())
    });
    (status, content_type.unwrap_or_default(), body.to_owned())
}
