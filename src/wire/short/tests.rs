use super::*;
use crate::wire::proto::{Answer, Reason};
use expect_test::expect;

fn post(headers: &str, body: &str) -> Vec<u8> {
    format!("POST /v1/answers HTTP/1.1\r\nHost: x\r\n{headers}\r\n{body}").into_bytes()
}

fn complete(bytes: &[u8]) -> ShortRequest<'_> {
    match parse(bytes) {
        Short::Complete(request) => request,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_asks_for_a_websocket_is_no_short_request() {
    for (bytes, expected) in [
        ("GET /v1/answers HTTP/1.1\r\n", true),
        ("GET /tidegate.js?v=1 HTTP/1.1\r\n", true),
        ("\r\nGET /favicon.ico HTTP/1.1\r\n", true),
        ("GET http://quiz.example/tidegate.js HTTP/1.1\r\n", true),
        ("GET /v1/answers", false),
        ("GET / HTTP/1.1\r\n", false),
        ("GET /ws?token=a HTTP/1.1\r\n", false),
        ("GET http://quiz.example?token=/v1/answers HTTP/1.1\r\n", false),
        ("GET http://quiz.example HTTP/1.1\r\n", false),
        ("OPTIONS * HTTP/1.1\r\n", false),
        ("GET * HTTP/1.1\r\n", false),
        ("", false),
        ("\r\n", false),
        ("nonsense", false),
    ] {
        assert_eq!(is_short(bytes.as_bytes()), expected, "{bytes}");
    }
}

#[test]
fn a_request_is_the_same_at_every_cut() {
    let body = r#"{"showId":"3","question":1,"option":2}"#;
    let length = body.len();
    let bytes = post(
        &format!(
            "Authorization: bearer a.b.c\r\nContent-Type: Application/JSON; charset=utf-8\r\n\
             Content-Length: {length}\r\n"
        ),
        body,
    );
    for end in 0..bytes.len() {
        assert!(matches!(parse(&bytes[..end]), Short::Incomplete { waits: false }), "{end}");
    }
    let request = complete(&bytes);
    assert_eq!((request.method, request.path), ("POST", "/v1/answers"));
    assert_eq!((request.token, request.encoding), (Some("a.b.c"), Some(Encoding::Json)));
    assert!(request.keep_alive && request.consumed == bytes.len());
    let answer: Answer = request.message(Encoding::Json).unwrap();
    assert_eq!((answer.show_id, answer.question, answer.option), (3, 1, 2));
}

#[test]
fn what_stands_behind_a_request_ends_the_connection() {
    let one = post("Content-Length: 2\r\n", "{}");
    for (behind, keep_alive) in [("", true), ("\r\n", true), ("GET ", false), ("x", false)] {
        let bytes = [&one[..], behind.as_bytes()].concat();
        let request = complete(&bytes);
        assert_eq!((request.keep_alive, request.consumed), (keep_alive, one.len()), "{behind:?}");
        assert_eq!(request.body, b"{}");
    }
    assert!(!complete(&post("Connection: Close\r\n", "")).keep_alive);
}

#[test]
fn a_client_that_waits_is_told_to_go_on() {
    let bytes = post("Expect: 100-continue\r\nContent-Length: 2\r\n", "");
    assert!(matches!(parse(&bytes), Short::Incomplete { waits: true }));
    assert_eq!(complete(&[&bytes[..], b"{}"].concat()).body, b"{}");
}

#[test]
fn what_cannot_be_read() {
    let long = "a".repeat(9_000);
    let mut shown = String::new();
    for bytes in [
        post("Transfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        post("Content-Length: 4097\r\n", ""),
        post("Content-Length: 99999999999999999999999\r\n", ""),
        post("Content-Length: +1\r\n", "x"),
        post("Content-Length: \r\n", ""),
        post("Content-Length: 1\r\nContent-Length: 1\r\n", "x"),
        post(&format!("Cookie: {long}\r\n"), ""),
        post(&format!("Authorization: Bearer {}\r\n", "a".repeat(4_097)), ""),
        post("Host: y\r\n", ""),
        format!("POST /v1/{long} HTTP/1.1\r\n\r\n").into_bytes(),
        b"POST /v1/answers HTTP/1.1\r\n\r\n".to_vec(),
        b"POST /v1/answers HTTP/1.0\r\n\r\n".to_vec(),
        b"POST /v1/answers HTTP/1.1\r\nHost: a\0b\r\n\r\n".to_vec(),
    ] {
        let Short::Broken(error) = parse(&bytes) else { panic!("{:?}", parse(&bytes)) };
        shown += &format!("{} {:?} {error}\n", error.status(), error.reason());
    }
    expect![[r#"
        411 Malformed The body comes in chunks. Send Content-Length.
        413 TooLarge The body exceeds 4096 bytes. Nothing that is taken here is as long.
        413 TooLarge The body exceeds 4096 bytes. Nothing that is taken here is as long.
        400 Malformed Content-Length is not a decimal number. Send the number of the body's bytes.
        400 Malformed Content-Length is not a decimal number. Send the number of the body's bytes.
        400 Malformed The header content-length is there more than once. Send it once.
        431 TooLarge Request line and headers exceed 8192 bytes. Send fewer cookies.
        431 TooLarge The access token exceeds 4096 bytes. Ask for a shorter one.
        400 Malformed The header host is there more than once. Send it once.
        414 TooLarge The request line exceeds 8192 bytes. Send the token in a header.
        400 Malformed The header Host is missing. Send it.
        505 Malformed This server speaks HTTP/1.1 only. Open a WebSocket at /ws.
        400 Malformed This is not an HTTP/1.1 request (invalid header value). Open a WebSocket at /ws.
    "#]]
    .assert_eq(&shown);
}

#[test]
fn media_types() {
    for (media_type, expected) in [
        ("application/json", Some(Encoding::Json)),
        (" application/x-protobuf ", Some(Encoding::Proto)),
        ("application/protobuf;proto=x", Some(Encoding::Proto)),
        ("text/plain", None),
        ("application/jsonp", None),
        ("", None),
    ] {
        assert_eq!(encoding_of(media_type), expected, "{media_type}");
    }
}

#[test]
fn replies_are_whole() {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    expect![[r#"
        HTTP/1.1 429 Too Many Requests
        Retry-After: 2
        Content-Type: application/json
        Content-Length: 16

        {"showId":"258"}"#]]
    .assert_eq(
        &text(
            Reply::new(429)
                .retry_after(1_001)
                .with_message(Encoding::Json, &Answer { show_id: 258, ..Answer::default() }),
        )
        .replace('\r', ""),
    );
    let answer = Answer { show_id: 258, ..Answer::default() };
    assert!(
        Reply::new(200).with_message(Encoding::Proto, &answer).ends_with(b"\r\n\r\n\x08\x82\x02")
    );
    let mut head = Reply::new(200).with_body("text/plain", b"abc");
    cut_body(&mut head);
    let head = text(head);
    assert!(head.ends_with("Content-Length: 3\r\n\r\n"), "{head}");
    assert_eq!(text(Reply::new(304).empty()), "HTTP/1.1 304 Not Modified\r\n\r\n");
    assert!(text(Reply::new(200).empty()).ends_with("Content-Length: 0\r\n\r\n"));
}

#[test]
fn dates() {
    for (unix_s, expected) in [
        (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
        (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
        (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
        (1_772_323_199, "Sat, 28 Feb 2026 23:59:59 GMT"),
        (1_772_323_200, "Sun, 01 Mar 2026 00:00:00 GMT"),
        (1_798_761_599, "Thu, 31 Dec 2026 23:59:59 GMT"),
        (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
    ] {
        assert_eq!(http_date(unix_s), expected);
    }
}

#[test]
fn each_reason_has_a_status() {
    let mut shown = String::new();
    for number in 0..1_000 {
        if let Ok(reason) = Reason::try_from(number) {
            shown += &format!("{reason:?} {}\n", status_of(reason));
        }
    }
    expect![[r#"
        Unspecified 409
        Malformed 400
        UnknownType 404
        TooLarge 413
        RateLimited 429
        TokenInvalid 401
        TokenExpired 401
        NotAuthenticated 401
        IdentityMismatch 403
        AlreadyAuthenticated 409
        TokenRevoked 401
        Banned 403
        NotInRoom 403
        NoSuchRoom 404
        RoomFull 409
        LaneForbidden 403
        RoomForbidden 403
        TextEmpty 400
        TextTooLong 400
        Muted 403
        Duplicate 429
        Flood 429
        WordRefused 403
        RoomOverloaded 429
        OpaqueForbidden 403
        NoSuchShow 404
        ShowNotRunning 409
        ShowEnded 410
        NotCurrentQuestion 409
        OutOfGame 403
        NoSuchOption 400
        TicketInvalid 400
        AnswerBound 409
        QuestionClosed 410
        NoSuchRain 409
        RainNotStarted 409
        NoSuchSlot 409
        NotEnough 409
        AmountInvalid 409
        KeyInvalid 409
        CodeInvalid 409
        InvitationRefused 409
    "#]]
    .assert_eq(&shown);
}
