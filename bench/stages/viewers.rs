//! An audience that does all that viewers do, and notes how long each thing took: it comes, sends
//! heartbeats, hears questions and messages, answers, chats.
//!
//! Clients below `members` are the members: they are in before anything is measured, and everything
//! that is pushed is awaited at each of them. Those above come while it is measured.

use tidegate::wire::codec::{
    Encoding, TYPE_BUSINESS, TYPE_HEARTBEAT, decode_server, encode_client,
};
use tidegate::wire::message::Message;
use tidegate::wire::proto::{
    Business, BusinessType, ClientFrame, Heartbeat, Lane, Publish, Request as ProtoRequest,
    RoomMessage, business, notification, request, response, server_frame,
};

use crate::common::clients::{Audience, Heard, Outgoing};
use crate::common::counting::Request;
use crate::common::stats::Coverage;

use super::showing::{Frames, Kind};

/// Any mask will do: nothing is between us and the gateway (RFC 6455 §10.3).
const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];
/// A chat message begins with the moment at which it was due.
pub(crate) const CHAT_BYTES_MIN: usize = size_of::<u64>();
/// What a request of chat is called; answers have another name.
const CHAT_SEQUENCE: &str = "c";

/// Replies to one kind of requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Replies {
    pub(crate) done: u64,
    pub(crate) refused: u64,
    pub(crate) first_ns: u64,
    pub(crate) last_ns: u64,
    pub(crate) times_ns: Vec<u64>,
    /// By client: when what waits for a reply was due; 0 if nothing does.
    due_ns: Vec<u64>,
}

impl Replies {
    /// Whether a client waits for one.
    pub(crate) fn is_awaited(&self, index: u32) -> bool {
        self.due_ns[index as usize] > 0
    }

    /// From now on a client waits for one.
    pub(crate) fn expect(&mut self, index: u32, due_ns: u64) {
        self.due_ns[index as usize] = due_ns;
    }

    fn reply(&mut self, index: u32, at_ns: u64) {
        let due_ns = std::mem::take(&mut self.due_ns[index as usize]);
        if due_ns == 0 {
            return;
        }
        if self.done == 0 {
            self.first_ns = at_ns;
        }
        self.done += 1;
        self.last_ns = at_ns;
        self.times_ns.push(at_ns.saturating_sub(due_ns));
    }

    fn refuse(&mut self, index: u32) {
        let due_ns = std::mem::take(&mut self.due_ns[index as usize]);
        self.refused += u64::from(due_ns > 0);
    }
}

/// What all members are to get: how far it is.
#[derive(Clone, Debug, Default)]
struct Push {
    has_it: Vec<bool>,
    times_ns: Vec<u64>,
    /// As it arrived first: it is the same bytes for everybody.
    payload: Vec<u8>,
}

/// The audience.
pub(crate) struct Viewers {
    requests: Vec<Vec<u8>>,
    members: u32,
    is_in: Vec<bool>,
    members_in: u32,
    /// By kind.
    replies: [Replies; 4],
    push: Push,
    chat_times_ns: Vec<u64>,
    gaps: u64,
    frames: Frames,
    chat_bytes: usize,
}

impl Viewers {
    /// Nobody is in. What each says first is made now: making a token costs more than connecting.
    pub(crate) fn new(
        members: u32,
        newcomers: u32,
        chat_bytes: usize,
        mut request: Request,
    ) -> Viewers {
        let all = members + newcomers;
        let made = |index: u32| {
            let mut bytes = Vec::new();
            request(index, &mut bytes);
            bytes
        };
        let due_ns = vec![0; all as usize];
        Viewers {
            requests: (0..all).map(made).collect(),
            members,
            is_in: vec![false; all as usize],
            members_in: 0,
            replies: Kind::ALL.map(|_| Replies { due_ns: due_ns.clone(), ..Replies::default() }),
            push: Push { has_it: vec![false; members as usize], ..Push::default() },
            chat_times_ns: Vec::new(),
            gaps: 0,
            frames: Frames::default(),
            chat_bytes,
        }
    }

    /// Members who are in.
    pub(crate) fn members_in(&self) -> u32 {
        self.members_in
    }

    /// Replies to requests of a kind.
    pub(crate) fn replies(&mut self, kind: Kind) -> &mut Replies {
        &mut self.replies[kind as usize]
    }

    /// Something is about to be sent to all members.
    pub(crate) fn begin_push(&mut self) {
        self.push.has_it.fill(false);
        self.push.times_ns.clear();
        self.push.payload.clear();
    }

    /// Members that have what was sent last.
    pub(crate) fn reached(&self) -> u32 {
        u32::try_from(self.push.times_ns.len()).unwrap_or(u32::MAX)
    }

    /// How what was begun at `from_ns` spread.
    pub(crate) fn push_coverage(&mut self, from_ns: u64) -> Coverage {
        self.push.times_ns.iter_mut().for_each(|time| *time = time.saturating_sub(from_ns));
        Coverage::of(&mut self.push.times_ns)
    }

    /// Chat messages that members have heard.
    pub(crate) fn chat_delivered(&self) -> u64 {
        self.chat_times_ns.len() as u64
    }

    /// How long they took.
    pub(crate) fn chat_coverage(&mut self) -> Coverage {
        Coverage::of(&mut self.chat_times_ns)
    }

    /// Notices that something is missing.
    pub(crate) fn gaps(&self) -> u64 {
        self.gaps
    }

    /// Lengths of frames that were heard.
    pub(crate) fn frames(&self) -> Frames {
        self.frames
    }

    /// Writes a chat message that was due at a moment.
    pub(crate) fn write_chat(&self, due_ns: u64, out: &mut Vec<u8>) {
        let mut data = vec![b'x'; self.chat_bytes.max(CHAT_BYTES_MIN)];
        data[..CHAT_BYTES_MIN].copy_from_slice(&due_ns.to_be_bytes());
        let publish = Publish { lane: Lane::Low.into(), data: data.into() };
        let business = Business {
            r#type: BusinessType::Publish.into(),
            sequence: CHAT_SEQUENCE.to_owned(),
            body: Some(business::Body::Request(ProtoRequest {
                payload: Some(request::Payload::Publish(publish)),
            })),
        };
        let business = Some(business);
        let frame = ClientFrame { r#type: TYPE_BUSINESS, business, ..ClientFrame::default() };
        encode_client(Encoding::Proto, &frame, MASK, out);
    }

    fn pushed(&mut self, heard: Heard<'_>) {
        self.frames.push_bytes = heard.frame_bytes;
        if let Some(has_it) = self.push.has_it.get_mut(heard.index as usize)
            && !std::mem::replace(has_it, true)
        {
            self.push.times_ns.push(heard.at_ns);
        }
    }

    fn notified(&mut self, payload: &notification::Payload, heard: Heard<'_>) {
        match payload {
            notification::Payload::Snapshot(_) => {
                let is_in = &mut self.is_in[heard.index as usize];
                if !std::mem::replace(is_in, true) {
                    self.members_in += u32::from(heard.index < self.members);
                }
                self.replies(Kind::Connect).reply(heard.index, heard.at_ns);
            }
            notification::Payload::Question(_) => {
                heard.payload.clone_into(&mut self.push.payload);
                self.pushed(heard);
            }
            notification::Payload::RoomMessage(message) if message.user_id == 0 => {
                heard.payload.clone_into(&mut self.push.payload);
                self.pushed(heard);
            }
            notification::Payload::RoomMessage(message) if heard.index < self.members => {
                self.frames.chat_bytes = heard.frame_bytes;
                self.chatted(message, heard.at_ns);
            }
            notification::Payload::RoomBatch(batch) if heard.index < self.members => {
                self.frames.chat_bytes = heard.frame_bytes / batch.messages.len().max(1);
                for message in &batch.messages {
                    self.chatted(message, heard.at_ns);
                }
            }
            notification::Payload::Gap(_) => self.gaps += 1,
            _ => {}
        }
    }

    fn chatted(&mut self, message: &RoomMessage, at_ns: u64) {
        if let Some(due_ns) = message.data.first_chunk() {
            let due_ns = u64::from_be_bytes(*due_ns);
            self.chat_times_ns.push(at_ns.saturating_sub(due_ns));
        }
    }

    fn responded(&mut self, payload: &response::Payload, heard: Heard<'_>) {
        let kind = match payload {
            response::Payload::AnswerReceived(_) => {
                self.frames.reply_bytes = heard.frame_bytes;
                Kind::Answer
            }
            response::Payload::Published(_) => Kind::Chat,
            _ => return,
        };
        self.replies(kind).reply(heard.index, heard.at_ns);
    }
}

impl Audience for Viewers {
    fn request(&mut self, index: u32, request: &mut Vec<u8>) {
        request.extend_from_slice(&self.requests[index as usize]);
    }

    fn upgraded(&mut self, _: u32, _: u16, _: &mut Outgoing) {}

    fn heard(&mut self, heard: Heard<'_>, _: &mut Outgoing) {
        if !self.push.payload.is_empty() && heard.payload == self.push.payload.as_slice() {
            return self.pushed(heard);
        }
        let frame = decode_server(Encoding::Proto, &Message::Binary(heard.payload));
        let frame = frame.unwrap_or_default();
        if let Some(failure) = &frame.failure {
            let is_chat = failure.sequence == CHAT_SEQUENCE;
            let kind = if is_chat { Kind::Chat } else { Kind::Answer };
            self.replies(kind).refuse(heard.index);
        }
        match frame.body {
            Some(server_frame::Body::Heartbeat(_)) => {
                self.replies(Kind::Heartbeat).reply(heard.index, heard.at_ns);
            }
            Some(server_frame::Body::Business(business)) => match business.body {
                Some(business::Body::Notification(it)) => {
                    if let Some(payload) = &it.payload {
                        self.notified(payload, heard);
                    }
                }
                Some(business::Body::Response(it)) => {
                    if let Some(payload) = &it.payload {
                        self.responded(payload, heard);
                    }
                }
                Some(business::Body::Request(_)) | None => {}
            },
            _ => {}
        }
    }
}

/// A heartbeat as a client sends it.
pub(crate) fn heartbeat() -> Vec<u8> {
    let heartbeat = Heartbeat { client_sent_ms: 1, ..Heartbeat::default() };
    let heartbeat = Some(heartbeat);
    let frame = ClientFrame { r#type: TYPE_HEARTBEAT, heartbeat, ..ClientFrame::default() };
    let mut bytes = Vec::new();
    encode_client(Encoding::Proto, &frame, MASK, &mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use tidegate::wire::codec::encode_server;
    use tidegate::wire::proto::{Notification, ServerFrame, Snapshot, Status};

    use super::*;

    fn viewers(members: u32, newcomers: u32) -> Viewers {
        Viewers::new(members, newcomers, 20, Box::new(|_, _| {}))
    }

    fn hear(viewers: &mut Viewers, index: u32, payload: notification::Payload, at_ns: u64) {
        let notification = Notification { payload: Some(payload), ..Notification::default() };
        let business = Business {
            body: Some(business::Body::Notification(notification)),
            ..Business::default()
        };
        let frame = ServerFrame {
            r#type: TYPE_BUSINESS,
            status: Status::Done.into(),
            body: Some(server_frame::Body::Business(business)),
            ..ServerFrame::default()
        };
        let mut bytes = Vec::new();
        encode_server(Encoding::Proto, &frame, &mut bytes);
        let header = if bytes[1] < 126 { 2 } else { 4 };
        let (frame_bytes, payload) = (bytes.len(), &bytes[header..]);
        let heard = Heard { index, opcode: 2, frame_bytes, payload, at_ns };
        viewers.heard(heard, &mut Outgoing::default());
    }

    fn message(user_id: u64, data: &[u8]) -> notification::Payload {
        notification::Payload::RoomMessage(RoomMessage {
            user_id,
            data: data.to_vec().into(),
            ..RoomMessage::default()
        })
    }

    #[test]
    fn members_come_before_and_newcomers_while_it_is_measured() {
        let mut viewers = viewers(1, 1);
        viewers.replies(Kind::Connect).expect(1, 10);
        for index in [0, 1, 1] {
            hear(&mut viewers, index, notification::Payload::Snapshot(Snapshot::default()), 15);
        }
        assert_eq!(viewers.members_in(), 1);
        let connects = viewers.replies(Kind::Connect);
        assert_eq!((connects.done, connects.times_ns.as_slice()), (1, &[5][..]));
    }

    #[test]
    fn a_push_is_awaited_at_each_member_once() {
        let mut viewers = viewers(2, 1);
        viewers.begin_push();
        for (index, at_ns) in [(1, 30), (2, 40), (1, 50), (0, 60)] {
            hear(&mut viewers, index, message(0, b"a question"), at_ns);
        }
        assert_eq!(viewers.reached(), 2);
        assert!((viewers.push_coverage(10).p100 - 50e-6).abs() < 1e-12);
        viewers.begin_push();
        assert_eq!(viewers.reached(), 0);
    }

    #[test]
    fn chat_is_heard_by_members_and_carries_its_time() {
        let mut viewers = viewers(2, 1);
        let data = 100_u64.to_be_bytes();
        for index in [0, 1, 2] {
            hear(&mut viewers, index, message(7, &data), 400);
        }
        assert_eq!((viewers.chat_delivered(), viewers.reached()), (2, 0));
        assert!((viewers.chat_coverage().p50 - 300e-6).abs() < 1e-12);
    }
}
