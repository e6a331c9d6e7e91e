//! What a client does at its moments: answers, repeats, nonsense, leaving and coming back.

use std::cmp::Reverse;

use super::{Alarm, Asked, COME_BACK, Client, Context, Order, REQUESTS_MAX, Request, Stage};
use crate::base::ids::{OptionIndex, QuestionIndex};
use crate::player::record::Answered;
use crate::player::script::{Act, Garbage, Intent, MARGIN, Moment, Script};
use crate::wire::close::CloseReason;
use crate::wire::codec::{Encoding, TYPE_BUSINESS};
use crate::wire::frame::{Data, OpCode, encode_masked_frame};
use crate::wire::proto;

/// A type that no frame has.
const UNKNOWN_TYPE: i32 = 77;
/// An option that no question has.
const NO_OPTION: u32 = 200;

impl Client {
    /// An alarm rings.
    pub fn alarm(&mut self, alarm: Alarm, context: &mut Context<'_>) {
        match alarm {
            Alarm::Connect if self.stage == Stage::Away => {
                context.orders.push(Order::Connect(self.place));
            }
            Alarm::Step { question, step } => {
                let wanted = self.plan.as_ref().is_some_and(|(planned, _)| *planned == question);
                if wanted {
                    self.step(step, context);
                }
            }
            Alarm::Retry if self.stage == Stage::InRoom => self.retry(context),
            Alarm::Heartbeat { connection } => {
                if connection == self.connection && self.stage == Stage::InRoom {
                    self.heartbeat(context);
                }
            }
            // The swarm looks for something to send after each alarm.
            Alarm::Send | Alarm::Connect | Alarm::Retry => {}
        }
    }

    /// A question is new: its plan begins.
    pub(super) fn begin_question(&mut self, question: &proto::Question, context: &mut Context<'_>) {
        let Ok(index) = u16::try_from(question.question).map(QuestionIndex) else {
            return;
        };
        let (user, script) = (self.record.user(), &context.checks.script);
        let plan = if self.record.is_in_play() {
            script.plan(user, index)
        } else {
            script.watch(user, index)
        };
        let countdown_ms = question.answer_by_ms - question.show_by_ms;
        for (step, number) in plan.steps.iter().zip(0_u8..) {
            let at_ms = match step.at {
                Moment::Countdown(permille) => {
                    question.show_by_ms + countdown_ms * i64::from(permille) / 1_000
                }
                Moment::AfterEnd(ms) => question.answer_by_ms + i64::from(ms),
            };
            let at = self.moment(at_ms, context);
            let alarm = Alarm::Step { question: index, step: number };
            context.alarms.push(Reverse((at, self.place, alarm)));
        }
        self.postponed.clear();
        self.tickets.clear();
        self.plan = Some((index, plan));
    }

    /// In the room, again or for the first time: what could not be done before is done now.
    pub(super) fn resume_plan(&mut self, context: &mut Context<'_>) {
        if let Some((question, option)) = self.record.unacknowledged()
            && self.tickets.is_empty()
        {
            self.send_answer(question, option, None, context);
        }
        self.tickets.iter_mut().for_each(|ticket| ticket.sent = false);
        self.retry(context);
        for step in std::mem::take(&mut self.postponed) {
            self.step(step, context);
        }
    }

    fn step(&mut self, number: u8, context: &mut Context<'_>) {
        let Some((question, plan)) = &self.plan else {
            return;
        };
        let (question, intent) = (*question, plan.intent);
        let Some(step) = plan.steps.get(usize::from(number)).copied() else {
            return;
        };
        if self.stage != Stage::InRoom && step.act != Act::Return {
            // Who is away need not leave: done later, nothing would bring it back.
            if !matches!(step.act, Act::Leave { .. }) {
                self.postponed.push(number);
            }
            return;
        }
        match step.act {
            Act::Answer => self.answer(question, number, intent, context),
            Act::AnswerAgain(option) if self.record.is_acknowledged(question) => {
                context.deeds.repeated += 1;
                self.send_answer(question, option, None, context);
            }
            // A repeat before the first reply would be another matter.
            Act::AnswerAgain(_) => self.postponed.push(number),
            Act::Leave { reset } => {
                let order = if reset {
                    Order::Reset(self.conn)
                } else {
                    Order::Close(self.conn, Vec::new())
                };
                context.orders.push(order);
                self.stage = Stage::Away;
                self.out.clear();
            }
            Act::Return if self.stage == Stage::Away => {
                context.orders.push(Order::Connect(self.place));
            }
            Act::Return => {}
            Act::Garbage(kind) => self.garbage(kind, question, context),
            Act::TakeOver => self.take_over(context),
        }
    }

    /// The first reply came: a repeat that waited for it goes out.
    pub(super) fn acknowledged(&mut self, context: &mut Context<'_>) {
        if self.stage == Stage::InRoom {
            for step in std::mem::take(&mut self.postponed) {
                self.step(step, context);
            }
        }
    }

    fn answer(
        &mut self,
        question: QuestionIndex,
        number: u8,
        intent: Intent,
        context: &mut Context<'_>,
    ) {
        let user = self.record.user();
        let left_ms = self.record.answer_by_ms() - self.server_ms(context);
        let margin_ms = i64::try_from(MARGIN.as_millis()).unwrap_or(i64::MAX);
        let (option, when) = match intent {
            Intent::Silence => return,
            Intent::InTime(option) => {
                // The clock's estimate may be off by some milliseconds.
                context.checks.violations.check(left_ms >= margin_ms / 2, || {
                    format!(
                        "user {user}, question {question}: this host is too slow for the game to \
                         be repeated: an answer left only {left_ms} ms before the end"
                    )
                });
                let in_time = left_ms >= 0;
                (option, if in_time { Answered::InTime } else { Answered::TooLate })
            }
            // The question was extended meanwhile.
            Intent::TooLate(_) if -left_ms < margin_ms / 2 => {
                let at = self.moment(self.record.answer_by_ms() + margin_ms, context);
                let alarm = Alarm::Step { question, step: number };
                return context.alarms.push(Reverse((at, self.place, alarm)));
            }
            Intent::TooLate(option) => (option, Answered::TooLate),
            Intent::Tempted(option) => return self.send_answer(question, option, None, context),
        };
        if self.record.answers(question, option, when, context.checks) {
            self.send_answer(question, option, None, context);
        }
    }

    /// Sends what tickets are due.
    fn retry(&mut self, context: &mut Context<'_>) {
        for place in 0..self.tickets.len() {
            let ticket = &mut self.tickets[place];
            if ticket.due <= context.now && !ticket.sent {
                ticket.sent = true;
                let (question, option) = (ticket.question, ticket.option);
                let bytes = ticket.ticket.clone();
                self.send_answer(question, option, Some(bytes), context);
            }
        }
    }

    fn send_answer(
        &mut self,
        question: QuestionIndex,
        option: OptionIndex,
        ticket: Option<bytes::Bytes>,
        context: &mut Context<'_>,
    ) {
        let answer = proto::Answer {
            show_id: context.checks.show.0,
            question: question.0.into(),
            option: option.0.into(),
            ticket: ticket.unwrap_or_default(),
        };
        let request = Request::Answer { question, option };
        self.request(request, Some(proto::request::Payload::Answer(answer)), context);
    }

    pub(super) fn ask_for_room(&mut self, context: &mut Context<'_>) {
        let opens_seals = Script::opens_seals(self.record.user());
        let mut join = proto::Join { room_id: context.room.0, opens_seals, ..Default::default() };
        if let Some(position) = self.record.position() {
            join.epoch = position.epoch;
            let lanes = [proto::Lane::High, proto::Lane::Mid, proto::Lane::Low];
            join.positions = lanes
                .into_iter()
                .zip(position.seen)
                .map(|(lane, version)| proto::LanePosition { lane: lane.into(), version })
                .collect();
        }
        self.request(Request::Join, Some(proto::request::Payload::Join(join)), context);
    }

    pub(super) fn request(
        &mut self,
        request: Request,
        payload: Option<proto::request::Payload>,
        context: &mut Context<'_>,
    ) {
        self.sequence += 1;
        if self.requests.len() == REQUESTS_MAX {
            let user = self.record.user();
            context
                .checks
                .violations
                .note(|| format!("user {user}: {REQUESTS_MAX} requests got no answer"));
            self.requests.clear();
        }
        let (sequence, connection) = (self.sequence, self.connection);
        self.requests.push(Asked { sequence, connection, request });
        let kind = match request {
            Request::Join => proto::BusinessType::Join,
            Request::Answer { .. } | Request::Nonsense(_) => proto::BusinessType::Answer,
            Request::Tap { .. } => proto::BusinessType::Grab,
        };
        let business = proto::Business {
            r#type: kind.into(),
            sequence: format!("{:08x}", self.sequence),
            body: Some(proto::business::Body::Request(proto::Request { payload })),
        };
        self.send(&proto::ClientFrame {
            r#type: TYPE_BUSINESS,
            business: Some(business),
            ..Default::default()
        });
    }

    fn garbage(&mut self, kind: Garbage, question: QuestionIndex, context: &mut Context<'_>) {
        context.deeds.garbage += 1;
        let (mask, is_json) = (self.mask(), self.encoding == Encoding::Json);
        let (ours, other) = if is_json {
            (OpCode::Data(Data::Text), OpCode::Data(Data::Binary))
        } else {
            (OpCode::Data(Data::Binary), OpCode::Data(Data::Text))
        };
        let show_id = context.checks.show.0;
        let answer = |question: u32, option| {
            let ticket = bytes::Bytes::new();
            let answer = proto::Answer { show_id, question, option, ticket };
            Some(proto::request::Payload::Answer(answer))
        };
        match kind {
            Garbage::Undecodable => {
                // As text no JSON; as Protobuf a key that is longer than a key may be.
                let payload = if is_json { b"{\"type\":nonsense".as_slice() } else { &[0xff; 19] };
                encode_masked_frame(ours, payload, mask, &mut self.out);
                self.nonsense.push(proto::Reason::Malformed);
            }
            Garbage::UnknownType => {
                let frame = proto::ClientFrame { r#type: UNKNOWN_TYPE, ..Default::default() };
                self.send(&frame);
                self.nonsense.push(proto::Reason::UnknownType);
            }
            Garbage::EmptyBusiness => {
                self.request(Request::Nonsense(proto::Reason::UnknownType), None, context);
            }
            Garbage::NoSuchOption => {
                let reason = if self.record.is_in_play() {
                    proto::Reason::NoSuchOption
                } else {
                    proto::Reason::OutOfGame
                };
                let payload = answer(question.0.into(), NO_OPTION);
                self.request(Request::Nonsense(reason), payload, context);
            }
            Garbage::OtherQuestion => {
                let reason = Request::Nonsense(proto::Reason::NotCurrentQuestion);
                self.request(reason, answer(u32::from(question.0) + 1, 0), context);
            }
            Garbage::WrongKind => {
                encode_masked_frame(other, b"nonsense", mask, &mut self.out);
                self.stage = Stage::Doomed(CloseReason::Unsupported.code());
            }
            Garbage::BrokenFrame => {
                // Bits that are reserved, an opcode that is reserved, and noise behind them.
                self.out.extend_from_slice(&[0xfb, 0x83, 9, 8, 7, 6, 5, 4, 3]);
                self.stage = Stage::Doomed(CloseReason::ProtocolError.code());
            }
        }
    }

    fn take_over(&mut self, context: &mut Context<'_>) {
        let (conn, pending) = (self.conn, self.pending.take());
        self.older = Some(Box::new(super::Older { conn, pending }));
        self.conn = crate::base::ids::ConnId::default();
        self.stage = Stage::Away;
        self.out.clear();
        context.orders.push(Order::Connect(self.place));
    }

    /// The gateway closes: answered with the same code; then back, if that is right.
    pub(super) fn closed(&mut self, code: Option<u16>, context: &mut Context<'_>) {
        let user = self.record.user();
        let mut last = Vec::new();
        crate::wire::frame::encode_masked_close(code, "", self.mask(), &mut last);
        context.orders.push(Order::Close(self.conn, last));
        self.out.clear();
        match self.stage {
            Stage::Doomed(expected) if code == Some(expected) => {
                context.orders.push(Order::Connect(self.place));
            }
            Stage::Leaving => {}
            stage => {
                context
                    .checks
                    .violations
                    .note(|| format!("user {user}: closed with {code:?} while {stage:?}"));
                self.come_back(context.now + COME_BACK, context);
            }
        }
        self.stage = Stage::Away;
    }
}
