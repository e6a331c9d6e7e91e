//! The operations console over HTTP, against a running gateway: who comes in, who may what, and that
//! neither two clicks nor two operators do a thing twice.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod client;
#[path = "browser/devtools.rs"]
mod devtools;
#[path = "console/editing.rs"]
mod editing;
#[path = "console/kept.rs"]
mod kept;
#[path = "console/rooms.rs"]
mod rooms;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tidegate::base::entropy::SeededEntropy;
use tidegate::base::ids::{OptionIndex, RoomId, ShowId, UserId};
use tidegate::ops::autopilot::Autopilot;
use tidegate::ops::console::accounts::{Account, Accounts, HashedPassword, Role};
use tidegate::ops::console::audit::AUDIT_FILE;
use tidegate::ops::console::sessions::Lifetimes;
use tidegate::ops::console::{Console, ConsoleSettings, WatchedAccounts};
use tidegate::ops::http::{OperatorHttp, OperatorView};
use tidegate::ops::operator_port::GatewayPort;
use tidegate::ops::plans::Plans;
use tidegate::ops::rehearsal::Rehearsals;
use tidegate::ops::watch::files::Watched as _;
use tidegate::quiz::definition::{QuestionDefinition, ReviveCoverage, ShowDefinition, Timing};
use tidegate::quiz::money::Cents;
use tidegate::runtime::gateway::Gateway;
use tidegate::shard::operator::OperatorRequest;

use devtools::in_phase;

const PASSWORD: &str = "twelve bytes or more";
const IDLE: Duration = Duration::from_secs(1_800);

/// A gateway with a show and a console, whose clock can be put forward.
struct Stage {
    gateway: Gateway,
    http: OperatorHttp,
    console: Arc<Console>,
    ahead_s: Arc<AtomicU64>,
    autopilot: Autopilot,
    folder: tempfile::TempDir,
}

/// An answer.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    fn code(&self) -> (u16, String) {
        let code = self.json()["error"]["code"].as_str().unwrap_or_default().to_owned();
        (self.status, code)
    }
}

/// Somebody's browser.
#[derive(Clone, Default)]
struct Page {
    cookie: String,
    token: String,
}

fn show() -> Arc<ShowDefinition> {
    let question = |number: usize| QuestionDefinition {
        text: format!("Question {number}?"),
        options: vec!["a".into(), "b".into()],
        correct: OptionIndex(1),
    };
    Arc::new(ShowDefinition {
        id: ShowId(3),
        room: RoomId(30),
        title: "A show".into(),
        starts_at_unix_ms: 0,
        prize_pool: Cents(100),
        remainder_account: "house".into(),
        revive: ReviveCoverage::default(),
        timing: Timing {
            lead: Duration::from_millis(50),
            display_slack: Duration::from_millis(50),
            countdown: Duration::from_millis(2_000),
            ticket_life: Duration::from_millis(100),
            stream_delay: Duration::ZERO,
            extension_max: Duration::from_secs(1),
            early_push_max: Duration::ZERO,
        },
        questions: (0..2).map(question).collect(),
    })
}

fn accounts() -> Accounts {
    let mut accounts = Accounts::default();
    for (seed, (name, role)) in ["vera", "otto", "olga", "anna"]
        .into_iter()
        .zip([Role::Viewer, Role::ShowOperator, Role::ShowOperator, Role::Administrator])
        .enumerate()
    {
        let mut entropy = SeededEntropy::new(seed as u64, 0);
        let password = HashedPassword::new(PASSWORD.as_bytes(), &mut entropy).unwrap();
        accounts.add(name, Account { role, password }, false).unwrap();
    }
    accounts
}

impl Stage {
    fn new() -> Stage {
        let gateway = client::gateway(2);
        gateway.call(OperatorRequest::Announce(show())).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let settings = ConsoleSettings {
            accounts_file: Stage::file_in(&folder),
            lifetimes: Lifetimes { idle: IDLE, whole: 2 * IDLE },
            cookie_secure: false,
            port: 8091,
        };
        accounts().write(&settings.accounts_file).unwrap();
        let console = Arc::new(Console::start(settings, Some(folder.path())).unwrap());
        let (clock, caller) = (gateway.clock(), gateway.caller());
        let autopilot = Autopilot::start(caller.clone(), clock).unwrap();
        let plans = Plans::new(Some(folder.path()), caller.clone(), clock, autopilot.handle());
        plans.resume(&[]).unwrap();
        let ahead_s = Arc::new(AtomicU64::new(0));
        let ahead = Arc::clone(&ahead_s);
        let port = GatewayPort::new(caller, clock.display()).with_plans(plans);
        let view = OperatorView {
            rehearsals: Some(Rehearsals::new(gateway.caller())),
            port: Arc::new(port),
            console: Some(Arc::clone(&console)),
            now: Box::new(move || clock.now() + Duration::from_secs(ahead.load(Ordering::Relaxed))),
            ..OperatorView::of(&gateway)
        };
        let http = OperatorHttp::start(SocketAddr::from(([127, 0, 0, 1], 0)), view).unwrap();
        Stage { gateway, http, console, ahead_s, autopilot, folder }
    }

    fn file_in(folder: &tempfile::TempDir) -> PathBuf {
        folder.path().join("accounts")
    }

    fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        ask(self.http.local_address(), method, path, headers, body)
    }

    fn log_in_with(&self, name: &str, password: &str, headers: &str) -> Answer {
        let address = self.http.local_address();
        let headers = format!("origin: http://{address}\r\n{headers}");
        let body = json!({ "name": name, "password": password }).to_string();
        self.ask("POST", "/console/api/login", &headers, &body)
    }

    fn log_in(&self, name: &str) -> Page {
        let answer = self.log_in_with(name, PASSWORD, "");
        assert_eq!(answer.status, 200, "{}", answer.body);
        let (_, cookie) = answer.head.split_once("set-cookie: ").unwrap();
        let cookie = cookie.split(';').next().unwrap().to_owned();
        Page { cookie, token: answer.json()["token"].as_str().unwrap().to_owned() }
    }

    fn get(&self, page: &Page, path: &str) -> Answer {
        self.ask("GET", path, &format!("cookie: {}\r\n", page.cookie), "")
    }

    fn post_with(&self, page: &Page, path: &str, headers: &str, body: &Value) -> Answer {
        self.send(page, "POST", path, headers, &body.to_string())
    }

    fn send(&self, page: &Page, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let Page { cookie, token } = page;
        let address = self.http.local_address();
        let headers = format!(
            "cookie: {cookie}\r\nx-tidegate-token: {token}\r\norigin: http://{address}\r\n{headers}"
        );
        self.ask(method, path, &headers, body)
    }

    fn post(&self, page: &Page, path: &str, body: &Value) -> Answer {
        self.post_with(page, path, "", body)
    }

    /// Whether somebody is logged in there.
    fn is_in(&self, page: &Page) -> bool {
        let answer = self.get(page, "/console/api/session");
        assert_eq!(answer.status, 200, "{}", answer.body);
        !answer.json()["name"].is_null()
    }

    fn live(&self, page: &Page) -> Value {
        let answer = self.get(page, "/console/api/shows/3");
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    }

    fn event(&self, page: &Page) -> u64 {
        self.live(page)["show"]["event"].as_u64().unwrap()
    }

    fn order(&self, page: &Page, word: &str, event: u64) -> Answer {
        let path = format!("/console/api/shows/3/commands/{word}");
        self.post(page, &path, &json!({ "event": event }))
    }

    fn until_phase(&self, page: &Page, phase: &str) {
        client::until(phase, || self.live(page)["show"]["phase"] == phase);
    }

    fn stop(self) -> tempfile::TempDir {
        self.http.stop();
        self.autopilot.stop();
        self.gateway.stop();
        self.folder
    }
}

fn ask(address: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> Answer {
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{headers}\
         content-length: {length}\r\n\r\n{body}"
    );
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

#[test]
fn a_login_is_a_cookie_that_no_script_reads_and_a_token() {
    let stage = Stage::new();
    let [wrong, unknown] =
        [("otto", "twelve bytes or mors"), ("nobody", PASSWORD)].map(|(name, password)| {
            let answer = stage.log_in_with(name, password, "");
            (answer.status, answer.body)
        });
    assert_eq!(wrong, unknown, "nobody learns which names there are");
    assert_eq!(wrong.0, 401);
    let answer = stage.log_in_with("otto", PASSWORD, "");
    let cookie = answer.head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    let (id, attributes) = cookie.split_once(';').unwrap();
    assert_eq!(id.len(), "tidegate_console_8091=".len() + 64);
    assert_eq!(attributes, " Path=/console; HttpOnly; SameSite=Strict; Max-Age=3600");
    let answer = stage.log_in_with("otto", PASSWORD, "x-forwarded-proto: https\r\n");
    assert!(answer.head.contains("Max-Age=3600; Secure"), "{}", answer.head);
    let page = stage.log_in("otto");
    let session = stage.get(&page, "/console/api/session").json();
    assert_eq!(session, json!({ "name": "otto", "role": "show-operator", "token": page.token }));
    assert_eq!(stage.post(&page, "/console/api/logout", &json!({})).status, 200);
    // Who asks whether somebody is logged in is told; whoever wants more is refused.
    let nobody = json!({ "name": null, "role": null, "token": null });
    for gone in [&page, &Page::default()] {
        let answer = stage.get(gone, "/console/api/session");
        assert_eq!((answer.status, answer.json()), (200, nobody.clone()));
        for path in ["shows", "shows/3", "words", "rooms", "rehearsal", "audit"] {
            let answer = stage.get(gone, &format!("/console/api/{path}"));
            assert_eq!(answer.code(), (401, "no_session".into()), "{path}");
        }
        let answer = stage.post(gone, "/console/api/logout", &json!({}));
        assert_eq!(answer.code(), (401, "no_session".into()));
    }
    let answer = stage.ask("POST", "/console/api/login", "", "{}");
    assert_eq!(answer.code(), (403, "bad_origin".into()), "another page logs nobody in");
    stage.stop();
}

#[test]
fn whoever_guesses_is_told_to_wait() {
    let stage = Stage::new();
    for name in ["otto", "nobody"].into_iter().cycle().take(10) {
        assert_eq!(stage.log_in_with(name, "a wrong password", "").status, 401);
    }
    let answer = stage.log_in_with("otto", PASSWORD, "");
    assert_eq!(answer.code(), (429, "too_many_tries".into()), "a right one, too");
    assert!(answer.head.contains("retry-after: "), "{}", answer.head);
    stage.ahead_s.fetch_add(10, Ordering::Relaxed);
    stage.log_in("otto");
    stage.stop();
}

#[test]
fn a_change_needs_the_token_and_a_page_of_ours() {
    let stage = Stage::new();
    let page = stage.log_in("otto");
    let event = stage.event(&page);
    let path = "/console/api/shows/3/commands/open-lobby";
    let body = json!({ "event": event });
    for token in [String::new(), "0".repeat(64)] {
        let answer = stage.post(&Page { token, ..page.clone() }, path, &body);
        assert_eq!(answer.code(), (403, "bad_token".into()));
    }
    let address = stage.http.local_address();
    for origin in [
        String::new(),
        "origin: null\r\n".to_owned(),
        "origin: https://example.org\r\n".to_owned(),
        format!("origin: http://{address}.example.org\r\n"),
        format!("origin: http://{address}\r\nsec-fetch-site: cross-site\r\n"),
    ] {
        let Page { cookie, token } = &page;
        let headers = format!("cookie: {cookie}\r\nx-tidegate-token: {token}\r\n{origin}");
        let answer = stage.ask("POST", path, &headers, &body.to_string());
        assert_eq!(answer.code(), (403, "bad_origin".into()), "{origin}");
    }
    assert_eq!(stage.event(&page), event, "nothing was done");
    assert_eq!(stage.post(&page, path, &body).status, 200);
    stage.stop();
}

#[test]
fn each_role_may_what_is_its_own() {
    let stage = Stage::new();
    let [vera, otto, anna] = ["vera", "otto", "anna"].map(|name| stage.log_in(name));
    let event = stage.event(&vera);
    assert_eq!(stage.order(&vera, "open-lobby", event).code(), (403, "not_allowed".into()));
    for path in ["rooms/30/say", "users/5/mute", "users/5/cards", "shows/3/rains/0/start"] {
        let answer = stage.post(&vera, &format!("/console/api/{path}"), &json!({}));
        assert_eq!(answer.code(), (403, "not_allowed".into()), "{path}");
    }
    assert_eq!(stage.get(&vera, "/console/api/shows/3/script").status, 403);
    let script = stage.get(&otto, "/console/api/shows/3/script").json();
    assert_eq!(script[0], json!({ "text": "Question 0?", "options": ["a", "b"], "correct": 1 }));
    assert_eq!(stage.order(&otto, "open-lobby", event).status, 200);
    assert_eq!(stage.get(&otto, "/console/api/audit").status, 403);
    let (viewed, operated) = (stage.live(&vera), stage.live(&otto));
    assert_eq!(viewed["show"]["live"], json!({ "answered": 0 }));
    assert!(viewed["show"].get("in_play").is_none() && viewed["show"].get("allowed").is_none());
    assert!(operated["show"]["live"]["options"].is_array());
    assert_eq!(operated["gateway"]["shards"].as_array().unwrap().len(), 2);
    assert_eq!(operated["last"]["account"], "otto");
    let entries = stage.get(&anna, "/console/api/audit").json()["entries"].clone();
    let of = |account: &str, action: &str| {
        let entries = entries.as_array().unwrap();
        let found = entries.iter().find(|it| it["account"] == account && it["action"] == action);
        found.map(|it| it["outcome"].as_str().unwrap().to_owned()).unwrap_or_default()
    };
    assert_eq!(of("otto", "open-lobby"), "done");
    assert!(of("vera", "open-lobby").starts_with("refused"));
    assert_eq!(of("anna", "login"), "done");
    let folder = stage.stop();
    let text = fs::read_to_string(folder.path().join(AUDIT_FILE)).unwrap();
    assert!(text.lines().any(|line| line.contains("open-lobby") && line.contains("otto")));
    assert!(!text.contains(PASSWORD));
}

#[test]
fn a_session_ends_with_its_time_and_with_its_account() {
    let stage = Stage::new();
    let page = stage.log_in("otto");
    stage.ahead_s.fetch_add(IDLE.as_secs() - 60, Ordering::Relaxed);
    assert!(stage.is_in(&page));
    stage.ahead_s.fetch_add(IDLE.as_secs() - 60, Ordering::Relaxed);
    assert!(stage.is_in(&page));
    stage.ahead_s.fetch_add(120, Ordering::Relaxed);
    assert!(!stage.is_in(&page), "too old");
    assert_eq!(stage.get(&page, "/console/api/shows").code(), (401, "no_session".into()));
    let page = stage.log_in("otto");
    stage.ahead_s.fetch_add(IDLE.as_secs(), Ordering::Relaxed);
    assert!(!stage.is_in(&page), "too long silent");
    let [otto, olga] = ["otto", "olga"].map(|name| stage.log_in(name));
    let mut accounts = accounts();
    accounts.remove("otto").unwrap();
    accounts.write(&Stage::file_in(&stage.folder)).unwrap();
    let mut watched = WatchedAccounts::new(Arc::clone(&stage.console));
    watched.look();
    assert!(!stage.is_in(&otto), "removed");
    assert!(stage.is_in(&olga));
    fs::write(Stage::file_in(&stage.folder), "otto viewer broken").unwrap();
    assert!(watched.reload().is_err());
    assert!(stage.is_in(&olga), "a broken file ends nobody");
    stage.stop();
}

#[test]
fn neither_two_clicks_nor_two_operators_do_a_thing_twice() {
    let stage = Stage::new();
    let [otto, olga] = ["otto", "olga"].map(|name| stage.log_in(name));
    let event = stage.event(&otto);
    assert_eq!(stage.order(&otto, "open-lobby", event).status, 200);
    let twice = stage.order(&otto, "open-lobby", event);
    assert_eq!(twice.code(), (409, "moved_on".into()));
    let event = stage.event(&olga);
    assert_eq!(stage.order(&otto, "publish", event).status, 200);
    // What is possible in both phases, too: she meant another question.
    let late = stage.order(&olga, "cancel", event);
    assert_eq!(late.code(), (409, "moved_on".into()));
    let said = late.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(said.contains("otto ordered `publish`"), "{said}");
    assert_eq!(stage.live(&olga)["last"]["action"], "publish", "hers was none");
    stage.until_phase(&olga, "closed");
    let event = stage.event(&olga);
    let refused = stage.order(&olga, "publish", event);
    assert_eq!(refused.code(), (409, "not_now".into()));
    assert_eq!(stage.live(&olga)["last"]["action"], "publish");
    assert_eq!(stage.order(&olga, "reveal", event).status, 200);
    for word in ["rewind", "rejudge"] {
        assert!([400, 404].contains(&stage.order(&olga, word, event).status), "{word}");
    }
    let rejudge = |event: u64, confirm: bool| {
        let body = json!({ "event": event, "question": 0, "correct": 0, "confirm": confirm });
        stage.post(&olga, "/console/api/shows/3/commands/rejudge", &body)
    };
    let event = stage.event(&olga);
    assert!(rejudge(event, false).body.contains("preview"), "{}", rejudge(event, false).body);
    assert_eq!(rejudge(event - 1, true).code(), (409, "moved_on".into()));
    stage.stop();
}

#[test]
fn people_are_spoken_to_and_dealt_with() {
    let stage = Stage::new();
    let [otto, anna] = ["otto", "anna"].map(|name| stage.log_in(name));
    let post = |path: &str, body: Value| {
        let answer = stage.post(&otto, &format!("/console/api/{path}"), &body);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.json()
    };
    assert_eq!(post("rooms/30/say", json!({ "text": "Good evening", "kind": 1 }))["room"], 30);
    assert_eq!(post("users/5/mute", json!({ "seconds": 600 }))["seconds"], 600);
    post("users/5/unmute", json!({}));
    assert_eq!(post("users/5/ban", json!({}))["banned"], true);
    assert_eq!(post("users/5/unban", json!({}))["banned"], false);
    let key = "idempotency-key: one-card\r\n";
    let card = || stage.post_with(&otto, "/console/api/users/5/cards", key, &json!({})).json();
    assert_eq!(card(), card(), "two clicks are one card");
    assert_eq!(card()["cards"], 1);
    stage.gateway.call(OperatorRequest::GrantCard { user: UserId(5) }).unwrap();
    assert_eq!(post("users/5/expire-cards", json!({}))["cards"], 0, "both");
    for (path, body, status) in [
        ("rooms/30/say", json!({ "text": " ", "kind": 1 }), 400),
        ("rooms/30/say", json!({ "text": "x", "kind": 0 }), 400),
        ("rooms/30/say", json!({ "text": "x".repeat(1_025), "kind": 1 }), 400),
        ("users/0/ban", json!({}), 400),
        ("users/5/mute", json!({}), 400),
        ("users/5/praise", json!({}), 404),
        ("users/5/expire-cards", json!({}), 422),
    ] {
        let answer = stage.post(&otto, &format!("/console/api/{path}"), &body);
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
    }
    let audit = stage.get(&anna, "/console/api/audit").body;
    // Taking cards away was refused once.
    for (action, count) in [
        ("say (kind 1): Good evening", 1),
        ("mute for 600 s", 1),
        ("unban", 1),
        ("grant card", 1),
        ("expire cards", 2),
    ] {
        assert_eq!(audit.matches(&format!("\"{action}\"")).count(), count, "{action}");
    }
    stage.stop();
}

#[test]
fn pages_are_served_to_operators_only_and_browsers_are_told_what_not_to_do() {
    let stage = Stage::new();
    for (path, media_type) in [
        ("/console/", "text/html"),
        ("/console/main.js", "text/javascript"),
        ("/console/console.css", "text/css"),
    ] {
        let answer = stage.ask("GET", path, "", "");
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.head.contains(&format!("content-type: {media_type}")), "{}", answer.head);
        assert!(
            answer.head.contains("content-security-policy: default-src 'none'; script-src 'self'")
        );
        assert!(answer.head.contains("x-content-type-options: nosniff"));
        // What people see is made of elements and texts, never of HTML with data in it.
        for word in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
            assert!(!answer.body.contains(word), "{path}: {word}");
        }
    }
    let home = stage.ask("GET", "/", "", "");
    assert!(home.status == 308 && home.head.contains("location: /console/"), "{}", home.head);
    assert_eq!(stage.ask("GET", "/console/nothing.js", "", "").status, 404);
    let answer = stage.ask("GET", "/console/api/login", "", "");
    assert!(answer.status == 405 && answer.head.contains("allow: POST"), "{}", answer.head);
    let players = stage.gateway.local_address();
    let answer = ask(players, "GET", "/console/", "", "");
    assert!(answer.status >= 400, "players never reach it: {}", answer.status);
    // A login is no way into the API of programs: that keeps its own rules.
    let page = stage.log_in("otto");
    let headers = format!("cookie: {}\r\norigin: http://example.org\r\n", page.cookie);
    assert_eq!(stage.ask("GET", "/v1/shows", &headers, "").status, 403);
    stage.stop();
}

/// A show as the pages send it.
fn planned(title: &str, prize_pool_cents: i64) -> Value {
    json!({
        "title": title,
        "prize_pool_cents": prize_pool_cents,
        "timing": { "lead_ms": 50, "display_slack_ms": 50, "countdown_ms": 1_000,
            "ticket_life_ms": 100 },
        "questions": [
            { "text": "Which?", "options": ["a", "b"], "correct": 1 },
            { "text": "Who?", "options": ["c", "d", "e"], "correct": 0 },
        ],
        "rains": [{ "pool_cents": 500, "packets": 5, "duration_ms": 1_000 }],
    })
}

#[tokio::test]
#[ignore = "needs Chromium: tests/browser/install.sh"]
async fn a_show_is_run_by_clicks() {
    let stage = Stage::new();
    let address = stage.http.local_address();
    let mut page = devtools::Browser::open(&format!("http://{address}/"), 1_180, 700).await;
    page.fill("input[name=name]", "anna").await;
    assert!(page.faults().await.is_empty(), "{:?}", page.faults().await);
    page.fill("input[name=password]", "not the password").await;
    page.click("form button").await;
    page.until("document.querySelector('[role=alert]')?.textContent.includes('wrong')").await;
    page.picture("console-login").await;
    page.fill("input[name=password]", PASSWORD).await;
    page.click("form button").await;
    page.until("document.querySelector('td a')?.textContent === 'A show'").await;
    page.value("document.querySelector('td a').click()").await;
    page.until(&in_phase("announced")).await;
    // Two clicks at once are one order.
    page.until("document.querySelector('[data-order=open-lobby]')").await;
    let twice = "for (const _ of [1, 2]) document.querySelector('[data-order=open-lobby]').click()";
    page.value(twice).await;
    page.until(&in_phase("lobby")).await;
    let mut players = Vec::new();
    for user in 1..=5 {
        players.push(client::Client::in_room(&stage.gateway, user, 30).await);
    }
    page.click("[data-order=publish]").await;
    page.until(&in_phase("open")).await;
    for (player, option) in players.iter_mut().zip([1, 1, 1, 0, 1]) {
        player.until("question").await;
        let answer = json!({ "showId": "3", "question": 0, "option": option });
        player.request("a", json!({ "answer": answer })).await;
    }
    page.until("document.querySelectorAll('.option .number')[1]?.textContent.startsWith('4')")
        .await;
    page.picture("console-live").await;
    page.until(&in_phase("closed")).await;
    page.click("[data-order=reveal]").await;
    page.until(&in_phase("revealed")).await;
    page.size(390, 844).await;
    page.scheme("dark").await;
    page.picture("console-phone").await;
    page.size(1_180, 700).await;
    settled_by_clicks(&stage, &mut page).await;
    page.value("location.hash = '#/audit'").await;
    page.until("document.querySelectorAll('tbody tr').length > 8").await;
    let done = page.value("document.querySelector('tbody').innerText").await.to_string();
    assert_eq!(done.matches("open-lobby").count(), 1, "{done}");
    for action in ["publish", "reveal", "settle", "mute for 600 s", "login"] {
        assert!(done.contains(action), "{action}: {done}");
    }
    page.value("document.querySelector('#top button').click()").await;
    page.until("document.querySelector('h1').textContent === '审计日志'").await;
    page.picture("console-audit").await;
    // What was refused, on purpose, and nothing else.
    let refused = ["401 /console/api/login", "409 /console/api/shows/3/commands/cancel"];
    assert_eq!(page.faults().await, refused);
    drop(players);
    stage.stop();
}

/// From the first reveal to the prize, with a question to confirm what cannot be undone.
async fn settled_by_clicks(stage: &Stage, page: &mut devtools::Browser) {
    // The show moves on by another hand while a question is asked here.
    let otto = stage.log_in("otto");
    page.click("[data-order=cancel]").await;
    page.until("document.querySelector('dialog p')?.textContent.includes('Nobody is paid')").await;
    page.picture("console-confirm").await;
    let event = stage.event(&otto);
    assert_eq!(stage.order(&otto, "pause", event).status, 200);
    page.click("dialog [data-yes]").await;
    page.until("document.getElementById('told').textContent.includes('otto ordered `pause`')")
        .await;
    page.click("[data-order=resume]").await;
    page.until(&in_phase("revealed")).await;
    page.click("[data-order=publish]").await;
    page.until(&in_phase("closed")).await;
    page.click("[data-order=reveal]").await;
    page.until(&in_phase("revealed")).await;
    page.click("[data-order=settle]").await;
    page.click("dialog [data-yes]").await;
    page.until(&in_phase("settled")).await;
    page.fill("input[name=user]", "5").await;
    page.click("[data-order=mute]").await;
    page.until("document.getElementById('told').textContent.includes('Mute')").await;
}
