//! How other threads ask a shard for something.

use crate::shard::operator::{OperatorAnswer, OperatorError, OperatorRequest};

/// What comes back.
pub type Answer = Result<OperatorAnswer, OperatorError>;

/// A request, and where its answer goes.
pub struct Call {
    /// What is asked.
    pub request: OperatorRequest,
    /// Room for one answer.
    pub answer: flume::Sender<Answer>,
}
