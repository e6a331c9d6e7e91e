//! What a record says: the shard's records in the form in which they are stored.
//!
//! The schema is `proto/tidegate/store/v1/record.proto`. A stored record is a command together with
//! what became of it, so that reading it back is doing it again and comparing.

mod decode;
mod encode;
mod money;
mod offer;
mod standing;

#[cfg(test)]
mod tests;

use crate::base::hash::Placement;
use crate::base::ids::ShardId;
use crate::shard::record::Record;
use crate::store::format::Key;

pub use decode::RecordError;

/// The messages of `proto/tidegate/store/v1`, generated.
pub(super) mod proto {
    #![allow(
        missing_docs,
        unused_qualifications,
        unreachable_pub,
        clippy::all,
        clippy::allow_attributes_without_reason,
        clippy::pedantic,
        reason = "generated from the schema, whose comments are the documentation"
    )]
    include!(concat!(env!("OUT_DIR"), "/tidegate.store.v1.rs"));
}

/// What a record belongs to: its user's bucket; the show for what its director decided; the shard
/// that wrote it for what it did with all its players.
#[must_use]
pub fn key(record: &Record, placement: &Placement, shard: ShardId) -> Key {
    match record {
        Record::Answer { user, .. }
        | Record::Joined { user, .. }
        | Record::Absent { user, .. }
        | Record::TicketIssued { user, .. }
        | Record::CardGranted { user, .. }
        | Record::CardsExpired { user, .. }
        | Record::Money { user, .. } => Key::Bucket(placement.bucket(*user)),
        Record::Worked { step, .. } => Key::Bucket(step.bucket),
        Record::Prizes { prizes, .. } => Key::Bucket(prizes.bucket),
        Record::CardsUsed { cards, .. } => Key::Bucket(cards.bucket),
        Record::Event(event) => Key::Show(event.show),
        // What stays in force goes to whatever shards there are next, whoever wrote it.
        Record::Applied { .. }
        | Record::Drained { .. }
        | Record::Reported { .. }
        | Record::Standing(_)
        | Record::Offered { .. }
        | Record::Covered { .. } => Key::Shard(shard),
    }
}

/// Appends the stored form of a record.
pub fn encode(record: &Record, payload: &mut Vec<u8>) {
    encode::record(record, payload);
}

/// Reads a stored record.
///
/// # Errors
/// If it is not one that [`encode()`] makes: of a newer version, or damaged before it was stored.
pub fn decode(payload: &[u8]) -> Result<Record, RecordError> {
    decode::record(payload)
}
