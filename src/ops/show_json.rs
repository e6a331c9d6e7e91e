//! How the operator API shows a show: the field names are a contract, so each stands here with
//! what it means, apart from the types of the quiz.
//!
//! Counts tell what is not revealed: for operators only. Times are Unix milliseconds, money is
//! integer cents, questions and options are counted from 0.

use std::time::Duration;

use serde_json::{Value, json};

use crate::base::hex;
use crate::base::time::DisplayClock;
use crate::ops::show_file::rains::FiledRain;
use crate::ops::show_file::{ShowFile, date};
use crate::quiz::definition::{QuestionDefinition, ShowDefinition};
use crate::quiz::director::{LiveFigures, Notice, RejudgePreview};
use crate::quiz::event::Settlement;
use crate::quiz::phase::Phase;
use crate::quiz::rain::{RainPhase, RainStatus};
use crate::quiz::report::QuestionCounts;
use crate::shard::operator::{OpenedQuestion, ShowMessage, ShowStatus};
use crate::wire::proto;

/// Shows that start in one room within less than this are likely to meet: a show takes an hour or two,
/// its lobby included, and its room is another one's only when it has ended.
const SAME_ROOM_WITHIN: Duration = Duration::from_secs(4 * 3_600);

/// All shows, each in short: the first eight fields of [`show`], and
///
/// | field | meaning |
/// |---|---|
/// | `room` | where its audience is |
/// | `starts_at_ms` | when it is planned to start, or null |
/// | `room_clashes` | other shows, none of them over, that are planned to start in the same room less than four hours before it or after it |
#[must_use]
pub fn list(shows: &[ShowStatus]) -> Value {
    let listed = shows.iter().map(|status| {
        let clashes = shows.iter().filter(|other| clash(status, other));
        let mut value = summary(status);
        value["room"] = status.room.0.into();
        value["starts_at_ms"] = planned_start(status).into();
        value["room_clashes"] = clashes.map(|other| other.show.0).collect();
        value
    });
    listed.collect()
}

/// Whether two shows are likely to meet in a room.
fn clash(one: &ShowStatus, other: &ShowStatus) -> bool {
    let is_over = |it: &ShowStatus| matches!(it.live.phase, Phase::Ended | Phase::Cancelled);
    let (Some(starts), Some(other_starts)) = (planned_start(one), planned_start(other)) else {
        return false;
    };
    let between = Duration::from_millis(starts.abs_diff(other_starts));
    one.show != other.show
        && one.room == other.room
        && !is_over(one)
        && !is_over(other)
        && between < SAME_ROOM_WITHIN
}

fn planned_start(status: &ShowStatus) -> Option<i64> {
    Some(status.starts_at_unix_ms).filter(|at| *at != 0)
}

/// A show in short.
fn summary(status: &ShowStatus) -> Value {
    let LiveFigures { phase, question, joined, in_play, .. } = status.live;
    json!({
        "id": status.show.0,
        "title": status.title,
        "phase": phase_word(phase),
        "question": question.map(|question| question.0),
        "question_count": status.question_count,
        "prize_pool_cents": status.prize_pool.0,
        "joined": joined,
        "in_play": in_play,
    })
}

/// A show with all that its director knows.
///
/// | field | meaning |
/// |---|---|
/// | `id`, `title` | as in the show file |
/// | `phase` | see [`phase_word`] |
/// | `question` | the question that opened last; null before the first and after a void |
/// | `question_count` | questions of the show |
/// | `prize_pool_cents` | what the winners share |
/// | `joined` | users who joined, spectators included |
/// | `in_play` | players left, by all verdicts so far, unrevealed ones included |
/// | `room` | where its audience is |
/// | `event` | the number of what was decided last: it grows with every step of the show |
/// | `early_push_max_ms` | how long a question may lie with the clients, sealed; 0: it may not |
/// | `pushed` | the question that lies there, or null |
/// | `per_head_cents` | the share of each if the show were settled now |
/// | `cards_used` | revive cards used in this show |
/// | `live` | the running figures of `question`: see the function `live` |
/// | `questions` | those that were opened, in order: see the function `question` |
/// | `settlement` | null, or how the prize was split: see the function `settlement` |
/// | `is_paid_out` | every shard has paid its winners |
/// | `allowed` | the commands that are possible now, as they are written in a path |
/// | `rain_fund_cents` | money for red-packet rains that is not planned |
/// | `rains` | in the order in which they were planned: see the function `rain` |
/// | `journals_standing` | shards whose journals stand still: nothing of theirs is acknowledged |
/// | `notices` | `{kind, text}`, oldest first: what the operator should know |
#[must_use]
pub fn show(status: &ShowStatus, clock: DisplayClock) -> Value {
    let mut value = summary(status);
    let more = json!({
        "room": status.room.0,
        "event": status.last_event.0,
        "early_push_max_ms": millis(status.early_push_max),
        "pushed": status.pushed.map(|question| question.0),
        "per_head_cents": status.live.per_head.0,
        "cards_used": status.live.cards_used,
        "live": live(&status.live),
        "questions": status.questions.iter().map(|it| question(it, clock)).collect::<Vec<_>>(),
        "settlement": status.settlement.as_ref().map(settlement),
        "is_paid_out": status.is_paid_out,
        "allowed": status.allowed.iter().map(|kind| kind.word()).collect::<Vec<_>>(),
        "rain_fund_cents": status.rain_fund.0,
        "rains": status.rains.iter().map(rain).collect::<Vec<_>>(),
        "journals_standing": status.journals_standing.iter().map(|shard| shard.0).collect::<Vec<_>>(),
        "notices": status.notices.iter().map(notice).collect::<Vec<_>>(),
    });
    if let (Value::Object(fields), Value::Object(more)) = (&mut value, more) {
        fields.extend(more);
    }
    value
}

/// The questions of a show, in order: see [`questions`].
#[must_use]
pub fn script(definition: &ShowDefinition) -> Value {
    questions(&definition.questions)
}

/// Questions, each with `text`, `options`, and `correct`, the option that counts.
#[must_use]
pub fn questions(questions: &[QuestionDefinition]) -> Value {
    let question = |it: &QuestionDefinition| json!({ "text": it.text, "options": it.options, "correct": it.correct.0 });
    questions.iter().map(question).collect()
}

/// A show as it is filed, with the keys of a show file, so that it can be filed again. What is not
/// said, and what a show that is announced from elsewhere does not tell, is left out.
#[must_use]
pub fn filed(file: &ShowFile) -> Value {
    let ShowFile { definition, pace, rains } = file;
    let ShowDefinition { revive, timing, .. } = definition;
    let mut value = json!({
        "id": definition.id.0,
        "room": definition.room.0,
        "title": definition.title,
        "prize_pool_cents": definition.prize_pool.0,
        "remainder_account": definition.remainder_account,
        "revive": {
            "wrong": revive.wrong,
            "late": revive.late,
            "unreachable": revive.unreachable,
        },
        "timing": {
            "lead_ms": millis(timing.lead),
            "display_slack_ms": millis(timing.display_slack),
            "countdown_ms": millis(timing.countdown),
            "ticket_life_ms": millis(timing.ticket_life),
            "stream_delay_ms": millis(timing.stream_delay),
            "extension_max_ms": millis(timing.extension_max),
            "early_push_max_ms": millis(timing.early_push_max),
        },
        "questions": script(definition),
        "rains": rains.iter().map(filed_rain).collect::<Vec<_>>(),
    });
    let starts_at = Some(definition.starts_at_unix_ms).filter(|at| *at != 0);
    if let Some(starts_at) = starts_at.and_then(date::text) {
        value["starts_at"] = starts_at.into();
    }
    if let Some(pace) = pace {
        value["pace"] = json!({
            "lobby_ms": millis(pace.lobby),
            "reveal_pause_ms": millis(pace.reveal_pause),
            "next_pause_ms": millis(pace.next_pause),
            "end_pause_ms": millis(pace.end_pause),
        });
    }
    value
}

fn filed_rain(rain: &FiledRain) -> Value {
    let FiledRain { settings, after_question } = rain;
    let mut value = json!({
        "pool_cents": settings.pool.0,
        "packets": settings.packets,
        "duration_ms": millis(settings.duration),
        "win_per_10000": settings.win_per_10000,
        "taps_max": settings.taps_max,
        "show_packets_max": settings.show_packets_max,
    });
    if let Some(after) = after_question {
        value["after_question"] = (*after).into();
    }
    value
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The running figures of the current question, as of the last tallies: `answered` (in time or
/// late), `options` (answers in time per option, always six), `correct`, `late`, `eliminated`,
/// `revived`.
fn live(live: &LiveFigures) -> Value {
    json!({
        "answered": live.answered,
        "options": live.options,
        "correct": live.correct,
        "late": live.late,
        "eliminated": live.eliminated,
        "revived": live.revived,
    })
}

/// A question that was opened: `question`, `published_at_ms` (the director's decision),
/// `show_by_ms` (latest display), `answer_by_ms` (extensions included), `is_voided`, and once it is
/// closed `in_play` (players left after it) and `counts`: see [`counts`].
fn question(question: &OpenedQuestion, clock: DisplayClock) -> Value {
    json!({
        "question": question.question.0,
        "published_at_ms": clock.unix_ms(question.published_at),
        "show_by_ms": clock.unix_ms(question.show_by),
        "answer_by_ms": clock.unix_ms(question.answer_by),
        "is_voided": question.is_voided,
        "in_play": question.counts.map(|_| question.in_play),
        "counts": question.counts.as_ref().map(counts),
    })
}

/// A red-packet rain: `rain`, `phase` (`planned`, `falling`, `closing`, `ended`), `pool_cents`,
/// `packets`, `win_per_10000`, `taps_max`, `show_packets_max` (0: no limit), `duration_ms`, `granted`
/// (numbers that shards may hand out), and once it has ended `grabbed` (packets), `paid_cents` and
/// `returned_cents`, which are the pool together.
fn rain(rain: &RainStatus) -> Value {
    let ended = (rain.phase == RainPhase::Ended).then_some(rain);
    let settings = &rain.settings;
    json!({
        "rain": rain.rain.0,
        "phase": rain.phase.to_string(),
        "pool_cents": settings.pool.0,
        "packets": settings.packets,
        "win_per_10000": settings.win_per_10000,
        "taps_max": settings.taps_max,
        "show_packets_max": settings.show_packets_max,
        "duration_ms": millis(settings.duration),
        "granted": rain.granted,
        "grabbed": ended.map(|it| it.grabbed),
        "paid_cents": ended.map(|it| it.paid.0),
        "returned_cents": ended.map(|it| it.returned.0),
    })
}

/// How a question went, players each: `answered` (in time or late), `options` (in time per option,
/// always six), `correct`, `late`, `silent` (offered, no answer), `unreachable` (no open
/// connection), `revived` (failed and saved by a card), `eliminated` (failed and out), `by_ticket`
/// (judged by a retry ticket's stamp), `new_records`.
fn counts(counts: &QuestionCounts) -> Value {
    json!({
        "answered": counts.answered,
        "options": counts.options,
        "correct": counts.correct,
        "late": counts.late,
        "silent": counts.silent,
        "unreachable": counts.unreachable,
        "revived": counts.revived,
        "eliminated": counts.eliminated,
        "by_ticket": counts.by_ticket,
        "new_records": counts.new_records,
    })
}

/// How the prize was split: `winners`, `pool_cents` = `winners` × `per_head_cents` +
/// `remainder_cents` (which goes to the show's remainder account), and `game_hash`, SHA-256 in
/// hexadecimal over every user, question and verdict.
fn settlement(settlement: &Settlement) -> Value {
    json!({
        "winners": settlement.winners,
        "pool_cents": settlement.pool.0,
        "per_head_cents": settlement.per_head.0,
        "remainder_cents": settlement.remainder.0,
        "game_hash": hex::encode(&settlement.game_hash),
    })
}

/// What a corrected key would mean; nothing was changed. `{"preview": {question, correct_before,
/// correct_after, in_play_before, in_play_after, per_head_cents_before, per_head_cents_after}}`.
#[must_use]
pub fn preview(preview: &RejudgePreview) -> Value {
    json!({ "preview": {
        "question": preview.question.0,
        "correct_before": preview.correct_before.0,
        "correct_after": preview.correct_after.0,
        "in_play_before": preview.in_play_before,
        "in_play_after": preview.in_play_after,
        "per_head_cents_before": preview.per_head_before.0,
        "per_head_cents_after": preview.per_head_after.0,
    }})
}

/// Something that the audience was told: `server_time_ms` (when it was decided; the message itself
/// may say a few milliseconds later), `version` (growing within the show), `type` (the field of
/// `Notification` that it is) and `payload` (as ProtoJSON has it).
#[must_use]
pub fn message(message: &ShowMessage, clock: DisplayClock) -> Value {
    let payload = Some(message.payload.clone());
    let notification = proto::Notification { payload, ..proto::Notification::default() };
    let fields = serde_json::to_value(notification).ok();
    let field = fields.and_then(|fields| match fields {
        Value::Object(fields) => fields.into_iter().next(),
        _ => None,
    });
    let (kind, payload) = field.unwrap_or_default();
    json!({
        "server_time_ms": clock.unix_ms(message.at),
        "version": message.event.0,
        "type": kind,
        "payload": payload,
    })
}

fn notice(notice: &Notice) -> Value {
    let kind = match notice {
        Notice::QuestionExtended { .. } => "question_extended",
        Notice::VoidNeeded { .. } => "void_needed",
        Notice::OfferedAfterAll { .. } => "offered_after_all",
        Notice::JournalsStand { .. } => "journals_stand",
        Notice::JournalsGoOn { .. } => "journals_go_on",
        Notice::PushExpired { .. } => "push_expired",
        Notice::ResumedAfterRestart { .. } => "resumed_after_restart",
        Notice::PaidOut { .. } => "paid_out",
    };
    json!({ "kind": kind, "text": notice.to_string() })
}

/// A phase in one word: `announced`, `lobby`, `open`, `closing`, `closed`, `revealed`,
/// `rejudging`, `voided`, `paused_in_lobby`, `paused_in_closed`, `paused_in_revealed`,
/// `paused_in_voided`, `settling`, `settled`, `ended` or `cancelled`.
#[must_use]
pub fn phase_word(phase: Phase) -> &'static str {
    match phase {
        Phase::Announced => "announced",
        Phase::Lobby => "lobby",
        Phase::Open => "open",
        Phase::Closing => "closing",
        Phase::Closed => "closed",
        Phase::Revealed => "revealed",
        Phase::Rejudging => "rejudging",
        Phase::Voided => "voided",
        Phase::PausedInLobby => "paused_in_lobby",
        Phase::PausedInClosed => "paused_in_closed",
        Phase::PausedInRevealed => "paused_in_revealed",
        Phase::PausedInVoided => "paused_in_voided",
        Phase::Settling => "settling",
        Phase::Settled => "settled",
        Phase::Ended => "ended",
        Phase::Cancelled => "cancelled",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::{EventNumber, QuestionIndex, RoomId, ShowId};
    use crate::base::time::Time;
    use crate::quiz::director::CommandKind;
    use crate::quiz::money::Cents;
    use expect_test::expect;

    #[test]
    fn shows_that_are_likely_to_meet_in_a_room_are_named() {
        const HOUR: i64 = 3_600_000;
        let planned = |id: u64, room: u64, start: i64, phase: Phase| {
            let mut status = status();
            (status.show, status.room) = (ShowId(id), RoomId(room));
            (status.starts_at_unix_ms, status.live.phase) = (start, phase);
            status
        };
        let day = 24 * HOUR;
        let shows = [
            planned(1, 7, day, Phase::Announced),
            planned(2, 7, day + 4 * HOUR - 1, Phase::Announced),
            planned(3, 7, day + 4 * HOUR, Phase::Open),
            planned(4, 8, day, Phase::Announced),
            planned(5, 7, 0, Phase::Announced),
            planned(6, 7, day, Phase::Ended),
            planned(7, 7, day, Phase::Cancelled),
        ];
        let list = list(&shows);
        let of = |name: &str| -> Vec<Value> {
            list.as_array().into_iter().flatten().map(|show| show[name].clone()).collect()
        };
        let expected =
            [json!([2]), json!([1, 3]), json!([2]), json!([]), json!([]), json!([]), json!([])];
        assert_eq!(of("room_clashes"), expected);
        assert_eq!(of("starts_at_ms")[3..5], [json!(day), Value::Null]);
        assert_eq!(of("room")[3], 8);
    }

    fn status() -> ShowStatus {
        ShowStatus {
            show: ShowId(7),
            title: "A show".to_owned(),
            room: RoomId(1),
            starts_at_unix_ms: 0,
            prize_pool: Cents(1_000),
            question_count: 2,
            early_push_max: Duration::from_secs(8),
            pushed: None,
            last_event: EventNumber(7),
            live: LiveFigures {
                phase: Phase::PausedInRevealed,
                question: Some(QuestionIndex(1)),
                joined: 9,
                answered: 8,
                options: [5, 3, 0, 0, 0, 0],
                correct: 5,
                late: 1,
                eliminated: 2,
                revived: 1,
                cards_used: 4,
                in_play: 6,
                per_head: Cents(166),
            },
            allowed: vec![CommandKind::Resume, CommandKind::OpenLobby],
            questions: vec![OpenedQuestion {
                question: QuestionIndex(0),
                published_at: Time::from_millis(1),
                show_by: Time::from_millis(2),
                answer_by: Time::from_millis(3),
                counts: Some(QuestionCounts { answered: 8, ..QuestionCounts::default() }),
                in_play: 6,
                is_voided: false,
            }],
            settlement: Some(Settlement {
                winners: 6,
                pool: Cents(1_000),
                per_head: Cents(166),
                remainder: Cents(4),
                game_hash: [0xab; 32],
            }),
            is_paid_out: true,
            rains: Vec::new(),
            rain_fund: Cents(5),
            journals_standing: vec![crate::base::ids::ShardId(3)],
            notices: vec![Notice::PaidOut { paid: Cents(996), remainder: Cents(4) }],
        }
    }

    #[test]
    fn a_whole_show_has_every_field() {
        let shown = show(&status(), DisplayClock { zero_unix_ms: 1_000_000 });
        expect![[r#"{"allowed":["resume","open-lobby"],"cards_used":4,"early_push_max_ms":8000,"event":7,"id":7,"in_play":6,"is_paid_out":true,"joined":9,"journals_standing":[3],"live":{"answered":8,"correct":5,"eliminated":2,"late":1,"options":[5,3,0,0,0,0],"revived":1},"notices":[{"kind":"paid_out","text":"996 cents paid, 4 to the remainder account"}],"per_head_cents":166,"phase":"paused_in_revealed","prize_pool_cents":1000,"pushed":null,"question":1,"question_count":2,"questions":[{"answer_by_ms":1000003,"counts":{"answered":8,"by_ticket":0,"correct":0,"eliminated":0,"late":0,"new_records":0,"options":[0,0,0,0,0,0],"revived":0,"silent":0,"unreachable":0},"in_play":6,"is_voided":false,"published_at_ms":1000001,"question":0,"show_by_ms":1000002}],"rain_fund_cents":5,"rains":[],"room":1,"settlement":{"game_hash":"abababababababababababababababababababababababababababababababab","per_head_cents":166,"pool_cents":1000,"remainder_cents":4,"winners":6},"title":"A show"}"#]]
            .assert_eq(&shown.to_string());
    }

    #[test]
    fn a_show_that_is_filed_is_read_as_it_was() {
        let mut show = crate::ops::show_file::bundled();
        show.definition.starts_at_unix_ms = 1_896_116_400_007;
        show.definition.timing.early_push_max = Duration::from_millis(1_500);
        for pace in [None, Some(crate::ops::show_file::Pace::default())] {
            show.pace = pace;
            let text = filed(&show).to_string();
            let read = crate::ops::show_file::parse_json("show", &text, None);
            assert_eq!(read.as_ref(), Ok(&show), "{text}");
        }
    }

    #[test]
    fn every_phase_has_a_word_of_its_own() {
        let mut words: Vec<_> = Phase::ALL.into_iter().map(phase_word).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Phase::ALL.len());
    }
}
