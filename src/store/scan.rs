//! Reading a shard's journal back: what counts, where it ends, and whether it is damaged.
//!
//! A group that is there proves that everything before it was durable. So what cannot be read at
//! the very end is a *torn tail*: a group that may have been acknowledged or not, because the
//! process ended around its sync. What cannot be read anywhere else is *damage*, and nobody starts
//! on it by accident.

use std::collections::BTreeMap;

use crate::base::bugs::{self, Bug};
use crate::store::format::{
    BLOCK_BYTES, GroupHeader, GroupPlace, HeaderError, Key, SegmentHeader, StoredRecord,
    decode_group, decode_record, group_bytes,
};
use crate::store::writer::{Continuation, Counted};

/// A segment's file: its number by its name, and all its bytes.
#[derive(Clone, Copy, Debug)]
pub struct SegmentFile<'a> {
    /// From the name.
    pub segment: u64,
    /// From the first to the last.
    pub bytes: &'a [u8],
}

/// What ends a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// Nothing was ever written.
    Empty,
    /// The process ended in order: nothing is missing.
    Closed,
    /// Behind the last group there is nothing. Every acknowledged record is there.
    Clean,
    /// Behind the last group there are bytes that are no group.
    Torn {
        /// In which segment.
        segment: u64,
        /// Where they begin.
        offset: u64,
        /// Where the last of them that is not zero stands, plus one.
        until: u64,
    },
}

/// What keeps a journal from being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// A file is missing.
    #[error("segment {0} is missing")]
    Missing(u64),
    /// A segment does not begin as one.
    #[error("segment {segment}: {error}")]
    Header {
        /// Which.
        segment: u64,
        /// What is wrong with it.
        error: HeaderError,
    },
    /// A file has the header of another one.
    #[error("the file of segment {segment} holds segment {holds}")]
    Misnamed {
        /// By its name.
        segment: u64,
        /// By its header.
        holds: u64,
    },
    /// What should be a group is none, and it was durable once.
    #[error("segment {segment}, offset {offset}: a group that was durable cannot be read")]
    Group {
        /// In which segment.
        segment: u64,
        /// Where it begins.
        offset: u64,
    },
    /// A group is whole but is not the one that follows.
    #[error("segment {segment}, offset {offset}: group {found} stands where {expected} should")]
    Order {
        /// In which segment.
        segment: u64,
        /// Where it begins.
        offset: u64,
        /// The number that should follow.
        expected: u64,
        /// The number that stands there.
        found: u64,
    },
    /// A group is whole, but what is in it is not.
    #[error("segment {segment}, offset {offset}: the records of a whole group cannot be read")]
    Records {
        /// In which segment.
        segment: u64,
        /// Where the group begins.
        offset: u64,
    },
}

/// Where a record was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// In which segment.
    pub segment: u64,
    /// Where its group begins.
    pub offset: u64,
    /// When its group was written, Unix milliseconds.
    pub written_unix_ms: i64,
}

/// What reading a journal came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// How it ends.
    pub tail: Tail,
    /// Where it is continued.
    pub continuation: Continuation,
    /// Number of records.
    pub records: u64,
    /// Number of groups.
    pub groups: u64,
    /// Bytes of all groups, in whole blocks.
    pub bytes: u64,
    /// When the last group was written, Unix milliseconds; 0 if there is none.
    pub newest_unix_ms: i64,
}

/// Where the part of a journal ends that was written until a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// In which segment; those behind it are not in the part.
    pub segment: u64,
    /// How many bytes of it are.
    pub end: u64,
    /// Records in the part.
    pub records: u64,
}

/// Where the part of a journal ends that was written until a moment, Unix milliseconds; nothing if
/// nothing was written by then.
///
/// # Errors
/// The first damage.
pub fn cut(files: &[SegmentFile<'_>], until_unix_ms: i64) -> Result<Option<Cut>, Damage> {
    let mut reading = Reading { until_unix_ms, ..Reading::new() };
    read(files, &mut reading, &mut |_, _| {})?;
    Ok(reading.cut)
}

/// Reads all segments of a shard, in the order of their numbers, and hands over each record.
///
/// # Errors
/// The first damage. What was handed over before it is sound.
pub fn scan(
    files: &[SegmentFile<'_>],
    visit: &mut dyn FnMut(Found, &StoredRecord<'_>),
) -> Result<Scan, Damage> {
    let mut reading = Reading::new();
    let (tail, counted) = read(files, &mut reading, visit)?;
    let continuation = Continuation {
        newest_segment: files.last().map_or(0, |file| file.segment),
        counted,
        last_group: reading.last_group,
        sequences: reading.sequences,
    };
    let Reading { records, groups, bytes, newest_unix_ms, .. } = reading;
    Ok(Scan { tail, continuation, records, groups, bytes, newest_unix_ms })
}

fn read(
    files: &[SegmentFile<'_>],
    reading: &mut Reading,
    visit: &mut dyn FnMut(Found, &StoredRecord<'_>),
) -> Result<(Tail, Counted), Damage> {
    let chain = chain(files)?;
    let mut tail = Tail::Empty;
    let mut counted = Counted::default();
    for (place, link) in chain.iter().enumerate() {
        let end = chain.get(place + 1).map(|next| next.header.previous_end);
        (counted.end, tail) = reading.segment(link, end, visit)?;
        counted.segment = link.header.segment;
    }
    Ok((tail, counted))
}

/// A segment that counts.
struct Link<'a> {
    header: SegmentHeader,
    bytes: &'a [u8],
}

/// The segments that count, oldest first: each says which one it continues.
fn chain<'a>(files: &[SegmentFile<'a>]) -> Result<Vec<Link<'a>>, Damage> {
    let mut chain: Vec<Link<'a>> = Vec::new();
    let mut wanted = None;
    for file in files.iter().rev() {
        // Between a segment and the one that it continues lie files that were never finished.
        if wanted.is_some_and(|wanted| file.segment > wanted) {
            continue;
        }
        if let Some(wanted) = wanted.filter(|wanted| file.segment < *wanted) {
            return Err(Damage::Missing(wanted));
        }
        let segment = file.segment;
        let block = &file.bytes[..file.bytes.len().min(BLOCK_BYTES)];
        let header = match SegmentHeader::decode(block) {
            Ok(header) => header,
            Err(_) if wanted.is_none() && is_unfinished(file.bytes) => continue,
            Err(error) => return Err(Damage::Header { segment, error }),
        };
        if header.segment != segment {
            return Err(Damage::Misnamed { segment, holds: header.segment });
        }
        wanted = Some(header.previous_segment);
        chain.push(Link { header, bytes: file.bytes });
        if header.previous_segment == 0 {
            break;
        }
    }
    if let Some(wanted) = wanted.filter(|wanted| *wanted != 0) {
        return Err(Damage::Missing(wanted));
    }
    chain.reverse();
    Ok(chain)
}

/// Nothing stands behind the header's block: the process ended before the header was durable.
fn is_unfinished(bytes: &[u8]) -> bool {
    bytes.iter().skip(BLOCK_BYTES).all(|byte| *byte == 0)
}

struct Reading {
    records: u64,
    groups: u64,
    bytes: u64,
    last_group: u64,
    sequences: BTreeMap<Key, u64>,
    newest_unix_ms: i64,
    /// Groups written later are behind the cut, and so is all that follows one.
    until_unix_ms: i64,
    is_past_cut: bool,
    cut: Option<Cut>,
}

/// The place of the last byte that is not zero. A segment is mostly zeros: they are compared by the
/// block.
fn last_not_zero(bytes: &[u8]) -> Option<usize> {
    const ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];
    let mut blocks = bytes.chunks(BLOCK_BYTES).enumerate().rev();
    let (block, of_it) = blocks.find(|(_, block)| **block != ZEROS[..block.len()])?;
    of_it.iter().rposition(|byte| *byte != 0).map(|place| block * BLOCK_BYTES + place)
}

impl Reading {
    /// From the beginning, with no end.
    fn new() -> Reading {
        Reading {
            records: 0,
            groups: 0,
            bytes: 0,
            last_group: 0,
            sequences: BTreeMap::new(),
            newest_unix_ms: 0,
            until_unix_ms: i64::MAX,
            is_past_cut: false,
            cut: None,
        }
    }

    /// Reads one segment up to `end`, or to where it ends if it is the last one; says where that is
    /// and what stands there.
    fn segment(
        &mut self,
        link: &Link<'_>,
        end: Option<u64>,
        visit: &mut dyn FnMut(Found, &StoredRecord<'_>),
    ) -> Result<(u64, Tail), Damage> {
        let SegmentHeader { segment, run, .. } = link.header;
        let mut offset = BLOCK_BYTES as u64;
        let mut tail = Tail::Clean;
        while end.is_none_or(|end| offset < end) {
            let place = GroupPlace { run, segment, offset };
            let Some((header, body)) = decode_group(place, from(link.bytes, offset)) else {
                if end.is_some() || has_group_behind(link, offset) {
                    return Err(Damage::Group { segment, offset });
                }
                let unread = from(link.bytes, offset);
                return Ok((
                    offset,
                    match last_not_zero(unread) {
                        Some(last) => {
                            Tail::Torn { segment, offset, until: offset + last as u64 + 1 }
                        }
                        None => tail,
                    },
                ));
            };
            self.group(place, &header, body, visit)?;
            tail = if header.record_count == 0 { Tail::Closed } else { Tail::Clean };
            offset += group_bytes(body.len()) as u64;
        }
        if end.is_some_and(|end| offset != end) {
            return Err(Damage::Group { segment, offset });
        }
        Ok((offset, tail))
    }

    fn group(
        &mut self,
        place: GroupPlace,
        header: &GroupHeader,
        mut body: &[u8],
        visit: &mut dyn FnMut(Found, &StoredRecord<'_>),
    ) -> Result<(), Damage> {
        let GroupPlace { segment, offset, .. } = place;
        let (expected, found) = (self.last_group + 1, header.number);
        if found != expected {
            return Err(Damage::Order { segment, offset, expected, found });
        }
        let at = Found { segment, offset, written_unix_ms: header.written_unix_ms };
        for _ in 0..header.record_count {
            let damage = Damage::Records { segment, offset };
            let Some(record) = decode_record(&mut body) else {
                if bugs::active(Bug::TornTailAccepted) {
                    body = &[];
                    break;
                }
                return Err(damage);
            };
            let last = self.sequences.entry(record.key).or_default();
            // Another shard may have had the key meanwhile, but never backwards.
            if record.sequence <= *last {
                return Err(damage);
            }
            *last = record.sequence;
            visit(at, &record);
            self.records += 1;
        }
        if !body.is_empty() {
            return Err(Damage::Records { segment, offset });
        }
        self.groups += 1;
        self.last_group = found;
        self.newest_unix_ms = header.written_unix_ms;
        self.is_past_cut |= header.written_unix_ms > self.until_unix_ms;
        let bytes = group_bytes(header.body_bytes as usize) as u64;
        self.bytes += bytes;
        if !self.is_past_cut {
            let end = offset + bytes;
            self.cut = Some(Cut { segment, end, records: self.records });
        }
        Ok(())
    }
}

/// Whether any whole group stands behind `offset`: then what stands there was durable once.
fn has_group_behind(link: &Link<'_>, offset: u64) -> bool {
    let SegmentHeader { segment, run, .. } = link.header;
    let blocks = (offset + BLOCK_BYTES as u64..link.bytes.len() as u64).step_by(BLOCK_BYTES);
    blocks.into_iter().any(|offset| {
        decode_group(GroupPlace { run, segment, offset }, from(link.bytes, offset)).is_some()
    })
}

fn from(bytes: &[u8], offset: u64) -> &[u8] {
    usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or(&[])
}

#[cfg(test)]
mod tests;
