//! How other threads ask a shard for something.
//!
//! Nothing of a show is decided here: a request travels to the one shard that decides it, and its
//! answer comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use flume::Receiver;
use thiserror::Error;

use crate::base::hash::Placement;
use crate::base::ids::ShardId;
use crate::quiz::director::Command;
use crate::runtime::mailbox::Address;
use crate::shard::operator::{OperatorAnswer, OperatorError, OperatorRequest};

/// How long [`Caller::call`] waits for one shard.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// What comes back.
pub type Answer = Result<OperatorAnswer, OperatorError>;

/// A request, and where its answer goes.
pub struct Call {
    /// What is asked.
    pub request: OperatorRequest,
    /// Room for one answer.
    pub answer: flume::Sender<Answer>,
}

/// Why an operator's request got no answer.
#[derive(Debug, Error)]
pub enum CallError {
    /// The shard refused; nothing was changed.
    #[error(transparent)]
    Refused(#[from] OperatorError),
    /// The shard is busy or stopping.
    #[error("shard {0} gave no answer in time; try again")]
    NoAnswer(ShardId),
    /// No question begins while the gateway is drained.
    #[error("the gateway is being drained, so no question begins: end the drain first")]
    Draining,
}

/// Puts requests to the shards of a gateway, from any thread. It keeps no shard alive.
#[derive(Clone)]
pub struct Caller {
    placement: Placement,
    shards: Arc<[Address<Call>]>,
    /// No question begins.
    holds_questions: Arc<AtomicBool>,
}

impl Caller {
    pub(crate) fn new(placement: Placement, shards: Vec<Address<Call>>) -> Caller {
        Caller { placement, shards: shards.into(), holds_questions: Arc::default() }
    }

    /// From now on requests that begin a question are refused by this handle and its clones, or are not
    /// any more. One that was put a moment before may still be carried out.
    pub fn hold_questions(&self, hold: bool) {
        self.holds_questions.store(hold, Ordering::SeqCst);
    }

    /// Wakes every shard, so that one that sleeps shows that it lives.
    pub fn wake_all(&self) {
        for shard in self.shards.iter() {
            shard.wake();
        }
    }

    /// Puts a request to the shard that answers it, and waits for the answer, blocking: not from a
    /// thread that serves others.
    ///
    /// # Errors
    /// The shard refused, or gave no answer within five seconds.
    pub fn call(&self, request: OperatorRequest) -> Result<OperatorAnswer, CallError> {
        let mut answers = Vec::new();
        for shard in self.askable(&request) {
            let answer = self.put(shard, request.clone())?.recv_timeout(CALL_TIMEOUT);
            answers.push(answer.map_err(|_| CallError::NoAnswer(shard))??);
        }
        Ok(joined(answers))
    }

    /// Like [`Caller::call`], without blocking and without a limit on the time: the caller's.
    ///
    /// # Errors
    /// The shard refused, has too many requests waiting, or stops.
    pub async fn ask(&self, request: OperatorRequest) -> Result<OperatorAnswer, CallError> {
        let mut answers = Vec::new();
        for shard in self.askable(&request) {
            let answer = self.put(shard, request.clone())?.into_recv_async().await;
            answers.push(answer.map_err(|_| CallError::NoAnswer(shard))??);
        }
        Ok(joined(answers))
    }

    /// The shards that have a part of the answer.
    fn askable(&self, request: &OperatorRequest) -> Vec<ShardId> {
        match request.home(&self.placement) {
            Some(home) => vec![home],
            None => ShardId::all(self.placement.shard_count()).collect(),
        }
    }

    fn put(&self, shard: ShardId, request: OperatorRequest) -> Result<Receiver<Answer>, CallError> {
        if self.holds_questions.load(Ordering::SeqCst) && begins_question(&request) {
            return Err(CallError::Draining);
        }
        let (answer, answered) = flume::bounded(1);
        let sent = self.shards[shard.index()].try_send(Call { request, answer });
        sent.map_err(|_| CallError::NoAnswer(shard))?;
        Ok(answered)
    }
}

/// Whether a countdown follows, at once or when the director says so.
fn begins_question(request: &OperatorRequest) -> bool {
    match request {
        OperatorRequest::Command { command: Command::Publish | Command::PushEarly, .. } => true,
        OperatorRequest::Once { request, .. } => begins_question(request),
        _ => false,
    }
}

/// One answer of what the shards said: all shows in their order, or what all of them say alike.
fn joined(answers: Vec<OperatorAnswer>) -> OperatorAnswer {
    let (mut shows, mut other) = (Vec::new(), None);
    for answer in answers {
        match answer {
            OperatorAnswer::Shows(more) => shows.extend(more),
            OperatorAnswer::Service(more) => match &mut other {
                Some(OperatorAnswer::Service(all)) => all.merge(more),
                _ => other = Some(OperatorAnswer::Service(more)),
            },
            answer => other = Some(answer),
        }
    }
    shows.sort_by_key(|status| status.show);
    other.unwrap_or(OperatorAnswer::Shows(shows))
}
