//! What is printed: a line of English for each message, or one of JSON.

use std::fmt::Write as _;

use serde_json::json;

use crate::base::ids::{OptionIndex, QuestionIndex, ShowId, UserId};
use crate::ops::connect::results::{Opened, Results};
use crate::quiz::verdict::Verdict;
use crate::wire::close::{CloseReason, Reconnect};
use crate::wire::proto;
use proto::notification::Payload as Notice;
use proto::response::Payload as Response;

/// Makes lines.
pub(super) struct Lines {
    json: bool,
    results: Results,
}

impl Lines {
    pub(super) fn new(json: bool) -> Lines {
        Lines { json, results: Results::default() }
    }

    /// Something that this client did or noticed by itself.
    pub(super) fn event(&self, event: &str, text: &str) -> String {
        if self.json {
            json!({ "event": event, "text": text }).to_string()
        } else {
            format!("* {text}")
        }
    }

    /// The end of a connection, and what follows from it.
    pub(super) fn disconnected(
        &self,
        code: Option<u16>,
        text: &str,
        back_ms: Option<u64>,
    ) -> String {
        let reason = code.and_then(CloseReason::from_code);
        if self.json {
            return json!({
                "event": "disconnected",
                "code": code,
                "name": reason.map(CloseReason::name),
                "text": text,
                "reconnect_ms": back_ms,
            })
            .to_string();
        }
        let mut line = match (reason, code) {
            (Some(reason), _) => format!("* closed with {reason}: {}", reason.meaning()),
            (None, Some(code)) => format!("* closed with {code} {text}"),
            (None, None) => format!("* the connection broke {text}").trim_end().to_owned(),
        };
        if let Some(back_ms) = back_ms {
            let _ = write!(line, " Back in {back_ms} ms.");
        } else if reason.is_some_and(|reason| reason.reconnect() == Reconnect::WithNewToken) {
            line += " Start again with a new token.";
        }
        line
    }

    /// A message of the gateway; several lines, or none, may tell of it.
    pub(super) fn frame(&mut self, user: UserId, frame: &proto::ServerFrame) -> Vec<String> {
        let mut lines = Vec::new();
        if self.json {
            match serde_json::to_string(frame) {
                Ok(line) => lines.push(line),
                Err(error) => lines.push(self.event("error", &error.to_string())),
            }
        } else {
            lines.extend(line_of(frame));
        }
        let opened = self.results.learn(user, frame);
        lines.extend(opened.iter().map(|opened| self.opened(opened)));
        lines
    }

    /// A question that came sealed and was opened here.
    pub(super) fn question(&self, question: &proto::Question) -> String {
        if self.json {
            json!({ "event": "question", "question": question }).to_string()
        } else {
            question_line(question)
        }
    }

    /// A result, as soon as its key is known.
    fn opened(&self, opened: &Opened) -> String {
        let Opened { show, question, outcome } = opened;
        let text = match outcome {
            Ok(record) => match record.verdict {
                Verdict::Passed => "you passed".to_owned(),
                Verdict::Revived(failing) => format!("{failing:?}: saved by your revive card"),
                Verdict::Out(failing) => format!("{failing:?}: you are out"),
            },
            Err(error) => error.clone(),
        };
        self.event("verdict", &format!("question {} of show {show}: {text}", question.0))
    }
}

/// One line for a person; nothing for what a person need not see.
fn line_of(frame: &proto::ServerFrame) -> Option<String> {
    use proto::business::Body as Business;
    use proto::server_frame::Body;
    if let Some(failure) = &frame.failure {
        let mut line = format!("! {}: {}", reason_name(failure.reason()), failure.message);
        if failure.retry_after_ms > 0 {
            let _ = write!(line, " (again in {} ms)", failure.retry_after_ms);
        }
        return Some(line);
    }
    match frame.body.as_ref()? {
        Body::Session(session) => Some(format!("* you are user {}", session.user_id)),
        Body::Business(business) => match business.body.as_ref()? {
            Business::Response(response) => response_line(response.payload.as_ref()?),
            Business::Notification(notification) => notice_line(notification.payload.as_ref()?),
            Business::Request(_) => None,
        },
        Body::Heartbeat(_) | Body::ErrorCode(_) => None,
    }
}

fn reason_name(reason: proto::Reason) -> &'static str {
    reason.as_str_name().trim_start_matches("REASON_")
}

fn response_line(payload: &Response) -> Option<String> {
    Some(match payload {
        Response::Joined(joined) if joined.resumed => {
            format!("* in room {} again, where you were", joined.room_id)
        }
        Response::Joined(joined) => format!("* in room {}", joined.room_id),
        Response::Left(left) => format!("* left room {}", left.room_id),
        Response::ChatPublished(published) => {
            format!("* said, number {}", published.stamp.as_ref()?.version)
        }
        Response::Liked(liked) => format!("* liked {} times", liked.count),
        Response::Published(_) => return None,
        Response::Grabbed(it) if it.cents == 0 => format!("* tap {}: no packet", it.slot),
        Response::Grabbed(it) => format!("* tap {}: a packet with {} cents", it.slot, it.cents),
        Response::Withdrawal(it) => {
            format!("* {} cents are on their way; {} are left", it.cents, it.balance_cents)
        }
        Response::Given(it) => format!("* given; {} cents are left", it.balance_cents),
        Response::Redeemed(it) => {
            format!("* invited by user {}, {} revive cards", it.inviter_id, it.cards)
        }
        Response::Purse(it) => format!(
            "* {} cents, {} revive cards; your invitation code is {}",
            it.balance_cents, it.revive_cards, it.invitation_code
        ),
        Response::AnswerReceived(received) if received.result.is_some() => {
            "* your answer is on record".to_owned()
        }
        Response::AnswerReceived(_) => "* your answer is on record, but came late".to_owned(),
        Response::RetryAnswer(retry) => {
            format!("* the gateway is busy: your answer goes again in {} ms", retry.retry_after_ms)
        }
    })
}

fn notice_line(payload: &Notice) -> Option<String> {
    Some(match payload {
        Notice::RoomMessage(message) => room_line(message),
        Notice::RoomBatch(batch) => {
            let info = batch.info.as_ref().map(info_line);
            let lines: Vec<String> = batch.messages.iter().map(room_line).chain(info).collect();
            return (!lines.is_empty()).then(|| lines.join("\n"));
        }
        Notice::RoomInfo(info) => info_line(info),
        Notice::RoomClosed(closed) => format!("* room {} has ended", closed.room_id),
        Notice::Gap(gap) => format!(
            "* missed {} messages of lane {}",
            (gap.last_missing + 1).saturating_sub(gap.first_missing),
            gap.lane().as_str_name().trim_start_matches("LANE_").to_lowercase()
        ),
        Notice::Question(question) => question_line(question),
        Notice::SealedQuestion(it) => format!("* question {} is here, sealed", it.question),
        Notice::QuestionKey(it) => format!("* the key of question {}", it.question),
        Notice::QuestionWithdrawn(it) => format!("* question {} was taken back", it.question),
        Notice::QuestionExtended(it) => format!("* question {}: more time", it.question),
        Notice::QuestionVoided(it) => format!("* question {} counts for nobody", it.question),
        Notice::Reveal(reveal) => {
            let counts: Vec<String> = reveal.option_counts.iter().map(u64::to_string).collect();
            format!(
                "* question {}: option {} is right; chosen by {}; {} in the game",
                reveal.question,
                reveal.correct_option,
                counts.join(", "),
                reveal.in_play
            )
        }
        Notice::Rejudged(it) => {
            format!("* question {}: option {} is right after all", it.question, it.correct_option)
        }
        Notice::Settled(it) => format!(
            "* {} winners, {} cents each, {} cents left over",
            it.winners, it.per_head_cents, it.remainder_cents
        ),
        Notice::ShowState(state) => state_line(state),
        Notice::Snapshot(snapshot) => {
            let standing = snapshot.standing().as_str_name().trim_start_matches("STANDING_");
            let standing = standing.to_lowercase().replace('_', " ");
            let state = snapshot.show.as_ref().map_or(String::new(), state_line);
            format!("{state}; you: {standing}, {} revive cards", snapshot.revive_cards)
        }
        Notice::Rain(rain) => rain_line(rain),
        Notice::GiftShown(gift) => format!("* user {} gives {}", gift.user_id, gift.kind),
        Notice::Result(_) => return None,
    })
}

fn rain_line(rain: &proto::Rain) -> String {
    let proto::Rain { rain: number, packets, pool_cents, grabbed, paid_cents, .. } = rain;
    let what = match rain.phase() {
        proto::RainPhase::Ended => {
            format!("{grabbed} packets with {paid_cents} cents were grabbed")
        }
        proto::RainPhase::Closing => "over".to_owned(),
        proto::RainPhase::Falling => format!("falls now: {packets} packets, {pool_cents} cents"),
        proto::RainPhase::Announced | proto::RainPhase::Unspecified => {
            format!("{packets} packets, {pool_cents} cents, to come")
        }
    };
    format!("* red-packet rain {number}: {what}")
}

fn room_line(message: &proto::RoomMessage) -> String {
    if let Some(likes) = &message.likes {
        return format!("* {} likes, {} in all", likes.count, likes.total);
    }
    let opaque = String::from_utf8_lossy(&message.data);
    let text = if message.text.is_empty() { &*opaque } else { message.text.as_str() };
    let who = if message.user_id == 0 { "service".into() } else { message.user_id.to_string() };
    format!("<{who}> {}", printable(text))
}

fn info_line(info: &proto::RoomInfo) -> String {
    format!("* {} in room {}", info.online, info.room_id)
}

fn question_line(question: &proto::Question) -> String {
    let mut line = format!("? question {}: {}", question.question, printable(&question.text));
    for (index, option) in question.options.iter().enumerate() {
        let _ = write!(line, "  [{index}] {}", printable(option));
    }
    line
}

fn state_line(state: &proto::ShowState) -> String {
    let phase = state.phase().as_str_name().trim_start_matches("PHASE_").to_lowercase();
    format!("* show {} \"{}\": {phase}", state.show_id, printable(&state.title))
}

/// What others say must not steer a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

/// The place of a question in its show, if there can be one.
pub(super) fn place(show: u64, question: u32) -> Option<(ShowId, QuestionIndex)> {
    u16::try_from(question).ok().map(|question| (ShowId(show), QuestionIndex(question)))
}

/// An option's place, if there can be one.
pub(super) fn option(option: u32) -> Option<OptionIndex> {
    u8::try_from(option).ok().map(OptionIndex)
}
