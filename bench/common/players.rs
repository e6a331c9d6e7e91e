//! An audience that plays one question: everybody answers as soon as it arrives.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use tidegate::wire::codec::{Encoding, decode_server, encode_client};
use tidegate::wire::message::Message;
use tidegate::wire::proto::{
    Answer, Business, BusinessType, ClientFrame, Request as ProtoRequest, business, notification,
    request, response, server_frame,
};

use crate::common::clients::{Audience, Heard, Outgoing};
use crate::common::clock::now_ns;
use crate::common::counting::Request;
use crate::common::show::{OPTIONS, SHOW};
use crate::common::stats::Coverage;

/// Any mask will do: nothing is between us and the gateway (RFC 6455 §10.3).
const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// How far a player is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    #[default]
    Outside,
    In,
    Asked,
    Acknowledged,
}

/// All players.
pub(crate) struct Players {
    request: Request,
    steps: Vec<Step>,
    counts: Counts,
    /// The question as it arrived first: it is the same bytes for everybody.
    question: Vec<u8>,
    /// Answer frames by option.
    answers: Vec<Vec<u8>>,
    /// The option that a player taps.
    choice: fn(u32) -> u32,
    /// By player: when the question came.
    asked_ns: Vec<u64>,
    acknowledged_ns: Vec<u64>,
    /// From the question's arrival, which is when the answer is sent, to its acknowledgement.
    waited_ns: Vec<u64>,
    last_at_ns: u64,
    /// Told to come again: when, who, with which ticket.
    retries: BinaryHeap<Reverse<(u64, u32, Vec<u8>)>>,
}

/// What happened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) joined: u32,
    pub(crate) asked: u32,
    /// Answers that the gateway has acknowledged as received and recorded.
    pub(crate) acknowledged: u32,
    /// Of those, without a sealed result: they came after the countdown.
    pub(crate) late: u32,
    pub(crate) retried: u32,
    pub(crate) refused: u32,
}

impl Players {
    /// For so many, none of whom is connected. Their answers are spread over all options.
    pub(crate) fn new(connections: u32, request: Request) -> Players {
        Players::choosing(|index| index % OPTIONS, connections, request)
    }

    /// The same, who tap what `choice` says.
    pub(crate) fn choosing(choice: fn(u32) -> u32, connections: u32, request: Request) -> Players {
        Players {
            request,
            steps: vec![Step::Outside; connections as usize],
            counts: Counts::default(),
            question: Vec::new(),
            answers: (0..OPTIONS).map(|option| answer(option, &[])).collect(),
            choice,
            asked_ns: vec![0; connections as usize],
            acknowledged_ns: Vec::with_capacity(connections as usize),
            waited_ns: Vec::with_capacity(connections as usize),
            last_at_ns: 0,
            retries: BinaryHeap::new(),
        }
    }

    /// What has happened so far.
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// When anything was heard last.
    pub(crate) fn last_at_ns(&self) -> u64 {
        self.last_at_ns
    }

    /// How the question spread from that moment on, how the acknowledgements did, and how long
    /// each of them took from its answer.
    pub(crate) fn coverages(&mut self, from_ns: u64) -> [Coverage; 3] {
        self.asked_ns.retain(|time| *time > 0);
        for times_ns in [&mut self.asked_ns, &mut self.acknowledged_ns] {
            times_ns.iter_mut().for_each(|time| *time = time.saturating_sub(from_ns));
        }
        [&mut self.asked_ns, &mut self.acknowledged_ns, &mut self.waited_ns]
            .map(|it| Coverage::of(it))
    }

    /// Sends again what was told to come again by now.
    pub(crate) fn retry(&mut self, outgoing: &mut Outgoing) {
        let choice = self.choice;
        while self.retries.peek().is_some_and(|Reverse((at_ns, ..))| *at_ns <= now_ns()) {
            if let Some(Reverse((_, index, ticket))) = self.retries.pop() {
                outgoing.push(index, |bytes| bytes.extend(answer(choice(index), &ticket)));
            }
        }
    }

    fn asked(&mut self, heard: Heard<'_>, outgoing: &mut Outgoing) {
        let step = &mut self.steps[heard.index as usize];
        if *step != Step::In {
            return;
        }
        *step = Step::Asked;
        self.counts.asked += 1;
        self.asked_ns[heard.index as usize] = heard.at_ns;
        let answer = &self.answers[(self.choice)(heard.index) as usize];
        outgoing.push(heard.index, |bytes| bytes.extend_from_slice(answer));
    }

    fn notified(
        &mut self,
        payload: &notification::Payload,
        heard: Heard<'_>,
        outgoing: &mut Outgoing,
    ) {
        match payload {
            notification::Payload::Snapshot(_) => {
                let step = &mut self.steps[heard.index as usize];
                self.counts.joined += u32::from(*step == Step::Outside);
                *step = (*step).max(Step::In);
            }
            notification::Payload::Question(_) => {
                heard.payload.clone_into(&mut self.question);
                self.asked(heard, outgoing);
            }
            _ => {}
        }
    }

    fn answered(&mut self, payload: &response::Payload, heard: Heard<'_>) {
        match payload {
            response::Payload::AnswerReceived(received) => {
                let step = &mut self.steps[heard.index as usize];
                if *step == Step::Asked {
                    *step = Step::Acknowledged;
                    self.counts.acknowledged += 1;
                    self.counts.late += u32::from(received.result.is_none());
                    self.acknowledged_ns.push(heard.at_ns);
                    let asked_ns = self.asked_ns[heard.index as usize];
                    self.waited_ns.push(heard.at_ns - asked_ns);
                }
            }
            response::Payload::RetryAnswer(retry) => {
                self.counts.retried += 1;
                let at_ns = heard.at_ns + u64::from(retry.retry_after_ms) * 1_000_000;
                self.retries.push(Reverse((at_ns, heard.index, retry.ticket.to_vec())));
            }
            _ => {}
        }
    }
}

impl Audience for Players {
    fn request(&mut self, index: u32, request: &mut Vec<u8>) {
        (self.request)(index, request);
    }

    fn upgraded(&mut self, _: u32, _: u16, _: &mut Outgoing) {}

    fn heard(&mut self, heard: Heard<'_>, outgoing: &mut Outgoing) {
        self.last_at_ns = heard.at_ns;
        if !self.question.is_empty() && heard.payload == self.question.as_slice() {
            return self.asked(heard, outgoing);
        }
        let frame =
            decode_server(Encoding::Proto, &Message::Binary(heard.payload)).unwrap_or_default();
        self.counts.refused += u32::from(frame.failure.is_some());
        let Some(server_frame::Body::Business(business)) = frame.body else {
            return;
        };
        match business.body {
            Some(business::Body::Notification(it)) => {
                if let Some(payload) = &it.payload {
                    self.notified(payload, heard, outgoing);
                }
            }
            Some(business::Body::Response(it)) => {
                if let Some(payload) = &it.payload {
                    self.answered(payload, heard);
                }
            }
            Some(business::Body::Request(_)) | None => {}
        }
    }
}

/// An answer to the first question as a client sends it.
pub(crate) fn answer(option: u32, ticket: &[u8]) -> Vec<u8> {
    answer_to(0, option, ticket)
}

/// An answer to any question as a client sends it.
pub(crate) fn answer_to(question: u32, option: u32, ticket: &[u8]) -> Vec<u8> {
    let answer = Answer { show_id: SHOW, question, option, ticket: ticket.to_vec().into() };
    let business = Business {
        r#type: BusinessType::Answer.into(),
        sequence: "a".to_owned(),
        body: Some(business::Body::Request(ProtoRequest {
            payload: Some(request::Payload::Answer(answer)),
        })),
    };
    let frame = ClientFrame { r#type: 1, business: Some(business), ..ClientFrame::default() };
    let mut bytes = Vec::new();
    encode_client(Encoding::Proto, &frame, MASK, &mut bytes);
    bytes
}
