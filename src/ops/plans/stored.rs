//! Plans as they are stored: JSON with the show in it as the operator API takes it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::base::ids::ShowId;
use crate::ops::plans::{Plan, PlanState};
use crate::ops::problems::{Origin, Problems};
use crate::ops::{show_file, show_json};

/// Version of the form.
const LAYOUT: u32 = 1;

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct StoredPlan {
    layout: u32,
    version: u64,
    by: String,
    state: StoredState,
    show: Value,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
enum StoredState {
    Planned,
    Beginning,
    Begun,
}

/// The bytes of a plan.
pub(super) fn encode(plan: &Plan) -> Vec<u8> {
    let state = match plan.state {
        PlanState::Planned => StoredState::Planned,
        PlanState::Beginning => StoredState::Beginning,
        PlanState::Begun => StoredState::Begun,
    };
    let (version, by) = (plan.version, plan.by.clone());
    let show = show_json::filed(&plan.file);
    let stored = StoredPlan { layout: LAYOUT, version, by, state, show };
    serde_json::to_vec_pretty(&stored).expect("a plan is made of numbers and texts")
}

/// The plan of a show's bytes, which come from a file that is called `name`.
///
/// # Errors
/// Everything that is wrong with them.
pub(super) fn decode(name: &str, show: ShowId, bytes: &[u8]) -> Result<Plan, Problems> {
    let unreadable = |reason: String| {
        let mut problems = Problems::new();
        problems.push_unreadable(Origin::File { name: name.to_owned(), line: None }, reason);
        problems
    };
    let stored: StoredPlan =
        serde_json::from_slice(bytes).map_err(|error| unreadable(error.to_string()))?;
    if stored.layout != LAYOUT {
        let (has, reads) = (stored.layout, LAYOUT);
        return Err(unreadable(format!("has layout {has}, and this program reads {reads}")));
    }
    let state = match stored.state {
        StoredState::Planned => PlanState::Planned,
        StoredState::Beginning => PlanState::Beginning,
        StoredState::Begun => PlanState::Begun,
    };
    let file = show_file::parse_json(name, &stored.show.to_string(), Some(show))?;
    Ok(Plan { version: stored.version, by: stored.by, state, file })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_read_as_it_was_stored() {
        let file = show_file::bundled();
        let show = file.definition.id;
        for state in [PlanState::Planned, PlanState::Beginning, PlanState::Begun] {
            let plan = Plan { version: 7, by: "anna".to_owned(), state, file: file.clone() };
            let bytes = encode(&plan);
            assert_eq!(decode("it", show, &bytes), Ok(plan));
            assert!(decode("it", ShowId(show.0 + 1), &bytes).is_err(), "another show's");
            assert!(decode("it", show, &bytes[1..]).is_err());
            let text = String::from_utf8(bytes).expect("JSON");
            let wrong = text.replace("\"layout\": 1", "\"layout\": 2");
            assert!(decode("it", show, wrong.as_bytes()).is_err());
        }
    }
}
