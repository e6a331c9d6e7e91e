//! Short connections on a shard that is its own home.

use super::*;
use crate::shard::session::State;

impl Stage {
    /// A connection of which nothing came yet.
    fn open(&mut self) -> ConnId {
        let conn = ConnId { place: self.places, generation: 1 };
        self.places += 1;
        let peer = std::net::SocketAddr::from(([127, 0, 0, 1], 9));
        self.step(Input::Opened { conn, peer });
        self.sent.insert(conn.place, Vec::new());
        conn
    }

    /// The response to a request: its head and its body.
    fn ask(&mut self, conn: ConnId, request: &str) -> (String, String) {
        self.sent.insert(conn.place, Vec::new());
        self.receive(conn, request.as_bytes().to_vec());
        self.send();
        self.response(conn)
    }

    fn response(&self, conn: ConnId) -> (String, String) {
        let text = String::from_utf8(self.sent[&conn.place].clone()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        (head.to_string(), body.to_string())
    }

    fn open_question(&mut self) {
        self.announce();
        self.order(Command::OpenLobby);
    }
}

fn post(path: &str, user: u64, body: &str) -> String {
    let (token, length) = (token(user), body.len());
    format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

fn answer(user: u64, option: u8) -> String {
    post("/v1/answers", user, &format!(r#"{{"showId":"5","question":0,"option":{option}}}"#))
}

#[test]
fn an_answer_by_http_binds_and_leaves_the_session_alone() {
    let mut stage = Stage::new();
    stage.open_question();
    let session = stage.enter(1);
    stage.order(Command::Publish);
    stage.send();
    let heard = stage.heard(session).frames.len();
    let short = stage.open();
    let (head, body) = stage.ask(short, &answer(1, 1));
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(body.contains(r#""answerReceived":{"result":{"#), "{body}");
    assert!(stage.shard.answer_record(SHOW, UserId(1)).unwrap().answer.is_some());
    // The session was told nothing, and lives; its own answer gets the reply of the first.
    assert_eq!(stage.heard(session).frames.len(), heard);
    assert_eq!(stage.shard.connection_state(session), Some(State::InRoom));
    let again = proto::Answer { show_id: SHOW.0, question: 0, option: 0, ticket: Bytes::new() };
    stage.receive(session, request("again", proto::request::Payload::Answer(again)));
    stage.send();
    assert!(stage.heard(session).reply("again").contains("AnswerReceived"));
    let record = stage.shard.answer_record(SHOW, UserId(1)).unwrap();
    assert_eq!(record.answer.unwrap().0, OptionIndex(1));
    // The same connection takes the next request.
    let (_, repeated) = stage.ask(short, &answer(1, 0));
    let sealed = |body: &str| body.split("\"ciphertext\":").nth(1).unwrap().to_string();
    assert_eq!(sealed(&repeated), sealed(&body));
    assert_eq!(stage.ended, []);
}

#[test]
fn the_stamp_is_that_of_the_last_byte() {
    let mut stage = Stage::new();
    stage.open_question();
    stage.enter(1);
    stage.order(Command::Publish);
    let short = stage.open();
    let request = answer(1, 1);
    for piece in request.as_bytes().chunks(7) {
        stage.now = stage.now + Duration::from_millis(1);
        stage.receive(short, piece.to_vec());
    }
    let record = stage.shard.answer_record(SHOW, UserId(1)).unwrap();
    assert_eq!(record.answer, Some((OptionIndex(1), stage.now)));
}

#[test]
fn refusals_have_a_status_and_say_why() {
    let mut stage = Stage::new();
    let conn = stage.open();
    let bare = |request: &str| format!("{request} HTTP/1.1\r\nHost: x\r\n\r\n");
    let no_token = answer(1, 1).replace("Authorization", "X-Authorization");
    let no_type = answer(1, 1).replace("Content-Type", "X-Content-Type");
    for (request, status, says) in [
        (bare("GET /nowhere"), "404 Not Found", "The WebSocket is at /ws"),
        (bare("GET /v1/answers"), "405 Method Not Allowed", "POST, OPTIONS"),
        (bare("POST /tidegate.js"), "405 Method Not Allowed", "GET, HEAD, OPTIONS"),
        (no_token, "401 Unauthorized", "Authorization: Bearer TOKEN"),
        (no_type, "415 Unsupported Media Type", "application/x-protobuf"),
        (answer(1, 1), "404 Not Found", "REASON_NO_SUCH_SHOW"),
        (post("/v1/answers", 1, "{"), "400 Bad Request", "REASON_MALFORMED"),
    ] {
        let (head, body) = stage.ask(conn, &request);
        assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request}: {head}");
        assert!(body.contains(says), "{request}: {body}");
        assert!(head.contains("Access-Control-Allow-Origin: *\r\n"), "{head}");
    }
    stage.announce();
    stage.order(Command::OpenLobby);
    let (head, body) = stage.ask(conn, &answer(1, 1));
    assert!(head.starts_with("HTTP/1.1 409 Conflict\r\n"), "{head}");
    assert!(body.contains("REASON_NOT_CURRENT_QUESTION"), "{body}");
    stage.order(Command::Publish);
    let (head, body) = stage.ask(conn, &answer(1, 1));
    assert!(head.starts_with("HTTP/1.1 403 Forbidden\r\n"), "never in the room: {head}");
    assert!(body.contains("REASON_NOT_IN_ROOM"), "{body}");
    assert_eq!(stage.ended, [], "the connection serves them all");
    let (head, _) = stage.ask(conn, &answer(1, 1).replace("Content-Length: ", "Content-Length: x"));
    assert!(head.contains("\r\nConnection: close"), "{head}");
    assert_eq!(stage.ended, [conn], "what stands behind it cannot be read");
}

#[test]
fn under_load_an_answer_by_http_gets_a_ticket_that_binds() {
    let mut stage = Stage::new();
    stage.shard = a_shard(ShardId(0), 1, 100);
    stage.open_question();
    let conn = stage.open();
    stage.order(Command::Publish);
    let (head, _) = stage.ask(conn, &answer(2, 0));
    assert!(head.starts_with("HTTP/1.1 403 "), "a ticket would not bind who is no player: {head}");
    stage.enter(1);
    let given = stage.now;
    let (head, body) = stage.ask(conn, &answer(1, 0));
    assert!(head.starts_with("HTTP/1.1 429 Too Many Requests\r\n"), "{head}");
    assert!(head.contains("\r\nRetry-After: 1\r\n"), "{head}");
    let ticket = body.split(r#""ticket":""#).nth(1).unwrap().split('"').next().unwrap();
    stage.now = stage.now + Duration::from_millis(50);
    let other = stage.open();
    let (head, body) = stage.ask(other, &answer(1, 1));
    assert!(head.starts_with("HTTP/1.1 429 "), "{head}: {body}");
    let with_ticket = |option: u8, ticket: &str| {
        let body =
            format!(r#"{{"showId":"5","question":0,"option":{option},"ticket":"{ticket}"}}"#);
        post("/v1/answers", 1, &body)
    };
    let second = body.split(r#""ticket":""#).nth(1).unwrap().split('"').next().unwrap();
    let (head, body) = stage.ask(other, &with_ticket(1, second));
    assert!(head.starts_with("HTTP/1.1 409 ") && body.contains("ANSWER_BOUND"), "{head}: {body}");
    let (head, _) = stage.ask(other, &with_ticket(0, ticket));
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let record = stage.shard.answer_record(SHOW, UserId(1)).unwrap();
    assert_eq!((record.answer, record.by_ticket), (Some((OptionIndex(0), given)), true));
}

#[test]
fn a_reply_waits_for_the_journal_and_comes_to_nobody_else() {
    let mut stage = Stage::new();
    stage.open_question();
    stage.enter(1);
    stage.order(Command::Publish);
    let short = stage.open();
    let mut bytes = answer(1, 1).into_bytes();
    let (now, arrived) = (stage.now, stage.now);
    stage.shard.step(now, Input::Received { conn: short, bytes: &mut bytes, arrived });
    let effects: Vec<Effect> = stage.shard.effects().collect();
    stage.send();
    assert!(stage.sent[&short.place].is_empty(), "not durable yet");
    // Whoever sends more before the reply is read no further.
    stage.receive(short, b"GET /tidegate.js HTTP/1.1\r\n".to_vec());
    for effect in effects {
        if let Effect::Journal { number, .. } = effect {
            stage.step(Input::Durable { record: number });
        }
    }
    stage.send();
    let (head, _) = stage.response(short);
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("\r\nConnection: close"), "{head}");
    assert_eq!(stage.ended, [short]);
}

/// `nc -N` does so, and some proxies (RFC 9112 §9.6).
#[test]
fn who_has_said_all_still_gets_its_response() {
    let mut stage = Stage::new();
    stage.open_question();
    stage.enter(1);
    stage.order(Command::Publish);
    let (short, idle, session) = (stage.open(), stage.open(), stage.enter(2));
    let mut bytes = answer(1, 1).into_bytes();
    let (now, arrived) = (stage.now, stage.now);
    stage.shard.step(now, Input::Received { conn: short, bytes: &mut bytes, arrived });
    let effects: Vec<Effect> = stage.shard.effects().collect();
    for conn in [short, idle] {
        stage.step(Input::Ended { conn });
    }
    assert_eq!(stage.ended, [idle]);
    for effect in effects {
        if let Effect::Journal { number, .. } = effect {
            stage.step(Input::Durable { record: number });
        }
    }
    stage.send();
    let (head, body) = stage.response(short);
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("\r\nConnection: close"), "{head}");
    assert!(body.contains("answerReceived"), "{body}");
    stage.step(Input::Ended { conn: session });
    assert_eq!(stage.ended, [idle, short, session]);
}

#[test]
fn silence_is_answered_if_a_request_waits_and_ends_a_connection_if_none_does() {
    let mut stage = Stage::new();
    stage.open_question();
    stage.enter(1);
    stage.order(Command::Publish);
    let (idle, waiting) = (stage.open(), stage.open());
    stage.ask(idle, "GET /tidegate.js HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut bytes = answer(1, 1).into_bytes();
    let (now, arrived) = (stage.now, stage.now);
    stage.shard.step(now, Input::Received { conn: waiting, bytes: &mut bytes, arrived });
    let records: Vec<Effect> = stage.shard.effects().collect();
    for _ in 0..4 {
        stage.now = stage.now + Duration::from_secs(1);
        stage.shard.step(stage.now, Input::ReceivedAll { until: stage.now });
        stage.shard.step(stage.now, Input::Tick);
        for effect in stage.shard.effects() {
            if let Effect::Close { conn, .. } = effect {
                stage.ended.push(conn);
            }
        }
    }
    stage.send();
    let (head, _) = stage.response(waiting);
    assert!(head.starts_with("HTTP/1.1 504 Gateway Timeout\r\n"), "{head}");
    assert!(stage.ended.contains(&idle) && stage.ended.contains(&waiting), "{:?}", stage.ended);
    // The reply that was too late finds nobody.
    for effect in records {
        if let Effect::Journal { number, .. } = effect {
            stage.step(Input::Durable { record: number });
        }
    }
    stage.send();
}

#[test]
fn the_client_is_served_and_remembered() {
    let mut stage = Stage::new();
    stage.takes = 1_000;
    let conn = stage.open();
    stage.receive(conn, b"GET /tidegate.js?1 HTTP/1.1\r\nHost: x\r\n\r\n".to_vec());
    for _ in 0..200 {
        stage.send();
        stage.step(Input::Writable { conn });
    }
    let (head, body) = stage.response(conn);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert_eq!(body, include_str!("../../web/tidegate.js"));
    stage.takes = usize::MAX;
    let tag = head.lines().find_map(|line| line.strip_prefix("ETag: ")).unwrap();
    let known =
        format!("GET /tidegate.js HTTP/1.1\r\nHost: x\r\nIf-None-Match: \"old\", W/{tag}\r\n\r\n");
    let (head, body) = stage.ask(conn, &known);
    assert!(head.starts_with("HTTP/1.1 304 Not Modified\r\n") && body.is_empty(), "{head}{body}");
    let (head, body) = stage.ask(conn, "HEAD /tidegate.d.ts HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && body.is_empty(), "{head}{body}");
    let (head, body) = stage.ask(conn, "HEAD /nowhere HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 404 ") && body.is_empty(), "{head}{body}");
    assert!(head.contains("\r\nDate: Fri, 15 Jan 2027 08:00:01 GMT"), "{head}");
    let preflight = "OPTIONS /v1/answers HTTP/1.1\r\nHost: x\r\nOrigin: https://quiz.example\r\n\
                     Access-Control-Request-Method: POST\r\n\r\n";
    let (head, _) = stage.ask(conn, preflight);
    for line in [
        "HTTP/1.1 204 No Content",
        "Access-Control-Allow-Origin: *",
        "Access-Control-Allow-Methods: POST",
        "Access-Control-Allow-Headers: Authorization, Content-Type",
    ] {
        assert!(head.lines().any(|it| it == line), "{line} is not in {head}");
    }
}

#[test]
fn the_page_is_served_with_all_that_it_names_and_runs_nothing_else() {
    let mut stage = Stage::new();
    let conn = stage.open();
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    let (head, page) = stage.ask(conn, &get("/play"));
    for line in [
        "HTTP/1.1 200 OK",
        "Content-Type: text/html; charset=utf-8",
        "Cache-Control: no-cache",
        "X-Content-Type-Options: nosniff",
        "Referrer-Policy: no-referrer",
        "Cross-Origin-Resource-Policy: same-origin",
    ] {
        assert!(head.lines().any(|it| it == line), "{line} is not in {head}");
    }
    let policy = head.lines().find_map(|it| it.strip_prefix("Content-Security-Policy: ")).unwrap();
    for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"] {
        assert!(policy.split("; ").any(|it| it == part), "{part} is not in {policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
    for inline in ["<style", " style=", "<script>", "javascript:", " onclick", " onload", "http"] {
        assert!(!page.contains(inline), "{inline} in the page");
    }
    let named: Vec<&str> = ["src=\"", "href=\""]
        .iter()
        .flat_map(|name| page.split(name).skip(1).filter_map(|rest| rest.split('"').next()))
        .collect();
    assert_eq!(named.len(), 4, "{named:?}");
    let imported = ["play/game.js", "play/words.js"];
    for path in named.into_iter().chain(imported) {
        let (head, body) = stage.ask(conn, &get(&format!("/{path}")));
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && !body.is_empty(), "{path}: {head}");
        let media_type = match path.rsplit('.').next().unwrap() {
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            _ => "image/svg+xml",
        };
        assert!(head.contains(&format!("\r\nContent-Type: {media_type}\r\n")), "{head}");
        for sink in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
            assert!(!body.contains(sink), "{sink} in {path}");
        }
    }
    let tag = head.lines().find_map(|line| line.strip_prefix("ETag: ")).unwrap();
    let known = format!("GET /play HTTP/1.1\r\nHost: x\r\nIf-None-Match: {tag}\r\n\r\n");
    assert!(stage.ask(conn, &known).0.starts_with("HTTP/1.1 304 Not Modified\r\n"));
    assert!(stage.ask(conn, &get("/play/")).0.starts_with("HTTP/1.1 404 "));
}

#[test]
fn a_message_by_http_reaches_the_room() {
    let mut stage = Stage::new();
    let member = stage.enter(1);
    let conn = stage.open();
    let (head, body) =
        stage.ask(conn, &post("/v1/rooms/7/publish", 2, r#"{"lane":"LANE_LOW","data":"eA=="}"#));
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && body.contains("published"), "{head}{body}");
    stage.now = stage.now + Duration::from_millis(500);
    stage.step(Input::Tick);
    stage.send();
    assert_eq!(stage.heard(member).low_lane(), [("message", 1)]);
    let (head, body) = stage.ask(conn, &post("/v1/rooms/7/chat", 2, r#"{"text":"hello"}"#));
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}{body}");
    assert!(body.contains("chatPublished"), "{body}");
    stage.now = stage.now + Duration::from_millis(500);
    stage.step(Input::Tick);
    stage.send();
    assert_eq!(stage.heard(member).low_lane(), [("message", 1), ("message", 2)]);
    let (head, body) = stage.ask(conn, &post("/v1/rooms/7/likes", 2, r#"{"count":3}"#));
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && body.contains("liked"), "{head}{body}");
    let (head, _) = stage.ask(conn, &post("/v1/rooms/7/publish", 2, r#"{"lane":"LANE_HIGH"}"#));
    assert!(head.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{head}");
}

#[test]
fn a_connection_may_become_a_websocket_after_a_request() {
    let mut stage = Stage::new();
    let conn = stage.open();
    stage.ask(conn, "GET /tidegate.js HTTP/1.1\r\nHost: x\r\n\r\n");
    stage.sent.insert(conn.place, Vec::new());
    let (encoding, nonce) = (Encoding::Proto, [1; 16]);
    let target = format!("/?token={}&room={ROOM}", token(1));
    let request = ClientRequest { host: "quiz.example", target: &target, encoding, nonce };
    stage.receive(conn, request.to_bytes());
    stage.send();
    assert_eq!(stage.shard.connection_state(conn), Some(State::InRoom));
}

#[test]
fn a_stopping_shard_answers_what_waits_and_refuses_the_rest() {
    let mut stage = Stage::new();
    stage.open_question();
    let session = stage.enter(1);
    stage.order(Command::Publish);
    stage.step(Input::Ended { conn: session });
    stage.ended.clear();
    let (idle, waiting) = (stage.open(), stage.open());
    let mut bytes = answer(1, 1).into_bytes();
    let (now, arrived) = (stage.now, stage.now);
    stage.shard.step(now, Input::Received { conn: waiting, bytes: &mut bytes, arrived });
    let effects: Vec<Effect> = stage.shard.effects().collect();
    stage.step(Input::Shutdown);
    assert_eq!(stage.ended, [idle]);
    for effect in effects {
        if let Effect::Journal { number, .. } = effect {
            stage.step(Input::Durable { record: number });
        }
    }
    stage.send();
    let (head, _) = stage.response(waiting);
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("\r\nConnection: close"), "{head}");
    assert!(stage.ended.contains(&waiting));
    let late = stage.open();
    let (head, _) = stage.ask(late, "GET /tidegate.js HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{head}");
    assert!(stage.ended.contains(&late));
}

/// An allow-list of one origin, and a request of a page.
fn from_page(stage: &mut Stage, method: &str, path: &str, origin: &str) -> String {
    stage.shard.config.limits.origins = ["https://quiz.example".to_owned()].into();
    let conn = stage.open();
    let origin = if origin.is_empty() { String::new() } else { format!("Origin: {origin}\r\n") };
    let request = match method {
        "POST" => answer(1, 1).replace("Host: x\r\n", &format!("Host: x\r\n{origin}")),
        _ => format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{origin}\r\n"),
    };
    stage.ask(conn, &request).0
}

#[test]
fn pages_ask_from_where_they_may_connect() {
    let mut stage = Stage::new();
    let (good, bad) = ("https://quiz.example", "https://quiz.example.evil");
    let path = "/v1/answers";
    for (method, path, origin, status, is_readable) in [
        ("POST", path, good, "404", true),
        ("POST", path, "HTTPS://quiz.EXAMPLE", "404", true),
        ("POST", path, bad, "403", false),
        ("POST", path, "null", "403", false),
        ("POST", path, "", "404", false),
        ("OPTIONS", path, good, "204", true),
        ("OPTIONS", path, bad, "403", false),
        ("GET", "/tidegate.js", good, "200", true),
        ("GET", "/tidegate.js", bad, "200", false),
        ("OPTIONS", "/tidegate.js", bad, "204", false),
        ("GET", "/nowhere", bad, "404", false),
    ] {
        let head = from_page(&mut stage, method, path, origin);
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{method} {origin}: {head}");
        let allows = head.lines().find_map(|it| it.strip_prefix("Access-Control-Allow-Origin: "));
        assert_eq!(allows, is_readable.then_some(origin), "{method} {path} {origin}: {head}");
        assert!(head.contains("\r\nVary: Origin\r\n"), "{head}");
    }
    assert_eq!(stage.shard.counters().origins_refused, 3);
}

#[test]
fn short_requests_count_as_messages_and_answers_pass_four_times_as_many() {
    let mut stage = Stage::new();
    stage.shard.config.limits.messages_per_second_max = 3;
    let conn = stage.open();
    let nowhere = "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n";
    for _ in 0..3 {
        assert!(stage.ask(conn, nowhere).0.starts_with("HTTP/1.1 404 "));
    }
    for _ in 0..9 {
        assert!(stage.ask(conn, &answer(1, 1)).0.starts_with("HTTP/1.1 404 "), "no such show");
    }
    let (head, body) = stage.ask(conn, &answer(1, 1));
    assert!(head.starts_with("HTTP/1.1 429 ") && head.contains("Connection: close"), "{head}");
    assert!(body.contains("REASON_RATE_LIMITED") && head.contains("Retry-After: 1"), "{body}");
    stage.now = stage.now + Duration::from_secs(1);
    let conn = stage.open();
    for _ in 0..3 {
        stage.ask(conn, nowhere);
    }
    assert!(stage.ask(conn, nowhere).0.starts_with("HTTP/1.1 429 "), "what is no answer");
}
