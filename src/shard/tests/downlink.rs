//! How rooms' messages go out: ticks, thinning, the egress budget, slow readers, and rooms that end.

use super::*;
use crate::shard::config::{Slow, SlowPolicy};
use crate::shard::egress::Egress;

/// The batches of the low lane: first version, versions, messages.
fn batches(heard: &Heard) -> Vec<(u64, u64, usize)> {
    let of_frame = |frame: &proto::ServerFrame| {
        let Some(proto::server_frame::Body::Business(business)) = &frame.body else { return None };
        let Some(proto::business::Body::Notification(it)) = &business.body else { return None };
        let Some(proto::notification::Payload::RoomBatch(batch)) = &it.payload else { return None };
        let (first, last) = it.span()?;
        Some((first, last + 1 - first, batch.messages.len()))
    };
    heard.frames.iter().filter_map(of_frame).collect()
}

#[test]
fn messages_of_a_tick_come_as_one_frame_and_a_reader_resumes_before_it() {
    let mut stage = Stage::new();
    stage.shard.config.lane_bytes_max = 15_000;
    let conn = stage.enter(1);
    for count in [1, 3, 2] {
        (0..count).for_each(|_| stage.receive(conn, chat()));
        stage.now = stage.now + Duration::from_millis(500);
        stage.step(Input::Tick);
        stage.send();
    }
    assert_eq!(batches(&stage.heard(conn)), [(2, 3, 3), (5, 2, 2)]);
    let epoch = stage.heard(conn).epoch();
    // The sender of version 3 knows it from the acknowledgement, and had nothing of the batch.
    for (low, again) in [(4, vec![(5, 2, 2)]), (3, vec![(2, 3, 3), (5, 2, 2)]), (6, vec![])] {
        let target = format!("/?token={}&room={ROOM}&epoch={epoch}&low={low}", token(2));
        let conn = stage.upgrade(&target);
        stage.send();
        assert_eq!(batches(&stage.heard(conn)), again, "behind version {low}");
    }
    let low = stage.shard.tallies()[2];
    assert_eq!((low.outstanding(), stage.shard.owed()), (0, [0; 3]), "{low:?}");
}

#[test]
fn what_a_room_has_no_room_for_is_left_out_for_everybody() {
    let mut stage = Stage::new();
    stage.shard.config.lane_bytes_max = 15_000;
    stage.shard.config.downlink.low_rate_max = 4;
    let conns = [stage.enter(1), stage.enter(2)];
    for _ in 0..8 {
        (0..4).for_each(|_| stage.receive(conns[0], chat()));
        stage.now = stage.now + Duration::from_millis(500);
        stage.step(Input::Tick);
        stage.send();
    }
    let heard = conns.map(|conn| batches(&stage.heard(conn)));
    assert_eq!(heard[0], heard[1]);
    let (versions, messages) =
        heard[0].iter().fold((0, 0), |sums, it| (sums.0 + it.1, sums.1 + it.2));
    assert_eq!((versions, messages), (8 * 4, 4 + 7 * 2), "after the first second 4 a second");
    let low = stage.shard.tallies()[2];
    assert_eq!((low.delivered, low.thinned, low.outstanding()), (2 * 18, 2 * 14, 0));
}

/// What a client was told of its room, in order: of how many members, and whether it ended.
fn told(heard: &Heard) -> Vec<(u64, bool)> {
    use proto::notification::Payload;
    let of_frame = |frame: &proto::ServerFrame| {
        let Some(proto::server_frame::Body::Business(business)) = &frame.body else { return None };
        let Some(proto::business::Body::Notification(it)) = &business.body else { return None };
        match &it.payload {
            Some(Payload::RoomBatch(batch)) => Some((batch.info.as_ref()?.online, false)),
            Some(Payload::RoomInfo(info)) => Some((info.online, false)),
            Some(Payload::RoomClosed(_)) => Some((0, true)),
            _ => None,
        }
    };
    heard.frames.iter().filter_map(of_frame).collect()
}

#[test]
fn however_many_join_the_room_is_told_once_an_interval() {
    let mut stage = Stage::new();
    stage.shard.config.downlink.info_interval_ms = 2_000;
    stage.shard.config.downlink.low_rate_max = 10;
    stage.shard.config.lane_bytes_max = 15_000;
    let first = stage.enter(1);
    for user in 2..=300 {
        stage.enter(user);
        stage.now = stage.now + Duration::from_millis(10);
        stage.step(Input::Tick);
        stage.send();
    }
    let during = told(&stage.heard(first));
    assert!((1..=3).contains(&during.len()), "{during:?}");
    for _ in 0..30 {
        stage.now = stage.now + Duration::from_millis(100);
        stage.step(Input::Tick);
        stage.send();
    }
    let after = told(&stage.heard(first));
    assert_eq!(after.last(), Some(&(300, false)), "{after:?}");
    assert!(after.len() <= during.len() + 2, "{after:?}");
    let state = stage.shard.room_state(ROOM).unwrap();
    // 300 members say 30 messages a second, and 10 go out.
    assert_eq!((state.chat_permille, state.reconnect_spread_ms), (333, 500));
}

#[test]
fn a_room_that_ends_tells_its_members_and_lets_them_go() {
    let mut stage = Stage::new();
    let conns = [stage.enter(1), stage.enter(2)];
    let request = OperatorRequest::CloseRoom(ROOM);
    stage.step(Input::Operator { ticket: 1, request });
    for _ in 0..5 {
        stage.send();
        stage.now = stage.now + Duration::from_millis(50);
        stage.step(Input::Tick);
    }
    stage.send();
    assert_eq!(stage.shard.gauges().rooms, 0);
    for conn in conns {
        assert_eq!(told(&stage.heard(conn)), [(0, true)]);
        let join = proto::Join { room_id: ROOM.0, ..proto::Join::default() };
        stage.receive(conn, request_of("again", join));
        stage.send();
        assert_eq!(stage.heard(conn).reply("again"), "NoSuchRoom");
    }
    let other = proto::Join { room_id: 99, ..proto::Join::default() };
    stage.receive(conns[0], request_of("other", other));
    stage.send();
    assert!(stage.heard(conns[0]).reply("other").contains("Joined"));
}

/// It would sit behind the message that ends the room, and wait for ever.
#[test]
fn nobody_enters_a_room_that_its_members_are_still_leaving() {
    let mut stage = Stage::new();
    let (member, late) = (stage.enter(1), stage.enter_room(2, RoomId(99)));
    stage.step(Input::Operator { ticket: 1, request: OperatorRequest::CloseRoom(ROOM) });
    let join = proto::Join { room_id: ROOM.0, ..proto::Join::default() };
    stage.receive(late, request_of("late", join));
    stage.send();
    assert_eq!(stage.heard(late).reply("late"), "NoSuchRoom");
    stage.now = stage.now + Duration::from_millis(50);
    stage.step(Input::Tick);
    stage.send();
    assert_eq!(told(&stage.heard(member)), [(0, true)]);
    assert_eq!(told(&stage.heard(late)), [], "it is where it was");
}

/// What lies between two calls must not be lost because it is less than a millisecond.
#[test]
fn messages_of_the_service_flow_at_their_rate_however_often_it_tries() {
    let mut stage = Stage::new();
    stage.shard.config.downlink.gift_rate_max = 50;
    stage.shard.config.downlink.gift_bytes_max = 100;
    stage.enter(1);
    let mut accepted = 0;
    for _ in 0..10_000 {
        stage.now = stage.now + Duration::from_micros(500);
        let messages = vec![Bytes::from_static(b"x")];
        let messages = ServiceMessages { room: ROOM, lane: Lane::High, kind: 0, messages };
        accepted += u32::from(stage.ask_operator(OperatorRequest::Publish(messages)).is_ok());
    }
    // A burst of 64, and 50 a second for five seconds.
    assert!((310..=316).contains(&accepted), "{accepted}");
}

fn request_of(sequence: &str, join: proto::Join) -> Vec<u8> {
    request(sequence, proto::request::Payload::Join(join))
}

/// A reader whose socket takes nothing for some seconds, with messages coming every second.
fn stalled(policies: [SlowPolicy; 3]) -> (Stage, ConnId) {
    let mut stage = Stage::new();
    stage.shard.config.lane_bytes_max = 15_000;
    stage.shard.config.downlink.slow = Slow { age_ms: 5_000, bytes_max: 1 << 20, policies };
    let conn = stage.enter(1);
    let speaker = stage.enter(2);
    stage.takes = 0;
    for _ in 0..10 {
        stage.receive(speaker, chat());
        stage.now = stage.now + Duration::from_secs(1);
        stage.step(Input::Tick);
        stage.send();
    }
    stage.takes = usize::MAX;
    stage.step(Input::Writable { conn });
    stage.send();
    (stage, conn)
}

#[test]
fn a_reader_that_stalled_goes_on_with_what_is_recent_or_is_closed() {
    let (stage, conn) = stalled([SlowPolicy::Gap; 3]);
    let lane = stage.heard(conn).low_lane();
    let (first, missing) = lane[0];
    assert_eq!(first, "gap", "{lane:?}");
    assert!((3..=7).contains(&missing), "what is older than five seconds: {lane:?}");
    let expected = (missing + 1..=10).map(|version| ("message", version));
    assert!(lane[1..].iter().copied().eq(expected), "{lane:?}");
    let low = stage.shard.tallies()[2];
    assert_eq!((low.skipped, low.offered), (missing, 20), "the other still stands: {low:?}");

    let (stage, conn) = stalled([SlowPolicy::Gap, SlowPolicy::Gap, SlowPolicy::Close]);
    assert_eq!(stage.heard(conn).closed, Some(CloseReason::TooSlow.code()));
}

#[test]
fn beyond_the_line_chat_waits_and_the_high_lane_does_not() {
    let mut stage = Stage::new();
    stage.shard.config.lane_bytes_max = 100_000;
    stage.shard.config.downlink.low_rate_max = 0;
    // Of 100 messages a second to two members, something like 40.
    stage.shard.egress = Egress::new(3_000);
    let conn = stage.enter(1);
    stage.enter(2);
    let mut high = 0;
    for turn in 0..400 {
        let messages = vec![Bytes::from_static(&[b'x'; 20]); 5];
        let messages = ServiceMessages { room: ROOM, lane: Lane::Low, kind: 0, messages };
        let request = OperatorRequest::Publish(messages);
        stage.step(Input::Operator { ticket: 1, request });
        stage.now = stage.now + Duration::from_millis(50);
        stage.step(Input::Tick);
        if turn % 20 == 0 {
            stage.say(ROOM);
            high += 1;
            stage.send();
            let heard = high_versions(&stage.heard(conn));
            assert_eq!(heard, high, "a message of the high lane waited");
        }
        stage.send();
    }
    let wire = stage.shard.wire_bytes();
    let seconds = 400 * 50 / 1_000;
    assert!(wire.lanes[2] <= 3_000 * seconds, "{wire:?}");
    assert!(wire.lanes[2] > 3_000 * seconds / 4, "{wire:?}");
    let low = stage.shard.tallies()[2];
    assert!(low.thinned > low.delivered, "most of the chat is left out: {low:?}");
    assert!(low.skipped < low.offered / 10, "by thinning, not by lapping: {low:?}");
}

fn high_versions(heard: &Heard) -> u64 {
    let of_frame = |frame: &&proto::ServerFrame| {
        let Some(proto::server_frame::Body::Business(business)) = &frame.body else { return false };
        let Some(proto::business::Body::Notification(it)) = &business.body else { return false };
        it.stamp.as_ref().is_some_and(|stamp| stamp.lane() == proto::Lane::High)
    };
    heard.frames.iter().filter(of_frame).count() as u64
}
