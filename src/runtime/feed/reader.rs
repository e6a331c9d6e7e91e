//! Reads a shard's journal from its files, group by group, while it may still be written.
//!
//! A group is taken when its records are known to be durable, or when nobody writes any more. Which
//! segments count is said by those that follow them (`store/scan.rs` has the rules); what was written
//! into a segment that was left, and then once more into the next, is taken once: by the numbers of its
//! records. At the end of a journal, what was written into a segment that was left and never again does
//! not count, as it does not for a restart. So memory is bounded by a group, however long the journal is.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::runtime::data::{DataError, failing, segments};
use crate::runtime::disk_journal::segment_name;
use crate::shard::record::Record;
use crate::store::format::{
    BLOCK_BYTES, GroupHeader, GroupPlace, Key, SegmentHeader, decode_group, decode_record,
    group_length,
};
use crate::store::record;

/// Up to where a journal may be read.
#[derive(Clone, Copy, Debug)]
pub struct Until {
    /// The last record that is durable.
    pub record: u64,
    /// Only groups that were written before this moment, Unix milliseconds: what is read of several
    /// shards before one moment has no effect without its cause.
    pub written_unix_ms: i64,
}

impl Until {
    fn is_end(self) -> bool {
        self.record == u64::MAX
    }

    /// All that is there: nobody writes any more.
    pub const END: Until = Until { record: u64::MAX, written_unix_ms: i64::MAX };
}

/// The records of one group that were not taken before.
pub struct Group {
    /// With their numbers in the run.
    pub records: Vec<(u64, Record)>,
}

/// How a journal is read.
pub struct JournalReader {
    folder: PathBuf,
    /// The number of the run, as segments have it.
    run: u64,
    /// The last record that was taken.
    taken: u64,
    /// Records up to this one bring nothing new: of them only what directors decided is decoded.
    known: u64,
    /// The segment that is read, and where; none before the first.
    place: Option<Place>,
    /// How much of each segment counts that another one continues; known when nobody writes any more.
    ends: Option<BTreeMap<u64, u64>>,
}

struct Place {
    segment: u64,
    file: File,
    offset: u64,
}

impl JournalReader {
    /// Of the shard whose journal is in `folder`, from its first record on.
    #[must_use]
    pub fn new(folder: PathBuf, run: u64, known: u64) -> JournalReader {
        JournalReader { folder, run, taken: 0, known, place: None, ends: None }
    }

    /// The last record that was taken.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// The next group; nothing if there is none yet, or none that may be read.
    ///
    /// # Errors
    /// If a file or a record cannot be read.
    pub fn next(&mut self, until: Until) -> Result<Option<Group>, DataError> {
        if until.is_end() && self.ends.is_none() {
            self.ends = Some(self.read_ends()?);
        }
        loop {
            if self.taken >= until.record {
                return Ok(None);
            }
            let found = match &self.place {
                Some(place) if self.counts(place) => {
                    self.group_at(place.segment, &place.file, place.offset)?
                }
                _ => None,
            };
            let (header, body, length) = match found {
                Some(found) => found,
                None if self.follow()? => continue,
                None => return Ok(None),
            };
            let last = (header.first_record + u64::from(header.record_count)).saturating_sub(1);
            if last > until.record || header.written_unix_ms >= until.written_unix_ms {
                return Ok(None);
            }
            if let Some(place) = &mut self.place {
                place.offset += length;
            }
            if last > self.taken {
                return self.records(&header, &body).map(Some);
            }
        }
    }

    fn counts(&self, place: &Place) -> bool {
        let end = self.ends.as_ref().and_then(|ends| ends.get(&place.segment));
        end.is_none_or(|end| place.offset < *end)
    }

    /// From the newest segment back: each says how much of the one that it continues counts.
    fn read_ends(&self) -> Result<BTreeMap<u64, u64>, DataError> {
        let (mut ends, mut wanted) = (BTreeMap::new(), None);
        for segment in segments(&self.folder)?.into_iter().rev() {
            if wanted.is_some_and(|wanted| segment != wanted) {
                continue;
            }
            if let Some((header, _)) = self.header_of(segment)? {
                ends.insert(header.previous_segment, header.previous_end);
                wanted = Some(header.previous_segment);
            }
        }
        Ok(ends)
    }

    fn header_of(&self, segment: u64) -> Result<Option<(SegmentHeader, File)>, DataError> {
        let path = self.folder.join(segment_name(segment));
        let file = File::open(&path).map_err(failing("opening", &path))?;
        let block = read_at(&file, 0, BLOCK_BYTES, &path)?;
        Ok(SegmentHeader::decode(&block).ok().map(|header| (header, file)))
    }

    fn records(&mut self, header: &GroupHeader, mut body: &[u8]) -> Result<Group, DataError> {
        let mut records = Vec::new();
        for number in header.first_record..header.first_record + u64::from(header.record_count) {
            let Some(stored) = decode_record(&mut body) else {
                let what = format!("record {number} cannot be read: `tidegate journal verify`");
                return Err(DataError::Malformed { path: self.folder.clone(), what });
            };
            let is_wanted = number > self.known || matches!(stored.key, Key::Show(_));
            if number <= self.taken || !is_wanted {
                continue;
            }
            let path = || self.folder.clone();
            let record = record::decode(stored.payload).map_err(|error| DataError::Record {
                path: path(),
                record: number,
                error,
            })?;
            records.push((number, record));
        }
        self.taken = header.first_record + u64::from(header.record_count) - 1;
        Ok(Group { records })
    }

    /// The group at a place, its records and its length with padding.
    fn group_at(
        &self,
        segment: u64,
        file: &File,
        offset: u64,
    ) -> Result<Option<(GroupHeader, Vec<u8>, u64)>, DataError> {
        let path = || self.folder.join(segment_name(segment));
        let first = read_at(file, offset, BLOCK_BYTES, &path())?;
        let Some(length) = group_length(&first) else { return Ok(None) };
        let bytes = match length > first.len() {
            true => read_at(file, offset, length, &path())?,
            false => first,
        };
        let place = GroupPlace { run: self.run, segment, offset };
        let group = decode_group(place, &bytes);
        Ok(group.map(|(header, body)| (header, body.to_vec(), length as u64)))
    }

    /// Goes on in the segment that continues the one that was read, if there is a group in it.
    fn follow(&mut self) -> Result<bool, DataError> {
        let from = self.place.as_ref().map_or(0, |place| place.segment);
        let mut later = Vec::new();
        for segment in segments(&self.folder)?.into_iter().filter(|segment| *segment > from) {
            later.extend(self.header_of(segment)?);
        }
        // A segment that was opened and never written to is continued by the next one.
        let mut reached = vec![from];
        for (header, _) in &later {
            if reached.contains(&header.previous_segment) {
                reached.push(header.segment);
            }
        }
        while let Some((header, file)) = later.pop() {
            let (segment, offset) = (header.segment, BLOCK_BYTES as u64);
            let follows = reached.contains(&segment) && reached.contains(&header.previous_segment);
            let is_next = follows && self.is_next(&header, from, &later);
            if is_next && self.group_at(segment, &file, offset)?.is_some() {
                self.place = Some(Place { segment, file, offset });
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether nothing that counts lies between the segment that was read and this one.
    fn is_next(&self, header: &SegmentHeader, from: u64, later: &[(SegmentHeader, File)]) -> bool {
        let mut header = *header;
        loop {
            if header.previous_segment == from {
                return true;
            }
            // Between them only segments that count no group.
            if header.previous_end > BLOCK_BYTES as u64 {
                return false;
            }
            let before = later.iter().find(|(it, _)| it.segment == header.previous_segment);
            match before {
                Some((before, _)) => header = *before,
                None => return false,
            }
        }
    }
}

/// As many bytes as there are, up to `count`.
fn read_at(file: &File, offset: u64, count: usize, path: &Path) -> Result<Vec<u8>, DataError> {
    let mut bytes = vec![0; count];
    let mut filled = 0;
    while filled < count {
        let read = file.read_at(&mut bytes[filled..], offset + filled as u64);
        match read.map_err(failing("reading", path))? {
            0 => break,
            more => filled += more,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

#[cfg(test)]
mod tests;
