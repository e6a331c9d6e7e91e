use super::*;
use httparse::Error as HttpError;
use proptest::prelude::*;
use std::collections::BTreeSet;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// Header lines of a good request; a test replaces, removes or adds some.
const GOOD: [(&str, &str); 6] = [
    ("Host", "live.example:8080"),
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", KEY),
    ("Sec-WebSocket-Protocol", "tidegate.v1.proto"),
];

/// A request whose headers are the good ones with these changes: a value replaces the good one, an
/// empty one removes it, and what is not among the good ones is added.
fn request(first_line: &str, changes: &[(&str, &str)]) -> Vec<u8> {
    let mut text = format!("{first_line}\r\n");
    for (name, value) in GOOD {
        let change = changes.iter().find(|(changed, _)| *changed == name);
        match change.map(|(_, value)| *value) {
            Some("") => {}
            Some(value) => text.push_str(&format!("{name}: {value}\r\n")),
            None => text.push_str(&format!("{name}: {value}\r\n")),
        }
    }
    for (name, value) in changes {
        if !GOOD.iter().any(|(good, _)| good == name) {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    text.push_str("\r\n");
    text.into_bytes()
}

fn get(changes: &[(&str, &str)]) -> Vec<u8> {
    request("GET /ws HTTP/1.1", changes)
}

fn query(query: &str) -> Vec<u8> {
    request(&format!("GET /ws?{query} HTTP/1.1"), &[])
}

#[track_caller]
fn accepted(bytes: &[u8]) -> UpgradeRequest {
    match parse(bytes, Encoding::Proto) {
        Upgrade::Complete { request, consumed } => {
            assert_eq!(consumed, bytes.len());
            *request
        }
        other => panic!("{other:?} for {}", String::from_utf8_lossy(bytes)),
    }
}

#[track_caller]
fn refused(bytes: &[u8]) -> UpgradeError {
    match parse(bytes, Encoding::Proto) {
        Upgrade::Rejected { response, error } => {
            assert_eq!(response, error.response());
            error
        }
        other => panic!("{other:?} for {}", String::from_utf8_lossy(bytes)),
    }
}

#[test]
fn what_is_accepted() {
    for bytes in [
        get(&[]),
        request("GET / HTTP/1.1", &[]),
        request("GET /ws? HTTP/1.1", &[]),
        request("GET http://live.example/ws HTTP/1.1", &[]),
        request("GET WS://live.example HTTP/1.1", &[]),
        get(&[("Upgrade", "WebSocket")]),
        get(&[("Upgrade", "h2c, WEBSOCKET")]),
        get(&[("Connection", "keep-alive, Upgrade")]),
        get(&[("Connection", "KEEP-ALIVE ,\tUPGRADE")]),
        get(&[("Connection", "keep-alive"), ("connection", "upgrade")]),
        get(&[("Upgrade", "h2c"), ("UPGRADE", "websocket")]),
        get(&[("Host", ""), ("hOST", "live.example:8080")]),
        get(&[("Sec-WebSocket-Key", ""), ("SEC-WEBSOCKET-KEY", KEY)]),
        get(&[("Sec-WebSocket-Version", " 13 ")]),
        // The example of RFC 6455 §4.1 has bits set behind the sixteenth byte.
        get(&[("Sec-WebSocket-Key", "AQIDBAUGBwgJCgsMDQ4PEC==")]),
        get(&[("Sec-WebSocket-Protocol", "")]),
        get(&[("Sec-WebSocket-Protocol", "chat, tidegate.v1.proto")]),
        get(&[("Sec-WebSocket-Protocol", "chat"), ("sec-websocket-protocol", "tidegate.v1.proto")]),
        get(&[("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")]),
        get(&[("Content-Length", "0")]),
        get(&[("Authorization", "Basic dXNlcjpwYXNz")]),
        query("utm_source=share&flag"),
        query("room=18446744073709551615"),
        // Bare line feeds and an empty line before the request are tolerated (RFC 9112 §2.2).
        String::from_utf8_lossy(&get(&[])).replace("\r\n", "\n").into_bytes(),
        [b"\r\n".as_slice(), &get(&[])].concat(),
    ] {
        accepted(&bytes);
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn what_is_refused() {
    use UpgradeError as E;
    let many: Vec<(String, &str)> = (0..60).map(|index| (format!("X-{index}"), "y")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, y)| (name.as_str(), *y)).collect();
    let long = "x".repeat(UPGRADE_BYTES_MAX);
    let long_token = "x".repeat(TOKEN_BYTES_MAX + 1);
    let cases: Vec<(Vec<u8>, UpgradeError, u16)> = vec![
        (
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
            E::Malformed(HttpError::Token),
            400,
        ),
        (
            b"GET /ws HTTP/1.1\r\nHost : x\r\n\r\n".to_vec(),
            E::Malformed(HttpError::HeaderName),
            400,
        ),
        (
            b"GET /ws HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n".to_vec(),
            E::Malformed(HttpError::HeaderName),
            400,
        ),
        (
            b"GET /ws HTTP/1.1\r\nHost: a\0b\r\n\r\n".to_vec(),
            E::Malformed(HttpError::HeaderValue),
            400,
        ),
        (b"GET /ws HTTP/1.1\rx".to_vec(), E::Malformed(HttpError::NewLine), 400),
        (b"GET /ws\r\n\r\n".to_vec(), E::Malformed(HttpError::Token), 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), E::HttpVersion, 505),
        (request("GET /ws HTTP/1.0", &[]), E::HttpVersion, 505),
        (request("GET /ws HTTP/1.2", &[]), E::HttpVersion, 505),
        (request("POST /ws HTTP/1.1", &[]), E::Method, 405),
        (request("get /ws HTTP/1.1", &[]), E::Method, 405),
        (request("CONNECT live.example:80 HTTP/1.1", &[]), E::Method, 405),
        (request("OPTIONS * HTTP/1.1", &[]), E::Method, 405),
        (request("GET * HTTP/1.1", &[]), E::Target, 400),
        (request("GET ws HTTP/1.1", &[]), E::Target, 400),
        (request("GET http:///ws HTTP/1.1", &[]), E::Target, 400),
        (request("GET ftp://live.example/ws HTTP/1.1", &[]), E::Target, 400),
        (request("GET /ws#top HTTP/1.1", &[]), E::Target, 400),
        (request("GET /favicon.ico HTTP/1.1", &[]), E::NotFound, 404),
        (request("GET /ws/ HTTP/1.1", &[]), E::NotFound, 404),
        (request("GET /%77s HTTP/1.1", &[]), E::NotFound, 404),
        (request("GET //ws HTTP/1.1", &[]), E::NotFound, 404),
        (request("GET http://live.example/other HTTP/1.1", &[]), E::NotFound, 404),
        (request(&format!("GET /ws?{long} HTTP/1.1"), &[]), E::TargetTooLong, 414),
        (get(&[("Cookie", long.as_str())]), E::HeadersTooLarge, 431),
        (get(&many), E::TooManyHeaders, 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), E::NotAnUpgrade, 426),
        (get(&[("Upgrade", "")]), E::NotAnUpgrade, 426),
        (get(&[("Upgrade", "h2c")]), E::NotAnUpgrade, 426),
        (get(&[("Upgrade", "websocket/13")]), E::NotAnUpgrade, 426),
        (get(&[("Connection", "")]), E::ConnectionHeader, 400),
        (get(&[("Connection", "keep-alive")]), E::ConnectionHeader, 400),
        (get(&[("Connection", "close, upgraded")]), E::ConnectionHeader, 400),
        (get(&[("Sec-WebSocket-Version", "")]), E::HeaderMissing("Sec-WebSocket-Version"), 400),
        (get(&[("Sec-WebSocket-Version", "8")]), E::WebSocketVersion, 426),
        (get(&[("Sec-WebSocket-Version", "13, 8")]), E::WebSocketVersion, 426),
        (get(&[("Sec-WebSocket-Version", "013")]), E::WebSocketVersion, 426),
        (get(&[("sec-websocket-version", "13")]), E::HeaderTwice("sec-websocket-version"), 400),
        (get(&[("Host", "")]), E::HeaderMissing("Host"), 400),
        (get(&[("Host", " ")]), E::HeaderMissing("Host"), 400),
        (get(&[("host", "other.example")]), E::HeaderTwice("host"), 400),
        (get(&[("Sec-WebSocket-Key", "")]), E::HeaderMissing("Sec-WebSocket-Key"), 400),
        (get(&[("Sec-WebSocket-Key", " ")]), E::Key, 400),
        (get(&[("Sec-WebSocket-Key", "c2hvcnQ=")]), E::Key, 400),
        (get(&[("Sec-WebSocket-Key", "AQIDBAUGBwgJCgsMDQ4PEBE=")]), E::Key, 400),
        (get(&[("Sec-WebSocket-Key", "AQIDBAUGBwgJCgsMDQ4PEA")]), E::Key, 400),
        (get(&[("Sec-WebSocket-Key", "AQIDBAUGBwgJCgsMDQ4P_A==")]), E::Key, 400),
        (get(&[("sec-websocket-key", KEY)]), E::HeaderTwice("sec-websocket-key"), 400),
        (get(&[("Sec-WebSocket-Protocol", "chat")]), E::Subprotocol, 400),
        (get(&[("Sec-WebSocket-Protocol", "TIDEGATE.V1.PROTO")]), E::Subprotocol, 400),
        (get(&[("Sec-WebSocket-Protocol", "tidegate.v2.proto, \u{e9}")]), E::Subprotocol, 400),
        (get(&[("Sec-WebSocket-Protocol", "tidegate.token.abc")]), E::Subprotocol, 400),
        (get(&[("Content-Length", "5")]), E::Body, 400),
        (get(&[("Transfer-Encoding", "chunked")]), E::Body, 400),
        (get(&[("Authorization", "Bearer  ")]), E::TokenEmpty, 400),
        (get(&[("Authorization", &format!("Bearer {long_token}"))]), E::TokenTooLong, 431),
        (query(&format!("token={long_token}")), E::TokenTooLong, 431),
        (query("token="), E::TokenEmpty, 400),
        (query("token"), E::TokenEmpty, 400),
        (query("token=a&token=a"), E::QueryTwice("token"), 400),
        (query("token=%"), E::QueryEscape("token"), 400),
        (query("token=%4"), E::QueryEscape("token"), 400),
        (query("token=%zz"), E::QueryEscape("token"), 400),
        (query("token=%ff"), E::QueryEscape("token"), 400),
        (query("token=%+1"), E::QueryEscape("token"), 400),
        (query("room=0"), E::QueryNumber("room"), 400),
        (query("room="), E::QueryNumber("room"), 400),
        (query("room=-1"), E::QueryNumber("room"), 400),
        (query("room=%2B1"), E::QueryNumber("room"), 400),
        (query("room=1e3"), E::QueryNumber("room"), 400),
        (query("room=18446744073709551616"), E::QueryNumber("room"), 400),
        (query("room=1&room=1"), E::QueryTwice("room"), 400),
        (query("epoch=1"), E::QueryIncomplete { present: "epoch", missing: "room" }, 400),
        (
            query("room=1&low=1"),
            E::QueryIncomplete { present: "high, mid or low", missing: "epoch" },
            400,
        ),
        (request("GET /ws?token=a HTTP/1.1", &[("Authorization", "Bearer b")]), E::TokenTwice, 400),
        (
            get(&[(
                "Sec-WebSocket-Protocol",
                "tidegate.v1.json, tidegate.token.a, tidegate.token.b",
            )]),
            E::TokenTwice,
            400,
        ),
    ];
    for (bytes, error, status) in &cases {
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(300)]);
        assert_eq!(refused(bytes), *error, "{text}");
        assert_eq!(error.status(), *status, "{text}");
    }
    assert!(cases.len() >= 60, "{} cases", cases.len());
}

#[test]
fn header_text_must_be_utf8_only_where_it_is_read() {
    let mut bytes = get(&[("X-Name", "J@rg")]);
    let place = bytes.iter().position(|byte| *byte == b'@').unwrap();
    bytes[place] = 0xf6;
    accepted(&bytes);
    let mut bytes = get(&[("Origin", "https://J@rg")]);
    let place = bytes.iter().position(|byte| *byte == b'@').unwrap();
    bytes[place] = 0xf6;
    assert_eq!(refused(&bytes), UpgradeError::HeaderText("origin"));
}

#[test]
fn refusals_are_whole_http_responses_that_say_what_to_do() {
    let all = [
        UpgradeError::Malformed(HttpError::Token),
        UpgradeError::HttpVersion,
        UpgradeError::Method,
        UpgradeError::NotFound,
        UpgradeError::TargetTooLong,
        UpgradeError::TooManyHeaders,
        UpgradeError::NotAnUpgrade,
    ];
    let statuses: BTreeSet<u16> = all.iter().map(UpgradeError::status).collect();
    assert_eq!(statuses.into_iter().collect::<Vec<_>>(), [400, 404, 405, 414, 426, 431, 505]);
    for error in all {
        let bytes = error.response();
        let mut headers = [EMPTY_HEADER; 16];
        let mut response = httparse::Response::new(&mut headers);
        let Ok(Status::Complete(head_bytes)) = response.parse(&bytes) else {
            panic!("{error:?}: {}", String::from_utf8_lossy(&bytes));
        };
        assert_eq!(response.code, Some(error.status()));
        assert!(!response.reason.unwrap().is_empty());
        let headers = Headers(response.headers);
        let body_bytes: usize = headers.single("content-length").unwrap().unwrap().parse().unwrap();
        assert_eq!(head_bytes + body_bytes, bytes.len());
        assert_eq!(&bytes[head_bytes..], format!("{error}\n").as_bytes());
        assert!(headers.has_token("connection", "close"));
        if error.status() == 426 {
            assert_eq!(headers.single("sec-websocket-version"), Ok(Some("13")));
            assert!(headers.has_token("upgrade", "websocket"));
            assert!(headers.has_token("connection", "upgrade"));
        }
        assert_eq!(headers.has_token("allow", "get"), error.status() == 405);
    }
}

#[test]
fn what_a_request_says() {
    let bytes = request(
        "GET /ws?room=42&token=a.b%2Dc&epoch=7&high=9&low=0&new=1 HTTP/1.1",
        &[
            ("Origin", "https://show.example"),
            (
                "Sec-WebSocket-Protocol",
                "x, tidegate.v1.json, tidegate.v1.proto, tidegate.token.a.b-c",
            ),
            ("Authorization", "bearer a.b-c"),
        ],
    );
    let expected = UpgradeRequest {
        path: "/ws".to_owned(),
        host: "live.example:8080".to_owned(),
        origin: Some("https://show.example".to_owned()),
        encoding: Encoding::Json,
        offered: true,
        token: Some("a.b-c".to_owned()),
        room: Some(RoomId(42)),
        opens_seals: false,
        resume: Some(Resume { epoch: 7, high: Some(9), mid: None, low: Some(0) }),
        key: KEY.to_owned(),
        deflate: None,
    };
    assert_eq!(accepted(&bytes), expected);
    assert!(!format!("{expected:?}").contains("a.b-c"), "a token is not for logs");

    let absolute = accepted(&request("GET ws://other.example?room=1 HTTP/1.1", &[]));
    assert_eq!((absolute.path.as_str(), absolute.host.as_str()), ("/", "other.example"));
    assert_eq!(absolute.room, Some(RoomId(1)));
}

#[test]
fn the_token_may_come_in_three_ways() {
    for bytes in [
        get(&[("Authorization", "Bearer a.b.c")]),
        query("token=a.b.c"),
        get(&[("Sec-WebSocket-Protocol", "tidegate.token.a.b.c, tidegate.v1.proto")]),
    ] {
        assert_eq!(accepted(&bytes).token.as_deref(), Some("a.b.c"));
    }
    let longest = "x".repeat(TOKEN_BYTES_MAX);
    let bytes = get(&[("Authorization", &format!("Bearer {longest}"))]);
    assert_eq!(accepted(&bytes).token, Some(longest));
}

#[test]
fn a_client_that_offers_nothing_gets_the_default_and_is_told_nothing() {
    let bytes = get(&[("Sec-WebSocket-Protocol", "")]);
    for default in Encoding::ALL {
        let Upgrade::Complete { request, .. } = parse(&bytes, default) else {
            panic!("{default:?} is refused");
        };
        assert_eq!((request.encoding, request.offered), (default, false));
        let response = String::from_utf8(accept_response(&request)).unwrap();
        assert_eq!(
            response,
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
        );
    }
}

#[test]
fn frames_behind_the_request_are_left_alone() {
    let mut bytes = get(&[]);
    let request_bytes = bytes.len();
    bytes.extend_from_slice(&[0x81; UPGRADE_BYTES_MAX]);
    let Upgrade::Complete { consumed, .. } = parse(&bytes, Encoding::Proto) else {
        panic!("frames are not part of the request");
    };
    assert_eq!(consumed, request_bytes);
}

#[test]
fn the_longest_request_is_taken_and_one_byte_more_is_not() {
    let empty = get(&[("Cookie", "x")]).len() - 1;
    let longest = get(&[("Cookie", &"x".repeat(UPGRADE_BYTES_MAX - empty))]);
    assert_eq!(longest.len(), UPGRADE_BYTES_MAX);
    accepted(&longest);
    let longer = get(&[("Cookie", &"x".repeat(UPGRADE_BYTES_MAX - empty + 1))]);
    assert_eq!(refused(&longer), UpgradeError::HeadersTooLarge);
}

fn client_request(encoding: Encoding) -> ClientRequest<'static> {
    ClientRequest {
        host: "127.0.0.1:9000",
        target: "/ws?room=1",
        encoding,
        nonce: *b"the sample nonce",
    }
}

#[test]
fn our_client_and_our_server_agree() {
    for encoding in Encoding::ALL {
        let ours = client_request(encoding);
        let upgrade = accepted(&ours.to_bytes());
        assert_eq!((upgrade.encoding, upgrade.room), (encoding, Some(RoomId(1))));
        let mut response = accept_response(&upgrade);
        let response_bytes = response.len();
        response.extend_from_slice(b"\x81\x00");
        for length in 0..response_bytes {
            assert_eq!(parse_accept(&response[..length], &ours), Accept::Incomplete);
        }
        assert_eq!(parse_accept(&response, &ours), Accept::Accepted { consumed: response_bytes });
    }
}

#[test]
fn the_client_refuses_what_does_not_answer_its_request() {
    let ours = client_request(Encoding::Proto);
    let good = String::from_utf8(accept_response(&accepted(&ours.to_bytes()))).unwrap();
    for (from, to, header) in [
        ("Upgrade: websocket", "Upgrade: h2c", "Upgrade"),
        ("Connection: Upgrade", "Connection: close", "Connection"),
        ("Accept: s", "Accept: t", "Sec-WebSocket-Accept"),
        ("v1.proto", "v1.json", "Sec-WebSocket-Protocol"),
        ("\r\n\r\n", "\r\nSec-WebSocket-Extensions: x\r\n\r\n", "Sec-WebSocket-Extensions"),
    ] {
        let bytes = good.replace(from, to);
        let expected = Accept::Broken(AcceptError::Header(header));
        assert_eq!(parse_accept(bytes.as_bytes(), &ours), expected, "{bytes}");
    }
    let refusal = UpgradeError::NotFound.response();
    let body_bytes = format!("{}\n", UpgradeError::NotFound).len();
    let consumed = refusal.len() - body_bytes;
    assert_eq!(parse_accept(&refusal, &ours), Accept::Refused { status: 404, consumed });
    assert_eq!(
        parse_accept(b"SSH-2.0-x\r\n", &ours),
        Accept::Broken(AcceptError::Malformed(HttpError::Version))
    );
    let endless = [b"HTTP/1.1 101 x\r\nA: ".to_vec(), vec![b'x'; UPGRADE_BYTES_MAX]].concat();
    assert_eq!(parse_accept(&endless, &ours), Accept::Broken(AcceptError::TooLarge));
}

#[test]
fn tungstenite_accepts_our_response_and_we_accept_its_request() {
    use std::cell::RefCell;
    use std::io::{Cursor, Read, Result, Write};

    /// Answers what was written with our response.
    #[derive(Default)]
    struct Server {
        request: RefCell<Vec<u8>>,
        response: Option<Cursor<Vec<u8>>>,
    }
    impl Write for Server {
        fn write(&mut self, bytes: &[u8]) -> Result<usize> {
            self.request.borrow_mut().write(bytes)
        }
        fn flush(&mut self) -> Result<()> {
            Ok(())
        }
    }
    impl Read for Server {
        fn read(&mut self, bytes: &mut [u8]) -> Result<usize> {
            let request = self.request.borrow();
            let response = self
                .response
                .get_or_insert_with(|| Cursor::new(accept_response(&accepted(&request))));
            response.read(bytes)
        }
    }

    let connected = tungstenite::client("ws://live.example/ws?room=5", Server::default());
    assert_eq!(connected.unwrap().1.status(), 101);
}

/// What a parse gives, without the parts that repeat it.
fn outcome(bytes: &[u8]) -> Option<Result<(UpgradeRequest, usize), UpgradeError>> {
    match parse(bytes, Encoding::Json) {
        Upgrade::Incomplete => None,
        Upgrade::Complete { request, consumed } => Some(Ok((*request, consumed))),
        Upgrade::Rejected { error, .. } => Some(Err(error)),
    }
}

/// A request is decided at the same byte with the same result, however it was cut.
fn check_prefixes(bytes: &[u8]) {
    let first = (0..=bytes.len()).find_map(|length| outcome(&bytes[..length]));
    assert_eq!(first, outcome(bytes), "{}", String::from_utf8_lossy(bytes));
}

#[test]
fn pieces_and_the_whole_give_the_same() {
    for bytes in [
        get(&[]),
        query("token=x"),
        get(&[("Sec-WebSocket-Key", "x")]),
        request("POST /ws HTTP/1.1", &[]),
        b"GET /ws HTTP/2.0\r\n\r\n".to_vec(),
        b"GET /ws HTTP/1.1\r\nHost : x\r\n\r\n".to_vec(),
    ] {
        check_prefixes(&bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        check_prefixes(&bytes);
        let _ = parse_accept(&bytes, &client_request(Encoding::Proto));
    }

    #[test]
    fn a_request_with_some_bytes_changed_is_answered(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = request(
            "GET /ws?room=1&epoch=2&high=3&token=%61 HTTP/1.1",
            &[("Sec-WebSocket-Protocol", "tidegate.v1.json, tidegate.token.a")],
        );
        for (index, byte) in changes {
            let place = index.index(bytes.len());
            bytes[place] = byte;
        }
        check_prefixes(&bytes);
    }

    #[test]
    fn a_percent_encoded_token_comes_back(token in "\\PC{1,60}") {
        let encoded: String = token.bytes().map(|byte| format!("%{byte:02x}")).collect();
        prop_assert_eq!(accepted(&query(&format!("token={encoded}"))).token, Some(token));
    }
}
