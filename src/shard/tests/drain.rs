//! A drain: who is asked to leave, and when.

use super::*;
use crate::shard::drain::Drain;
use crate::wire::close::Moving;

impl Stage {
    fn drain(&mut self, spread_ms: u64) {
        let moving = |url: &str| Moving { within_ms: Some(500), to: Some(url.to_owned()) };
        let moves = ["ws://b/", "ws://c/"].map(moving);
        let spread = Duration::from_millis(spread_ms);
        self.step(Input::Drain(Some(Drain { spread, moves: moves.to_vec().into() })));
    }

    /// How many were asked to leave so far.
    fn asked(&self) -> u64 {
        self.shard.counters().closes[CloseReason::GoingAway as usize]
    }

    fn pass(&mut self, milliseconds: u64) {
        self.now = self.now + Duration::from_millis(milliseconds);
        self.step(Input::Tick);
        self.send();
    }
}

#[test]
fn connections_are_asked_one_by_one_over_the_time() {
    let mut stage = Stage::new();
    let conns: Vec<ConnId> = (1..=4).map(|user| stage.enter(user)).collect();
    stage.drain(4_000);
    assert_eq!(stage.asked(), 1, "the first at once");
    for (wait_ms, asked) in [(990, 1), (10, 2), (1_000, 3), (1_000, 4)] {
        assert!(stage.shard.deadline() <= Some(stage.now + Duration::from_secs(1)));
        stage.pass(wait_ms);
        assert_eq!(stage.asked(), asked);
    }
    for (conn, to) in conns.iter().zip(["b", "c", "b", "c"]) {
        let text = format!("going_away within_ms=500 to=ws://{to}/");
        assert!(stage.sent[&conn.place].ends_with(text.as_bytes()), "{conn:?}");
        assert_eq!(stage.heard(*conn).closed, Some(1001));
    }
}

#[test]
fn who_comes_meanwhile_is_let_in_and_asked_when_the_time_is_over() {
    let mut stage = Stage::new();
    stage.enter(1);
    stage.drain(1_000);
    assert_eq!(stage.asked(), 1);
    let late = stage.enter(2);
    assert_eq!(stage.asked(), 1);
    stage.pass(1_000);
    assert_eq!(stage.asked(), 2);
    assert_eq!(stage.heard(late).closed, Some(1001));
    let latest = stage.enter(3);
    stage.pass(1_000);
    assert_eq!((stage.asked(), stage.heard(latest).closed), (3, Some(1001)));
}

#[test]
fn who_has_not_asked_for_anything_yet_gets_a_second_for_it() {
    let mut stage = Stage::new();
    stage.drain(0);
    let conn = ConnId { place: stage.places, generation: 1 };
    let peer = std::net::SocketAddr::from(([127, 0, 0, 1], 9));
    stage.step(Input::Opened { conn, peer });
    stage.pass(1_000);
    assert!(stage.ended.is_empty());
    stage.pass(1_000);
    assert_eq!(stage.ended, [conn]);
}

#[test]
fn nobody_is_asked_once_a_drain_was_ended() {
    let mut stage = Stage::new();
    for user in 1..=4 {
        stage.enter(user);
    }
    stage.drain(4_000);
    stage.pass(1_000);
    stage.step(Input::Drain(None));
    for _ in 0..10 {
        stage.pass(1_000);
    }
    assert_eq!(stage.asked(), 2);
    // Those who have stayed are asked by the next one.
    stage.drain(0);
    assert_eq!(stage.asked(), 4);
}
