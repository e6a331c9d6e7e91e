//! The server API in Protobuf.

use prost::Message;

use super::*;
use crate::wire::proto::Lane;

const PROTOBUF: &str = "application/x-protobuf";

impl Server {
    /// Status, media type and body of the answer to a request with these headers.
    fn bytes(&self, line: &str, headers: &str, body: &[u8]) -> (String, String, Vec<u8>) {
        let mut stream = TcpStream::connect(self.http.local_address()).expect("connects");
        let length = body.len();
        let head = format!(
            "{line} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}content-length: \
             {length}\r\n\r\n"
        );
        stream.write_all(&[head.as_bytes(), body].concat()).expect("sends");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        let end = answer.windows(4).position(|it| it == b"\r\n\r\n").expect("a head");
        let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
        let line = head.lines().find_map(|line| line.strip_prefix("content-type: "));
        let status = head.split(' ').nth(1).expect("a status").to_owned();
        (status, line.unwrap_or_default().to_owned(), answer[end + 4..].to_vec())
    }

    fn protobuf(&self, line: &str, body: &[u8]) -> (String, String, Vec<u8>) {
        self.bytes(line, &format!("content-type: {PROTOBUF}\r\n"), body)
    }
}

fn publish(room: u64) -> server::Publish {
    let messages = vec![b"hi".as_slice().into()];
    server::Publish { room, lane: Lane::High.into(), kind: 0, messages }
}

#[test]
fn requests_and_answers_are_messages() {
    let server = server(None);
    let (status, media, body) =
        server.protobuf("POST /v1/rooms/7/publish", &publish(0).encode_to_vec());
    assert_eq!((&*status, &*media), ("200", PROTOBUF));
    let published = server::Published::decode(&body[..]).expect("a message");
    assert_eq!((published.room, published.first_version), (7, 1));
    let operation = server::operation::Operation::Publish(publish(0));
    let operations = vec![server::Operation { operation: Some(operation) }];
    let (status, _, body) =
        server.protobuf("POST /v1/batch", &server::Batch { operations }.encode_to_vec());
    assert_eq!(status, "200");
    let done = server::BatchDone::decode(&body[..]).expect("a message");
    let Some(server::outcome::Answer::Error(error)) = &done.results[0].answer else {
        panic!("{done:?}");
    };
    assert_eq!((done.results[0].status, &*error.code), (400, "bad_body"));
    server.http.stop();
}

#[test]
fn errors_are_messages_for_who_wants_them() {
    let server = server(None);
    let failure = |(status, media, body): (String, String, Vec<u8>)| {
        assert_eq!(media, PROTOBUF, "{}", String::from_utf8_lossy(&body));
        let failure = server::Failure::decode(&body[..]).expect("a message");
        (status, failure.error.expect("an error").code)
    };
    let line = "POST /v1/rooms/7/publish";
    for (line, body, expected) in [
        (line, b"not one".as_slice(), ("400", "bad_body")),
        (line, &publish(8).encode_to_vec(), ("400", "bad_body")),
        ("POST /v1/rooms/x/publish", b"", ("400", "bad_room_id")),
        ("GET /v1/rooms/7", b"", ("404", "unknown_room")),
        ("GET /v1/nothing", b"", ("404", "not_found")),
        ("GET /v1/batch", b"", ("405", "method_not_allowed")),
    ] {
        let (status, code) = failure(server.protobuf(line, body));
        assert_eq!((&*status, &*code), expected, "{line}");
    }
    server.http.stop();
    let guarded = super::server(Some("sixteen-bytes-or"));
    let (status, code) = failure(guarded.protobuf(line, b""));
    assert_eq!((&*status, &*code), ("401", "not_allowed"));
    guarded.http.stop();
}

#[test]
fn the_answer_is_in_the_form_that_is_accepted() {
    let server = server(None);
    let json = br#"{"lane":"high","messages":["aGk="]}"#;
    let message = publish(7).encode_to_vec();
    for (headers, body, expected) in [
        ("", json.as_slice(), "application/json"),
        ("content-type: application/x-www-form-urlencoded\r\n", json, "application/json"),
        ("accept: */*\r\n", json, "application/json"),
        ("accept: application/x-protobuf\r\n", json, PROTOBUF),
        ("accept: application/protobuf; q=1, text/plain\r\n", json, PROTOBUF),
        ("content-type: application/x-protobuf\r\naccept: */*\r\n", &message, PROTOBUF),
        (
            "content-type: application/x-protobuf\r\naccept: application/json\r\n",
            &message,
            "application/json",
        ),
    ] {
        let (status, media, _) = server.bytes("POST /v1/rooms/7/publish", headers, body);
        assert_eq!((&*status, &*media), ("200", expected), "{headers}");
    }
    server.http.stop();
}
