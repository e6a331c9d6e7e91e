//! An audience that counts: who is in, and who had all messages of a broadcast, when, and in which
//! order.

use tidegate::wire::codec::{Encoding, decode_server};
use tidegate::wire::frame::{Data, OpCode, encode_masked_frame};
use tidegate::wire::message::Message;
use tidegate::wire::proto::{Lane, business, response, server_frame};

use crate::common::clients::{Audience, Heard, Outgoing};
use crate::common::stats::{Coverage, as_f64, as_f64_ns, percentile};

/// Text and binary (RFC 6455 §5.2): pings are no deliveries.
const DATA_OPCODES: [u8; 2] = [1, 2];

/// Writes the upgrade request of a client.
pub(crate) type Request = Box<dyn FnMut(u32, &mut Vec<u8>)>;

/// When a client is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Greeting {
    /// As soon as its upgrade was accepted: floors and peers.
    Upgraded,
    /// When the gateway has said that it joined its room.
    Joined,
    /// When, besides, the snapshot of a show has come: a player record exists.
    Snapshot,
    /// Peers with a protocol of their own within WebSocket: when a frame with `word` in it has
    /// answered `hello`. A frame may hold several messages, each `message_bytes` long.
    Subscribed { hello: &'static [u8], word: &'static [u8], message_bytes: usize },
}

/// The audience.
pub(crate) struct Counting {
    request: Request,
    greeting: Greeting,
    is_in: Vec<bool>,
    joined: u32,
    /// Broadcast under way: messages that each client has, and how many it should have.
    got: Vec<u16>,
    due: u16,
    times_ns: Vec<u64>,
    order: Vec<u32>,
    /// Since the last broadcast began.
    messages: u64,
    /// Of the message that came first, and how many differed from it.
    frame_bytes: usize,
    others: u64,
    /// Messages of the low lane are none of the broadcast's; shorter ones neither.
    counted_from: usize,
    passed_over: u64,
    /// The last two frames, and how many messages of the low lane they carried: all clients get
    /// the same.
    known: [(Vec<u8>, Option<u64>); 2],
    /// Sum of ranks by client, while fairness is looked at.
    ranks: Vec<u64>,
}

impl Counting {
    /// For so many clients, none of which is in.
    pub(crate) fn new(connections: u32, request: Request, greeting: Greeting) -> Counting {
        let count = connections as usize;
        Counting {
            request,
            greeting,
            is_in: vec![false; count],
            joined: 0,
            got: vec![0; count],
            due: 0,
            times_ns: Vec::with_capacity(count),
            order: Vec::with_capacity(count),
            messages: 0,
            frame_bytes: 0,
            others: 0,
            counted_from: 0,
            passed_over: 0,
            known: Default::default(),
            ranks: Vec::new(),
        }
    }

    /// Clients that are in.
    pub(crate) fn joined(&self) -> u32 {
        self.joined
    }

    /// From now on every message counts: a broadcast of so many begins.
    pub(crate) fn begin(&mut self, messages: u16) {
        self.got.fill(0);
        self.due = messages;
        self.times_ns.clear();
        self.order.clear();
        self.messages = 0;
        self.frame_bytes = 0;
        self.others = 0;
    }

    /// From now on only messages of at least so many bytes on the wire are a broadcast's.
    pub(crate) fn count_from(&mut self, frame_bytes: usize) {
        self.counted_from = frame_bytes;
    }

    /// Messages of the low lane that arrived, since the beginning.
    pub(crate) fn passed_over(&self) -> u64 {
        self.passed_over
    }

    /// Clients that have all of the broadcast.
    pub(crate) fn served(&self) -> usize {
        self.order.len()
    }

    /// Messages of the broadcast that arrived.
    pub(crate) fn messages(&self) -> u64 {
        self.messages
    }

    /// How long a message was on the wire, header included; nothing if they differed.
    pub(crate) fn frame_bytes(&self) -> Option<usize> {
        (self.others == 0).then_some(self.frame_bytes)
    }

    /// How the broadcast that began at `from_ns` spread.
    pub(crate) fn coverage(&mut self, from_ns: u64) -> Coverage {
        for time in &mut self.times_ns {
            *time = time.saturating_sub(from_ns);
        }
        Coverage::of(&mut self.times_ns)
    }

    /// Adds the ranks of this broadcast to those of the earlier ones.
    pub(crate) fn note_ranks(&mut self) {
        self.ranks.resize(self.got.len(), 0);
        for (rank, client) in (1..).zip(&self.order) {
            self.ranks[*client as usize] += rank;
        }
    }

    /// Fairness: of the mean ranks of all clients, the 99th percentile by the median.
    pub(crate) fn rank_p99_to_p50(&self) -> Option<f64> {
        let mut ranks = self.ranks.clone();
        ranks.sort_unstable();
        let median = percentile(&ranks, 0.5);
        (median > 0).then(|| as_f64_ns(percentile(&ranks, 0.99)) / as_f64_ns(median))
    }

    /// How many messages of the low lane a frame carries, if it is one of that lane.
    fn low_messages(&mut self, payload: &[u8]) -> Option<u64> {
        if let Some((_, messages)) = self.known.iter().find(|(known, _)| known == payload) {
            return *messages;
        }
        self.known.swap(0, 1);
        let (known, messages) = &mut self.known[0];
        known.clear();
        known.extend_from_slice(payload);
        *messages = low_messages(payload);
        *messages
    }

    fn greeted(&mut self, heard: Heard<'_>) {
        let is_greeting = match self.greeting {
            Greeting::Upgraded => true,
            Greeting::Subscribed { word, .. } => {
                heard.payload.windows(word.len()).any(|window| window == word)
            }
            greeting => greets(heard.payload, greeting),
        };
        if is_greeting {
            self.enter(heard.index);
        }
    }

    fn enter(&mut self, index: u32) {
        let is_in = &mut self.is_in[index as usize];
        self.joined += u32::from(!*is_in);
        *is_in = true;
    }
}

impl Audience for Counting {
    fn request(&mut self, index: u32, request: &mut Vec<u8>) {
        (self.request)(index, request);
    }

    fn upgraded(&mut self, index: u32, _: u16, outgoing: &mut Outgoing) {
        match self.greeting {
            Greeting::Upgraded => self.enter(index),
            Greeting::Subscribed { hello, .. } => outgoing.push(index, |bytes| {
                encode_masked_frame(OpCode::Data(Data::Binary), hello, [7; 4], bytes);
            }),
            Greeting::Joined | Greeting::Snapshot => {}
        }
    }

    fn heard(&mut self, heard: Heard<'_>, _: &mut Outgoing) {
        if !DATA_OPCODES.contains(&heard.opcode) {
            return;
        }
        if !self.is_in[heard.index as usize] {
            return self.greeted(heard);
        }
        if self.counted_from > 0
            && let Some(messages) = self.low_messages(heard.payload)
        {
            self.passed_over += messages;
            return;
        }
        if self.due == 0 {
            return;
        }
        let messages = match self.greeting {
            Greeting::Subscribed { message_bytes, .. } => heard.payload.len() / message_bytes,
            Greeting::Upgraded | Greeting::Joined | Greeting::Snapshot => 1,
        };
        self.messages += messages as u64;
        if self.frame_bytes == 0 {
            self.frame_bytes = heard.frame_bytes;
        }
        self.others += u64::from(self.frame_bytes != heard.frame_bytes);
        let got = &mut self.got[heard.index as usize];
        let had = *got;
        *got = had.saturating_add(u16::try_from(messages).unwrap_or(u16::MAX));
        if had < self.due && *got >= self.due {
            self.times_ns.push(heard.at_ns);
            self.order.push(heard.index);
        }
    }
}

fn low_messages(payload: &[u8]) -> Option<u64> {
    let frame = decode_server(Encoding::Proto, &Message::Binary(payload)).ok()?;
    let Some(server_frame::Body::Business(business)) = frame.body else { return None };
    let Some(business::Body::Notification(it)) = business.body else { return None };
    it.stamp.as_ref().filter(|stamp| stamp.lane() == Lane::Low)?;
    it.span().map(|(first, last)| last + 1 - first)
}

/// Whether this is the message after which a client of the gateway is in.
fn greets(payload: &[u8], greeting: Greeting) -> bool {
    let frame = decode_server(Encoding::Proto, &Message::Binary(payload));
    let Ok(Some(server_frame::Body::Business(business))) = frame.map(|frame| frame.body) else {
        return false;
    };
    match business.body {
        Some(business::Body::Response(it)) => {
            greeting == Greeting::Joined && matches!(it.payload, Some(response::Payload::Joined(_)))
        }
        Some(business::Body::Notification(it)) => {
            use tidegate::wire::proto::notification::Payload::Snapshot;
            greeting == Greeting::Snapshot && matches!(it.payload, Some(Snapshot(_)))
        }
        Some(business::Body::Request(_)) | None => false,
    }
}

/// How many a second.
pub(crate) fn per_second(count: usize, ns: u64) -> f64 {
    as_f64(count) / (as_f64_ns(ns.max(1)) / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counting(connections: u32) -> Counting {
        Counting::new(connections, Box::new(|_, _| {}), Greeting::Upgraded)
    }

    fn hear(counting: &mut Counting, index: u32, at_ns: u64) {
        let heard = Heard { index, opcode: 2, frame_bytes: 138, payload: &[], at_ns };
        counting.heard(heard, &mut Outgoing::default());
    }

    #[test]
    fn a_broadcast_is_counted_from_its_beginning() {
        let mut counting = counting(3);
        (0..3).for_each(|index| counting.upgraded(index, 101, &mut Outgoing::default()));
        hear(&mut counting, 0, 5);
        counting.begin(2);
        for (index, at_ns) in [(0, 10), (1, 20), (1, 30), (0, 40), (2, 50), (2, 60)] {
            hear(&mut counting, index, at_ns);
        }
        assert_eq!((counting.joined(), counting.served(), counting.messages()), (3, 3, 6));
        assert_eq!(
            (counting.order.as_slice(), counting.frame_bytes()),
            (&[1, 0, 2][..], Some(138))
        );
        assert!((counting.coverage(10).p100 - 50e-6).abs() < 1e-12);
    }

    #[test]
    fn ranks_that_take_turns_are_fair() {
        let mut counting = counting(2);
        (0..2).for_each(|index| counting.upgraded(index, 101, &mut Outgoing::default()));
        for order in [[0, 1], [1, 0]] {
            counting.begin(1);
            order.iter().for_each(|index| hear(&mut counting, *index, 1));
            counting.note_ranks();
        }
        assert_eq!(counting.rank_p99_to_p50(), Some(1.0));
    }
}
