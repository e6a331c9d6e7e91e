//! How a plan becomes a show of the shards, and what is taken up after a restart.

use std::sync::Arc;

use crate::base::ids::ShowId;
use crate::ops::autopilot::PacedShow;
use crate::ops::plans::{Plan, PlanError, PlanState, Plans, ResumeError, stored};
use crate::ops::show_file::{ShowFile, rains};
use crate::quiz::phase::Phase;
use crate::runtime::data::shows::{show_path, stored_shows};
use crate::runtime::operator::CallError;
use crate::shard::operator::{OperatorError, OperatorRequest};

impl Plans {
    /// Announces a planned show to the shards, with its rains, so that its lobby can be opened. Nothing is
    /// done if they have it already.
    ///
    /// # Errors
    /// Why it cannot begin. If the shards did not take it, it is planned as before; so it is while another
    /// show has its room.
    pub fn begin(&self, show: ShowId, seen: Option<u64>) -> Result<(), PlanError> {
        let _turn = self.turn();
        let Some(plan) = self.waiting(show) else { return Ok(()) };
        if seen.is_some_and(|seen| seen != plan.version) {
            let (by, version) = (plan.by.clone(), plan.version);
            return Err(PlanError::Changed { show, by, version });
        }
        self.go_on_beginning(&plan)
    }

    fn go_on_beginning(&self, plan: &Plan) -> Result<(), PlanError> {
        let file = &plan.file;
        let show = file.definition.id;
        if plan.state == PlanState::Planned {
            // One of this id that is another show: it is not this plan's.
            if let Some(status) = self.status(show)? {
                let (phase, allowed) = (status.live.phase, status.allowed);
                return Err(PlanError::Begun { show, phase, allowed });
            }
            self.keep(Plan { state: PlanState::Beginning, ..plan.clone() })?;
        }
        match self.0.caller.call(OperatorRequest::Announce(Arc::new(file.definition.clone()))) {
            Ok(_) => {}
            // It was announced before a crash.
            Err(CallError::Refused(OperatorError::ShowExists(_)))
                if plan.state == PlanState::Beginning => {}
            Err(error @ CallError::Refused(_)) => {
                self.keep(Plan { state: PlanState::Planned, ..plan.clone() })?;
                return Err(self.named(show, error));
            }
            // Whether they have it is not known: whoever opens the lobby again finds out.
            Err(error) => return Err(error.into()),
        }
        self.finish_beginning(plan)
    }

    /// The shards name the show that has a room by its id only; whoever is refused because of it learns which
    /// that is, and where it is.
    fn named(&self, show: ShowId, error: CallError) -> PlanError {
        let CallError::Refused(OperatorError::RoomTaken { room, show: other }) = error else {
            return error.into();
        };
        match self.status(other) {
            Ok(Some(status)) => {
                let (title, phase) = (status.title, status.live.phase);
                PlanError::RoomBusy { show, room, other, title, phase }
            }
            // It is over meanwhile, or does not answer.
            Ok(None) | Err(_) => error.into(),
        }
    }

    /// The shards have the show: its rains are planned, and it goes its course.
    fn finish_beginning(&self, plan: &Plan) -> Result<(), PlanError> {
        let file = &plan.file;
        let show = file.definition.id;
        let Some(status) = self.status(show)? else {
            // They know the id of a show that ended, and not this one.
            self.keep(Plan { state: PlanState::Planned, ..plan.clone() })?;
            return Err(CallError::Refused(OperatorError::ShowExists(show)).into());
        };
        // Once somebody has commanded it, what is missing is missing on purpose.
        if status.live.phase == Phase::Announced {
            for command in rains::missing(&file.rains, status.rains.len(), status.rain_fund) {
                self.0.caller.call(OperatorRequest::Rain { show, command })?;
            }
        }
        self.keep(Plan { state: PlanState::Begun, ..plan.clone() })?;
        let (questions, runs_by_itself) = (file.definition.questions.len(), file.pace.is_some());
        tracing::info!(%show, questions, runs_by_itself, "show announced");
        self.fly(file);
        Ok(())
    }

    fn fly(&self, file: &ShowFile) {
        if let Some(paced) = PacedShow::of(file) {
            self.0.autopilot.fly(paced);
        }
    }

    /// Takes up what is stored, when the shards have recovered; `announced` are the shows of files that are
    /// to be announced by somebody else.
    ///
    /// # Errors
    /// If a file cannot be understood, or a show that was to begin cannot.
    pub fn resume(&self, announced: &[ShowFile]) -> Result<(), ResumeError> {
        let Some(root) = self.0.root.clone() else { return Ok(()) };
        let _turn = self.turn();
        for (show, bytes) in stored_shows(&root)? {
            let path = show_path(&root, show);
            let plan = stored::decode(&path.display().to_string(), show, &bytes)
                .map_err(|problems| ResumeError::File { path: path.clone(), problems })?;
            self.take_up(&plan).map_err(|error| ResumeError::Begin { show, error })?;
        }
        let twice = announced.iter().find(|file| self.get(file.definition.id).is_some());
        match twice.map(|file| file.definition.id) {
            Some(show) => Err(ResumeError::Twice { show, path: show_path(&root, show) }),
            None => Ok(()),
        }
    }

    fn take_up(&self, plan: &Plan) -> Result<(), PlanError> {
        let show = plan.file.definition.id;
        let status = self.status(show)?;
        // Known before anything is done with it, with the version that it had.
        {
            let mut known = self.known();
            known.last_version = known.last_version.max(plan.version);
            known.plans.insert(show, Arc::new(plan.clone()));
        }
        match (plan.state, status) {
            (PlanState::Planned, None) => Ok(()),
            (PlanState::Planned, Some(_)) => {
                tracing::warn!(
                    %show,
                    "the journal has this show, and its plan is older (a copy that was restored?): \
                     what was announced stands, and it does not run by itself"
                );
                self.forget(show)
            }
            (PlanState::Beginning, _) => match self.go_on_beginning(plan) {
                Err(
                    error @ (PlanError::Call(CallError::Refused(_)) | PlanError::RoomBusy { .. }),
                ) => {
                    tracing::error!(%show, %error, "the show was to begin and cannot: it is planned as before");
                    Ok(())
                }
                outcome => outcome,
            },
            (PlanState::Begun, Some(_)) => {
                self.fly(&plan.file);
                Ok(())
            }
            // It ended long ago. It is not begun anew: its payouts have been made.
            (PlanState::Begun, None) => self.forget(show),
        }
    }
}
