//! The quiz: judging the answer of a random player among a million, sealing its result, and settling
//! a bucket.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkGroup, Criterion, SamplingMode};
use tidegate::base::entropy::{Entropy, SeededEntropy};
use tidegate::base::hash::{Placement, PlacementKey};
use tidegate::base::ids::{OptionIndex, QuestionIndex, RoomId, ShardId, ShowId, UserId};
use tidegate::base::limits::{BUCKET_COUNT_DEFAULT, QUESTIONS_MAX};
use tidegate::base::time::Time;
use tidegate::quiz::definition::{QuestionDefinition, ReviveCoverage, ShowDefinition, Timing};
use tidegate::quiz::director::{Command, Director};
use tidegate::quiz::local::LocalQuiz;
use tidegate::quiz::money::Cents;
use tidegate::quiz::replica::{AnswerInput, AnswerOutcome};
use tidegate::quiz::seal::{Sealer, SecretKey, VerdictRecord};
use tidegate::quiz::users::WARMED;
use tidegate::quiz::verdict::Verdict;

use crate::cpu_time::{CpuTime, now};
use crate::scale;

/// The show.
pub(crate) const SHOW: ShowId = ShowId(5);
/// The room of the show.
pub(crate) const ROOM: RoomId = RoomId(7);
/// Places users.
pub(crate) const KEY: PlacementKey = PlacementKey([3; 16]);
const ME: ShardId = ShardId(0);
const CORRECT: OptionIndex = OptionIndex(1);
/// As much as is known of a user and a player: 64 bytes.
const FLOOR_RECORD_WORDS: usize = 16;

/// A show on the only shard, whose players have joined, and its director.
pub(crate) struct Stage {
    pub(crate) local: LocalQuiz,
    director: Director,
    entropy: SeededEntropy,
    now: Time,
    /// In the order in which they answer.
    players: Vec<UserId>,
    next: usize,
    question: u16,
}

impl Stage {
    fn new(player_count: usize, bucket_count: u16) -> Stage {
        let mut stage = Stage::in_lobby(player_count, bucket_count);
        stage.order(Command::Publish);
        stage
    }

    /// Everybody has joined.
    pub(crate) fn in_lobby(player_count: usize, bucket_count: u16) -> Stage {
        let placement = Placement::new(KEY, bucket_count, 1);
        let mut entropy = SeededEntropy::new(1, 1);
        let mut stage = Stage {
            local: LocalQuiz::new(ME, placement),
            director: Director::new(Arc::new(show()), 1, bucket_count, Time::ZERO),
            now: Time::ZERO,
            players: shuffled(player_count, &mut entropy),
            entropy,
            next: 0,
            question: 0,
        };
        stage.carry();
        stage.order(Command::OpenLobby);
        for user in shuffled(player_count, &mut stage.entropy) {
            stage.local.join(SHOW, user, stage.now).unwrap();
            stage.local.present(SHOW, user, ME, stage.now);
        }
        stage
    }

    fn carry(&mut self) {
        for event in self.director.take_events() {
            self.local.apply(&event).unwrap();
            self.director.acknowledged(self.now, ME, event.number, self.now);
        }
    }

    fn order(&mut self, command: Command) {
        self.director.command(self.now, command, &mut self.entropy).unwrap();
        self.carry();
    }

    fn pass(&mut self, by: Duration) {
        self.now = self.now + by;
        self.director.due(self.now);
        self.carry();
    }

    /// Nobody has answered again: the question was void, another one is open.
    fn next_question(&mut self) {
        self.next = 0;
        self.order(Command::Void);
        self.order(Command::Publish);
        self.question += 1;
    }

    fn is_spent(&self) -> bool {
        self.next == self.players.len() && usize::from(self.question) + 1 == QUESTIONS_MAX
    }

    /// How long `count` answers take, each the first of a random player.
    fn take_answers(&mut self, count: usize, way: Way) -> Duration {
        let sender_applied = self.local.show(SHOW).unwrap().last_event();
        let input = AnswerInput {
            question: QuestionIndex(self.question),
            option: CORRECT,
            arrived: self.now,
            ticket: None,
            sender_applied,
        };
        let users = self.players[self.next..self.next + count].to_vec();
        let local = &mut self.local;
        let mut recorded = 0;
        let mut judge = |local: &mut LocalQuiz, user| {
            let outcome = black_box(local.judge(SHOW, black_box(user), &input));
            recorded += usize::from(matches!(outcome, AnswerOutcome::Recorded(_)));
        };
        let begun = now();
        match way {
            Way::OneByOne => users.iter().for_each(|user| judge(local, *user)),
            Way::Batches => {
                for some in users.chunks(WARMED) {
                    local.warm(SHOW, some);
                    some.iter().for_each(|user| judge(local, *user));
                }
            }
            Way::Sealed => {
                for user in users {
                    let outcome = black_box(local.answer(SHOW, black_box(user), &input));
                    recorded += usize::from(matches!(outcome, AnswerOutcome::Recorded(_)));
                }
            }
        }
        let took = now() - begun;
        assert_eq!(recorded, count, "everybody answers for the first time");
        self.next += count;
        took
    }
}

/// How answers are taken.
#[derive(Clone, Copy)]
enum Way {
    /// Judged, each alone.
    OneByOne,
    /// Judged, as mail of another shard comes: looked up some at a time.
    Batches,
    /// Judged and sealed, each alone.
    Sealed,
}

pub(crate) fn bench(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("quiz");
    group.sampling_mode(SamplingMode::Flat).sample_size(20);
    let player_count = scale(1_000_000, 1_000);
    let mut made = None;
    let ways = [
        ("judge one of", Way::OneByOne),
        ("judge one, in batches, of", Way::Batches),
        ("judge and seal one of", Way::Sealed),
    ];
    for (name, way) in ways {
        group.bench_function(format!("{name} {player_count} players"), |bencher| {
            bencher.iter_custom(|count| {
                let new = || Stage::new(player_count, BUCKET_COUNT_DEFAULT);
                let stage = made.get_or_insert_with(new);
                let mut left = usize::try_from(count).unwrap();
                let mut took = Duration::ZERO;
                while left > 0 {
                    if stage.is_spent() {
                        *stage = new();
                    } else if stage.next == stage.players.len() {
                        stage.next_question();
                    }
                    let now = left.min(stage.players.len() - stage.next);
                    took += stage.take_answers(now, way);
                    left -= now;
                }
                took
            });
        });
    }
    drop(made);
    floor(&mut group, player_count);
    settle(&mut group);
    seal(&mut group);
    group.finish();
}

/// A bucket of a thousand players, of whom nobody or half of them answered.
fn settle(group: &mut BenchmarkGroup<'_, CpuTime>) {
    let player_count = scale(1_000, 100);
    for answered in [0, player_count / 2] {
        let name = format!("settle a bucket of {player_count}/{answered} answered");
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|count| (0..count).map(|_| settled(player_count, answered)).sum());
        });
    }
}

/// The least that a random player's record can cost: one read of a random place among as many
/// bytes, where the next place is known (many reads are under way at once) or only when the last
/// one has come.
fn floor(group: &mut BenchmarkGroup<'_, CpuTime>, player_count: usize) {
    let mut entropy = SeededEntropy::new(3, 3);
    let order = shuffled(player_count, &mut entropy);
    let mut records = vec![[0_u32; FLOOR_RECORD_WORDS]; player_count];
    // Each record names the next one of a single round through all of them.
    for (at, user) in order.iter().enumerate() {
        let next = order[(at + 1) % player_count].0;
        records[index(*user)][0] = u32::try_from(next).unwrap();
    }
    let mut at = 0;
    group.bench_function("floor: a random record, each known ahead", |bencher| {
        bencher.iter(|| {
            at = (at + 1) % player_count;
            records[index(order[at])][0]
        });
    });
    let mut user = UserId(1);
    group.bench_function("floor: a random record, each named by the last", |bencher| {
        bencher.iter(|| {
            user = UserId(u64::from(records[index(user)][0]));
            user
        });
    });
}

fn index(user: UserId) -> usize {
    usize::try_from(user.0 - 1).unwrap()
}

/// Part of taking an answer: encrypting the result.
fn seal(group: &mut BenchmarkGroup<'_, CpuTime>) {
    let key = SecretKey::generate(&mut SeededEntropy::new(2, 2));
    let sealer = Sealer::new(&key, SHOW, QuestionIndex(0));
    let (verdict, option) = (Verdict::Passed, Some(CORRECT));
    let record = VerdictRecord { verdict, new_record: false, by_ticket: false, option, passed: 1 };
    let mut user = 0;
    group.bench_function("seal a result", |bencher| {
        bencher.iter(|| {
            user += 1;
            sealer.seal(UserId(user), 0, record)
        });
    });
}

/// How long it takes to settle the one bucket there is.
fn settled(player_count: usize, answered: usize) -> Duration {
    let mut stage = Stage::new(player_count, 1);
    stage.take_answers(answered, Way::OneByOne);
    let timing = Timing::default();
    stage.pass(timing.lead + timing.display_slack);
    stage.pass(timing.countdown + timing.ticket_life + timing.stream_delay);
    stage.pass(Duration::from_secs(1));
    stage.local.drained(SHOW, ME, QuestionIndex(0));
    let begun = now();
    let progress = stage.local.settle_slice(SHOW, player_count);
    let took = now() - begun;
    assert_eq!(progress.results.len(), player_count - answered);
    took
}

/// The users 1 to `count` in a random order.
fn shuffled(count: usize, entropy: &mut SeededEntropy) -> Vec<UserId> {
    let mut users: Vec<UserId> = (1..=count as u64).map(UserId).collect();
    for place in (1..count).rev() {
        let other = usize::try_from(entropy.below(place as u64 + 1)).unwrap();
        users.swap(place, other);
    }
    users
}

/// As many questions as there can be.
pub(crate) fn show() -> ShowDefinition {
    let question = |place: usize| QuestionDefinition {
        text: format!("Question {place}"),
        options: ["a", "b", "c"].map(String::from).to_vec(),
        correct: CORRECT,
    };
    ShowDefinition {
        id: SHOW,
        room: ROOM,
        title: "A show".into(),
        starts_at_unix_ms: 0,
        prize_pool: Cents(100_000),
        remainder_account: "house".into(),
        revive: ReviveCoverage::default(),
        timing: Timing::default(),
        questions: (0..QUESTIONS_MAX).map(question).collect(),
    }
}
