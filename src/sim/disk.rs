//! A disk that keeps what was synced and nothing else for certain: what was written since may be
//! there, in part, in any order, or not at all.

use std::collections::BTreeMap;

use crate::sim::dice::Dice;
use crate::store::format::BLOCK_BYTES;
use crate::store::scan::SegmentFile;
use crate::store::writer::Step;

/// What a disk writes as a whole; a block is several of these.
const SECTOR_BYTES: usize = 512;

/// A journal's file.
#[derive(Debug, Default)]
struct File {
    /// What is there for certain. Behind its end there are zeros.
    durable: Vec<u8>,
    /// What was written and not synced, oldest first: where, and what.
    pending: Vec<(usize, Vec<u8>)>,
    /// Its name was synced too.
    is_named: bool,
}

/// The files of one shard's journal in one run.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    files: BTreeMap<u64, File>,
}

/// What became of a write when the power failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// All of it is there.
    Whole,
    /// None of it.
    None,
    /// The sectors before this one.
    Until(usize),
    /// Some sectors, in any order.
    Some,
    /// All but one sector.
    AllBut(usize),
}

impl Disk {
    /// A step is under way: its bytes are given to the disk, and nothing is promised of them.
    pub(crate) fn begin(&mut self, step: &Step) {
        let (segment, offset, bytes) = match step {
            Step::Open { segment, header, .. } => {
                let made = self.files.insert(*segment, File::default());
                assert!(made.is_none(), "segment {segment} exists");
                (segment, 0, header)
            }
            Step::Write { segment, offset, bytes } => {
                (segment, usize::try_from(*offset).unwrap_or(usize::MAX), bytes)
            }
        };
        assert!(bytes.len().is_multiple_of(BLOCK_BYTES), "whole blocks are written");
        let file = self.files.get_mut(segment);
        let file = file.expect("a segment is opened before it is written");
        file.pending.push((offset, bytes.clone()));
    }

    /// The sync of a step's file has succeeded.
    pub(crate) fn sync(&mut self, step: &Step) {
        let (Step::Open { segment, .. } | Step::Write { segment, .. }) = step;
        let file = self.files.get_mut(segment).expect("it was begun");
        for (offset, bytes) in std::mem::take(&mut file.pending) {
            file.put(offset, &bytes);
        }
        file.is_named = true;
    }

    /// A step has failed: what it wrote may be lost at once, and a later sync says nothing of it.
    pub(crate) fn fail(&mut self, step: &Step, dice: &mut Dice) {
        let (Step::Open { segment, .. } | Step::Write { segment, .. }) = step;
        let file = self.files.get_mut(segment).expect("it was begun");
        if dice.below(2) == 0 {
            for (offset, bytes) in std::mem::take(&mut file.pending) {
                let fate = Fate::draw(&bytes, dice);
                file.write_so_far(offset, &bytes, fate, dice);
            }
        }
    }

    /// The power fails: says how many writes were torn, and how many survived unsynced.
    pub(crate) fn crash(&mut self, dice: &mut Dice) -> (u64, u64) {
        let (mut torn, mut survived) = (0, 0);
        // The kernel may have written all that it had, or the process alone may have died.
        let keeps_all = dice.below(5) == 0;
        self.files.retain(|_, file| {
            for (offset, bytes) in std::mem::take(&mut file.pending) {
                let fate = if keeps_all { Fate::Whole } else { Fate::draw(&bytes, dice) };
                survived += u64::from(fate == Fate::Whole);
                torn += u64::from(!matches!(fate, Fate::Whole | Fate::None));
                file.write_so_far(offset, &bytes, fate, dice);
            }
            file.is_named || file.durable.iter().any(|byte| *byte != 0) || dice.below(2) == 0
        });
        (torn, survived)
    }

    /// What a reader finds.
    pub(crate) fn files(&self) -> Vec<SegmentFile<'_>> {
        let files = self.files.iter();
        files
            .map(|(segment, file)| SegmentFile { segment: *segment, bytes: &file.durable })
            .collect()
    }
}

impl Fate {
    fn draw(bytes: &[u8], dice: &mut Dice) -> Fate {
        let sectors = bytes.len() / SECTOR_BYTES;
        match dice.below(8) {
            0 | 1 => Fate::None,
            2 | 3 => Fate::Whole,
            4 => Fate::Until(dice.index(sectors)),
            5 => Fate::AllBut(dice.index(sectors)),
            // Of a group most sectors are often zeros: a tear that is seen lies before them.
            6 => Fate::Until(dice.index(filled(bytes).min(sectors) + 1)),
            _ => Fate::Some,
        }
    }
}

/// Sectors up to the last byte that is not zero.
fn filled(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last / SECTOR_BYTES + 1)
}

impl File {
    fn put(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        if self.durable.len() < end {
            self.durable.resize(end, 0);
        }
        self.durable[offset..end].copy_from_slice(bytes);
    }

    fn write_so_far(&mut self, offset: usize, bytes: &[u8], fate: Fate, dice: &mut Dice) {
        // The file has its whole size from the beginning.
        self.durable.resize(self.durable.len().max(offset + bytes.len()), 0);
        for (sector, content) in bytes.chunks(SECTOR_BYTES).enumerate() {
            let is_written = match fate {
                Fate::Whole => true,
                Fate::None => false,
                Fate::Until(end) => sector < end,
                Fate::Some => dice.below(2) == 0,
                Fate::AllBut(missing) => sector != missing,
            };
            if is_written {
                self.put(offset + sector * SECTOR_BYTES, content);
            }
        }
    }
}
