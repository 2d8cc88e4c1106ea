//! `cofferdam agent start|stop|restart|rollback`: asks, and with --wait shows how it comes up or ends, as
//! `cofferdam deploy --wait` does and with its exit statuses.

use http::Method;
use serde_json::{Value, json};

use super::show::word;
use crate::advice::advise;
use crate::args::Waits;
use crate::client::{ClientError, Server, read, segment};
use crate::deploy::{Deployment, Ended, Goal, Wait, cancellable};
use crate::terminal::{json as print_json, note, say};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Start,
    Stop,
    Restart,
    /// To a version, or to the one that served before.
    Rollback(Option<u64>),
}

impl Action {
    /// The action's name in the API and on the command line.
    fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Rollback(_) => "rollback",
        }
    }

    fn goal(self) -> Goal {
        if self == Self::Stop { Goal::Stopped } else { Goal::Up }
    }
}

/// One action of the deploy-agent post.
pub(super) async fn act(server: &Server, agent: &str, action: Action, args: &Waits) -> anyhow::Result<Ended> {
    let mut body = json!({ "agent_id": agent, "action": action.name() });
    if let (Action::Rollback(Some(version)), Some(body)) = (action, body.as_object_mut()) {
        body.insert("version".to_owned(), json!(version));
    }
    let asked = server.send(Method::POST, "/api/deploy-agent", serde_json::to_vec(&body)?).await;
    let asked = match asked {
        Ok(asked) => asked,
        Err(error) => return Err(advised(server, error, agent, action).await),
    };
    let mut answer: Value = read(&asked)?;
    let deployment = answer.get("deployment").filter(|deployment| deployment.is_object()).cloned();
    let Some(deployment) = deployment.map(Deployment::read).transpose()? else {
        if args.output.json {
            print_json(&answer)?;
        } else {
            let state = word(&answer, "state");
            say!("{agent}: {}", if state.is_empty() { "nothing was deployed yet" } else { state })?;
        }
        return Ok(Ended::Done);
    };
    let nothing_ran = action == Action::Stop && deployment.state == "Failed";
    if !args.output.json {
        say!("{agent}: version {} is {}{}", deployment.number, deployment.state, origin(&deployment))?;
        if nothing_ran {
            note!("{agent}: no version was running, so nothing was stopped");
        }
    }
    if !args.wait || nothing_ran {
        if args.output.json {
            print_json(&answer)?;
        }
        return Ok(Ended::Done);
    }
    if action == Action::Stop && deployment.state != "Stopped" {
        let (number, time) = (deployment.number, args.timeout.as_secs());
        note!("{agent}: waiting until nothing of version {number} runs, for {time} s at most");
    }
    let waiting =
        Wait { command: action.name(), goal: action.goal(), timeout: args.timeout, after: deployment.last_event };
    let goes_on = || format!("the {} goes on: cofferdam agent show {agent}", action.name());
    let (ended, deployment) = match cancellable(waiting.end(server, deployment), goes_on).await? {
        Ok(done) => done,
        Err(cancelled) => return Ok(cancelled),
    };
    if args.output.json {
        // The answer of the action, with the deployment as it is now.
        if let Some(answer) = answer.as_object_mut() {
            answer.insert("state".to_owned(), json!(deployment.state));
            answer.insert("deployment".to_owned(), deployment.whole);
        }
        print_json(&answer)?;
    }
    Ok(ended)
}

/// The version that this one repeats, for a sentence.
fn origin(deployment: &Deployment) -> String {
    let number = deployment.whole.pointer("/source/number").and_then(Value::as_u64);
    number.map(|number| format!(" (version {number} again)")).unwrap_or_default()
}

/// A refusal, with the command that names a version where there is one that has served.
async fn advised(server: &Server, error: ClientError, agent: &str, action: Action) -> anyhow::Error {
    if action == Action::Rollback(None) && error.is_conflict() && has_served(server, agent).await {
        let hint = format!(
            "To name a version: `cofferdam agent rollback {agent} VERSION`; `cofferdam agent show {agent}` lists them."
        );
        return advise(error.into(), hint);
    }
    error.into()
}

/// A version of the agent has been up.
async fn has_served(server: &Server, agent: &str) -> bool {
    let versions = server.get::<Value>(&format!("/v1/agents/{}/deployments", segment(agent))).await;
    let versions = versions.unwrap_or_default();
    let all = versions.get("deployments").and_then(Value::as_array);
    all.is_some_and(|all| all.iter().any(|one| one.get("up_at_ms").is_some_and(Value::is_i64)))
}
