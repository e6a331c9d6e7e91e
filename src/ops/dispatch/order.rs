//! In which order gateways are to be tried: pure.
//!
//! A gateway's *room* is how many more connections it can take: the share that is free of its
//! connections, packets and bits, whichever is least, of the connections that it is good for. Who is
//! first is drawn in proportion to room, and so is who is next, among those that are left. So an
//! audience spreads as there is room for it, and no gateway gets all of those who ask between two
//! looks at it, as the emptiest one would if it always came first.
//!
//! [`ORDERS`] orders are drawn at a time. Who is first in them is not left to chance alone: the places
//! are dealt out in proportion to room, to within one place, so that a crowd that is spread over the
//! orders evenly fills the gateways evenly too.

use crate::base::entropy::Entropy;

use super::load::as_f64;

/// How many orders are drawn at a time.
pub const ORDERS: usize = 64;

/// How full a gateway is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Filling {
    /// What there is.
    pub used: f64,
    /// As much as it is good for.
    pub capacity: f64,
}

impl Filling {
    /// The share that is free, 0 to 1.
    #[must_use]
    pub fn free_share(self) -> f64 {
        if self.capacity > 0.0 { (1.0 - self.used / self.capacity).clamp(0.0, 1.0) } else { 0.0 }
    }
}

/// How many more connections a gateway can take. Where packets or bits have no limit, they do not
/// count.
#[must_use]
pub fn room(connections: Filling, others: &[Option<Filling>]) -> f64 {
    let others = others.iter().flatten().map(|filling| filling.free_share());
    others.fold(connections.free_share(), f64::min) * connections.capacity.max(0.0)
}

/// A gateway that may be tried.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Its place in the list of all gateways.
    pub gateway: usize,
    /// How many more connections it can take; nothing: it is to be tried after all that have room.
    pub room: f64,
    /// It will be drained soon: to be tried when nothing else works.
    pub is_last: bool,
}

impl Candidate {
    fn is_in_first_rank(&self) -> bool {
        self.room > 0.0 && !self.is_last
    }

    /// Ranks are tried one after the other: room, no room, about to be drained.
    fn rank(&self) -> u8 {
        match (self.is_last, self.room > 0.0) {
            (false, true) => 0,
            (false, false) => 1,
            (true, _) => 2,
        }
    }
}

/// So many orders, each of all candidates, as places in the list of all gateways.
pub fn orders(candidates: &[Candidate], entropy: &mut dyn Entropy) -> Vec<Vec<usize>> {
    let mut firsts = deal(candidates, entropy);
    shuffle(&mut firsts, entropy);
    let order = |first: Option<usize>| {
        let mut keyed: Vec<(u8, f64, usize)> = candidates
            .iter()
            .map(|it| {
                let is_first = Some(it.gateway) == first;
                let key = if is_first { -1.0 } else { waiting(it.room, entropy) };
                (it.rank(), key, it.gateway)
            })
            .collect();
        keyed.sort_by(|one, other| one.0.cmp(&other.0).then(one.1.total_cmp(&other.1)));
        keyed.into_iter().map(|(_, _, gateway)| gateway).collect()
    };
    firsts.into_iter().map(order).collect()
}

/// Who is first in each order: the places in proportion to room, and the rest of a place by lot
/// (systematic sampling). Nobody where nobody has room: then it is drawn like the others.
fn deal(candidates: &[Candidate], entropy: &mut dyn Entropy) -> Vec<Option<usize>> {
    let with_room: Vec<&Candidate> = candidates.iter().filter(|it| it.is_in_first_rank()).collect();
    let all: f64 = with_room.iter().map(|it| it.room).sum();
    let Some(last) = with_room.last() else { return vec![None; ORDERS] };
    let offset = unit(entropy);
    let mut firsts = Vec::with_capacity(ORDERS);
    let (mut candidate, mut below) = (0, with_room[0].room);
    for place in 0..ORDERS {
        let at = (as_f64(place as u64) + offset) / as_f64(ORDERS as u64) * all;
        while at > below && candidate + 1 < with_room.len() {
            candidate += 1;
            below += with_room[candidate].room;
        }
        firsts.push(Some(with_room.get(candidate).unwrap_or(last).gateway));
    }
    firsts
}

/// The moment at which a gateway comes if each comes at a random moment, the sooner the more room it
/// has: in the order of these moments, each is next in proportion to its room (Efraimidis and Spirakis,
/// 2006). Those without room are in any order.
fn waiting(room: f64, entropy: &mut dyn Entropy) -> f64 {
    let rate = if room > 0.0 { room } else { 1.0 };
    -unit(entropy).ln() / rate
}

/// Above 0 and at most 1.
fn unit(entropy: &mut dyn Entropy) -> f64 {
    const STEPS: u64 = 1 << 53;
    as_f64(entropy.below(STEPS) + 1) / as_f64(STEPS)
}

/// Fisher and Yates.
fn shuffle<T>(items: &mut [T], entropy: &mut dyn Entropy) {
    for count in (2..=items.len()).rev() {
        let other = usize::try_from(entropy.below(count as u64)).unwrap_or(0);
        items.swap(count - 1, other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::entropy::SeededEntropy;
    use proptest::prelude::*;

    fn candidate(gateway: usize, room: f64) -> Candidate {
        Candidate { gateway, room, is_last: false }
    }

    fn firsts(orders: &[Vec<usize>], gateway: usize) -> usize {
        orders.iter().filter(|order| order[0] == gateway).count()
    }

    #[test]
    fn the_scarcest_of_three_says_how_much_room_there_is() {
        let filling = |used, capacity| Filling { used, capacity };
        for (connections, packets, bits, expected) in [
            (filling(0.0, 1_000.0), None, None, 1_000.0),
            (filling(250.0, 1_000.0), None, None, 750.0),
            (filling(250.0, 1_000.0), Some(filling(50.0, 100.0)), None, 500.0),
            (filling(0.0, 1_000.0), Some(filling(50.0, 100.0)), Some(filling(9.0, 10.0)), 100.0),
            (filling(900.0, 1_000.0), Some(filling(0.0, 1.0)), Some(filling(0.0, 1.0)), 100.0),
            (filling(2_000.0, 1_000.0), None, None, 0.0),
            (filling(0.0, 1_000.0), Some(filling(200.0, 100.0)), None, 0.0),
            (filling(0.0, 0.0), None, None, 0.0),
        ] {
            let found = room(connections, &[packets, bits]);
            assert!(
                (found - expected).abs() < 1e-9,
                "{connections:?} {packets:?} {bits:?}: {found}"
            );
        }
    }

    #[test]
    fn first_places_are_dealt_in_proportion_to_room() {
        let candidates = [candidate(0, 100.0), candidate(1, 300.0), candidate(2, 400.0)];
        for seed in 0..50 {
            let orders = orders(&candidates, &mut SeededEntropy::new(seed, 0));
            for (gateway, expected) in [(0, 8), (1, 24), (2, 32)] {
                let got = firsts(&orders, gateway);
                assert!(got.abs_diff(expected) <= 1, "seed {seed}: {gateway} is first {got} times");
            }
        }
    }

    #[test]
    fn who_has_little_room_is_first_now_and_then() {
        let candidates = [candidate(0, 1.0), candidate(1, 639.0)];
        let mut seen = 0;
        for seed in 0..1_000 {
            seen += firsts(&orders(&candidates, &mut SeededEntropy::new(seed, 0)), 0);
        }
        // A tenth of a place each time.
        assert!((60..140).contains(&seen), "{seen}");
    }

    #[test]
    fn who_is_next_is_drawn_in_proportion_to_room_too() {
        let candidates = [candidate(0, 1.0), candidate(1, 1.0), candidate(2, 3.0)];
        let mut next = [0_u32; 3];
        for seed in 0..500 {
            let orders = orders(&candidates, &mut SeededEntropy::new(seed, 0));
            for order in orders.iter().filter(|order| order[0] == 0) {
                next[order[1]] += 1;
            }
        }
        let share = f64::from(next[2]) / f64::from(next[1] + next[2]);
        assert!((0.72..0.78).contains(&share), "{next:?}");
    }

    #[test]
    fn the_full_and_the_leaving_come_after_all_others() {
        let candidates = [
            Candidate { gateway: 7, room: 1e9, is_last: true },
            candidate(3, 0.0),
            candidate(5, 1.0),
        ];
        let orders = orders(&candidates, &mut SeededEntropy::new(1, 0));
        assert_eq!(orders.len(), ORDERS);
        assert!(orders.iter().all(|order| *order == [5, 3, 7]), "{orders:?}");
    }

    #[test]
    fn where_all_are_full_each_is_first_as_often() {
        let candidates = [candidate(0, 0.0), candidate(1, 0.0)];
        let mut first = 0;
        for seed in 0..100 {
            first += firsts(&orders(&candidates, &mut SeededEntropy::new(seed, 0)), 0);
        }
        assert!((2_900..3_500).contains(&first), "{first}");
    }

    #[test]
    fn without_candidates_orders_are_empty() {
        let orders = orders(&[], &mut SeededEntropy::new(1, 0));
        assert!(orders.len() == ORDERS && orders.iter().all(Vec::is_empty));
    }

    proptest! {
        #[test]
        fn every_order_has_every_candidate_once_and_ranks_in_order(
            gateways in proptest::collection::vec(
                (prop_oneof![Just(0.0), 1e-9..1e12_f64], any::<bool>()), 1..64),
            seed: u64,
        ) {
            let candidates: Vec<Candidate> = gateways
                .iter()
                .enumerate()
                .map(|(gateway, (room, is_last))| {
                    Candidate { gateway, room: *room, is_last: *is_last }
                })
                .collect();
            let orders = orders(&candidates, &mut SeededEntropy::new(seed, 0));
            prop_assert_eq!(orders.len(), ORDERS);
            for order in &orders {
                let ranks: Vec<u8> =
                    order.iter().map(|gateway| candidates[*gateway].rank()).collect();
                prop_assert!(ranks.is_sorted(), "{:?}", ranks);
                let mut sorted = order.clone();
                sorted.sort_unstable();
                prop_assert_eq!(sorted, (0..candidates.len()).collect::<Vec<_>>());
            }
            // First places are within one of the share of room.
            let with_room = candidates.iter().filter(|it| it.is_in_first_rank());
            let all: f64 = with_room.clone().map(|it| it.room).sum();
            for it in with_room {
                let expected = it.room / all * as_f64(ORDERS as u64);
                let got = as_f64(firsts(&orders, it.gateway) as u64);
                prop_assert!((got - expected).abs() < 1.001, "{} for {}", got, expected);
            }
        }

        #[test]
        fn room_is_never_below_nothing_nor_above_what_is_free(
            used in 0.0..2e6_f64, capacity in 0.0..1e6_f64, others in
            proptest::collection::vec(proptest::option::of((0.0..1e9_f64, 0.0..1e9_f64)), 2),
        ) {
            let connections = Filling { used, capacity };
            let others: Vec<Option<Filling>> = others
                .into_iter()
                .map(|it| it.map(|(used, capacity)| Filling { used, capacity }))
                .collect();
            let room = room(connections, &others);
            prop_assert!(room >= 0.0 && room <= (capacity - used).max(0.0) + 1e-6);
        }
    }
}
