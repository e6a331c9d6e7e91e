//! The query of a request: few names, each once, and what is wrong with them is said.

use std::ops::RangeInclusive;

use axum::http::{StatusCode, Uri};

use crate::ops::http::api::ApiError;
use crate::ops::nearest::suggestion;

/// Names and values.
pub(crate) struct Query<'a> {
    pairs: Vec<(&'a str, &'a str)>,
}

impl<'a> Query<'a> {
    /// The query of `uri`, which may have these names.
    pub(crate) fn of(uri: &'a Uri, known: &[&'static str]) -> Result<Query<'a>, ApiError> {
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        for pair in uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !known.contains(&name) {
                let hint = suggestion(name, known);
                let known = known.join(", ");
                let message = format!("the query has `{name}`, which is not known{hint}");
                return Err(bad_query(format!("{message} (there are: {known})")));
            }
            if pairs.iter().any(|(before, _)| *before == name) {
                return Err(bad_query(format!("the query has `{name}` twice: give it once")));
            }
            pairs.push((name, value));
        }
        Ok(Query { pairs })
    }

    /// The word behind a name.
    pub(crate) fn word(&self, name: &str) -> Option<&'a str> {
        self.pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    /// The number behind a name.
    pub(crate) fn number(
        &self,
        name: &str,
        within: RangeInclusive<u64>,
    ) -> Result<Option<u64>, ApiError> {
        let Some(word) = self.word(name) else {
            return Ok(None);
        };
        let number = word.parse().ok().filter(|number| within.contains(number));
        let range = if *within.end() == u64::MAX {
            format!("from {}", within.start())
        } else {
            format!("from {} to {}", within.start(), within.end())
        };
        let refused = || bad_query(format!("`{name}={word}`: give a whole number {range}"));
        number.ok_or_else(refused).map(Some)
    }
}

pub(crate) fn bad_query(message: String) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "bad_query", message)
}
