//! `tidegate connect`: a text client for a person at a terminal, or for a script.
//!
//! One thread reads the standard input, one the connection; this one does everything else: it
//! prints what comes, says what is typed, keeps the connection alive, and comes back as the close
//! codes say, where it was. Deliberately absent: TLS, and answers by HTTP.

mod gateways;
mod lines;
mod link;
mod results;
mod words;

use std::collections::{BTreeMap, VecDeque};
use std::io::BufRead;
use std::time::Duration;

use bytes::Bytes;
use flume::{Receiver, RecvTimeoutError, Sender};

use crate::base::entropy::{Entropy, SystemEntropy};
use crate::base::ids::{RoomId, UserId};
use crate::base::time::Time;
use crate::ops::cli::{ConnectArguments, ExitStatus};
use crate::ops::commands::{Surroundings, signed};
use crate::ops::connect::gateways::Gateways;
use crate::ops::connect::lines::Lines;
use crate::ops::connect::link::{Heard, Link, percent_encoded};
use crate::ops::connect::words::{HELP, Words};
use crate::player::early::opened;
use crate::runtime::clock::Clock;
use crate::wire::close::{CloseReason, Moving, Reconnect};
use crate::wire::codec::{TYPE_BUSINESS, TYPE_HEARTBEAT};
use crate::wire::proto;
use proto::request::Payload as Request;

/// The span of the first return after a connection that broke without a code.
const BROKEN_SPAN_MS: u64 = 1_000;
const SPAN_MAX_MS: u64 = 30_000;
/// Whoever says goodbye waits this long for what was asked.
const GOODBYE: Duration = Duration::from_secs(5);

/// Something for the main thread.
enum Event {
    /// A line of the standard input; nothing at its end.
    Typed(Option<String>),
    /// Something came over the connection with this number.
    Heard(u32, Heard),
}

/// What is to be done at a moment.
enum Due {
    Connect,
    Heartbeat(u32),
    Answer(proto::Answer),
    GiveUp,
}

/// Where the client is to continue in its room.
struct Place {
    epoch: u64,
    /// By the schema's number of the lane.
    seen: BTreeMap<i32, u64>,
}

/// The client between two events.
struct Client<'c, 'w> {
    arguments: &'c ConnectArguments,
    surroundings: &'c mut Surroundings<'w>,
    gateways: Gateways,
    token: String,
    clock: Clock,
    lines: Lines,
    heard: Sender<Event>,
    link: Option<Link>,
    /// Of the connection.
    number: u32,
    attempts: u32,
    user: UserId,
    room: Option<RoomId>,
    place: Option<Place>,
    heartbeat_ms: u32,
    question: Option<proto::Question>,
    /// The question that came early, sealed.
    sealed: Option<proto::SealedQuestion>,
    /// The key that came last; what it opens may come behind it.
    key: Option<proto::QuestionKey>,
    /// The answer of which no reply has come.
    unanswered: Option<proto::Answer>,
    sequence: u64,
    /// Lines that wait until the client is where it wants to be; nothing: the end of the input.
    typed: VecDeque<Option<String>>,
    has_session: bool,
    /// In the room that it wants to be in.
    is_joined: bool,
    /// Requests without a reply on this connection.
    open_requests: u32,
    dues: Vec<(Time, Due)>,
    is_leaving: bool,
    status: Option<ExitStatus>,
}

/// Connects, and stays until the person or the gateway says that it is over.
pub fn connect(
    arguments: &ConnectArguments,
    surroundings: &mut Surroundings<'_>,
    input: impl BufRead + Send + 'static,
) -> ExitStatus {
    let dispatch = arguments.dispatch.as_deref();
    let gateways = match Gateways::new(arguments.url.as_deref(), dispatch) {
        Ok(gateways) => gateways,
        Err(reason) => {
            let _ = writeln!(surroundings.complaints, "{reason}");
            return ExitStatus::Failed;
        }
    };
    let token = match token(arguments, surroundings) {
        Ok(token) => token,
        Err(status) => return status,
    };
    // Unbounded, but the gateway bounds what is on the way, and a terminal reads line by line.
    let (heard, events) = flume::unbounded();
    if let Err(error) = watch(input, heard.clone()) {
        let _ = writeln!(surroundings.complaints, "the standard input cannot be read: {error}");
        return ExitStatus::Host;
    }
    let mut client = Client {
        gateways,
        token,
        clock: Clock::start(),
        lines: Lines::new(arguments.json),
        heard,
        link: None,
        number: 0,
        attempts: 0,
        user: UserId(0),
        room: arguments.room.map(RoomId),
        place: None,
        heartbeat_ms: 0,
        question: None,
        sealed: None,
        key: None,
        unanswered: None,
        sequence: 0,
        typed: VecDeque::new(),
        has_session: false,
        is_joined: false,
        open_requests: 0,
        dues: Vec::new(),
        is_leaving: false,
        status: None,
        arguments,
        surroundings,
    };
    client.connect();
    client.run(&events)
}

fn watch(input: impl BufRead + Send + 'static, heard: Sender<Event>) -> std::io::Result<()> {
    let typed = move || {
        for line in input.lines().map_while(Result::ok) {
            if heard.send(Event::Typed(Some(line))).is_err() {
                return;
            }
        }
        let _ = heard.send(Event::Typed(None));
    };
    std::thread::Builder::new().name("connect-input".to_owned()).spawn(typed).map(drop)
}

/// The token that was given, or one that is signed now.
fn token(
    arguments: &ConnectArguments,
    surroundings: &mut Surroundings<'_>,
) -> Result<String, ExitStatus> {
    match (&arguments.token, arguments.signing()) {
        (Some(token), _) => Ok(token.trim().to_owned()),
        (None, Some(signing)) => signed(&signing, surroundings),
        (None, None) => {
            let reason = "who are you? Give --token, or --user with a secret to sign with";
            let _ = writeln!(surroundings.complaints, "{reason}");
            Err(ExitStatus::Failed)
        }
    }
}

impl Client<'_, '_> {
    fn run(mut self, events: &Receiver<Event>) -> ExitStatus {
        loop {
            if let Some(status) = self.status {
                return status;
            }
            let now = self.clock.now();
            let next = self.dues.iter().map(|(at, _)| *at).min();
            let wait = next.map_or(Duration::from_secs(3_600), |at| at.since(now));
            match events.recv_timeout(wait) {
                Ok(Event::Typed(line)) => self.typed.push_back(line),
                Ok(Event::Heard(number, heard)) if number == self.number => self.heard(heard),
                Ok(Event::Heard(..)) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return ExitStatus::Failed,
            }
            self.do_what_is_due();
            self.take_typed();
            if self.is_leaving && self.open_requests == 0 && self.unanswered.is_none() {
                self.leave();
            }
        }
    }

    fn print(&mut self, line: &str) {
        let written = writeln!(self.surroundings.output, "{line}");
        if written.and_then(|()| self.surroundings.output.flush()).is_err() {
            // Nobody reads any more, as behind `head`.
            self.status = Some(ExitStatus::Success);
        }
    }

    fn tell(&mut self, event: &str, text: &str) {
        let line = self.lines.event(event, text);
        self.print(&line);
    }

    // What is typed.

    /// Takes up the lines that need not wait: what is said before a room is entered would be
    /// refused, and a script does not look.
    fn take_typed(&mut self) {
        while let Some(line) = self.typed.front() {
            let is_there = self.has_session && (self.room.is_none() || self.is_joined);
            let is_quit = line.as_deref().is_some_and(|it| Words::parse(it) == Ok(Words::Quit));
            let may_go = is_there || is_quit && self.link.is_none();
            if !may_go {
                return;
            }
            if let Some(line) = self.typed.pop_front() {
                self.typed(line.as_deref());
            }
        }
    }

    fn typed(&mut self, line: Option<&str>) {
        let words = match line {
            Some(line) => Words::parse(line),
            None if self.arguments.stay => return,
            None => Ok(Words::Quit),
        };
        match words {
            Ok(Words::Say(text)) => self.ask(Request::Chat(proto::Chat { text })),
            Ok(Words::Like) => self.ask(Request::Like(proto::Like { count: 1 })),
            Ok(Words::Answer(option)) => self.answer(option),
            Ok(Words::Join(room)) => {
                self.room = Some(room);
                self.place = None;
                self.is_joined = false;
                let join =
                    proto::Join { room_id: room.0, opens_seals: true, ..proto::Join::default() };
                self.ask(Request::Join(join));
            }
            Ok(Words::Leave) => {
                self.room = None;
                self.place = None;
                self.ask(Request::Leave(proto::Leave {}));
            }
            Ok(Words::Help) => self.tell("help", HELP),
            Ok(Words::Quit) => {
                self.is_leaving = true;
                self.due_in(GOODBYE, Due::GiveUp);
            }
            Ok(Words::Nothing) => {}
            Err(reason) => self.tell("error", &reason),
        }
    }

    fn answer(&mut self, option: u32) {
        let Some(question) = &self.question else {
            return self.tell("error", "there is no question yet");
        };
        let (show_id, question) = (question.show_id, question.question);
        let answer = proto::Answer { show_id, question, option, ticket: Bytes::new() };
        self.unanswered = Some(answer.clone());
        // Without a connection it goes as soon as there is one.
        if self.link.is_some() {
            self.ask(Request::Answer(answer));
        }
    }

    fn ask(&mut self, payload: Request) {
        let Some(link) = &mut self.link else {
            return self.tell("error", "not connected: try again in a moment");
        };
        self.sequence += 1;
        let request = proto::Request { payload: Some(payload) };
        let business = proto::Business {
            sequence: self.sequence.to_string(),
            body: Some(proto::business::Body::Request(request)),
            ..proto::Business::default()
        };
        link.send(&proto::ClientFrame {
            r#type: TYPE_BUSINESS,
            business: Some(business),
            ..proto::ClientFrame::default()
        });
        self.open_requests += 1;
    }

    // What is heard.

    fn heard(&mut self, heard: Heard) {
        match heard {
            Heard::Frame(frame) => {
                self.take_note(&frame);
                for line in self.lines.frame(self.user, &frame) {
                    self.print(&line);
                }
            }
            Heard::Ping(data) => {
                if let Some(link) = &mut self.link {
                    link.pong(&data);
                }
            }
            Heard::Closed(code, text) => self.closed(code, &text),
        }
    }

    fn take_note(&mut self, frame: &proto::ServerFrame) {
        use proto::business::Body as Business;
        use proto::server_frame::Body;
        if frame.r#type == TYPE_BUSINESS && frame.failure.is_some() {
            self.open_requests = self.open_requests.saturating_sub(1);
            if !self.is_joined {
                self.room = None;
            }
            let is_final = frame.failure.as_ref().is_some_and(|it| it.retry_after_ms == 0);
            self.unanswered.take_if(|_| is_final);
        }
        match &frame.body {
            Some(Body::Session(session)) => self.began(session),
            Some(Body::Business(business)) => match &business.body {
                Some(Business::Response(response)) => {
                    // A room that was asked for in the upgrade is answered without a sequence.
                    let is_asked = u32::from(!business.sequence.is_empty());
                    self.open_requests = self.open_requests.saturating_sub(is_asked);
                    self.responded(response);
                }
                Some(Business::Notification(notification)) => self.notified(notification),
                Some(Business::Request(_)) | None => {}
            },
            Some(Body::Heartbeat(_) | Body::ErrorCode(_)) | None => {}
        }
    }

    fn began(&mut self, session: &proto::Session) {
        self.has_session = true;
        self.user = UserId(session.user_id);
        self.attempts = 0;
        self.heartbeat_ms = session.heartbeat_interval_ms.max(100);
        self.beat(self.number);
        if let Some(answer) = self.unanswered.clone() {
            self.ask(Request::Answer(answer));
        }
    }

    fn responded(&mut self, response: &proto::Response) {
        use proto::response::Payload;
        match &response.payload {
            Some(Payload::Joined(joined)) => {
                let seen = joined.positions.iter().map(|it| (it.lane, it.version)).collect();
                self.is_joined = true;
                self.room = Some(RoomId(joined.room_id));
                self.place = Some(Place { epoch: joined.epoch, seen });
            }
            Some(Payload::AnswerReceived(_)) => self.unanswered = None,
            Some(Payload::RetryAnswer(retry)) => {
                if let Some(answer) = &mut self.unanswered {
                    answer.ticket = retry.ticket.clone();
                    let due = Due::Answer(answer.clone());
                    self.due_in(Duration::from_millis(retry.retry_after_ms.into()), due);
                }
            }
            _ => {}
        }
    }

    fn notified(&mut self, notification: &proto::Notification) {
        use proto::notification::Payload;
        match &notification.payload {
            Some(Payload::Question(question)) => self.question = Some(question.clone()),
            Some(Payload::Snapshot(snapshot)) if snapshot.open_question.is_some() => {
                self.question.clone_from(&snapshot.open_question);
            }
            Some(Payload::SealedQuestion(sealed)) => {
                self.sealed = Some(sealed.clone());
                self.open();
            }
            Some(Payload::QuestionKey(key)) => {
                self.key = Some(key.clone());
                self.open();
            }
            Some(Payload::RoomClosed(_)) => self.place = None,
            Some(Payload::Gap(gap)) => self.saw(gap.epoch, gap.lane, gap.last_missing),
            _ => {}
        }
        // A batch stands for several versions.
        if let (Some(stamp), Some((_, last))) = (&notification.stamp, notification.span()) {
            self.saw(stamp.epoch, stamp.lane, last);
        }
    }

    /// Opens the question that came early, once seal and key are here. Where they do not fit, it
    /// comes whole.
    fn open(&mut self) {
        let (Some(sealed), Some(key)) = (&self.sealed, &self.key) else { return };
        if (sealed.show_id, sealed.question) != (key.show_id, key.question) {
            return;
        }
        if let Ok(question) = opened(sealed, key) {
            self.print(&self.lines.question(&question));
            self.question = Some(question);
        }
    }

    fn saw(&mut self, epoch: u64, lane: i32, version: u64) {
        if let Some(place) = self.place.as_mut().filter(|place| place.epoch == epoch) {
            place.seen.insert(lane, version);
        }
    }

    // Connecting.

    fn connect(&mut self) {
        self.number += 1;
        self.open_requests = 0;
        self.is_joined = false;
        if let Err(error) = self.gateways.refresh(self.clock.now()) {
            self.tell("error", &error.to_string());
        }
        match self.open_any() {
            Ok(link) => self.link = Some(link),
            Err(may_pass) if !may_pass || self.user == UserId(0) || self.is_leaving => {
                self.status = Some(ExitStatus::Failed);
            }
            Err(_) => {
                let back_ms = self.come_back(BROKEN_SPAN_MS);
                self.tell("reconnecting", &format!("trying again in {back_ms} ms"));
            }
        }
    }

    /// A connection to the first gateway that takes this client; nothing: none does, and whether
    /// that may be otherwise in a while.
    fn open_any(&mut self) -> Result<Link, bool> {
        let (number, query) = (self.number, self.query());
        let mut may_pass = self.gateways.are_dispatched();
        while let Some(address) = self.gateways.next().cloned() {
            if self.gateways.are_dispatched() {
                self.tell("trying", &format!("trying {address}"));
            }
            let event = move |heard| Event::Heard(number, heard);
            let error = match Link::open(&address, &query, self.heard.clone(), event) {
                Ok(link) => return Ok(link),
                Err(error) => error,
            };
            self.tell("error", &error.to_string());
            // Whoever refuses for what the client is or sends will do so again.
            if error.is_of_the_client() {
                return Err(false);
            }
            may_pass |= error.may_pass();
            if !self.gateways.pass() {
                break;
            }
        }
        Err(may_pass)
    }

    fn query(&self) -> String {
        let mut query = format!("token={}&seals=1", percent_encoded(&self.token));
        if let Some(room) = self.room {
            query += &format!("&room={room}");
            if let Some(Place { epoch, seen }) = &self.place {
                query += &format!("&epoch={epoch}");
                let names = [(proto::Lane::High, "high"), (proto::Lane::Mid, "mid")];
                for (lane, name) in names.into_iter().chain([(proto::Lane::Low, "low")]) {
                    if let Some(version) = seen.get(&i32::from(lane)) {
                        query += &format!("&{name}={version}");
                    }
                }
            }
        }
        query
    }

    fn closed(&mut self, code: Option<u16>, text: &str) {
        if let Some(link) = self.link.take() {
            link.close(code);
        }
        if !self.has_session {
            self.gateways.pass();
        }
        self.has_session = false;
        self.dues.retain(|(_, due)| !matches!(due, Due::Heartbeat(_)));
        let moving = Moving::read(text);
        let reconnect = match code {
            None => Reconnect::Within { span_ms: 1_000 },
            Some(code) => match CloseReason::from_code(code) {
                Some(reason) => match (reason.reconnect(), moving.within_ms) {
                    (Reconnect::Within { .. }, Some(span_ms)) => Reconnect::Within { span_ms },
                    (reconnect, _) => reconnect,
                },
                None if code >= 4_000 => CloseReason::InternalError.reconnect(),
                None => Reconnect::No,
            },
        };
        let back_ms = match reconnect {
            Reconnect::Within { span_ms } => Some(self.come_back(span_ms.into())),
            // Once: a second refusal would be followed by a third.
            Reconnect::WithNewToken if self.attempts == 0 => self.sign_again().then(|| {
                self.attempts += 1;
                self.due_in(Duration::ZERO, Due::Connect);
                0
            }),
            Reconnect::WithNewToken | Reconnect::No => None,
        };
        let line = self.lines.disconnected(code, text, back_ms);
        self.print(&line);
        if let Some(url) = moving.to.filter(|_| code == Some(CloseReason::GoingAway.code()))
            && let Err(reason) = self.gateways.go_to(&url)
        {
            self.tell("error", &format!("not where it was sent: {reason}"));
        }
        if back_ms.is_none() || self.is_leaving {
            let is_well = code == Some(CloseReason::Normal.code()) || self.is_leaving;
            self.status = Some(if is_well { ExitStatus::Success } else { ExitStatus::Failed });
        }
    }

    /// A fresh token in place of the refused one, where there is a secret to sign it with.
    fn sign_again(&mut self) -> bool {
        let Some(signing) = self.arguments.signing() else { return false };
        match signed(&signing, self.surroundings) {
            Ok(token) => {
                self.token = token;
                true
            }
            Err(_) => false,
        }
    }

    /// Plans the return at a random moment within a span, which doubles with each attempt in vain.
    fn come_back(&mut self, span_ms: u64) -> u64 {
        let span_ms = (span_ms << self.attempts.min(10)).min(SPAN_MAX_MS);
        self.attempts += 1;
        let back_ms = SystemEntropy.below(span_ms + 1);
        self.due_in(Duration::from_millis(back_ms), Due::Connect);
        back_ms
    }

    // Time.

    fn due_in(&mut self, after: Duration, due: Due) {
        self.dues.push((self.clock.now() + after, due));
    }

    fn beat(&mut self, number: u32) {
        let heartbeat = proto::Heartbeat {
            client_sent_ms: self.clock.display().unix_ms(self.clock.now()),
            ..proto::Heartbeat::default()
        };
        if let Some(link) = &mut self.link {
            link.send(&proto::ClientFrame {
                r#type: TYPE_HEARTBEAT,
                heartbeat: Some(heartbeat),
                ..proto::ClientFrame::default()
            });
        }
        self.due_in(Duration::from_millis(self.heartbeat_ms.into()), Due::Heartbeat(number));
    }

    fn do_what_is_due(&mut self) {
        let now = self.clock.now();
        let (due, later): (Vec<_>, Vec<_>) = self.dues.drain(..).partition(|(at, _)| *at <= now);
        self.dues = later;
        for (_, due) in due {
            match due {
                Due::Connect => self.connect(),
                Due::Heartbeat(number) if number == self.number => self.beat(number),
                Due::Heartbeat(_) => {}
                Due::Answer(answer) if self.link.is_some() => self.ask(Request::Answer(answer)),
                // It goes with the next session.
                Due::Answer(_) => {}
                Due::GiveUp => self.leave(),
            }
        }
    }

    fn leave(&mut self) {
        if let Some(link) = self.link.take() {
            link.close(Some(CloseReason::Normal.code()));
        }
        self.status.get_or_insert(ExitStatus::Success);
    }
}
