//! Shows as anybody may see them. They are asked of the shards once a second at most, however many
//! players ask, and only while somebody does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::base::ids::{QuestionIndex, RoomId, ShowId};
use crate::base::time::Time;
use crate::ops::http::ApiError;
use crate::ops::plans::Plans;
use crate::ops::players::Desk;
use crate::ops::show_json::phase_word;
use crate::quiz::event::Settlement;
use crate::quiz::money::Cents;
use crate::quiz::phase::Phase;
use crate::runtime::operator::CallError;
use crate::shard::operator::{OperatorAnswer, OperatorError, OperatorRequest, ShowStatus};
use crate::shard::service::{ServiceAnswer, ServiceRequest};

/// How long what was heard of shows is told on.
const FRESH_FOR: Duration = Duration::from_secs(1);

/// What was heard last.
#[derive(Default)]
pub(super) struct Shows(Mutex<Heard>);

#[derive(Default)]
struct Heard {
    at: Option<Time>,
    shows: Arc<BTreeMap<ShowId, PublicShow>>,
}

/// What anybody may know of a show. It has no place for what a verdict changes: who is out and how
/// many, what was answered, what was paid before all is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PublicShow {
    pub(super) show: ShowId,
    pub(super) title: String,
    pub(super) starts_at_unix_ms: i64,
    pub(super) prize_pool: Cents,
    room: RoomId,
    question_count: usize,
    phase: Phase,
    question: Option<QuestionIndex>,
    online: u64,
    /// Winners, and what each gets, once that is told to everybody.
    split: Option<(u64, Cents)>,
}

impl PublicShow {
    fn of(status: &ShowStatus, online: u64) -> PublicShow {
        let phase = status.live.phase;
        let is_split = matches!(phase, Phase::Settled | Phase::Ended);
        let split = |it: &Settlement| (it.winners, it.per_head);
        PublicShow {
            show: status.show,
            title: status.title.clone(),
            starts_at_unix_ms: status.starts_at_unix_ms,
            prize_pool: status.prize_pool,
            room: status.room,
            question_count: status.question_count,
            phase,
            question: status.live.question,
            online,
            split: status.settlement.as_ref().filter(|_| is_split).map(split),
        }
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "id": self.show.to_string(),
            "title": self.title,
            "room": self.room.to_string(),
            "starts_at_ms": (self.starts_at_unix_ms != 0).then_some(self.starts_at_unix_ms),
            "prize_pool_cents": self.prize_pool.0,
            "question_count": self.question_count,
            "phase": phase_word(self.phase),
            "question": self.question.map(|question| question.0),
            "online": self.online,
            "winners": self.split.map(|(winners, _)| winners),
            "per_head_cents": self.split.map(|(_, per_head)| per_head.0),
        })
    }

    /// Whether anybody may know by now what became of a question's answers. What was heard of the
    /// show may be a second old; then it says no longer.
    pub(super) fn has_revealed(&self, question: u16) -> bool {
        let is_told = match self.phase {
            Phase::Settling | Phase::Settled | Phase::Ended | Phase::Cancelled => return true,
            Phase::Open | Phase::Closing | Phase::Closed | Phase::PausedInClosed => false,
            _ => true,
        };
        self.question.is_some_and(|QuestionIndex(current)| {
            question < current || question == current && is_told
        })
    }
}

impl Desk {
    /// All shows that the gateway knows.
    pub(super) async fn shows(&self) -> Result<Arc<BTreeMap<ShowId, PublicShow>>, ApiError> {
        // Whoever comes while they are asked for waits here, and finds them.
        let mut heard = self.shows.0.lock().await;
        let now = self.view.clock.now();
        if heard.at.is_some_and(|at| now.since(at) < FRESH_FOR) {
            return Ok(Arc::clone(&heard.shows));
        }
        let statuses = match self.ask_shards(OperatorRequest::Shows).await? {
            OperatorAnswer::Shows(statuses) => statuses,
            other => panic!("shards answered a question for shows with {other:?}"),
        };
        let mut shows = BTreeMap::new();
        for plan in self.view.plans.iter().flat_map(Plans::all_waiting) {
            let status = plan.status();
            let online = self.online(status.room).await?;
            shows.insert(status.show, PublicShow::of(&status, online));
        }
        for status in &statuses {
            let is_over = matches!(status.live.phase, Phase::Ended | Phase::Cancelled);
            let online = if is_over { 0 } else { self.online(status.room).await? };
            shows.insert(status.show, PublicShow::of(status, online));
        }
        heard.shows = Arc::new(shows);
        heard.at = Some(now);
        Ok(Arc::clone(&heard.shows))
    }

    async fn online(&self, room: RoomId) -> Result<u64, ApiError> {
        let request = OperatorRequest::Service(ServiceRequest::Room(room));
        match self.view.caller.ask(request).await {
            Ok(OperatorAnswer::Service(ServiceAnswer::Room(view))) => Ok(view.online),
            // A room of which nothing is known is empty.
            Err(CallError::Refused(OperatorError::NoSuchRoom(_))) => Ok(0),
            Ok(other) => panic!("a shard answered a question for a room with {other:?}"),
            Err(error) => Err(ApiError::new(
                axum::http::StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                error.to_string(),
            )),
        }
    }
}
