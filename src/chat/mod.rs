//! What clients say in rooms: whether it may be said, and in which words.
//!
//! Everything is checked on the sender's own shard, before anything is posted to the room's home:
//! length, hygiene of the text, mute, the user's rate, duplicates, sensitive words, the same text
//! from many, and at last what the room can carry. [`desk::ChatDesk`] is the whole of it; the other
//! modules are its parts, each usable alone.
//!
//! Pure: time and keys are inputs, there is no I/O, and equal inputs give equal outcomes.
//! Deliberately absent: connections, lanes, and the room's history; who may enter a room; word
//! lists that look alike in other scripts or take letters apart by meaning (an operator lists those
//! spellings as words).

pub mod desk;
pub mod fold;
pub mod hygiene;
pub mod likes;
pub mod mutes;
pub mod pace;
pub mod settings;
pub mod speakers;
pub mod uplink;
pub mod words;
