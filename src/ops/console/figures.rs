//! What the live page shows: the show, and how the gateway does. Viewers see what is revealed.

use serde_json::{Value, json};

use crate::base::metrics::Metric;
use crate::ops::http::{OperatorView, ReadyState};

/// Phases in which what the last question brought is public.
const REVEALED: [&str; 6] =
    ["revealed", "paused_in_revealed", "settling", "settled", "ended", "cancelled"];
/// What a viewer is told of a show whatever its phase.
const PUBLIC: [&str; 11] = [
    "id",
    "title",
    "room",
    "event",
    "phase",
    "question",
    "question_count",
    "prize_pool_cents",
    "joined",
    "settlement",
    "is_paid_out",
];

/// A show as a viewer may see it: whatever tells of answers that are not revealed is left out.
pub(super) fn for_viewers(show: &Value) -> Value {
    let phase = show["phase"].as_str().unwrap_or_default();
    let is_revealed = REVEALED.contains(&phase);
    let mut seen = json!({});
    for name in PUBLIC {
        seen[name] = show[name].clone();
    }
    seen["live"] = json!({ "answered": show["live"]["answered"] });
    if is_revealed {
        for name in ["in_play", "per_head_cents", "cards_used", "live"] {
            seen[name] = show[name].clone();
        }
    }
    let last = show["question"].clone();
    let questions = show["questions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let questions = questions.iter().map(|question| {
        let mut question = question.clone();
        // A question that was voided before its reveal is none that anybody may know the answer of.
        let is_secret =
            !is_revealed && question["question"] == last || question["is_voided"] == json!(true);
        if is_secret {
            question["counts"] = Value::Null;
            question["in_play"] = Value::Null;
        }
        question
    });
    seen["questions"] = questions.collect();
    seen
}

/// A show in the list, as a viewer may see it.
pub(super) fn summary_for_viewers(show: &Value) -> Value {
    let mut seen = show.clone();
    seen["in_play"] = Value::Null;
    seen
}

/// How the gateway does.
pub(super) fn gateway(view: &OperatorView) -> Value {
    let sum = |metrics: &[Metric]| -> u64 {
        let of = |metric: &Metric| view.shards.iter().map(|shard| shard.get(*metric)).sum::<u64>();
        metrics.iter().map(of).sum()
    };
    let shards = view.ages().into_iter().enumerate().map(|(shard, age)| {
        let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        json!({ "shard": shard, "age_ms": age_ms, "healthy": age <= view.health_stale })
    });
    let wire = [Metric::WireReplies, Metric::WireHigh, Metric::WireMid, Metric::WireLow];
    let state = match view.readiness.get() {
        ReadyState::Starting => "starting",
        ReadyState::Accepting => "accepting",
        ReadyState::Draining => "draining",
    };
    json!({
        "state": state,
        "connections": sum(&[Metric::Connections]),
        "users": sum(&[Metric::Sessions]),
        "wire_bytes": sum(&wire),
        "wire_budget_bytes_per_s": sum(&[Metric::WireBudget]),
        "shards": shards.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(phase: &str) -> Value {
        json!({
            "id": 1, "title": "A show", "room": 7, "event": 9, "phase": phase, "question": 1,
            "question_count": 3, "prize_pool_cents": 100, "joined": 9, "in_play": 4,
            "per_head_cents": 25, "cards_used": 2, "settlement": null, "is_paid_out": false,
            "live": { "answered": 8, "options": [5, 3, 0, 0, 0, 0], "correct": 5, "late": 0,
                "eliminated": 3, "revived": 0 },
            "questions": [
                { "question": 0, "is_voided": false, "in_play": 9, "counts": { "correct": 9 } },
                { "question": 1, "is_voided": false, "in_play": 4, "counts": { "correct": 4 } },
            ],
            "allowed": ["reveal"], "notices": [], "rains": [],
        })
    }

    #[test]
    fn viewers_see_nothing_of_a_question_before_its_reveal() {
        for phase in ["open", "closing", "closed", "paused_in_closed", "voided", "rejudging"] {
            let seen = for_viewers(&show(phase));
            assert_eq!(seen["live"], json!({ "answered": 8 }), "{phase}");
            let questions = seen["questions"].as_array().expect("a list");
            assert_eq!(questions[0]["counts"]["correct"], 9, "{phase}");
            assert!(questions[1]["counts"].is_null() && questions[1]["in_play"].is_null());
            for name in ["in_play", "per_head_cents", "cards_used", "allowed", "notices"] {
                assert!(seen.get(name).is_none(), "{phase}: {name}");
            }
        }
        let seen = for_viewers(&show("revealed"));
        assert_eq!((&seen["live"]["correct"], &seen["in_play"]), (&json!(5), &json!(4)));
        assert_eq!(seen["questions"][1]["counts"]["correct"], 4);
    }
}
