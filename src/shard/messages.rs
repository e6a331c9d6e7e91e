//! How the shard's words become messages of the schema.

use bytes::Bytes;
use prost::Message as _;

use crate::base::ids::RoomId;
use crate::room::lane::{ENCODING_COUNT, EncodingIndex, Lane, Versions};
use crate::shard::codecs::Codecs;
use crate::shard::mail::RoomState;
use crate::wire::close::CloseReason;
use crate::wire::codec::{self, Encoding, Form, TYPE_BUSINESS};
use crate::wire::frame::{self, CLOSE_REASON_BYTES_MAX};
use crate::wire::proto;

/// A finer reason and a sentence for people.
pub(crate) fn failure(reason: proto::Reason, message: &str) -> proto::Failure {
    proto::Failure { reason: reason.into(), message: message.into(), ..Default::default() }
}

/// A failed reply to a frame of `frame_type`.
pub(crate) fn failed(frame_type: i32, code: u32, failure: proto::Failure) -> proto::ServerFrame {
    proto::ServerFrame {
        r#type: frame_type,
        status: proto::Status::Failed.into(),
        failure: Some(failure),
        body: Some(proto::server_frame::Body::ErrorCode(code)),
    }
}

/// A frame that succeeded or answers nothing.
pub(crate) fn done(frame_type: i32, body: proto::server_frame::Body) -> proto::ServerFrame {
    proto::ServerFrame {
        r#type: frame_type,
        status: proto::Status::Done.into(),
        failure: None,
        body: Some(body),
    }
}

/// The response to a request.
pub(crate) fn response(
    server_time_ms: i64,
    sequence: &str,
    payload: proto::response::Payload,
) -> proto::ServerFrame {
    use proto::response::Payload;
    let kind = match &payload {
        Payload::Joined(_) => proto::BusinessType::Join,
        Payload::Left(_) => proto::BusinessType::Leave,
        Payload::Published(_) => proto::BusinessType::Publish,
        Payload::ChatPublished(_) => proto::BusinessType::Chat,
        Payload::Liked(_) => proto::BusinessType::Like,
        Payload::AnswerReceived(_) | Payload::RetryAnswer(_) => proto::BusinessType::Answer,
        Payload::Grabbed(_) => proto::BusinessType::Grab,
        Payload::Withdrawal(_) => proto::BusinessType::Withdraw,
        Payload::Given(_) => proto::BusinessType::Give,
        Payload::Redeemed(_) => proto::BusinessType::Redeem,
        Payload::Purse(_) => proto::BusinessType::Purse,
    };
    let response = proto::Response { server_time_ms, payload: Some(payload) };
    business(kind, sequence, proto::business::Body::Response(response))
}

/// A notification; `stamp` if it goes through a lane.
pub(crate) fn notification(
    server_time_ms: i64,
    stamp: Option<proto::RoomStamp>,
    payload: proto::notification::Payload,
) -> proto::ServerFrame {
    use proto::notification::Payload;
    let kind = match &payload {
        Payload::RoomMessage(_) => proto::BusinessType::RoomMessage,
        Payload::Gap(_) => proto::BusinessType::Gap,
        Payload::RoomBatch(_) => proto::BusinessType::RoomBatch,
        Payload::RoomInfo(_) => proto::BusinessType::RoomInfo,
        Payload::RoomClosed(_) => proto::BusinessType::RoomClosed,
        Payload::Question(_) => proto::BusinessType::Question,
        Payload::Reveal(_) => proto::BusinessType::Reveal,
        Payload::Snapshot(_) => proto::BusinessType::Snapshot,
        Payload::Result(_) => proto::BusinessType::Result,
        Payload::ShowState(_) => proto::BusinessType::ShowState,
        Payload::Settled(_) => proto::BusinessType::Settled,
        Payload::QuestionExtended(_) => proto::BusinessType::QuestionExtended,
        Payload::QuestionVoided(_) => proto::BusinessType::QuestionVoided,
        Payload::Rejudged(_) => proto::BusinessType::Rejudged,
        Payload::SealedQuestion(_) => proto::BusinessType::SealedQuestion,
        Payload::QuestionKey(_) => proto::BusinessType::QuestionKey,
        Payload::QuestionWithdrawn(_) => proto::BusinessType::QuestionWithdrawn,
        Payload::Rain(_) => proto::BusinessType::Rain,
        Payload::GiftShown(_) => proto::BusinessType::GiftShown,
    };
    let notification = proto::Notification { server_time_ms, stamp, payload: Some(payload) };
    business(kind, "", proto::business::Body::Notification(notification))
}

fn business(
    kind: proto::BusinessType,
    sequence: &str,
    body: proto::business::Body,
) -> proto::ServerFrame {
    let business =
        proto::Business { r#type: kind.into(), sequence: sequence.into(), body: Some(body) };
    done(TYPE_BUSINESS, proto::server_frame::Body::Business(business))
}

/// The place of a message in its room.
pub(crate) fn stamp(room: RoomId, epoch: u64, in_lane: Lane, version: u64) -> proto::RoomStamp {
    proto::RoomStamp { room_id: room.0, epoch, lane: lane(in_lane).into(), version }
}

/// The schema's name of a lane.
pub(crate) fn lane(lane: Lane) -> proto::Lane {
    match lane {
        Lane::High => proto::Lane::High,
        Lane::Mid => proto::Lane::Mid,
        Lane::Low => proto::Lane::Low,
    }
}

/// How a room is, in the schema's words.
pub(crate) fn room_info(room: RoomId, state: RoomState) -> proto::RoomInfo {
    let RoomState { online, chat_permille, reconnect_spread_ms } = state;
    proto::RoomInfo { room_id: room.0, online, chat_permille, reconnect_spread_ms }
}

/// A position in every lane.
pub(crate) fn lane_positions(seen: Versions) -> Vec<proto::LanePosition> {
    let position = |in_lane: Lane| proto::LanePosition {
        lane: lane(in_lane).into(),
        version: seen[in_lane.index()],
    };
    Lane::ALL.into_iter().map(position).collect()
}

/// Positions as a client gives them; nothing for lanes that it leaves out.
pub(crate) fn seen(positions: &[proto::LanePosition]) -> [Option<u64>; 3] {
    Lane::ALL.map(|wanted| {
        let of_lane = positions.iter().find(|position| position.lane() == lane(wanted));
        of_lane.map(|position| position.version)
    })
}

/// A room's frame in every form that is wanted: written once per encoding, and compressed once.
pub(crate) fn room_frames(
    wanted: [bool; ENCODING_COUNT],
    frame: &proto::ServerFrame,
    codecs: &mut Codecs,
) -> [Option<Bytes>; ENCODING_COUNT] {
    let mut frames = [const { None }; ENCODING_COUNT];
    for encoding in Encoding::ALL {
        let [plain, deflated] = [false, true].map(|it| Form { encoding, is_deflated: it }.index());
        if wanted[plain] || wanted[deflated] {
            let written = codec::encode_server_bytes(encoding, frame);
            if wanted[deflated] {
                frames[deflated] = Some(codecs.deflated(&written));
            }
            frames[plain] = wanted[plain].then_some(written);
        }
    }
    frames
}

/// A room's frame in the base form, made over into another one. What was sent before is not worth
/// compressing: it is sent once, if at all.
pub(crate) fn transcode(frame: &[u8], form: EncodingIndex) -> Bytes {
    let encoding = Form::ALL[form].encoding;
    if encoding == Encoding::Proto {
        return Bytes::copy_from_slice(frame);
    }
    let payload = &frame[frame::payload_start(frame)..];
    let decoded = proto::ServerFrame::decode(payload);
    let decoded = decoded.expect("a room's frames are those that were encoded here");
    codec::encode_server_bytes(encoding, &decoded)
}

/// A finished close frame.
pub(crate) fn close_frame(reason: CloseReason) -> Bytes {
    let mut bytes = Vec::new();
    frame::encode_close(reason, &mut bytes);
    Bytes::from(bytes)
}

/// A finished close frame with a text of its own, cut to what fits in one.
pub(crate) fn close_frame_saying(reason: CloseReason, text: &str) -> Bytes {
    let mut end = text.len().min(CLOSE_REASON_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut bytes = Vec::new();
    frame::encode_close_code(Some(reason.code()), &text[..end], &mut bytes);
    Bytes::from(bytes)
}

/// The answer to a peer's close frame: the same code.
pub(crate) fn close_answer(code: Option<u16>) -> Bytes {
    let mut bytes = Vec::new();
    frame::encode_close_code(code, "", &mut bytes);
    Bytes::from(bytes)
}
