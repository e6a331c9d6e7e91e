//! Records of how questions were offered.

use super::decode::{Decoded, narrow};
use super::{RecordError, proto};
use crate::base::ids::{QuestionIndex, ShowId};
use crate::base::time::Time;
use crate::shard::coverage::Reach;
use crate::shard::record::Record;

pub(super) fn offered(question: QuestionIndex, at: Time, connections: u64) -> proto::Offered {
    proto::Offered { question: u32::from(question.0), at: at.0, connections }
}

pub(super) fn covered(question: QuestionIndex, reach: &Reach) -> proto::Covered {
    proto::Covered {
        question: u32::from(question.0),
        connections: reach.connections,
        first: reach.first.map(|at| at.0),
        last: reach.last.map(|at| at.0),
        within_us: reach.slots.iter().map(|(bound, _)| *bound).collect(),
        counts: reach.slots.iter().map(|(_, count)| *count).collect(),
    }
}

pub(super) fn read_offered(show: ShowId, it: &proto::Offered) -> Decoded<Record> {
    let question = QuestionIndex(narrow(it.question, "question")?);
    Ok(Record::Offered { show, question, at: Time(it.at), connections: it.connections })
}

pub(super) fn read_covered(show: ShowId, it: proto::Covered) -> Decoded<Record> {
    let question = QuestionIndex(narrow(it.question, "question")?);
    if it.within_us.len() != it.counts.len() {
        return Err(RecordError::Impossible("coverage"));
    }
    let reach = Box::new(Reach {
        connections: it.connections,
        first: it.first.map(Time),
        last: it.last.map(Time),
        slots: it.within_us.into_iter().zip(it.counts).collect(),
    });
    Ok(Record::Covered { show, question, reach })
}
