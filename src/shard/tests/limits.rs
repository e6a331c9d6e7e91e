//! What one connection may do: rates, ages, origins, the size of a request.

use super::*;
use crate::wire::frame::{Control, Data, OpCode, encode_frame};

fn stage(change: impl FnOnce(&mut ConnectionLimits)) -> Stage {
    let mut stage = Stage::new();
    change(&mut stage.shard.config.limits);
    stage
}

/// A frame of a client with the mask 0.
fn masked(opcode: OpCode, is_final: bool, payload: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    encode_frame(opcode, payload, &mut plain);
    let mut frame = vec![plain[0] & if is_final { 0xff } else { 0x7f }, plain[1] | 0x80];
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(&plain[2..]);
    frame
}

fn heartbeat() -> Vec<u8> {
    encoded(&proto::ClientFrame { r#type: TYPE_HEARTBEAT, ..proto::ClientFrame::default() })
}

fn answer(sequence: &str) -> Vec<u8> {
    let answer = proto::Answer { show_id: SHOW.0, question: 0, option: 1, ticket: Bytes::new() };
    request(sequence, proto::request::Payload::Answer(answer))
}

#[test]
fn more_messages_than_a_client_may_send_close_the_connection() {
    let mut stage = stage(|limits| limits.messages_per_second_max = 5);
    let conn = stage.enter(1);
    for _ in 0..5 {
        stage.receive(conn, heartbeat());
    }
    stage.now = stage.now + Duration::from_secs(1);
    for _ in 0..5 {
        stage.receive(conn, heartbeat());
        stage.send();
    }
    assert_eq!(stage.heard(conn).closed, None, "each second has its own count");
    stage.receive(conn, heartbeat());
    stage.send();
    assert_eq!(stage.heard(conn).closed, Some(4007));
    assert_eq!(stage.shard.counters().closes[CloseReason::RateLimited as usize], 1);
}

#[test]
fn a_first_answer_passes_the_limit_on_messages() {
    let mut stage = stage(|limits| limits.messages_per_second_max = 5);
    let conn = stage.enter(1);
    stage.announce();
    stage.order(Command::OpenLobby);
    stage.order(Command::Publish);
    for _ in 0..5 {
        stage.receive(conn, heartbeat());
    }
    stage.receive(conn, answer("a"));
    stage.send();
    let heard = stage.heard(conn);
    assert!(heard.reply("a").contains("AnswerReceived"), "{heard:?}");
    assert_eq!(heard.closed, None);
    for _ in 0..30 {
        stage.receive(conn, answer("b"));
    }
    stage.send();
    assert_eq!(stage.heard(conn).closed, Some(4007), "but no number of answers does");
}

#[test]
fn who_comes_to_a_place_is_not_charged_for_who_left_it() {
    let mut stage = stage(|limits| limits.messages_per_second_max = 5);
    let first = stage.enter(1);
    for _ in 0..5 {
        stage.receive(first, heartbeat());
    }
    stage.step(Input::Ended { conn: first });
    stage.places = 0;
    stage.sent.clear();
    let second = stage.enter(2);
    for _ in 0..5 {
        stage.receive(second, heartbeat());
    }
    stage.send();
    assert_eq!(stage.heard(second).closed, None);
}

#[test]
fn pings_have_a_limit_of_their_own() {
    let mut stage = stage(|limits| limits.pings_per_second_max = 3);
    let conn = stage.enter(1);
    for _ in 0..50 {
        stage.receive(conn, heartbeat());
    }
    let ping = masked(OpCode::Control(Control::Ping), true, b"hello");
    stage.receive(conn, ping.repeat(3));
    stage.send();
    assert!(stage.ended.is_empty());
    stage.receive(conn, ping.repeat(1_000));
    stage.send();
    assert_eq!(stage.ended, [conn]);
    let pongs = stage.sent[&conn.place].windows(7).filter(|it| it == b"\x8a\x05hello").count();
    assert_eq!(pongs, 3);
}

#[test]
fn fragments_that_never_become_a_message_close_the_connection() {
    let mut stage = Stage::new();
    let conn = stage.enter(1);
    stage.receive(conn, masked(OpCode::Data(Data::Binary), false, b"x"));
    let fragment = masked(OpCode::Data(Data::Continue), false, b"");
    stage.receive(conn, fragment.repeat(1_023));
    stage.send();
    assert!(stage.ended.is_empty());
    stage.receive(conn, fragment.repeat(5));
    stage.send();
    assert_eq!(stage.heard(conn).closed, Some(1009));
}

#[test]
fn a_connection_that_is_old_enough_is_closed_and_not_all_at_once() {
    let mut stage = stage(|limits| limits.age_max_ms = 40_960);
    let conns: Vec<ConnId> = (1..=64).map(|user| stage.enter(user)).collect();
    let mut closed_at = BTreeMap::new();
    for second in 0..=42_u64 {
        for conn in &conns {
            if !closed_at.contains_key(conn) {
                stage.receive(*conn, heartbeat());
            }
        }
        stage.send();
        for conn in &conns {
            if stage.heard(*conn).closed == Some(4008) {
                closed_at.entry(*conn).or_insert(second);
            }
        }
        stage.patrol(1);
    }
    let (first, last) = (closed_at.values().min().unwrap(), closed_at.values().max().unwrap());
    assert_eq!(closed_at.len(), 64, "all are gone");
    assert!(*first >= 35 && *last <= 42, "between seven eighths and all of the age: {closed_at:?}");
    assert!(last - first >= 4, "spread: {closed_at:?}");
}

#[test]
fn nobody_is_too_old_for_a_show() {
    let mut stage = stage(|limits| limits.age_max_ms = 4_096);
    let conn = stage.enter(1);
    stage.announce();
    for _ in 0..10 {
        stage.patrol(1);
        stage.receive(conn, heartbeat());
    }
    stage.send();
    assert_eq!(stage.heard(conn).closed, None);
}

#[test]
fn a_page_from_elsewhere_is_refused() {
    let mut stage = stage(|limits| limits.origins = Arc::new(["https://quiz.example".into()]));
    let mut status = |origin: &str| {
        let conn = ConnId { place: stage.places, generation: 1 };
        stage.places += 1;
        let peer = std::net::SocketAddr::from(([127, 0, 0, 1], 9));
        stage.step(Input::Opened { conn, peer });
        let request = ClientRequest {
            host: "quiz.example",
            target: "/",
            encoding: Encoding::Proto,
            nonce: [1; 16],
        };
        let mut bytes = request.to_bytes();
        bytes.truncate(bytes.len() - 2);
        bytes.extend_from_slice(origin.as_bytes());
        bytes.extend_from_slice(b"\r\n");
        stage.receive(conn, bytes);
        stage.send();
        String::from_utf8_lossy(&stage.sent[&conn.place][9..12]).into_owned()
    };
    assert_eq!(status(""), "101");
    assert_eq!(status("Origin: https://quiz.example\r\n"), "101");
    assert_eq!(status("Origin: HTTPS://QUIZ.example\r\n"), "101");
    assert_eq!(status("Origin: https://quiz.example.evil\r\n"), "403");
    assert_eq!(status("Origin: null\r\n"), "403");
    assert_eq!(stage.shard.counters().origins_refused, 2);
}

#[test]
fn a_request_that_is_too_long_is_refused_however_it_comes() {
    for piece in [1, 7, 100, 2_000] {
        let mut stage = stage(|limits| limits.upgrade_bytes_max = 1_024);
        let conn = ConnId { place: 0, generation: 1 };
        let peer = std::net::SocketAddr::from(([127, 0, 0, 1], 9));
        stage.step(Input::Opened { conn, peer });
        let request = format!("GET /ws HTTP/1.1\r\nCookie: {}\r\n\r\n", "x".repeat(2_000));
        for bytes in request.as_bytes().chunks(piece) {
            stage.receive(conn, bytes.to_vec());
        }
        let answer = String::from_utf8_lossy(&stage.sent[&0]);
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
        assert!(answer.contains("exceed 1024 bytes"), "{answer}");
    }
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let mut stage = Stage::new();
    let conn = ConnId { place: 0, generation: 1 };
    let peer = std::net::SocketAddr::from(([127, 0, 0, 1], 9));
    stage.step(Input::Opened { conn, peer });
    let (encoding, nonce) = (Encoding::Proto, [1; 16]);
    let request = ClientRequest { host: "quiz.example", target: "/ws", encoding, nonce };
    for byte in request.to_bytes() {
        stage.receive(conn, vec![byte]);
    }
    stage.send();
    assert!(stage.sent[&0].starts_with(b"HTTP/1.1 101 "));
}
