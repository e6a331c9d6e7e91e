//! The whole check of what a client says, in the order in which it is cheapest and most honest: who
//! is muted is told so whatever the text, and only what would really go out counts as said.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::base::hash::PlacementKey;
use crate::base::ids::{RoomId, UserId};
use crate::base::limits::TRIAL_WORDS_MAX;
use crate::base::time::Time;
use crate::chat::fold::Folded;
use crate::chat::hygiene::clean;
use crate::chat::mutes::Mutes;
use crate::chat::settings::{ChatSettings, RoomChat};
use crate::chat::speakers::{Memory, Speakers};
use crate::chat::uplink::Uplinks;
use crate::chat::words::{Action, Found, WordList};

/// Why something is not said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Nothing visible is in the text.
    #[error("the text is empty")]
    Empty,
    /// Too many bytes.
    #[error("the text has {bytes} bytes; at most {most} are possible")]
    TooLong {
        /// Of the text.
        bytes: usize,
        /// That are possible.
        most: usize,
    },
    /// The user is muted, in this room or everywhere.
    #[error("you are muted")]
    Muted {
        /// Until then.
        until: Time,
    },
    /// The user says too much.
    #[error("too fast; wait a moment")]
    TooFast {
        /// So long.
        wait: Duration,
    },
    /// The user said the same a moment ago.
    #[error("you said this a moment ago")]
    Duplicate,
    /// The room has heard this text often enough.
    #[error("the room has heard this often enough")]
    Flood,
    /// The text has a word for which it is refused; which, nobody is told.
    #[error("the text has a word that is not said here")]
    Word,
    /// The room cannot carry more now: discarded.
    #[error("the room cannot carry more now; this was discarded")]
    Overloaded {
        /// When it is worth another try.
        wait: Duration,
    },
    /// Opaque data is not taken here.
    #[error("this gateway takes no opaque data from clients; send a chat")]
    OpaqueForbidden,
}

/// A text that may go out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// In the words in which it goes out.
    pub text: String,
    /// Sensitive words were replaced.
    pub is_replaced: bool,
}

/// What would become of a text, whoever says it and wherever: for those who see to the words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// How it would go out, or why it would not.
    pub outcome: Result<Said, Refusal>,
    /// The words in it, in the order in which they begin; the first [`TRIAL_WORDS_MAX`].
    pub found: Vec<FoundWord>,
    /// How many words are in force.
    pub word_count: usize,
    /// Bytes that a text may have.
    pub bytes_max: usize,
}

/// A sensitive word as it stands in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundWord {
    /// In the letters of the text.
    pub text: String,
    /// Its line in the list, counted from 1.
    pub line: usize,
    /// What is done about it.
    pub action: Action,
    /// It counts only where no letter or digit touches it.
    pub is_whole: bool,
}

/// The check, with all that one shard remembers for it.
pub struct ChatDesk {
    settings: ChatSettings,
    key: PlacementKey,
    words: Arc<WordList>,
    /// Who may not speak.
    pub mutes: Mutes,
    /// What rooms take.
    pub uplinks: Uplinks,
    /// Rooms for which it was set whether opaque data is taken.
    opaque_allowed: BTreeMap<RoomId, bool>,
    speakers: Speakers,
    folded: Folded,
    spans: Vec<(usize, usize)>,
}

impl ChatDesk {
    /// A desk on one of `shard_count` shards, with the words that are in force. Users and texts are
    /// hashed with `key`, which clients must not know.
    #[must_use]
    pub fn new(
        settings: ChatSettings,
        words: Arc<WordList>,
        key: PlacementKey,
        shard_count: u16,
    ) -> ChatDesk {
        ChatDesk {
            settings,
            key,
            words,
            mutes: Mutes::default(),
            uplinks: Uplinks::new(&settings, shard_count),
            opaque_allowed: BTreeMap::new(),
            speakers: Speakers::new(key, Memory::new(&settings)),
            folded: Folded::default(),
            spans: Vec::new(),
        }
    }

    /// Other words are in force from now on.
    pub fn set_words(&mut self, words: Arc<WordList>) {
        self.words = words;
    }

    /// Other settings are in force from now on; what is remembered of users and rooms stays.
    pub fn set(&mut self, settings: ChatSettings) {
        self.uplinks.set(&settings);
        self.speakers.set_memory(Memory::new(&settings));
        self.settings = settings;
    }

    /// What is set for a room; nothing: like any room. Whoever sets it bounds the number of rooms.
    pub fn set_room(&mut self, room: RoomId, settings: Option<RoomChat>) {
        let RoomChat { per_second, opaque_allowed } = settings.unwrap_or_default();
        self.uplinks.set_rate(room, per_second);
        match opaque_allowed {
            Some(is_allowed) => self.opaque_allowed.insert(room, is_allowed),
            None => self.opaque_allowed.remove(&room),
        };
    }

    /// How many words are in force.
    #[must_use]
    pub fn word_count(&self) -> usize {
        self.words.count()
    }

    /// A user wants to say something in a room.
    ///
    /// # Errors
    /// It must not go out.
    pub fn chat(
        &mut self,
        now: Time,
        user: UserId,
        room: RoomId,
        text: &str,
    ) -> Result<Said, Refusal> {
        self.check_length(text)?;
        self.may_speak(now, user, room)?;
        let cleaned = self.clean_and_fold(text)?;
        // What has no letters, emoji for example, differs as it stands.
        let folded = self.folded.text();
        let text = self.fingerprint(if folded.is_empty() { &cleaned } else { folded });
        if self.speakers.has_said(user, text, now) {
            return Err(Refusal::Duplicate);
        }
        let said = self.censored(cleaned)?;
        if self.uplinks.has_heard_enough(room, text, now) {
            return Err(Refusal::Flood);
        }
        self.uplinks.take(room, now).map_err(|wait| Refusal::Overloaded { wait })?;
        self.speakers.remember(user, text, now);
        self.uplinks.remember(room, text, now);
        Ok(said)
    }

    /// What would become of a text by what it says alone: nobody says it, so nothing of mutes, rates
    /// and repeats is looked at, and nothing is remembered.
    pub fn try_text(&mut self, text: &str) -> Trial {
        let mut found = Vec::new();
        let cleaned = self.check_length(text).and_then(|()| self.clean_and_fold(text));
        let outcome = cleaned.and_then(|cleaned| {
            found = self.found_in(&cleaned);
            self.censored(cleaned)
        });
        let (word_count, bytes_max) = (self.words.count(), self.settings.text_bytes_max);
        Trial { outcome, found, word_count, bytes_max }
    }

    /// A user wants to publish opaque data in a room.
    ///
    /// # Errors
    /// It must not go out.
    pub fn opaque(&mut self, now: Time, user: UserId, room: RoomId) -> Result<(), Refusal> {
        let own = self.opaque_allowed.get(&room).copied();
        if !own.unwrap_or(self.settings.opaque_allowed) {
            return Err(Refusal::OpaqueForbidden);
        }
        self.may_speak(now, user, room)?;
        self.uplinks.take(room, now).map_err(|wait| Refusal::Overloaded { wait })
    }

    /// A user likes, `wanted` times: how often that counts.
    ///
    /// # Errors
    /// Not at all.
    pub fn like(&mut self, now: Time, user: UserId, wanted: u32) -> Result<u32, Refusal> {
        let wanted = wanted.clamp(1, self.settings.like_burst.max(1));
        self.speakers.take_likes(user, wanted, now).map_err(|wait| Refusal::TooFast { wait })
    }

    fn check_length(&self, text: &str) -> Result<(), Refusal> {
        let most = self.settings.text_bytes_max;
        if text.len() > most {
            return Err(Refusal::TooLong { bytes: text.len(), most });
        }
        Ok(())
    }

    /// A text without what disturbs others, whose folding is at hand from then on.
    fn clean_and_fold(&mut self, text: &str) -> Result<String, Refusal> {
        let mut cleaned = String::with_capacity(text.len());
        if !clean(text, &mut cleaned) {
            return Err(Refusal::Empty);
        }
        self.folded.fold(&cleaned);
        Ok(cleaned)
    }

    /// The words in the text that was folded last.
    fn found_in(&self, cleaned: &str) -> Vec<FoundWord> {
        let hits = self.words.hits(cleaned, &self.folded).take(TRIAL_WORDS_MAX);
        let mut hits: Vec<_> = hits.collect();
        hits.sort_by_key(|hit| (hit.start, hit.end));
        let found = hits.into_iter().map(|hit| FoundWord {
            text: cleaned[hit.start..hit.end].to_owned(),
            line: hit.line,
            action: hit.action,
            is_whole: hit.is_whole,
        });
        found.collect()
    }

    /// The text that was folded last, in the words in which it may go out.
    fn censored(&mut self, mut text: String) -> Result<Said, Refusal> {
        match self.words.censor(&mut text, &self.folded, &mut self.spans) {
            Found::Refused => Err(Refusal::Word),
            found => Ok(Said { text, is_replaced: found == Found::Replaced }),
        }
    }

    fn may_speak(&mut self, now: Time, user: UserId, room: RoomId) -> Result<(), Refusal> {
        if let Some(until) = self.mutes.until(user, room, now) {
            return Err(Refusal::Muted { until });
        }
        self.speakers.take_text(user, now).map_err(|wait| Refusal::TooFast { wait })
    }

    fn fingerprint(&self, text: &str) -> u32 {
        let mut hasher = self.key.build_hasher();
        hasher.write(text.as_bytes());
        // Tables of users are hashed with the same key.
        hasher.write_u8(b't');
        (hasher.finish() >> 32).try_into().unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests;
