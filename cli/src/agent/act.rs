//! `cofferdam agent start|stop|restart|rollback`: asks, and with --wait shows how it comes up or ends, as
//! `cofferdam deploy --wait` does and with its exit statuses.

use std::time::Instant;

use http::Method;
use serde_json::{Value, json};

use super::args::Waits;
use super::show::word;
use crate::client::{Server, read};
use crate::deploy::{Deployment, Ended, Goal, wait};
use crate::terminal::{json as print_json, note, say};

/// One action of the deploy-agent post.
pub(super) async fn act(
    server: &Server,
    agent: &str,
    action: &str,
    mut body: Value,
    args: &Waits,
) -> anyhow::Result<Ended> {
    if let Some(body) = body.as_object_mut() {
        body.insert("agent_id".to_owned(), json!(agent));
        body.insert("action".to_owned(), json!(action));
    }
    let mut answer: Value = read(&server.send(Method::POST, "/api/deploy-agent", serde_json::to_vec(&body)?).await?)?;
    let stops = action == "stop";
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
    let nothing_ran = stops && deployment.state == "Failed";
    if !args.output.json {
        say!("{agent}: version {} is {}", deployment.number, deployment.state)?;
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
    let goal = if stops { Goal::Stopped } else { Goal::Up };
    let (ended, deployment) = wait(server, deployment, Instant::now() + args.timeout, goal).await?;
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
