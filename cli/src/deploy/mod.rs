//! `cofferdam deploy`: uploads an image, deploys it, and shows how it comes up.

pub(crate) mod args;
mod follow;
mod layout;
mod source;
mod upload;
mod wire;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, bail};
use cofferdam_contract::Resources;
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::Machine;
use crate::client::{ClientError, Server, block_on, exchange, find, json as with_json, read, refusal, segment};
use crate::terminal::{failed, json as print_json, note};
use args::Args;
use source::DeploySource;
use wire::{Deployment, Link};

/// The exit statuses, as `cofferdam deploy --help` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Done = 0,
    Refused = 1,
    NotUp = 3,
    Waited = 4,
    NoServer = 5,
}

pub(crate) fn main(args: &Args, machine: &dyn Machine) -> ExitCode {
    match run(args, machine) {
        Ok(ended) => ExitCode::from(ended as u8),
        Err(error) => {
            let lost = error.downcast_ref().is_some_and(ClientError::is_lost);
            failed(&error, if lost { Ended::NoServer } else { Ended::Refused } as u8)
        }
    }
}

fn run(args: &Args, machine: &dyn Machine) -> anyhow::Result<Ended> {
    let spec = spec(args)?;
    let source = DeploySource::find(&args.image)?;
    let server = find(machine)?;
    block_on(deploy(&server, args, source, spec))
}

async fn deploy(
    server: &Server,
    args: &Args,
    source: DeploySource,
    mut spec: Map<String, Value>,
) -> anyhow::Result<Ended> {
    if args.create {
        create(server, &args.agent, args.environment.as_deref()).await?;
    }
    match source {
        DeploySource::Reference(image) => {
            spec.insert("image".to_owned(), json!(image));
        }
        source => {
            let link: Link = ask(server, &args.agent, "upload", Map::new()).await?;
            let id = link.deployment_id.clone();
            upload::upload(server, &args.agent, link, source).await?;
            spec.insert("deployment_id".to_owned(), json!(id));
        }
    }
    let mut answer: Value = ask(server, &args.agent, "deploy", spec).await?;
    let deployment = Deployment::read(answer.get_mut("deployment").map(Value::take).unwrap_or_default())?;
    note!("{}: version {} is {}", args.agent, deployment.number, deployment.state);
    let (ended, deployment) = if args.wait {
        follow::wait(server, deployment, Instant::now() + args.timeout).await?
    } else {
        (Ended::Done, deployment)
    };
    if args.json {
        print_json(&deployment.whole)?;
    }
    if ended == Ended::Done && args.wait && !args.json {
        follow::first_lines(server, &deployment).await;
    }
    Ok(ended)
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
        Err(error) if error.is_not_found() => {
            let hint = format!("create it with `cofferdam agent create {agent}`, or add --create");
            Err(anyhow::Error::new(error).context(hint))
        }
        Err(error) => Err(error.into()),
    }
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

/// The deployment's settings, without its image.
fn spec(args: &Args) -> anyhow::Result<Map<String, Value>> {
    let mut env = Map::new();
    let mut variable = |text: &str, place: &str| {
        let Some((name, value)) = text.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            // The line may hold a secret, so it is not repeated.
            bail!("{place}: expected NAME=VALUE");
        };
        env.insert(name.trim().to_owned(), json!(value));
        Ok(())
    };
    if let Some(file) = &args.env_file {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                variable(line, &format!("{}, line {}", file.display(), number + 1))?;
            }
        }
    }
    for text in &args.variables {
        variable(text, "--env")?;
    }
    let resources = Resources { cpu: args.cpu.clone(), memory: args.memory.clone(), ..Resources::default() };
    // The server checks the same, but after the upload.
    resources.check().map_err(anyhow::Error::msg)?;
    let mut spec = Map::new();
    if !env.is_empty() {
        spec.insert("env".to_owned(), Value::Object(env));
    }
    if resources != Resources::default() {
        spec.insert("resources".to_owned(), json!(resources));
    }
    if !args.secrets.is_empty() {
        spec.insert("secrets".to_owned(), json!(args.secrets));
    }
    Ok(spec)
}

/// A deployment's current state.
async fn look(server: &Server, agent: &str, number: u64) -> anyhow::Result<Deployment> {
    Deployment::read(server.get(&path(agent, number)).await?)
}

/// A deployment's path in the API.
fn path(agent: &str, number: u64) -> String {
    format!("/v1/agents/{}/deployments/{number}", segment(agent))
}
