use super::*;
use crate::chat::mutes::EVERYWHERE;
use crate::chat::words::Action;

const ROOM: RoomId = RoomId(7);
const USER: UserId = UserId(42);

fn desk(change: impl FnOnce(&mut ChatSettings)) -> ChatDesk {
    let mut settings = ChatSettings::unlimited();
    change(&mut settings);
    let words = WordList::parse("fuck\nbombe = refuse\n", Action::Replace).expect("a list");
    ChatDesk::new(settings, Arc::new(words), PlacementKey([1; 16]), 1)
}

fn at(ms: u64) -> Time {
    Time::from_millis(ms)
}

fn said(text: &str) -> Result<Said, Refusal> {
    Ok(Said { text: text.to_owned(), is_replaced: false })
}

#[test]
fn texts_are_cleaned_and_censored() {
    let mut desk = desk(|_| {});
    let mut chat = |text: &str| desk.chat(at(1), USER, ROOM, text);
    assert_eq!(chat("你好"), said("你好"));
    assert_eq!(chat(" so\tso\u{202E} "), said("so so"));
    assert_eq!(chat("Ｆ.u.c.k!"), Ok(Said { text: "*******!".into(), is_replaced: true }));
    assert_eq!(chat("b o m b e"), Err(Refusal::Word));
    assert_eq!(chat(" \u{200B}"), Err(Refusal::Empty));
    assert_eq!(chat(&"x".repeat(130)), said(&"x".repeat(130)));
    assert_eq!(chat(&"x".repeat(131)), Err(Refusal::TooLong { bytes: 131, most: 130 }));
}

#[test]
fn what_is_not_said_counts_for_no_duplicate_and_no_room() {
    let mut desk = desk(|settings| {
        settings.duplicate_window = Duration::from_secs(10);
        settings.room_per_second = 2;
        settings.same_text_max = 2;
    });
    assert_eq!(desk.chat(at(0), USER, ROOM, "one"), said("one"));
    assert_eq!(desk.chat(at(0), USER, ROOM, "O.N.E."), Err(Refusal::Duplicate));
    assert_eq!(desk.chat(at(0), USER, RoomId(8), "one"), Err(Refusal::Duplicate));
    assert_eq!(desk.chat(at(0), USER, ROOM, "Bombe"), Err(Refusal::Word));
    assert_eq!(desk.chat(at(0), USER, ROOM, "two"), said("two"));
    let wait = Duration::from_millis(500);
    assert_eq!(desk.chat(at(0), USER, ROOM, "three"), Err(Refusal::Overloaded { wait }));
    assert_eq!(desk.chat(at(500), USER, ROOM, "three"), said("three"), "it had not been said");
    assert_eq!(desk.chat(at(5_000), UserId(1), ROOM, "three"), said("three"));
    assert_eq!(desk.chat(at(5_000), UserId(2), ROOM, "three"), Err(Refusal::Flood));
    assert_eq!(desk.chat(at(10_500), USER, ROOM, "three"), said("three"));
}

#[test]
fn a_text_that_is_tried_is_judged_as_chat_and_forgotten() {
    let mut desk = desk(|settings| {
        settings.user_interval = Duration::from_secs(2);
        settings.user_burst = 1;
        settings.duplicate_window = Duration::from_secs(10);
        settings.room_per_second = 1;
    });
    let found = |text: &str, line, action| FoundWord {
        text: text.to_owned(),
        line,
        action,
        is_whole: false,
    };
    let both = [found("b-o-m-b-e", 2, Action::Refuse), found("Ｆ.u.c.k", 1, Action::Replace)];
    let long = "x".repeat(131);
    for (seconds, (text, words)) in (0..).step_by(20).zip([
        ("你好", &[][..]),
        (" so\tso\u{202E} ", &[][..]),
        ("Ｆ.u.c.k!", &both[1..]),
        ("b-o-m-b-e Ｆ.u.c.k", &both),
        (" \u{200B}", &[][..]),
        (long.as_str(), &[][..]),
    ]) {
        let trial = desk.try_text(text);
        assert_eq!(trial, desk.try_text(text), "nothing of it is remembered: {text:?}");
        assert_eq!(trial.found, words, "{text:?}");
        assert_eq!((trial.word_count, trial.bytes_max), (2, 130));
        // A new speaker each time, to whom neither rates nor repeats apply.
        let chat = desk.chat(at(seconds * 1_000), UserId(seconds + 1), ROOM, text);
        assert_eq!(trial.outcome, chat, "{text:?}");
    }
    let many = "fuck ".repeat(26);
    assert_eq!(desk.try_text(&many).found.len(), 26);
}

#[test]
fn emoji_are_told_apart() {
    let mut desk = desk(|settings| settings.duplicate_window = Duration::from_secs(10));
    assert_eq!(desk.chat(at(0), USER, ROOM, "👍"), said("👍"));
    assert_eq!(desk.chat(at(0), USER, ROOM, "❤"), said("❤"));
    assert_eq!(desk.chat(at(0), USER, ROOM, "👍"), Err(Refusal::Duplicate));
}

#[test]
fn a_mute_holds_for_chat_and_opaque_data_alike() {
    let mut desk = desk(|_| {});
    desk.mutes.mute(USER, ROOM, at(100));
    let muted = Refusal::Muted { until: at(100) };
    assert_eq!(desk.chat(at(99), USER, ROOM, "hello"), Err(muted));
    assert_eq!(desk.opaque(at(99), USER, ROOM), Err(muted));
    assert_eq!(desk.opaque(at(99), USER, RoomId(8)), Ok(()));
    assert_eq!(desk.like(at(99), USER, 3), Ok(3), "a like says nothing");
    assert_eq!(desk.chat(at(100), USER, ROOM, "hello"), said("hello"));
    desk.mutes.mute(USER, EVERYWHERE, at(200));
    assert_eq!(desk.opaque(at(150), USER, RoomId(8)), Err(Refusal::Muted { until: at(200) }));
}

#[test]
fn opaque_data_has_the_rates_of_chat() {
    let mut desk = desk(|settings| {
        settings.user_interval = Duration::from_secs(1);
        settings.user_burst = 2;
        settings.room_per_second = 3;
    });
    assert_eq!(desk.chat(at(0), USER, ROOM, "hello"), said("hello"));
    assert_eq!(desk.opaque(at(0), USER, ROOM), Ok(()));
    let wait = Duration::from_secs(1);
    assert_eq!(desk.opaque(at(0), USER, ROOM), Err(Refusal::TooFast { wait }));
    assert_eq!(desk.opaque(at(0), UserId(1), ROOM), Ok(()));
    assert!(matches!(desk.opaque(at(0), UserId(2), ROOM), Err(Refusal::Overloaded { .. })));
}

#[test]
fn opaque_data_can_be_forbidden() {
    let mut desk = desk(|settings| settings.opaque_allowed = false);
    assert_eq!(desk.opaque(at(0), USER, ROOM), Err(Refusal::OpaqueForbidden));
    assert_eq!(desk.chat(at(0), USER, ROOM, "hello"), said("hello"));
}

#[test]
fn other_words_are_in_force_at_once() {
    let mut desk = desk(|_| {});
    assert_eq!(desk.word_count(), 2);
    let words = WordList::parse("hello\n", Action::Refuse).expect("a list");
    desk.set_words(Arc::new(words));
    assert_eq!(desk.chat(at(0), USER, ROOM, "hello"), Err(Refusal::Word));
    assert_eq!(desk.chat(at(0), USER, ROOM, "fuck"), said("fuck"));
}
