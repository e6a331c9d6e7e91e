//! What came of a demo, and the comparison of the gateway's figures with the players' own.

use hdrhistogram::Histogram;
use serde_json::json;

use crate::base::hash::Placement;
use crate::base::hex;
use crate::base::ids::{QuestionIndex, UserId};
use crate::base::time::Time;
use crate::ops::cli::DemoArguments;
use crate::ops::demo::books::LedgerOutcome;
use crate::player::record::QuestionSums;
use crate::player::swarm::SwarmReport;
use crate::player::violations::Violations;
use crate::quiz::definition::ShowDefinition;
use crate::quiz::director::Notice;
use crate::quiz::event::Settlement;
use crate::quiz::money::Cents;
use crate::quiz::report::{BucketDigest, QuestionCounts, game_hash};
use crate::quiz::verdict::Verdict;
use crate::shard::operator::{OpenedQuestion, ShowStatus};

/// The longest coverage that is told apart, microseconds.
const COVERAGE_US_MAX: u64 = 600_000_000;

/// How long it took from the director's publish until players had parsed a question, milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Coverage {
    /// Half of them.
    pub p50: f64,
    /// 99 %.
    pub p99: f64,
    /// 99.9 %.
    pub p999: f64,
    /// All.
    pub p100: f64,
}

/// How one question went.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QuestionOutcome {
    /// Players that parsed its frame.
    pub delivered: u64,
    /// How fast.
    pub coverage_ms: Coverage,
    /// Players in the game who sent an answer, by their own count.
    pub answers_sent: u64,
    /// Answers that the gateway counted.
    pub answers_accepted: u64,
    /// Players whose answer was acknowledged, by their own count.
    pub answers_acknowledged: u64,
    /// Answers in time that were refused, by the players' count.
    pub in_time_refused: u64,
    /// Passed by the correct answer.
    pub correct: u64,
    /// Out at this question.
    pub eliminated: u64,
    /// Saved by a card.
    pub revived: u64,
}

/// What came of a demo.
#[derive(Clone, Debug)]
pub struct DemoOutcome {
    /// Players that took part.
    pub players: u32,
    /// Shards of the gateway.
    pub shards: u16,
    /// By question.
    pub questions: Vec<QuestionOutcome>,
    /// Connections after a player's first one.
    pub reconnects: u64,
    /// Answers that were told to come again.
    pub retried: u64,
    /// Answers that were given again.
    pub repeated: u64,
    /// Pieces of nonsense sent.
    pub garbage: u64,
    /// Older connections that a newer one took over from.
    pub replaced: u64,
    /// Heartbeats answered, and the longest round trip in milliseconds.
    pub heartbeats: (u64, i64),
    /// Players who share the prize.
    pub winners: u64,
    /// What there was to share, cents.
    pub prize_pool_cents: i64,
    /// What each winner gets, cents.
    pub per_head_cents: i64,
    /// What could not be shared, cents.
    pub remainder_cents: i64,
    /// Packets that players grabbed in all rains, and the cents in them.
    pub packets: (u64, i64),
    /// Over every user, question and verdict; in hexadecimal digits.
    pub game_hash: String,
    /// The book of the folder, if there is one.
    pub ledger: Option<LedgerOutcome>,
    /// How long it all took, seconds.
    pub seconds: f64,
    /// Every broken promise.
    pub violations: Violations,
}

/// A show that was played to its end.
pub(super) struct Played<'a> {
    pub(super) arguments: &'a DemoArguments,
    pub(super) shards: u16,
    pub(super) definition: &'a ShowDefinition,
    pub(super) status: ShowStatus,
    pub(super) report: SwarmReport,
    pub(super) placement: Placement,
    pub(super) seconds: f64,
    /// People who may have played beside the players.
    pub(super) guests: u64,
}

/// Whether the gateway's figure is that of the players' own, where so many more may have played.
fn agrees(gateway: u64, own: u64, guests: u64) -> bool {
    (own..=own.saturating_add(guests)).contains(&gateway)
}

/// Compares, end to end, and sums up.
pub(super) fn judge(played: Played<'_>) -> DemoOutcome {
    let Played { arguments, shards, definition, status, mut report, placement, seconds, guests } =
        played;
    let mut violations = std::mem::take(&mut report.violations);
    let players = u64::from(arguments.players);
    let mut questions = Vec::new();
    for (number, sums) in report.questions.iter().enumerate() {
        match status.questions.get(number) {
            Some(opened) => {
                let own = (players, sums);
                questions.push(judge_question(number, opened, own, guests, &mut violations));
            }
            None => violations.note(|| format!("question {number} was never published")),
        }
    }
    let settlement = status.settlement.unwrap_or(NO_SETTLEMENT);
    violations.check(status.settlement.is_some(), || "the prize was not split".to_owned());
    judge_money(definition, &settlement, &status, &report, guests, &mut violations);
    judge_rains(&status, &report, guests, &mut violations);
    let own_hash = own_game_hash(&report.verdicts, &placement);
    // Nobody but the gateway knows the verdicts of people.
    let is_own_game = guests == 0 || status.live.joined == players;
    violations.check(!is_own_game || own_hash == settlement.game_hash, || {
        format!(
            "the gateway's game hash {} is not that of the players' own verdicts, {}",
            hex::encode(&settlement.game_hash),
            hex::encode(&own_hash)
        )
    });
    let deeds = report.deeds;
    DemoOutcome {
        players: arguments.players,
        shards,
        questions,
        reconnects: deeds.reconnects,
        retried: deeds.retried,
        repeated: deeds.repeated,
        garbage: deeds.garbage,
        replaced: deeds.replaced,
        heartbeats: (deeds.heartbeats, deeds.rtt_longest_ms),
        winners: settlement.winners,
        prize_pool_cents: settlement.pool.0,
        per_head_cents: settlement.per_head.0,
        remainder_cents: settlement.remainder.0,
        packets: (deeds.packets, deeds.packet_cents),
        game_hash: hex::encode(&settlement.game_hash),
        ledger: None,
        seconds,
        violations,
    }
}

/// In place of one that never came.
const NO_SETTLEMENT: Settlement = Settlement {
    winners: 0,
    pool: Cents::ZERO,
    per_head: Cents::ZERO,
    remainder: Cents::ZERO,
    game_hash: [0; 32],
};

fn judge_question(
    number: usize,
    opened: &OpenedQuestion,
    (players, sums): (u64, &QuestionSums),
    guests: u64,
    violations: &mut Violations,
) -> QuestionOutcome {
    let counts = opened.counts.unwrap_or_default();
    violations.check(opened.counts.is_some(), || format!("question {number} was never closed"));
    let outcome = QuestionOutcome {
        delivered: sums.shown_at.len() as u64,
        coverage_ms: coverage(opened.published_at, &sums.shown_at),
        answers_sent: sums.answers_sent,
        answers_accepted: counts.answered,
        answers_acknowledged: sums.answers_acknowledged,
        in_time_refused: sums.in_time_refused,
        correct: counts.correct,
        eliminated: counts.eliminated,
        revived: counts.revived,
    };
    let mut equal = |what: &str, gateway: u64, own: u64| {
        violations.check(agrees(gateway, own, guests), || {
            format!("question {number}: {what}: {gateway} by the gateway, {own} by the players")
        });
    };
    equal("shown to", players, outcome.delivered);
    equal("answers that were sent", counts.answered, sums.answers_sent);
    equal("answers that were acknowledged", counts.answered, sums.answers_acknowledged);
    equal("correct", counts.correct, sums.correct);
    equal("eliminated", counts.eliminated, sums.eliminated);
    equal("revived", counts.revived, sums.revived);
    for (option, own) in sums.options.iter().enumerate() {
        equal(&format!("answers in time with option {option}"), counts.options[option], *own);
    }
    judge_reveal(number, opened, (&counts, sums), guests, violations);
    outcome
}

/// What everybody was told at the reveal are the operator's figures.
fn judge_reveal(
    number: usize,
    opened: &OpenedQuestion,
    (counts, sums): (&QuestionCounts, &QuestionSums),
    guests: u64,
    violations: &mut Violations,
) {
    let Some(reveal) = &sums.reveal else {
        return violations.note(|| format!("question {number} was revealed to nobody"));
    };
    let options = counts.options.get(..reveal.option_counts.len());
    violations.check(options == Some(&reveal.option_counts[..]), || {
        format!("question {number}: the reveal counts {:?}", reveal.option_counts)
    });
    violations.check(reveal.in_play == opened.in_play, || {
        let (told, known) = (reveal.in_play, opened.in_play);
        format!("question {number}: the reveal says {told} go on, the operator is told {known}")
    });
    let own = sums.correct + sums.revived;
    violations.check(agrees(opened.in_play, own, guests), || {
        format!("question {number}: {} go on, {own} by the players", opened.in_play)
    });
}

fn judge_money(
    definition: &ShowDefinition,
    settlement: &Settlement,
    status: &ShowStatus,
    report: &SwarmReport,
    guests: u64,
    violations: &mut Violations,
) {
    let pool = definition.prize_pool;
    let Settlement { winners, per_head, remainder, .. } = *settlement;
    violations.check(agrees(winners, report.winners, guests), || {
        format!("{winners} winners by the gateway, {} by the players", report.winners)
    });
    let shared = i128::from(per_head.0) * i128::from(winners);
    violations.check(shared + i128::from(remainder.0) == i128::from(pool.0), || {
        format!("{winners} × {per_head} + {remainder} cents are not the pool of {pool}")
    });
    violations.check(settlement.pool == pool, || {
        format!("the pool was {pool} cents and {} were split", settlement.pool)
    });
    let paid = status.notices.iter().rev().find_map(|notice| match notice {
        Notice::PaidOut { paid, remainder } => Some((*paid, *remainder)),
        Notice::QuestionExtended { .. }
        | Notice::PushExpired { .. }
        | Notice::JournalsStand { .. }
        | Notice::JournalsGoOn { .. }
        | Notice::ResumedAfterRestart { .. }
        | Notice::VoidNeeded { .. }
        | Notice::OfferedAfterAll { .. } => None,
    });
    let as_split =
        paid.is_some_and(|(paid, rest)| i128::from(paid.0) == shared && rest == remainder);
    violations.check(as_split, || format!("paid out was {paid:?}, not {shared} cents"));
    let told = report.settled.as_ref().is_some_and(|settled| {
        settled.winners == winners
            && settled.prize_pool_cents == pool.0
            && settled.per_head_cents == per_head.0
            && settled.remainder_cents == remainder.0
    });
    violations.check(told, || format!("players were told of {:?}", report.settled));
}

/// Every cent of every rain is with a player, by the players' own count, or back in the fund.
fn judge_rains(
    status: &ShowStatus,
    report: &SwarmReport,
    guests: u64,
    violations: &mut Violations,
) {
    let (mut packets, mut paid, mut guests_taps) = (0, 0, 0);
    for rain in &status.rains {
        packets += u64::from(rain.grabbed);
        paid += rain.paid.0;
        guests_taps += guests * u64::from(rain.settings.taps_max);
        let pool = rain.settings.pool;
        violations.check(rain.paid.checked_add(rain.returned) == Some(pool), || {
            format!(
                "rain {}: {} paid and {} back are not {pool}",
                rain.rain, rain.paid, rain.returned
            )
        });
    }
    let own = (report.deeds.packets, report.deeds.packet_cents);
    let is_whole = match packets == own.0 {
        true => paid == own.1,
        false => agrees(packets, own.0, guests_taps) && paid > own.1,
    };
    violations.check(is_whole, || {
        let (own_packets, own_paid) = own;
        format!(
            "{packets} packets with {paid} cents by the gateway, {own_packets} with {own_paid} by \
             the players"
        )
    });
}

/// The game hash by the players' own verdicts: the rules of [`crate::quiz::report`].
#[must_use]
pub fn own_game_hash(verdicts: &[(UserId, Vec<Verdict>)], placement: &Placement) -> [u8; 32] {
    let mut digests: Vec<BucketDigest> =
        (0..placement.bucket_count()).map(|_| BucketDigest::new()).collect();
    for (user, verdicts) in verdicts {
        let bucket = placement.bucket(*user);
        for (question, verdict) in (0..).map(QuestionIndex).zip(verdicts) {
            digests[bucket.index()].add(*user, question, *verdict);
        }
    }
    let digests: Vec<[u8; 32]> = digests.into_iter().map(BucketDigest::finish).collect();
    game_hash(digests.iter())
}

/// # Panics
/// Never: the bounds of the histogram are constants within what it takes.
fn coverage(published_at: Time, shown_at: &[Time]) -> Coverage {
    let mut histogram = Histogram::<u64>::new_with_bounds(1, COVERAGE_US_MAX, 3)
        .expect("the bounds are within what a histogram takes");
    for at in shown_at {
        let us = u64::try_from(at.since(published_at).as_micros()).unwrap_or(u64::MAX);
        histogram.saturating_record(us);
    }
    let longest = shown_at.iter().map(|at| at.since(published_at)).max().unwrap_or_default();
    let ms = |us: u64| std::time::Duration::from_micros(us).as_secs_f64() * 1_000.0;
    Coverage {
        p50: ms(histogram.value_at_quantile(0.5)),
        p99: ms(histogram.value_at_quantile(0.99)),
        p999: ms(histogram.value_at_quantile(0.999)),
        p100: ms(u64::try_from(longest.as_micros()).unwrap_or(u64::MAX)),
    }
}

impl DemoOutcome {
    /// One JSON object on one line, for machines.
    #[must_use]
    pub fn to_json(&self) -> String {
        let question = |question: &QuestionOutcome| {
            let Coverage { p50, p99, p999, p100 } = question.coverage_ms;
            json!({
                "delivered": question.delivered,
                "coverage_ms": { "p50": p50, "p99": p99, "p999": p999, "p100": p100 },
                "answers_sent": question.answers_sent,
                "answers_accepted": question.answers_accepted,
                "answers_acknowledged": question.answers_acknowledged,
                "in_time_refused": question.in_time_refused,
                "correct": question.correct,
                "eliminated": question.eliminated,
                "revived": question.revived,
            })
        };
        let (heartbeats, rtt_longest_ms) = self.heartbeats;
        json!({
            "players": self.players,
            "shards": self.shards,
            "questions": self.questions.iter().map(question).collect::<Vec<_>>(),
            "reconnects": self.reconnects,
            "retried": self.retried,
            "repeated": self.repeated,
            "garbage": self.garbage,
            "replaced": self.replaced,
            "heartbeats": heartbeats,
            "rtt_longest_ms": rtt_longest_ms,
            "winners": self.winners,
            "prize_pool_cents": self.prize_pool_cents,
            "per_head_cents": self.per_head_cents,
            "remainder_cents": self.remainder_cents,
            "packets": self.packets.0,
            "packet_cents": self.packets.1,
            "game_hash": self.game_hash,
            "ledger": self.ledger.as_ref().map(|ledger| json!({
                "causes": ledger.causes,
                "proved": ledger.is_proved,
                "hash": ledger.hash,
            })),
            "seconds": self.seconds,
            "violation_count": self.violations.count(),
            "violations": self.violations.sentences(),
        })
        .to_string()
    }

    /// Some lines for people.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut text = String::new();
        let mut line = |words: String| {
            text.push_str(&words);
            text.push('\n');
        };
        line(format!("{} players on {} shards, {:.1} s", self.players, self.shards, self.seconds));
        for (number, question) in (1..).zip(&self.questions) {
            let QuestionOutcome { delivered, coverage_ms, correct, revived, eliminated, .. } =
                question;
            line(format!(
                "question {number}: shown to {delivered} (half after {:.1} ms, all after {:.1} ms), \
                 {} answers, all of them counted: {correct} correct, {revived} revived, \
                 {eliminated} out",
                coverage_ms.p50, coverage_ms.p100, question.answers_acknowledged
            ));
        }
        line(format!(
            "{} reconnects, {} retries, {} repeats, {} pieces of nonsense, {} sessions replaced",
            self.reconnects, self.retried, self.repeated, self.garbage, self.replaced
        ));
        line(format!(
            "{} winners share {} cents: {} each, {} left over",
            self.winners, self.prize_pool_cents, self.per_head_cents, self.remainder_cents
        ));
        line(format!("{} red packets with {} cents", self.packets.0, self.packets.1));
        line(format!("game {}", self.game_hash));
        if let Some(LedgerOutcome { causes, is_proved, hash }) = &self.ledger {
            let word = if *is_proved { "proved" } else { "NOT proved" };
            line(format!("ledger {word} from {causes} causes of the journal, hash {hash}"));
        }
        let count = self.violations.count();
        if count == 0 {
            line("every check held".to_owned());
        } else {
            line(format!("{count} checks failed:"));
            for sentence in self.violations.sentences() {
                line(format!("  {sentence}"));
            }
        }
        text
    }
}
