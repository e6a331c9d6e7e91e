//! The REST for players, against a running gateway and a book that is filled with causes. The
//! examples of `docs/player-api.md` are run as they stand there.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod client;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate::auth::keys::KeySet;
use tidegate::auth::revocation::Revocation;
use tidegate::auth::token::{MoreClaims, NewToken, TokenPolicy, TokenVerifier, mint_with};
use tidegate::base::addresses::Network;
use tidegate::base::ids::{OptionIndex, QuestionIndex, RainIndex, RoomId, ShowId, UserId};
use tidegate::ledger::account::Pool;
use tidegate::ledger::book::{Batch, Book, FeedId, Position};
use tidegate::ledger::cause::{Cause, CauseKind, Grant, Reward, Side, WithdrawalId};
use tidegate::ledger::name::Name;
use tidegate::ops::players::{Origins, PlayerCounts, PlayerHttp, PlayerSettings, PlayerView};
use tidegate::quiz::definition::{QuestionDefinition, ReviveCoverage, ShowDefinition, Timing};
use tidegate::quiz::director::Command;
use tidegate::quiz::money::Cents;
use tidegate::quiz::phase::Phase;
use tidegate::quiz::rain::{CERTAIN, RainCommand, RainSettings};
use tidegate::runtime::gateway::Gateway;
use tidegate::shard::operator::{OperatorAnswer, OperatorRequest};
use tidegate::shard::service::ServiceRequest;
use tokio::sync::watch;

use client::{Client, gateway};

const SECRET: &[u8] = b"a secret of thirty-two bytes or more";
const SHOW: ShowId = ShowId(3);
const ROOM: u64 = 30;
const PACKET: i64 = 5_000;

/// A gateway with a show in its lobby, its REST for players, and a book.
struct Served {
    gateway: Gateway,
    http: PlayerHttp,
    counts: Arc<PlayerCounts>,
    data: TempDir,
}

/// An answer: status, headers with small letters, body.
#[derive(Clone, Debug, PartialEq)]
struct Answered {
    status: u16,
    head: String,
    body: Value,
}

impl Answered {
    fn header(&self, name: &str) -> Option<&str> {
        let line = self.head.lines().find(|line| line.starts_with(&format!("{name}: ")))?;
        line.split_once(": ").map(|(_, value)| value)
    }
}

fn definition(correct: u8) -> Arc<ShowDefinition> {
    let question = |number: usize| QuestionDefinition {
        text: format!("Question {number}?"),
        options: vec!["a".into(), "b".into()],
        correct: OptionIndex(correct),
    };
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
        questions: (0..2).map(question).collect(),
    })
}

fn settings() -> PlayerSettings {
    PlayerSettings {
        connections_max: 64,
        ipv6_prefix_bits: 64,
        share_url: Some("https://quiz.example/?show={show}&code={code}".to_owned()),
        share_text: Some("{title}, {prize} to win: {url}".to_owned()),
        ..PlayerSettings::default()
    }
}

impl Served {
    fn start(settings: PlayerSettings) -> Served {
        Served::with(settings, 0)
    }

    fn with(settings: PlayerSettings, correct: u8) -> Served {
        let gateway = gateway(2);
        let data = tempfile::tempdir().unwrap();
        let keys = Arc::new(KeySet::of_secret(SECRET));
        let verifier = Arc::new(TokenVerifier::with_keys(keys, TokenPolicy::default()));
        let counts = Arc::new(PlayerCounts::default());
        let view = PlayerView {
            settings,
            caller: gateway.caller(),
            plans: None,
            clock: gateway.clock(),
            verifier: watch::channel(verifier).1,
            book: PlayerView::book_of(Some(data.path())),
            counts: Arc::clone(&counts),
        };
        let http = PlayerHttp::start(SocketAddr::from(([127, 0, 0, 1], 0)), view).unwrap();
        let served = Served { gateway, http, counts, data };
        served.order(OperatorRequest::Announce(definition(correct)));
        served.command(Command::OpenLobby);
        served
    }

    fn order(&self, request: OperatorRequest) {
        self.gateway.call(request).unwrap();
    }

    fn command(&self, command: Command) {
        self.order(OperatorRequest::Command { show: SHOW, command });
    }

    fn rain(&self, command: RainCommand) {
        self.order(OperatorRequest::Rain { show: SHOW, command });
    }

    async fn until_phase(&self, phase: Phase) {
        for _ in 0..1_000 {
            match self.gateway.call(OperatorRequest::Status { show: SHOW }) {
                Ok(OperatorAnswer::Show(status)) if status.live.phase == phase => return,
                _ => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
        panic!("the show never came to {phase}");
    }

    async fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> Answered {
        let address = self.http.local_address();
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\
             content-length: {length}\r\n\r\n{body}"
        );
        let asked = tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        });
        let answer = asked.await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let head = head.replace("\r\n", "\n").to_lowercase();
        Answered { status, head, body: serde_json::from_str(body).unwrap_or(Value::Null) }
    }

    async fn get(&self, path: &str) -> Value {
        let answered = self.ask("GET", path, "", "").await;
        assert_eq!(answered.status, 200, "{path}: {answered:?}");
        answered.body
    }

    fn token(&self, user: u64, more: &MoreClaims<'_>) -> String {
        let clock = self.gateway.clock();
        let issued_unix_s = clock.display().unix_ms(clock.now()) / 1_000;
        let new = NewToken { user: UserId(user), issued_unix_s, lifetime_s: 600, audience: None };
        mint_with(SECRET, new, more)
    }

    fn bearer(&self, user: u64) -> String {
        format!("Authorization: Bearer {}\r\n", self.token(user, &MoreClaims::default()))
    }

    /// As the user.
    async fn own(&self, user: u64, path: &str) -> Value {
        let answered = self.ask("GET", path, &self.bearer(user), "").await;
        assert_eq!(answered.status, 200, "{path}: {answered:?}");
        answered.body
    }

    /// Gives a user [`PACKET`] cents by a rain of one packet.
    async fn enrich(&self, user: u64) {
        let settings = RainSettings {
            win_per_10000: CERTAIN,
            ..RainSettings::new(Cents(PACKET), 1, Duration::from_secs(60))
        };
        self.rain(RainCommand::Fund(Cents(PACKET)));
        self.rain(RainCommand::Plan(settings));
        let mut player = Client::in_room(&self.gateway, user, ROOM).await;
        self.rain(RainCommand::Start(RainIndex(0)));
        player.until("rain").await;
        let packet = json!(PACKET.to_string());
        for attempt in 0..100 {
            let tap = json!({"grab": {"showId": SHOW.0.to_string(), "rain": 0, "slot": 0}});
            player.request(&attempt.to_string(), tap).await;
            let told = player.until_response(&attempt.to_string()).await;
            if told["grabbed"]["cents"] == packet {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("no packet came from the director");
    }

    fn stop(self) {
        self.http.stop();
        self.gateway.stop();
    }
}

fn cause(kind: CauseKind) -> Cause {
    Cause { at_unix_ms: 1_800_000_000_000, kind }
}

fn prize(show: u64, user: u64, amount: i64) -> Cause {
    cause(CauseKind::Prize { show: ShowId(show), user: UserId(user), amount: Cents(amount) })
}

fn book(path: &Path, feed: u64, causes: Vec<Cause>) {
    let through = Position(causes.len() as u64);
    let batch = Batch { feed: FeedId(feed), after: Position(0), through, causes };
    Book::open(path).unwrap().apply(&[batch]).unwrap();
}

/// Ties, two shows, and one of everything for user 1.
fn fill(path: &Path) {
    let user = UserId(1);
    let name = |text| Name::new(text).unwrap();
    let withdrawal = |number| WithdrawalId { user, number };
    let funded = |show, amount| {
        let (show, amount) = (ShowId(show), Cents(amount));
        cause(CauseKind::PoolFunded { show, pool: Pool::Prize, amount })
    };
    let grant = Grant { user, grant: name("welcome"), cards: 2 };
    let used = |question| {
        let question = QuestionIndex(question);
        cause(CauseKind::CardUsed { show: SHOW, user, question })
    };
    book(
        path,
        1,
        vec![
            funded(3, 1_000),
            funded(4, 700),
            prize(3, 1, 300),
            prize(3, 2, 300),
            prize(3, 9, 100),
            prize(4, 2, 50),
            cause(CauseKind::CardsGranted(grant)),
            used(1),
            cause(CauseKind::Invitation {
                inviter: user,
                invitee: UserId(77),
                side: Side::Inviter,
                reward: Reward::Cards(1),
            }),
            cause(CauseKind::WithdrawalRequested { withdrawal: withdrawal(1), amount: Cents(200) }),
            cause(CauseKind::WithdrawalPaid { withdrawal: withdrawal(1), amount: Cents(200) }),
            cause(CauseKind::WithdrawalRequested { withdrawal: withdrawal(2), amount: Cents(40) }),
            cause(CauseKind::WithdrawalRefused { withdrawal: withdrawal(2), amount: Cents(40) }),
            cause(CauseKind::WithdrawalRequested { withdrawal: withdrawal(3), amount: Cents(7) }),
        ],
    );
}

#[tokio::test]
async fn a_board_has_ties_and_catches_up_with_the_book() {
    let served = Served::start(settings());
    let empty = json!({"players": 0, "places": []});
    assert_eq!(served.get("/v1/leaderboard").await, empty, "there is no book yet");
    assert_eq!(served.get("/v1/shows/3/leaderboard").await, empty);
    fill(served.data.path());
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let place =
        |rank: u64, user: &str, cents: i64| json!({"rank": rank, "user": user, "won_cents": cents});
    let board = served.get("/v1/shows/3/leaderboard").await;
    let places = [place(1, "1", 300), place(1, "2", 300), place(3, "9", 100)];
    assert_eq!(board, json!({"players": 3, "places": places}));
    let all = served.get("/v1/leaderboard?limit=1").await;
    assert_eq!(all, json!({"players": 3, "places": [place(1, "2", 350)]}));
    assert_eq!(served.own(9, "/v1/shows/3/leaderboard/me").await, place(3, "9", 100));
    assert_eq!(served.own(1, "/v1/leaderboard/me").await, place(2, "1", 300));
    let nowhere = served.own(8, "/v1/leaderboard/me").await;
    assert_eq!(nowhere, json!({"rank": null, "user": "8", "won_cents": 0}));
    // A show of the past that this process knows from the book only; and one that nobody knows.
    assert_eq!(served.get("/v1/shows/4/leaderboard").await["players"], 1);
    for path in ["/v1/shows/5/leaderboard", "/v1/shows/5"] {
        let unknown = served.ask("GET", path, "", "").await;
        assert_eq!((unknown.status, &unknown.body["error"]["code"]), (404, &json!("unknown_show")));
    }
    served.stop();
}

#[tokio::test]
async fn a_player_reads_its_own_pages_and_no_card_tells_before_the_reveal() {
    let served = Served::start(settings());
    fill(served.data.path());
    let page = served.own(1, "/v1/me/bonuses?limit=3").await;
    let kinds = |page: &Value| -> Vec<String> {
        let list = page["bonuses"].as_array().unwrap();
        list.iter().map(|it| format!("{} {}", it["kind"], it["change"]).replace('"', "")).collect()
    };
    assert_eq!(
        kinds(&page),
        ["withdrawal-requested -7", "withdrawal-refused 40", "withdrawal-requested -40"]
    );
    let rest = format!("/v1/me/bonuses?before={}", page["next_before"].as_str().unwrap());
    let rest = served.own(1, &rest).await;
    // The show is in its lobby: what became of its question 1 nobody may know.
    let all = ["withdrawal-requested -200", "invitation 1", "cards-granted 2", "prize 300"];
    assert_eq!(
        (kinds(&rest), &rest["next_before"]),
        (all.map(str::to_owned).to_vec(), &Value::Null)
    );
    served.command(Command::Cancel);
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let told = served.own(1, "/v1/me/bonuses").await;
    assert!(kinds(&told).contains(&"card-used -1".to_owned()), "{told}");
    let withdrawals = served.own(1, "/v1/me/withdrawals").await;
    let states: Vec<_> =
        withdrawals["withdrawals"].as_array().unwrap().iter().map(|it| &it["state"]).collect();
    assert_eq!(states, ["requested", "returned", "paid"]);
    let invitations = served.own(1, "/v1/me/invitations").await;
    assert_eq!(invitations["rewards"][0]["other"], "77");
    assert_eq!(served.own(2, "/v1/me/withdrawals").await["withdrawals"], json!([]));
    served.stop();
}

#[tokio::test]
async fn what_anybody_can_ask_is_the_same_whatever_is_right_until_it_is_revealed() {
    let mut heard = Vec::new();
    for correct in [0, 1] {
        let served = Served::with(settings(), correct);
        let mut players = Vec::new();
        for user in 1..=4 {
            players.push(Client::in_room(&served.gateway, user, ROOM).await);
        }
        served.command(Command::Publish);
        for player in &mut players {
            player.until("question").await;
            let answer = json!({"showId": "3", "question": 0, "option": 0});
            player.request("a", json!({"answer": answer})).await;
            player.until_response("a").await;
        }
        served.until_phase(Phase::Closed).await;
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        let mut pages = vec![served.get("/v1/shows").await, served.get("/v1/shows/3").await];
        pages.push(served.get("/v1/shows/3/leaderboard").await);
        for path in ["/v1/me", "/v1/me/bonuses", "/v1/shows/3/leaderboard/me"] {
            pages.push(served.own(1, path).await);
        }
        let show = &pages[1];
        assert_eq!((&show["phase"], &show["online"]), (&json!("closed"), &json!(4)), "{show}");
        assert_eq!((&show["question"], &show["winners"]), (&json!(0), &Value::Null), "{show}");
        heard.push(pages);
        drop(players);
        served.stop();
    }
    assert_eq!(heard[0], heard[1]);
}

#[tokio::test]
async fn the_split_is_told_when_everybody_is_told() {
    let served = Served::start(settings());
    let mut player = Client::in_room(&served.gateway, 1, ROOM).await;
    for question in 0..2 {
        served.command(Command::Publish);
        player.until("question").await;
        let answer = json!({"showId": "3", "question": question, "option": 0});
        player.request("a", json!({"answer": answer})).await;
        player.until_response("a").await;
        served.until_phase(Phase::Closed).await;
        served.command(Command::Reveal);
    }
    served.command(Command::Settle);
    served.until_phase(Phase::Settled).await;
    let show = served.get("/v1/shows/3").await;
    assert_eq!((&show["winners"], &show["per_head_cents"]), (&json!(1), &json!(100_000)));
    assert_eq!(show["starts_at_ms"], 1_800_000_000_000_u64);
    drop(player);
    served.stop();
}

#[tokio::test]
async fn tokens_are_those_of_the_websocket_and_revoked_ones_are_refused() {
    let served = Served::start(settings());
    let refusal = async |headers: String| {
        let refused = served.ask("GET", "/v1/me/bonuses", &headers, "").await;
        let code = refused.body["error"]["code"].as_str().unwrap_or("none").to_owned();
        let scheme = refused.header("www-authenticate").map(str::to_owned);
        (refused.status, code, scheme)
    };
    let code = |status, code: &str| {
        (status, code.to_owned(), (status == 401).then(|| "bearer".to_owned()))
    };
    assert_eq!(refusal(String::new()).await, code(401, "not_authenticated"));
    let garbage = "Authorization: Bearer garbage\r\n".to_owned();
    assert_eq!(refusal(garbage).await, code(401, "token_invalid"));
    let old = NewToken { user: UserId(1), issued_unix_s: 1_000, lifetime_s: 60, audience: None };
    let old = mint_with(SECRET, old, &MoreClaims::default());
    let old = format!("Authorization: Bearer {old}\r\n");
    assert_eq!(refusal(old).await, code(401, "token_expired"));
    let foreign = NewToken { user: UserId(1), issued_unix_s: 1, lifetime_s: 60, audience: None };
    let foreign = mint_with(b"another secret of thirty-two bytes", foreign, &MoreClaims::default());
    let foreign = format!("Authorization: Bearer {foreign}\r\n");
    assert_eq!(refusal(foreign).await, code(401, "token_invalid"));

    let named = MoreClaims { token_id: Some("phone"), ..MoreClaims::default() };
    let phone = format!("Authorization: Bearer {}\r\n", served.token(5, &named));
    let tablet = served.bearer(5);
    assert_eq!(refusal(phone.clone()).await, code(200, "none"));
    let revocation = Revocation::Token { id: "phone".to_owned(), expires_unix_s: None };
    served.order(OperatorRequest::Revoke(revocation));
    assert_eq!(refusal(phone).await, code(401, "token_revoked"));
    assert_eq!(refusal(tablet.clone()).await, code(200, "none"));
    let (user, issued_until_unix_s) = (UserId(5), None);
    let revocation = Revocation::User { user, issued_until_unix_s, refused_until_unix_s: None };
    served.order(OperatorRequest::Revoke(revocation));
    assert_eq!(refusal(tablet).await, code(401, "token_revoked"));
    let ban = ServiceRequest::Ban { user: UserId(6), until_unix_s: Some(4_000_000_000) };
    served.order(OperatorRequest::Service(ban));
    assert_eq!(refusal(served.bearer(6)).await, code(403, "banned"));
    let refused = served.counts.series()[2];
    assert_eq!((refused.0, refused.2), ("tidegate_player_api_tokens_refused_total", 7));
    served.stop();
}

#[tokio::test]
async fn money_leaves_once_by_whichever_way_it_was_asked_for() {
    let served = Served::start(settings());
    served.enrich(1).await;
    assert_eq!(served.own(1, "/v1/me").await["balance_cents"], PACKET);
    let withdraw = async |key: &str, body: &str| {
        let key =
            if key.is_empty() { String::new() } else { format!("Idempotency-Key: {key}\r\n") };
        let headers = format!("{}{key}", served.bearer(1));
        let answered = served.ask("POST", "/v1/me/withdrawals", &headers, body).await;
        let code = answered.body["error"]["code"].as_str().unwrap_or("none").to_owned();
        (answered.status, code, answered.body)
    };
    let refused = async |key: &str, body: &str| {
        let (status, code, _) = withdraw(key, body).await;
        (status, code)
    };
    let is = |status: u16, code: &str| (status, code.to_owned());
    assert_eq!(refused("", r#"{"cents":1}"#).await, is(400, "key_invalid"));
    assert_eq!(refused("a b", r#"{"cents":1}"#).await, is(400, "key_invalid"));
    assert_eq!(refused("k", "{}").await, is(400, "bad_body"));
    assert_eq!(refused("k", r#"{"cents":1,"user":2}"#).await, is(400, "bad_body"));
    assert_eq!(refused("k", &"x".repeat(2_000)).await, is(413, "bad_body"));
    assert_eq!(refused("k", r#"{"cents":0}"#).await, is(409, "amount_invalid"));
    assert_eq!(refused("k", r#"{"cents":5001}"#).await, is(409, "not_enough"));
    let (status, _, first) = withdraw("k", r#"{"cents":1000}"#).await;
    let left = PACKET - 1_000;
    let expected = json!({"key": "k", "cents": 1_000, "state": "requested", "balance_cents": left});
    assert_eq!((status, &first), (200, &expected));
    assert_eq!(withdraw("k", r#"{"cents":1000}"#).await.2, expected, "a repeat does nothing");
    assert_eq!(refused("k", r#"{"cents":2}"#).await, is(409, "key_invalid"));
    // The same key on a WebSocket is the same withdrawal.
    let mut player = Client::in_room(&served.gateway, 1, ROOM).await;
    player.request("w", json!({"withdraw": {"key": "k", "cents": "1000"}})).await;
    let told = player.until_response("w").await["withdrawal"].take();
    assert_eq!(told["balanceCents"], left.to_string());
    drop(player);
    served.stop();
}

#[tokio::test]
async fn codes_are_shared_and_redeemed() {
    let served = Served::start(settings());
    let code = served.own(1, "/v1/me").await["invitation_code"].as_str().unwrap().to_owned();
    let shared = served.own(1, "/v1/shows/3/share").await;
    let url = format!("https://quiz.example/?show=3&code={code}");
    let text = format!("An evening, 1000.00 to win: {url}");
    assert_eq!(shared, json!({"show": "3", "code": code, "url": url, "text": text}));
    let redeem = async |user: u64, code: &str| {
        let body = json!({ "code": code }).to_string();
        served.ask("POST", "/v1/me/invitations", &served.bearer(user), &body).await
    };
    let own = redeem(1, &code).await;
    assert_eq!((own.status, &own.body["error"]["code"]), (409, &json!("invitation_refused")));
    let wrong = redeem(2, "NOCODE").await;
    assert_eq!((wrong.status, &wrong.body["error"]["code"]), (409, &json!("code_invalid")));
    for user in 2..=5 {
        // On whichever shards the two live.
        let done = redeem(user, &code).await;
        assert_eq!((done.status, &done.body["inviter"]), (200, &json!("1")), "{done:?}");
    }
    assert_eq!(served.own(1, "/v1/me/invitations").await["invited"], 4);
    assert_eq!(served.own(2, "/v1/me").await["revive_cards"], 1);
    served.stop();
}

#[tokio::test]
async fn answers_are_cached_where_they_may_be_and_read_by_pages_that_may() {
    let origins = Origins::of(Some("https://quiz.example"));
    let served = Served::start(PlayerSettings { origins, ..settings() });
    let first = served.ask("GET", "/v1/shows/3", "Origin: https://quiz.example\r\n", "").await;
    assert_eq!(first.header("cache-control"), Some("public, max-age=1"));
    assert_eq!(first.header("access-control-allow-origin"), Some("https://quiz.example"));
    assert_eq!(first.header("vary"), Some("origin"));
    let tag = first.header("etag").unwrap().to_owned();
    let again = served.ask("GET", "/v1/shows/3", &format!("If-None-Match: {tag}\r\n"), "").await;
    assert_eq!((again.status, &again.body), (304, &Value::Null));
    assert_eq!(again.header("access-control-allow-origin"), None);
    let foreign = served.ask("GET", "/v1/shows/3", "Origin: https://evil.example\r\n", "").await;
    assert_eq!(foreign.header("access-control-allow-origin"), None);
    let own = served.ask("GET", "/v1/me", &served.bearer(1), "").await;
    assert_eq!(own.header("cache-control"), Some("private, no-cache"));
    let refused = served.ask("GET", "/v1/me", "", "").await;
    assert_eq!(refused.header("cache-control"), Some("no-store"));
    let asked = "Origin: https://quiz.example\r\nAccess-Control-Request-Method: POST\r\n";
    let preflight = served.ask("OPTIONS", "/v1/me/withdrawals", asked, "").await;
    assert_eq!(preflight.status, 204);
    assert!(preflight.header("access-control-allow-methods").unwrap().contains("post"));
    assert!(preflight.header("access-control-allow-headers").unwrap().contains("idempotency-key"));
    let deleted = served.ask("DELETE", "/v1/me/withdrawals", "", "").await;
    assert_eq!(deleted.header("allow"), Some("get, head, post, options"));
    assert_eq!(deleted.body["error"]["code"], "method_not_allowed");
    let nothing = served.ask("GET", "/v1/nothing", "", "").await;
    assert_eq!((nothing.status, &nothing.body["error"]["code"]), (404, &json!("not_found")));
    let query = served.ask("GET", "/v1/leaderboard?limit=0", "", "").await;
    assert_eq!((query.status, &query.body["error"]["code"]), (400, &json!("bad_query")));
    served.stop();
}

#[tokio::test]
async fn whoever_asks_too_often_waits_and_nobody_else() {
    let served = Served::start(PlayerSettings {
        address_rate: 8,
        user_rate: 2,
        proxies: Network::list("127.0.0.1").unwrap(),
        ..settings()
    });
    let from = |address: &str| format!("X-Forwarded-For: {address}\r\n");
    let asked = async |user: u64, address: &str| {
        let headers = format!("{}{}", served.bearer(user), from(address));
        served.ask("GET", "/v1/me", &headers, "").await
    };
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(asked(1, "192.0.2.1").await.status);
    }
    assert_eq!(statuses[..2], [200, 200]);
    assert!(statuses[2..].contains(&429), "{statuses:?}");
    assert_eq!(asked(2, "192.0.2.1").await.status, 200, "another user of the same address");
    let mut last = asked(3, "192.0.2.9").await;
    for _ in 0..40 {
        last = served.ask("GET", "/v1/nothing", &from("192.0.2.9"), "").await;
        if last.status == 429 {
            break;
        }
    }
    assert_eq!((last.status, &last.body["error"]["code"]), (429, &json!("rate_limited")));
    assert_eq!(last.header("retry-after"), Some("1"));
    assert_eq!(served.ask("GET", "/v1/shows", &from("192.0.2.10"), "").await.status, 200);
    assert!(served.counts.series()[1].2 >= 2);
    served.stop();
}

/// The words of a shell's line: quotes keep what is in them together.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for letter in line.chars() {
        match (letter, quote) {
            ('\'' | '"', None) => quote = Some(letter),
            (letter, Some(open)) if letter == open => quote = None,
            (' ', None) => words.push(String::new()),
            (letter, _) => words.last_mut().unwrap().push(letter),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[tokio::test]
async fn the_examples_of_the_document_work() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/player-api.md");
    let text = std::fs::read_to_string(path).unwrap().replace("\\\n", " ");
    let served = Served::start(settings());
    fill(served.data.path());
    served.enrich(1).await;
    let code = served.own(2, "/v1/me").await["invitation_code"].as_str().unwrap().to_owned();
    let token = served.token(1, &MoreClaims::default());
    let mut count = 0;
    for example in text.lines().filter(|line| line.starts_with("curl ")) {
        let example = example.replace("$TOKEN", &token).replace("$CODE", &code);
        let (mut method, mut headers, mut body, mut target) =
            ("GET".to_owned(), String::new(), String::new(), String::new());
        let mut rest = words(&example).into_iter().skip(1);
        while let Some(word) = rest.next() {
            match &*word {
                "-s" => {}
                "-H" => headers += &format!("{}\r\n", rest.next().unwrap()),
                "-d" => {
                    body = rest.next().unwrap();
                    method = "POST".to_owned();
                }
                _ => target = word.strip_prefix("localhost:8092").unwrap().to_owned(),
            }
        }
        let answered = served.ask(&method, &target, &headers, &body).await;
        assert_eq!(answered.status, 200, "{example}\n{answered:?}");
        count += 1;
    }
    assert_eq!(count, 13, "examples");
    served.stop();
}
