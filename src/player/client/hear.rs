//! What a client hears: frames of the gateway, and what they mean to it.

use std::cmp::Reverse;
use std::time::Duration;

use super::{Alarm, Client, Context, Request, Stage, Ticket};
use crate::player::record::Shown;
use crate::player::script::Script;
use crate::wire::codec::{Encoding, decode_server};
use crate::wire::frame::{Control, OpCode, encode_masked_frame};
use crate::wire::message::Message;
use crate::wire::proto;
use proto::notification::Payload as Notice;
use proto::response::Payload as Response;
use proto::server_frame::Body;

/// Times on the wire are whole milliseconds: an estimate may be off by this beside its round trip.
const ROUNDING_MS: i64 = 3;

impl Client {
    pub(super) fn message(&mut self, message: &Message<'_>, context: &mut Context<'_>) {
        match message {
            Message::Ping(data) => {
                let mask = self.mask();
                encode_masked_frame(OpCode::Control(Control::Pong), data, mask, &mut self.out);
            }
            Message::Pong(_) => {}
            Message::Close(close) => self.closed(close.map(|close| close.code), context),
            Message::Text(_) | Message::Binary(_) => match decode_server(self.encoding, message) {
                Ok(frame) => self.frame(frame, context),
                Err(error) => {
                    let user = self.record.user();
                    context.checks.violations.note(|| format!("user {user}: {error}"));
                }
            },
        }
    }

    fn frame(&mut self, frame: proto::ServerFrame, context: &mut Context<'_>) {
        if let Some(failure) = frame.failure {
            return self.failure(&failure, context);
        }
        match frame.body {
            Some(Body::Session(session)) => self.session(&session, context),
            Some(Body::Heartbeat(heartbeat)) => self.heartbeat_answered(&heartbeat, context),
            Some(Body::Business(business)) => match business.body {
                Some(proto::business::Body::Response(response)) => {
                    self.response_to(&business.sequence, response, context);
                }
                Some(proto::business::Body::Notification(notification)) => {
                    self.notification(notification, context);
                }
                Some(proto::business::Body::Request(_)) | None => self.surprised(context),
            },
            Some(Body::ErrorCode(_)) | None => self.surprised(context),
        }
    }

    fn surprised(&mut self, context: &mut Context<'_>) {
        let user = self.record.user();
        context
            .checks
            .violations
            .note(|| format!("user {user}: a frame that says nothing a client understands"));
    }

    fn session(&mut self, session: &proto::Session, context: &mut Context<'_>) {
        let user = self.record.user();
        let holds = session.user_id == user.0 && session.heartbeat_interval_ms > 0;
        context.checks.violations.check(holds, || format!("user {user} got {session:?}"));
        self.heartbeat_ms = session.heartbeat_interval_ms.max(1_000);
        if self.rtt_best_ms == i64::MAX {
            // A first estimate, until a heartbeat has been there and back.
            self.offset_ms = session.server_time_ms - self.clock_ms(context);
        }
        if Script::joins_by_frames(user) {
            self.ask_for_room(context);
        }
    }

    fn heartbeat_answered(&mut self, heartbeat: &proto::Heartbeat, context: &mut Context<'_>) {
        let user = self.record.user();
        let received_ms = self.clock_ms(context);
        let sent_ms = heartbeat.client_sent_ms;
        let held_ms = heartbeat.server_sent_ms - heartbeat.server_received_ms;
        let rtt_ms = received_ms - sent_ms - held_ms;
        let offset_ms = i64::midpoint(
            heartbeat.server_received_ms - sent_ms,
            heartbeat.server_sent_ms - received_ms,
        );
        // The swarm knows by how much the clock is off; the client has to find out.
        let error_ms = (offset_ms + self.skew_ms).abs();
        let holds = rtt_ms >= -ROUNDING_MS && error_ms <= rtt_ms.max(0) / 2 + ROUNDING_MS;
        context.checks.violations.check(holds, || {
            format!(
                "user {user}: the clocks differ by {}, a heartbeat says {offset_ms} with a round \
                 trip of {rtt_ms} ms",
                -self.skew_ms
            )
        });
        context.deeds.heartbeats += 1;
        context.deeds.rtt_longest_ms = context.deeds.rtt_longest_ms.max(rtt_ms);
        if rtt_ms < self.rtt_best_ms {
            self.rtt_best_ms = rtt_ms;
            self.offset_ms = offset_ms;
        }
    }

    /// Takes the request that an answer belongs to.
    fn take_request(&mut self, sequence: &str, context: &mut Context<'_>) -> Option<Request> {
        let number = u32::from_str_radix(sequence, 16).ok();
        let place = self.requests.iter().position(|asked| Some(asked.sequence) == number);
        if let Some(place) = place {
            return Some(self.requests.remove(place).request);
        }
        let user = self.record.user();
        context
            .checks
            .violations
            .note(|| format!("user {user}: an answer to `{sequence}`, which nobody waits for"));
        None
    }

    fn response_to(
        &mut self,
        sequence: &str,
        response: proto::Response,
        context: &mut Context<'_>,
    ) {
        // A room that was asked for in the upgrade is answered without a sequence.
        let request = if sequence.is_empty() && self.stage == Stage::Entering {
            Some(Request::Join)
        } else {
            self.take_request(sequence, context)
        };
        match (request, response.payload) {
            (None, _) => {}
            (Some(Request::Join), Some(Response::Joined(joined))) => {
                self.record.joined(&joined, context.checks);
                if self.stage == Stage::Entering {
                    self.stage = Stage::InRoom;
                    self.heartbeat(context);
                    self.resume_plan(context);
                }
            }
            (Some(Request::Answer { question, .. }), Some(Response::AnswerReceived(received))) => {
                let encoding = self.encoding;
                let number = u32::from(question.0);
                self.record.acknowledged(number, &received, encoding, context.checks);
                self.acknowledged(context);
            }
            (Some(Request::Answer { question, option }), Some(Response::RetryAnswer(retry))) => {
                context.deeds.retried += 1;
                let due = context.now + Duration::from_millis(retry.retry_after_ms.into());
                let ticket = retry.ticket;
                self.tickets.push(Ticket { question, option, ticket, due, sent: false });
                context.alarms.push(Reverse((due, self.place, Alarm::Retry)));
            }
            (Some(Request::Tap { rain, slot, is_last }), Some(Response::Grabbed(grabbed))) => {
                self.grabbed((rain, slot, is_last), &grabbed, context);
            }
            // Told to come again with nonsense: let it be.
            (Some(Request::Nonsense(_)), Some(Response::RetryAnswer(_))) => {}
            (Some(request), payload) => {
                let user = self.record.user();
                context
                    .checks
                    .violations
                    .note(|| format!("user {user}: {request:?} was answered with {payload:?}"));
            }
        }
    }

    fn failure(&mut self, failure: &proto::Failure, context: &mut Context<'_>) {
        let user = self.record.user();
        if failure.sequence.is_empty() {
            let place = self.nonsense.iter().position(|reason| *reason == failure.reason());
            if let Some(place) = place {
                self.nonsense.remove(place);
            } else {
                context
                    .checks
                    .violations
                    .note(|| format!("user {user}: an unexpected failure: {failure:?}"));
            }
            return;
        }
        match self.take_request(&failure.sequence, context) {
            None => {}
            Some(Request::Nonsense(reason)) => {
                let same = reason == failure.reason();
                context.checks.violations.check(same, || {
                    format!("user {user}: nonsense got {failure:?}, expected was {reason:?}")
                });
            }
            Some(Request::Answer { question, .. }) => {
                self.record.refused(question, failure, context.checks);
            }
            // One tap too many for this second; it is asked for again when the rain is over.
            Some(Request::Tap { .. }) if failure.reason() == proto::Reason::RateLimited => {}
            Some(Request::Tap { rain, slot, is_last }) => context.checks.violations.note(|| {
                let when = if is_last { "behind" } else { "during" };
                format!("user {user}: tap {slot} {when} rain {rain} was refused: {failure:?}")
            }),
            Some(Request::Join) => context
                .checks
                .violations
                .note(|| format!("user {user}: the room was refused: {failure:?}")),
        }
    }

    fn notification(&mut self, notification: proto::Notification, context: &mut Context<'_>) {
        let server_time_ms = notification.server_time_ms;
        if let (Some(stamp), Some((_, last))) = (&notification.stamp, notification.span()) {
            self.record.stamped(stamp, last, context.checks);
        }
        match notification.payload {
            Some(Notice::Question(question)) => {
                let stamped = notification.stamp.is_some();
                self.shown(&question, stamped, context);
            }
            Some(Notice::SealedQuestion(sealed)) => {
                if let Some(question) = self.record.sealed_question(sealed, context.checks) {
                    self.shown(&question, false, context);
                }
            }
            Some(Notice::QuestionKey(key)) => {
                let stamped = notification.stamp.is_some();
                // Without the sealed question it comes whole.
                if let Some(question) = self.record.question_key(key, context.checks) {
                    self.shown(&question, stamped, context);
                }
            }
            Some(Notice::QuestionExtended(extended)) => self.record.extended(&extended),
            Some(Notice::Reveal(reveal)) => {
                self.check_all_answered(reveal.question, context);
                self.record.reveal(&reveal, server_time_ms, context.checks);
            }
            Some(Notice::Snapshot(snapshot)) => {
                self.record.snapshot(&snapshot, server_time_ms, context.checks);
                if !std::mem::replace(&mut self.has_joined, true) {
                    context.deeds.joined += 1;
                }
            }
            Some(Notice::Result(result)) => self.record.result(&result, context.checks),
            Some(Notice::Settled(settled)) => {
                self.record.settled(&settled, context.checks);
                if Script::looks_at_prize(self.record.user()) && self.stage == Stage::InRoom {
                    self.ask_for_room(context);
                }
            }
            Some(Notice::Gap(gap)) => self.record.gap(&gap, context.checks),
            Some(Notice::Rain(rain)) => self.rain(&rain, context),
            Some(
                Notice::ShowState(_)
                | Notice::RoomMessage(_)
                | Notice::RoomBatch(_)
                | Notice::RoomInfo(_)
                | Notice::RoomClosed(_)
                // What lies here is never opened, and the next seal takes its place.
                | Notice::QuestionWithdrawn(_)
                | Notice::GiftShown(_),
            ) => {}
            other @ (Some(Notice::QuestionVoided(_) | Notice::Rejudged(_)) | None) => {
                let user = self.record.user();
                context.checks.violations.note(|| format!("user {user}: nobody ordered {other:?}"));
            }
        }
    }

    /// A question is here, whole or by its key.
    fn shown(&mut self, question: &proto::Question, stamped: bool, context: &mut Context<'_>) {
        let shown = Shown {
            at: context.now,
            server_ms: self.server_ms(context),
            stamped: stamped && self.stage == Stage::InRoom,
        };
        if self.record.question(question, shown, context.checks) {
            self.begin_question(question, context);
        }
    }

    /// By the reveal everything that was asked has its answer, and no older connection is left.
    fn check_all_answered(&mut self, question: u32, context: &mut Context<'_>) {
        let user = self.record.user();
        // What was asked on a connection that broke may be lost with it.
        self.requests.retain(|asked| asked.connection == self.connection);
        let (requests, nonsense) = (&self.requests, &self.nonsense);
        context.checks.violations.check(requests.is_empty() && nonsense.is_empty(), || {
            format!(
                "user {user}: at the reveal of question {question} there is no answer to \
                 {requests:?} {nonsense:?}"
            )
        });
        let older = self.older.is_some();
        context.checks.violations.check(!older, || {
            format!("user {user}: the older connection is still open at reveal {question}")
        });
        self.requests.clear();
        self.nonsense.clear();
    }

    /// The encoding that the client speaks.
    #[must_use]
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }
}
