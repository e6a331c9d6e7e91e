//! The writer on a disk that forgets what was not synced, and the reader after it.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::base::entropy::{Entropy, SeededEntropy};
use crate::base::ids::{BucketId, RecordNumber, ShowId};
use crate::store::format::GROUP_BODY_BYTES_MAX;
use crate::store::writer::{SEGMENT_BYTES_MIN, Step, Writer};

/// What one key's records say, in order.
type Contents = BTreeMap<Key, Vec<Vec<u8>>>;

/// Files as they are, and the step that is on its way.
#[derive(Clone, Default)]
struct Disk {
    files: BTreeMap<u64, Vec<u8>>,
}

impl Disk {
    /// Carries out the first `blocks` blocks of a step, or all of it.
    fn carry_out(&mut self, step: &Step, blocks: &dyn Fn(usize) -> bool) {
        let (segment, offset, bytes) = match step {
            Step::Open { segment, header, size_bytes } => {
                let size = usize::try_from(*size_bytes).expect("small");
                self.files.insert(*segment, vec![0; size]);
                (segment, 0, header)
            }
            Step::Write { segment, offset, bytes } => {
                (segment, usize::try_from(*offset).expect("small"), bytes)
            }
        };
        let file = self.files.get_mut(segment).expect("opened before");
        for (block, content) in bytes.chunks(BLOCK_BYTES).enumerate() {
            if blocks(block) {
                let start = offset + block * BLOCK_BYTES;
                file[start..start + content.len()].copy_from_slice(content);
            }
        }
    }

    fn scan(&self) -> Result<(Scan, Contents), Damage> {
        let files: Vec<SegmentFile<'_>> = self
            .files
            .iter()
            .map(|(segment, bytes)| SegmentFile { segment: *segment, bytes })
            .collect();
        let mut contents = Contents::new();
        let scan = scan(&files, &mut |_, record| {
            contents.entry(record.key).or_default().push(record.payload.to_vec());
        })?;
        Ok((scan, contents))
    }
}

fn write_all(writer: &mut Writer, disk: &mut Disk) {
    while let Some(step) = writer.next(7) {
        disk.carry_out(&step, &|_| true);
        writer.done();
    }
}

fn writer(run: u64, from: Continuation) -> Writer {
    Writer::new(0, run, SEGMENT_BYTES_MIN, from)
}

fn bucket(number: u16) -> Key {
    Key::Bucket(BucketId(number))
}

#[test]
fn what_was_written_is_read_in_order_over_several_runs() {
    let mut disk = Disk::default();
    assert_eq!(disk.scan().expect("nothing").0.tail, Tail::Empty);
    let mut expected = Contents::new();
    for run in 1..4 {
        let (scan, contents) = disk.scan().expect("sound");
        assert_eq!(contents, expected);
        let mut writer = writer(run, scan.continuation);
        for record in 0..100_u64 {
            let key = if record % 10 == 0 { Key::Show(ShowId(record)) } else { bucket(3) };
            let payload = vec![record.to_le_bytes()[0]; 20_000];
            writer.append(key, &payload);
            expected.entry(key).or_default().push(payload);
        }
        write_all(&mut writer, &mut disk);
        assert_eq!((writer.durable(), writer.last()), (RecordNumber(100), RecordNumber(100)));
        let (scan, _) = disk.scan().expect("sound");
        assert_eq!(scan.tail, Tail::Clean);
        writer.close();
        write_all(&mut writer, &mut disk);
        assert_eq!(disk.scan().expect("sound").0.tail, Tail::Closed);
    }
    assert!(disk.files.len() >= 6, "segments are left when they are full");
}

#[test]
fn a_group_that_failed_is_written_again_elsewhere_and_counts_once() {
    let mut disk = Disk::default();
    let mut writer = writer(1, Continuation::default());
    writer.append(bucket(1), b"first");
    write_all(&mut writer, &mut disk);
    writer.append(bucket(1), b"second");
    let step = writer.next(0).expect("a write");
    // It reached the disk, but the sync failed.
    disk.carry_out(&step, &|_| true);
    writer.failed();
    // So did the next file's header.
    let step = writer.next(0).expect("another segment");
    assert!(matches!(step, Step::Open { segment: 2, .. }));
    disk.carry_out(&step, &|_| true);
    writer.failed();
    assert_eq!((writer.failures(), writer.durable()), (2, RecordNumber(1)));
    writer.append(bucket(1), b"third");
    write_all(&mut writer, &mut disk);
    assert_eq!((writer.failures(), writer.durable()), (0, RecordNumber(3)));
    let (scan, contents) = disk.scan().expect("sound");
    assert_eq!(scan.continuation.newest_segment, 3);
    let expected = [b"first".to_vec(), b"second".to_vec(), b"third".to_vec()];
    assert_eq!(contents[&bucket(1)], expected);
}

#[test]
fn damage_below_the_last_group_is_named_and_a_torn_tail_is_cut() {
    let mut disk = Disk::default();
    let mut first = writer(1, Continuation::default());
    for record in 0..3_u8 {
        first.append(bucket(1), &[record; 100]);
        write_all(&mut first, &mut disk);
    }
    let block = BLOCK_BYTES as u64;
    for (group, offset) in [(0, block), (1, 2 * block)] {
        let mut damaged = disk.clone();
        damaged.files.get_mut(&1).expect("the file")[(group + 1) * BLOCK_BYTES + 60] ^= 1;
        assert_eq!(damaged.scan().unwrap_err(), Damage::Group { segment: 1, offset });
    }
    let mut torn = disk.clone();
    torn.files.get_mut(&1).expect("the file")[3 * BLOCK_BYTES + 60] ^= 1;
    let (scan, contents) = torn.scan().expect("the last group may be torn");
    assert!(matches!(scan.tail, Tail::Torn { segment: 1, offset, .. } if offset == 3 * block));
    assert_eq!(contents[&bucket(1)].len(), 2);
    // The next run says where the old one ends; what was torn is not looked at any more.
    let mut next = writer(2, scan.continuation);
    next.append(bucket(1), b"next");
    write_all(&mut next, &mut torn);
    let (scan, contents) = torn.scan().expect("sound");
    assert_eq!((scan.tail, contents[&bucket(1)].len()), (Tail::Clean, 3));
    // After an orderly end, damage of the last group is damage too.
    first.close();
    write_all(&mut first, &mut disk);
    disk.files.get_mut(&1).expect("the file")[3 * BLOCK_BYTES + 60] ^= 1;
    assert_eq!(disk.scan().unwrap_err(), Damage::Group { segment: 1, offset: 3 * block });
}

#[test]
fn missing_and_misnamed_files_are_named() {
    let mut disk = Disk::default();
    let mut writer = writer(1, Continuation::default());
    for _ in 0..4 {
        writer.append(bucket(1), &vec![1; GROUP_BODY_BYTES_MAX / 2]);
        write_all(&mut writer, &mut disk);
    }
    assert!(disk.files.len() >= 3);
    let mut missing = disk.clone();
    missing.files.remove(&2);
    assert_eq!(missing.scan().unwrap_err(), Damage::Missing(2));
    let mut misnamed = disk.clone();
    let file = misnamed.files[&1].clone();
    misnamed.files.insert(2, file);
    assert_eq!(misnamed.scan().unwrap_err(), Damage::Misnamed { segment: 2, holds: 1 });
    let mut foreign = disk.clone();
    foreign.files.get_mut(&1).expect("the file")[0] = b'X';
    let error = HeaderError::Magic;
    assert_eq!(foreign.scan().unwrap_err(), Damage::Header { segment: 1, error });
}

/// Every single bit of a journal of 64 KiB: what is flipped is found, or was the last group, or
/// changes nothing.
#[test]
fn no_flipped_bit_changes_what_is_read() {
    let mut disk = Disk::default();
    let mut writer = writer(1, Continuation::default());
    for record in 0..14_u8 {
        writer.append(bucket(u16::from(record % 3)), &[record; 150]);
        write_all(&mut writer, &mut disk);
    }
    writer.close();
    write_all(&mut writer, &mut disk);
    let file = disk.files.get_mut(&1).expect("one segment");
    assert!(file[16 * BLOCK_BYTES..].iter().all(|byte| *byte == 0));
    file.truncate(16 * BLOCK_BYTES);
    let (_, contents) = disk.scan().expect("sound");
    let (mut damages, mut tails) = (0_usize, 0_usize);
    for bit in 0..16 * BLOCK_BYTES * 8 {
        let flip = |disk: &mut Disk| {
            disk.files.get_mut(&1).expect("one segment")[bit / 8] ^= 1 << (bit % 8);
        };
        flip(&mut disk);
        match disk.scan() {
            Err(_) => damages += 1,
            Ok((scan, found)) => {
                assert_eq!(found, contents, "bit {bit}");
                tails += usize::from(matches!(scan.tail, Tail::Torn { .. }));
            }
        }
        flip(&mut disk);
    }
    // The closing group holds no record; all the rest is damage.
    assert_eq!((damages, tails), (15 * BLOCK_BYTES * 8, BLOCK_BYTES * 8));
}

/// Whichever step fails, and whatever of it reached the disk: the segment is left for good, what was
/// pending is written elsewhere, and all is there once; also if the process ends right behind it.
#[test]
fn whichever_step_fails_nothing_is_lost_and_nothing_is_twice() {
    type Blocks = fn(usize) -> bool;
    let fates: [Blocks; 4] = [|_| false, |block| block == 0, |block| block % 2 == 1, |_| true];
    for fate in fates {
        let mut failing = 0;
        loop {
            let mut disk = Disk::default();
            let mut writer = writer(1, Continuation::default());
            let (mut steps, mut left_segment) = (0, None);
            let mut expected = Contents::new();
            for record in 0..8_u8 {
                let payload = vec![record; 300_000];
                writer.append(bucket(u16::from(record % 2)), &payload);
                expected.entry(bucket(u16::from(record % 2))).or_default().push(payload);
                while let Some(step) = writer.next(7) {
                    let (Step::Open { segment, .. } | Step::Write { segment, .. }) = &step;
                    assert_ne!(Some(*segment), left_segment, "step {steps} goes where one failed");
                    if steps == failing {
                        left_segment = Some(*segment);
                        disk.carry_out(&step, &fate);
                        writer.failed();
                        // The process ends here: all that was told to be durable is there.
                        let (scan, _) = disk.scan().expect("a failed step is no damage");
                        assert!(scan.records >= writer.durable().0, "step {steps}");
                    } else {
                        disk.carry_out(&step, &|_| true);
                        writer.done();
                    }
                    steps += 1;
                }
            }
            writer.close();
            write_all(&mut writer, &mut disk);
            let (scan, contents) = disk.scan().expect("sound");
            assert!(contents == expected, "step {failing}: {} records", scan.records);
            assert_eq!((scan.tail, scan.records), (Tail::Closed, 8), "step {failing}");
            if left_segment.is_none() {
                assert!(failing >= 10, "{failing} steps");
                break;
            }
            failing += 1;
        }
    }
}

proptest! {
    /// At any step the process or the power may fail, with any blocks of the write in flight on
    /// the disk, or the disk may refuse; what was acknowledged is there, in order, once.
    #[test]
    fn nothing_acknowledged_is_lost(seed in any::<u64>()) {
        let mut entropy = SeededEntropy::new(seed, 0);
        let mut disk = Disk::default();
        let mut appended: Contents = Contents::new();
        let mut acknowledged = 0;
        for run in 1..=3_u64 {
            let (scan, contents) = disk.scan().expect("a crash is no damage");
            let count: usize = contents.values().map(Vec::len).sum();
            prop_assert!(count >= acknowledged, "{count} of {acknowledged}");
            for (key, records) in &contents {
                prop_assert_eq!(&appended[key][..records.len()], &records[..]);
            }
            // What was not durable never happened: the next run begins from what was read.
            appended = contents;
            let mut writer = writer(run, scan.continuation);
            for _ in 0..entropy.below(40) {
                for _ in 0..entropy.below(8) {
                    let key = bucket(u16::try_from(entropy.below(4)).expect("small"));
                    let length = usize::try_from(entropy.below(9_000)).expect("small");
                    let payload = vec![entropy.below(256).to_le_bytes()[0]; length];
                    writer.append(key, &payload);
                    appended.entry(key).or_default().push(payload);
                }
                let Some(step) = writer.next(0) else { continue };
                match entropy.below(10) {
                    0 => {
                        // The end, in the middle of a write.
                        let blocks = entropy.below(u64::MAX);
                        disk.carry_out(&step, &|block| blocks >> (block % 64) & 1 == 1);
                        break;
                    }
                    1 => {
                        let blocks = entropy.below(u64::MAX);
                        disk.carry_out(&step, &|block| blocks >> (block % 64) & 1 == 1);
                        writer.failed();
                    }
                    _ => {
                        disk.carry_out(&step, &|_| true);
                        writer.done();
                    }
                }
            }
            acknowledged = count + usize::try_from(writer.durable().0).expect("small");
        }
        let (_, contents) = disk.scan().expect("a crash is no damage");
        let count: usize = contents.values().map(Vec::len).sum();
        prop_assert!(count >= acknowledged, "{count} of {acknowledged}");
    }
}

#[test]
fn a_cut_has_what_was_written_until_then_and_can_be_read_by_itself() {
    let mut disk = Disk::default();
    let mut writer = writer(1, Continuation::default());
    for record in 0..60_u64 {
        writer.append(bucket(1), &[1; 40_000]);
        while let Some(step) = writer.next(1_000 + i64::try_from(record).expect("few")) {
            disk.carry_out(&step, &|_| true);
            writer.done();
        }
    }
    let files: Vec<SegmentFile<'_>> = disk
        .files
        .iter()
        .map(|(segment, bytes)| SegmentFile { segment: *segment, bytes })
        .collect();
    assert!(files.len() > 1, "over several segments");
    assert_eq!(cut(&files, 999), Ok(None));
    for until in 1_000..1_063 {
        let found = cut(&files, until).expect("sound").expect("something");
        let records = u64::try_from(until - 999).expect("positive").min(60);
        assert_eq!(found.records, records, "until {until}");
        let part = Disk {
            files: disk
                .files
                .iter()
                .filter(|(segment, _)| **segment <= found.segment)
                .map(|(segment, bytes)| {
                    let end = if *segment == found.segment { found.end } else { u64::MAX };
                    let end = usize::try_from(end).expect("64 bits").min(bytes.len());
                    (*segment, bytes[..end].to_vec())
                })
                .collect(),
        };
        let (scan, _) = part.scan().expect("a part is a journal");
        assert_eq!((scan.records, scan.tail), (records, Tail::Clean));
        assert_eq!(scan.newest_unix_ms, until.min(1_059));
    }
}
