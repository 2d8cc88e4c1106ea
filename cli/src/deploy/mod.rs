//! `cofferdam deploy`: uploads an image, deploys it, and shows how it comes up.

pub(crate) mod args;
mod follow;
mod health;
mod layout;
mod source;
pub(crate) mod spec;
mod upload;
mod wire;

use std::cell::Cell;
use std::process::ExitCode;

use anyhow::bail;
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::Machine;
use crate::advice::{WrongLine, advise, in_order};
use crate::args::Waits;
use crate::client::{ClientError, Server, block_on, exchange, find, json as with_json, read, refusal, segment};
use crate::interrupt::{Interrupt, interrupted};
use crate::terminal::{Closed, failed, json as print_json, note, say};
use args::Args;
use source::DeploySource;
use wire::Link;

pub(crate) use follow::{Goal, Wait};
pub(crate) use wire::Deployment;

/// The exit statuses, as `cofferdam deploy --help` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Done = 0,
    Refused = 1,
    WrongLine = 2,
    NotUp = 3,
    Waited = 4,
    NoServer = 5,
    Cancelled = 130,
    Terminated = 143,
}

pub(crate) fn main(args: &Args, machine: &dyn Machine) -> ExitCode {
    status(run(args, machine))
}

/// The exit status of a command that may wait for a deployment.
pub(crate) fn status(ended: anyhow::Result<Ended>) -> ExitCode {
    match ended {
        Ok(ended) => ExitCode::from(ended as u8),
        Err(error) => {
            let ended = if error.downcast_ref().is_some_and(ClientError::is_lost) {
                Ended::NoServer
            } else if error.is::<WrongLine>() {
                Ended::WrongLine
            } else {
                Ended::Refused
            };
            failed(&in_order(error), ended as u8)
        }
    }
}

fn run(args: &Args, machine: &dyn Machine) -> anyhow::Result<Ended> {
    let spec = spec::spec(args)?;
    let source = match (&args.image, args.version) {
        (Some(image), _) => {
            let mut source = DeploySource::find(image)?;
            source.check(!args.dry_run)?;
            if args.archive_image.is_some() && matches!(source, DeploySource::Reference(_)) {
                let why = format!("--image names an image in an archive, and {image} is in a registry");
                return Err(WrongLine(why).into());
            }
            source
        }
        (None, Some(version)) => DeploySource::Uploaded(version),
        // The parser requires one of them.
        (None, None) => bail!("nothing to deploy"),
    };
    let server = find(machine)?;
    let stage = Stage::default();
    let work = deploy(&server, args, source, spec, &stage);
    match block_on(cancellable(work, || stage.outcome(&args.agent))) {
        Ok(done) => Ok(done.unwrap_or_else(|cancelled| cancelled)),
        Err(error) => Err(stage.explained(error, &args.agent)),
    }
}

/// Work that a signal may end. `outcome` says what has become of it then; the error is the exit status.
pub(crate) async fn cancellable<T>(
    work: impl Future<Output = anyhow::Result<T>>,
    outcome: impl Fn() -> String,
) -> anyhow::Result<Result<T, Ended>> {
    tokio::select! {
        done = work => done.map(Ok),
        signal = interrupted() => {
            note!("cofferdam: cancelled; {}", outcome());
            Ok(Err(match signal {
                Interrupt::Interrupted => Ended::Cancelled,
                Interrupt::Terminated => Ended::Terminated,
            }))
        }
    }
}

/// The progress of a deployment, for whoever cancels it.
#[derive(Default)]
struct Stage(Cell<Step>);

#[derive(Clone, Copy, Default)]
enum Step {
    #[default]
    Before,
    /// The image is on its way.
    Uploading,
    /// The request is on its way, for this version if it was uploaded.
    Asking(Option<u64>),
    /// This version was asked to run.
    Asked(u64),
}

impl Stage {
    fn outcome(&self, agent: &str) -> String {
        match self.0.get() {
            Step::Before | Step::Uploading => "nothing was deployed".to_owned(),
            Step::Asking(_) => format!("it may have been deployed: cofferdam agent show {agent}"),
            Step::Asked(_) => format!("the deployment continues: cofferdam agent show {agent}"),
        }
    }

    /// The error, with what has become of the deployment where the error does not say it.
    fn explained(&self, error: anyhow::Error, agent: &str) -> anyhow::Error {
        let lost = error.downcast_ref().is_some_and(ClientError::is_lost);
        let todo = match self.0.get() {
            _ if error.is::<Closed>() => return error,
            Step::Uploading if lost => "nothing was deployed; what runs has not changed".to_owned(),
            Step::Asking(None) if lost => self.outcome(agent),
            Step::Before | Step::Uploading | Step::Asking(None) => return error,
            Step::Asking(Some(version)) => {
                let state = if lost { "may not be" } else { "is not" };
                format!(
                    "version {version} is uploaded and {state} deployed: `cofferdam agent show {agent}` says it, and \
                     `cofferdam deploy --version {version} --agent {agent}` with the same settings deploys it"
                )
            }
            Step::Asked(version) => {
                format!("version {version} was deployed, and that continues: cofferdam agent show {agent}")
            }
        };
        advise(error, todo)
    }
}

async fn deploy(
    server: &Server,
    args: &Args,
    source: DeploySource,
    mut spec: Map<String, Value>,
    stage: &Stage,
) -> anyhow::Result<Ended> {
    if args.dry_run {
        return dry_run(server, args, source, spec).await;
    }
    if args.create {
        create(server, &args.agent, args.environment.as_deref()).await?;
    }
    let mut uploaded = None;
    match source {
        DeploySource::Reference(image) => {
            spec.insert("image".to_owned(), json!(image));
        }
        DeploySource::Uploaded(version) => {
            let found: Value = server.get(&path(&args.agent, version)).await?;
            spec.insert("deployment_id".to_owned(), found.get("id").cloned().unwrap_or_default());
        }
        source => {
            // The settings go along so that they are judged before anything is sent.
            let mut wanted = spec.clone();
            wanted.extend(args.archive_image.iter().map(|name| ("archive_image".to_owned(), json!(name))));
            let link: Link = ask(server, &args.agent, "upload", wanted).await?;
            let id = link.deployment_id.clone();
            uploaded = Some(link.version);
            stage.0.set(Step::Uploading);
            upload::upload(server, &args.agent, link, source).await?;
            spec.insert("deployment_id".to_owned(), json!(id));
        }
    }
    stage.0.set(Step::Asking(uploaded));
    let mut answer: Value = ask(server, &args.agent, "deploy", spec).await?;
    let deployment = Deployment::read(answer.get_mut("deployment").map(Value::take).unwrap_or_default())?;
    stage.0.set(Step::Asked(deployment.number));
    note!("{}: version {} is {}", args.agent, deployment.number, deployment.state);
    let Waits { wait, timeout, output } = &args.waits;
    let (ended, deployment) = if *wait {
        // From its upload on: all of it is this command's.
        let waiting = Wait { command: "deploy", goal: Goal::Up, timeout: *timeout, after: 0 };
        waiting.end(server, deployment).await?
    } else {
        (Ended::Done, deployment)
    };
    if output.json {
        print_json(&deployment.whole)?;
    }
    if ended == Ended::Done && *wait && !output.json {
        follow::first_lines(server, &deployment).await?;
    }
    Ok(ended)
}

/// Shows the Kubernetes objects that a deployment would make. Nothing is uploaded.
async fn dry_run(
    server: &Server,
    args: &Args,
    source: DeploySource,
    mut spec: Map<String, Value>,
) -> anyhow::Result<Ended> {
    if let DeploySource::Reference(image) = source {
        spec.insert("image".to_owned(), json!(image));
    } else {
        note!("nothing is uploaded: zeros stand for the image's digest");
    }
    spec.insert("dry_run".to_owned(), json!(true));
    let answer: Value = ask(server, &args.agent, "deploy", spec).await?;
    if args.waits.output.json {
        print_json(&answer)?;
        return Ok(Ended::Done);
    }
    // JSON is YAML, too: kubectl reads these documents.
    for manifest in answer.get("manifests").and_then(Value::as_array).into_iter().flatten() {
        say!("---")?;
        print_json(manifest)?;
    }
    Ok(Ended::Done)
}

/// One call of the deploy-agent post.
async fn ask<T: serde::de::DeserializeOwned>(
    server: &Server,
    agent: &str,
    action: &str,
    mut body: Map<String, Value>,
) -> anyhow::Result<T> {
    body.insert("agent_id".to_owned(), json!(agent));
    body.insert("action".to_owned(), json!(action));
    match server.send(Method::POST, "/api/deploy-agent", serde_json::to_vec(&body)?).await {
        Ok(answer) => read(&answer),
        Err(error) if error.is_not_found() && !exists(server, agent).await => {
            let hint = format!("create it with `cofferdam agent create {agent}`, or add --create");
            Err(advise(error.into(), hint))
        }
        Err(error) => Err(error.into()),
    }
}

/// Returns false only if the server says that there is no such agent: an image or a secret may be missing, too.
async fn exists(server: &Server, agent: &str) -> bool {
    let found = server.get::<Value>(&format!("/v1/agents/{}", segment(agent))).await;
    !found.is_err_and(|error| error.downcast_ref().is_some_and(ClientError::is_not_found))
}

/// Creates the agent if it does not exist.
async fn create(server: &Server, agent: &str, environment: Option<&str>) -> anyhow::Result<()> {
    let mut body = json!({ "id": agent });
    if let (Some(environment), Some(body)) = (environment, body.as_object_mut()) {
        body.insert("environment".to_owned(), json!(environment));
    }
    let request = with_json(server.request(Method::POST, "/v1/agents"), serde_json::to_vec(&body)?);
    let response = exchange(request).await?;
    match response.status() {
        StatusCode::CONFLICT => Ok(()),
        status if status.is_success() => {
            note!("{agent}: created");
            Ok(())
        }
        _ => Err(refusal(response).await.into()),
    }
}

/// A deployment's current state.
async fn look(server: &Server, agent: &str, number: u64) -> anyhow::Result<Deployment> {
    Deployment::read(server.get(&path(agent, number)).await?)
}

/// A deployment's path in the API.
fn path(agent: &str, number: u64) -> String {
    format!("/v1/agents/{}/deployments/{number}", segment(agent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_server_is_told_with_what_has_become_of_the_deployment() {
        let lost = || ClientError::Unreachable { host: "h".to_owned(), cause: "refused".to_owned(), refused: true };
        let told = |step: Step| {
            let stage = Stage::default();
            stage.0.set(step);
            let error = stage.explained(lost().into(), "a");
            assert!(error.downcast_ref().is_some_and(ClientError::is_lost), "the exit status stays 5");
            format!("{:#}", in_order(error))
        };
        for (step, after) in [
            (Step::Before, ""),
            (Step::Uploading, "nothing was deployed"),
            (Step::Asking(None), "it may have been deployed: cofferdam agent show a"),
            (Step::Asking(Some(4)), "version 4 is uploaded and may not be deployed"),
            (Step::Asking(Some(4)), "`cofferdam deploy --version 4 --agent a`"),
            (Step::Asked(4), "version 4 was deployed"),
        ] {
            let said = told(step);
            assert!(said.starts_with("reaching h: refused") && said.contains(after), "{said}");
        }
    }
}
