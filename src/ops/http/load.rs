//! What this gateway carries, for whoever sends clients to one of several.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};

use crate::base::metrics::Metric;
use crate::ops::dispatch::load::{GatewayLoad, GatewayState};
use crate::ops::drain::DrainState;
use crate::ops::http::api::Shared;
use crate::ops::http::{OperatorView, ReadyState};

const NANOSECONDS_PER_MICROSECOND: u64 = 1_000;

pub(super) fn routes() -> Router<Arc<OperatorView>> {
    Router::new().route("/v1/load", get(load))
}

async fn load(State(view): Shared) -> Json<GatewayLoad> {
    view.refresh().await;
    let sum = |metrics: &[Metric]| -> u64 {
        let of = |metric: &Metric| view.shards.iter().map(|shard| shard.get(*metric)).sum::<u64>();
        metrics.iter().map(of).sum()
    };
    let wire = [Metric::WireReplies, Metric::WireHigh, Metric::WireMid, Metric::WireLow];
    let turns = view.shards.iter().map(|shard| shard.get(Metric::TurnTime));
    Json(GatewayLoad {
        state: state(&view),
        is_held: sum(&[Metric::AcceptHeld]) > 0,
        at_ms: (view.now)().as_millis(),
        connections: sum(&[Metric::Connections]),
        connections_max: view.connections_max,
        accepted_total: sum(&[Metric::ConnectionsAccepted]),
        sends_total: sum(&[Metric::Sends]),
        wire_bytes_total: sum(&wire),
        wire_budget_bytes_per_s: sum(&[Metric::WireBudget]),
        turn_us_total: turns.map(|nanos| nanos / NANOSECONDS_PER_MICROSECOND).collect(),
    })
}

fn state(view: &OperatorView) -> GatewayState {
    match view.readiness.get() {
        ReadyState::Starting => GatewayState::Starting,
        ReadyState::Draining => GatewayState::Draining,
        ReadyState::Accepting => match view.drain.as_ref().map(|drain| drain.status().state) {
            None | Some(DrainState::Off) => GatewayState::Accepting,
            Some(DrainState::Waiting) => GatewayState::Waiting,
            Some(DrainState::Leaving | DrainState::Stopping) => GatewayState::Draining,
        },
    }
}
