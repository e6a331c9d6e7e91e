use std::fs::{OpenOptions, write};

use super::*;
use crate::base::ids::{RecordNumber, UserId};
use crate::base::time::Time;
use crate::store::scan::{SegmentFile, scan};
use crate::store::writer::{Continuation, SEGMENT_BYTES_MIN, Step, Writer};

const RUN: u64 = 4;

fn granted(number: u64) -> Record {
    Record::CardGranted { user: UserId(number), grant: number, at: Time(number) }
}

/// A journal whose writer is asked by hand.
struct Journal {
    folder: tempfile::TempDir,
    writer: Writer,
    last: u64,
    now_unix_ms: i64,
}

impl Journal {
    fn new() -> Journal {
        let writer = Writer::new(0, RUN, SEGMENT_BYTES_MIN, Continuation::default());
        let folder = tempfile::tempdir().expect("a folder");
        Journal { folder, writer, last: 0, now_unix_ms: 0 }
    }

    fn append(&mut self, records: u64) {
        for _ in 0..records {
            self.last += 1;
            let mut payload = Vec::new();
            record::encode(&granted(self.last), &mut payload);
            let number = self.writer.append(Key::Bucket(crate::base::ids::BucketId(1)), &payload);
            assert_eq!(number, RecordNumber(self.last));
        }
    }

    /// Carries the next step out; says whether it is a group. It fails where it is to, after all of it
    /// was written.
    fn step(&mut self, fails: bool) -> Option<bool> {
        self.now_unix_ms += 1;
        let step = self.writer.next(self.now_unix_ms)?;
        let path = |segment| self.folder.path().join(segment_name(segment));
        let is_group = match step {
            Step::Open { segment, header, size_bytes } => {
                let mut bytes = header;
                bytes.resize(usize::try_from(size_bytes).expect("small"), 0);
                write(path(segment), bytes).expect("written");
                false
            }
            Step::Write { segment, offset, bytes } => {
                let file = OpenOptions::new().write(true).open(path(segment)).expect("opened");
                file.write_all_at(&bytes, offset).expect("written");
                true
            }
        };
        if fails {
            self.writer.failed()
        } else {
            self.writer.done()
        }
        Some(is_group)
    }

    fn write_all(&mut self) {
        while self.step(false).is_some() {}
    }

    /// What a restart counts.
    fn scanned(&self) -> Vec<u64> {
        let segments = segments(self.folder.path()).expect("listed");
        let read = |segment: &u64| {
            std::fs::read(self.folder.path().join(segment_name(*segment))).expect("read")
        };
        let contents: Vec<_> = segments.iter().map(read).collect();
        let files: Vec<_> = segments
            .iter()
            .zip(&contents)
            .map(|(segment, bytes)| SegmentFile { segment: *segment, bytes })
            .collect();
        let mut count = 0;
        scan(&files, &mut |_, _| count += 1).expect("sound");
        (1..=count).collect()
    }

    fn reader(&self, known: u64) -> JournalReader {
        JournalReader::new(self.folder.path().to_path_buf(), RUN, known)
    }
}

/// The numbers of the records that a reader finds now; each is what was written.
fn numbers(reader: &mut JournalReader, until: Until) -> Vec<u64> {
    let mut found = Vec::new();
    while let Some(group) = reader.next(until).expect("read") {
        for (number, record) in group.records {
            assert_eq!(record, granted(number));
            found.push(number);
        }
    }
    found
}

#[test]
fn what_is_durable_is_read_and_no_more_and_then_the_rest() {
    let mut journal = Journal::new();
    let mut reader = journal.reader(0);
    assert_eq!(numbers(&mut reader, Until::END), Vec::<u64>::new());
    for _ in 0..3 {
        journal.append(2);
        journal.write_all();
    }
    let until = |record| Until { record, ..Until::END };
    assert_eq!(numbers(&mut reader, until(0)), Vec::<u64>::new());
    assert_eq!(numbers(&mut reader, until(3)), [1, 2], "a group is durable as a whole");
    // The third group was written a step before the last look for one.
    let early = Until { record: 6, written_unix_ms: journal.now_unix_ms - 1 };
    assert_eq!(numbers(&mut reader, early), [3, 4]);
    assert_eq!(numbers(&mut reader, until(6)), [5, 6]);
    journal.writer.close();
    journal.write_all();
    assert_eq!((numbers(&mut reader, Until::END), reader.taken()), (vec![], 6));
    // What the book knows is not told again.
    assert_eq!(numbers(&mut journal.reader(4), Until::END), [5, 6]);
}

#[test]
fn every_record_is_read_once_through_segments_that_failed() {
    // Which steps fail: opening, the first write into a segment, a later one, two in a row.
    for failures in
        [vec![0], vec![1], vec![2], vec![2, 3], vec![1, 2, 3], vec![3, 5], vec![4, 5, 6]]
    {
        let mut journal = Journal::new();
        let mut reader = journal.reader(0);
        let (mut found, mut steps) = (Vec::new(), 0);
        for _ in 0..4 {
            journal.append(3);
            while journal.step(failures.contains(&steps)).is_some() {
                steps += 1;
                let until = Until { record: journal.writer.durable().0, ..Until::END };
                found.extend(numbers(&mut reader, until));
                // The process may die now.
                let cold = numbers(&mut journal.reader(0), Until::END);
                assert_eq!(cold, journal.scanned(), "failing at {failures:?}, step {steps}");
            }
        }
        let all: Vec<u64> = (1..=12).collect();
        assert_eq!(found, all, "while it was written, failing at {failures:?}");
        let cold = numbers(&mut journal.reader(0), Until::END);
        assert_eq!(cold, all, "afterwards, failing at {failures:?}");
    }
}
