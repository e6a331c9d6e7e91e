//! What is different from seed to seed: how many take part, what the shows are, what breaks.

use std::sync::Arc;
use std::time::Duration;

use crate::base::ids::{OptionIndex, RoomId, ShowId};
use crate::chat::settings::ChatSettings;
use crate::chat::words::{Action, WordList};
use crate::quiz::definition::{QuestionDefinition, ReviveCoverage, ShowDefinition, Timing};
use crate::quiz::money::Cents;
use crate::quiz::rain::RainSettings;
use crate::shard::config::{Admission, Downlink};
use crate::sim::dice::Dice;
use crate::sim::identity::Identity;
use crate::sim::rain;

/// A room that carries no show.
pub(crate) const LOUNGE: RoomId = RoomId(900);
/// Seeds of which one in so many is run twice with other correct options.
const TWIN_EVERY: u64 = 4;

/// What is not said: the second word refuses, the first is replaced.
const WORDS: &str = "damn\nforbidden = refuse\n";

/// How often what breaks, and how badly.
#[derive(Clone, Debug)]
pub(crate) struct Faults {
    /// Longest way of mail between two shards, as a rule.
    pub(crate) mail_delay_max_us: u64,
    /// Batches that take up to 1.2 s instead, of a thousand.
    pub(crate) slow_mail_permille: u32,
    /// Longest time until a record is durable; 0: at once.
    pub(crate) journal_delay_max_us: u64,
    /// Mean time between two pauses of a shard; 0: none.
    pub(crate) pause_every_ms: u64,
    /// Longest pause.
    pub(crate) pause_max_ms: u64,
    /// Longest way from client to host or back.
    pub(crate) latency_max_us: u64,
    /// Sends that are cut short, of a thousand.
    pub(crate) short_send_permille: u32,
    /// Sends for which the kernel has no memory, of a thousand.
    pub(crate) no_memory_permille: u32,
    /// Bytes that a socket takes from us while its client does not read.
    pub(crate) socket_bytes: usize,
    /// Questions at which a player's connection breaks, of a thousand.
    pub(crate) break_permille: u32,
    /// Questions at which a player's reader stalls, of a thousand.
    pub(crate) stall_permille: u32,
    /// Turns that leave the sockets unread, of a thousand.
    pub(crate) unread_permille: u32,
    /// Bytes of one receive.
    pub(crate) piece_bytes: usize,
    /// By how much clients' clocks are wrong at most.
    pub(crate) drift_max_ms: u64,
}

/// How many of a hundred players own cards. Nobody does where the keys of one of two shows are
/// compared: a card that went to the one, which is not revealed yet, is missing in the other, and
/// its reveal may show that.
fn cards_percent(dice: &mut Dice, compares_shows: bool) -> u64 {
    let percent = dice.pick(&[0, 30, 70]);
    if compares_shows { 0 } else { percent }
}

/// A seed, unfolded.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) seed: u64,
    pub(crate) shard_count: u16,
    pub(crate) bucket_count: u16,
    pub(crate) player_count: usize,
    pub(crate) shows: Vec<Arc<ShowDefinition>>,
    /// What those who know take for correct, by show and question: the same in both runs of a twin.
    pub(crate) known: Vec<Vec<OptionIndex>>,
    pub(crate) faults: Faults,
    pub(crate) admission: Admission,
    pub(crate) downlink: Downlink,
    pub(crate) lane_bytes_max: usize,
    pub(crate) spill_bytes_max: usize,
    pub(crate) idle_timeout_ms: u32,
    pub(crate) json_percent: u64,
    pub(crate) cards_percent: u64,
    pub(crate) chat_percent: u64,
    pub(crate) chat: ChatSettings,
    pub(crate) words: Arc<WordList>,
    /// Members may gather in the rooms before the shows are announced.
    pub(crate) early_rooms: bool,
    /// What the operator's moods are drawn from: interventions, of a thousand.
    pub(crate) whim_permille: u32,
    pub(crate) identity: Identity,
    /// The question whose key differs in the second run, by show and place.
    pub(crate) twin: Option<(usize, usize)>,
    /// The red-packet rains of each show, if there are any.
    pub(crate) rain: Option<RainSettings>,
}

impl Setup {
    /// The world of a seed.
    pub(crate) fn new(seed: u64) -> Setup {
        let mut dice = Dice::new(seed, 1);
        let calm = dice.below(8) == 0;
        let shard_count = u16::try_from(dice.between(1, 5)).unwrap_or(1);
        let player_count = match dice.below(20) {
            0 => dice.between(120, 300),
            1..=4 => dice.between(50, 120),
            _ => dice.between(8, 50),
        };
        let show_count = 1 + usize::from(dice.below(3) == 0);
        let mut early = Dice::new(seed, 10);
        let shows: Vec<_> =
            (0..show_count).map(|place| show(&mut dice, &mut early, place)).collect();
        let known = shows.iter().map(|show| show.questions.iter().map(|it| it.correct).collect());
        let known = known.collect();
        let faults = faults(&mut dice, calm);
        let retries = dice.below(3) == 0;
        let admission = Admission {
            mailbox_age_ms: if dice.below(3) == 0 { 40 } else { 100_000 },
            turn_ms: if dice.below(3) == 0 { 20 } else { 100_000 },
            force_retry_percent: if retries { dice.pick(&[5, 20, 60]) } else { 0 },
            retry_after_max_ms: dice.pick(&[0, 300, 2_000]),
        };
        let downlink = Downlink {
            tick_ms: dice.pick(&[1, 60, 200]),
            tick_max_ms: dice.pick(&[1, 400]),
            large_members: dice.pick(&[0, 20]),
            low_rate_max: dice.pick(&[0, 2, 100]),
            info_interval_ms: dice.pick(&[0, 300]),
            egress_bytes_per_s: dice.pick(&[0, 0, 20_000, 200_000]),
            ..Downlink::default()
        };
        let lane_bytes_max = dice.pick(&[900, 1_500, 8_000, 1 << 20]);
        let spill_bytes_max = dice.pick(&[2_000, 16_000, 65_536]);
        let idle_timeout_ms = dice.pick(&[2_500, 4_000, 8_000]);
        let twin = (seed.is_multiple_of(TWIN_EVERY)).then(|| {
            let place = dice.index(shows.len());
            (place, dice.index(shows[place].questions.len()))
        });
        Setup {
            seed,
            shard_count,
            bucket_count: dice.pick(&[8, 24, 64]),
            player_count: usize::try_from(player_count).unwrap_or(8),
            known,
            shows,
            faults,
            admission,
            downlink,
            lane_bytes_max,
            spill_bytes_max,
            idle_timeout_ms,
            json_percent: dice.pick(&[0, 10, 50]),
            cards_percent: cards_percent(&mut dice, twin.is_some() && show_count > 1),
            chat_percent: dice.pick(&[0, 10, 40]),
            chat: chat(&mut Dice::new(seed, 9)),
            words: Arc::new(WordList::parse(WORDS, Action::Replace).unwrap_or_default()),
            early_rooms: dice.below(3) == 0,
            whim_permille: if dice.below(2) == 0 { 0 } else { 120 },
            identity: Identity::new(seed),
            twin,
            rain: rain::draw(&mut Dice::new(seed, 11)),
        }
    }

    /// Whether a player takes compressed messages. Not where two runs are compared: the size of what
    /// was compressed depends on random bytes.
    pub(crate) fn offers_deflate(&self, player: usize) -> bool {
        self.twin.is_none() && self.seed.is_multiple_of(2) && player.is_multiple_of(2)
    }

    /// The same world, in which only one question's correct option is another.
    pub(crate) fn with_other_key(&self) -> Setup {
        let mut other = self.clone();
        if let Some((show, question)) = self.twin {
            let mut definition = (*self.shows[show]).clone();
            let asked = &mut definition.questions[question];
            let count = u8::try_from(asked.options.len()).unwrap_or(2);
            asked.correct = OptionIndex((asked.correct.0 + 1) % count);
            other.shows[show] = Arc::new(definition);
        }
        other
    }
}

/// Rates that are sometimes reached.
fn chat(dice: &mut Dice) -> ChatSettings {
    ChatSettings {
        user_interval: Duration::from_millis(dice.pick(&[0, 100, 3_000])),
        user_burst: dice.pick(&[1, 3, 10]),
        room_per_second: dice.pick(&[0, 2, 10, 1_000]),
        duplicate_window: Duration::from_millis(dice.pick(&[0, 1_000, 10_000])),
        same_text_max: dice.pick(&[0, 1, 5]),
        opaque_allowed: dice.below(8) > 0,
        ..ChatSettings::default()
    }
}

fn show(dice: &mut Dice, early: &mut Dice, place: usize) -> Arc<ShowDefinition> {
    let number = place as u64 + 1;
    let question_count = dice.between(1, 4);
    let question = |asked: u64, dice: &mut Dice| {
        let option_count = dice.between(2, 6);
        QuestionDefinition {
            text: format!("Question {asked} of show {number}"),
            options: (0..option_count).map(|option| format!("option {option}")).collect(),
            correct: OptionIndex(u8::try_from(dice.below(option_count)).unwrap_or(0)),
        }
    };
    Arc::new(ShowDefinition {
        id: ShowId(70 + number),
        room: RoomId(10 + number),
        title: format!("Show {number}"),
        starts_at_unix_ms: 0,
        prize_pool: Cents(dice.pick(&[0, 7, 100_003, 5_000_000])),
        remainder_account: "house".into(),
        revive: ReviveCoverage {
            wrong: dice.below(4) > 0,
            late: dice.below(2) == 0,
            unreachable: dice.below(2) == 0,
        },
        timing: Timing {
            lead: dice.millis(30, 300),
            display_slack: dice.millis(60, 400),
            countdown: dice.millis(600, 2_200),
            ticket_life: dice.millis(0, 1_600),
            stream_delay: Duration::from_millis(dice.pick(&[0, 0, 150])),
            extension_max: Duration::from_millis(dice.pick(&[0, 800, 5_000, 20_000])),
            early_push_max: Duration::from_millis(early.pick(&[0, 0, 150, 1_500, 4_000])),
        },
        questions: (0..question_count).map(|number| question(number, dice)).collect(),
    })
}

fn faults(dice: &mut Dice, calm: bool) -> Faults {
    if calm {
        return Faults {
            mail_delay_max_us: 100,
            slow_mail_permille: 0,
            journal_delay_max_us: 0,
            pause_every_ms: 0,
            pause_max_ms: 1,
            latency_max_us: 20_000,
            short_send_permille: 0,
            no_memory_permille: 0,
            socket_bytes: 64 * 1024,
            break_permille: 0,
            stall_permille: 0,
            unread_permille: 0,
            piece_bytes: 4_096,
            drift_max_ms: 0,
        };
    }
    Faults {
        mail_delay_max_us: dice.pick(&[200, 3_000, 40_000, 250_000]),
        slow_mail_permille: dice.pick(&[0, 0, 3, 20]),
        journal_delay_max_us: dice.pick(&[0, 0, 800, 20_000, 200_000]),
        pause_every_ms: dice.pick(&[0, 400, 1_500, 4_000]),
        pause_max_ms: dice.pick(&[30, 300, 900]),
        latency_max_us: dice.pick(&[500, 20_000, 120_000]),
        short_send_permille: dice.pick(&[0, 20, 200]),
        no_memory_permille: dice.pick(&[0, 0, 20]),
        socket_bytes: dice.pick(&[300, 2_000, 16_384]),
        break_permille: dice.pick(&[0, 80, 250]),
        stall_permille: dice.pick(&[0, 60, 250]),
        unread_permille: dice.pick(&[0, 0, 100]),
        piece_bytes: dice.pick(&[64, 512, 4_096]),
        drift_max_ms: dice.pick(&[0, 30, 2_000]),
    }
}
