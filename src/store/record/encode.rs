//! From the shard's records to the stored ones.

use std::time::Duration;

use prost::Message;

use super::{money, offer, proto, standing};
use crate::base::ids::{QuestionIndex, ShardId};
use crate::quiz::definition::ShowDefinition;
use crate::quiz::event::{NumberedEvent, QuestionOpening, Reveal, Settlement, ShowEvent};
use crate::quiz::replica::{AnswerInput, TicketStamp};
use crate::quiz::report::{QuestionCounts, Report};
use crate::quiz::verdict::Verdict;
use crate::shard::record::Record;

use proto::record::Body;
use proto::show_event::Body as EventBody;

pub(super) fn record(record: &Record, payload: &mut Vec<u8>) {
    let stored = proto::Record { body: Some(body(record)), ..head(record) };
    stored.encode_raw(payload);
}

/// Of which show and whom it is, and what stands beside the body.
fn head(record: &Record) -> proto::Record {
    let (mut show, mut user, mut applied, mut at) = (0, 0, 0, 0);
    match record {
        Record::Event(event) => show = event.show.0,
        Record::Answer { show: of, user: who, applied: after, .. }
        | Record::Joined { show: of, user: who, applied: after, .. }
        | Record::Absent { show: of, user: who, applied: after, .. }
        | Record::TicketIssued { show: of, user: who, applied: after, .. } => {
            (show, user, applied) = (of.0, who.0, after.0);
        }
        Record::Drained { show: of, applied: after, .. }
        | Record::Worked { show: of, applied: after, .. } => (show, applied) = (of.0, after.0),
        Record::Reported { show: of, .. }
        | Record::Applied { show: of, .. }
        | Record::Prizes { show: of, .. }
        | Record::CardsUsed { show: of, .. }
        | Record::Offered { show: of, .. }
        | Record::Covered { show: of, .. } => show = of.0,
        Record::CardGranted { user: who, at: when, .. }
        | Record::CardsExpired { user: who, at: when, .. } => (user, at) = (who.0, when.0),
        Record::Money { user: who, what, applied: after, at: when } => {
            (show, user, applied, at) = (what.show().0, who.0, after.0, when.0);
        }
        Record::Standing(what) => user = standing::user(what).0,
    }
    proto::Record { applied, show, user, at, body: None }
}

fn body(record: &Record) -> Body {
    match record {
        Record::Event(event) => Body::Event(show_event(event)),
        Record::Answer { input, verdict, .. } => Body::Answer(answer(input, *verdict)),
        Record::Joined { shard, since, until, .. } => {
            let (shard, until) = (u32::from(shard.0), until.map(|until| until.0));
            Body::Joined(proto::Joined { shard, since: since.0, until })
        }
        Record::Absent { at, .. } => Body::Absent(proto::Absent { at: at.0 }),
        Record::TicketIssued { question, ticket: stamp, .. } => {
            Body::TicketIssued(ticket_issued(*question, *stamp))
        }
        Record::Drained { question, from, .. } => Body::Drained(drained(*question, *from)),
        Record::Reported { report: what, .. } => Body::Reported(report(what)),
        Record::Applied { number, .. } => Body::AppliedEvent(proto::Applied { number: number.0 }),
        Record::Worked { step, .. } => {
            Body::Worked(proto::Worked { bucket: u32::from(step.bucket.0), until: step.until })
        }
        Record::CardGranted { grant, .. } => {
            Body::CardGranted(proto::CardGranted { grant: *grant })
        }
        Record::CardsExpired { expiry, cards, .. } => {
            Body::CardsExpired(proto::CardsExpired { expiry: *expiry, cards: u32::from(*cards) })
        }
        Record::Money { what, .. } => money::body(what),
        Record::Prizes { prizes, .. } => Body::Prizes(money::prizes(prizes)),
        Record::CardsUsed { cards, .. } => Body::CardsUsed(money::used_cards(cards)),
        Record::Standing(what) => Body::Standing(standing::body(what)),
        Record::Offered { question, at, connections, .. } => {
            Body::Offered(offer::offered(*question, *at, *connections))
        }
        Record::Covered { question, reach, .. } => Body::Covered(offer::covered(*question, reach)),
    }
}

fn answer(input: &AnswerInput, verdict: Option<Verdict>) -> proto::Answer {
    proto::Answer {
        question: u32::from(input.question.0),
        option: u32::from(input.option.0),
        arrived: input.arrived.0,
        ticket: input.ticket.map(ticket),
        sender_applied: input.sender_applied.0,
        verdict: verdict.map_or(0, |verdict| u32::from(verdict.code())),
    }
}

fn ticket_issued(question: QuestionIndex, stamp: TicketStamp) -> proto::TicketIssued {
    proto::TicketIssued { question: u32::from(question.0), ticket: Some(ticket(stamp)) }
}

fn drained(question: QuestionIndex, from: ShardId) -> proto::Drained {
    proto::Drained { question: u32::from(question.0), from: u32::from(from.0) }
}

fn ticket(ticket: TicketStamp) -> proto::Ticket {
    proto::Ticket { option: u32::from(ticket.option.0), arrived: ticket.arrived.0 }
}

fn show_event(event: &NumberedEvent) -> proto::ShowEvent {
    let body = match &event.event {
        ShowEvent::Announced(it) => EventBody::Announced(definition(it)),
        ShowEvent::LobbyOpened => EventBody::LobbyOpened(proto::Empty {}),
        ShowEvent::QuestionPushed(it) => EventBody::QuestionPushed(proto::QuestionPushed {
            question: u32::from(it.question.0),
            result_key: it.result_key.expose().to_vec().into(),
            question_key: it.question_key.expose().to_vec().into(),
            commitment: it.commitment.to_vec().into(),
        }),
        ShowEvent::QuestionWithdrawn { question } => {
            let question = u32::from(question.0);
            EventBody::QuestionWithdrawn(proto::QuestionWithdrawn { question })
        }
        ShowEvent::QuestionOpened(it) => EventBody::QuestionOpened(opening(it)),
        ShowEvent::QuestionExtended { question, show_by, answer_by } => {
            EventBody::QuestionExtended(proto::QuestionExtended {
                question: u32::from(question.0),
                show_by: show_by.0,
                answer_by: answer_by.0,
            })
        }
        ShowEvent::QuestionClosing { question, answer_by, close_after, is_offered } => {
            EventBody::QuestionClosing(proto::QuestionClosing {
                question: u32::from(question.0),
                answer_by: answer_by.0,
                close_after: close_after.0,
                is_offered: *is_offered,
            })
        }
        ShowEvent::QuestionClosed { question, counts: all, in_play } => {
            EventBody::QuestionClosed(proto::QuestionClosed {
                question: u32::from(question.0),
                counts: Some(counts(all)),
                in_play: *in_play,
            })
        }
        ShowEvent::Revealed(it) => EventBody::Revealed(revealed(it)),
        ShowEvent::QuestionVoided { question } => {
            EventBody::QuestionVoided(proto::QuestionVoided { question: u32::from(question.0) })
        }
        ShowEvent::Rejudging { question, correct, revision } => {
            EventBody::Rejudging(proto::Rejudging {
                question: u32::from(question.0),
                correct: u32::from(correct.0),
                revision: u32::from(*revision),
            })
        }
        ShowEvent::Rejudged { question, correct, in_play, counts: all } => {
            EventBody::Rejudged(proto::Rejudged {
                question: u32::from(question.0),
                correct: u32::from(correct.0),
                in_play: *in_play,
                counts: Some(counts(all)),
            })
        }
        ShowEvent::Paused => EventBody::Paused(proto::Empty {}),
        ShowEvent::Resumed => EventBody::Resumed(proto::Empty {}),
        ShowEvent::Settling => EventBody::Settling(proto::Empty {}),
        ShowEvent::Settled(it) => EventBody::Settled(settled(it)),
        ShowEvent::Cancelled => EventBody::Cancelled(proto::Empty {}),
        ShowEvent::Ended => EventBody::Ended(proto::Empty {}),
        ShowEvent::Rain(it) => EventBody::Rain(money::rain_event(it)),
    };
    let (number, decided_at) = (event.number.0, event.decided_at.0);
    proto::ShowEvent { number, decided_at, body: Some(body) }
}

fn definition(it: &ShowDefinition) -> proto::Definition {
    let questions = it.questions.iter().map(|question| proto::QuestionDefinition {
        text: question.text.clone(),
        options: question.options.clone(),
        correct: u32::from(question.correct.0),
    });
    proto::Definition {
        room: it.room.0,
        title: it.title.clone(),
        starts_at_unix_ms: it.starts_at_unix_ms,
        prize_pool_cents: it.prize_pool.0,
        remainder_account: it.remainder_account.clone(),
        revive_wrong: it.revive.wrong,
        revive_late: it.revive.late,
        revive_unreachable: it.revive.unreachable,
        lead: nanoseconds(it.timing.lead),
        display_slack: nanoseconds(it.timing.display_slack),
        countdown: nanoseconds(it.timing.countdown),
        ticket_life: nanoseconds(it.timing.ticket_life),
        stream_delay: nanoseconds(it.timing.stream_delay),
        extension_max: nanoseconds(it.timing.extension_max),
        questions: questions.collect(),
        early_push_max: nanoseconds(it.timing.early_push_max),
    }
}

fn opening(it: &QuestionOpening) -> proto::QuestionOpened {
    proto::QuestionOpened {
        question: u32::from(it.question.0),
        show_at: it.show_at.0,
        show_by: it.show_by.0,
        answer_by: it.answer_by.0,
        result_key: it.result_key.expose().to_vec().into(),
        question_key: it.question_key.expose().to_vec().into(),
        commitment: it.commitment.to_vec().into(),
    }
}

fn revealed(it: &Reveal) -> proto::Revealed {
    proto::Revealed {
        question: u32::from(it.question.0),
        result_key: it.result_key.to_vec().into(),
        correct: u32::from(it.correct.0),
        option_counts: it.option_counts.to_vec(),
        in_play: it.in_play,
    }
}

fn settled(it: &Settlement) -> proto::Settled {
    proto::Settled {
        winners: it.winners,
        pool_cents: it.pool.0,
        per_head_cents: it.per_head.0,
        remainder_cents: it.remainder.0,
        game_hash: it.game_hash.to_vec().into(),
    }
}

fn counts(it: &QuestionCounts) -> proto::Counts {
    proto::Counts {
        answered: it.answered,
        options: it.options.to_vec(),
        revivable: it.revivable.to_vec(),
        correct: it.correct,
        late: it.late,
        silent: it.silent,
        unreachable: it.unreachable,
        revived: it.revived,
        revived_unanswered: it.revived_unanswered,
        eliminated: it.eliminated,
        by_ticket: it.by_ticket,
        new_records: it.new_records,
    }
}

fn report(it: &Report) -> proto::Report {
    use proto::report::Body as ReportBody;
    let (shard, body) = match it {
        Report::Closed(closed) => {
            let body = proto::Closed {
                question: u32::from(closed.question.0),
                revision: u32::from(closed.revision),
                in_play: closed.in_play,
                counts: Some(counts(&closed.counts)),
            };
            (closed.shard, ReportBody::Closed(body))
        }
        Report::Frozen(frozen) => {
            let buckets = frozen.buckets.iter().map(|bucket| proto::FrozenBucket {
                bucket: u32::from(bucket.bucket.0),
                winners: bucket.winners,
                digest: bucket.digest.to_vec().into(),
            });
            (frozen.shard, ReportBody::Frozen(proto::Frozen { buckets: buckets.collect() }))
        }
        Report::Paid(paid) => {
            let body = proto::Paid { winners: paid.winners, paid_cents: paid.paid.0 };
            (paid.shard, ReportBody::Paid(body))
        }
        Report::Rain(rain) => (rain.shard, ReportBody::Rain(money::counted(rain))),
    };
    proto::Report { shard: u32::from(shard.0), body: Some(body) }
}

pub(super) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
