//! The messages of the server API, and what they are in JSON.
//!
//! One set of types for both: Protobuf is the schema's own, JSON has the schema's names, numbers as
//! numbers, bytes in base64 and lanes as words. It is not ProtoJSON, in which the ids of the requests
//! that were here first would be strings; `docs/server-api.md` says so.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
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
