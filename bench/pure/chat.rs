//! The whole check of one chat of 130 bytes, with 10,000 sensitive words in force: hygiene, folding,
//! words, duplicates, rates.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::Criterion;
use tidegate::base::hash::PlacementKey;
use tidegate::base::ids::{RoomId, UserId};
use tidegate::base::time::Time;
use tidegate::chat::desk::ChatDesk;
use tidegate::chat::settings::ChatSettings;
use tidegate::chat::words::{Action, WordList};

use crate::cpu_time::CpuTime;
use crate::scale;

const USERS: u64 = 10_000;

pub(crate) fn bench(criterion: &mut Criterion<CpuTime>) {
    let words = scale(10_000, 100);
    let text: String = (0..words).map(|place| format!("{}\n", word(place))).collect();
    let list = Arc::new(WordList::parse(&text, Action::Replace).unwrap());
    let mut group = criterion.benchmark_group("chat");
    group.bench_function(format!("a list of {words} words"), |bencher| {
        bencher.iter(|| WordList::parse(black_box(&text), Action::Replace).unwrap().count());
    });
    for (name, text) in [
        ("ASCII", "a quick brown fox jumps over the lazy dog, and nobody says a word about it. "),
        ("Chinese", "今天的题目也太难了吧，有没有人知道第三题选什么？我觉得是乙！"),
        ("full width", "ｔｏｄａｙ ｉｓ ｎｏｔ ｍｙ ｄａｙ，ｉｓ ｉｔ？"),
        (
            "two words of the list",
            "what w.7-k x1y and then w8k x2y in one text, who would do that? ",
        ),
    ] {
        let text = filled(text);
        // Rates that nobody reaches, but all tables are kept.
        let settings = ChatSettings {
            user_interval: Duration::from_millis(1),
            user_burst: 100,
            room_per_second: 1_000_000,
            duplicate_window: Duration::from_millis(1),
            ..ChatSettings::default()
        };
        let mut desk = ChatDesk::new(settings, Arc::clone(&list), PlacementKey([1; 16]), 1);
        let mut said = 0;
        group.bench_function(format!("one of 130 bytes, {name}, {words} words"), |bencher| {
            bencher.iter(|| {
                said += 1;
                let (now, user) = (Time(said * 2_000_000), UserId(1 + said * 7_919 % USERS));
                desk.chat(now, user, RoomId(7), black_box(&text)).unwrap()
            });
        });
    }
    group.finish();
}

/// Words of which half are Chinese; some share their beginnings.
fn word(place: usize) -> String {
    if place.is_multiple_of(2) {
        return format!("w{place}k x{place}y");
    }
    let letter = |number: usize| {
        let code = 0x4E00 + u32::try_from(number % 5_000).unwrap();
        char::from_u32(code).unwrap()
    };
    [letter(place), letter(place * 31), letter(place * 97)].iter().collect()
}

/// The text again and again, up to 130 bytes.
fn filled(text: &str) -> String {
    let mut filled = String::new();
    for letter in text.chars().cycle() {
        if filled.len() + letter.len_utf8() > 130 {
            return filled;
        }
        filled.push(letter);
    }
    filled
}
