//! Dispatch: two gateways and a dispatcher as processes; clients are sent where there is room, and
//! away from who leaves or is gone.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(
    clippy::disallowed_methods,
    reason = "the test waits for other processes, and measures how long that takes"
)]

mod client;
mod serving;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use client::until;
use serde_json::Value;
use serving::{Process, ask, serve};
use tempfile::TempDir;

const TOKEN: &str = "the-operators-own-token";
/// Between two looks of the dispatcher.
const INTERVAL: Duration = Duration::from_millis(400);

fn gateway(operator_token: Option<&str>) -> Process {
    let mut command = serve("127.0.0.1:0");
    command.args(["--shards", "1"]).env("TIDEGATE_LIMITS__DRAIN_TIMEOUT_MS", "5000");
    if let Some(token) = operator_token {
        command.env("TIDEGATE_OPERATOR__TOKEN", token);
    }
    Process::start(&mut command)
}

/// The file of a dispatcher for these gateways: name, where its operator is, and keys.
fn text(top: &str, gateways: &[(&str, SocketAddr, &str)]) -> String {
    let mut text = format!(
        "listen = \"127.0.0.1:0\"\noperator_listen = \"127.0.0.1:0\"\nlog_format = \"json\"\n\
         interval_ms = {}\ntimeout_ms = 300\n{top}\n",
        INTERVAL.as_millis()
    );
    for (name, operator, keys) in gateways {
        text += &format!(
            "[[gateways]]\nname = \"{name}\"\nurls = [\"wss://{name}.example/\", \
             \"wss://{name}-2.example/\"]\noperator = \"http://{operator}\"\n{keys}\n"
        );
    }
    text
}

/// A folder with that file.
fn file(top: &str, gateways: &[(&str, SocketAddr, &str)]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dispatch.toml");
    std::fs::write(&path, text(top, gateways)).unwrap();
    (folder, path)
}

fn command(path: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(["dispatch", "--config"]).arg(path).env_clear();
    command
}

fn dispatcher(path: &Path) -> Process {
    Process::start(&mut command(path))
}

/// The names of the gateways in a list, by their first addresses.
fn listed(dispatcher: &Process) -> Vec<String> {
    let (status, _, body) = ask(dispatcher.clients, "GET", "/v1/gateways", "", "");
    let body: Value = serde_json::from_str(&body).unwrap();
    if status == 503 {
        assert_eq!(body["error"]["code"], "unavailable", "{body}");
        return Vec::new();
    }
    let gateways = body["gateways"].as_array().unwrap().iter();
    gateways
        .map(|gateway| {
            let url = gateway["urls"][0].as_str().unwrap();
            url.strip_prefix("wss://").unwrap().strip_suffix(".example/").unwrap().to_owned()
        })
        .collect()
}

/// How often each gateway comes first in as many lists as there are orders.
fn firsts(dispatcher: &Process) -> BTreeMap<String, usize> {
    let mut firsts = BTreeMap::new();
    for _ in 0..64 {
        if let Some(first) = listed(dispatcher).into_iter().next() {
            *firsts.entry(first).or_insert(0) += 1;
        }
    }
    firsts
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

#[tokio::test]
async fn clients_are_sent_where_there_is_room_and_away_from_who_leaves_or_is_gone() {
    let (a, b, c) = (gateway(None), gateway(None), gateway(None));
    let good_for = "connections = 40";
    let gateways =
        [("a", a.operator, good_for), ("b", b.operator, good_for), ("c", c.operator, good_for)];
    let (_folder, path) = file("", &gateways);
    let dispatcher = dispatcher(&path);
    until("all are listed", || listed(&dispatcher).len() == 3);
    let even = firsts(&dispatcher);
    assert!(even.values().all(|count| (15..28).contains(count)), "{even:?}");

    // Whoever has many gets few: 36 of 40 against none and none, so one in twenty-one.
    let audience = a.audience(1..37).await;
    until("a has few more", || firsts(&dispatcher).get("a").copied().unwrap_or(0) <= 6);
    assert_eq!(sorted(listed(&dispatcher)), ["a", "b", "c"]);
    let metrics = dispatcher.ask("GET", "/metrics", "").2;
    for line in [
        "tidegate_dispatch_gateway_connections{gateway=\"a\"} 36",
        "tidegate_dispatch_gateway_room{gateway=\"a\"} 4",
        "tidegate_dispatch_gateway_room{gateway=\"b\"} 40",
        "tidegate_dispatch_gateway_state{gateway=\"a\",state=\"listed\"} 1",
    ] {
        assert!(metrics.lines().any(|it| it == line), "{line} is not in:\n{metrics}");
    }

    // Who is drained goes; its clients have half a minute for that.
    let leaving = b.audience(100..105).await;
    let (status, ..) = b.ask("POST", "/v1/drain", r#"{"spread_ms":30000}"#);
    assert_eq!(status, 200);
    let begun = Instant::now();
    until("b is not listed", || sorted(listed(&dispatcher)) == ["a", "c"]);
    assert!(begun.elapsed() < 10 * INTERVAL, "{:?}", begun.elapsed());
    assert_eq!(firsts(&dispatcher).get("b"), None);

    // Who is killed goes too.
    c.signal("-KILL");
    let begun = Instant::now();
    until("c is not listed", || listed(&dispatcher) == ["a"]);
    assert!(begun.elapsed() < 10 * INTERVAL, "{:?}", begun.elapsed());

    // Where nobody is left, clients are told when to come again.
    drop((audience, leaving));
    a.signal("-KILL");
    until("nobody is listed", || listed(&dispatcher).is_empty());
    let (status, head, _) = ask(dispatcher.clients, "GET", "/v1/gateways?part=3", "", "");
    assert_eq!(status, 503);
    assert!(head.contains("retry-after: 1") && head.contains("cache-control: no-store"), "{head}");
    assert_eq!(dispatcher.ask("GET", "/readyz", "").0, 503);
    assert_eq!(dispatcher.ask("GET", "/healthz", "").0, 200);

    dispatcher.signal("-TERM");
    let (status, log) = dispatcher.end();
    assert_eq!(status, Some(0), "{log}");
    // One line for each change, however often it was asked.
    let about_c = log.lines().filter(|line| line.contains("\"gateway\":\"c\"")).count();
    assert!((2..6).contains(&about_c) && log.contains("\"why\":\"draining\""), "{log}");
}

#[test]
fn a_gateway_that_comes_back_is_listed_again_and_a_wrong_token_is_said() {
    let (a, b) = (gateway(Some(TOKEN)), gateway(Some("another-token-of-b")));
    let folder = tempfile::tempdir().unwrap();
    let token_file = folder.path().join("token");
    std::fs::write(&token_file, format!("{TOKEN}\n")).unwrap();
    let top = format!("token_file = {:?}", token_file.display().to_string());
    let (_folder, path) = file(&top, &[("a", a.operator, ""), ("b", b.operator, "")]);
    let dispatcher_process = dispatcher(&path);
    until("a is listed", || listed(&dispatcher_process) == ["a"]);
    let failed = "tidegate_dispatch_asks_failed_total{gateway=\"b\"} ";
    until("b was asked again and again", || {
        let metrics = dispatcher_process.ask("GET", "/metrics", "").2;
        let count = metrics.lines().find_map(|line| line.strip_prefix(failed)?.parse::<u32>().ok());
        count.is_some_and(|count| count >= 4)
    });
    dispatcher_process.signal("-TERM");
    let (status, log) = dispatcher_process.end();
    assert_eq!(status, Some(0), "{log}");
    let lines: Vec<&str> = log.lines().filter(|it| it.contains("the token is refused")).collect();
    assert!((1..=2).contains(&lines.len()) && lines[0].contains("\"gateway\":\"b\""), "{log}");
    assert!(!log.contains(TOKEN));
    // The variable does as well.
    let (_folder, path) = file("", &[("b", b.operator, "")]);
    let mut command = command(&path);
    command.env("TIDEGATE_DISPATCH_TOKEN", "another-token-of-b");
    let dispatcher_process = Process::start(&mut command);
    until("b is listed", || listed(&dispatcher_process) == ["b"]);
    let stopped = |name: &str| b.signal(name);
    stopped("-STOP");
    until("b hangs", || listed(&dispatcher_process).is_empty());
    stopped("-CONT");
    until("b is listed again", || listed(&dispatcher_process) == ["b"]);
}

#[test]
fn clients_get_what_they_may_and_errors_that_say_what_is_wrong() {
    let a = gateway(None);
    let top = "origins = [\"https://quiz.example\"]\nttl_s = 3";
    let (_folder, path) = file(top, &[("a", a.operator, "")]);
    let dispatcher = dispatcher(&path);
    until("a is listed", || listed(&dispatcher) == ["a"]);
    let clients = dispatcher.clients;
    let expected = r#"{"ttl_s":3,"gateways":[{"urls":["wss://a.example/","wss://a-2.example/"]}]}"#;
    for (target, kept) in [("/v1/gateways", "private"), ("/v1/gateways?part=63", "public")] {
        let (status, head, body) =
            ask(clients, "GET", target, "origin: https://quiz.example\r\n", "");
        assert_eq!((status, &*body), (200, expected), "{target}");
        for line in [
            &*format!("cache-control: {kept}, max-age=3"),
            "access-control-allow-origin: https://quiz.example",
            "vary: origin",
            "content-type: application/json",
            "connection: close",
        ] {
            assert!(head.lines().any(|it| it == line), "{line} is not in {head}");
        }
        let (status, head, body) = ask(clients, "HEAD", target, "", "");
        assert!(status == 200 && body.is_empty(), "{head}");
        assert!(head.contains(&format!("content-length: {}", expected.len())), "{head}");
        assert!(!head.contains("access-control-allow-origin"), "{head}");
        let (_, head, _) = ask(clients, "GET", target, "origin: https://other.example\r\n", "");
        assert!(!head.contains("access-control-allow-origin"), "{head}");
    }
    for (method, target, status, part) in [
        ("GET", "/", 404, "there is nothing at /"),
        ("GET", "/metrics", 404, "there is nothing at /metrics"),
        ("GET", "/v1/gateways/", 404, "there is nothing at /v1/gateways/"),
        ("POST", "/v1/gateways", 405, "POST is not for /v1/gateways; use GET, HEAD"),
        ("OPTIONS", "/v1/gateways", 405, "use GET, HEAD"),
        ("GET", "/v1/gateways?part=64", 400, "give a whole number from 0 to 63"),
        ("GET", "/v1/gateways?part=x", 400, "give a whole number from 0 to 63"),
        ("GET", "/v1/gateways?prat=1", 400, "did you mean `part`?"),
        ("GET", "/v1/gateways?part=1&part=2", 400, "twice"),
    ] {
        let (got, head, body) = ask(clients, method, target, "", "");
        assert!(got == status && body.contains(part), "{method} {target}: {got} {body}");
        assert!(head.contains("cache-control: no-store"), "{head}");
        assert_eq!(head.contains("allow: get, head"), status == 405, "{head}");
    }
    // What is the operator's is not the clients', and the other way round.
    let (status, ..) = dispatcher.ask("GET", "/v1/gateways", "");
    assert_eq!(status, 404);
    let (status, head, metrics) = dispatcher.ask("GET", "/metrics", "");
    assert!(status == 200 && head.contains("version=0.0.4"), "{head}");
    assert!(metrics.lines().any(|line| line == "tidegate_dispatch_refused_total 9"), "{metrics}");
    assert!(
        metrics.lines().any(|line| line == "tidegate_dispatch_first_ratio{gateway=\"a\"} 1.000")
    );
    assert_eq!(dispatcher.ask("GET", "/readyz", "").0, 200);
    assert_eq!(dispatcher.ask("POST", "/metrics", "").0, 405);
}

fn output(path: &Path, more: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command(path).args(more).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn a_file_that_is_wrong_is_refused_with_all_that_is_wrong() {
    let here: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let (_folder, path) = file("ttl_s = 0\nintervall = 1", &[("a", here, "bits = 1")]);
    let (status, _, said) = output(&path, &[]);
    assert_eq!(status, Some(78), "{said}");
    for part in ["ttl_s: 0 is out of range", "did you mean `interval_ms`?", "gateways[0].bits"] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    let (status, _, said) = output(Path::new("/nowhere/dispatch.toml"), &[]);
    assert!(status == Some(78) && said.contains("cannot be opened"), "{said}");
    let (_folder, path) = file("certificates_file = \"/nowhere/ca.pem\"", &[("a", here, "")]);
    let (status, _, said) = output(&path, &["--check"]);
    assert!(status == Some(78) && said.starts_with("certificates_file: "), "{said}");
    let (_folder, path) = file("", &[("a", here, "")]);
    let (status, printed, said) = output(&path, &["--check"]);
    assert!(status == Some(0) && printed.contains("valid; 1 gateways; listens on"), "{said}");
    // A place that somebody has.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let place = format!("\nlisten = \"{}\"", taken.local_addr().unwrap());
    std::fs::write(&path, text.replacen("listen = \"127.0.0.1:0\"", place.trim_start(), 1))
        .unwrap();
    let (status, _, said) = output(&path, &[]);
    assert!(status == Some(1) && said.contains("stop what listens there"), "{said}");
}

#[test]
fn the_example_file_is_valid_as_it_is_and_with_all_that_it_leaves_out() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/dispatch.toml");
    let (status, printed, said) = output(&path, &["--check"]);
    assert!(status == Some(0) && printed.contains("valid; 2 gateways"), "{said}");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), TOKEN).unwrap();
    let certificates = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
    std::fs::write(folder.path().join("ca.pem"), certificates.cert.pem()).unwrap();
    let example = std::fs::read_to_string(&path).unwrap();
    let lines = example.lines().map(|line| {
        let key = line.strip_prefix("# ").filter(|it| it.contains(" = "));
        let name = key.and_then(|key| Some(key.split_once(" = ")?.0)).unwrap_or_default();
        match name {
            "token_file" => format!("token_file = {:?}\n", folder.path().join("token")),
            "certificates_file" => format!("{name} = {:?}\n", folder.path().join("ca.pem")),
            _ => format!("{}\n", key.unwrap_or(line)),
        }
    });
    let path = folder.path().join("dispatch.toml");
    std::fs::write(&path, lines.collect::<String>()).unwrap();
    let (status, printed, said) = output(&path, &["--check"]);
    assert!(status == Some(0) && printed.contains("valid; 2 gateways"), "{said}");
}

// SIGHUP.

fn has_metric(dispatcher: &Process, line: &str) -> bool {
    dispatcher.ask("GET", "/metrics", "").2.lines().any(|it| it == line)
}

fn metric(dispatcher: &Process, series: &str) -> u64 {
    let metrics = dispatcher.ask("GET", "/metrics", "").2;
    let value = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {series}")).parse().unwrap()
}

/// Has another file read, until a line of metrics says so. Clients are never without a list.
fn reload(dispatcher: &Process, path: &Path, text: &str, line: &str) {
    std::fs::write(path, text).unwrap();
    dispatcher.signal("-HUP");
    until(line, || {
        assert!(!listed(dispatcher).is_empty(), "nobody was listed");
        has_metric(dispatcher, line)
    });
}

#[test]
fn another_file_is_in_force_without_a_restart_and_without_a_moment_without_a_list() {
    let (a, b) = (gateway(None), gateway(Some(TOKEN)));
    let token_file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token_file.path(), "an-old-token-of-b").unwrap();
    let only_a = [("a", a.operator, "")];
    let (_folder, path) = file("", &only_a);
    let dispatcher = dispatcher(&path);
    until("a is listed", || listed(&dispatcher) == ["a"]);
    let firsts_a = "tidegate_dispatch_first_total{gateway=\"a\"}";
    let (given, answered) = (
        metric(&dispatcher, firsts_a),
        metric(&dispatcher, "tidegate_dispatch_asks_answered_total{gateway=\"a\"}"),
    );
    assert!(given > 0 && answered > 0);

    // Another one, a limit, another life: and who was known stays known.
    let key = format!("token_file = {:?}", token_file.path());
    let both = [("a", a.operator, "connections = 5"), ("b", b.operator, &*key)];
    reload(&dispatcher, &path, &text("ttl_s = 7", &both), "tidegate_config_reloads_total 1");
    let (_, head, body) = ask(dispatcher.clients, "GET", "/v1/gateways", "", "");
    assert!(head.contains("max-age=7") && body.contains("\"ttl_s\":7"), "{head}{body}");
    assert!(has_metric(&dispatcher, "tidegate_dispatch_gateway_room{gateway=\"a\"} 5"));
    assert!(metric(&dispatcher, firsts_a) > given);
    until("b refuses the token", || {
        metric(&dispatcher, "tidegate_dispatch_asks_failed_total{gateway=\"b\"}") > 0
    });
    assert_eq!(listed(&dispatcher), ["a"]);
    // The same file; what is in the files that it names is what has changed.
    std::fs::write(token_file.path(), TOKEN).unwrap();
    reload(&dispatcher, &path, &text("ttl_s = 7", &both), "tidegate_config_reloads_total 2");
    until("b is listed", || sorted(listed(&dispatcher)) == ["a", "b"]);

    // One that is taken out is gone at once, from the lists and from metrics.
    let only_b = text("log_level = \"debug\"", &both[1..]);
    reload(&dispatcher, &path, &only_b, "tidegate_config_reloads_total 3");
    assert_eq!(listed(&dispatcher), ["b"]);
    assert!(!dispatcher.ask("GET", "/metrics", "").2.contains("gateway=\"a\""));
    let looked = metric(&dispatcher, "tidegate_dispatch_asks_answered_total{gateway=\"b\"}");
    until("b is looked at", || {
        metric(&dispatcher, "tidegate_dispatch_asks_answered_total{gateway=\"b\"}") > looked
    });
    dispatcher.signal("-TERM");
    let (status, log) = dispatcher.end();
    assert_eq!(status, Some(0), "{log}");
    for part in [
        r#""gateways":2,"added":"b","removed":"""#,
        r#""gateways":2,"added":"","removed":"""#,
        r#""gateways":1,"added":"","removed":"a""#,
    ] {
        assert!(log.contains(part), "{part}: {log}");
    }
}

#[test]
fn a_file_that_cannot_be_put_in_force_changes_nothing() {
    let (a, b) = (gateway(None), gateway(None));
    let only_a = [("a", a.operator, "")];
    let both = [("a", a.operator, ""), ("b", b.operator, "")];
    let (_folder, path) = file("", &only_a);
    let dispatcher = dispatcher(&path);
    until("a is listed", || listed(&dispatcher) == ["a"]);
    let elsewhere = text("ttl_s = 9", &both).replacen("127.0.0.1:0", "127.0.0.1:1", 1);
    for (errors, text) in [
        (1, "listen = ".to_owned()),
        (2, text("ttl_s = 0\nintervall_ms = 1", &both)),
        (3, elsewhere.replace("\"json\"", "\"text\"")),
        (4, text("token_file = \"/nowhere/token\"", &both)),
        (5, text("certificates_file = \"/nowhere/ca.pem\"", &both)),
    ] {
        let line = format!("tidegate_config_errors_total {errors}");
        reload(&dispatcher, &path, &text, &line);
        assert!(has_metric(&dispatcher, "tidegate_config_stale 1"), "{text}");
        assert_eq!(listed(&dispatcher), ["a"], "{text}");
    }
    reload(&dispatcher, &path, &text("", &both), "tidegate_config_stale 0");
    until("b is listed", || sorted(listed(&dispatcher)) == ["a", "b"]);
    dispatcher.signal("-TERM");
    let (status, log) = dispatcher.end();
    assert_eq!(status, Some(0), "{log}");
    for part in [
        "not TOML",
        "ttl_s: 0 is out of range",
        "did you mean `interval_ms`?",
        "these need a restart, and nothing was changed: listen, log_format",
        "token_file: /nowhere/token: cannot be opened",
        "certificates_file: ",
    ] {
        assert!(log.contains(part), "{part}: {log}");
    }
}

// A client at the terminal.

/// A dispatcher's file whose gateways have addresses that a client can try, each in this order.
fn with_addresses(gateways: &[(&str, SocketAddr, &[String])]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let mut all = text("", &[]);
    for (name, operator, urls) in gateways {
        all += &format!(
            "[[gateways]]\nname = \"{name}\"\nurls = {urls:?}\noperator = \"http://{operator}\"\n"
        );
    }
    let path = folder.path().join("dispatch.toml");
    std::fs::write(&path, all).unwrap();
    (folder, path)
}

/// An address that nobody listens on, nor will.
fn nobody() -> (socket2::Socket, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let anywhere: SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&anywhere.into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

fn connect(dispatcher: &str, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    let token = client::token(42);
    command.args(["connect", "--dispatch", dispatcher, "--token", &token, "--room", "7"]);
    command.args(more).env_clear().stdin(Stdio::null());
    command
}

fn connections(gateway: &Process) -> u64 {
    let metrics = gateway.ask("GET", "/metrics", "").2;
    let lines = metrics.lines().filter(|line| line.starts_with("tidegate_sessions{"));
    lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
}

#[test]
fn a_client_at_the_terminal_goes_where_the_dispatcher_says_and_on_from_there() {
    let (a, b) = (gateway(None), gateway(None));
    let (_held, nobody) = nobody();
    let urls = |gateway: &Process| {
        // With TLS, which it cannot speak; one where nobody listens; and the right one.
        let (dead, right) = (format!("ws://{nobody}/{}", gateway.clients.port()), gateway.clients);
        ["wss://a.example/".to_owned(), dead, format!("ws://{right}/")]
            .map(|url| url.replace("a.example", &format!("{}.example", right.port())))
    };
    let (urls_a, urls_b) = (urls(&a), urls(&b));
    let (_folder, path) = with_addresses(&[("a", a.operator, &urls_a[..])]);
    let dispatcher = dispatcher(&path);
    let list = format!("http://{}", dispatcher.clients);
    until("a is listed", || dispatcher.ask("GET", "/readyz", "").0 == 200);
    let mut command = connect(&list, &["--stay", "--json"]);
    let mut client = command.stdout(Stdio::piped()).spawn().unwrap();
    until("it came to a", || connections(&a) == 1);

    // b is there, and a asks everybody to leave.
    let both = with_addresses(&[("a", a.operator, &urls_a[..]), ("b", b.operator, &urls_b[..])]);
    let next = std::fs::read_to_string(&both.1).unwrap();
    std::fs::write(&path, next).unwrap();
    dispatcher.signal("-HUP");
    let ready = || dispatcher.ask("GET", "/readyz", "").2.contains("\"listed\":2");
    until("both are listed", ready);
    let (status, ..) = a.ask("POST", "/v1/drain", r#"{"spread_ms":100}"#);
    assert_eq!(status, 200);
    until("it came to b", || connections(&b) == 1);
    client.kill().unwrap();
    let said = client.wait_with_output().unwrap().stdout;
    let said = String::from_utf8(said).unwrap();
    let tried: Vec<String> = said
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|line| line["event"] == "trying")
        .map(|line| line["text"].as_str().unwrap().to_owned())
        .collect();
    assert!(tried.len() >= 4, "{said}");
    let [dead, right] = [&urls_a[1], &urls_a[2]].map(|url| format!("trying {url}"));
    assert_eq!(tried[..2], [dead, right + "ws"], "{said}");
    assert_eq!(tried.last(), Some(&format!("trying {}ws", urls_b[2])), "{said}");
    assert!(said.contains("cannot be reached"), "{said}");
}

#[test]
fn a_client_at_the_terminal_says_why_it_finds_no_gateway_and_takes_one_that_is_given() {
    let a = gateway(None);
    let (_held, nobody) = nobody();
    let tls = ["wss://a.example/".to_owned()];
    let (_folder, path) = with_addresses(&[("a", nobody, &tls)]);
    let dispatcher = dispatcher(&path);
    let run = |dispatcher: &str, more: &[&str]| {
        let Output { status, stdout, stderr } = connect(dispatcher, more).output().unwrap();
        (status.code(), String::from_utf8([stdout, stderr].concat()).unwrap())
    };
    let list = format!("http://{}", dispatcher.clients);
    let (nowhere, other) =
        (format!("http://{nobody}"), format!("http://{}/v2", dispatcher.clients));
    for (url, part) in [
        (&*list, "has no gateway that takes clients now"),
        (&*nowhere, "cannot be asked"),
        (&*other, "is this the address for clients of `tidegate dispatch`"),
        ("https://quiz.example", "this client speaks no TLS"),
    ] {
        let (status, said) = run(url, &[]);
        assert!(status == Some(1) && said.contains(part), "{url}: {said}");
        assert!(said.contains(url.trim_end_matches("/v2")), "{url}: {said}");
    }
    // While there is no list, the one that was given beside is tried.
    let given = format!("ws://{}/", a.clients);
    let (status, said) = run(&list, &[&given]);
    assert!(status == Some(0) && said.contains(&format!("trying {given}ws")), "{said}");
    assert!(said.contains("has no gateway") && said.contains("you are user 42"), "{said}");
    // Without either there is nothing to do.
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate")).arg("connect").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && said.contains("URL"), "{said}");
    // A list is no use if it has only what this client does not speak.
    std::fs::write(
        &path,
        std::fs::read_to_string(&path)
            .unwrap()
            .replace(&nobody.to_string(), &a.operator.to_string()),
    )
    .unwrap();
    dispatcher.signal("-HUP");
    until("a is listed", || dispatcher.ask("GET", "/readyz", "").0 == 200);
    let (status, said) = run(&list, &[]);
    let part = "this client can try none: wss://a.example/: this client speaks no TLS";
    assert!(status == Some(1) && said.contains(part), "{said}");
}
