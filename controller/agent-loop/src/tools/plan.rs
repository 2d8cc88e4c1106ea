//! `update_plan`: the agent's list of steps, kept in the thread's state and shown to whoever looks on. Changes nothing else.

use cofferdam_contract::work::EventType;
use cofferdam_store::NewEvent;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Attempt, Found, Kind};
use crate::types::{Hints, PlannedCall, ToolDone};

pub(super) const NAME: &str = "update_plan";
/// The key of the thread's state.
const STATE: &str = "plan";
const MAX_STEPS: usize = 50;
const MAX_STEP_CHARS: usize = 500;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Pending,
    InProgress,
    Completed,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    title: String,
    state: State,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    steps: Vec<Step>,
}

pub(super) fn tool() -> Found {
    Found {
        wanted: NAME.to_owned(),
        known_as: vec![NAME.to_owned()],
        description:
            "Write down the steps of a longer task and how far each is. Give the whole list every time. People see it."
                .to_owned(),
        parameters: json!({
            "type": "object",
            "properties": {"steps": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "title": {"type": "string"},
                        "state": {"type": "string", "enum": ["pending", "in_progress", "completed"]}
                    },
                    "required": ["title", "state"],
                    "additionalProperties": false
                }
            }},
            "required": ["steps"],
            "additionalProperties": false
        }),
        hints: Hints { idempotent: true, sequential: true, ..Hints::default() },
        kind: Kind::Plan,
        given: vec![NAME.to_owned()],
        claimed: None,
    }
}

pub(super) fn call(call: &PlannedCall) -> Attempt {
    Attempt::Done(update(call).into())
}

fn update(call: &PlannedCall) -> ToolDone {
    let steps = match serde_json::from_value::<Arguments>(call.arguments.clone()) {
        Ok(arguments) => arguments.steps,
        Err(error) => return ToolDone::error(format!("arguments: {error}")),
    };
    let bad = |step: &Step| step.title.trim().is_empty() || step.title.chars().count() > MAX_STEP_CHARS;
    if steps.len() > MAX_STEPS || steps.iter().any(bad) {
        let most =
            format!("arguments.steps: at most {MAX_STEPS}, each with a title of 1 to {MAX_STEP_CHARS} characters");
        return ToolDone::error(most);
    }
    let done = steps.iter().filter(|step| step.state == State::Completed).count();
    let plan = json!({ "steps": steps });
    let mut answer = ToolDone::text(format!("Noted: {done} of {} steps are completed.", steps.len()));
    answer.state.insert(STATE.to_owned(), plan.clone());
    answer.events.push(NewEvent { kind: EventType::PlanUpdated, data: plan });
    answer
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn of(arguments: Value) -> ToolDone {
        let call = PlannedCall {
            id: "c".to_owned(),
            step: 1,
            place: 0,
            tool: NAME.to_owned(),
            arguments,
            digest: String::new(),
        };
        update(&call)
    }

    #[test]
    fn a_plan_is_kept_and_shown() {
        let done = of(json!({"steps": [{"title": "a", "state": "completed"}, {"title": "b", "state": "in_progress"}]}));
        assert_eq!(done.result.text, "Noted: 1 of 2 steps are completed.");
        assert_eq!(done.state["plan"]["steps"][1]["title"], "b");
        assert_eq!((done.events[0].kind, done.events.len()), (EventType::PlanUpdated, 1));
        for bad in [
            json!({}),
            json!({"steps": [{"title": "", "state": "pending"}]}),
            json!({"steps": [{"title": "a", "state": "unheard of"}]}),
            json!({"steps": vec![json!({"title": "a", "state": "pending"}); MAX_STEPS + 1]}),
            json!({"steps": [{"title": "x".repeat(501), "state": "pending"}]}),
        ] {
            let done = of(bad.clone());
            assert!(done.result.is_error && done.state.is_empty() && done.events.is_empty(), "{bad}");
        }
    }
}
