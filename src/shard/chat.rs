//! Chat and likes: checked on the sender's shard, before anything is posted to the room's home.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::base::hash::PlacementKey;
use crate::base::ids::{ConnId, RoomId, ShardId, UserId};
use crate::base::limits::{MUTES_MAX, ROOMS_MAX};
use crate::base::time::Time;
use crate::chat::desk::{ChatDesk, Refusal};
use crate::chat::likes::Likes;
use crate::chat::mutes::Mutes;
use crate::chat::settings::{ChatSettings, RoomChat};
use crate::chat::words::WordList;
use crate::room::lane::Lane;
use crate::shard::Shard;
use crate::shard::closing::ROOM_ENDED;
use crate::shard::config::ShardConfig;
use crate::shard::conn::NO_ROOM;
use crate::shard::counters::ChatRefusal;
use crate::shard::mail::{Mail, PublishMail, Utterance};
use crate::shard::messages;
use crate::shard::operator::{Mute, OperatorAnswer, OperatorError};
use crate::shard::standing::StandingRecord;
use crate::wire::proto;

/// How long a sender is told to wait whose room's home had no room for it.
const NO_ROOM_WAIT: Duration = Duration::from_secs(1);

/// What a shard keeps for chat.
pub(crate) struct ChatState {
    desk: ChatDesk,
    /// Of the members here, on their way to the homes.
    likes_up: Likes,
    /// Of the rooms that live here, on their way to everybody.
    likes_down: Likes,
    /// Likes of a room that lives here since its epoch began, by room.
    totals: BTreeMap<RoomId, (u64, u64)>,
    /// The mutes of users who live here: other shards' copies are bounded by these.
    own_mutes: Mutes,
}

/// Mail about chat; what is said itself travels as [`Mail::Publish`].
#[derive(Clone, Debug)]
pub enum ChatMail {
    /// Room's home → every shard with members: so many of you share the room's rate.
    Share {
        /// Which room.
        room: RoomId,
        /// Shards with members.
        sharers: u16,
    },
    /// Member's shard → room's home: likes since the last such mail.
    Likes {
        /// Which room.
        room: RoomId,
        /// How many.
        count: u64,
    },
    /// Room's home → sender's shard: what was said found no room.
    Discarded {
        /// The sender's connection, on the receiving shard.
        conn: ConnId,
        /// Because it has ended; otherwise it cannot carry more.
        has_ended: bool,
        /// Of the request.
        sequence: Box<str>,
    },
    /// User's home → every shard: the user may not speak until then.
    Mute {
        /// Who.
        user: UserId,
        /// Where; room 0: everywhere.
        room: RoomId,
        /// Until when; not after now: the mute is over.
        until: Time,
    },
}

impl ChatState {
    pub(crate) fn new(config: &ShardConfig, key: PlacementKey) -> ChatState {
        let shard_count = config.placement.shard_count();
        ChatState {
            desk: ChatDesk::new(config.chat, Arc::clone(&config.words), key, shard_count),
            likes_up: Likes::default(),
            likes_down: Likes::default(),
            totals: BTreeMap::new(),
            own_mutes: Mutes::default(),
        }
    }

    /// When [`Shard::chat_tick`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Time> {
        [self.likes_up.due(), self.likes_down.due()].into_iter().flatten().min()
    }

    /// Other settings are in force.
    pub(crate) fn set(&mut self, settings: ChatSettings) {
        self.desk.set(settings);
    }

    /// What was set for a room; nothing: like any room.
    pub(crate) fn set_room(&mut self, room: RoomId, settings: Option<RoomChat>) {
        self.desk.set_room(room, settings);
    }

    /// A mute from before a restart; `is_own` if its user lives here.
    pub(crate) fn begin_mute(&mut self, user: UserId, room: RoomId, until: Time, is_own: bool) {
        self.desk.mutes.mute(user, room, until);
        if is_own {
            self.own_mutes.mute(user, room, until);
        }
    }

    /// Shards that share a room's rate.
    pub(crate) fn sharers(&self, room: RoomId) -> u16 {
        self.desk.uplinks.sharers(room)
    }

    /// Words in force.
    pub(crate) fn word_count(&self) -> usize {
        self.desk.word_count()
    }
}

impl Shard {
    /// A member says something.
    pub(crate) fn chat(&mut self, id: ConnId, sequence: String, chat: &proto::Chat) {
        let Some((user, room)) = self.speaking(id, &sequence) else {
            return;
        };
        match self.chat.desk.chat(self.now, user, room, &chat.text) {
            Ok(said) => {
                self.counters.chat_accepted += 1;
                self.counters.chat_replaced += u64::from(said.is_replaced);
                self.post_utterance(id, sequence, user, room, Utterance::Chat(said.text));
            }
            Err(refusal) => self.refuse_chat(id, &sequence, refusal),
        }
    }

    /// A member puts opaque data into the room; its size and lane are right.
    pub(crate) fn publish_opaque(&mut self, id: ConnId, sequence: String, data: &Bytes) {
        let Some((user, room)) = self.speaking(id, &sequence) else {
            return;
        };
        match self.chat.desk.opaque(self.now, user, room) {
            Ok(()) => {
                self.counters.opaque_accepted += 1;
                // A copy: the bytes came in the scratch that is about to be used again.
                let data = Bytes::copy_from_slice(data);
                self.post_utterance(id, sequence, user, room, Utterance::Opaque(data));
            }
            Err(refusal) => self.refuse_chat(id, &sequence, refusal),
        }
    }

    /// A member likes.
    pub(crate) fn like(&mut self, id: ConnId, sequence: &str, like: proto::Like) {
        let Some((user, room)) = self.speaking(id, sequence) else {
            return;
        };
        match self.chat.desk.like(self.now, user, like.count) {
            Ok(count) => {
                self.counters.likes += u64::from(count);
                self.chat.likes_up.add(room, count.into(), self.now);
                let liked = proto::Liked { count };
                self.respond(id, sequence, proto::response::Payload::Liked(liked));
            }
            Err(refusal) => self.refuse_chat(id, sequence, refusal),
        }
    }

    /// Who speaks on a connection, and where; refused if it is in no room.
    fn speaking(&mut self, id: ConnId, sequence: &str) -> Option<(UserId, RoomId)> {
        let user = self.conns.get(id).map_or(UserId(0), |conn| conn.user);
        let Some(room) = self.room_of_speaker(id) else {
            let failure = messages::failure(proto::Reason::NotInRoom, "join a room first");
            self.refuse(id, sequence, failure);
            return None;
        };
        if !self.permission(id).may_publish(Lane::Low.index()) {
            let text = "the token does not allow publishing in this lane";
            self.refuse(id, sequence, messages::failure(proto::Reason::LaneForbidden, text));
            return None;
        }
        Some((user, room))
    }

    /// The room that a connection is in, or that its short request names.
    pub(crate) fn room_of_speaker(&self, id: ConnId) -> Option<RoomId> {
        match self.conns.get(id)?.room {
            NO_ROOM => self.short_room(id),
            room => Some(self.rooms.id(room)),
        }
    }

    fn post_utterance(
        &mut self,
        id: ConnId,
        sequence: String,
        user: UserId,
        room: RoomId,
        said: Utterance,
    ) {
        let sequence = sequence.into_boxed_str();
        let mail = PublishMail { room, lane: Lane::Low, user, said, conn: id, sequence };
        let home = self.placement.room_home(room);
        self.post(home, Mail::Publish(Box::new(mail)));
    }

    fn refuse_chat(&mut self, id: ConnId, sequence: &str, refusal: Refusal) {
        let (kind, reason) = named(refusal);
        self.counters.chat_refused[kind as usize] += 1;
        let mut failure = messages::failure(reason, &refusal.to_string());
        match refusal {
            Refusal::TooFast { wait } | Refusal::Overloaded { wait } => {
                failure.retry_after_ms = millis_up(wait);
            }
            Refusal::Muted { until } => failure.until_ms = self.clock.unix_ms(until),
            Refusal::Empty
            | Refusal::TooLong { .. }
            | Refusal::Duplicate
            | Refusal::Flood
            | Refusal::Word
            | Refusal::OpaqueForbidden => {}
        }
        self.refuse(id, sequence, failure);
    }

    /// Likes whose tick has come go on.
    pub(crate) fn chat_tick(&mut self) {
        for (room, count) in self.chat.likes_up.take(self.now) {
            let home = self.placement.room_home(room);
            self.post(home, Mail::Chat(ChatMail::Likes { room, count }));
        }
        for (room, count) in self.chat.likes_down.take(self.now) {
            self.tell_likes(room, count);
        }
    }

    /// Mail about chat has come.
    pub(crate) fn chat_mail(&mut self, mail: ChatMail) {
        match mail {
            ChatMail::Share { room, sharers } => {
                self.chat.desk.uplinks.share(room, sharers, self.now);
            }
            ChatMail::Likes { room, count } => self.chat.likes_down.add(room, count, self.now),
            ChatMail::Discarded { conn, has_ended: true, sequence } => {
                let failure = messages::failure(proto::Reason::NoSuchRoom, ROOM_ENDED);
                self.refuse(conn, &sequence, failure);
            }
            ChatMail::Discarded { conn, has_ended: false, sequence } => {
                self.refuse_chat(conn, &sequence, Refusal::Overloaded { wait: NO_ROOM_WAIT });
            }
            ChatMail::Mute { user, room, until } => {
                let mutes = &mut self.chat.desk.mutes;
                if until > self.now {
                    // Copies are forgotten where they are made, once in a while.
                    if mutes.count() >= MUTES_MAX {
                        mutes.forget_over(self.now);
                    }
                    mutes.mute(user, room, until);
                } else {
                    mutes.unmute(user, room);
                }
            }
        }
    }

    /// At the room's home: the shards that share its rate have changed.
    pub(crate) fn share_uplink(&mut self, room: RoomId) {
        let shards = self.rooms.subscribers_of(room);
        let sharers = u16::try_from(shards.len()).unwrap_or(u16::MAX);
        for shard in shards {
            self.post(shard, Mail::Chat(ChatMail::Share { room, sharers }));
        }
    }

    /// The last member of a room has left this shard.
    pub(crate) fn unshare_uplink(&mut self, room: RoomId) {
        self.chat.desk.uplinks.unshare(room);
    }

    /// At the room's home: tells everybody how often was liked.
    fn tell_likes(&mut self, room: RoomId, count: u64) {
        let Some(epoch) = self.rooms.epoch_of(room) else {
            // Everybody has left meanwhile.
            return;
        };
        if self.chat.totals.len() >= ROOMS_MAX && !self.chat.totals.contains_key(&room) {
            let rooms = &self.rooms;
            self.chat.totals.retain(|room, _| rooms.epoch_of(*room).is_some());
        }
        let (of_epoch, total) = self.chat.totals.entry(room).or_default();
        if *of_epoch != epoch {
            (*of_epoch, *total) = (epoch, 0);
        }
        *total = total.saturating_add(count);
        let likes = proto::Likes { count, total: *total };
        let message = proto::RoomMessage { likes: Some(likes), ..Default::default() };
        self.say_in_room(room, Lane::Low, message);
    }

    /// At the user's home: mutes, or with no time left ends a mute.
    pub(crate) fn mute(&mut self, mute: Mute) -> Result<OperatorAnswer, OperatorError> {
        let Mute { user, room, lasting } = mute;
        let until = self.now + lasting;
        let mutes = &mut self.chat.own_mutes;
        if lasting.is_zero() {
            mutes.unmute(user, room);
        } else {
            let most = MUTES_MAX / usize::from(self.placement.shard_count());
            if mutes.count() >= most && !mutes.contains(user, room) {
                mutes.forget_over(self.now);
                if mutes.count() >= most {
                    return Err(OperatorError::TooManyMutes);
                }
            }
            mutes.mute(user, room, until);
        }
        self.journal_standing(StandingRecord::Muted { user, room, until });
        for shard in ShardId::all(self.placement.shard_count()) {
            self.post(shard, Mail::Chat(ChatMail::Mute { user, room, until }));
        }
        Ok(OperatorAnswer::Done)
    }

    /// Other words are in force.
    pub(crate) fn set_words(&mut self, words: Arc<WordList>) -> OperatorAnswer {
        self.chat.desk.set_words(words);
        OperatorAnswer::Done
    }

    /// What would become of a text.
    pub(crate) fn try_text(&mut self, text: &str) -> OperatorAnswer {
        OperatorAnswer::Tried(Box::new(self.chat.desk.try_text(text)))
    }
}

/// The reason of a refusal, as it is counted and as clients are told.
fn named(refusal: Refusal) -> (ChatRefusal, proto::Reason) {
    match refusal {
        Refusal::Empty => (ChatRefusal::Empty, proto::Reason::TextEmpty),
        Refusal::TooLong { .. } => (ChatRefusal::TooLong, proto::Reason::TextTooLong),
        Refusal::Muted { .. } => (ChatRefusal::Muted, proto::Reason::Muted),
        Refusal::TooFast { .. } => (ChatRefusal::TooFast, proto::Reason::RateLimited),
        Refusal::Duplicate => (ChatRefusal::Duplicate, proto::Reason::Duplicate),
        Refusal::Flood => (ChatRefusal::Flood, proto::Reason::Flood),
        Refusal::Word => (ChatRefusal::Word, proto::Reason::WordRefused),
        Refusal::Overloaded { .. } => (ChatRefusal::Overloaded, proto::Reason::RoomOverloaded),
        Refusal::OpaqueForbidden => (ChatRefusal::Opaque, proto::Reason::OpaqueForbidden),
    }
}

/// Rounded up: who waits so long does not come too early.
fn millis_up(wait: Duration) -> u32 {
    u32::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX)
}
