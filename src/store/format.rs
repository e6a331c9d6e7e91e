//! The bytes of a journal: segment headers, groups, records. All numbers are little-endian.
//!
//! ```text
//! segment   header, one block · group · group · … · zeros
//! header    magic 8 · version 4 · shard 2 · zero 2 · segment 8 · run 8 · first group 8 ·
//!           previous segment 8 · previous end 8 · size 8 · CRC32C 4 · zeros
//! group     magic 4 · CRC32C 4 · number 8 · first record 8 · records 4 · body bytes 4 ·
//!           synced to 8 · written at 8 · records · zeros up to the next block
//! record    bytes 4 · CRC32C 4 · kind of key 1 · key 8 · sequence 8 · payload
//! ```
//!
//! A group's checksum begins with the run, the segment and its own offset, so that nothing left
//! over from another file or place is ever taken for a group.

use crate::base::bugs::{self, Bug};
use crate::base::ids::{BucketId, ShardId, ShowId};

/// Files are written in blocks of this size, aligned to it: what `O_DIRECT` asks for.
pub const BLOCK_BYTES: usize = 4_096;
/// Version of this layout.
pub const FORMAT_VERSION: u32 = 1;
/// Bytes of a group before its records.
pub const GROUP_HEADER_BYTES: usize = 48;
/// Bytes of a record before its payload.
pub const RECORD_HEADER_BYTES: usize = 25;
/// Bytes that the records of one group may have: some milliseconds of the busiest shard.
pub const GROUP_BODY_BYTES_MAX: usize = 1 << 20;
/// Bytes of the largest payload: a show's announcement with all its questions.
pub const PAYLOAD_BYTES_MAX: usize = GROUP_BODY_BYTES_MAX - RECORD_HEADER_BYTES;

/// What pads a group.
static ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];

const SEGMENT_MAGIC: [u8; 8] = *b"TIDEJRNL";
const GROUP_MAGIC: [u8; 4] = *b"GRUP";
const SEGMENT_HEADER_BYTES: usize = 68;

const _: () = assert!(GROUP_BODY_BYTES_MAX.is_multiple_of(BLOCK_BYTES));

/// What a record belongs to: the unit that moves with it to another shard or host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// A slice of all users.
    Bucket(BucketId),
    /// A show's director.
    Show(ShowId),
    /// A shard of this run: it moves nowhere.
    Shard(ShardId),
}

impl Key {
    fn parts(self) -> (u8, u64) {
        match self {
            Key::Bucket(bucket) => (1, u64::from(bucket.0)),
            Key::Show(show) => (2, show.0),
            Key::Shard(shard) => (3, u64::from(shard.0)),
        }
    }

    fn from_parts(kind: u8, id: u64) -> Option<Key> {
        match kind {
            1 => u16::try_from(id).ok().map(|bucket| Key::Bucket(BucketId(bucket))),
            2 => Some(Key::Show(ShowId(id))),
            3 => u16::try_from(id).ok().map(|shard| Key::Shard(ShardId(shard))),
            _ => None,
        }
    }
}

/// The first block of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Which shard wrote it.
    pub shard: u16,
    /// Ascending among a shard's segments, from 1. A number whose file was never finished is not
    /// used again.
    pub segment: u64,
    /// Which run of the process wrote it: random.
    pub run: u64,
    /// The number of its first group; groups are numbered without gaps over all segments.
    pub first_group: u64,
    /// The segment that this one continues; 0 for none. Those between the two hold nothing.
    pub previous_segment: u64,
    /// How many bytes of that one count: where its last durable group ends.
    pub previous_end: u64,
    /// Bytes that the file was given in advance.
    pub size_bytes: u64,
}

/// Why a block is no segment header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Nothing was written yet: the process ended between making the file and its first write.
    #[error("the file holds nothing")]
    Empty,
    /// Another kind of file.
    #[error("it is no journal segment: its first bytes are not \"TIDEJRNL\"")]
    Magic,
    /// Written by another version.
    #[error("its format is version {0}; this program reads version {FORMAT_VERSION}")]
    Version(u32),
    /// Damaged.
    #[error("the header's checksum does not match")]
    Checksum,
}

impl SegmentHeader {
    /// The header's block.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut block = Vec::with_capacity(BLOCK_BYTES);
        block.extend_from_slice(&SEGMENT_MAGIC);
        block.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        block.extend_from_slice(&self.shard.to_le_bytes());
        block.extend_from_slice(&[0; 2]);
        let previous = [self.previous_segment, self.previous_end];
        for number in [self.segment, self.run, self.first_group].into_iter().chain(previous) {
            block.extend_from_slice(&number.to_le_bytes());
        }
        block.extend_from_slice(&self.size_bytes.to_le_bytes());
        let checksum = crc32c::crc32c(&block);
        block.extend_from_slice(&checksum.to_le_bytes());
        assert_eq!(block.len(), SEGMENT_HEADER_BYTES, "as the layout says");
        block.resize(BLOCK_BYTES, 0);
        block
    }

    /// Reads a header's block.
    ///
    /// # Errors
    /// If it is none, or damaged.
    pub fn decode(block: &[u8]) -> Result<SegmentHeader, HeaderError> {
        if block.iter().all(|byte| *byte == 0) {
            return Err(HeaderError::Empty);
        }
        let Some(header) = block.get(..SEGMENT_HEADER_BYTES) else {
            return Err(HeaderError::Checksum);
        };
        if header[..8] != SEGMENT_MAGIC {
            return Err(HeaderError::Magic);
        }
        let (content, checksum) = header.split_at(SEGMENT_HEADER_BYTES - 4);
        if u32_at(checksum, 0) != crc32c::crc32c(content) {
            return Err(HeaderError::Checksum);
        }
        // After the checksum: a damaged number is damage, not another version.
        let version = u32_at(header, 8);
        if version != FORMAT_VERSION {
            return Err(HeaderError::Version(version));
        }
        if block[SEGMENT_HEADER_BYTES..].iter().any(|byte| *byte != 0) {
            return Err(HeaderError::Checksum);
        }
        Ok(SegmentHeader {
            shard: u16::from_le_bytes([header[12], header[13]]),
            segment: u64_at(header, 16),
            run: u64_at(header, 24),
            first_group: u64_at(header, 32),
            previous_segment: u64_at(header, 40),
            previous_end: u64_at(header, 48),
            size_bytes: u64_at(header, 56),
        })
    }
}

/// Where a group stands: what its checksum begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupPlace {
    /// The run that wrote it.
    pub run: u64,
    /// Its segment.
    pub segment: u64,
    /// Its first byte in the segment: a multiple of [`BLOCK_BYTES`].
    pub offset: u64,
}

/// What a group says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupHeader {
    /// Without gaps over all segments of a shard, from 1.
    pub number: u64,
    /// The place of its first record among all of the shard in this run, from 1.
    pub first_record: u64,
    /// How many records follow. None: the mark of an orderly end.
    pub record_count: u32,
    /// Bytes of the records.
    pub body_bytes: u32,
    /// Up to where this segment was durable when the group was written: its own offset.
    pub synced_to: u64,
    /// When it was written, Unix milliseconds.
    pub written_unix_ms: i64,
}

/// Puts a group together, padded to whole blocks.
///
/// # Panics
/// If the body is larger than [`GROUP_BODY_BYTES_MAX`].
#[must_use]
pub fn encode_group(place: GroupPlace, header: &GroupHeader, body: &[u8]) -> Vec<u8> {
    assert!(body.len() <= GROUP_BODY_BYTES_MAX, "a group of {} bytes", body.len());
    assert_eq!(header.body_bytes as usize, body.len(), "a header says how much follows");
    let mut bytes = Vec::with_capacity(group_bytes(body.len()));
    bytes.extend_from_slice(&GROUP_MAGIC);
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&header.number.to_le_bytes());
    bytes.extend_from_slice(&header.first_record.to_le_bytes());
    bytes.extend_from_slice(&header.record_count.to_le_bytes());
    bytes.extend_from_slice(&header.body_bytes.to_le_bytes());
    bytes.extend_from_slice(&header.synced_to.to_le_bytes());
    bytes.extend_from_slice(&header.written_unix_ms.to_le_bytes());
    assert_eq!(bytes.len(), GROUP_HEADER_BYTES, "as the layout says");
    bytes.extend_from_slice(body);
    let checksum = group_checksum(place, &bytes[8..]);
    bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
    bytes.resize(group_bytes(body.len()), 0);
    bytes
}

/// Bytes of a group in its segment, padding included.
#[must_use]
pub fn group_bytes(body_bytes: usize) -> usize {
    (GROUP_HEADER_BYTES + body_bytes).next_multiple_of(BLOCK_BYTES)
}

/// Bytes of the group whose first block this is, padding included, as it says itself; nothing if no group
/// begins here.
#[must_use]
pub fn group_length(block: &[u8]) -> Option<usize> {
    let fixed = block.get(..GROUP_HEADER_BYTES).filter(|fixed| fixed[..4] == GROUP_MAGIC)?;
    let body_bytes = usize::try_from(u32_at(fixed, 28)).ok()?;
    (body_bytes <= GROUP_BODY_BYTES_MAX).then(|| group_bytes(body_bytes))
}

/// Reads the group that begins at the start of `bytes`: its header and its records. Nothing if no
/// whole and undamaged group is there.
#[must_use]
pub fn decode_group(place: GroupPlace, bytes: &[u8]) -> Option<(GroupHeader, &[u8])> {
    let fixed = bytes.get(..GROUP_HEADER_BYTES)?;
    if fixed[..4] != GROUP_MAGIC {
        return None;
    }
    let header = GroupHeader {
        number: u64_at(fixed, 8),
        first_record: u64_at(fixed, 16),
        record_count: u32_at(fixed, 24),
        body_bytes: u32_at(fixed, 28),
        synced_to: u64_at(fixed, 32),
        written_unix_ms: i64::from_le_bytes(fixed[40..48].try_into().ok()?),
    };
    let body_bytes = usize::try_from(header.body_bytes).ok()?;
    if body_bytes > GROUP_BODY_BYTES_MAX {
        return None;
    }
    let end = GROUP_HEADER_BYTES + body_bytes;
    let content = bytes.get(8..end)?;
    let padding = bytes.get(end..group_bytes(body_bytes))?;
    let is_whole = (u32_at(fixed, 4) == group_checksum(place, content)
        || bugs::active(Bug::TornTailAccepted))
        && *padding == ZEROS[..padding.len()]
        && header.synced_to == place.offset;
    is_whole.then(|| (header, &bytes[GROUP_HEADER_BYTES..end]))
}

fn group_checksum(place: GroupPlace, content: &[u8]) -> u32 {
    let mut checksum = 0;
    for number in [place.run, place.segment, place.offset] {
        checksum = crc32c::crc32c_append(checksum, &number.to_le_bytes());
    }
    crc32c::crc32c_append(checksum, content)
}

/// One record as it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredRecord<'a> {
    /// What it belongs to.
    pub key: Key,
    /// Without gaps among the records of its key, from 1.
    pub sequence: u64,
    /// What it says.
    pub payload: &'a [u8],
}

/// Appends a record to a group's body.
///
/// # Panics
/// If the payload is larger than [`PAYLOAD_BYTES_MAX`].
pub fn encode_record(record: &StoredRecord<'_>, body: &mut Vec<u8>) {
    assert!(record.payload.len() <= PAYLOAD_BYTES_MAX, "a record fits a group");
    let length = u32::try_from(record.payload.len()).expect("checked above");
    let start = body.len();
    body.extend_from_slice(&length.to_le_bytes());
    body.extend_from_slice(&[0; 4]);
    let (kind, id) = record.key.parts();
    body.push(kind);
    body.extend_from_slice(&id.to_le_bytes());
    body.extend_from_slice(&record.sequence.to_le_bytes());
    body.extend_from_slice(record.payload);
    let checksum = crc32c::crc32c(&body[start + 8..]);
    body[start + 4..start + 8].copy_from_slice(&checksum.to_le_bytes());
}

/// Takes the first record off a group's body; nothing if it is damaged.
#[must_use]
pub fn decode_record<'a>(body: &mut &'a [u8]) -> Option<StoredRecord<'a>> {
    let header = body.get(..RECORD_HEADER_BYTES)?;
    let length = usize::try_from(u32_at(header, 0)).ok()?;
    let end = RECORD_HEADER_BYTES.checked_add(length)?;
    let content = body.get(8..end)?;
    if u32_at(header, 4) != crc32c::crc32c(content) {
        return None;
    }
    let key = Key::from_parts(header[8], u64_at(header, 9))?;
    let sequence = u64_at(header, 17);
    let payload = &body[RECORD_HEADER_BYTES..end];
    *body = &body[end..];
    Some(StoredRecord { key, sequence, payload })
}

/// # Panics
/// If the four bytes are not there: callers slice headers of fixed lengths.
fn u32_at(bytes: &[u8], place: usize) -> u32 {
    u32::from_le_bytes(bytes[place..place + 4].try_into().expect("four bytes"))
}

/// # Panics
/// As for [`u32_at`].
fn u64_at(bytes: &[u8], place: usize) -> u64 {
    u64::from_le_bytes(bytes[place..place + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEADER: SegmentHeader = SegmentHeader {
        shard: 3,
        segment: 7,
        run: 0xfeed,
        first_group: 12,
        previous_segment: 5,
        previous_end: 8_192,
        size_bytes: 1 << 26,
    };

    #[test]
    fn a_header_comes_back_and_no_bit_of_it_may_change() {
        let block = HEADER.encode();
        assert_eq!(SegmentHeader::decode(&block), Ok(HEADER));
        for bit in 0..block.len() * 8 {
            let mut damaged = block.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::decode(&damaged).is_err(), "bit {bit}");
        }
        assert_eq!(SegmentHeader::decode(&[0; BLOCK_BYTES]), Err(HeaderError::Empty));
        assert_eq!(SegmentHeader::decode(&block[..40]), Err(HeaderError::Checksum));
    }

    #[test]
    fn a_newer_format_is_named() {
        let mut block = HEADER.encode();
        block[8] = 2;
        let checksum = crc32c::crc32c(&block[..64]);
        block[64..68].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(SegmentHeader::decode(&block), Err(HeaderError::Version(2)));
    }

    fn group(place: GroupPlace, payloads: &[Vec<u8>]) -> Vec<u8> {
        let mut body = Vec::new();
        for (sequence, payload) in (1..).zip(payloads) {
            let key = Key::Bucket(BucketId(9));
            encode_record(&StoredRecord { key, sequence, payload }, &mut body);
        }
        let header = GroupHeader {
            number: 5,
            first_record: 100,
            record_count: u32::try_from(payloads.len()).expect("few"),
            body_bytes: u32::try_from(body.len()).expect("small"),
            synced_to: place.offset,
            written_unix_ms: -1,
        };
        encode_group(place, &header, &body)
    }

    const PLACE: GroupPlace = GroupPlace { run: 1, segment: 2, offset: 4_096 };

    #[test]
    fn no_bit_of_a_group_may_change() {
        let bytes = group(PLACE, &[vec![1; 30], vec![2; 50]]);
        assert!(decode_group(PLACE, &bytes).is_some());
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_group(PLACE, &damaged).is_none(), "bit {bit}");
        }
    }

    #[test]
    fn a_group_of_another_place_is_none() {
        let bytes = group(PLACE, &[vec![1; 30]]);
        for other in [
            GroupPlace { run: 2, ..PLACE },
            GroupPlace { segment: 1, ..PLACE },
            GroupPlace { offset: 8_192, ..PLACE },
        ] {
            assert!(decode_group(other, &bytes).is_none(), "{other:?}");
        }
    }

    proptest! {
        #[test]
        fn records_come_back(payloads in proptest::collection::vec(
            proptest::collection::vec(any::<u8>(), 0..300), 0..40,
        )) {
            let bytes = group(PLACE, &payloads);
            prop_assert_eq!(bytes.len() % BLOCK_BYTES, 0);
            prop_assert_eq!(group_length(&bytes[..BLOCK_BYTES]), Some(bytes.len()));
            let (header, mut body) = decode_group(PLACE, &bytes).expect("a group");
            prop_assert_eq!(header.record_count as usize, payloads.len());
            for (sequence, payload) in (1..).zip(&payloads) {
                let record = decode_record(&mut body).expect("a record");
                prop_assert_eq!((record.sequence, record.payload), (sequence, &payload[..]));
            }
            prop_assert!(body.is_empty());
            prop_assert_eq!(decode_record(&mut body), None);
        }

        #[test]
        fn noise_is_no_group(bytes in proptest::collection::vec(any::<u8>(), 0..9_000)) {
            prop_assert!(decode_group(PLACE, &bytes).is_none());
            let _ = decode_record(&mut &bytes[..]);
            prop_assert!(SegmentHeader::decode(&bytes).is_err());
        }
    }
}
