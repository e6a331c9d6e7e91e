//! The binary as a person or a service manager meets it: what it says, what it ends with, and that
//! it can be asked for its health, its metrics and its shows while it runs.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "numbers of system calls and errors are small and positive"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate::base::entropy::{Entropy, SeededEntropy};
use tidegate::wire::codec::{Encoding, decode_server, encode_client};
use tidegate::wire::message::{Decoder, Pending, Role};
use tidegate::wire::proto;

const SECRET: &str = "a secret of thirty-two bytes or more";
const PATIENCE: Duration = Duration::from_secs(10);

fn tidegate(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(arguments).env_clear().env("TIDEGATE_AUTH__HS256_SECRET", SECRET);
    command
}

/// Status, standard output and standard error of a command that ends by itself.
fn run(command: &mut Command) -> (i32, String, String) {
    let output = command.output().expect("runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    let status = output.status.code().expect("a status");
    (status, text(output.stdout), text(output.stderr))
}

fn file(directory: &tempfile::TempDir, name: &str, text: &str) -> String {
    let path: PathBuf = directory.path().join(name);
    std::fs::write(&path, text).expect("written");
    path.to_str().expect("UTF-8").to_owned()
}

/// A gateway that serves on free ports.
struct Serving {
    process: Child,
    clients: SocketAddr,
    operator: Option<SocketAddr>,
    /// Reads the rest of the log.
    log: Option<JoinHandle<String>>,
    /// Where it keeps what it promises.
    _folder: tempfile::TempDir,
}

impl Drop for Serving {
    /// A test that fails leaves no process behind.
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Serving {
    fn start(arguments: &[&str]) -> Serving {
        let echo = arguments.contains(&"--echo");
        let anywhere: &[&str] =
            if arguments.contains(&"--listen") { &[] } else { &["--listen", "127.0.0.1:0"] };
        let folder = tempfile::tempdir().expect("a folder");
        let mut process = tidegate(&["serve", "--shards", "2", "--data"])
            .arg(folder.path())
            .args(anywhere)
            .args(arguments)
            .env("TIDEGATE_OPERATOR__LISTEN", "127.0.0.1:0")
            .env("TIDEGATE_LOG__FORMAT", "json")
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        let mut lines = BufReader::new(process.stderr.take().expect("a pipe")).lines();
        let mut address_in = |message: &str| -> SocketAddr {
            let found = lines.by_ref().map_while(Result::ok).find_map(|line| {
                let line: Value = serde_json::from_str(&line).ok()?;
                let says = line["message"].as_str()?.contains(message);
                says.then(|| line["address"].as_str().expect("an address").parse().expect("one"))
            });
            found.unwrap_or_else(|| panic!("the log says {message}"))
        };
        let clients = address_in("listening for clients");
        let operator = (!echo).then(|| address_in("operator HTTP is listening"));
        let log = Some(std::thread::spawn(move || lines.map_while(Result::ok).collect()));
        let serving = Serving { process, clients, operator, log, _folder: folder };
        if !echo {
            serving.wait_until("/readyz", |answer| answer.contains("accepting"));
        }
        serving
    }

    /// Status and body of an answer of the operator's HTTP.
    fn ask(&self, method: &str, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.operator.expect("an address")).expect("connects");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).expect("sends");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        (head.split(' ').nth(1).expect("a status").parse().expect("a number"), body.to_owned())
    }

    fn json(&self, method: &str, path: &str) -> Value {
        let (status, body) = self.ask(method, path);
        assert_eq!(status, 200, "{method} {path}: {body}");
        serde_json::from_str(&body).expect("JSON")
    }

    /// What `/readyz` says while it says no.
    fn unready_state(&self) -> String {
        let (status, body) = self.ask("GET", "/readyz");
        assert_eq!(status, 503, "{body}");
        let body: Value = serde_json::from_str(&body).expect("JSON");
        body["state"].as_str().expect("a state").to_owned()
    }

    /// Asks until the answer is as it shall be; what decides is the gateway's own progress.
    fn wait_until(&self, path: &str, is_as_wanted: impl Fn(&str) -> bool) {
        let mut last = String::new();
        for _ in 0..100_000 {
            last = self.ask("GET", path).1;
            if is_as_wanted(&last) {
                return;
            }
        }
        panic!("{path} stays {last}");
    }

    fn signal(&self, name: &str) {
        let process = self.process.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &process]).status().expect("kill runs");
        assert!(sent.success());
    }

    fn end(mut self) -> (ExitStatus, String) {
        let status = self.process.wait().expect("ends");
        let log = self.log.take().expect("read once").join().expect("the log is read");
        (status, log)
    }
}

/// A WebSocket client, in so few lines that nothing is hidden; the answer to its upgrade.
fn connect(address: SocketAddr, target: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(address).expect("connects");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).expect("sends");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("an answer");
        answer.push(byte[0]);
    }
    (stream, String::from_utf8(answer).expect("UTF-8"))
}

const SHOW: &str = r#"
id = 7
title = "By hand"
prize_pool_cents = 100
timing = { countdown_ms = 1000, lead_ms = 1, display_slack_ms = 1 }
questions = [{ text = "One?", options = ["a", "b"], correct = 0 }]
"#;

#[test]
fn a_port_in_use_is_one_sentence() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = holder.local_addr().expect("an address").to_string();
    let mut command = tidegate(&["serve", "--shards", "1", "--listen", &address]);
    command.env("TIDEGATE_OPERATOR__LISTEN", "127.0.0.1:0").env("TIDEGATE_LOG__LEVEL", "error");
    let (status, _, complaints) = run(&mut command);
    let sentence =
        format!("{address} is already in use: stop the other process or choose another port\n");
    assert_eq!((status, complaints.as_str()), (1, sentence.as_str()));

    let mut command = tidegate(&["serve", "--shards", "1", "--listen", "127.0.0.1:0"]);
    command.env("TIDEGATE_OPERATOR__LISTEN", &address).env("TIDEGATE_LOG__LEVEL", "error");
    let (status, _, complaints) = run(&mut command);
    let begins = format!("operator.listen {address}: Address already in use");
    assert!(status == 1 && complaints.starts_with(&begins), "{complaints}");
    assert_eq!(complaints.lines().count(), 1);
}

#[test]
fn all_wrong_settings_are_said_and_nothing_is_begun() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = file(&directory, "tidegate.toml", "shrads = 1\nlisten = 5\n");
    let show = file(
        &directory,
        "show.toml",
        "id = 1\ntitle = \"A\"\nprize_pool_cents = -1\n[[questions]]\ntext = \"Q\"\n\
         options = [\"a\", \"b\"]\ncorrect = 2\n",
    );
    for verb in ["serve", "check-config"] {
        let (status, output, complaints) =
            run(&mut tidegate(&[verb, "--config", &config, "--show", &show]));
        assert_eq!((status, output.as_str()), (78, ""), "{complaints}");
        for part in [
            "tidegate.toml:1: shrads: unknown key; did you mean `shards`?",
            "tidegate.toml:2: listen: expects",
            "show.toml:3: prize_pool_cents: -1 is negative",
            "show.toml:7: questions[0].correct: ",
        ] {
            assert!(complaints.contains(part), "{part} is not in:\n{complaints}");
        }
        assert_eq!(complaints.lines().count(), 4, "{complaints}");
    }
}

#[test]
fn good_settings_are_described_and_a_token_opens_the_door() {
    let directory = tempfile::tempdir().expect("a directory");
    let show = file(&directory, "show.toml", SHOW);
    let (status, output, complaints) = run(&mut tidegate(&["check-config", "--show", &show]));
    assert_eq!((status, complaints.as_str()), (0, ""));
    assert!(output.contains("valid; show 7, 1 questions: By hand"), "{output}");

    let (status, token, _) = run(&mut tidegate(&["token", "--user", "42"]));
    assert_eq!(status, 0);
    let serving = Serving::start(&[]);
    let (_client, answer) = connect(serving.clients, &format!("/?token={}&room=5", token.trim()));
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    serving.wait_until("/metrics", |metrics| sum(metrics, "tidegate_sessions{", "") == 1);
    serving.signal("TERM");
    assert_eq!(serving.end().0.code(), Some(0));
}

/// The sum of a metric over the shards.
fn sum(metrics: &str, begins: &str, has: &str) -> u64 {
    let lines = metrics.lines().filter(|line| line.starts_with(begins) && line.contains(has));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[test]
fn a_revoked_token_closes_its_session_and_opens_no_other() {
    let words = ["token", "--user", "42", "--token-id", "a/b", "--rooms", "5,6", "--ttl", "60"];
    let (status, token, _) = run(&mut tidegate(&words));
    assert_eq!(status, 0);
    let serving = Serving::start(&[]);
    let target = format!("/?token={}&room=5", token.trim());
    let (_client, _) = connect(serving.clients, &target);
    serving.wait_until("/metrics", |metrics| sum(metrics, "tidegate_sessions{", "") == 1);
    assert_eq!(serving.json("POST", "/v1/tokens/a%2Fb/revoke")["token"], "a/b");
    serving.wait_until("/metrics", |metrics| {
        sum(metrics, "tidegate_revocations{", "") == 2
            && sum(metrics, "tidegate_closes_total{", "token_revoked") == 1
    });
    let (_again, _) = connect(serving.clients, &target);
    let refused = "tidegate_authentications_refused_total{";
    serving.wait_until("/metrics", |metrics| sum(metrics, refused, "") == 1);
    assert_eq!(serving.json("POST", "/v1/users/42/revoke")["user"], 42);
    serving.signal("TERM");
    assert_eq!(serving.end().0.code(), Some(0));
}

#[test]
fn health_readiness_and_metrics_are_answered_and_sigterm_ends_in_order() {
    let serving = Serving::start(&[]);
    let health = serving.json("GET", "/healthz");
    assert_eq!(
        (&health["healthy"], health["shards"].as_array().map(Vec::len)),
        (&true.into(), Some(2))
    );
    assert_eq!(serving.json("GET", "/readyz")["state"], "accepting");
    serving.wait_until("/metrics", |metrics| {
        metrics.contains("\ntidegate_ready 1\n")
            && metrics.contains("\ntidegate_rings{shard=\"1\"} 1\n")
    });

    let (mut client, _) = connect(serving.clients, "/");
    serving.signal("TERM");
    // A close frame: FIN and opcode 8, then its length, then code 1001, "going away".
    let mut frame = [0; 4];
    client.read_exact(&mut frame).expect("a close frame");
    assert_eq!((frame[0], u16::from_be_bytes([frame[2], frame[3]])), (0x88, 1001));
    // The client answers with the same code, masked with zeros.
    client.write_all(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9]).expect("sends");
    let (status, log) = serving.end();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("SIGTERM") && log.contains("stopped"), "{log}");
}

#[test]
fn a_second_signal_ends_at_once() {
    let serving = Serving::start(&[]);
    // It does not answer the close frame, so the first signal alone would take its time.
    let (mut client, _) = connect(serving.clients, "/");
    serving.signal("INT");
    client.read_exact(&mut [0; 4]).expect("a close frame");
    assert_eq!(serving.unready_state(), "draining");
    serving.signal("TERM");
    assert_eq!(serving.end().0.code(), Some(128 + 15));
}

#[test]
fn a_show_is_announced_and_commanded_over_http() {
    let directory = tempfile::tempdir().expect("a directory");
    let show = file(&directory, "show.toml", SHOW);
    let serving = Serving::start(&["--show", &show]);
    let shows = serving.json("GET", "/v1/shows");
    assert_eq!((&shows[0]["id"], &shows[0]["phase"]), (&7.into(), &"announced".into()), "{shows}");
    assert_eq!(serving.json("POST", "/v1/users/9/cards")["cards"], 1);
    let (status, refusal) = serving.ask("POST", "/v1/shows/7/reveal");
    assert!(status == 409 && refusal.contains("possible now: open lobby"), "{refusal}");
    assert_eq!(serving.ask("POST", "/v1/shows/8/open-lobby").0, 404);
    let phase =
        |wanted: &'static str| move |show: &str| show.contains(&format!("\"phase\":\"{wanted}\""));
    for (command, becomes) in [
        ("open-lobby", "lobby"),
        ("publish", "closed"),
        ("reveal", "revealed"),
        ("settle", "settled"),
    ] {
        let shown = serving.json("POST", &format!("/v1/shows/7/{command}"));
        assert_eq!(shown["id"], 7, "{shown}");
        serving.wait_until("/v1/shows/7", phase(becomes));
    }
    let shown = serving.json("GET", "/v1/shows/7");
    assert_eq!(shown["settlement"]["remainder_cents"], 100, "nobody played: {shown}");
    serving.signal("TERM");
    assert_eq!(serving.end().0.code(), Some(0));
}

#[test]
fn a_show_with_a_pace_runs_by_itself() {
    let directory = tempfile::tempdir().expect("a directory");
    let pace = "pace = { lobby_ms = 0, reveal_pause_ms = 0, next_pause_ms = 0, end_pause_ms = 0 }";
    let show = file(&directory, "show.toml", &format!("{pace}\n{SHOW}"));
    let serving = Serving::start(&["--show", &show]);
    serving.wait_until("/v1/shows/7", |show| show.contains("\"phase\":\"ended\""));
    serving.signal("TERM");
    let (status, log) = serving.end();
    assert_eq!(status.code(), Some(0));
    assert!(log.contains("command: End }"), "{log}");
}

#[test]
fn a_broken_list_of_words_is_named_line_by_line() {
    let directory = tempfile::tempdir().expect("a directory");
    let words = file(&directory, "words.txt", "good\n!!!\nfine = refues\n");
    for verb in ["check-config", "serve"] {
        let mut command = tidegate(&[verb]);
        let (status, _, complaints) = run(command.env("TIDEGATE_CHAT__WORDS_FILE", &words));
        let expected = format!(
            "{words}:2: `!!!` has no letter and no digit, and nothing else is looked at\n\
             {words}:3: `refues` is none of replace, refuse and whole\n"
        );
        assert_eq!((status, complaints), (78, expected));
    }
}

#[test]
fn words_are_read_at_start_on_request_and_when_their_file_changes() {
    let directory = tempfile::tempdir().expect("a directory");
    let words = file(&directory, "words.txt", "one\ntwo\n");
    let setting = format!("[chat]\nwords_file = \"{words}\"\n");
    let config = file(&directory, "tidegate.toml", &setting);
    let serving = Serving::start(&["--config", &config]);
    let in_force = |count: u32| {
        let gauge = move |shard| format!("tidegate_chat_words{{shard=\"{shard}\"}} {count}\n");
        serving.wait_until("/metrics", |text| (0..2).all(|shard| text.contains(&gauge(shard))));
    };
    in_force(2);
    file(&directory, "words.txt", "one\ntwo\nthree\n");
    assert_eq!(serving.json("POST", "/v1/words/reload"), json!({ "words": 3 }));
    in_force(3);
    file(&directory, "words.txt", "one\n!!!!!!\n");
    let (status, answer) = serving.ask("POST", "/v1/words/reload");
    assert!(status == 422 && answer.contains(":2: `!!!!!!` has no letter"), "{answer}");
    in_force(3);
    file(&directory, "words.txt", "one\ntwo\nthree\nfour\n");
    in_force(4);
    file(&directory, "words.txt", "one\ntwo\nthree\n!!!!\n");
    serving.wait_until("/metrics", |text| {
        !text.contains("tidegate_chat_words_broken_total{shard=\"0\"} 1\n")
    });
    in_force(4);
    serving.signal("TERM");
    let (status, _) = serving.end();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn an_echo_sends_back_what_comes() {
    let serving = Serving::start(&["--echo"]);
    let (mut client, _) = connect(serving.clients, "/");
    client.write_all(b"\x81\x85\0\0\0\0hello").expect("sends");
    let mut echo = [0; 7];
    client.read_exact(&mut echo).expect("an echo");
    assert_eq!(&echo, b"\x81\x05hello");
    drop(client);
    serving.signal("TERM");
    assert_eq!(serving.end().0.code(), Some(0));
}

/// Runs `serve` through a shell line that prepares the process: `exec "$0" …` starts it.
fn prepared(line: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", line, env!("CARGO_BIN_EXE_tidegate")]);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.env("TIDEGATE_LOG__LEVEL", "error").env("TIDEGATE_OPERATOR__LISTEN", "127.0.0.1:0");
    command
}

fn assert_host_is_refused(command: &mut Command, parts: [&str; 2]) {
    let (status, _, complaints) = run(command);
    assert_eq!(status, 71, "{complaints}");
    for part in parts {
        assert!(complaints.contains(part), "{part} is not in: {complaints}");
    }
    assert_eq!(complaints.lines().count(), 1, "{complaints}");
}

#[test]
fn too_few_files_are_one_sentence_with_a_remedy() {
    let line = r#"ulimit -n 64; exec "$0" serve --shards 8 --listen 127.0.0.1:0"#;
    let parts = ["RLIMIT_NOFILE is 64, but 8 shards", "raise it (`LimitNOFILE=`"];
    assert_host_is_refused(&mut prepared(line), parts);
}

/// Root may lock any memory, until it lays that capability down.
#[test]
fn too_little_locked_memory_is_one_sentence_with_a_remedy() {
    let line = r#"ulimit -l 64; [ "$(id -u)" != 0 ] || drop="setpriv --bounding-set -ipc_lock"
        exec $drop "$0" serve --listen 127.0.0.1:0"#;
    let parts = ["RLIMIT_MEMLOCK is 65536 bytes", "raise it (`LimitMEMLOCK=infinity`"];
    assert_host_is_refused(&mut prepared(line), parts);
}

/// As the default profile of a container does it: `io_uring_setup` fails with EPERM.
#[test]
fn a_seccomp_filter_is_named() {
    use std::os::unix::process::CommandExt;
    let mut command = prepared(r#"exec "$0" serve --listen 127.0.0.1:0"#);
    // SAFETY: the closure makes two system calls on memory of its own and allocates nothing.
    unsafe { command.pre_exec(refuse_io_uring) };
    let parts = ["io_uring_setup is refused (EPERM)", "--security-opt seccomp=PROFILE"];
    assert_host_is_refused(&mut command, parts);
}

/// A filter (seccomp(2)) that knows one rule, for this process and what it starts.
fn refuse_io_uring() -> std::io::Result<()> {
    const LOAD_WORD: u16 = 0x20;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    let instruction = |code, jt, k| libc::sock_filter { code, jt, jf: 0, k };
    let number = libc::SYS_io_uring_setup as u32;
    let refuse = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    let mut code = [
        // `seccomp_data.nr` stands first.
        instruction(LOAD_WORD, 0, 0),
        instruction(JUMP_IF_EQUAL, 1, number),
        instruction(RETURN, 0, libc::SECCOMP_RET_ALLOW),
        instruction(RETURN, 0, refuse),
    ];
    let program = libc::sock_fprog { len: 4, filter: code.as_mut_ptr() };
    // SAFETY: prctl(2) reads its arguments and the program, which live until it returns.
    let done = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program, 0, 0) == 0
    };
    if done { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// The payload of the next notification or response that `pick` wants.
fn hear<T>(
    client: &mut TcpStream,
    pending: &mut Option<Box<Pending>>,
    pick: impl Fn(proto::business::Body) -> Option<T>,
) -> T {
    let decoder = Decoder { role: Role::Client, message_bytes_max: 65_536 };
    let mut found = None;
    while found.is_none() {
        let mut bytes = vec![0; 4_096];
        let count = client.read(&mut bytes).expect("something comes");
        assert!(count > 0, "the gateway goes on");
        let decoded = decoder.decode(pending, &mut bytes[..count], |message| {
            let frame = decode_server(Encoding::Proto, &message).expect("a frame");
            if let Some(proto::server_frame::Body::Business(business)) = frame.body {
                found = found.take().or_else(|| business.body.and_then(&pick));
            }
            std::ops::ControlFlow::Continue(())
        });
        decoded.expect("well-formed");
    }
    found.expect("it was found")
}

fn unix_ms() -> i64 {
    let since = std::time::UNIX_EPOCH.elapsed().expect("after 1970");
    i64::try_from(since.as_millis()).expect("a date")
}

/// The host stands still across the deadline; an answer that came in time counts all the same.
#[test]
fn a_gateway_that_stands_still_refuses_nobody() {
    let directory = tempfile::tempdir().expect("a directory");
    let show = file(&directory, "show.toml", SHOW);
    let (_, token, _) = run(&mut tidegate(&["token", "--user", "42"]));
    let serving = Serving::start(&["--show", &show]);
    serving.json("POST", "/v1/shows/7/open-lobby");
    let (mut client, _) = connect(serving.clients, &format!("/?token={}&room=7", token.trim()));
    let mut pending = None;
    let is_in = |body| match body {
        proto::business::Body::Notification(it) => match it.payload? {
            proto::notification::Payload::Snapshot(_) => Some(()),
            _ => None,
        },
        _ => None,
    };
    hear(&mut client, &mut pending, is_in);
    serving.json("POST", "/v1/shows/7/publish");
    let question = hear(&mut client, &mut pending, |body| match body {
        proto::business::Body::Notification(it) => match it.payload? {
            proto::notification::Payload::Question(question) => Some(question),
            _ => None,
        },
        _ => None,
    });
    let wait_until = |moment_ms: i64| while unix_ms() < moment_ms {};
    wait_until(question.answer_by_ms - 150);
    serving.signal("STOP");
    let answer = proto::Answer { show_id: 7, question: 0, option: 0, ..Default::default() };
    let payload = Some(proto::request::Payload::Answer(answer));
    let business = proto::Business {
        r#type: proto::BusinessType::Answer.into(),
        sequence: "a".into(),
        body: Some(proto::business::Body::Request(proto::Request { payload })),
    };
    let frame = proto::ClientFrame { r#type: 1, business: Some(business), ..Default::default() };
    let mut bytes = Vec::new();
    encode_client(Encoding::Proto, &frame, [1, 2, 3, 4], &mut bytes);
    client.write_all(&bytes).expect("sends");
    assert!(unix_ms() < question.answer_by_ms, "this machine is too slow for this test");
    wait_until(question.answer_by_ms + 150);
    serving.signal("CONT");
    let sealed = hear(&mut client, &mut pending, |body| match body {
        proto::business::Body::Response(it) => match it.payload? {
            proto::response::Payload::AnswerReceived(received) => Some(received.result),
            _ => None,
        },
        _ => None,
    });
    assert!(sealed.is_some(), "judged at once: it came in time");
    serving.wait_until("/v1/shows/7", |show| show.contains("\"phase\":\"closed\""));
    let shown = serving.json("GET", "/v1/shows/7");
    let counts = &shown["questions"][0]["counts"];
    assert_eq!((&counts["correct"], &counts["late"]), (&1.into(), &0.into()), "{shown}");
}

/// Whatever comes to the port, the gateway answers properly or closes, and serves the next one.
#[test]
fn any_bytes_on_the_port_leave_the_gateway_up() {
    let serving = Serving::start(&[]);
    let mut entropy = SeededEntropy::new(11, 0);
    for round in 0..300_u32 {
        let mut bytes = vec![0; 1 + entropy.below(3_000) as usize];
        entropy.fill(&mut bytes);
        let mut stream = if round % 3 == 0 {
            TcpStream::connect(serving.clients).expect("connects")
        } else {
            connect(serving.clients, "/").0
        };
        if round % 3 == 2 {
            // A header that is well-formed, so that what follows goes deeper.
            bytes[0] = 0x80 | bytes[0] & 0x0f;
            if let Some(byte) = bytes.get_mut(1) {
                *byte |= 0x80;
            }
        }
        // The gateway may have closed before it has taken everything.
        let _ = stream.write_all(&bytes);
    }
    let (_, answer) = connect(serving.clients, "/");
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    serving.signal("TERM");
    assert_eq!(serving.end().0.code(), Some(0));
}

/// A text client, its standard input, and the lines that it prints.
struct Terminal {
    process: Child,
    input: Option<std::process::ChildStdin>,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Terminal {
    fn connect(serving: &Serving, arguments: &[&str]) -> Terminal {
        let url = format!("ws://{}", serving.clients);
        let mut process = tidegate(&["connect", &url])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        Terminal { input: process.stdin.take(), process, lines }
    }

    fn say(&mut self, line: &str) {
        writeln!(self.input.as_mut().expect("open"), "{line}").expect("written");
    }

    /// The next line that has this in it; the client's own end is the limit.
    fn until(&mut self, part: &str) -> String {
        let mut seen = String::new();
        for line in self.lines.by_ref().map_while(Result::ok) {
            if line.contains(part) {
                return line;
            }
            seen += &format!("{line}\n");
        }
        panic!("`{part}` is not in:\n{seen}");
    }

    fn status(mut self) -> Option<i32> {
        self.input = None;
        self.process.wait().expect("ends").code()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_person_plays_at_a_terminal() {
    let directory = tempfile::tempdir().expect("a directory");
    let show = file(&directory, "show.toml", &format!("room = 9\n{SHOW}"));
    let serving = Serving::start(&["--show", &show]);
    serving.json("POST", "/v1/shows/7/open-lobby");
    let mut alice = Terminal::connect(&serving, &["--user", "1", "--room", "9"]);
    alice.until("* you are user 1");
    alice.until("* in room 9");
    alice.until("you: in play, 0 revive cards");
    alice.say("sya hello");
    alice.until("`sya hello` is not understood");
    alice.say("answer 0");
    alice.until("there is no question yet");

    // Another one says something, and is gone with the end of its input.
    let (status, bob) = {
        let url = format!("ws://{}", serving.clients);
        let mut command = tidegate(&["connect", &url, "--user", "2", "--room", "9", "--json"]);
        let mut process =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("starts");
        process.stdin.take().expect("a pipe").write_all("say 你好\n".as_bytes()).expect("written");
        let output = process.wait_with_output().expect("ends");
        (output.status.code(), String::from_utf8(output.stdout).expect("UTF-8"))
    };
    assert_eq!(status, Some(0), "{bob}");
    for line in bob.lines() {
        serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("{line} is not JSON"));
    }
    assert!(bob.contains(r#""chatPublished":{"stamp":{"#), "{bob}");
    alice.until("<2> 你好");

    serving.json("POST", "/v1/shows/7/publish");
    alice.until("? question 0: One?  [0] a  [1] b");
    alice.say("answer 0");
    alice.until("* your answer is on record");
    serving.wait_until("/v1/shows/7", |show| show.contains("\"phase\":\"closed\""));
    serving.json("POST", "/v1/shows/7/reveal");
    alice.until("option 0 is right; chosen by 1, 0; 1 in the game");
    alice.until("question 0 of show 7: you passed");

    // A second session of the same user ends the first, which does not fight for it.
    let mut again = Terminal::connect(&serving, &["--user", "1"]);
    again.until("* you are user 1");
    alice.until("* closed with 4000 replaced");
    assert_eq!(alice.status(), Some(1));
    again.say("quit");
    assert_eq!(again.status(), Some(0));
}

#[test]
fn a_terminal_says_why_it_is_not_let_in() {
    let serving = Serving::start(&[]);
    let mut refused = Terminal::connect(&serving, &["--token", "a.b.c"]);
    refused.until("! TOKEN_INVALID");
    refused.until("Start again with a new token.");
    assert_eq!(refused.status(), Some(1));

    let (status, _, complaints) =
        run(&mut tidegate(&["connect", "wss://quiz.example", "--user", "1"]));
    assert!(status == 1 && complaints.contains("speaks no TLS"), "{complaints}");
    let (status, _, complaints) = run(&mut tidegate(&["connect", "ws://quiz.example"]));
    assert!(status == 1 && complaints.contains("Give --token"), "{complaints}");
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("one");
    let url = format!("ws://{nobody}");
    let (status, output, _) = run(&mut tidegate(&["connect", &url, "--user", "1"]));
    assert!(status == 1 && output.contains("cannot be reached"), "{output}");
}

#[test]
fn a_terminal_comes_back_to_a_gateway_that_was_restarted() {
    let serving = Serving::start(&[]);
    let address = serving.clients.to_string();
    let mut alice = Terminal::connect(&serving, &["--user", "1", "--room", "9"]);
    alice.until("* in room 9");
    serving.signal("TERM");
    alice.until("* closed with 1001 going_away");
    serving.end();
    // It returns within the ten seconds of this code, or a little later.
    let _restarted = Serving::start(&["--listen", &address]);
    alice.until("* in room 9");
    alice.say("quit");
    assert_eq!(alice.status(), Some(0));
}
