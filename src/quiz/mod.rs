//! The quiz: shows, directors, buckets, answers, seals and the prize. Pure and deterministic.
//!
//! Imports `base` only: it knows neither connections nor rooms nor bytes on the wire.

pub mod definition;
pub mod money;
