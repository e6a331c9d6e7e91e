//! What the service asks about rooms and users, on a shard that is its own home.

use super::*;
use crate::auth::bans::UNTIL_LIFTED;
use crate::shard::config::SlowPolicy;
use crate::shard::service::{Page, RoomSettings, RoomView, ServiceAnswer, ServiceRequest};

impl Stage {
    fn serve(&mut self, request: ServiceRequest) -> Result<ServiceAnswer, OperatorError> {
        match self.ask_operator(OperatorRequest::Service(request))? {
            OperatorAnswer::Service(answer) => Ok(answer),
            other => panic!("{other:?}"),
        }
    }

    fn ban(
        &mut self,
        user: u64,
        until_unix_s: Option<i64>,
    ) -> Result<ServiceAnswer, OperatorError> {
        self.serve(ServiceRequest::Ban { user: UserId(user), until_unix_s })
    }

    fn configure(&mut self, settings: RoomSettings) -> RoomView {
        let request = ServiceRequest::ConfigureRoom { room: ROOM, settings };
        match self.serve(request).unwrap() {
            ServiceAnswer::Room(view) => *view,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn who_is_banned_is_closed_and_comes_back_when_it_is_over() {
    let mut stage = Stage::new();
    let now_s = CLOCK.unix_ms(stage.now) / 1_000;
    let (banned, other) = (stage.enter(1), stage.enter(2));
    stage.ban(1, Some(now_s + 60)).unwrap();
    stage.send();
    assert_eq!(stage.heard(banned).closed, Some(4010));
    assert_eq!(stage.heard(other).closed, None);
    let again = stage.enter(1);
    assert_eq!(stage.heard(again).closed, Some(4010));
    let failure = stage.heard(again).frames.into_iter().find_map(|frame| frame.failure).unwrap();
    assert_eq!(failure.reason(), proto::Reason::Banned);
    assert_eq!(failure.until_ms, (now_s + 60) * 1_000);
    let listed = stage.serve(ServiceRequest::Bans(Page { after: UserId(0), limit: 9 })).unwrap();
    let ServiceAnswer::Bans(bans) = listed else { panic!("{listed:?}") };
    assert_eq!(bans, [(UserId(1), now_s + 60)]);
    stage.now = stage.now + Duration::from_secs(61);
    let over = stage.enter(1);
    assert_eq!(stage.heard(over).closed, None);
    assert!(stage.ban(1, Some(now_s)).is_err(), "it would be over");
    stage.ban(1, Some(UNTIL_LIFTED)).unwrap();
    stage.send();
    assert_eq!(stage.heard(over).closed, Some(4010));
    stage.ban(1, None).unwrap();
    let lifted = stage.enter(1);
    assert_eq!(stage.heard(lifted).closed, None);
}

#[test]
fn who_is_disconnected_is_told_whether_to_come_back() {
    let mut stage = Stage::new();
    for (user, reconnect, code) in [(1, false, 4009), (2, true, 4011)] {
        let conn = stage.enter(user);
        let request = ServiceRequest::Disconnect { user: UserId(user), reconnect };
        let done = stage.serve(request.clone()).unwrap();
        assert!(matches!(done, ServiceAnswer::Disconnected(true)));
        stage.send();
        assert_eq!(stage.heard(conn).closed, Some(code));
        stage.step(Input::Ended { conn });
        let done = stage.serve(request).unwrap();
        assert!(matches!(done, ServiceAnswer::Disconnected(false)), "nobody is there any more");
    }
}

#[test]
fn a_room_that_is_made_stays_until_it_is_closed() {
    let mut stage = Stage::new();
    let missing = stage.serve(ServiceRequest::Room(ROOM));
    assert!(matches!(missing, Err(OperatorError::NoSuchRoom(ROOM))));
    let settings = RoomSettings {
        chat_per_second: Some(5),
        kept_kinds: Some(vec![7]),
        slow: [None, None, Some(SlowPolicy::Close)],
        ..RoomSettings::default()
    };
    let view = stage.configure(settings.clone());
    assert_eq!((view.settings, view.is_created, view.online), (settings, true, 0));
    assert_eq!(view.effective.chat_per_second, Some(5));
    assert_eq!(view.effective.opaque_allowed, Some(stage.shard.config.chat.opaque_allowed));
    assert!(stage.shard.keeps_kind(ROOM, 7) && !stage.shard.keeps_kind(RoomId(ROOM.0 + 1), 7));
    assert_eq!(stage.shard.slow_policy(ROOM, Lane::Low), SlowPolicy::Close);
    stage.now = stage.now + Duration::from_secs(3_600);
    stage.step(Input::Tick);
    let listed = stage.serve(ServiceRequest::Rooms(Page { after: RoomId(0), limit: 9 })).unwrap();
    let ServiceAnswer::Rooms(rooms) = listed else { panic!("{listed:?}") };
    assert_eq!(rooms, [(ROOM, 0, true)]);
    let view = stage.configure(RoomSettings::default());
    assert_eq!(view.effective.chat_per_second, Some(stage.shard.config.chat.room_per_second));
    assert!(!stage.shard.keeps_kind(ROOM, 7), "settings take the place of those before");
    stage.configure(RoomSettings { kept_kinds: Some(vec![7]), ..RoomSettings::default() });
    stage.ask_operator(OperatorRequest::CloseRoom(ROOM)).unwrap();
    assert!(!stage.shard.keeps_kind(ROOM, 7), "and go with the room");
    let request = ServiceRequest::ConfigureRoom { room: ROOM, settings: RoomSettings::default() };
    assert!(matches!(stage.serve(request), Err(OperatorError::RoomEnded(ROOM))));
}

#[test]
fn a_room_keeps_to_its_part_of_the_line() {
    let mut stage = Stage::new();
    stage.configure(RoomSettings { egress_bytes_per_s: Some(1), ..RoomSettings::default() });
    stage.enter(1);
    for _ in 0..30 {
        let messages = vec![Bytes::from(vec![1; 400]); 8];
        let said = ServiceMessages { room: ROOM, lane: Lane::Low, kind: 0, messages };
        stage.ask_operator(OperatorRequest::Publish(said)).unwrap();
        stage.now = stage.now + Duration::from_millis(250);
        stage.step(Input::Tick);
        stage.send();
    }
    let thinned = stage.shard.counters().room_versions_thinned;
    assert!(thinned > 100, "of 240 messages {thinned} were left out");
}
