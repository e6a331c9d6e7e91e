//! The part of the operator API's way that is about shows that have not begun: they are not the
//! shards' yet, and the API shows them as if they were.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::base::ids::{EventNumber, ShowId};
use crate::ops::http::OperatorRefusal;
use crate::ops::operator_port::{GatewayPort, refusal, unexpected};
use crate::ops::plans::{Plan, PlanChange, PlanError, PlanState, Plans};
use crate::ops::show_file::ShowFile;
use crate::ops::show_file::rains::FiledRain;
use crate::ops::show_json;
use crate::quiz::director::Command;
use crate::shard::operator::{OperatorAnswer, OperatorRequest, ShowStatus};

impl GatewayPort {
    pub(super) async fn shows(&self) -> Result<Value, OperatorRefusal> {
        // Looked at first: a show that begins meanwhile is there twice rather than not at all.
        let waiting = self.plans.as_ref().map(Plans::all_waiting).unwrap_or_default();
        let mut shows = self.statuses().await?;
        for plan in waiting {
            if !shows.iter().any(|status| status.show == plan.file.definition.id) {
                shows.push(plan.status());
            }
        }
        shows.sort_by_key(|status| status.show);
        Ok(show_json::list(&shows))
    }

    async fn statuses(&self) -> Result<Vec<ShowStatus>, OperatorRefusal> {
        match self.ask(OperatorRequest::Shows).await? {
            OperatorAnswer::Shows(shows) => Ok(shows),
            other => Err(unexpected(&other)),
        }
    }

    /// What the audience of a show was told; of one that has not begun, nothing.
    pub(super) async fn messages(&self, show: ShowId) -> Result<Value, OperatorRefusal> {
        if self.waiting(show).is_some() {
            return Ok(json!([]));
        }
        match self.ask(OperatorRequest::Messages { show }).await? {
            OperatorAnswer::Messages(messages) => {
                Ok(messages.iter().map(|it| show_json::message(it, self.clock)).collect())
            }
            other => Err(unexpected(&other)),
        }
    }

    pub(super) fn waiting(&self, show: ShowId) -> Option<Arc<Plan>> {
        self.plans.as_ref().and_then(|plans| plans.waiting(show))
    }

    /// Does something with plans, which may block.
    pub(super) async fn plan<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Plans) -> Result<T, PlanError> + Send + 'static,
    ) -> Result<T, OperatorRefusal> {
        let Some(plans) = self.plans.clone() else {
            let reason = "this gateway takes no shows over HTTP".to_owned();
            return Err(OperatorRefusal::Invalid { reason });
        };
        let done = tokio::task::spawn_blocking(move || act(&plans)).await;
        let done = done.map_err(|error| OperatorRefusal::Unavailable { reason: error.to_string() });
        done?.map_err(plan_refusal)
    }

    pub(super) async fn change_plan(&self, change: PlanChange) -> Result<Value, OperatorRefusal> {
        let plan = self.plan(move |plans| plans.change(change)).await?;
        Ok(filed_json(&plan.file, Some(&*plan)))
    }

    /// A show as it was filed, and its plan if it was planned here; what an announced one does not tell,
    /// its pace, is missing.
    pub(super) async fn filed(
        &self,
        show: ShowId,
    ) -> Result<(ShowFile, Option<Arc<Plan>>), OperatorRefusal> {
        if let Some(plan) = self.plans.as_ref().and_then(|plans| plans.get(show)) {
            return Ok((plan.file.clone(), Some(plan)));
        }
        let definition = match self.ask(OperatorRequest::Definition { show }).await? {
            OperatorAnswer::Definition(definition) => (*definition).clone(),
            other => return Err(unexpected(&other)),
        };
        let rains = match self.ask(OperatorRequest::Status { show }).await? {
            OperatorAnswer::Show(status) => status.rains,
            other => return Err(unexpected(&other)),
        };
        let filed = |settings| FiledRain { settings, after_question: None };
        let rains = rains.into_iter().map(|rain| filed(rain.settings)).collect();
        Ok((ShowFile { definition, pace: None, rains }, None))
    }

    /// Opening the lobby of a show that has not begun makes it one of the shards'. What else is ordered of
    /// it is refused. What the order is to say that its giver has seen.
    pub(super) async fn begin_if_waiting(
        &self,
        show: ShowId,
        command: &Command,
        seen: Option<EventNumber>,
    ) -> Result<Option<EventNumber>, OperatorRefusal> {
        if self.waiting(show).is_none() {
            return Ok(seen);
        }
        if *command != Command::OpenLobby {
            self.refuse_if_waiting(show)?;
        }
        let version = seen.map(|event| event.0);
        self.plan(move |plans| plans.begin(show, version)).await?;
        // It saw the plan; of what the shards have decided since, all is that it began.
        Ok(None)
    }

    pub(super) fn refuse_if_waiting(&self, show: ShowId) -> Result<(), OperatorRefusal> {
        match self.waiting(show) {
            None => Ok(()),
            Some(_) => Err(plan_refusal(PlanError::NotBegun(show))),
        }
    }
}

/// A show as it was filed: `version` (null where it was announced from elsewhere), `by`, `has_begun`
/// and `show`.
pub(super) fn filed_json(file: &ShowFile, plan: Option<&Plan>) -> Value {
    json!({
        "version": plan.map(|plan| plan.version),
        "by": plan.map(|plan| plan.by.as_str()),
        "has_begun": plan.is_none_or(|plan| plan.state != PlanState::Planned),
        "show": show_json::filed(file),
    })
}

/// What HTTP says about a plan that stays as it is.
fn plan_refusal(error: PlanError) -> OperatorRefusal {
    let reason = error.to_string();
    match error {
        PlanError::NoSuchShow(show) => OperatorRefusal::UnknownShow { show },
        PlanError::Begun { .. } | PlanError::NotBegun(_) | PlanError::RoomBusy { .. } => {
            OperatorRefusal::NotNow { reason }
        }
        PlanError::Changed { .. } | PlanError::Exists { .. } => OperatorRefusal::MovedOn { reason },
        PlanError::TooMany | PlanError::PrizeWithoutData(_) => OperatorRefusal::Invalid { reason },
        PlanError::Call(error) => refusal(error),
        PlanError::Data(_) => OperatorRefusal::Unavailable { reason },
    }
}
