use super::*;
use proptest::prelude::*;
use std::fmt::Debug;
use std::ops::ControlFlow;
use tungstenite::protocol::Role;

use crate::wire::message::{Decoded, Decoder};
use crate::wire::proto::{
    Answer, Business, BusinessType, Heartbeat, Lane, Notification, Publish, Question, Request,
    RoomMessage, RoomStamp, Session, business, notification, request, server_frame,
};

const MASK: [u8; 4] = [0x9a, 0x01, 0xc3, 0x77];

/// Reads the frame that stands alone in `bytes`.
fn read<F: Debug>(
    role: Role,
    bytes: &[u8],
    decode: impl Fn(&Message<'_>) -> Result<F, CodecError>,
) -> F {
    let decoder = Decoder { role, message_bytes_max: 1 << 20 };
    let mut frames = Vec::new();
    let decoded = decoder.decode(&mut None, &mut bytes.to_vec(), |message| {
        frames.push(decode(&message));
        ControlFlow::Continue(())
    });
    assert_eq!(decoded, Ok(Decoded::All));
    assert_eq!(frames.len(), 1);
    frames.remove(0).unwrap()
}

/// Writes and reads in both encodings, behind something that is already in the buffer.
fn check_client(frame: &ClientFrame) {
    for encoding in Encoding::ALL {
        let mut out = b"before".to_vec();
        encode_client(encoding, frame, MASK, &mut out);
        let (before, bytes) = out.split_at(6);
        assert_eq!(before, b"before");
        let back = read(Role::Server, bytes, |message| decode_client(encoding, message));
        assert_eq!(&back, frame, "{encoding:?}");
    }
}

fn check_server(frame: &ServerFrame) {
    for encoding in Encoding::ALL {
        let mut out = b"before".to_vec();
        encode_server(encoding, frame, &mut out);
        let (before, bytes) = out.split_at(6);
        assert_eq!(before, b"before");
        let back = read(Role::Client, bytes, |message| decode_server(encoding, message));
        assert_eq!(&back, frame, "{encoding:?}");
        assert_eq!(encode_server_bytes(encoding, frame), bytes);
    }
}

#[test]
fn every_size_of_header_fits_its_payload() {
    for length in (0..300).chain(65_440..65_560) {
        let token = "t".repeat(length);
        check_client(&ClientFrame { token: token.clone(), ..ClientFrame::default() });
        let message = RoomMessage { data: token.into(), ..RoomMessage::default() };
        check_server(&said(message, None));
    }
}

fn said(message: RoomMessage, stamp: Option<RoomStamp>) -> ServerFrame {
    let payload = Some(notification::Payload::RoomMessage(message));
    let notification = Notification { server_time_ms: 0, stamp, payload };
    let business = Business {
        r#type: BusinessType::RoomMessage.into(),
        sequence: String::new(),
        body: Some(business::Body::Notification(notification)),
    };
    let body = Some(server_frame::Body::Business(business));
    ServerFrame { r#type: TYPE_BUSINESS, status: 1, body, failure: None }
}

#[test]
fn the_kind_of_message_tells_the_encoding() {
    let mut out = Vec::new();
    encode_server(Encoding::Proto, &ServerFrame::default(), &mut out);
    assert_eq!(out, [0x82, 0]);
    out.clear();
    encode_server(Encoding::Json, &ServerFrame::default(), &mut out);
    assert_eq!(out, b"\x81\x02{}");
    out.clear();
    encode_client(Encoding::Json, &ClientFrame::default(), MASK, &mut out);
    assert_eq!(out, [0x81, 0x82, 0x9a, 0x01, 0xc3, 0x77, b'{' ^ 0x9a, b'}' ^ 0x01]);

    for (encoding, message) in [
        (Encoding::Proto, Message::Text("{}")),
        (Encoding::Json, Message::Binary(b"")),
        (Encoding::Json, Message::Ping(b"")),
        (Encoding::Proto, Message::Close(None)),
    ] {
        let error = decode_client(encoding, &message).unwrap_err();
        assert!(matches!(error, CodecError::WrongKind { .. }), "{error}");
        assert_eq!(error.close_code(), 1003);
        assert!(error.to_string().contains(encoding.subprotocol()), "{error}");
    }
}

#[test]
fn subprotocols() {
    for encoding in Encoding::ALL {
        assert_eq!(Encoding::from_subprotocol(encoding.subprotocol()), Some(encoding));
        assert_eq!(Encoding::ALL[encoding.index()], encoding);
    }
    assert_eq!(Encoding::from_subprotocol("TIDEGATE.V1.JSON"), None);
}

#[test]
fn what_cannot_be_decoded_is_an_error_that_says_where() {
    let deep = format!("{{\"type\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    for (text, hint) in [
        ("", "EOF"),
        ("[]", "ClientFrame"),
        ("null", "ClientFrame"),
        ("{\"type\":1,}", "trailing comma"),
        ("{\"type\":1}{}", "trailing characters"),
        ("{\"type\":\"x\"}", "line 1 column 12"),
        ("{\"type\":2147483648}", "column 19"),
        ("{\"userId\":-1}", "column 13"),
        ("{\"userId\":\"18446744073709551616\"}", "too large"),
        ("{\"token\":1}", "string"),
        ("{\"type\":1,\"type\":1}", "duplicate field"),
        ("{\"business\":{\"type\":\"BUSINESS_TYPE_NONE\"}}", "BUSINESS_TYPE_NONE"),
        ("{\"business\":{\"request\":{},\"response\":{}}}", "duplicate"),
        ("{\"business\":{\"request\":{\"answer\":{\"ticket\":\"!\"}}}}", "symbol 33"),
        (deep.as_str(), "recursion"),
    ] {
        let error = decode_client(Encoding::Json, &Message::Text(text)).unwrap_err();
        let said = error.to_string();
        assert!(said.contains(hint), "{}: {said}", &text[..text.len().min(80)]);
        assert_eq!(error.close_code(), 1007);
    }
    for bytes in [
        // A length beyond the end, a group that does not end, a varint of eleven bytes, a string
        // that is not UTF-8, a tag of 0.
        &[0x1a, 0x05, b'x'][..],
        &[0x0b],
        &[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        &[0x1a, 0x01, 0xff],
        &[0x00, 0x00],
    ] {
        let error = decode_client(Encoding::Proto, &Message::Binary(bytes)).unwrap_err();
        assert!(matches!(error, CodecError::Protobuf(_)), "{error}");
        assert_eq!(error.close_code(), 1007);
    }
}

#[test]
fn json_may_be_written_in_several_ways() {
    let expected = ClientFrame { r#type: -1, user_id: 7, ..ClientFrame::default() };
    for text in [
        "{\"type\":-1,\"userId\":\"7\"}",
        "{\"type\":\"-1\",\"user_id\":7}",
        " {\"userId\" : 7, \"type\" : -1, \"token\" : \"\"}\n",
        "{\"type\":-1,\"userId\":7,\"business\":null,\"later\":{\"a\":[1,null]}}",
    ] {
        let frame = decode_client(Encoding::Json, &Message::Text(text));
        assert_eq!(frame.unwrap(), expected, "{text}");
    }
    // What is ignored may be as deep as it likes: it is skipped without recursion.
    let deep = format!("{{\"later\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let frame = decode_client(Encoding::Json, &Message::Text(&deep));
    assert_eq!(frame.unwrap(), ClientFrame::default());
}

fn any_request() -> impl Strategy<Value = request::Payload> {
    let bytes = proptest::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from);
    let answer = (any::<u64>(), any::<u32>(), any::<u32>(), bytes.clone()).prop_map(
        |(show_id, question, option, ticket)| {
            request::Payload::Answer(Answer { show_id, question, option, ticket })
        },
    );
    let lane = prop_oneof![Just(Lane::High), Just(Lane::Mid), Just(Lane::Low)];
    let publish = (lane, bytes)
        .prop_map(|(lane, data)| request::Payload::Publish(Publish { lane: lane.into(), data }));
    prop_oneof![answer, publish]
}

fn any_client_frame() -> impl Strategy<Value = ClientFrame> {
    let business = (any_request(), any::<String>()).prop_map(|(payload, sequence)| Business {
        r#type: BusinessType::Answer.into(),
        sequence,
        body: Some(business::Body::Request(Request { payload: Some(payload) })),
    });
    let heartbeat = (any::<i64>(), any::<u32>()).prop_map(|(client_sent_ms, rtt_ms)| Heartbeat {
        client_sent_ms,
        rtt_ms,
        ..Heartbeat::default()
    });
    (
        any::<i32>(),
        any::<u64>(),
        any::<String>(),
        proptest::option::of(business),
        proptest::option::of(heartbeat),
    )
        .prop_map(|(r#type, user_id, token, business, heartbeat)| ClientFrame {
            r#type,
            user_id,
            token,
            business,
            heartbeat,
        })
}

fn any_server_frame() -> impl Strategy<Value = ServerFrame> {
    let session = (any::<u64>(), any::<u32>(), any::<i64>(), any::<u32>()).prop_map(
        |(user_id, heartbeat_interval_ms, server_time_ms, token_expires_in_ms)| {
            let session =
                Session { user_id, heartbeat_interval_ms, server_time_ms, token_expires_in_ms };
            let body = Some(server_frame::Body::Session(session));
            ServerFrame { r#type: 0, status: 1, body, failure: None }
        },
    );
    let stamp = (any::<u64>(), any::<u64>(), any::<u64>()).prop_map(|(room_id, epoch, version)| {
        RoomStamp { room_id, epoch, lane: Lane::High.into(), version }
    });
    let bytes = proptest::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from);
    let room =
        (any::<u64>(), bytes, proptest::option::of(stamp)).prop_map(|(user_id, data, stamp)| {
            said(RoomMessage { user_id, data, ..RoomMessage::default() }, stamp)
        });
    let options = proptest::collection::vec(any::<String>(), 2..6);
    let question = (any::<String>(), options, any::<i64>(), any::<bool>()).prop_map(
        |(text, options, show_at_ms, last)| {
            let question = Question { text, options, show_at_ms, last, ..Question::default() };
            let payload = Some(notification::Payload::Question(question));
            let notification = Notification { payload, ..Notification::default() };
            let body = Some(business::Body::Notification(notification));
            let business = Business { body, ..Business::default() };
            let body = Some(server_frame::Body::Business(business));
            ServerFrame { r#type: 1, status: 1, body, failure: None }
        },
    );
    prop_oneof![session, room, question]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn client_frames_come_back(frame in any_client_frame()) {
        check_client(&frame);
    }

    #[test]
    fn server_frames_come_back(frame in any_server_frame()) {
        check_server(&frame);
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        frame in any_client_frame(),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let _ = decode_client(Encoding::Proto, &Message::Binary(&bytes));
        let _ = decode_client(Encoding::Json, &Message::Text(&String::from_utf8_lossy(&bytes)));
        // A frame with one byte changed: what is read can be written and read again.
        let mut bytes = frame.encode_to_vec();
        if !bytes.is_empty() {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Ok(frame) = decode_client(Encoding::Proto, &Message::Binary(&bytes)) {
            prop_assert_eq!(ClientFrame::decode(frame.encode_to_vec().as_slice()), Ok(frame));
        }
    }
}
