//! Shows made, changed and withdrawn on the pages, by the same way as by the operator API.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};

use crate::base::ids::ShowId;
use crate::ops::console::accounts::Role;
use crate::ops::console::control::{Guest, OnePath, Order, Target, View, carry_out, json_of};
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
    let order = Order { action: action.to_owned(), event: seen.unwrap_or(0), request };
    change_plan(&view, &visit, show, order).await
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
    let order = Order { action: "withdraw the show".to_owned(), event: version, request };
    change_plan(&view, &visit, show, order).await
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
async fn change_plan(
    view: &OperatorView,
    visit: &Visit,
    show: ShowId,
    order: Order,
) -> Result<Response, ApiError> {
    let target = Target { view, show, about: format!("show {show}") };
    carry_out(&target, visit, order).await.map_err(|refused| refused.error)
}
