//! Any text against any list of words: what goes out is no longer than what came, and nothing in it
//! disturbs others.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use tidegate::base::hash::PlacementKey;
use tidegate::base::ids::{RoomId, UserId};
use tidegate::base::time::Time;
use tidegate::chat::desk::ChatDesk;
use tidegate::chat::settings::ChatSettings;
use tidegate::chat::words::{Action, WordList};

fuzz_target!(|parts: (&str, &str)| {
    let (list, text) = parts;
    let words = WordList::parse(list, Action::Replace).unwrap_or_default();
    let settings = ChatSettings { text_bytes_max: 1_024, ..ChatSettings::unlimited() };
    let mut desk = ChatDesk::new(settings, Arc::new(words), PlacementKey([1; 16]), 1);
    if let Ok(said) = desk.chat(Time(1), UserId(1), RoomId(1), text) {
        assert!(!said.text.is_empty() && said.text.len() <= text.len());
        assert!(!said.text.contains(|letter: char| letter.is_control()));
    }
});
