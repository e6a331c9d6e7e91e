//! Short connections: what may be asked by plain HTTP on the clients' address, and the replies.
//!
//! A short connection stays in [`State::Connecting`]: it is nobody's session and takes nobody's
//! place, whatever session its user has. It has one request at a time. What a request asks for is
//! done by the same code as on a WebSocket, with the same arrival stamp; whatever that code sends
//! to the connection comes by [`Shard::short_send`] and becomes the one response. A response that
//! promises something therefore waits for the journal as it does on a WebSocket.

mod assets;

use bytes::Bytes;

use crate::base::ids::{ConnId, RoomId, UserId};
use crate::base::time::Time;
use crate::shard::Shard;
use crate::shard::conn::{Flags, clock_ms};
use crate::shard::messages;
use crate::shard::session::State;
use crate::shard::short::assets::Asset;
use crate::wire::codec::{CodecError, Encoding};
use crate::wire::proto;
use crate::wire::short::{self, CONTINUE, Pages, Reply, Short, ShortRequest, cut_body, status_of};
use crate::wire::upgrade::UpgradeError;

/// How long who asks too often is told to wait: until the next second has begun.
const TOO_MUCH_WAIT_MS: u32 = 1_000;

/// What a connection needs only while it is a short one.
pub(crate) struct ShortConn {
    /// Of the request, and so of its response.
    encoding: Encoding,
    /// In the path of the request.
    room: Option<RoomId>,
    keep_alive: bool,
    /// Which pages may read the response.
    pages: Pages,
    /// The response has no body.
    is_head: bool,
    /// A request is being handled.
    is_waiting: bool,
    /// The client was told to send its body.
    is_continued: bool,
}

/// What can be asked for by `POST`. Another one is a path in [`Post::at`] and an arm in
/// [`Shard::short_post`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Post {
    /// An answer to a question.
    Answers,
    /// A tap at a red-packet rain.
    Grabs,
    /// Money out of the balance.
    Withdrawals,
    /// By whom one was invited.
    Invitations,
    /// What one has.
    Purse,
    /// A gift to a room.
    Gifts(RoomId),
    /// A text to be said in a room.
    Chat(RoomId),
    /// Likes for a room.
    Likes(RoomId),
    /// Opaque data for a room.
    Publish(RoomId),
}

impl Post {
    fn at(path: &str) -> Option<Post> {
        let mut parts = path.strip_prefix("/v1/")?.split('/');
        let found = match (parts.next()?, parts.next(), parts.next()) {
            ("answers", None, None) => Post::Answers,
            ("grabs", None, None) => Post::Grabs,
            ("withdrawals", None, None) => Post::Withdrawals,
            ("invitations", None, None) => Post::Invitations,
            ("purse", None, None) => Post::Purse,
            ("rooms", Some(room), Some("gifts")) => Post::Gifts(room_of(room)?),
            ("rooms", Some(room), Some("chat")) => Post::Chat(room_of(room)?),
            ("rooms", Some(room), Some("likes")) => Post::Likes(room_of(room)?),
            ("rooms", Some(room), Some("publish")) => Post::Publish(room_of(room)?),
            _ => return None,
        };
        parts.next().is_none().then_some(found)
    }

    /// The room in which it speaks.
    fn room(self) -> Option<RoomId> {
        match self {
            Post::Answers | Post::Grabs | Post::Withdrawals | Post::Invitations | Post::Purse => {
                None
            }
            Post::Chat(room) | Post::Likes(room) | Post::Publish(room) | Post::Gifts(room) => {
                Some(room)
            }
        }
    }
}

impl Shard {
    /// Bytes came that do not ask for a WebSocket: all that is here of a request.
    pub(crate) fn short_request(&mut self, id: ConnId, request: Vec<u8>, arrived: Time) {
        match short::parse(&request) {
            Short::Incomplete { waits } => {
                let Some(conn) = self.conns.get_mut(id) else { return };
                let entry = conn.entry_mut();
                entry.request = request;
                let short = entry.short.get_or_insert_with(ShortConn::new);
                if waits && !std::mem::replace(&mut short.is_continued, true) {
                    self.reply(id, |out| out.extend_from_slice(CONTINUE));
                }
            }
            Short::Broken(error) => {
                let pages = self.pages_for(None);
                self.begin_short(id, ShortConn { is_waiting: true, pages, ..ShortConn::new() });
                let failure = messages::failure(error.reason(), &error.to_string());
                self.short_fail(id, error.status(), &failure);
            }
            Short::Complete(request) => self.serve_short(id, &request, arrived),
        }
    }

    /// True if a connection is about its last request, so that whatever comes is dropped.
    pub(crate) fn drops_input(&mut self, id: ConnId) -> bool {
        let Some(conn) = self.conns.get_mut(id) else { return true };
        if conn.flags.has(Flags::CLOSE_WHEN_SENT) {
            return true;
        }
        let short = conn.entry.as_mut().and_then(|entry| entry.short.as_mut());
        let Some(short) = short.filter(|short| short.is_waiting) else { return false };
        // One request at a time: who does not wait is told by the end of the connection that
        // nothing behind this request was read (RFC 9112 §9.3.2).
        short.keep_alive = false;
        true
    }

    /// The response to the request that a short connection waits for.
    pub(crate) fn short_send(&mut self, id: ConnId, frame: &proto::ServerFrame) {
        use proto::{business::Body, response::Payload, server_frame};
        let response = match &frame.body {
            Some(server_frame::Body::Business(business)) => match &business.body {
                Some(Body::Response(response)) => response,
                _ => return,
            },
            _ => {
                let failure = frame.failure.clone().unwrap_or_default();
                return self.short_fail(id, status_of(failure.reason()), &failure);
            }
        };
        let Some(short) = self.waiting_short(id) else { return };
        let reply = match &response.payload {
            Some(Payload::RetryAnswer(retry)) => Reply::new(429).retry_after(retry.retry_after_ms),
            _ => Reply::new(200),
        };
        let encoding = short.encoding;
        let reply = reply.readable_by(&short.pages).header("Cache-Control", "no-store");
        self.short_reply(id, reply, |reply| reply.with_message(encoding, response));
    }

    /// A connection that is no WebSocket was silent for too long: a request that waits is
    /// answered, and anything else ends it.
    pub(crate) fn short_overdue(&mut self, id: ConnId) {
        if self.waiting_short(id).is_some() {
            let text = "this took too long, and may be done or not: ask again";
            self.short_fail(id, 504, &messages::failure(proto::Reason::Unspecified, text));
        } else {
            self.end(id, Bytes::new());
        }
    }

    /// Ends a connection that is no WebSocket, behind the response that it waits for.
    pub(crate) fn end_short(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        let is_sending = conn.flags.has(Flags::REPLYING) || conn.spill.is_some();
        match conn.entry.as_mut().and_then(|entry| entry.short.as_mut()) {
            Some(short) if short.is_waiting => short.keep_alive = false,
            Some(_) if is_sending => conn.flags.set(Flags::CLOSE_WHEN_SENT),
            Some(_) | None => self.end(id, Bytes::new()),
        }
    }

    fn serve_short(&mut self, id: ConnId, request: &ShortRequest<'_>, arrived: Time) {
        let keep_alive = request.keep_alive && !self.is_stopping && self.leaving.is_none();
        let encoding = request.encoding.unwrap_or(Encoding::Json);
        let asset = Asset::at(request.path);
        let post = Post::at(request.path);
        let room = post.and_then(Post::room);
        let is_head = request.method == "HEAD";
        let short = ShortConn {
            encoding,
            room,
            keep_alive,
            pages: self.pages_for(request.origin),
            is_head,
            is_waiting: true,
            is_continued: false,
        };
        self.begin_short(id, short);
        if self.is_stopping {
            let text = "This gateway is stopping. Ask another one, or this one in a while.";
            let failure = messages::failure(proto::Reason::Unspecified, text);
            return self.short_fail(id, 503, &failure);
        }
        if !self.count_short(id, post == Some(Post::Answers)) {
            return self.short_too_much(id);
        }
        // What a page of another origin posts does something, readable or not; a file may be had.
        let is_posted = post.is_some() && asset.is_none();
        if is_posted && !self.is_origin_allowed(request.origin) {
            self.counters.origins_refused += 1;
            let text = UpgradeError::Origin.to_string();
            let failure = messages::failure(proto::Reason::Unspecified, &text);
            return self.short_fail(id, UpgradeError::Origin.status(), &failure);
        }
        match (request.method, asset, post) {
            ("GET" | "HEAD", Some(asset), _) => self.short_asset(id, asset, request),
            ("POST", _, Some(post)) => self.short_post(id, post, request, arrived),
            ("OPTIONS", Some(_), _) => self.short_preflight(id, "GET, HEAD"),
            ("OPTIONS", _, Some(_)) => self.short_preflight(id, "POST"),
            (_, Some(_), _) => self.short_refuse_method(id, "GET, HEAD, OPTIONS"),
            (_, _, Some(_)) => self.short_refuse_method(id, "POST, OPTIONS"),
            (_, None, None) => {
                let text = "There is nothing here. The WebSocket is at /ws, the JavaScript client \
                            at /tidegate.js, a page to play at /play; answers go to POST \
                            /v1/answers.";
                let failure = messages::failure(proto::Reason::UnknownType, text);
                self.short_fail(id, 404, &failure);
            }
        }
    }

    fn begin_short(&mut self, id: ConnId, short: ShortConn) {
        self.counters.short_requests += 1;
        let now_ms = clock_ms(self.now);
        if let Some(conn) = self.conns.get_mut(id) {
            conn.clock_ms = now_ms;
            conn.entry_mut().short = Some(short);
        }
    }

    fn short_post(&mut self, id: ConnId, post: Post, request: &ShortRequest<'_>, arrived: Time) {
        let Some(encoding) = request.encoding else {
            let text = "Send Content-Type: application/json or application/x-protobuf.";
            let failure = messages::failure(proto::Reason::Malformed, text);
            return self.short_fail(id, 415, &failure);
        };
        if let Err(failure) = self.short_authenticate(id, post, request.token) {
            self.counters.tokens_refused += 1;
            return self.short_fail(id, status_of(failure.reason()), &failure);
        }
        let read = match post {
            Post::Answers => request.message::<proto::Answer>(encoding).map(|answer| {
                self.quiz_answer(id, String::new(), &answer, arrived);
            }),
            Post::Grabs => request
                .message::<proto::Grab>(encoding)
                .map(|grab| self.quiz_grab(id, String::new(), &grab)),
            Post::Withdrawals => request
                .message::<proto::Withdraw>(encoding)
                .map(|ask| self.quiz_withdraw(id, String::new(), &ask)),
            Post::Invitations => request
                .message::<proto::Redeem>(encoding)
                .map(|ask| self.quiz_redeem(id, String::new(), &ask)),
            Post::Purse => request
                .message::<proto::AskPurse>(encoding)
                .map(|_| self.quiz_purse(id, String::new())),
            Post::Gifts(_) => request
                .message::<proto::Give>(encoding)
                .map(|ask| self.quiz_give(id, String::new(), &ask)),
            Post::Chat(_) => request
                .message::<proto::Chat>(encoding)
                .map(|chat| self.chat(id, String::new(), &chat)),
            Post::Likes(_) => {
                request.message::<proto::Like>(encoding).map(|like| self.like(id, "", like))
            }
            Post::Publish(_) => request.message::<proto::Publish>(encoding).map(|publish| {
                self.publish(id, String::new(), &publish);
            }),
        };
        if let Err(error) = read {
            self.short_malformed(id, &error);
        }
    }

    /// Makes the token's user the one who asks, if the token allows what is asked for.
    fn short_authenticate(
        &mut self,
        id: ConnId,
        post: Post,
        token: Option<&str>,
    ) -> Result<(), proto::Failure> {
        let Some(token) = token else {
            let text = "Send the access token: Authorization: Bearer TOKEN.";
            return Err(messages::failure(proto::Reason::NotAuthenticated, text));
        };
        self.authenticate_short(id, token)?;
        // Whoever is in a room was let in; who only speaks there has to be allowed to be.
        match post.room() {
            Some(room) if !self.permission(id).may_join(room) => {
                let text = "the token does not allow this room";
                Err(messages::failure(proto::Reason::RoomForbidden, text))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn short_malformed(&mut self, id: ConnId, error: &CodecError) {
        self.counters.messages_malformed += 1;
        let failure = messages::failure(proto::Reason::Malformed, &error.to_string());
        self.short_fail(id, 400, &failure);
    }

    fn short_preflight(&mut self, id: ConnId, methods: &str) {
        let pages = self.pages_of(id);
        let reply = Reply::new(204).readable_by(&pages).preflight(methods);
        self.short_reply(id, reply, Reply::empty);
    }

    /// More requests came within a second than one connection may send.
    fn short_too_much(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(id)
            && let Some(short) = conn.entry_mut().short.as_mut()
        {
            short.keep_alive = false;
        }
        let text = "more requests within a second than a connection may send; wait a second";
        let failure = messages::failure(proto::Reason::RateLimited, text);
        let failure = proto::Failure { retry_after_ms: TOO_MUCH_WAIT_MS, ..failure };
        self.short_fail(id, status_of(failure.reason()), &failure);
    }

    /// Which pages may read what answers a request of this origin.
    fn pages_for(&self, origin: Option<&str>) -> Pages {
        match origin {
            _ if self.allows_all_origins() => Pages::All,
            Some(origin) if self.is_origin_allowed(Some(origin)) => Pages::Of(origin.into()),
            Some(_) | None => Pages::None,
        }
    }

    /// Which pages may read the response that a short connection waits for.
    fn pages_of(&self, id: ConnId) -> Pages {
        let short = self.waiting_short(id);
        short.map_or(Pages::None, |short| short.pages.clone())
    }

    fn short_refuse_method(&mut self, id: ConnId, allowed: &str) {
        let text = format!("Use one of {allowed} here.");
        let failure = messages::failure(proto::Reason::UnknownType, &text);
        self.short_fail_with(id, Reply::new(405).header("Allow", allowed), &failure);
    }

    fn short_fail(&mut self, id: ConnId, status: u16, failure: &proto::Failure) {
        let reply = match status {
            // RFC 9110 §15.5.2.
            401 => Reply::new(status).header("WWW-Authenticate", "Bearer"),
            503 | 504 => Reply::new(status).retry_after(1),
            _ => Reply::new(status),
        };
        let reply = match failure.retry_after_ms {
            0 => reply,
            milliseconds => reply.retry_after(milliseconds),
        };
        self.short_fail_with(id, reply, failure);
    }

    fn short_fail_with(&mut self, id: ConnId, reply: Reply, failure: &proto::Failure) {
        self.counters.short_refusals += 1;
        let Some(conn) = self.conns.get_mut(id) else { return };
        let Some(short) = conn.entry_mut().short.as_mut() else { return };
        // A gateway that stops, or a reply that may still come, and not to the next request.
        short.keep_alive &= !matches!(reply.status(), 503 | 504);
        let encoding = short.encoding;
        let reply = reply.readable_by(&short.pages).header("Cache-Control", "no-store");
        self.short_reply(id, reply, |reply| reply.with_message(encoding, failure));
    }

    /// Sends the response. The connection is ready for the next request, or ends behind this one.
    fn short_reply(&mut self, id: ConnId, reply: Reply, finish: impl FnOnce(Reply) -> Vec<u8>) {
        let now_ms = clock_ms(self.now);
        let Some(conn) = self.conns.get_mut(id) else { return };
        let Some(short) = conn.entry_mut().short.as_mut() else { return };
        short.is_waiting = false;
        short.is_continued = false;
        let (keep_alive, is_head) = (short.keep_alive, short.is_head);
        conn.user = UserId(0);
        conn.clock_ms = now_ms;
        self.access.forget(id.place);
        let reply = reply.date(self.clock.unix_ms(self.now).div_euclid(1_000));
        let reply = if keep_alive { reply } else { reply.header("Connection", "close") };
        self.reply(id, |out| {
            let mut response = finish(reply);
            if is_head {
                cut_body(&mut response);
            }
            out.extend_from_slice(&response);
        });
        if let Some(conn) = self.conns.get_mut(id)
            && !keep_alive
        {
            conn.flags.set(Flags::CLOSE_WHEN_SENT);
        }
    }

    fn waiting_short(&self, id: ConnId) -> Option<&ShortConn> {
        let conn = self.conns.get(id).filter(|conn| conn.state == State::Connecting)?;
        let short = conn.entry.as_ref()?.short.as_ref()?;
        short.is_waiting.then_some(short)
    }

    /// The room that a short request names.
    pub(crate) fn short_room(&self, id: ConnId) -> Option<RoomId> {
        self.waiting_short(id)?.room
    }

    /// True if a connection waits for the response to a short request.
    pub(crate) fn is_short(&self, id: ConnId) -> bool {
        self.waiting_short(id).is_some()
    }
}

impl ShortConn {
    /// Before its first request.
    fn new() -> ShortConn {
        ShortConn {
            encoding: Encoding::Json,
            room: None,
            keep_alive: false,
            pages: Pages::None,
            is_head: false,
            is_waiting: false,
            is_continued: false,
        }
    }
}

/// The room in a path: a decimal number that is not 0.
fn room_of(part: &str) -> Option<RoomId> {
    let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let room = digits.then(|| part.parse().ok()).flatten()?;
    (room != 0).then_some(RoomId(room))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        for (path, expected) in [
            ("/v1/answers", Some(Post::Answers)),
            ("/v1/rooms/7/chat", Some(Post::Chat(RoomId(7)))),
            ("/v1/rooms/7/gifts", Some(Post::Gifts(RoomId(7)))),
            ("/v1/grabs", Some(Post::Grabs)),
            ("/v1/grabs/7", None),
            ("/v1/rooms/7/likes", Some(Post::Likes(RoomId(7)))),
            ("/v1/rooms/7/publish", Some(Post::Publish(RoomId(7)))),
            ("/v1/rooms/18446744073709551615/publish", Some(Post::Publish(RoomId(u64::MAX)))),
            ("/v1/rooms/18446744073709551616/publish", None),
            ("/v1/rooms/0/publish", None),
            ("/v1/rooms/+7/publish", None),
            ("/v1/rooms//publish", None),
            ("/v1/rooms/7/publish/", None),
            ("/v1/rooms/7", None),
            ("/v1/answers/", None),
            ("/v1/answer", None),
            ("/v1", None),
            ("/answers", None),
        ] {
            assert_eq!(Post::at(path), expected, "{path}");
        }
    }
}
