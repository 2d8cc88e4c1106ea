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
use crate::args::Waits;
use crate::client::{ClientError, Server, block_on, exchange, find, json as with_json, read, refusal, segment};
use crate::interrupt::{Interrupt, interrupted};
use crate::terminal::{failed, json as print_json, note, say};
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
            let lost = error.downcast_ref().is_some_and(ClientError::is_lost);
            failed(&error, if lost { Ended::NoServer } else { Ended::Refused } as u8)
        }
    }
}

fn run(args: &Args, machine: &dyn Machine) -> anyhow::Result<Ended> {
    let spec = spec::spec(args)?;
    let mut source = DeploySource::find(&args.image)?;
    source.check(!args.dry_run)?;
    if args.archive_image.is_some() && matches!(source, DeploySource::Reference(_)) {
        bail!("--image names an image in an archive, and {} is in a registry", args.image);
    }
    let server = find(machine)?;
    let stage = Stage::default();
    let work = deploy(&server, args, source, spec, &stage);
    let done = block_on(cancellable(work, || stage.outcome(&args.agent)))?;
    Ok(done.unwrap_or_else(|cancelled| cancelled))
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
    /// The request is on its way.
    Asking,
    Asked,
}

impl Stage {
    fn outcome(&self, agent: &str) -> String {
        match self.0.get() {
            Step::Before => "nothing was deployed".to_owned(),
            Step::Asking => format!("it may have been deployed: cofferdam agent show {agent}"),
            Step::Asked => format!("the deployment continues: cofferdam agent show {agent}"),
        }
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
    match source {
        DeploySource::Reference(image) => {
            spec.insert("image".to_owned(), json!(image));
        }
        source => {
            // The settings go along so that they are judged before anything is sent.
            let mut wanted = spec.clone();
            wanted.extend(args.archive_image.iter().map(|name| ("archive_image".to_owned(), json!(name))));
            let link: Link = ask(server, &args.agent, "upload", wanted).await?;
            let id = link.deployment_id.clone();
            upload::upload(server, &args.agent, link, source).await?;
            spec.insert("deployment_id".to_owned(), json!(id));
        }
    }
    stage.0.set(Step::Asking);
    let mut answer: Value = ask(server, &args.agent, "deploy", spec).await?;
    stage.0.set(Step::Asked);
    let deployment = Deployment::read(answer.get_mut("deployment").map(Value::take).unwrap_or_default())?;
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
            Err(anyhow::Error::new(error).context(hint))
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
