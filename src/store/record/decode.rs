//! From stored records to the shard's.

use std::sync::Arc;
use std::time::Duration;

use prost::Message;

use super::{money, offer, proto, standing};
use crate::base::ids::{
    BucketId, EventNumber, OptionIndex, QuestionIndex, RoomId, ShardId, ShowId, UserId,
};
use crate::base::limits::OPTIONS_MAX;
use crate::base::time::Time;
use crate::quiz::definition::{QuestionDefinition, ReviveCoverage, ShowDefinition, Timing};
use crate::quiz::event::{
    NumberedEvent, QuestionOpening, QuestionPush, Reveal, Settlement, ShowEvent,
};
use crate::quiz::money::Cents;
use crate::quiz::rain::RainSummary;
use crate::quiz::replica::{AnswerInput, TicketStamp, WorkStep};
use crate::quiz::report::{
    ClosedSummary, FreezeSummary, FrozenBucket, PayoutSummary, QuestionCounts, Report,
};
use crate::quiz::seal::SecretKey;
use crate::quiz::verdict::Verdict;
use crate::shard::record::Record;

use proto::record::Body;
use proto::show_event::Body as EventBody;

/// Why a stored record cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// It is no Protobuf message of the schema.
    #[error("the record is no message of the schema: {0}")]
    Message(#[from] prost::DecodeError),
    /// It says nothing that this version knows.
    #[error("the record has no {0} that this version knows: it may be of a newer one")]
    Unknown(&'static str),
    /// A number or a string of bytes is impossible.
    #[error("the record's {0} is impossible")]
    Impossible(&'static str),
}

pub(super) type Decoded<T> = Result<T, RecordError>;

pub(super) fn record(payload: &[u8]) -> Decoded<Record> {
    let proto::Record { applied, show, user, at, body } = proto::Record::decode(payload)?;
    let (show, user, applied) = (ShowId(show), UserId(user), EventNumber(applied));
    let body = body.ok_or(RecordError::Unknown("body"))?;
    if let Some(what) = money::record(show, &body)? {
        return Ok(Record::Money { user, what: Box::new(what), applied, at: Time(at) });
    }
    Ok(match body {
        Body::Event(event) => Record::Event(Box::new(show_event(show, event)?)),
        Body::Answer(it) => {
            let input = AnswerInput {
                question: question(it.question)?,
                option: option(it.option)?,
                arrived: Time(it.arrived),
                ticket: it.ticket.as_ref().map(ticket).transpose()?,
                sender_applied: EventNumber(it.sender_applied),
            };
            let verdict = match it.verdict {
                0 => None,
                code => {
                    let code = u8::try_from(code).ok().and_then(Verdict::from_code);
                    Some(code.ok_or(RecordError::Impossible("verdict"))?)
                }
            };
            Record::Answer { show, user, input, verdict, applied }
        }
        Body::Joined(it) => {
            let (shard, since, until) = (shard(it.shard)?, Time(it.since), it.until.map(Time));
            Record::Joined { show, user, shard, since, until, applied }
        }
        Body::Absent(it) => Record::Absent { show, user, at: Time(it.at), applied },
        Body::TicketIssued(it) => {
            let stamp = ticket(it.ticket.as_ref().ok_or(RecordError::Unknown("ticket"))?)?;
            let question = question(it.question)?;
            Record::TicketIssued { show, user, question, ticket: stamp, applied }
        }
        Body::Drained(it) => {
            let (question, from) = (question(it.question)?, shard(it.from)?);
            Record::Drained { show, question, from, applied }
        }
        Body::Reported(it) => Record::Reported { show, report: Box::new(report(it)?) },
        Body::AppliedEvent(it) => Record::Applied { show, number: EventNumber(it.number) },
        Body::Worked(it) => {
            let bucket = u16::try_from(it.bucket).map_err(|_| RecordError::Impossible("bucket"))?;
            let step = WorkStep { bucket: BucketId(bucket), until: it.until };
            Record::Worked { show, step, applied }
        }
        Body::CardGranted(it) => Record::CardGranted { user, grant: it.grant, at: Time(at) },
        Body::CardsExpired(it) => {
            let cards = u8::try_from(it.cards).ok().filter(|cards| *cards > 0);
            let cards = cards.ok_or(RecordError::Impossible("number of cards"))?;
            Record::CardsExpired { user, expiry: it.expiry, cards, at: Time(at) }
        }
        Body::Prizes(it) => Record::Prizes { show, prizes: money::read_prizes(it)? },
        Body::CardsUsed(it) => Record::CardsUsed { show, cards: money::read_used_cards(&it)? },
        Body::Standing(it) => Record::Standing(Box::new(standing::record(user, it)?)),
        Body::Offered(it) => offer::read_offered(show, &it)?,
        Body::Covered(it) => offer::read_covered(show, it)?,
        Body::Grabbed(_)
        | Body::Withdrawn(_)
        | Body::WithdrawalClosed(_)
        | Body::Gifted(_)
        | Body::GiftShown(_)
        | Body::GiftReturned(_)
        | Body::RequestForgotten(_)
        | Body::InvitationAsked(_)
        | Body::InvitationAccepted(_)
        | Body::InvitationAnswered(_) => unreachable!("records about money were read above"),
    })
}

fn ticket(it: &proto::Ticket) -> Decoded<TicketStamp> {
    Ok(TicketStamp { option: option(it.option)?, arrived: Time(it.arrived) })
}

fn show_event(show: ShowId, it: proto::ShowEvent) -> Decoded<NumberedEvent> {
    let event = match it.body.ok_or(RecordError::Unknown("event"))? {
        EventBody::Announced(it) => ShowEvent::Announced(Arc::new(definition(show, it)?)),
        EventBody::LobbyOpened(_) => ShowEvent::LobbyOpened,
        EventBody::QuestionPushed(it) => ShowEvent::QuestionPushed(QuestionPush {
            question: question(it.question)?,
            result_key: SecretKey::from_bytes(array(&it.result_key, "result key")?),
            question_key: SecretKey::from_bytes(array(&it.question_key, "question key")?),
            commitment: array(&it.commitment, "commitment")?,
        }),
        EventBody::QuestionWithdrawn(it) => {
            ShowEvent::QuestionWithdrawn { question: question(it.question)? }
        }
        EventBody::QuestionOpened(it) => ShowEvent::QuestionOpened(opening(&it)?),
        EventBody::QuestionExtended(it) => ShowEvent::QuestionExtended {
            question: question(it.question)?,
            show_by: Time(it.show_by),
            answer_by: Time(it.answer_by),
        },
        EventBody::QuestionClosing(it) => ShowEvent::QuestionClosing {
            question: question(it.question)?,
            answer_by: Time(it.answer_by),
            close_after: Time(it.close_after),
            is_offered: it.is_offered,
        },
        EventBody::QuestionClosed(it) => ShowEvent::QuestionClosed {
            question: question(it.question)?,
            counts: counts(it.counts.as_ref())?,
            in_play: it.in_play,
        },
        EventBody::Revealed(it) => ShowEvent::Revealed(Reveal {
            question: question(it.question)?,
            result_key: array(&it.result_key, "result key")?,
            correct: option(it.correct)?,
            option_counts: per_option(&it.option_counts)?,
            in_play: it.in_play,
        }),
        EventBody::QuestionVoided(it) => {
            ShowEvent::QuestionVoided { question: question(it.question)? }
        }
        EventBody::Rejudging(it) => ShowEvent::Rejudging {
            question: question(it.question)?,
            correct: option(it.correct)?,
            revision: narrow(it.revision, "revision")?,
        },
        EventBody::Rejudged(it) => ShowEvent::Rejudged {
            question: question(it.question)?,
            correct: option(it.correct)?,
            in_play: it.in_play,
            counts: counts(it.counts.as_ref())?,
        },
        EventBody::Paused(_) => ShowEvent::Paused,
        EventBody::Resumed(_) => ShowEvent::Resumed,
        EventBody::Settling(_) => ShowEvent::Settling,
        EventBody::Settled(it) => ShowEvent::Settled(Settlement {
            winners: it.winners,
            pool: Cents(it.pool_cents),
            per_head: Cents(it.per_head_cents),
            remainder: Cents(it.remainder_cents),
            game_hash: array(&it.game_hash, "game hash")?,
        }),
        EventBody::Cancelled(_) => ShowEvent::Cancelled,
        EventBody::Ended(_) => ShowEvent::Ended,
        EventBody::Rain(it) => ShowEvent::Rain(money::read_rain_event(&it)?),
    };
    let (number, decided_at) = (EventNumber(it.number), Time(it.decided_at));
    Ok(NumberedEvent { show, number, decided_at, event })
}

fn definition(id: ShowId, it: proto::Definition) -> Decoded<ShowDefinition> {
    let questions = it.questions.into_iter().map(|question| {
        let correct = option(question.correct)?;
        Ok(QuestionDefinition { text: question.text, options: question.options, correct })
    });
    Ok(ShowDefinition {
        id,
        room: RoomId(it.room),
        title: it.title,
        starts_at_unix_ms: it.starts_at_unix_ms,
        prize_pool: Cents(it.prize_pool_cents),
        remainder_account: it.remainder_account,
        revive: ReviveCoverage {
            wrong: it.revive_wrong,
            late: it.revive_late,
            unreachable: it.revive_unreachable,
        },
        timing: Timing {
            lead: Duration::from_nanos(it.lead),
            display_slack: Duration::from_nanos(it.display_slack),
            countdown: Duration::from_nanos(it.countdown),
            ticket_life: Duration::from_nanos(it.ticket_life),
            stream_delay: Duration::from_nanos(it.stream_delay),
            extension_max: Duration::from_nanos(it.extension_max),
            early_push_max: Duration::from_nanos(it.early_push_max),
        },
        questions: questions.collect::<Decoded<_>>()?,
    })
}

fn opening(it: &proto::QuestionOpened) -> Decoded<QuestionOpening> {
    Ok(QuestionOpening {
        question: question(it.question)?,
        show_at: Time(it.show_at),
        show_by: Time(it.show_by),
        answer_by: Time(it.answer_by),
        result_key: SecretKey::from_bytes(array(&it.result_key, "result key")?),
        question_key: SecretKey::from_bytes(array(&it.question_key, "question key")?),
        commitment: array(&it.commitment, "commitment")?,
    })
}

fn counts(it: Option<&proto::Counts>) -> Decoded<QuestionCounts> {
    let it = it.ok_or(RecordError::Unknown("counts"))?;
    Ok(QuestionCounts {
        answered: it.answered,
        options: per_option(&it.options)?,
        revivable: per_option(&it.revivable)?,
        correct: it.correct,
        late: it.late,
        silent: it.silent,
        unreachable: it.unreachable,
        revived: it.revived,
        revived_unanswered: it.revived_unanswered,
        eliminated: it.eliminated,
        by_ticket: it.by_ticket,
        new_records: it.new_records,
    })
}

fn report(it: proto::Report) -> Decoded<Report> {
    use proto::report::Body as ReportBody;
    let shard = shard(it.shard)?;
    Ok(match it.body.ok_or(RecordError::Unknown("report"))? {
        ReportBody::Closed(it) => Report::Closed(ClosedSummary {
            shard,
            question: question(it.question)?,
            revision: narrow(it.revision, "revision")?,
            in_play: it.in_play,
            counts: counts(it.counts.as_ref())?,
        }),
        ReportBody::Frozen(it) => {
            let buckets = it.buckets.into_iter().map(|it| {
                Ok(FrozenBucket {
                    bucket: BucketId(narrow(it.bucket, "bucket")?),
                    winners: it.winners,
                    digest: array(&it.digest, "digest")?,
                })
            });
            Report::Frozen(FreezeSummary { shard, buckets: buckets.collect::<Decoded<_>>()? })
        }
        ReportBody::Paid(it) => {
            let (winners, paid) = (it.winners, Cents(it.paid_cents));
            Report::Paid(PayoutSummary { shard, winners, paid })
        }
        ReportBody::Rain(it) => {
            let (rain, packets, paid) = (money::rain(it.rain)?, it.packets, Cents(it.paid_cents));
            Report::Rain(RainSummary { shard, rain, packets, paid })
        }
    })
}

fn question(number: u32) -> Decoded<QuestionIndex> {
    narrow(number, "question").map(QuestionIndex)
}

fn option(number: u32) -> Decoded<OptionIndex> {
    narrow(number, "option").map(OptionIndex)
}

pub(super) fn shard(number: u32) -> Decoded<ShardId> {
    narrow(number, "shard").map(ShardId)
}

pub(super) fn narrow<T: TryFrom<u32>>(number: u32, what: &'static str) -> Decoded<T> {
    T::try_from(number).map_err(|_| RecordError::Impossible(what))
}

pub(super) fn array<const N: usize>(bytes: &[u8], what: &'static str) -> Decoded<[u8; N]> {
    bytes.try_into().map_err(|_| RecordError::Impossible(what))
}

fn per_option(numbers: &[u64]) -> Decoded<[u64; OPTIONS_MAX]> {
    numbers.try_into().map_err(|_| RecordError::Impossible("number of options"))
}
