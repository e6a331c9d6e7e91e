//! The golden vectors of `proto/vectors`, made with another Protobuf implementation, mean what
//! this file says, in both encodings and in both directions.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tidegate::wire::codec::{self, CodecError, Encoding};
use tidegate::wire::message::{Decoder, Message};
use tidegate::wire::proto::*;
use tungstenite::protocol::Role;

const TIME_MS: i64 = 1_700_000_000_123;

/// Vectors that hold what this schema does not name; they have tests of their own.
const NEWER: [&str; 3] = ["client_unknown_enum", "client_unknown_fields", "server_unknown_fields"];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("proto/vectors")
}

fn binary(name: &str) -> Vec<u8> {
    fs::read(folder().join(format!("{name}.bin"))).unwrap()
}

fn json(name: &str) -> String {
    fs::read_to_string(folder().join(format!("{name}.json"))).unwrap()
}

fn request(
    kind: BusinessType,
    sequence: &str,
    payload: impl Into<Option<request::Payload>>,
) -> ClientFrame {
    let body = business::Body::Request(Request { payload: payload.into() });
    let business =
        Business { r#type: kind.into(), sequence: sequence.to_owned(), body: Some(body) };
    ClientFrame { r#type: 1, business: Some(business), ..ClientFrame::default() }
}

fn done(body: server_frame::Body) -> ServerFrame {
    ServerFrame { status: Status::Done.into(), body: Some(body), ..ServerFrame::default() }
}

fn business(kind: BusinessType, sequence: &str, body: business::Body) -> ServerFrame {
    let business =
        Business { r#type: kind.into(), sequence: sequence.to_owned(), body: Some(body) };
    ServerFrame { r#type: 1, ..done(server_frame::Body::Business(business)) }
}

fn response(
    kind: BusinessType,
    sequence: &str,
    server_time_ms: i64,
    payload: response::Payload,
) -> ServerFrame {
    let response = Response { server_time_ms, payload: Some(payload) };
    business(kind, sequence, business::Body::Response(response))
}

fn notification(
    kind: BusinessType,
    server_time_ms: i64,
    stamp: Option<RoomStamp>,
    payload: notification::Payload,
) -> ServerFrame {
    let notification = Notification { server_time_ms, stamp, payload: Some(payload) };
    business(kind, "", business::Body::Notification(notification))
}

fn failed(r#type: i32, error_code: u32, failure: Option<Failure>) -> ServerFrame {
    let body = Some(server_frame::Body::ErrorCode(error_code));
    ServerFrame { r#type, status: Status::Failed.into(), body, failure }
}

fn stamp(lane: Lane, version: u64) -> Option<RoomStamp> {
    Some(RoomStamp { room_id: 42, epoch: 7, lane: lane.into(), version })
}

fn lane(lane: Lane, version: u64) -> LanePosition {
    LanePosition { lane: lane.into(), version }
}

fn count_up(first: u8, length: u8) -> Bytes {
    (first..first + length).collect()
}

fn question() -> Question {
    Question {
        show_id: 9,
        question: 2,
        text: "Wie viele Beine hat eine Spinne? 🕷".to_owned(),
        options: ["6", "8", "", "zehn"].map(str::to_owned).to_vec(),
        show_at_ms: 1_700_000_000_500,
        show_by_ms: 1_700_000_003_500,
        answer_by_ms: 1_700_000_013_500,
        commitment: count_up(0, 32),
        last: true,
    }
}

fn sealed(first: u8) -> SealedResult {
    SealedResult {
        show_id: 9,
        question: 2,
        nonce: count_up(first, 12),
        ciphertext: count_up(200, 40),
    }
}

fn show_state() -> ShowState {
    ShowState {
        show_id: 9,
        room_id: 42,
        title: "Abendshow".to_owned(),
        phase: Phase::Open.into(),
        question_count: 12,
        prize_pool_cents: 10_000_000,
        starts_at_ms: 1_700_000_000_000,
    }
}

fn answer() -> ClientFrame {
    let answer = Answer { show_id: 9, question: 2, option: 1, ticket: Bytes::new() };
    request(BusinessType::Answer, "5", request::Payload::Answer(answer))
}

fn client_frames() -> Vec<(&'static str, ClientFrame)> {
    use request::Payload;
    let empty = ClientFrame::default();
    let heartbeat = |heartbeat| ClientFrame { r#type: -1, heartbeat, ..ClientFrame::default() };
    let join = Join { room_id: 42, ..Join::default() };
    let opening = Join { opens_seals: true, ..join.clone() };
    let resume = Join {
        room_id: u64::MAX,
        epoch: 7,
        positions: vec![lane(Lane::High, 9), lane(Lane::Mid, 0), lane(Lane::Low, u64::MAX)],
        opens_seals: false,
    };
    let chat = Chat { text: "hallo 世界 👋".to_owned() };
    let publish = Publish { lane: Lane::Low.into(), data: (0..=255).collect() };
    let retry = Answer {
        show_id: u64::MAX,
        question: u32::MAX,
        option: u32::MAX,
        ticket: Bytes::from_static(&[0xff, 0xfe, 0xfd, 0]),
    };
    vec![
        ("client_empty", empty.clone()),
        ("client_heartbeat_bare", heartbeat(None)),
        (
            "client_heartbeat",
            heartbeat(Some(Heartbeat { client_sent_ms: -5, rtt_ms: 17, ..Heartbeat::default() })),
        ),
        ("client_heartbeat_set_but_empty", heartbeat(Some(Heartbeat::default()))),
        (
            "client_authenticate",
            ClientFrame { user_id: 1, token: "a.b-c_d.e".to_owned(), ..empty.clone() },
        ),
        ("client_type_extremes", ClientFrame { r#type: i32::MIN, user_id: u64::MAX, ..empty }),
        (
            "client_join",
            ClientFrame { user_id: 5, ..request(BusinessType::Join, "1", Payload::Join(join)) },
        ),
        ("client_join_resume", request(BusinessType::Join, "2", Payload::Join(resume))),
        ("client_join_opening_seals", request(BusinessType::Join, "1", Payload::Join(opening))),
        ("client_leave", request(BusinessType::Leave, "3", Payload::Leave(Leave {}))),
        ("client_publish", request(BusinessType::Publish, "4", Payload::Publish(publish))),
        (
            "client_publish_empty",
            request(BusinessType::Publish, "", Payload::Publish(Publish::default())),
        ),
        ("client_chat", request(BusinessType::Chat, "7", Payload::Chat(chat))),
        ("client_chat_empty", request(BusinessType::Chat, "8", Payload::Chat(Chat::default()))),
        ("client_like", request(BusinessType::Like, "9", Payload::Like(Like { count: u32::MAX }))),
        ("client_answer", answer()),
        (
            "client_answer_retry",
            request(BusinessType::Answer, "€ \"quoted\" \\ \u{7} 😀", Payload::Answer(retry)),
        ),
        ("client_request_without_payload", request(BusinessType::Answer, "6", None)),
    ]
}

const TAP: Grab = Grab { show_id: 9, rain: 2, slot: 1 };

fn money_requests() -> Vec<(&'static str, ClientFrame)> {
    use request::Payload;
    let withdraw = Withdraw { key: "w-1".to_owned(), cents: i64::MAX };
    let give = Give { key: "g-1".to_owned(), kind: 7, cents: 1 };
    let redeem = Redeem { code: "1A2B3C".to_owned() };
    vec![
        ("client_grab", request(BusinessType::Grab, "60", Payload::Grab(TAP))),
        ("client_withdraw", request(BusinessType::Withdraw, "61", Payload::Withdraw(withdraw))),
        ("client_give", request(BusinessType::Give, "62", Payload::Give(give))),
        ("client_redeem", request(BusinessType::Redeem, "63", Payload::Redeem(redeem))),
    ]
}

fn money_replies() -> Vec<(&'static str, ServerFrame)> {
    use notification::Payload as Notice;
    use response::Payload;
    let high = stamp(Lane::High, 3);
    let told = |kind, payload| notification(kind, TIME_MS, high, payload);
    let reply = |kind, sequence, payload| response(kind, sequence, 6, payload);
    let Grab { show_id, rain, slot } = TAP;
    let grabbed = Grabbed { show_id, rain, slot, cents: 120 };
    let withdrawal = Withdrawal {
        key: "w-1".to_owned(),
        cents: 5,
        state: WithdrawalState::Reversed.into(),
        balance_cents: i64::MAX,
        number: u64::MAX,
    };
    let given = Given { key: "g-1".to_owned(), balance_cents: 3 };
    let purse = Purse {
        balance_cents: 5,
        revive_cards: 2,
        invitation_code: "1A2B3C".to_owned(),
        invited: 4,
    };
    let planned =
        Rain { show_id, rain, packets: 500, pool_cents: 100_000, taps_max: 3, ..Rain::default() };
    let falling = Rain {
        phase: RainPhase::Falling.into(),
        send_per_million: 20_000,
        ends_at_ms: 1_700_000_000_000,
        ..planned
    };
    let phase = RainPhase::Ended.into();
    let ended = Rain { phase, grabbed: 499, paid_cents: 99_900, ..planned };
    let shown = GiftShown { user_id: 5, kind: 7, cents: 1 };
    let nothing = Grabbed { cents: 0, ..grabbed };
    let redeemed = Redeemed { inviter_id: u64::MAX, cards: 1 };
    vec![
        ("server_grabbed", reply(BusinessType::Grab, "60", Payload::Grabbed(grabbed))),
        ("server_grabbed_nothing", reply(BusinessType::Grab, "60", Payload::Grabbed(nothing))),
        ("server_withdrawal", reply(BusinessType::Withdraw, "61", Payload::Withdrawal(withdrawal))),
        ("server_given", reply(BusinessType::Give, "62", Payload::Given(given))),
        ("server_redeemed", reply(BusinessType::Redeem, "63", Payload::Redeemed(redeemed))),
        ("server_purse", reply(BusinessType::Purse, "64", Payload::Purse(purse))),
        ("server_rain", told(BusinessType::Rain, Notice::Rain(falling))),
        ("server_rain_ended", told(BusinessType::Rain, Notice::Rain(ended))),
        ("server_gift_shown", told(BusinessType::GiftShown, Notice::GiftShown(shown))),
    ]
}

/// Everything but notifications.
fn replies() -> Vec<(&'static str, ServerFrame)> {
    use response::Payload;
    let session = Session {
        user_id: 5,
        heartbeat_interval_ms: 15_000,
        server_time_ms: 1_700_000_000_001,
        token_expires_in_ms: 0,
    };
    let expiring = Session { token_expires_in_ms: u32::MAX, ..session };
    let revoked = Failure { reason: Reason::TokenRevoked.into(), ..Failure::default() };
    let forbidden = Failure {
        reason: Reason::RoomForbidden.into(),
        sequence: "s-2".to_owned(),
        ..Failure::default()
    };
    let heartbeat = Heartbeat {
        client_sent_ms: i64::MIN,
        server_received_ms: i64::MAX,
        server_sent_ms: -1,
        rtt_ms: 0,
    };
    let expired = Failure {
        reason: Reason::TokenExpired.into(),
        message: "The token expired at 12:00.".to_owned(),
        ..Failure::default()
    };
    let later = Failure {
        reason: Reason::RateLimited.into(),
        retry_after_ms: u32::MAX,
        sequence: "s-1".to_owned(),
        ..Failure::default()
    };
    let positions = vec![lane(Lane::High, 9), lane(Lane::Low, 1)];
    let joined =
        Payload::Joined(Joined { room_id: 42, epoch: 7, positions, resumed: true, info: None });
    let info = Some(info());
    let informed = Joined { room_id: 42, epoch: 7, info, ..Joined::default() };
    let informed = Payload::Joined(informed);
    let published = Payload::Published(Published { stamp: stamp(Lane::Low, 1) });
    let received = Payload::AnswerReceived(AnswerReceived { result: Some(sealed(1)) });
    let retry = Payload::RetryAnswer(RetryAnswer {
        show_id: 9,
        question: 2,
        retry_after_ms: 750,
        ticket: Bytes::from_static(b"ticket"),
    });
    let beat = ServerFrame { r#type: -1, status: Status::Done.into(), ..ServerFrame::default() };
    vec![
        ("server_empty", ServerFrame::default()),
        ("server_session", done(server_frame::Body::Session(session))),
        ("server_session_with_expiry", done(server_frame::Body::Session(expiring))),
        ("server_heartbeat_bare", beat.clone()),
        (
            "server_heartbeat",
            ServerFrame { body: Some(server_frame::Body::Heartbeat(heartbeat)), ..beat },
        ),
        ("server_token_refused", failed(0, codec::ERROR_TOKEN_REFUSED, Some(expired))),
        ("server_token_revoked", failed(0, codec::ERROR_TOKEN_REFUSED, Some(revoked))),
        ("server_room_forbidden", failed(1, codec::ERROR_BUSINESS_FAILED, Some(forbidden))),
        ("server_business_failed", failed(1, codec::ERROR_BUSINESS_FAILED, Some(later))),
        ("server_error_code_zero", failed(1, 0, None)),
        ("server_error_code_max", failed(1, u32::MAX, None)),
        ("server_joined", response(BusinessType::Join, "1", 1, joined)),
        ("server_joined_with_info", response(BusinessType::Join, "1", 1, informed)),
        ("server_left", response(BusinessType::Leave, "3", 2, Payload::Left(Left { room_id: 42 }))),
        ("server_published", response(BusinessType::Publish, "4", 3, published)),
        ("server_answer_received", response(BusinessType::Answer, "5", 4, received)),
        ("server_retry_answer", response(BusinessType::Answer, "5", 5, retry)),
    ]
}

/// What a client is told about its chats and likes.
fn chat_replies() -> Vec<(&'static str, ServerFrame)> {
    use response::Payload;
    let muted = Failure {
        reason: Reason::Muted.into(),
        message: "you are muted".to_owned(),
        sequence: "7".to_owned(),
        until_ms: 1_700_000_600_000,
        ..Failure::default()
    };
    let discarded = Failure {
        reason: Reason::RoomOverloaded.into(),
        retry_after_ms: 20,
        sequence: "7".to_owned(),
        ..Failure::default()
    };
    let published = Payload::ChatPublished(ChatPublished { stamp: stamp(Lane::Low, 2) });
    let liked = Payload::Liked(Liked { count: 50 });
    vec![
        ("server_chat_muted", failed(1, codec::ERROR_BUSINESS_FAILED, Some(muted))),
        ("server_chat_discarded", failed(1, codec::ERROR_BUSINESS_FAILED, Some(discarded))),
        ("server_chat_published", response(BusinessType::Chat, "7", 3, published)),
        ("server_liked", response(BusinessType::Like, "9", 3, liked)),
    ]
}

fn reveal() -> Reveal {
    Reveal {
        show_id: 9,
        question: 2,
        result_key: count_up(0, 32),
        correct_option: 1,
        option_counts: vec![0, 127, 128, 300_000],
        in_play: 299_999,
    }
}

/// What a player gets on joining the room of a show.
fn snapshots() -> Vec<(&'static str, ServerFrame)> {
    let direct = |snapshot| {
        let payload = notification::Payload::Snapshot(snapshot);
        notification(BusinessType::Snapshot, TIME_MS, None, payload)
    };
    let snapshot = Snapshot {
        show: Some(show_state()),
        standing: Standing::InPlay.into(),
        last_revealed: Some(1),
        revive_cards: 2,
        open_question: Some(question()),
        recorded_option: Some(3),
        recorded_result: Some(sealed(9)),
        prize_cents: 123_456,
        last_reveal: None,
        recorded_question: None,
    };
    let with_reveal = Snapshot {
        show: Some(show_state()),
        standing: Standing::Out.into(),
        last_revealed: Some(2),
        recorded_option: Some(1),
        recorded_result: Some(sealed(9)),
        recorded_question: Some(0),
        last_reveal: Some(reveal()),
        ..Snapshot::default()
    };
    let zeros = Snapshot {
        standing: Standing::Spectator.into(),
        last_revealed: Some(0),
        recorded_option: Some(0),
        ..Snapshot::default()
    };
    let absent = notification::Payload::Snapshot(Snapshot::default());
    vec![
        ("server_snapshot", direct(snapshot)),
        ("server_snapshot_with_reveal", direct(with_reveal)),
        ("server_snapshot_zero_is_not_absent", direct(zeros)),
        ("server_snapshot_absent", notification(BusinessType::Snapshot, 0, None, absent)),
    ]
}

/// Notifications of the quiz.
fn quiz_notifications() -> Vec<(&'static str, ServerFrame)> {
    use notification::Payload;
    let high = stamp(Lane::High, 3);
    let in_lane = |kind, payload| notification(kind, TIME_MS, high, payload);
    let direct = |kind, payload| notification(kind, TIME_MS, None, payload);
    let settled = Settled {
        show_id: 9,
        winners: 3,
        prize_pool_cents: 100,
        per_head_cents: 33,
        remainder_cents: 1,
    };
    let extremes = Payload::Settled(Settled {
        show_id: u64::MAX,
        winners: u64::MAX,
        prize_pool_cents: i64::MAX,
        per_head_cents: i64::MIN,
        remainder_cents: -1,
    });
    let extended = QuestionExtended { show_id: 9, question: 2, show_by_ms: 1, answer_by_ms: 2 };
    let key = QuestionKey {
        key: (100..132).collect(),
        show_id: 9,
        question: 2,
        show_at_ms: 1_700_000_000_500,
        show_by_after_ms: 3_000,
        answer_by_after_ms: 10_000,
    };
    let withdrawn = QuestionWithdrawn { show_id: 9, question: 2 };
    let voided = Payload::QuestionVoided(QuestionVoided { show_id: 9, question: 0 });
    let rejudged = Rejudged { show_id: 9, question: 2, correct_option: 0, in_play: 5 };
    vec![
        ("server_question", in_lane(BusinessType::Question, Payload::Question(question()))),
        ("server_reveal", in_lane(BusinessType::Reveal, Payload::Reveal(reveal()))),
        ("server_result", direct(BusinessType::Result, Payload::Result(sealed(50)))),
        ("server_show_state", in_lane(BusinessType::ShowState, Payload::ShowState(show_state()))),
        ("server_settled", in_lane(BusinessType::Settled, Payload::Settled(settled))),
        ("server_settled_extremes", notification(BusinessType::Settled, i64::MIN, None, extremes)),
        (
            "server_question_extended",
            in_lane(BusinessType::QuestionExtended, Payload::QuestionExtended(extended)),
        ),
        (
            "server_sealed_question",
            notification(
                BusinessType::SealedQuestion,
                TIME_MS,
                stamp(Lane::Mid, 5),
                Payload::SealedQuestion(sealed_question()),
            ),
        ),
        ("server_question_key", in_lane(BusinessType::QuestionKey, Payload::QuestionKey(key))),
        (
            "server_question_withdrawn",
            in_lane(BusinessType::QuestionWithdrawn, Payload::QuestionWithdrawn(withdrawn)),
        ),
        ("server_question_voided", in_lane(BusinessType::QuestionVoided, voided)),
        ("server_rejudged", in_lane(BusinessType::Rejudged, Payload::Rejudged(rejudged))),
    ]
}

fn sealed_question() -> SealedQuestion {
    SealedQuestion {
        show_id: 9,
        question: 2,
        commitment: (0..32).collect(),
        ciphertext: (0..=255).chain(0..16).collect(),
    }
}

fn said(user_id: u64, data: &[u8], kind: u32) -> RoomMessage {
    RoomMessage { user_id, data: Bytes::copy_from_slice(data), kind, ..RoomMessage::default() }
}

fn info() -> RoomInfo {
    RoomInfo { room_id: 42, online: 1_000_000, chat_permille: 250, reconnect_spread_ms: 60_000 }
}

/// Notifications of rooms.
fn room_notifications() -> Vec<(&'static str, ServerFrame)> {
    use notification::Payload;
    let message = said(5, "hallo 世界".as_bytes(), 0);
    let long = said(0, &[b'x'; 128], 0);
    let gap = Gap {
        room_id: 42,
        epoch: 7,
        lane: Lane::Mid.into(),
        first_missing: 4,
        last_missing: 1_000_000,
    };
    let text = "*** 敏感".to_owned();
    let chat = RoomMessage { user_id: u64::MAX, text, ..RoomMessage::default() };
    let likes = Some(Likes { count: 300, total: u64::MAX });
    let likes = RoomMessage { likes, ..RoomMessage::default() };
    let alone = |stamp, message| {
        notification(BusinessType::RoomMessage, TIME_MS, stamp, Payload::RoomMessage(message))
    };
    let batch = RoomBatch {
        messages: vec![said(5, b"one", 0), said(0, b"two", 7)],
        thinned: Bytes::from_static(&[5, 128]),
        info: Some(info()),
    };
    let merged = |stamp, batch| {
        notification(BusinessType::RoomBatch, TIME_MS, stamp, Payload::RoomBatch(batch))
    };
    let closed = Payload::RoomClosed(RoomClosed { room_id: 42 });
    let told = Payload::RoomInfo(info());
    vec![
        ("server_room_message", alone(stamp(Lane::Low, u64::MAX), message)),
        ("server_room_message_of_128_bytes", alone(stamp(Lane::Mid, 128), long)),
        ("server_room_batch", merged(stamp(Lane::Low, 9), batch)),
        ("server_room_batch_empty", merged(stamp(Lane::Mid, 1), RoomBatch::default())),
        ("server_room_info", notification(BusinessType::RoomInfo, TIME_MS, None, told)),
        (
            "server_room_closed",
            notification(BusinessType::RoomClosed, TIME_MS, stamp(Lane::High, 3), closed),
        ),
        ("server_chat_message", alone(stamp(Lane::Low, 2), chat)),
        ("server_likes", alone(stamp(Lane::Low, 9), likes)),
        ("server_gap", notification(BusinessType::Gap, TIME_MS, None, Payload::Gap(gap))),
    ]
}

fn server_frames() -> Vec<(&'static str, ServerFrame)> {
    [
        replies(),
        chat_replies(),
        money_replies(),
        room_notifications(),
        quiz_notifications(),
        snapshots(),
    ]
    .concat()
}

/// The vector is this frame, and this frame is the vector, in both encodings.
fn check<F>(name: &str, expected: &F)
where
    F: prost::Message + Default + PartialEq + Debug + Serialize + DeserializeOwned,
{
    let binary = binary(name);
    let json = json(name);
    assert_eq!(F::decode(binary.as_slice()).as_ref(), Ok(expected), "{name}.bin");
    let from_json: F = serde_json::from_str(&json).unwrap_or_else(|error| {
        panic!("{name}.json: {error}");
    });
    assert_eq!(&from_json, expected, "{name}.json");

    // The order of fields is the writer's choice; everything else of the binary form is not.
    let again = expected.encode_to_vec();
    assert_eq!(again.len(), binary.len(), "{name}.bin written again");
    assert_eq!(F::decode(again.as_slice()).as_ref(), Ok(expected), "{name}.bin written again");
    let theirs: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(serde_json::to_value(expected).unwrap(), theirs, "{name}.json written again");
}

#[test]
fn client_frames_are_read_and_written() {
    for (name, expected) in [client_frames(), money_requests()].concat() {
        check(name, &expected);
        for (encoding, message) in [
            (Encoding::Proto, Message::Binary(&binary(name))),
            (Encoding::Json, Message::Text(&json(name))),
        ] {
            assert_eq!(codec::decode_client(encoding, &message).unwrap(), expected, "{name}");
            let mut bytes = Vec::new();
            codec::encode_client(encoding, &expected, [7, 8, 9, 10], &mut bytes);
            let back = through_frames(Role::Server, &mut bytes, |message| {
                codec::decode_client(encoding, message)
            });
            assert_eq!(back, expected, "{name}");
        }
    }
}

#[test]
fn server_frames_are_read_and_written() {
    for (name, expected) in server_frames() {
        check(name, &expected);
        for (encoding, message) in [
            (Encoding::Proto, Message::Binary(&binary(name))),
            (Encoding::Json, Message::Text(&json(name))),
        ] {
            assert_eq!(codec::decode_server(encoding, &message).unwrap(), expected, "{name}");
            let mut bytes = Vec::new();
            codec::encode_server(encoding, &expected, &mut bytes);
            let back = through_frames(Role::Client, &mut bytes, |message| {
                codec::decode_server(encoding, message)
            });
            assert_eq!(back, expected, "{name}");
        }
    }
}

/// Decodes the one message that `bytes` are, as a peer does.
fn through_frames<F>(
    role: Role,
    bytes: &mut [u8],
    decode: impl Fn(&Message<'_>) -> Result<F, CodecError>,
) -> F {
    let mut frames = Vec::new();
    let decoder = Decoder { role, message_bytes_max: 4_096 };
    let decoded = decoder.decode(&mut None, bytes, |message| {
        frames.push(decode(&message).unwrap());
        ControlFlow::Continue(())
    });
    assert!(decoded.is_ok(), "{decoded:?}");
    assert_eq!(frames.len(), 1);
    frames.remove(0)
}

#[test]
fn what_a_newer_sender_adds_is_ignored() {
    let name = "client_unknown_fields";
    let from_binary = codec::decode_client(Encoding::Proto, &Message::Binary(&binary(name)));
    assert_eq!(from_binary.unwrap(), answer());
    let from_json = codec::decode_client(Encoding::Json, &Message::Text(&json(name)));
    assert_eq!(from_json.unwrap(), answer());

    let name = "server_unknown_fields";
    let session = done(server_frame::Body::Session(Session { user_id: 5, ..Session::default() }));
    let from_binary = codec::decode_server(Encoding::Proto, &Message::Binary(&binary(name)));
    assert_eq!(from_binary.unwrap(), session);
    let from_json = codec::decode_server(Encoding::Json, &Message::Text(&json(name)));
    assert_eq!(from_json.unwrap(), session);
}

#[test]
fn an_unknown_enum_value_is_kept_in_protobuf_and_refused_in_json() {
    let name = "client_unknown_enum";
    let frame = codec::decode_client(Encoding::Proto, &Message::Binary(&binary(name))).unwrap();
    let business = frame.business.unwrap();
    assert_eq!((business.r#type, business.sequence.as_str()), (999, "7"));
    assert!(BusinessType::try_from(business.r#type).is_err());
    let error = codec::decode_client(Encoding::Json, &Message::Text(&json(name))).unwrap_err();
    assert!(error.to_string().contains("999"), "{error}");
}

#[test]
fn every_vector_is_expected_here() {
    let mut expected: BTreeSet<String> = NEWER.map(str::to_owned).into();
    expected.extend(money_requests().into_iter().map(|(name, _)| name.to_owned()));
    expected.extend(client_frames().into_iter().map(|(name, _)| name.to_owned()));
    expected.extend(server_frames().into_iter().map(|(name, _)| name.to_owned()));
    for extension in ["bin", "json"] {
        let found: BTreeSet<String> = fs::read_dir(folder())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|found| found == extension))
            .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        assert_eq!(found, expected, "*.{extension}");
    }
}
