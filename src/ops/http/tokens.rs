//! Tokens over HTTP: which of them are refused although they are valid.

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::auth::revocation::Revocation;
use crate::base::ids::UserId;
use crate::base::limits::TOKEN_ID_BYTES_MAX;
use crate::ops::http::api::{ApiError, Shared, ask, whole_number};
use crate::ops::http::port::OperatorRequest;

/// All times are Unix seconds, as in tokens.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct UserBody {
    issued_until: Option<i64>,
    until: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenBody {
    expires: Option<i64>,
}

type Body = Result<Bytes, BytesRejection>;

/// Revokes the tokens of a user that were issued until a moment.
pub(super) async fn revoke_user(
    State(view): Shared,
    path: Result<Path<String>, PathRejection>,
    body: Body,
) -> Result<Response, ApiError> {
    let Path(id) = path?;
    let user = UserId(whole_number(&id, "user", "bad_user_id")?);
    let form = r#"nothing, or {"issued_until":1800000000,"until":1800000600} with either or both"#;
    let UserBody { issued_until, until } = read(body, form)?;
    tracing::info!(%user, ?issued_until, ?until, "operator revokes a user's tokens");
    let revocation =
        Revocation::User { user, issued_until_unix_s: issued_until, refused_until_unix_s: until };
    ask(&view, OperatorRequest::Revoke(revocation)).await
}

/// Revokes one token by its name.
pub(super) async fn revoke_token(
    State(view): Shared,
    path: Result<Path<String>, PathRejection>,
    body: Body,
) -> Result<Response, ApiError> {
    let Path(id) = path?;
    if id.len() > TOKEN_ID_BYTES_MAX {
        let message = format!("a token's `jti` has at most {TOKEN_ID_BYTES_MAX} bytes");
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "bad_token_id", message));
    }
    let TokenBody { expires } = read(body, r#"nothing, or {"expires":1800000000}"#)?;
    tracing::info!(token = id, ?expires, "operator revokes a token");
    let revocation = Revocation::Token { id, expires_unix_s: expires };
    ask(&view, OperatorRequest::Revoke(revocation)).await
}

fn read<T: DeserializeOwned + Default>(body: Body, form: &str) -> Result<T, ApiError> {
    let body = body.map_err(|rejection| {
        ApiError::new(rejection.status(), "bad_body", rejection.body_text())
    })?;
    if body.trim_ascii().is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(&body).map_err(|error| {
        let message = format!("revoke expects {form}: {error}");
        ApiError::new(StatusCode::BAD_REQUEST, "bad_body", message)
    })
}
