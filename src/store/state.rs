//! A shard's state in a file: what a restart begins with, so that it need not do everything again.
//!
//! ```text
//! magic 8 · version 4 · CRC32C of the message 4 · bytes of the message 8 · message
//! ```
//!
//! Little-endian; the message is `ShardState` of `proto/tidegate/store/v1/record.proto`.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;

use crate::base::ids::{BucketId, EventNumber, ShardId, ShowId};
use crate::base::time::Time;
use crate::shard::record::Record;
use crate::shard::recovery::ShardImage;
use crate::shard::standing::Standing;
use crate::store::format::Key;
use crate::store::record::{RecordError, decode as decode_record, encode as encode_record, proto};

/// Version of this layout.
pub const STATE_VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"TIDESTAT";
const HEADER_BYTES: usize = 24;

/// What a file of state holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardState {
    /// Which shard.
    pub shard: ShardId,
    /// Of how many.
    pub shard_count: u16,
    /// Buckets of the deployment.
    pub bucket_count: u16,
    /// The last record of the run that it contains; 0 for what a run begins with.
    pub record: u64,
    /// The newest moment that it knows.
    pub at: Time,
    /// The last sequence number of each bucket and show.
    pub sequences: BTreeMap<Key, u64>,
    /// The users and the shows.
    pub image: ShardImage,
}

/// Why a file of state cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// It does not begin as one, or ends too early.
    #[error("this is no file of state, or only the beginning of one")]
    NoState,
    /// It was written by another version.
    #[error(
        "the file has version {0} and this program reads version {STATE_VERSION}: use the program \
         that wrote it"
    )]
    Version(u32),
    /// Bytes have changed since it was written.
    #[error("the checksum does not match: the file is damaged")]
    Checksum,
    /// It holds what this version cannot have written.
    #[error("{0} is impossible")]
    Impossible(&'static str),
    /// An event in it cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// The bytes of a file.
#[must_use]
pub fn encode(state: &ShardState) -> Vec<u8> {
    let event = |event: &_| {
        let mut payload = Vec::new();
        encode_record(&Record::Event(Box::new(Clone::clone(event))), &mut payload);
        Bytes::from(payload)
    };
    let standing = |what| {
        let mut payload = Vec::new();
        encode_record(&Record::Standing(Box::new(what)), &mut payload);
        Bytes::from(payload)
    };
    let message = proto::ShardState {
        shard: u32::from(state.shard.0),
        shard_count: u32::from(state.shard_count),
        bucket_count: u32::from(state.bucket_count),
        record: state.record,
        at: state.at.0,
        sequences: state.sequences.iter().filter_map(sequence).collect(),
        events: state.image.events.iter().map(event).collect(),
        applied: state
            .image
            .applied
            .iter()
            .map(|(show, number)| proto::AppliedShow { show: show.0, number: number.0 })
            .collect(),
        ended: state.image.ended.iter().map(|show| show.0).collect(),
        buckets: state.image.buckets.clone(),
        standing: state.image.standing.records().map(standing).collect(),
    };
    let mut bytes = Vec::with_capacity(HEADER_BYTES + message.encoded_len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&STATE_VERSION.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&(message.encoded_len() as u64).to_le_bytes());
    message.encode_raw(&mut bytes);
    let checksum = crc32c::crc32c(&bytes[16..]);
    bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

fn sequence((key, last): (&Key, &u64)) -> Option<proto::Sequence> {
    let key = match key {
        Key::Bucket(bucket) => proto::sequence::Key::Bucket(u32::from(bucket.0)),
        Key::Show(show) => proto::sequence::Key::Show(show.0),
        // A shard's own sequence begins anew with each run.
        Key::Shard(_) => return None,
    };
    Some(proto::Sequence { last: *last, key: Some(key) })
}

/// Reads a file.
///
/// # Errors
/// If it is none, of another version, or damaged.
pub fn decode(bytes: &[u8]) -> Result<ShardState, StateError> {
    let header = bytes.get(..HEADER_BYTES).filter(|header| header[..8] == MAGIC);
    let header = header.ok_or(StateError::NoState)?;
    let number = |at: usize| u32::from_le_bytes(std::array::from_fn(|byte| header[at + byte]));
    if number(8) != STATE_VERSION {
        return Err(StateError::Version(number(8)));
    }
    let length = u64::from(number(16)) | u64::from(number(20)) << 32;
    if (bytes.len() - HEADER_BYTES) as u64 != length {
        return Err(StateError::NoState);
    }
    if crc32c::crc32c(&bytes[16..]) != number(12) {
        return Err(StateError::Checksum);
    }
    let message = proto::ShardState::decode(&bytes[HEADER_BYTES..]).map_err(RecordError::from)?;
    let small = |number: u32, what| u16::try_from(number).map_err(|_| StateError::Impossible(what));
    let mut sequences = BTreeMap::new();
    for it in &message.sequences {
        let key = match it.key {
            Some(proto::sequence::Key::Bucket(bucket)) => {
                Key::Bucket(BucketId(small(bucket, "a bucket")?))
            }
            Some(proto::sequence::Key::Show(show)) => Key::Show(ShowId(show)),
            None => return Err(StateError::Impossible("a sequence of nothing")),
        };
        sequences.insert(key, it.last);
    }
    let mut events = Vec::with_capacity(message.events.len());
    for payload in &message.events {
        match decode_record(payload)? {
            Record::Event(event) => events.push(*event),
            _ => return Err(StateError::Impossible("an event that is another record")),
        }
    }
    let mut standing = Standing::default();
    for payload in &message.standing {
        match decode_record(payload)? {
            Record::Standing(what) => standing.apply(&what),
            _ => return Err(StateError::Impossible("an order that is another record")),
        }
    }
    let applied = |it: &proto::AppliedShow| (ShowId(it.show), EventNumber(it.number));
    Ok(ShardState {
        shard: ShardId(small(message.shard, "a shard")?),
        shard_count: small(message.shard_count, "a number of shards")?,
        bucket_count: small(message.bucket_count, "a number of buckets")?,
        record: message.record,
        at: Time(message.at),
        sequences,
        image: ShardImage {
            events,
            applied: message.applied.iter().map(applied).collect(),
            ended: message.ended.into_iter().map(ShowId).collect(),
            buckets: message.buckets,
            standing,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::{RoomId, UserId};
    use crate::quiz::event::{NumberedEvent, ShowEvent};
    use crate::shard::standing::StandingRecord;

    fn standing() -> Standing {
        let mut standing = Standing::default();
        let user = UserId(5);
        standing.apply(&StandingRecord::Banned { user, until_unix_s: Some(i64::MAX) });
        standing.apply(&StandingRecord::Muted { user, room: RoomId(0), until: Time(9) });
        standing.apply(&StandingRecord::TokenRevoked { id: u64::MAX, kept_until_unix_s: -1 });
        standing
    }

    fn state() -> ShardState {
        let event = |number| NumberedEvent {
            show: ShowId(9),
            number: EventNumber(number),
            decided_at: Time(number),
            event: ShowEvent::LobbyOpened,
        };
        ShardState {
            shard: ShardId(1),
            shard_count: 3,
            bucket_count: 1_024,
            record: 1 << 40,
            at: Time(77),
            sequences: [(Key::Bucket(BucketId(4)), 5), (Key::Show(ShowId(9)), 6)].into(),
            image: ShardImage {
                events: vec![event(1), event(2)],
                applied: vec![(ShowId(9), EventNumber(2))],
                ended: vec![ShowId(3), ShowId(1)],
                buckets: vec![
                    Bytes::from_static(&[1, 2, 3]),
                    Bytes::new(),
                    Bytes::from(vec![4; 300]),
                ],
                standing: standing(),
            },
        }
    }

    #[test]
    fn a_state_comes_back() {
        assert_eq!(decode(&encode(&state())), Ok(state()));
        let mut with_own = state();
        with_own.sequences.insert(Key::Shard(ShardId(1)), 7);
        assert_eq!(decode(&encode(&with_own)), Ok(state()), "a shard's own sequence ends with it");
    }

    #[test]
    fn no_changed_bit_and_no_missing_byte_goes_unnoticed() {
        let bytes = encode(&state());
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "{length} bytes");
        }
        for bit in 0..8 * bytes.len() {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&changed).is_err(), "bit {bit}");
        }
        let mut newer = bytes.clone();
        newer[8] = 2;
        assert_eq!(decode(&newer), Err(StateError::Version(2)));
    }
}
