//! The operator API's way to the directors of a running gateway.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::base::ids::{EventNumber, ShowId, UserId};
use crate::base::time::DisplayClock;
use crate::ops::config::Config;
use crate::ops::http::{
    OperatorPort, OperatorRefusal, OperatorReply, OperatorRequest, OperatorTold, OperatorView,
    Readiness,
};
use crate::ops::plan_port::filed_json;
use crate::ops::plans::Plans;
use crate::ops::show_json;
use crate::ops::watch::files::ReloadHandle;
use crate::ops::words::trial_json;
use crate::quiz::director::CommandError;
use crate::quiz::local::{ExpiryError, GrantError};
use crate::quiz::rain::RainError;
use crate::runtime::gateway::Gateway;
use crate::runtime::operator::{CallError, Caller};
use crate::shard::operator::{self, OperatorAnswer, OperatorError};
use crate::shard::standing::Order;

/// How long a shard may show no sign of life, where nothing else is said.
const HEALTH_STALE: Duration = Duration::from_secs(5);

impl OperatorView {
    /// A gateway with nothing beside it: no token, no console, no book, nobody to drain it; starting.
    #[must_use]
    pub fn of(gateway: &Gateway) -> OperatorView {
        let (caller, clock) = (gateway.caller(), gateway.clock());
        OperatorView {
            token: None,
            health_stale: HEALTH_STALE,
            connections_max: Config::default().limits.connections_max.into(),
            shards: gateway.snapshots().to_vec(),
            readiness: Arc::new(Readiness::new()),
            keys: Arc::default(),
            config: Arc::default(),
            certificates: Arc::default(),
            kernel: Arc::default(),
            players: Arc::default(),
            ledger: None,
            drain: None,
            rehearsals: None,
            port: Arc::new(GatewayPort::new(caller.clone(), clock.display())),
            clock: clock.display(),
            console: None,
            wake: Box::new(move || caller.wake_all()),
            now: Box::new(move || clock.now()),
        }
    }
}

/// Asks the shards, and shows their answers.
#[derive(Clone)]
pub struct GatewayPort {
    caller: Caller,
    pub(super) clock: DisplayClock,
    words: Option<ReloadHandle>,
    pub(super) plans: Option<Plans>,
}

impl GatewayPort {
    /// A port that asks through `caller` and shows times by `clock`.
    #[must_use]
    pub fn new(caller: Caller, clock: DisplayClock) -> GatewayPort {
        GatewayPort { caller, clock, words: None, plans: None }
    }

    /// The same, which has the list of sensitive words read again when it is asked to.
    #[must_use]
    pub fn with_words(self, words: Option<ReloadHandle>) -> GatewayPort {
        GatewayPort { words, ..self }
    }

    /// The same, through which shows are planned and begun.
    #[must_use]
    pub fn with_plans(self, plans: Plans) -> GatewayPort {
        GatewayPort { plans: Some(plans), ..self }
    }

    async fn answer(&self, request: OperatorRequest) -> Result<OperatorTold, OperatorRefusal> {
        match request {
            OperatorRequest::Once { order, request } => self.answer_as(Some(order), *request).await,
            request => self.answer_as(None, request).await,
        }
    }

    async fn answer_as(
        &self,
        order: Option<Order>,
        request: OperatorRequest,
    ) -> Result<OperatorTold, OperatorRefusal> {
        match request {
            OperatorRequest::Shows => self.shows().await,
            OperatorRequest::Show { show } => self.show(show).await,
            OperatorRequest::Messages { show } => self.messages(show).await,
            OperatorRequest::Script { show } => {
                Ok(show_json::script(&self.filed(show).await?.0.definition))
            }
            OperatorRequest::Filed { show } => {
                let (file, plan) = self.filed(show).await?;
                Ok(filed_json(&file, plan.as_deref()))
            }
            OperatorRequest::ChangePlan(change) => self.change_plan(*change).await,
            OperatorRequest::WithdrawPlan { show, version } => {
                self.plan(move |plans| plans.withdraw(show, version)).await?;
                Ok(json!({ "id": show.0, "withdrawn": true }))
            }
            OperatorRequest::Command { show, command, seen } => {
                let seen = self.begin_if_waiting(show, &command, seen).await?;
                let request = operator::OperatorRequest::Command { show, command };
                let request = behind(show, seen, request);
                match self.ask_as(order, request).await? {
                    OperatorAnswer::Preview(preview) => Ok(show_json::preview(&preview)),
                    OperatorAnswer::Done => self.show(show).await,
                    other => Err(unexpected(&other)),
                }
            }
            OperatorRequest::Rain { show, command, seen } => {
                self.refuse_if_waiting(show)?;
                let request = operator::OperatorRequest::Rain { show, command };
                let request = behind(show, seen, request);
                match self.ask_as(order, request).await? {
                    OperatorAnswer::Done => self.show(show).await,
                    other => Err(unexpected(&other)),
                }
            }
            OperatorRequest::CloseWithdrawal { user, number, is_paid } => {
                let shown = json!({ "user": user.0, "withdrawal": number, "is_paid": is_paid });
                let request = operator::OperatorRequest::CloseWithdrawal { user, number, is_paid };
                match self.ask_as(order, request).await? {
                    OperatorAnswer::Done => Ok(shown),
                    other => Err(unexpected(&other)),
                }
            }
            OperatorRequest::GrantCard { user } => {
                let request = operator::OperatorRequest::GrantCard { user };
                self.order_cards(order, user, request).await
            }
            OperatorRequest::ExpireCards { user, cards_max } => {
                let request = operator::OperatorRequest::ExpireCards { user, cards_max };
                self.order_cards(order, user, request).await
            }
            OperatorRequest::Once { .. } => panic!("an order has one key"),
            OperatorRequest::ReloadWords => self.reload_words().await,
            OperatorRequest::TryText { text } => {
                match self.ask(operator::OperatorRequest::TryText(text)).await? {
                    OperatorAnswer::Tried(trial) => Ok(trial_json(&trial)),
                    other => Err(unexpected(&other)),
                }
            }
            OperatorRequest::Server(request) => {
                return self.serve(request).await.map(OperatorTold::Answer);
            }
        }
        .map(OperatorTold::Json)
    }

    async fn reload_words(&self) -> Result<Value, OperatorRefusal> {
        let Some(words) = &self.words else {
            let reason = "there is no list of words; set chat.words_file".to_owned();
            return Err(OperatorRefusal::Invalid { reason });
        };
        let reloaded = words.reload().await;
        let count = reloaded.map_err(|reason| OperatorRefusal::Invalid { reason })?;
        Ok(json!({ "words": count }))
    }

    async fn show(&self, show: ShowId) -> Result<Value, OperatorRefusal> {
        let (status, is_planned) = match self.waiting(show) {
            Some(plan) => (Box::new(plan.status()), true),
            None => match self.ask(operator::OperatorRequest::Status { show }).await? {
                OperatorAnswer::Show(status) => (status, false),
                other => return Err(unexpected(&other)),
            },
        };
        let mut value = show_json::show(&status, self.clock);
        // It has not begun: it may be changed and withdrawn.
        value["is_planned"] = is_planned.into();
        Ok(value)
    }

    async fn order_cards(
        &self,
        order: Option<Order>,
        user: UserId,
        request: operator::OperatorRequest,
    ) -> Result<Value, OperatorRefusal> {
        match self.ask_as(order, request).await? {
            OperatorAnswer::Cards(cards) => Ok(json!({ "user": user.0, "cards": cards })),
            other => Err(unexpected(&other)),
        }
    }

    /// Asks for something that is done once, if it came with a key.
    async fn ask_as(
        &self,
        order: Option<Order>,
        request: operator::OperatorRequest,
    ) -> Result<OperatorAnswer, OperatorRefusal> {
        let request = match order {
            None => request,
            Some(order) => operator::OperatorRequest::Once { order, request: Box::new(request) },
        };
        self.ask(request).await
    }

    pub(super) async fn ask(
        &self,
        request: operator::OperatorRequest,
    ) -> Result<OperatorAnswer, OperatorRefusal> {
        self.caller.ask(request).await.map_err(refusal)
    }
}

impl OperatorPort for GatewayPort {
    /// Requests that wait are bounded by the queues of the shards, which refuse what is too much.
    fn request(&self, request: OperatorRequest, reply: OperatorReply) {
        let port = self.clone();
        tokio::spawn(async move { reply.send(port.answer(request).await) });
    }
}

/// The request, for who has seen the show up to an event.
fn behind(
    show: ShowId,
    seen: Option<EventNumber>,
    request: operator::OperatorRequest,
) -> operator::OperatorRequest {
    match seen {
        None => request,
        Some(event) => {
            operator::OperatorRequest::Behind { show, event, request: Box::new(request) }
        }
    }
}

/// What HTTP says about a refusal: whether waiting helps, or another request.
pub(super) fn refusal(error: CallError) -> OperatorRefusal {
    let reason = error.to_string();
    match error {
        CallError::Refused(OperatorError::NoSuchShow(show)) => {
            OperatorRefusal::UnknownShow { show }
        }
        CallError::Refused(OperatorError::MovedOn { .. }) => OperatorRefusal::MovedOn { reason },
        CallError::Refused(OperatorError::NoSuchRoom(_)) => OperatorRefusal::UnknownRoom { reason },
        CallError::Refused(OperatorError::Command(error)) => match error {
            CommandError::NotNow { .. }
            | CommandError::NoQuestionLeft
            | CommandError::PushedAlready { .. }
            | CommandError::NothingPushed
            | CommandError::QuestionsLeft { .. }
            | CommandError::TicketsOut { .. }
            | CommandError::RainsFall
            | CommandError::NotPaidOut => OperatorRefusal::NotNow { reason },
            CommandError::NoEarlyPush
            | CommandError::NotLastRevealed { .. }
            | CommandError::NoSuchOption { .. }
            | CommandError::SameOption { .. }
            | CommandError::TooManyRejudges { .. } => OperatorRefusal::Invalid { reason },
        },
        CallError::Refused(OperatorError::Rain(error)) => match error {
            RainError::NotNow { .. } | RainError::ShowPhase(_) => {
                OperatorRefusal::NotNow { reason }
            }
            _ => OperatorRefusal::Invalid { reason },
        },
        CallError::Refused(
            OperatorError::Money(_)
            | OperatorError::KeyReused
            | OperatorError::ShowExists(_)
            | OperatorError::TooManyRooms
            | OperatorError::TooManyMutes
            | OperatorError::TooManyBans
            | OperatorError::BanOver { .. }
            | OperatorError::TooManyShows
            | OperatorError::RoomTaken { .. }
            | OperatorError::TooLong { .. }
            | OperatorError::CarriesShow(_)
            | OperatorError::RoomEnded(_)
            | OperatorError::Grant(GrantError::TooMany { .. })
            | OperatorError::Expiry(ExpiryError::NoCard { .. }),
        ) => OperatorRefusal::Invalid { reason },
        CallError::Refused(
            OperatorError::Grant(GrantError::Full(_))
            | OperatorError::TooFast { .. }
            | OperatorError::Revocation(_),
        )
        | CallError::NoAnswer(_) => OperatorRefusal::Unavailable { reason },
        CallError::Refused(OperatorError::Expiry(ExpiryError::InShow { .. }))
        | CallError::Draining => OperatorRefusal::NotNow { reason },
    }
}

/// A shard answers each kind of request with its own kind of answer.
pub(super) fn unexpected(answer: &OperatorAnswer) -> OperatorRefusal {
    panic!("a shard answered something else than it was asked: {answer:?}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::{QuestionIndex, RoomId, ShardId};
    use crate::base::time::Time;
    use expect_test::expect;

    #[test]
    fn each_refusal_says_what_would_help() {
        let command = |error| CallError::Refused(OperatorError::Command(error));
        let user = UserId(5);
        let lines: Vec<String> = [
            CallError::Refused(OperatorError::NoSuchShow(ShowId(1))),
            command(CommandError::NoQuestionLeft),
            command(CommandError::TicketsOut { until: Time::from_millis(9) }),
            command(CommandError::NotLastRevealed { question: QuestionIndex(0) }),
            CallError::Refused(OperatorError::RoomTaken { room: RoomId(2), show: ShowId(1) }),
            CallError::Refused(OperatorError::Grant(GrantError::TooMany { user })),
            CallError::Refused(OperatorError::Expiry(ExpiryError::NoCard { user })),
            CallError::Refused(OperatorError::Expiry(ExpiryError::InShow {
                user,
                show: ShowId(1),
            })),
            CallError::NoAnswer(ShardId(1)),
        ]
        .into_iter()
        .map(|error| format!("{}\n", refusal(error)))
        .collect();
        expect![[r#"
            there is no show 1
            not now: the show has no question left: settle it
            not now: retry tickets can be redeemed until 0.009000 s: end the show after that
            not possible: question 0 is not the one revealed last: earlier questions stand
            not possible: room 2 already carries show 1; end that one first, or give the new one another room
            not possible: user 5 holds 190 revive cards, which is the most one can hold
            not possible: user 5 holds no revive card
            not now: user 5 has joined show 1, which is being played: its cards can expire when the show is settled or called off
            try again later: shard 1 gave no answer in time; try again
        "#]]
        .assert_eq(&lines.concat());
    }
}
