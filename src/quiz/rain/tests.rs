//! Cents, packets and taps: sums exact, limits held, the same outcome whenever it is asked for.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::base::ids::UserId;

fn settings(pool: i64, packets: u32) -> RainSettings {
    RainSettings { ..RainSettings::new(Cents(pool), packets, Duration::from_secs(10)) }
}

fn seed(byte: u8) -> SecretKey {
    SecretKey::from_bytes([byte; 32])
}

#[test]
fn what_cannot_fall_is_refused() {
    let good = settings(100, 100);
    for (wrong, text) in [
        (RainSettings { packets: 0, ..good }, "a rain has 1 to 1048576 packets, not 0"),
        (
            RainSettings { pool: Cents(-1), ..good },
            "a rain's pool is 0 to 10000000000000 cents, not -1",
        ),
        (
            RainSettings { pool: Cents(i64::MAX), ..good },
            "a rain's pool is 0 to 10000000000000 cents, not 9223372036854775807",
        ),
        (
            RainSettings { packets: 101, ..good },
            "100 cents are less than a cent for each of 101 packets: plan fewer packets",
        ),
        (RainSettings { win_per_10000: 0, ..good }, "1 to 10000 of 10000 taps win, not 0"),
        (RainSettings { taps_max: 17, ..good }, "1 to 16 taps of a user count, not 17"),
        (
            RainSettings { duration: Duration::ZERO, ..good },
            "a rain falls for up to 600 s, not 0ns",
        ),
    ] {
        assert_eq!(wrong.check().unwrap_err().to_string(), text);
    }
    assert_eq!(good.check(), Ok(()));
}

#[test]
fn amounts_vary_around_their_average() {
    let plan = Plan::new(settings(100_000_000, 100_000), &seed(1));
    let mut amounts: Vec<i64> = (0..100_000).map(|number| plan.amount(number).0).collect();
    assert_eq!(amounts.iter().sum::<i64>(), 100_000_000);
    amounts.sort_unstable();
    let (tenth, median, ninth) = (amounts[10_000], amounts[50_000], amounts[90_000]);
    assert!((100..500).contains(&tenth), "{tenth}");
    assert!((700..1_100).contains(&median), "{median}");
    assert!((1_700..2_500).contains(&ninth), "{ninth}");
}

#[test]
fn so_many_taps_win_as_was_set() {
    let plan = Plan::new(RainSettings { win_per_10000: 2_500, ..settings(100, 10) }, &seed(2));
    let wins = (1..=10_000).filter(|user| plan.wins(UserId(*user), 1)).count();
    assert!((2_300..2_700).contains(&wins), "{wins}");
}

#[test]
fn the_throttle_lets_a_hundred_thousand_through() {
    let rain = RainSettings { win_per_10000: 100, ..settings(1_000_000, 100_000) };
    assert_eq!(rain.grabs_per_s(), 100_000);
    assert_eq!(rain.send_per_million(1_000_000), 20_000);
    assert_eq!(rain.send_per_million(10), 1_000_000);
    // Ten packets need no such storm.
    assert_eq!(settings(100, 10).grabs_per_s(), 1_000);
    assert_eq!(settings(100, 10).send_per_million(u64::MAX), 1);
}

proptest! {
    #[test]
    fn any_number_of_packets_from_any_pool_is_that_pool(
        packets in 1_u32..600,
        extra in prop_oneof![0_i64..2_000, 0..PRIZE_POOL_CENTS_MAX - 600],
        byte: u8,
    ) {
        let pool = i64::from(packets) + extra;
        let plan = Plan::new(settings(pool, packets), &seed(byte));
        let amounts: Vec<i64> = (0..packets).map(|number| plan.amount(number).0).collect();
        prop_assert!(amounts.iter().all(|amount| *amount >= 1));
        prop_assert_eq!(amounts.iter().map(|it| i128::from(*it)).sum::<i128>(), i128::from(pool));
    }
}

/// What can happen, in any order.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A user taps a slot.
    Tap(u8, u8),
    /// The director hears who wants packets.
    Grant,
    /// All shards hear of the oldest event that one of them has not heard of.
    Deliver(u8),
    /// Everything that is not on record is gone.
    Crash,
    End,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0_u8..12, 0_u8..4).prop_map(|(user, slot)| Step::Tap(user, slot)),
        3 => Just(Step::Grant),
        3 => (0_u8..3).prop_map(Step::Deliver),
        1 => Just(Step::Crash),
        1 => Just(Step::End),
    ]
}

const SHARDS: u16 = 3;
const RAIN: RainIndex = RainIndex(0);

/// Who won with which slot, which number, what, and behind how many events.
type Win = (UserId, u8, u32, Cents, usize);

fn shard_id(place: usize) -> ShardId {
    ShardId(u16::try_from(place).unwrap())
}

/// A director and three shards, with events that take any time and records that survive.
struct World {
    desk: RainDesk,
    taps: Vec<RainTaps>,
    /// What the director decided, and how much of it each shard has heard.
    events: Vec<RainEvent>,
    heard: Vec<usize>,
    wanted: Vec<ShardId>,
    /// Of each shard.
    records: Vec<Vec<Win>>,
    /// What users were told.
    told: BTreeMap<(UserId, u8), Cents>,
}

impl World {
    fn new(settings: RainSettings) -> World {
        let mut world = World {
            desk: RainDesk::new(SHARDS),
            taps: (0..SHARDS).map(|_| RainTaps::default()).collect(),
            events: Vec::new(),
            heard: vec![0; usize::from(SHARDS)],
            wanted: Vec::new(),
            records: vec![Vec::new(); usize::from(SHARDS)],
            told: BTreeMap::new(),
        };
        world.decide(RainEvent::Funded { cents: settings.pool });
        let rain = world.desk.may_plan(&settings).unwrap();
        world.decide(RainEvent::Planned { rain, settings, seed: seed(9) });
        let (starts_at, ends_at) = (Time(0), Time(10));
        world.decide(RainEvent::Started { rain, starts_at, ends_at });
        world.wanted = ShardId::all(SHARDS).collect();
        world
    }

    fn decide(&mut self, event: RainEvent) {
        self.desk.apply(&event);
        self.events.push(event);
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Tap(user, slot) => self.tap(UserId(u64::from(user)), slot),
            Step::Grant => {
                for shard in std::mem::take(&mut self.wanted) {
                    if let Some(grant) = self.desk.grant(RAIN, shard) {
                        self.decide(grant);
                    }
                }
            }
            Step::Deliver(shard) => self.deliver(usize::from(shard)),
            Step::Crash => self.crash(),
            Step::End => {
                if self.desk.must_be(RAIN, RainPhase::Falling).is_ok() {
                    self.decide(RainEvent::Closing { rain: RAIN });
                }
            }
        }
    }

    fn deliver(&mut self, shard: usize) {
        if let Some(event) = self.events.get(self.heard[shard]) {
            self.taps[shard].apply(event, shard_id(shard));
            self.heard[shard] += 1;
        }
    }

    fn tap(&mut self, user: UserId, slot: u8) {
        let shard = usize::try_from(user.0 % u64::from(SHARDS)).unwrap();
        let cents = match self.taps[shard].grab(user, RAIN, slot) {
            Grab::Won { number, cents } => {
                self.records[shard].push((user, slot, number, cents, self.heard[shard]));
                cents
            }
            Grab::Repeated { cents, .. } => cents,
            Grab::Nothing => Cents::ZERO,
            Grab::Busy | Grab::Refused(_) => Cents(-1),
        };
        if cents >= Cents::ZERO {
            assert_eq!(*self.told.entry((user, slot)).or_insert(cents), cents, "the same outcome");
        }
        if self.taps[shard].must_ask(RAIN) {
            self.wanted.push(shard_id(shard));
        }
    }

    /// All is done again from the events and the records; questions on their way are lost.
    fn crash(&mut self) {
        self.wanted.clear();
        self.desk = RainDesk::new(SHARDS);
        self.events.iter().for_each(|event| self.desk.apply(event));
        for shard in 0..usize::from(SHARDS) {
            let mut taps = RainTaps::default();
            let mut records = self.records[shard].iter().peekable();
            for (place, event) in self.events[..self.heard[shard]].iter().enumerate() {
                while let Some((user, slot, number, cents, _)) =
                    records.next_if(|record| record.4 <= place)
                {
                    assert!(taps.grab_again(*user, RAIN, *slot, *number, *cents));
                }
                taps.apply(event, shard_id(shard));
            }
            for (user, slot, number, cents, _) in records {
                assert!(taps.grab_again(*user, RAIN, *slot, *number, *cents));
            }
            taps.drop_grants();
            self.taps[shard] = taps;
        }
    }

    fn finish(mut self) -> World {
        self.step(Step::End);
        for shard in 0..usize::from(SHARDS) {
            (0..self.events.len()).for_each(|_| self.deliver(shard));
        }
        for shard in ShardId::all(SHARDS) {
            let summary = self.taps[shard.index()].summary(RAIN, shard).unwrap();
            if let Some(ended) = self.desk.reported(summary) {
                self.decide(ended);
            }
        }
        self
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]
    #[test]
    fn whatever_comes_in_between_the_sums_are_exact(
        steps in prop::collection::vec(step(), 0..120),
        packets in 1_u32..20,
        extra in 0_i64..100,
        win_per_10000 in prop_oneof![Just(CERTAIN), 1..CERTAIN],
        show_packets_max in 0_u16..4,
    ) {
        let pool = i64::from(packets) + extra;
        let rules = RainSettings { win_per_10000, show_packets_max, ..settings(pool, packets) };
        let mut world = World::new(rules);
        steps.into_iter().for_each(|step| world.step(step));
        let mut world = world.finish();
        // Whoever repeats a tap after the end hears the same.
        for (user, slot) in world.told.keys().copied().collect::<Vec<_>>() {
            world.tap(user, slot);
        }
        let wins: Vec<_> = world.records.iter().flatten().collect();
        let numbers: BTreeSet<u32> = wins.iter().map(|win| win.2).collect();
        prop_assert_eq!(numbers.len(), wins.len(), "no packet twice");
        let paid: i64 = wins.iter().map(|win| win.3.0).sum();
        let told: i64 = world.told.values().map(|cents| cents.0).sum();
        prop_assert_eq!(paid, told);
        let status = world.desk.status().next().unwrap();
        prop_assert_eq!(status.phase, RainPhase::Ended);
        prop_assert_eq!((status.paid, status.grabbed as usize), (Cents(paid), wins.len()));
        prop_assert_eq!(status.paid.0 + status.returned.0, pool);
        prop_assert_eq!(world.desk.fund(), status.returned);
        let most = if show_packets_max == 0 { 3 } else { 3.min(usize::from(show_packets_max)) };
        for user in (0..12).map(UserId) {
            prop_assert!(wins.iter().filter(|win| win.0 == user).count() <= most);
        }
    }
}
