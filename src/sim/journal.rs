//! The journals of a run that may end at any moment: the real writer on the simulator's disk, and
//! what each shard was whenever a group of its records went on its way.

use std::time::Duration;

use bytes::Bytes;

use crate::base::hash::Placement;
use crate::base::ids::{RecordNumber, ShardId};
use crate::base::time::Time;
use crate::shard::record::Record;
use crate::shard::recovery::{ReplayError, ShardImage};
use crate::sim::checkers::model::HomeThen;
use crate::sim::dice::Dice;
use crate::sim::disk::Disk;
use crate::sim::setup::Setup;
use crate::sim::world::World;
use crate::store::recovery::{JournalError, StoredRun, Visit, for_each_record};
use crate::store::scan::Scan;
use crate::store::state::{self, ShardState};
use crate::store::writer::{Continuation, SEGMENT_BYTES_MIN, Step, Writer};

/// How a disk behaves while the power is there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DiskFaults {
    /// Longest time of a step, as a rule.
    delay_max_us: u64,
    /// Steps that take seconds, of a thousand.
    slow_permille: u32,
    /// Steps that fail, of a thousand.
    fail_permille: u32,
    /// Records between two images of a shard; 0: none is taken.
    pub(crate) image_records: u64,
}

impl DiskFaults {
    pub(crate) fn draw(dice: &mut Dice) -> DiskFaults {
        DiskFaults {
            delay_max_us: dice.pick(&[300, 2_000, 20_000, 120_000]),
            slow_permille: dice.pick(&[0, 0, 3, 20]),
            fail_permille: dice.pick(&[0, 0, 10, 150]),
            image_records: dice.pick(&[0, 30, 200]),
        }
    }

    fn delay(&self, dice: &mut Dice) -> Duration {
        if dice.permille(self.slow_permille) {
            return dice.millis(300, 3_000);
        }
        dice.micros(20, self.delay_max_us)
    }
}

/// What a shard was at one of its records.
pub(crate) struct Then {
    pub(crate) record: u64,
    pub(crate) image: ShardImage,
    pub(crate) home: HomeThen,
}

/// A shard's journal.
pub(crate) struct Journal {
    shard: ShardId,
    placement: Placement,
    writer: Writer,
    disk: Disk,
    /// The files of state: when it begins, and the images.
    states: Vec<Bytes>,
    /// An image of which not all is durable yet.
    image: Option<Box<ShardState>>,
    image_at: u64,
    in_flight: Option<(Step, bool)>,
    /// Oldest first: at the last durable record, and at each group that was begun since.
    pub(crate) then: Vec<Then>,
    payload: Vec<u8>,
}

impl Journal {
    pub(crate) fn new(
        begin: &ShardState,
        placement: Placement,
        run: u64,
        home: HomeThen,
    ) -> Journal {
        let from = Continuation { sequences: begin.sequences.clone(), ..Continuation::default() };
        let then = Then { record: 0, image: begin.image.clone(), home };
        Journal {
            shard: begin.shard,
            placement,
            writer: Writer::new(begin.shard.0, run, SEGMENT_BYTES_MIN, from),
            disk: Disk::default(),
            states: vec![Bytes::from(state::encode(begin))],
            image: None,
            image_at: 0,
            in_flight: None,
            then: vec![then],
            payload: Vec::new(),
        }
    }

    pub(crate) fn append(&mut self, number: RecordNumber, record: &Record) {
        self.payload.clear();
        crate::store::record::encode(record, &mut self.payload);
        let key = crate::store::record::key(record, &self.placement, self.shard);
        let given = self.writer.append(key, &self.payload);
        assert_eq!(given, number, "record {record:?} is out of order");
    }

    /// The newest durable record.
    pub(crate) fn durable(&self) -> u64 {
        self.writer.durable().0
    }

    /// True if a step could begin.
    pub(crate) fn waits(&self) -> bool {
        self.in_flight.is_none() && self.writer.is_busy()
    }

    /// Begins the next step. `fails` says what will become of it; `then` is taken if it is a group.
    pub(crate) fn begin(
        &mut self,
        now_unix_ms: i64,
        fails: bool,
        then: impl FnOnce(u64) -> Then,
    ) -> bool {
        let Some(step) = self.writer.next(now_unix_ms) else { return false };
        if matches!(step, Step::Write { .. }) {
            self.then.push(then(self.writer.last().0));
        }
        self.disk.begin(&step);
        self.in_flight = Some((step, fails));
        true
    }

    /// The step under way has come to its end on the disk: true if it is durable.
    pub(crate) fn sync(&mut self) -> bool {
        let (step, fails) = self.in_flight.as_ref().expect("a step is under way");
        if !*fails {
            self.disk.sync(step);
        }
        !*fails
    }

    /// The writer is told of it.
    pub(crate) fn tell(&mut self, dice: &mut Dice) {
        let (step, fails) = self.in_flight.take().expect("a step is under way");
        if fails {
            self.disk.fail(&step, dice);
            self.writer.failed();
        } else {
            self.writer.done();
        }
        let durable = self.durable();
        let last = self.then.iter().rposition(|then| then.record == durable);
        self.then.drain(..last.unwrap_or(0));
        assert_eq!(self.then[0].record, durable, "groups end where they began to be written");
        if let Some(image) = self.image.take_if(|image| image.record <= durable) {
            self.states.push(Bytes::from(state::encode(&image)));
        }
    }

    /// Steps that failed in a row.
    pub(crate) fn failures(&self) -> u32 {
        self.writer.failures()
    }

    pub(crate) fn crash(&mut self, dice: &mut Dice) -> (u64, u64) {
        self.disk.crash(dice)
    }

    /// Whether it is time for another image.
    pub(crate) fn wants_image(&self, every: u64) -> bool {
        every > 0 && self.image.is_none() && self.writer.last().0 >= self.image_at + every
    }

    pub(crate) fn take_image(&mut self, at: Time, image: ShardImage) {
        self.image_at = self.writer.last().0;
        self.image = Some(Box::new(ShardState {
            shard: self.shard,
            shard_count: self.placement.shard_count(),
            bucket_count: self.placement.bucket_count(),
            record: self.image_at,
            at,
            sequences: self.writer.sequences().clone(),
            image,
        }));
    }

    /// The newest state that was written.
    pub(crate) fn newest_state(&self) -> Result<ShardState, String> {
        let newest = self.states.last().expect("a journal begins with one");
        state::decode(newest).map_err(|error| error.to_string())
    }
}

/// All journals, as a reader finds them.
pub(crate) struct Stored<'a>(pub(crate) &'a [Journal]);

/// Why a run cannot be read.
#[derive(Debug)]
pub(crate) struct Unreadable(pub(crate) String);

impl From<JournalError> for Unreadable {
    fn from(error: JournalError) -> Unreadable {
        Unreadable(format!("{error:?}"))
    }
}

impl StoredRun for Stored<'_> {
    type Error = Unreadable;

    fn records(
        &self,
        shard: ShardId,
        after: u64,
        visit: Visit<'_, Unreadable>,
    ) -> Result<Scan, Unreadable> {
        let files = self.0[shard.index()].disk.files();
        for_each_record(&files, after, &mut |number, _, record| visit(number, record))
    }

    fn failed(&self, shard: ShardId, record: u64, error: ReplayError) -> Unreadable {
        Unreadable(format!("shard {shard}, record {record}: {error}"))
    }
}

impl World {
    /// A shard has given a record to its journal.
    pub(crate) fn append(&mut self, host: usize, number: RecordNumber, record: &Record) {
        if let Some(crashes) = &mut self.crashes {
            crashes.journals[host].append(number, record);
        }
    }

    /// Lets a host's disk begin the next step, if there is one and none is under way.
    pub(crate) fn write_journal(&mut self, host: usize) {
        let Some(mut crashes) = self.crashes.take() else { return };
        if crashes.journals[host].waits() && !self.crashes_before_step(&mut crashes) {
            let faults = crashes.faults;
            let fails = crashes.dice.permille(faults.fail_permille);
            let delay = faults.delay(&mut crashes.dice);
            self.races.crash_slow_syncs += u64::from(delay > Duration::from_millis(250));
            let now_unix_ms = crate::sim::world::CLOCK.unix_ms(self.now);
            let begun = crashes.journals[host].begin(now_unix_ms, fails, |record| Then {
                record,
                image: self.hosts[host].shard.image(),
                home: self.home_then(host),
            });
            if begun {
                self.races.crash_steps += 1;
                self.schedule_step(&mut crashes, host, delay);
            }
        }
        self.crashes = Some(crashes);
    }

    /// Takes an image of a shard, if it is time and the moment is good.
    pub(crate) fn take_image(&mut self, host: usize) {
        let Some(crashes) = &mut self.crashes else { return };
        let every = crashes.faults.image_records;
        let shard = &self.hosts[host].shard;
        if crashes.journals[host].wants_image(every) && shard.is_calm() {
            crashes.journals[host].take_image(self.now, shard.image());
            self.races.crash_images += 1;
        }
    }
}

/// The world of a seed in which the power fails.
pub(crate) fn setup(seed: u64) -> Setup {
    let mut setup = Setup::new(seed);
    let mut dice = Dice::new(seed, 40);
    setup.twin = None;
    setup.chat_percent = 0;
    setup.identity = crate::sim::identity::Identity::steady();
    setup.player_count = setup.player_count.min(60);
    setup.rain = (0..3).find_map(|_| crate::sim::rain::draw(&mut dice));
    setup
}
