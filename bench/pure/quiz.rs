//! The quiz: judging the answer of a random player among a million, and settling a bucket.

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

    fn answer(&mut self, user: UserId) -> AnswerOutcome {
        let sender_applied = self.local.show(SHOW).unwrap().last_event();
        let question = QuestionIndex(self.question);
        let input = AnswerInput {
            question,
            option: CORRECT,
            arrived: self.now,
            ticket: None,
            sender_applied,
        };
        self.local.answer(SHOW, user, &input)
    }

    /// How long `count` answers take, each the first of a random player.
    fn judge(&mut self, count: usize) -> Duration {
        let users = self.players[self.next..self.next + count].to_vec();
        let begun = now();
        for user in users {
            let outcome = black_box(self.answer(black_box(user)));
            debug_assert!(matches!(outcome, AnswerOutcome::Recorded(_)), "{outcome:?}");
        }
        let took = now() - begun;
        self.next += count;
        took
    }
}

pub(crate) fn bench(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("quiz");
    group.sampling_mode(SamplingMode::Flat).sample_size(20);
    let player_count = scale(1_000_000, 1_000);
    for bucket_count in [BUCKET_COUNT_DEFAULT, 1] {
        let mut made = None;
        let name = format!("judge one of {player_count} players/{bucket_count} buckets");
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|count| {
                let stage = made.get_or_insert_with(|| Stage::new(player_count, bucket_count));
                let mut left = usize::try_from(count).unwrap();
                let mut took = Duration::ZERO;
                while left > 0 {
                    if stage.is_spent() {
                        *stage = Stage::new(player_count, bucket_count);
                    } else if stage.next == stage.players.len() {
                        stage.next_question();
                    }
                    let now = left.min(stage.players.len() - stage.next);
                    took += stage.judge(now);
                    left -= now;
                }
                took
            });
        });
    }
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

/// Part of judging: encrypting the result.
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
    stage.judge(answered);
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
