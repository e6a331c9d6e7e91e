//! Requests with an `Idempotency-Key`.

use super::*;

const PUBLISH: &str = r#"{"lane":"low","messages":["aGk="]}"#;

impl Server {
    /// Status, whether it was given before, and body.
    fn with_key(&self, line: &str, key: &str, body: &str) -> (String, bool, String) {
        let answer = self.raw(&format!("{line} HTTP/1.1\nidempotency-key: {key}"), body);
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).expect("a status").to_owned();
        (status, head.contains("idempotency-replayed: true"), body.to_owned())
    }
}

#[test]
fn what_is_asked_again_is_answered_again_and_not_done_again() {
    let server = server(None);
    let publish = |key: &str| server.with_key("POST /v1/rooms/7/publish", key, PUBLISH);
    let (first, second) = (publish("a"), publish("a"));
    assert_eq!((&*first.0, first.1), ("200", false));
    assert_eq!((&*second.0, second.1), ("200", true));
    assert_eq!(first.2, second.2);
    assert!(first.2.contains(r#""last_version":1,"#), "{}", first.2);
    assert!(publish("b").2.contains(r#""last_version":2,"#), "another key is another request");
    // Errors, too: what was wrong with it still is.
    for expected in [false, true] {
        let (status, is_again, _) = server.with_key("POST /v1/rooms/7/publish", "c", "{}");
        assert_eq!((&*status, is_again), ("400", expected));
    }
    server.http.stop();
}

#[test]
fn a_key_is_for_one_request() {
    let server = server(None);
    let path = "POST /v1/rooms/7/publish";
    server.with_key(path, "a", PUBLISH);
    for (line, body) in [
        (path, r#"{"lane":"mid","messages":["aGk="]}"#),
        ("POST /v1/rooms/8/publish", PUBLISH),
        ("POST /v1/shows/1/publish", ""),
    ] {
        let (status, is_again, body) = server.with_key(line, "a", body);
        assert_eq!((&*status, is_again), ("422", false), "{body}");
        assert!(body.contains("key_reused"), "{body}");
    }
    for key in ["", "with space", "\u{e9}", &"x".repeat(129)] {
        let (status, _, body) = server.with_key(path, key, PUBLISH);
        assert!(status == "400" && body.contains("bad_idempotency_key"), "{key}: {body}");
    }
    server.http.stop();
}

#[test]
fn what_was_not_done_may_be_asked_for_with_the_same_key() {
    let server = server(None);
    for _ in 0..2 {
        let (status, is_again, _) = server.with_key("POST /v1/rooms/503/publish", "a", PUBLISH);
        assert_eq!((&*status, is_again), ("503", false));
    }
    server.http.stop();
}

#[test]
fn commands_to_shows_have_keys_too() {
    let server = server(None);
    for expected in [false, true] {
        let (status, is_again, body) = server.with_key("POST /v1/shows/1/reveal", "r", "");
        assert_eq!((&*status, is_again), ("200", expected), "{body}");
    }
    let (_, is_again, _) = server.with_key("GET /v1/shows/1", "r", "");
    assert!(!is_again, "reading needs no key");
    server.http.stop();
}

#[test]
fn a_request_goes_on_when_its_client_leaves() {
    let server = server(None);
    let mut stream = TcpStream::connect(server.http.local_address()).expect("connects");
    let head = "POST /v1/rooms/7/publish HTTP/1.1\r\nhost: localhost\r\nidempotency-key: gone";
    let length = PUBLISH.len();
    write!(stream, "{head}\r\ncontent-length: {length}\r\n\r\n{PUBLISH}").expect("sends");
    drop(stream);
    let (status, _, body) = server.with_key("POST /v1/rooms/7/publish", "gone", PUBLISH);
    assert!(["200", "409"].contains(&&*status), "{body}");
    assert!(status == "409" || body.contains(r#""last_version":1,"#), "done once: {body}");
    server.http.stop();
}
