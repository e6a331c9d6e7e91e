//! What members of a room hear: by lane, which versions came, were thinned out, or were named by a
//! gap, so that it can be said of each member whether its counts add up.

use std::collections::BTreeMap;

use serde::Serialize;
use tidegate::wire::codec::{Encoding, TYPE_BUSINESS, decode_server, encode_client};
use tidegate::wire::message::Message;
use tidegate::wire::proto::{
    Business, BusinessType, ClientFrame, Joined, Lane, Notification, Publish,
    Request as ProtoRequest, business, notification, request, response, server_frame,
};

use crate::common::clients::{Audience, Heard, Outgoing};
use crate::common::clock::now_ns;

/// Any mask will do: nothing is between us and the gateway (RFC 6455 §10.3).
const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];
/// RFC 6455 §5.2; beside it stands whether a frame is compressed.
const OPCODE: u8 = 0x0F;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
/// Lanes of a room, by number.
const LANES: usize = 3;
/// Frames that are remembered as they were understood: all members get the same.
const FRAMES_KNOWN: usize = 4;
/// The lane of questions.
pub(super) const HIGH: usize = 0;
/// The lane of chat.
pub(super) const LOW: usize = 2;

/// What became of a lane's versions, for one member or for several together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Account {
    pub(super) delivered: u64,
    /// Told of by a frame that did not carry them.
    pub(super) thinned: u64,
    /// Named by a gap.
    pub(super) skipped: u64,
    /// Passed over without a word: must not be.
    pub(super) unexplained: u64,
}

impl Account {
    /// Adds another one.
    pub(super) fn add(&mut self, other: Account) {
        self.delivered += other.delivered;
        self.thinned += other.thinned;
        self.skipped += other.skipped;
        self.unexplained += other.unexplained;
    }

    /// Versions that are accounted for.
    pub(super) fn all(&self) -> u64 {
        self.delivered + self.thinned + self.skipped + self.unexplained
    }
}

/// One member.
#[derive(Clone, Copy, Debug, Default)]
struct Member {
    is_in: bool,
    was_resumed: bool,
    /// By lane: the version that is due.
    due: [u64; LANES],
    accounts: [Account; LANES],
    /// When it was asked the question last; 0: never.
    asked_ns: u64,
}

/// Versions of a lane that a frame stands for.
#[derive(Clone, Copy, Debug)]
struct Versions {
    lane: usize,
    first: u64,
    last: u64,
    carried: u64,
    online: Option<u64>,
    asks: bool,
}

/// A frame as it was understood.
#[derive(Clone, Debug)]
enum Told {
    Joined {
        positions: [u64; LANES],
        epoch: u64,
        resumed: bool,
    },
    Versions(Versions),
    Gap {
        lane: usize,
        first: u64,
        last: u64,
    },
    /// Outside of the lanes: for who comes while it is open.
    Question,
    Acknowledged {
        sequence: String,
        version: u64,
    },
    Nothing,
}

/// The audience.
pub(super) struct Hearing {
    /// What each says first, made ahead: making a token costs more than connecting.
    requests: Vec<Vec<u8>>,
    members: Vec<Member>,
    joined: u32,
    asked: u32,
    epoch: u64,
    known: Vec<(Vec<u8>, Told)>,
    /// The version of the high lane whose spreading is looked at, and when it came to whom.
    awaited: u64,
    times_ns: Vec<u64>,
    /// When messages were said: by sequence until they are acknowledged, then by version.
    saying_ns: BTreeMap<String, u64>,
    said_ns: BTreeMap<u64, u64>,
    /// From saying it to hearing it, by the oldest message of each frame.
    latencies_us: Vec<u32>,
    online: u64,
    problem: Option<String>,
}

impl Hearing {
    /// Members who say these requests, none of whom is in.
    pub(super) fn new(requests: Vec<Vec<u8>>) -> Hearing {
        Hearing {
            members: vec![Member::default(); requests.len()],
            requests,
            joined: 0,
            asked: 0,
            epoch: 0,
            known: Vec::new(),
            awaited: u64::MAX,
            times_ns: Vec::new(),
            saying_ns: BTreeMap::new(),
            said_ns: BTreeMap::new(),
            latencies_us: Vec::new(),
            online: 0,
            problem: None,
        }
    }

    /// How many are in.
    pub(super) fn joined(&self) -> u32 {
        self.joined
    }

    /// How many were asked the question.
    pub(super) fn asked(&self) -> u32 {
        self.asked
    }

    /// How many of those who came back continue where they were.
    pub(super) fn resumed(&self) -> usize {
        self.members.iter().filter(|member| member.was_resumed).count()
    }

    /// When each was asked.
    pub(super) fn asked_ns(&self) -> Vec<u64> {
        self.members.iter().map(|member| member.asked_ns).filter(|at_ns| *at_ns > 0).collect()
    }

    /// The room's epoch.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// By lane, the version that a member has seen last.
    pub(super) fn seen(&self, index: usize) -> [u64; LANES] {
        self.members[index].due.map(|due| due.saturating_sub(1))
    }

    /// How many members there were, as they were told last.
    pub(super) fn online(&self) -> u64 {
        self.online
    }

    /// What became of a lane, for each member.
    pub(super) fn accounts(&self, lane: usize) -> impl Iterator<Item = Account> {
        self.members.iter().map(move |member| member.accounts[lane])
    }

    /// The same for all together.
    pub(super) fn account(&self, lane: usize) -> Account {
        let mut sum = Account::default();
        self.accounts(lane).for_each(|account| sum.add(account));
        sum
    }

    /// Begins all accounts anew.
    pub(super) fn begin_accounts(&mut self) {
        for member in &mut self.members {
            member.accounts = Default::default();
        }
        self.latencies_us.clear();
    }

    /// Looks from now on at how the next version of the high lane spreads.
    pub(super) fn await_high(&mut self) {
        self.awaited = self.members.iter().map(|it| it.due[HIGH]).max().unwrap_or(0);
        self.times_ns.clear();
    }

    /// How many have it.
    pub(super) fn served(&self) -> usize {
        self.times_ns.len()
    }

    /// When it came to each.
    pub(super) fn take_times_ns(&mut self) -> Vec<u64> {
        self.awaited = u64::MAX;
        std::mem::take(&mut self.times_ns)
    }

    /// From saying to hearing, sorted, since accounts began.
    pub(super) fn take_latencies_us(&mut self) -> Vec<u32> {
        let mut latencies_us = std::mem::take(&mut self.latencies_us);
        latencies_us.sort_unstable();
        latencies_us
    }

    /// What went wrong, if something did.
    pub(super) fn take_problem(&mut self) -> Option<String> {
        self.problem.take()
    }

    /// Notes that something is said now, under this sequence.
    pub(super) fn saying(&mut self, sequence: String) {
        self.saying_ns.insert(sequence, now_ns());
    }

    fn versions(&mut self, heard: &Heard<'_>, versions: Versions) {
        let Versions { lane, first, last, carried, online, asks } = versions;
        let member = &mut self.members[heard.index as usize];
        let account = &mut member.accounts[lane];
        account.unexplained += first.saturating_sub(member.due[lane]);
        account.delivered += carried;
        account.thinned += (last + 1 - first).saturating_sub(carried);
        member.due[lane] = last + 1;
        self.online = online.unwrap_or(self.online);
        if lane == HIGH && (first..=last).contains(&self.awaited) {
            self.times_ns.push(heard.at_ns);
        }
        if lane == LOW
            && let Some(said_ns) = self.said_ns.get(&first)
        {
            let latency_us = heard.at_ns.saturating_sub(*said_ns) / 1_000;
            self.latencies_us.push(u32::try_from(latency_us).unwrap_or(u32::MAX));
        }
        if asks {
            self.was_asked(heard);
        }
    }

    fn was_asked(&mut self, heard: &Heard<'_>) {
        let member = &mut self.members[heard.index as usize];
        self.asked += u32::from(member.asked_ns == 0);
        member.asked_ns = heard.at_ns;
    }

    fn understand(&mut self, payload: &[u8]) -> Told {
        if let Some((_, told)) = self.known.iter().find(|(known, _)| known == payload) {
            return told.clone();
        }
        let frame = match decode_server(Encoding::Proto, &Message::Binary(payload)) {
            Ok(frame) => frame,
            Err(error) => {
                self.problem = Some(format!("a frame could not be read: {error}"));
                return Told::Nothing;
            }
        };
        if let Some(failure) = frame.failure {
            self.problem = Some(format!("a client was refused: {failure:?}"));
            return Told::Nothing;
        }
        let Some(server_frame::Body::Business(business)) = frame.body else {
            return Told::Nothing;
        };
        match business.body {
            Some(business::Body::Response(it)) => match it.payload {
                Some(response::Payload::Joined(joined)) => joined_at(&joined),
                Some(response::Payload::Published(published)) => Told::Acknowledged {
                    sequence: business.sequence,
                    version: published.stamp.map_or(0, |stamp| stamp.version),
                },
                _ => Told::Nothing,
            },
            Some(business::Body::Notification(it)) => {
                let told = notified(&it);
                if self.known.len() == FRAMES_KNOWN {
                    self.known.remove(0);
                }
                self.known.push((payload.to_vec(), told.clone()));
                told
            }
            _ => Told::Nothing,
        }
    }
}

fn lane_index(lane: Lane) -> usize {
    match lane {
        Lane::High => HIGH,
        Lane::Mid => 1,
        Lane::Low | Lane::Unspecified => LOW,
    }
}

fn joined_at(joined: &Joined) -> Told {
    let mut positions = [0; LANES];
    for position in &joined.positions {
        positions[lane_index(position.lane())] = position.version;
    }
    Told::Joined { positions, epoch: joined.epoch, resumed: joined.resumed }
}

fn notified(notification: &Notification) -> Told {
    if let Some(notification::Payload::Gap(gap)) = &notification.payload {
        let lane = lane_index(gap.lane());
        return Told::Gap { lane, first: gap.first_missing, last: gap.last_missing };
    }
    let asks = matches!(&notification.payload, Some(notification::Payload::Question(_)));
    if let (Some((first, last)), Some(stamp)) = (notification.span(), &notification.stamp) {
        let (carried, info) = match &notification.payload {
            Some(notification::Payload::RoomBatch(batch)) => (batch.carried(), batch.info.as_ref()),
            _ => (1, None),
        };
        let (lane, online) = (lane_index(stamp.lane()), info.map(|info| info.online));
        return Told::Versions(Versions { lane, first, last, carried, online, asks });
    }
    if asks { Told::Question } else { Told::Nothing }
}

impl Audience for Hearing {
    fn request(&mut self, index: u32, request: &mut Vec<u8>) {
        request.extend_from_slice(&self.requests[index as usize]);
    }

    fn upgraded(&mut self, _: u32, _: u16, _: &mut Outgoing) {}

    fn heard(&mut self, heard: Heard<'_>, _: &mut Outgoing) {
        match heard.opcode & OPCODE {
            TEXT | BINARY => {}
            CLOSE => {
                let code = heard.payload.first_chunk().map_or(0, |code| u16::from_be_bytes(*code));
                let reason = String::from_utf8_lossy(heard.payload.get(2..).unwrap_or_default());
                self.problem = Some(format!("a client was closed with {code}: {reason}"));
                return;
            }
            _ => return,
        }
        let told = self.understand(heard.payload);
        let member = &mut self.members[heard.index as usize];
        match told {
            Told::Joined { positions, epoch, resumed } => {
                self.joined += u32::from(!member.is_in);
                member.is_in = true;
                member.was_resumed = resumed;
                member.due = positions.map(|position| position + 1);
                self.epoch = epoch;
            }
            Told::Versions(versions) => self.versions(&heard, versions),
            Told::Gap { lane, first, last } => {
                let account = &mut member.accounts[lane];
                account.unexplained += first.saturating_sub(member.due[lane]);
                account.skipped += last + 1 - first;
                member.due[lane] = last + 1;
            }
            Told::Question => self.was_asked(&heard),
            Told::Acknowledged { sequence, version } => {
                let said_ns = self.saying_ns.remove(&sequence);
                self.said_ns.extend(said_ns.map(|said_ns| (version, said_ns)));
            }
            Told::Nothing => {}
        }
    }
}

/// The frame with which a member says something in the low lane.
pub(super) fn say(text: &str, sequence: String, bytes: &mut Vec<u8>) {
    let publish = Publish { lane: Lane::Low.into(), data: text.as_bytes().to_vec().into() };
    let business = Business {
        r#type: BusinessType::Publish.into(),
        sequence,
        body: Some(business::Body::Request(ProtoRequest {
            payload: Some(request::Payload::Publish(publish)),
        })),
    };
    let frame =
        ClientFrame { r#type: TYPE_BUSINESS, business: Some(business), ..ClientFrame::default() };
    encode_client(Encoding::Proto, &frame, MASK, bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(hearing: &mut Hearing, told: Told) {
        // What a frame means is known before it comes.
        let payload = vec![u8::try_from(hearing.known.len()).unwrap()];
        hearing.known.push((payload.clone(), told));
        let heard = Heard { index: 0, opcode: 2, frame_bytes: 3, payload: &payload, at_ns: 5 };
        hearing.heard(heard, &mut Outgoing::default());
    }

    #[test]
    fn every_version_ends_in_one_account() {
        let mut hearing = Hearing::new(vec![Vec::new()]);
        hear(&mut hearing, Told::Joined { positions: [7, 0, 10], epoch: 3, resumed: false });
        let versions = |first, last, carried| {
            Told::Versions(Versions {
                lane: LOW,
                first,
                last,
                carried,
                online: Some(9),
                asks: false,
            })
        };
        hear(&mut hearing, versions(11, 20, 4));
        hear(&mut hearing, Told::Gap { lane: LOW, first: 21, last: 25 });
        hear(&mut hearing, versions(28, 28, 1));
        let account = hearing.account(LOW);
        let expected = Account { delivered: 5, thinned: 6, skipped: 5, unexplained: 2 };
        assert_eq!((account, account.all()), (expected, 18));
        assert_eq!((hearing.seen(0), hearing.online(), hearing.epoch()), ([7, 0, 28], 9, 3));
    }

    #[test]
    fn a_message_of_the_high_lane_is_timed_at_each_member() {
        let mut hearing = Hearing::new(vec![Vec::new()]);
        hear(&mut hearing, Told::Joined { positions: [7, 0, 0], epoch: 3, resumed: true });
        hearing.await_high();
        let versions = |first| {
            let (lane, last, carried) = (HIGH, first, 1);
            Told::Versions(Versions { lane, first, last, carried, online: None, asks: true })
        };
        hear(&mut hearing, versions(8));
        hear(&mut hearing, versions(9));
        assert_eq!((hearing.served(), hearing.resumed(), hearing.asked()), (1, 1, 1));
        assert_eq!(hearing.take_times_ns(), [5]);
    }
}
