//! Connections between players and hosts: bytes that take their time, get lost with what carries
//! them, and pile up where nobody reads.

use std::collections::{BTreeMap, VecDeque};

use crate::base::ids::ConnId;
use crate::base::time::Time;
use crate::shard::input::SendResult;
use crate::sim::checkers::lanes::LaneReader;
use crate::sim::world::{Event, World};
use crate::wire::codec::Encoding;
use crate::wire::message::Pending;

/// How far the client's side is.
#[derive(Debug)]
pub(crate) enum Stage {
    /// The answer to the upgrade, as far as it came.
    Upgrading(Vec<u8>),
    Open,
    /// No WebSocket: the response to the one request, as far as it came.
    Short(Vec<u8>),
    /// A close frame came, or the client let go.
    Over,
}

/// What a client asked for and waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Join { epoch: u64, versions: Option<[Option<u64>; 3]> },
    Leave,
    Publish,
    Chat { text: String },
    Like,
    Answer,
    Money,
}

/// A connection, both ends and what is between.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) player: usize,
    pub(crate) host: usize,
    pub(crate) encoding: Encoding,
    pub(crate) target: String,
    pub(crate) nonce: [u8; 16],

    // From the client to the host.
    pub(crate) conn: Option<ConnId>,
    last_to_host: Time,
    written: u64,
    arrived: u64,
    read: u64,
    /// Bytes beyond this are lost.
    cut: Option<u64>,
    kernel: VecDeque<u8>,
    /// Where each answer's last byte is.
    answers: VecDeque<(u64, usize)>,
    arrived_answers: VecDeque<(u64, usize)>,
    pub(crate) has_ended: bool,
    pub(crate) is_listed: bool,
    pub(crate) read_out: bool,

    // From the host to the client.
    pub(crate) server_open: bool,
    pub(crate) server_closed_at: Time,
    pub(crate) in_flight: usize,
    pub(crate) wants_writable: bool,
    last_to_client: Time,
    pub(crate) stalled_until: Time,
    backlog: Vec<u8>,

    // The client.
    pub(crate) client_open: bool,
    pub(crate) stage: Stage,
    pub(crate) pending: Option<Box<Pending>>,
    pub(crate) lanes: LaneReader,
    pub(crate) asked: BTreeMap<String, (Asked, Time)>,
    pub(crate) was_replaced: bool,
    pub(crate) opened_at: Time,
    /// When the host took it.
    pub(crate) accepted_at: Time,
    /// When its token was issued and when it ends, Unix seconds.
    pub(crate) token: (i64, i64),
    /// The client was told that it ended.
    pub(crate) token_ended: bool,
    /// When the client knew itself in the room of this show; it never left since.
    pub(crate) in_show: Option<(usize, Time)>,
    pub(crate) ended_at: Time,
    /// Read all the time, without a stall.
    pub(crate) reads_well: bool,
    /// The power failed, and what was on its way to the client is lost.
    pub(crate) lost: bool,
    /// The start of the process that took it; 0 before that.
    pub(crate) run: u64,
    /// The wish that was part of the upgrade.
    pub(crate) first_wish: Option<(u64, Option<[Option<u64>; 3]>)>,
}

impl Link {
    pub(crate) fn new(player: usize, host: usize, encoding: Encoding, now: Time) -> Link {
        Link {
            player,
            host,
            encoding,
            target: String::new(),
            nonce: [0; 16],
            conn: None,
            last_to_host: now,
            written: 0,
            arrived: 0,
            read: 0,
            cut: None,
            kernel: VecDeque::new(),
            answers: VecDeque::new(),
            arrived_answers: VecDeque::new(),
            has_ended: false,
            is_listed: false,
            read_out: false,
            server_open: true,
            server_closed_at: Time::NEVER,
            in_flight: 0,
            wants_writable: false,
            last_to_client: now,
            stalled_until: Time::ZERO,
            backlog: Vec::new(),
            client_open: true,
            stage: Stage::Upgrading(Vec::new()),
            pending: None,
            lanes: LaneReader::default(),
            asked: BTreeMap::new(),
            was_replaced: false,
            opened_at: now,
            accepted_at: Time::NEVER,
            token: (0, i64::MAX / 2_000),
            token_ended: false,
            in_show: None,
            ended_at: Time::NEVER,
            reads_well: true,
            lost: false,
            run: 0,
            first_wish: None,
        }
    }

    /// Nothing reaches the host before this.
    pub(crate) fn delay_to_host(&mut self, until: Time) {
        self.last_to_host = self.last_to_host.max(until);
    }

    /// True if the client may send and expects answers.
    pub(crate) fn is_usable(&self) -> bool {
        self.client_open && matches!(self.stage, Stage::Open)
    }

    /// True if the client waits for the response to its one request.
    pub(crate) fn is_short(&self) -> bool {
        self.client_open && matches!(self.stage, Stage::Short(_))
    }

    /// Bytes that wait in the host's kernel.
    pub(crate) fn unread(&self) -> usize {
        self.kernel.len()
    }

    /// True if an answer waits in the host's kernel.
    pub(crate) fn has_unread_answer(&self) -> bool {
        !self.arrived_answers.is_empty()
    }

    /// Takes at most `max` bytes out of the kernel, and the answers that end in them.
    pub(crate) fn take(&mut self, max: usize) -> (Vec<u8>, Vec<usize>) {
        let count = self.kernel.len().min(max);
        let bytes = self.kernel.drain(..count).collect();
        self.read += count as u64;
        let mut answers = Vec::new();
        while self.arrived_answers.front().is_some_and(|(end, _)| *end <= self.read) {
            answers.extend(self.arrived_answers.pop_front().map(|(_, answer)| answer));
        }
        (bytes, answers)
    }
}

impl World {
    /// The client sends; `answer` ends with these bytes.
    pub(crate) fn client_writes(&mut self, link: usize, bytes: Vec<u8>, answer: Option<usize>) {
        let now = self.now;
        let latency = self.dice.micros(50, self.setup.faults.latency_max_us.max(51));
        let split = bytes.len() > 1 && self.dice.permille(150);
        let at = if split { 1 + self.dice.index(bytes.len() - 1) } else { bytes.len() };
        let pause = self.dice.micros(10, 30_000);
        let it = &mut self.links[link];
        it.written += bytes.len() as u64;
        it.answers.extend(answer.map(|answer| (it.written, answer)));
        let first_at = it.last_to_host.max(now + latency);
        let mut first = bytes;
        let second = first.split_off(at);
        it.last_to_host = first_at;
        self.schedule(first_at, Event::ToHost { link, bytes: first });
        if !second.is_empty() {
            let second_at = first_at + pause;
            self.links[link].last_to_host = second_at;
            self.schedule(second_at, Event::ToHost { link, bytes: second });
        }
    }

    /// Bytes reach the host.
    pub(crate) fn reach_host(&mut self, link: usize, mut bytes: Vec<u8>) {
        let now = self.now;
        let it = &mut self.links[link];
        if !it.server_open || it.has_ended {
            return;
        }
        if let Some(cut) = it.cut {
            let left = usize::try_from(cut.saturating_sub(it.arrived)).unwrap_or(0);
            if left < bytes.len() {
                self.races.frames_cut_up += u64::from(left > 0);
                bytes.truncate(left);
            }
        }
        it.arrived += bytes.len() as u64;
        it.kernel.extend(bytes);
        while it.answers.front().is_some_and(|(end, _)| *end <= it.arrived) {
            if let Some((end, answer)) = it.answers.pop_front() {
                it.arrived_answers.push_back((end, answer));
                self.answers[answer].arrived_at = Some(now);
            }
        }
        let host = it.host;
        self.hosts[host].news.push(link);
        self.wake(host, now);
    }

    /// The client's end of the connection reaches the host. After a reset what was not read may
    /// be gone.
    pub(crate) fn end_reaches_host(&mut self, link: usize, reset: bool) {
        let now = self.now;
        let lost = reset && self.dice.permille(500);
        let it = &mut self.links[link];
        if !it.server_open || it.has_ended {
            return;
        }
        it.has_ended = true;
        if lost {
            it.kernel.clear();
            it.arrived_answers.clear();
        }
        let host = it.host;
        self.hosts[host].news.push(link);
        self.wake(host, now);
    }

    /// The client lets go of a connection without a word over WebSocket.
    pub(crate) fn client_breaks(&mut self, link: usize, how: Break) {
        let now = self.now;
        let latency = self.dice.micros(50, self.setup.faults.latency_max_us.max(51));
        let kept = self.dice.below(1_000);
        let it = &mut self.links[link];
        if !it.client_open {
            return;
        }
        it.client_open = false;
        it.ended_at = now;
        it.stage = Stage::Over;
        it.lanes.left();
        let cut = it.arrived + (it.written - it.arrived) * kept / 1_000;
        let at = it.last_to_host.max(now + latency);
        match how {
            Break::End => self.schedule(at, Event::EndToHost { link, reset: false }),
            Break::Reset => {
                it.cut = Some(cut);
                self.races.resets += 1;
                self.races.frames_cut_down += u64::from(it.in_flight > 0);
                self.schedule(now + latency, Event::EndToHost { link, reset: true });
            }
            Break::HalfOpen => {
                it.cut = Some(cut);
                self.races.half_open += 1;
                self.races.frames_cut_down += u64::from(it.in_flight > 0);
            }
        }
    }

    /// A shard sends.
    pub(crate) fn host_sends(&mut self, link: usize, bytes: Vec<u8>) -> SendResult {
        let faults = &self.setup.faults;
        if self.dice.permille(faults.no_memory_permille) {
            self.races.no_memory_sends += 1;
            return SendResult::NoMemory;
        }
        let (capacity, length) = (faults.socket_bytes, bytes.len());
        let cut_short = self.dice.permille(faults.short_send_permille);
        let it = &self.links[link];
        let mut count = length.min(capacity.saturating_sub(it.in_flight));
        if cut_short {
            count = self.dice.index(count + 1);
        }
        if count < length {
            self.links[link].wants_writable = true;
            self.races.short_sends += u64::from(count > 0);
            self.races.blocked_sends += u64::from(count == 0);
            if self.links[link].in_flight == 0 && count == 0 {
                let at = self.now + self.dice.micros(100, 20_000);
                self.schedule(at, Event::Writable { link });
            }
        }
        if count > 0 {
            self.carry_to_client(link, bytes, count);
        }
        if count == 0 { SendResult::Blocked } else { SendResult::Sent(count) }
    }

    pub(crate) fn carry_to_client(&mut self, link: usize, mut bytes: Vec<u8>, count: usize) {
        let now = self.now;
        let latency = self.dice.micros(50, self.setup.faults.latency_max_us.max(51));
        bytes.truncate(count);
        let encoding = self.links[link].encoding;
        if let Some(tape) = &mut self.tape {
            tape.sent(now, link, encoding, &bytes);
        }
        let it = &mut self.links[link];
        it.in_flight += count;
        let at = it.last_to_client.max(now + latency);
        it.last_to_client = at;
        self.schedule(at, Event::ToClient { link, bytes });
    }

    /// The shard has closed: the client hears of it behind everything that was sent.
    pub(crate) fn host_closes(&mut self, link: usize, last: &[u8]) {
        let now = self.now;
        self.links[link].server_open = false;
        self.links[link].server_closed_at = now;
        if !last.is_empty() {
            self.carry_to_client(link, last.to_vec(), last.len());
        }
        let it = &mut self.links[link];
        it.kernel.clear();
        let at = it.last_to_client.max(now);
        self.schedule(at, Event::EndToClient { link });
    }

    /// Bytes reach the client's machine; a stalled client leaves them there.
    pub(crate) fn reach_client(&mut self, link: usize, mut bytes: Vec<u8>) {
        let now = self.now;
        let it = &mut self.links[link];
        if !it.client_open {
            return;
        }
        if it.stalled_until > now {
            it.backlog.append(&mut bytes);
            return;
        }
        let mut all = std::mem::take(&mut it.backlog);
        all.append(&mut bytes);
        it.in_flight -= all.len();
        if it.wants_writable && it.server_open {
            it.wants_writable = false;
            let host = it.host;
            self.hosts[host].writables.push(link);
            self.wake(host, now);
        }
        if !all.is_empty() {
            self.listen(link, &mut all);
        }
    }

    /// A full socket takes bytes again although nothing was on its way.
    pub(crate) fn becomes_writable(&mut self, link: usize) {
        let it = &mut self.links[link];
        if it.wants_writable && it.server_open {
            it.wants_writable = false;
            let (host, now) = (it.host, self.now);
            self.hosts[host].writables.push(link);
            self.wake(host, now);
        }
    }
}

/// How a connection breaks on the client's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Break {
    /// End of stream behind everything that was sent.
    End,
    /// A reset; what is on its way is lost from some byte on.
    Reset,
    /// Nothing is heard any more, and nobody is told.
    HalfOpen,
}
