//! Shows made, changed and withdrawn on the pages, by the same way as by the operator API.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};

use crate::base::ids::{EventNumber, ShowId};
use crate::ops::console::LastOrder;
use crate::ops::console::accounts::Role;
use crate::ops::console::control::{Guest, OnePath, View, json_of};
use crate::ops::console::door::Visit;
use crate::ops::http::plans::{needed_version, questions_of, show_of, version};
use crate::ops::http::{ApiError, OperatorRequest, OperatorView, put, show_id};
use crate::ops::plans::PlanChange;

/// A show as it was filed: with what is correct.
pub(super) async fn filed(
    State(view): View,
    Extension(visit): Guest,
    path: OnePath,
) -> Result<Response, ApiError> {
    let Path(id) = path?;
    let show = show_id(&id)?;
    visit.needs(&view, Role::ShowOperator, "read the show's file", &format!("show {show}"))?;
    Ok(Json(json_of(put(&view, OperatorRequest::Filed { show }).await?)).into_response())
}

/// Plans a show, or changes one that has not begun.
pub(super) async fn change(
    State(view): View,
    Extension(visit): Guest,
    path: OnePath,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let Path(id) = path?;
    let show = show_id(&id)?;
    let seen = version(&uri)?;
    let action = if seen.is_some() { "edit" } else { "create" };
    visit.needs(&view, Role::ShowOperator, action, &format!("show {show}"))?;
    let file = show_of(show, &headers, &body)?;
    let by = visit.session.name.clone();
    let request = OperatorRequest::ChangePlan(Box::new(PlanChange { seen, by, file }));
    order(&view, &visit, show, action, seen.unwrap_or(0), request).await
}

/// Withdraws a show that has not begun.
pub(super) async fn withdraw(
    State(view): View,
    Extension(visit): Guest,
    path: OnePath,
    uri: Uri,
) -> Result<Response, ApiError> {
    let Path(id) = path?;
    let show = show_id(&id)?;
    visit.needs(&view, Role::ShowOperator, "withdraw the show", &format!("show {show}"))?;
    let version = needed_version(&uri)?;
    let request = OperatorRequest::WithdrawPlan { show, version };
    order(&view, &visit, show, "withdraw the show", version, request).await
}

/// Whether questions could be those of a show. Nothing is changed, so it is in no log.
pub(super) async fn check_questions(
    State(view): View,
    Extension(visit): Guest,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    visit.needs(&view, Role::ShowOperator, "check questions", "")?;
    Ok(Json(questions_of(&headers, &body)?).into_response())
}

/// Carries a change out. Whoever is refused because of another one's learns whose it was: the plan knows.
async fn order(
    view: &OperatorView,
    visit: &Visit,
    show: ShowId,
    action: &str,
    seen: u64,
    request: OperatorRequest,
) -> Result<Response, ApiError> {
    let now = (view.now)();
    let noted = LastOrder {
        name: visit.session.name.clone(),
        action: action.to_owned(),
        at: now,
        at_unix_ms: view.clock.unix_ms(now),
        seen: EventNumber(seen),
    };
    let before = visit.console.note_order(show, noted.clone());
    let outcome = put(view, request).await;
    let about = format!("show {show}");
    match outcome {
        Ok(told) => {
            visit.record(view, action, &about, "done");
            Ok(Json(json_of(told)).into_response())
        }
        Err(error) => {
            visit.record(view, action, &about, &format!("refused: {}", error.message()));
            visit.console.forget_order(show, &noted, before);
            Err(error)
        }
    }
}
