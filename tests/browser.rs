//! The JavaScript client in a real browser against a real gateway: the page of `tests/browser`
//! plays, this file serves the page, plays the operator and signs tokens.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "browser/chromium.rs"]
mod chromium;
mod client;

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chromium::Browser;
use serde_json::{Value, json};
use tidegate::base::ids::{OptionIndex, RoomId, ShowId};
use tidegate::quiz::definition::{QuestionDefinition, ReviveCoverage, ShowDefinition, Timing};
use tidegate::quiz::director::Command;
use tidegate::quiz::money::Cents;
use tidegate::quiz::phase::Phase;
use tidegate::room::lane::Lane;
use tidegate::runtime::gateway::Gateway;
use tidegate::shard::mail::ServiceMessages;
use tidegate::shard::operator::{OperatorAnswer, OperatorRequest};

const SHOW: ShowId = ShowId(3);
const ROOM: RoomId = RoomId(30);
/// The page ends by itself; a browser that hangs does not.
const PATIENCE: Duration = Duration::from_secs(120);

fn show() -> Arc<ShowDefinition> {
    let question = |number: usize| QuestionDefinition {
        text: format!("Question {number}?"),
        options: vec!["a".into(), "b".into(), "c".into()],
        correct: OptionIndex(1),
    };
    Arc::new(ShowDefinition {
        id: SHOW,
        room: ROOM,
        title: "In a browser".into(),
        starts_at_unix_ms: 0,
        prize_pool: Cents(10_001),
        remainder_account: "house".into(),
        revive: ReviveCoverage::default(),
        timing: Timing {
            lead: Duration::from_millis(100),
            display_slack: Duration::from_millis(100),
            countdown: Duration::from_millis(3_000),
            ticket_life: Duration::from_millis(300),
            stream_delay: Duration::ZERO,
            extension_max: Duration::from_secs(2),
            early_push_max: Duration::from_secs(30),
        },
        questions: (0..2).map(question).collect(),
    })
}

/// What the page is told and what it may ask for.
struct Stage {
    gateways: [Option<Gateway>; 2],
    addresses: [String; 2],
}

impl Stage {
    fn new() -> Stage {
        let gateways = [client::gateway(2), client::gateway(1)];
        let addresses = gateways.each_ref().map(|it| format!("http://{}", it.local_address()));
        let stage = Stage { gateways: gateways.map(Some), addresses };
        stage.ask(OperatorRequest::Announce(show()));
        stage.command(Command::OpenLobby);
        stage
    }

    fn ask(&self, request: OperatorRequest) -> OperatorAnswer {
        self.gateways[0].as_ref().expect("it runs").call(request).expect("it is done")
    }

    fn command(&self, command: Command) {
        self.ask(OperatorRequest::Command { show: SHOW, command });
    }

    #[expect(clippy::disallowed_methods, reason = "the director gets there by its own timers")]
    fn until_phase(&self, phase: Phase) {
        for _ in 0..2_000 {
            let status = self.ask(OperatorRequest::Status { show: SHOW });
            if matches!(&status, OperatorAnswer::Show(status) if status.live.phase == phase) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("the show never came to {phase}");
    }

    /// What the page asks of the operator.
    fn operate(&mut self, what: &str) {
        match what.split_once('/').unwrap_or((what, "")) {
            ("push-early", _) => self.command(Command::PushEarly),
            ("withdraw", _) => self.command(Command::Withdraw),
            ("publish", _) => self.command(Command::Publish),
            ("reveal", _) => {
                self.until_phase(Phase::Closed);
                self.command(Command::Reveal);
            }
            ("say", text) => {
                let messages = vec![Bytes::copy_from_slice(text.as_bytes())];
                let lane = Lane::Mid;
                self.ask(OperatorRequest::Publish(ServiceMessages {
                    room: ROOM,
                    lane,
                    kind: 0,
                    messages,
                }));
            }
            ("stop", _) => {
                let gateway = self.gateways[0].take().expect("it runs");
                // It waits for its clients to leave, and the page for the response.
                std::thread::spawn(move || gateway.stop_within(Duration::from_secs(1)));
            }
            _ => panic!("the page asks for {what}"),
        }
    }

    /// The response to a request of the page: its media type and its body.
    fn respond(&mut self, target: &str) -> (&'static str, String) {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let javascript = "text/javascript";
        match path {
            "/" => ("text/html", page("page.html")),
            "/example.html" => {
                ("text/html", example().replace("http://127.0.0.1:8090", &self.addresses[0]))
            }
            "/test.js" => {
                let gateways = json!(self.addresses);
                (javascript, format!("const GATEWAYS = {gateways};\n{}", page("test.js")))
            }
            "/token" => {
                let field = |name| query.split('&').find_map(|it| it.strip_prefix(name));
                let user = field("user=").map_or(3, |user| user.parse().unwrap());
                let room = field("rooms=").map(|room| [room.parse().unwrap()]);
                ("text/plain", client::token_for(user, room.as_ref().map(|rooms| &rooms[..])))
            }
            "/vectors" => ("application/json", vectors().to_string()),
            _ => match path.strip_prefix("/operator/") {
                Some(what) => {
                    self.operate(what);
                    ("text/plain", String::new())
                }
                None => ("text/plain", String::new()),
            },
        }
    }
}

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn page(name: &str) -> String {
    fs::read_to_string(repository().join("tests/browser").join(name)).unwrap()
}

/// The page in the documents, in the room of the test.
fn example() -> String {
    let text = fs::read_to_string(repository().join("docs/client-js.md")).unwrap();
    let (_, rest) = text.split_once("```html\n").unwrap();
    rest.split_once("```").unwrap().0.replace("room: 7", &format!("room: {ROOM}"))
}

fn vectors() -> Value {
    let folder = repository().join("proto/vectors");
    let mut names: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .filter_map(|entry| Some(entry.unwrap().file_name().to_str()?.strip_suffix(".bin")?.into()))
        .collect();
    names.sort();
    let vector = |name: String| {
        let binary = fs::read(folder.join(format!("{name}.bin"))).unwrap();
        let json = fs::read_to_string(folder.join(format!("{name}.json"))).unwrap();
        let json: Value = serde_json::from_str(&json).unwrap();
        json!({ "name": name, "binary": STANDARD.encode(binary), "json": json })
    };
    names.into_iter().map(vector).collect()
}

/// Method, target and body of a request, whole.
fn read_request(stream: &mut TcpStream) -> Option<(String, String, String)> {
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut bytes = Vec::new();
    loop {
        let mut piece = [0; 4_096];
        let count = stream.read(&mut piece).ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
        });
        if body.len() >= length.unwrap_or(0) {
            let mut words = head.split(' ');
            let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
            return Some((method, target, body.to_owned()));
        }
    }
}

#[test]
#[ignore = "needs Chromium: tests/browser/install.sh"]
fn a_show_is_played_in_a_browser() {
    let mut stage = Stage::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, requests) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        // Chromium opens connections before it has anything to ask.
        for stream in listener.incoming().map_while(Result::ok) {
            let sender = sender.clone();
            std::thread::spawn(move || {
                let mut stream = stream;
                if let Some(request) = read_request(&mut stream) {
                    let _ = sender.send((request, stream));
                }
            });
        }
    });
    let _browser = Browser::open(&format!("http://{address}/"));
    let mut log = String::new();
    loop {
        let Ok(((method, target, body), mut stream)) = requests.recv_timeout(PATIENCE) else {
            panic!("the page is silent; it had done:\n{log}");
        };
        if method == "POST" && target == "/log" {
            writeln!(log, "{body}").unwrap();
        }
        let (media_type, answer) = stage.respond(&target);
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {media_type}; charset=utf-8\r\nContent-Length: {}\r\n\
             Cache-Control: no-store\r\nConnection: close\r\n\r\n",
            answer.len()
        );
        let _ = stream.write_all(format!("{head}{answer}").as_bytes());
        if method == "POST" && target == "/done" {
            assert_eq!(body, "well", "after:\n{log}");
            return;
        }
    }
}
