//! The messages of the server API, and what they are in JSON.
//!
//! One set of types for both: Protobuf is the schema's own, JSON has the schema's names, numbers as
//! numbers, bytes in base64 and lanes as words. It is not ProtoJSON, in which the ids of the requests
//! that were here first would be strings; `docs/server-api.md` says so.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use prost::Message as _;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::wire::proto::Lane;

/// The messages of `proto/tidegate/server/v1`, generated.
pub mod proto {
    #![allow(
        missing_docs,
        unused_qualifications,
        unreachable_pub,
        clippy::all,
        clippy::allow_attributes_without_reason,
        clippy::pedantic,
        reason = "generated from the schema, whose comments are the documentation"
    )]
    include!(concat!(env!("OUT_DIR"), "/tidegate.server.v1.rs"));
}

/// Writes bytes as base64.
pub(crate) fn base64<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

/// A list of bytes as a list of base64.
pub(crate) mod base64_list {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(
        list: &[Bytes],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(list.iter().map(|bytes| STANDARD.encode(bytes)))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Bytes>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        let read = |(place, text): (usize, &String)| {
            let bytes = STANDARD.decode(text).map_err(|error| {
                let what = format_args!("message {place} (counted from 0) is not base64: {error}");
                D::Error::custom(what)
            });
            bytes.map(Bytes::from)
        };
        texts.iter().enumerate().map(read).collect()
    }
}

/// A lane as a word.
pub(crate) mod lane {
    use super::*;

    #[derive(Deserialize, Serialize)]
    #[serde(rename_all = "snake_case")]
    enum Word {
        High,
        Mid,
        Low,
    }

    pub(crate) fn serialize<S: Serializer>(lane: &i32, serializer: S) -> Result<S::Ok, S::Error> {
        let word = match Lane::try_from(*lane) {
            Ok(Lane::High) => Some(Word::High),
            Ok(Lane::Mid) => Some(Word::Mid),
            Ok(Lane::Low) => Some(Word::Low),
            Ok(Lane::Unspecified) | Err(_) => None,
        };
        word.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
        let lane = match Word::deserialize(deserializer)? {
            Word::High => Lane::High,
            Word::Mid => Lane::Mid,
            Word::Low => Lane::Low,
        };
        Ok(lane.into())
    }
}

impl Serialize for proto::Outcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Flat<'a> {
            status: u32,
            #[serde(flatten)]
            answer: &'a Option<proto::outcome::Answer>,
        }
        Flat { status: self.status, answer: &self.answer }.serialize(serializer)
    }
}

impl Serialize for proto::RoomOutcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Flat<'a> {
            room: u64,
            #[serde(flatten)]
            answer: &'a Option<proto::room_outcome::Answer>,
        }
        Flat { room: self.room, answer: &self.answer }.serialize(serializer)
    }
}

impl Serialize for proto::HistoryMessage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Flat<'a> {
            version: u64,
            time_ms: i64,
            user: u64,
            kind: u32,
            #[serde(flatten)]
            body: &'a Option<proto::history_message::Body>,
        }
        let proto::HistoryMessage { version, time_ms, user, kind, body } = self;
        let (version, time_ms, user, kind) = (*version, *time_ms, *user, *kind);
        Flat { version, time_ms, user, kind, body }.serialize(serializer)
    }
}

/// An answer of the server API.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Where messages stand in their room.
    Published(proto::Published),
    /// What became of a broadcast, room by room.
    Broadcast(proto::BroadcastDone),
    /// A room has ended.
    RoomClosed(proto::RoomClosed),
    /// How a room is.
    Room(Box<proto::Room>),
    /// Which rooms there are.
    Rooms(proto::Rooms),
    /// How many are in a room.
    Online(proto::Online),
    /// How many are here.
    OnlineAll(proto::OnlineAll),
    /// What was said in a lane.
    History(proto::History),
    /// Whether a user was disconnected.
    Disconnected(proto::Disconnected),
    /// The mute that is in force.
    Muted(proto::Muted),
    /// The ban that is in force.
    Banned(proto::Banned),
    /// Who is banned.
    Bans(proto::Bans),
    /// A user's tokens are revoked.
    UserRevoked(proto::UserRevoked),
    /// A token is revoked.
    TokenRevoked(proto::TokenRevoked),
    /// What became of a batch, operation by operation.
    Batch(proto::BatchDone),
}

macro_rules! each_answer {
    ($answer:expr, $message:ident => $do:expr) => {
        match $answer {
            Answer::Published($message) => $do,
            Answer::Broadcast($message) => $do,
            Answer::RoomClosed($message) => $do,
            Answer::Room($message) => $do,
            Answer::Rooms($message) => $do,
            Answer::Online($message) => $do,
            Answer::OnlineAll($message) => $do,
            Answer::History($message) => $do,
            Answer::Disconnected($message) => $do,
            Answer::Muted($message) => $do,
            Answer::Banned($message) => $do,
            Answer::Bans($message) => $do,
            Answer::UserRevoked($message) => $do,
            Answer::TokenRevoked($message) => $do,
            Answer::Batch($message) => $do,
        }
    };
}

impl Answer {
    /// In JSON.
    ///
    /// # Panics
    /// Never: the schema has nothing that JSON has not.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        match each_answer!(self, message => serde_json::to_value(message)) {
            Ok(json) => json,
            Err(error) => panic!("an answer of ours has no JSON form: {error}"),
        }
    }

    /// In Protobuf.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        each_answer!(self, message => message.encode_to_vec())
    }

    /// As a part of a batch's answer; nothing for what a batch does not ask for.
    #[must_use]
    pub fn into_outcome(self) -> Option<proto::outcome::Answer> {
        use proto::outcome;
        Some(match self {
            Answer::Published(it) => outcome::Answer::Published(it),
            Answer::Broadcast(it) => outcome::Answer::Broadcast(it),
            Answer::RoomClosed(it) => outcome::Answer::RoomClosed(it),
            Answer::Room(it) => outcome::Answer::Room(*it),
            Answer::Disconnected(it) => outcome::Answer::Disconnected(it),
            Answer::Muted(it) => outcome::Answer::Muted(it),
            Answer::Banned(it) => outcome::Answer::Banned(it),
            Answer::UserRevoked(it) => outcome::Answer::UserRevoked(it),
            Answer::TokenRevoked(it) => outcome::Answer::TokenRevoked(it),
            Answer::Rooms(_)
            | Answer::Online(_)
            | Answer::OnlineAll(_)
            | Answer::History(_)
            | Answer::Bans(_)
            | Answer::Batch(_) => return None,
        })
    }
}
