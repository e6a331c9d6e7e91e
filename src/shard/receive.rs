//! From bytes to requests: the upgrade, frames, and who may say what in which state.

use std::ops::ControlFlow;

use bytes::Bytes;

use crate::base::ids::{ConnId, RoomId, UserId};
use crate::base::time::Time;
use crate::room::lane::Position;
use crate::shard::Shard;
use crate::shard::conn::{ConnForm, Flags, JoinWish, clock_ms};
use crate::shard::input::Effect;
use crate::shard::limits::Counted;
use crate::shard::messages;
use crate::shard::session::{Event, State};
use crate::wire::close::CloseReason;
use crate::wire::codec::{
    self, ERROR_BUSINESS_FAILED, ERROR_TOKEN_REFUSED, Encoding, TYPE_AUTHENTICATE, TYPE_BUSINESS,
    TYPE_HEARTBEAT,
};
use crate::wire::frame::{self, Control, Data, OpCode};
use crate::wire::message::Message;
use crate::wire::proto;
use crate::wire::short::is_short;
use crate::wire::upgrade::{self, Upgrade, UpgradeError, UpgradeRequest};

impl Shard {
    /// Bytes came from a client.
    pub(crate) fn received(&mut self, id: ConnId, bytes: &mut [u8], arrived: Time) {
        let now_ms = clock_ms(self.now);
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        if conn.state.has_user() {
            conn.clock_ms = now_ms;
        }
        if conn.state == State::Connecting {
            self.handshake(id, bytes, arrived);
        } else {
            self.frames(id, bytes, arrived);
        }
    }

    fn handshake(&mut self, id: ConnId, bytes: &[u8], arrived: Time) {
        let default_encoding = Encoding::Proto;
        if self.drops_input(id) {
            return;
        }
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        let mut request = std::mem::take(&mut conn.entry_mut().request);
        let begins = request.is_empty();
        request.extend_from_slice(bytes);
        if is_short(&request) {
            return self.short_request(id, request, arrived);
        }
        let bytes_max = self.config.limits.upgrade_bytes_max;
        // What ends no line completes no request: a client that sends byte by byte is not read from
        // the beginning for each.
        if !begins && request.len() < bytes_max && !bytes.contains(&b'\n') {
            conn.entry_mut().request = request;
            return;
        }
        let window = request.len().min(bytes_max);
        match upgrade::parse(&request[..window], default_encoding) {
            Upgrade::Incomplete if request.len() < bytes_max => conn.entry_mut().request = request,
            Upgrade::Incomplete => {
                self.refuse_upgrade(id, UpgradeError::HeadersBeyond { bytes_max });
            }
            Upgrade::Rejected { response, .. } => {
                self.counters.upgrades_refused += 1;
                self.end(id, Bytes::from(response));
            }
            Upgrade::Complete { .. } if self.is_stopping => {
                self.refuse_upgrade(id, UpgradeError::Stopping);
            }
            Upgrade::Complete { request, .. }
                if !self.is_origin_allowed(request.origin.as_deref()) =>
            {
                self.counters.origins_refused += 1;
                self.refuse_upgrade(id, UpgradeError::Origin);
            }
            Upgrade::Complete { request: mut upgrade, consumed } => {
                upgrade.deflate =
                    upgrade.deflate.filter(|_| self.config.downlink.compression.enabled);
                self.upgraded(id, &upgrade);
                let mut rest = request.split_off(consumed);
                if !rest.is_empty() {
                    self.frames(id, &mut rest, arrived);
                }
            }
        }
    }

    fn refuse_upgrade(&mut self, id: ConnId, error: UpgradeError) {
        self.counters.upgrades_refused += 1;
        self.end(id, Bytes::from(error.response()));
    }

    fn upgraded(&mut self, id: ConnId, request: &UpgradeRequest) {
        self.counters.upgrades += 1;
        let now_ms = clock_ms(self.now);
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        conn.state = conn.state.next(Event::Upgrade).unwrap_or(conn.state);
        conn.clock_ms = now_ms;
        conn.form = ConnForm::new(request.encoding, request.deflate);
        conn.form.note_seals(request.opens_seals);
        self.reply(id, |out| out.extend_from_slice(&upgrade::accept_response(request)));
        let join = request.room.map(|room| JoinWish {
            room,
            resume: request.resume.map(|resume| Position {
                epoch: resume.epoch,
                seen: [resume.high, resume.mid, resume.low],
            }),
            sequence: String::new(),
        });
        match (&request.token, self.conns.get_mut(id)) {
            (Some(token), _) => self.authenticate(id, UserId(0), token, join),
            // It waits for the token that comes in the first frame.
            (None, Some(conn)) if join.is_some() => conn.entry_mut().join = join,
            (None, _) => {}
        }
    }

    fn frames(&mut self, id: ConnId, bytes: &mut [u8], arrived: Time) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        let mut pending = conn.pending.take();
        let decoder = self.config.decoder;
        let mut inflater = conn.form.may_inflate().then(|| self.codecs.take_inflater());
        let decoded =
            decoder.decode_with(&mut pending, inflater.as_deref_mut(), bytes, |message| {
                self.message(id, message, arrived)
            });
        if let Some(inflater) = inflater {
            self.codecs.return_inflater(inflater);
        }
        // The connection may have ended, or begun to close, while its messages were handled.
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        conn.pending = pending;
        if let Err(error) = decoded {
            self.counters.protocol_errors += 1;
            self.fail(id, error.close_reason(), &error.to_string());
        }
    }

    fn message(&mut self, id: ConnId, message: Message<'_>, arrived: Time) -> ControlFlow<()> {
        let Some(conn) = self.conns.get(id) else {
            return ControlFlow::Break(());
        };
        if conn.state == State::Closing {
            return match message {
                Message::Close(_) => {
                    self.end(id, Bytes::new());
                    ControlFlow::Break(())
                }
                _ => ControlFlow::Continue(()),
            };
        }
        self.counters.messages_received += 1;
        match self.count_message(id, &message) {
            Counted::Within => {}
            Counted::AnswersOnly => return self.answer_only(id, &message, arrived),
            Counted::TooMuch => return ControlFlow::Break(()),
        }
        match message {
            Message::Ping(data) => {
                self.reply(id, |out| {
                    frame::encode_frame(OpCode::Control(Control::Pong), data, out)
                });
            }
            Message::Pong(_) => {}
            Message::Close(reason) => {
                self.peer_closes(id, reason.map(|reason| reason.code));
                return ControlFlow::Break(());
            }
            Message::Text(text) if self.config.echo => {
                self.echo(id, Data::Text, text.as_bytes());
            }
            Message::Binary(data) if self.config.echo => self.echo(id, Data::Binary, data),
            Message::Text(_) | Message::Binary(_) => return self.data(id, &message, arrived),
        }
        ControlFlow::Continue(())
    }

    fn echo(&mut self, id: ConnId, kind: Data, data: &[u8]) {
        let mut plain = Vec::new();
        frame::encode_frame(OpCode::Data(kind), data, &mut plain);
        let window_bits = self.conns.get(id).and_then(|conn| conn.form.window_bits());
        let frame = match window_bits {
            Some(window_bits) => self.codecs.deflated_within(window_bits, plain),
            None => Bytes::from(plain),
        };
        self.reply(id, |out| out.extend_from_slice(&frame));
    }

    fn data(&mut self, id: ConnId, message: &Message<'_>, arrived: Time) -> ControlFlow<()> {
        let Some(encoding) = self.encoding(id) else {
            return ControlFlow::Break(());
        };
        match codec::decode_client(encoding, message) {
            Ok(frame) => self.client_frame(id, frame, arrived),
            Err(error) if error.close_reason() == CloseReason::Unsupported => {
                self.counters.protocol_errors += 1;
                self.fail(id, CloseReason::Unsupported, &error.to_string());
                return ControlFlow::Break(());
            }
            Err(error) => {
                self.counters.messages_malformed += 1;
                let failure = messages::failure(proto::Reason::Malformed, &error.to_string());
                self.send(id, &messages::failed(TYPE_BUSINESS, ERROR_BUSINESS_FAILED, failure));
            }
        }
        ControlFlow::Continue(())
    }

    pub(crate) fn client_frame(&mut self, id: ConnId, frame: proto::ClientFrame, arrived: Time) {
        match frame.r#type {
            TYPE_HEARTBEAT => self.heartbeat(id, frame.heartbeat),
            TYPE_AUTHENTICATE => {
                let conn = self.conns.get_mut(id).filter(|conn| !conn.state.has_user());
                let join = conn.and_then(|conn| conn.entry.as_mut()?.join.take());
                self.authenticate(id, UserId(frame.user_id), &frame.token, join);
            }
            TYPE_BUSINESS => {
                if self.is_same_user(id, &frame) {
                    self.business(id, frame.business, arrived);
                }
            }
            other => {
                self.counters.messages_malformed += 1;
                let text = format!("type {other} is not known; -1, 0 and 1 are");
                let failure = messages::failure(proto::Reason::UnknownType, &text);
                self.send(id, &messages::failed(other, ERROR_BUSINESS_FAILED, failure));
            }
        }
    }

    fn heartbeat(&mut self, id: ConnId, heartbeat: Option<proto::Heartbeat>) {
        // Not the arrival stamp: that one favours the player and may lie well before the arrival.
        let now_ms = self.clock.unix_ms(self.now);
        let heartbeat = proto::Heartbeat {
            server_received_ms: now_ms,
            server_sent_ms: now_ms,
            ..heartbeat.unwrap_or_default()
        };
        let body = proto::server_frame::Body::Heartbeat(heartbeat);
        self.send(id, &messages::done(TYPE_HEARTBEAT, body));
    }

    /// The user's home made this connection the user's session.
    pub(crate) fn session_confirmed(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        let Some(next) = conn.state.next(Event::Confirm) else {
            return;
        };
        conn.state = next;
        let wish = conn.entry.take().and_then(|entry| entry.join);
        self.tell_session(id);
        if let Some(wish) = wish {
            self.join(id, wish);
        }
    }

    /// A newer session took this one's place; what it had received is still judged.
    pub(crate) fn session_replaced(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        conn.flags.set(Flags::REPLACED);
        self.effects.push(Effect::ReadOut { conn: id });
    }

    /// All that a connection had received has been handled.
    pub(crate) fn read_out(&mut self, id: ConnId) {
        let replaced = self.conns.get(id).is_some_and(|conn| conn.flags.has(Flags::REPLACED));
        if replaced {
            self.counters.sessions_replaced += 1;
            self.close(id, CloseReason::Replaced);
        }
    }

    /// A user id or token in a later frame must be the session's.
    fn is_same_user(&mut self, id: ConnId, frame: &proto::ClientFrame) -> bool {
        let check =
            if frame.token.is_empty() { None } else { Some(self.token_check(&frame.token)) };
        let Some(conn) = self.conns.get(id) else {
            return false;
        };
        let failure = if !conn.state.has_user() {
            messages::failure(proto::Reason::NotAuthenticated, "authenticate first")
        } else if frame.user_id != 0 && frame.user_id != conn.user.0
            || check.is_some_and(|check| check != conn.token_check)
        {
            let text = "the session belongs to another user or token";
            messages::failure(proto::Reason::IdentityMismatch, text)
        } else {
            return true;
        };
        let sequence = frame.business.as_ref().map_or("", |business| &business.sequence);
        let known = sequence.len() <= crate::base::limits::SEQUENCE_BYTES_MAX;
        let sequence = if known { sequence.to_owned() } else { String::new() };
        let failure = proto::Failure { sequence, ..failure };
        self.send(id, &messages::failed(frame.r#type, ERROR_TOKEN_REFUSED, failure));
        false
    }

    fn business(&mut self, id: ConnId, business: Option<proto::Business>, arrived: Time) {
        use proto::request::Payload;
        let Some(business) = business else {
            let failure = messages::failure(proto::Reason::Malformed, "business is missing");
            return self.refuse(id, "", failure);
        };
        let sequence = business.sequence;
        if sequence.len() > crate::base::limits::SEQUENCE_BYTES_MAX {
            let failure = messages::failure(proto::Reason::TooLarge, "sequence is too long");
            return self.refuse(id, "", failure);
        }
        let request = match business.body {
            Some(proto::business::Body::Request(request)) => request.payload,
            _ => None,
        };
        match request {
            Some(Payload::Join(join)) => self.join_request(id, sequence, &join),
            Some(Payload::Leave(_)) => self.leave(id, &sequence),
            Some(Payload::Publish(publish)) => self.publish(id, sequence, &publish),
            Some(Payload::Chat(chat)) => self.chat(id, sequence, &chat),
            Some(Payload::Like(like)) => self.like(id, &sequence, like),
            Some(Payload::Answer(answer)) => self.quiz_answer(id, sequence, &answer, arrived),
            Some(Payload::Grab(grab)) => self.quiz_grab(id, sequence, &grab),
            Some(Payload::Withdraw(ask)) => self.quiz_withdraw(id, sequence, &ask),
            Some(Payload::Give(ask)) => self.quiz_give(id, sequence, &ask),
            Some(Payload::Redeem(ask)) => self.quiz_redeem(id, sequence, &ask),
            Some(Payload::AskPurse(_)) => self.quiz_purse(id, sequence),
            None => {
                let text = "business carries no request that this gateway knows";
                let failure = messages::failure(proto::Reason::UnknownType, text);
                self.refuse(id, &sequence, failure);
            }
        }
    }

    fn join_request(&mut self, id: ConnId, sequence: String, join: &proto::Join) {
        let resume = (join.epoch != 0)
            .then(|| Position { epoch: join.epoch, seen: messages::seen(&join.positions) });
        let wish = JoinWish { room: RoomId(join.room_id), resume, sequence };
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        conn.form.note_seals(join.opens_seals);
        if conn.state == State::Confirming {
            // A client need not wait for the answer to its token: the wish waits for it.
            self.drop_wish(id);
            if let Some(conn) = self.conns.get_mut(id) {
                conn.entry_mut().join = Some(wish);
            }
        } else {
            self.join(id, wish);
        }
    }

    /// A business request failed.
    pub(crate) fn refuse(&mut self, id: ConnId, sequence: &str, failure: proto::Failure) {
        let failure = proto::Failure { sequence: sequence.into(), ..failure };
        self.send(id, &messages::failed(TYPE_BUSINESS, ERROR_BUSINESS_FAILED, failure));
    }

    /// A business request succeeded.
    pub(crate) fn respond(
        &mut self,
        id: ConnId,
        sequence: &str,
        payload: proto::response::Payload,
    ) {
        let frame = messages::response(self.clock.unix_ms(self.now), sequence, payload);
        self.send(id, &frame);
    }

    /// Something that only this connection is told.
    pub(crate) fn notify(&mut self, id: ConnId, payload: proto::notification::Payload) {
        let frame = messages::notification(self.clock.unix_ms(self.now), None, payload);
        self.send(id, &frame);
    }

    /// A frame for this connection, behind what waits for it; on a short one, its response.
    pub(crate) fn send(&mut self, id: ConnId, frame: &proto::ServerFrame) {
        if self.is_short(id) {
            self.short_send(id, frame);
        } else if let Some(encoding) = self.encoding(id) {
            self.reply(id, |out| codec::encode_server(encoding, frame, out));
        }
    }

    pub(crate) fn encoding(&self, id: ConnId) -> Option<Encoding> {
        self.conns.get(id).map(|conn| conn.form.encoding())
    }
}
