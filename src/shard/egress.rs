//! What this shard may put on the wire, and what it tells rooms' homes about it.
//!
//! The line's rate is divided among the shards. Every send is counted as the network carries it:
//! its bytes, and for each segment what TCP, IP and Ethernet add. Replies and the high lane always
//! go out; the lanes mid and low wait while the budget is spent. So that they need not wait for
//! long, the shard tells the home of every room how many of a thousand messages of the low lane it
//! has room for, and the home leaves the others out, for everybody alike, before it encodes them.
//!
//! Why at the home: whoever thins at the receiver's end sends a batch of its own to each, which is
//! compressed anew for each; whoever thins per shard has viewers who see different chats. The
//! price is that the slowest shard decides for its rooms, and that the answer comes a second late:
//! meanwhile the lanes wait.

use std::time::Duration;

use crate::base::ids::RoomId;
use crate::base::time::Time;
use crate::room::lane::Lane;
use crate::shard::Shard;
use crate::shard::mail::{Mail, RoomReport};
use crate::shard::rooms::WireCost;

/// Bytes of one TCP segment's payload where packets have 1,500 bytes (with timestamps).
const SEGMENT_BYTES: u64 = 1_448;
/// TCP and IPv4 headers with timestamps; Ethernet with preamble, checksum and gap.
const SEGMENT_OVERHEAD_BYTES: u64 = 52 + 38;
/// What can be saved up: a send of some milliseconds, so that a switch's buffer takes it.
const BURST: Duration = Duration::from_millis(20);
/// How deep replies and the high lane can push it into debt: lanes that wait, wait no longer than this
/// once the others are silent.
const DEBT: Duration = Duration::from_secs(1);
/// How often homes are told of members.
const REPORT_INTERVAL: Duration = Duration::from_millis(250);
/// Reports from one look at the budget to the next.
const REPORTS_PER_LOOK: u32 = 4;
/// Of the line, this share is for rooms' low lanes whatever else there is, in percent: a room in which
/// nobody can be heard looks dead.
const LOW_PERCENT_MIN: u64 = 2;
/// Everything, in the unit of shares.
const WHOLE: u64 = 1_000;

/// What bytes cost on the wire if they are sent together.
pub(crate) fn wire_bytes(bytes: usize) -> u64 {
    let bytes = bytes as u64;
    bytes + bytes.div_ceil(SEGMENT_BYTES) * SEGMENT_OVERHEAD_BYTES
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Reply,
    Lane(Lane),
}

impl Class {
    fn index(self) -> usize {
        match self {
            Class::Reply => 0,
            Class::Lane(lane) => 1 + lane.index(),
        }
    }
}

/// What went out, and what may.
#[derive(Debug, Default)]
pub(crate) struct Egress {
    /// Bytes per second on the wire; nothing: any number.
    rate: Option<u64>,
    /// What may go out now; below zero where others went first.
    credit: i64,
    credited_at: Time,
    /// Bytes on the wire: replies, and by lane.
    sent: [u64; 4],
    /// The same at the last look.
    sent_before: [u64; 4],
    looked_at: Time,
    reports_until_look: u32,
    report_due: Option<Time>,
    /// Times at which a lane had to wait.
    waits: u64,
    is_waiting: bool,
}

/// What a shard put on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WireBytes {
    /// Replies, and everything else that is for one connection.
    pub replies: u64,
    /// Rooms, by lane.
    pub lanes: [u64; 3],
    /// What the budget is, per second; 0 without one.
    pub budget_per_second: u64,
    /// How often lanes had to wait for it.
    pub waits: u64,
}

impl Egress {
    /// With so much for this shard, 0 for any number.
    pub(crate) fn new(bytes_per_second: u64) -> Egress {
        let rate = Some(bytes_per_second).filter(|rate| *rate > 0);
        Egress { rate, credit: 0, ..Egress::default() }
    }

    /// Another rate from now on, 0 for any number. What was saved up or is owed stays, as far as the
    /// new rate allows for it.
    pub(crate) fn set_rate(&mut self, now: Time, bytes_per_second: u64) {
        if let Some(rate) = self.rate {
            self.refill(now, rate);
        }
        self.rate = Some(bytes_per_second).filter(|rate| *rate > 0);
        match self.rate {
            Some(rate) => {
                let (debt_max, burst) = (signed(per(rate, DEBT)), signed(per(rate, BURST)));
                self.credit = self.credit.clamp(-debt_max, burst);
            }
            None => self.is_waiting = false,
        }
    }

    /// Notes what a send took.
    pub(crate) fn note(&mut self, now: Time, class: Class, bytes: usize) {
        let wire = wire_bytes(bytes);
        self.sent[class.index()] += wire;
        if let Some(rate) = self.rate {
            self.refill(now, rate);
            let debt_max = signed(per(rate, DEBT));
            self.credit = (self.credit - signed(wire)).max(-debt_max);
        }
    }

    /// Whether the lanes mid and low may go out.
    pub(crate) fn is_open(&mut self, now: Time) -> bool {
        let Some(rate) = self.rate else {
            return true;
        };
        self.refill(now, rate);
        let is_open = self.credit > 0;
        self.waits += u64::from(!is_open && !self.is_waiting);
        self.is_waiting = !is_open;
        is_open
    }

    /// Whether they may not, as of the last look.
    pub(crate) fn is_waiting(&self) -> bool {
        self.is_waiting
    }

    /// When they may again, if they may not.
    fn opens_at(&self) -> Option<Time> {
        let rate = self.rate.filter(|_| self.is_waiting)?;
        let missing = self.credit.min(0).unsigned_abs() + 1;
        let wait = Duration::from_nanos(missing.saturating_mul(1_000_000_000) / rate + 1);
        // Not each time that a few bytes fit.
        Some(self.credited_at + wait.max(Duration::from_millis(1)))
    }

    fn refill(&mut self, now: Time, rate: u64) {
        let added = per(rate, now.since(self.credited_at).min(DEBT + BURST));
        if added > 0 {
            self.credit = (self.credit + signed(added)).min(signed(per(rate, BURST)));
            self.credited_at = now;
        }
    }
}

fn per(rate: u64, time: Duration) -> u64 {
    let bytes = u128::from(rate) * time.as_nanos() / 1_000_000_000;
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// A room's members here, and what its low lane would cost if nothing were left out.
#[derive(Clone, Copy, Debug)]
struct Demand {
    members: u64,
    bytes: u64,
}

/// How many of a thousand messages each room has room for, where all of them together have `budget`:
/// every member gets the same number of bytes, and what some don't need the others get.
fn shares(budget: u64, demands: &[Demand]) -> Vec<u16> {
    let mut order: Vec<usize> = (0..demands.len()).collect();
    // By what one member wants.
    order.sort_by(|one, two| {
        let (one, two) = (&demands[*one], &demands[*two]);
        let cross = |of: &Demand, by: &Demand| u128::from(of.bytes) * u128::from(by.members);
        cross(one, two).cmp(&cross(two, one))
    });
    let mut members: u64 = demands.iter().map(|demand| demand.members).sum();
    let mut left = budget;
    let mut shares = vec![1_000; demands.len()];
    for place in order {
        let Demand { members: here, bytes } = demands[place];
        let fair = u128::from(left) * u128::from(here) / u128::from(members.max(1));
        let fair = u64::try_from(fair).unwrap_or(u64::MAX);
        if bytes > fair {
            shares[place] = u16::try_from(fair * WHOLE / bytes).unwrap_or(1_000).max(1);
        }
        left -= bytes.min(fair);
        members -= here;
    }
    shares
}

impl Shard {
    /// What went out, as the network carried it.
    #[must_use]
    pub fn wire_bytes(&self) -> WireBytes {
        let [replies, high, mid, low] = self.egress.sent;
        WireBytes {
            replies,
            lanes: [high, mid, low],
            budget_per_second: self.egress.rate.unwrap_or(0),
            waits: self.egress.waits,
        }
    }

    /// Somebody joined or left, or something went out: homes are to be told.
    pub(crate) fn arm_reports(&mut self) {
        let soon = self.now + REPORT_INTERVAL;
        self.egress.report_due.get_or_insert(soon);
    }

    /// When there is something to report, or lanes may go out again.
    pub(crate) fn egress_deadline(&self) -> Option<Time> {
        let opens_at = self.egress.opens_at().filter(|_| self.push.has_patient());
        [self.egress.report_due, opens_at].into_iter().flatten().min()
    }

    /// Tells the homes of rooms how many members are here, and how much of their low lanes there is
    /// room for: at most one mail for each room and interval, however many join and leave.
    pub(crate) fn report_rooms(&mut self) {
        if self.egress.report_due.is_none_or(|due| due > self.now) {
            return;
        }
        self.egress.report_due = None;
        self.look_at_budget();
        for (room, report) in self.rooms.changed_reports() {
            let home = self.placement.room_home(room);
            self.post(home, Mail::RoomReport { room, report });
        }
        if self.divides_the_line() && self.rooms.has_members() {
            self.arm_reports();
        }
    }

    /// At a room's home: a shard reports.
    pub(crate) fn room_reported(&mut self, from: usize, room: RoomId, report: RoomReport) {
        if let Some(home) = self.rooms.homes.get_mut(&room) {
            home.reports[from] = report;
            self.arm_tick(room);
        }
    }

    /// Divides what the high lane and replies left of the budget among the rooms' low lanes.
    fn look_at_budget(&mut self) {
        if !self.divides_the_line() {
            return;
        }
        self.egress.reports_until_look = match self.egress.reports_until_look {
            0 => REPORTS_PER_LOOK - 1,
            left => return self.egress.reports_until_look = left - 1,
        };
        let now = self.now;
        let elapsed = now.since(self.egress.looked_at).min(DEBT * 4);
        // Without a line to divide, only rooms' own limits count.
        let available = per(self.egress.rate.unwrap_or(u64::MAX), elapsed);
        self.egress.looked_at = now;
        let sent_before = std::mem::replace(&mut self.egress.sent_before, self.egress.sent);
        let spent = |class: Class| self.egress.sent[class.index()] - sent_before[class.index()];
        let costs = self.rooms.take_wire_costs();
        let mid: u64 = costs.iter().map(|(_, cost)| cost.mid).sum();
        let others = spent(Class::Reply) + spent(Class::Lane(Lane::High)) + mid;
        let budget = available.saturating_sub(others);
        let budget = budget.max(available.saturating_mul(LOW_PERCENT_MIN) / 100);
        let demand = |(_, WireCost { members, low_unthinned, .. }): &(u32, WireCost)| Demand {
            members: u64::from(*members),
            bytes: *low_unthinned,
        };
        let demands: Vec<Demand> = costs.iter().map(demand).collect();
        for ((index, cost), share) in costs.iter().zip(shares(budget, &demands)) {
            let capped = self.share_within_cap(*index, cost, elapsed);
            self.rooms.set_share(*index, share.min(capped));
        }
    }

    fn divides_the_line(&self) -> bool {
        self.egress.rate.is_some() || self.room_table.has_caps()
    }

    /// How many of a thousand messages of its low lane a room has room for by its own limit, of which
    /// every shard with members has an equal part.
    fn share_within_cap(&self, index: u32, cost: &WireCost, elapsed: Duration) -> u16 {
        let room = self.rooms.id(index);
        let Some(cap) = self.room_table.egress_cap(room) else {
            return 1_000;
        };
        let here = per(cap, elapsed) / u64::from(self.chat.sharers(room).max(1));
        let left = here.saturating_sub(cost.mid);
        let wanted = cost.low_unthinned.max(1);
        let share = u128::from(left) * u128::from(WHOLE) / u128::from(wanted);
        u16::try_from(share.clamp(1, u128::from(WHOLE))).unwrap_or(1_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_costs_what_surrounds_it() {
        for (bytes, wire) in
            [(0, 0), (1, 91), (1_448, 1_538), (1_449, 1_449 + 180), (14_480, 14_480 + 900)]
        {
            assert_eq!(wire_bytes(bytes), wire, "{bytes}");
        }
    }

    #[test]
    fn lanes_wait_while_the_budget_is_spent() {
        let at = Time::from_millis;
        let mut egress = Egress::new(1_000_000);
        assert!(egress.is_open(at(1_000)));
        egress.note(at(1_000), Class::Lane(Lane::High), 100_000);
        assert!(!egress.is_open(at(1_000)), "20 ms are 20,000 bytes");
        let opens_at = egress.opens_at().unwrap();
        assert!(at(1_086) <= opens_at && opens_at <= at(1_088), "{opens_at}");
        assert!(!egress.is_open(at(1_080)) && egress.is_open(opens_at));
        assert_eq!(egress.waits, 1);
        egress.note(at(2_000), Class::Reply, 1 << 30);
        assert!(egress.is_open(at(3_002)), "a debt ends after a second");
        egress.note(at(4_000), Class::Reply, 1 << 30);
        egress.set_rate(at(4_000), 1_000);
        assert!(!egress.is_open(at(4_900)) && egress.is_open(at(5_002)), "at any rate");
        egress.note(at(6_000), Class::Reply, 1 << 30);
        assert!(!egress.is_open(at(6_000)));
        egress.set_rate(at(6_000), 0);
        assert!(egress.is_open(at(6_000)) && !egress.is_waiting(), "without one nobody waits");
        let mut unlimited = Egress::new(0);
        unlimited.note(at(1), Class::Lane(Lane::Low), 1 << 30);
        assert!(unlimited.is_open(at(1)) && unlimited.opens_at().is_none());
    }

    #[test]
    fn members_of_all_rooms_get_the_same_and_what_some_leave_others_get() {
        let demand = |members, bytes| Demand { members, bytes };
        for (budget, demands, expected) in [
            (1_000, vec![demand(10, 1_000)], vec![1_000]),
            (500, vec![demand(10, 1_000)], vec![500]),
            (1_000, vec![demand(10, 1_000), demand(10, 1_000)], vec![500, 500]),
            (1_000, vec![demand(10, 1_000), demand(10, 100)], vec![900, 1_000]),
            (1_000, vec![demand(30, 3_000), demand(10, 4_000)], vec![250, 62]),
            (0, vec![demand(1, 10), demand(0, 0)], vec![1, 1_000]),
        ] {
            assert_eq!(shares(budget, &demands), expected, "{budget} for {demands:?}");
        }
    }
}
