//! What `cofferdam deploy` does: sends the image, asks for its deployment, and tells how that goes.

mod follow;
mod layout;
mod source;
mod upload;
pub mod wire;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, bail};
use cofferdam_contract::Resources;
use http::{Method, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::{Map, Value, json};

use crate::commands::deploy::Args;
use crate::run::wire::{Server, refusal};
use crate::server::{block_on, find, segment};
pub use follow::plain;
use source::Source;
use wire::{Deployment, Link};

/// How it ended, as `cofferdam deploy --help` lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Done = 0,
    Refused = 1,
    NotUp = 3,
    Waited = 4,
    NoServer = 5,
}

pub fn main(args: &Args) -> ExitCode {
    let ended = run(args).unwrap_or_else(|error| {
        eprintln!("cofferdam: {error:#}");
        let lost = error.chain().any(|cause| cause.is::<std::io::Error>() || cause.is::<hyper::Error>());
        if lost { Ended::NoServer } else { Ended::Refused }
    });
    ExitCode::from(ended as u8)
}

fn run(args: &Args) -> anyhow::Result<Ended> {
    let spec = spec(args)?;
    let source = Source::find(&args.image)?;
    let server = find()?;
    block_on(deploy(&server, args, source, spec))
}

async fn deploy(server: &Server, args: &Args, source: Source, mut spec: Map<String, Value>) -> anyhow::Result<Ended> {
    if args.create {
        create(server, &args.agent, args.environment.as_deref()).await?;
    }
    match source {
        Source::Reference(image) => {
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
    eprintln!("{}: version {} is {}", args.agent, deployment.number, deployment.state);
    let (ended, deployment) = if args.wait {
        follow::wait(server, deployment, Instant::now() + args.timeout).await?
    } else {
        (Ended::Done, deployment)
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&deployment.whole)?);
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
    let answer = server.call(Method::POST, "/api/deploy-agent", serde_json::to_vec(&body)?).await;
    let answer = answer.map_err(|error| {
        if error.to_string().starts_with("Not found") {
            error.context(format!("make it with `cofferdam agent create {agent}`, or add --create"))
        } else {
            error
        }
    })?;
    serde_json::from_slice(&answer).context("the server's answer")
}

/// Makes the agent; one that is there already is fine.
async fn create(server: &Server, agent: &str, environment: Option<&str>) -> anyhow::Result<()> {
    let mut body = json!({ "id": agent });
    if let (Some(environment), Some(body)) = (environment, body.as_object_mut()) {
        body.insert("environment".to_owned(), json!(environment));
    }
    let body = Full::new(serde_json::to_vec(&body)?.into()).map_err(|never| match never {}).boxed();
    let mut headers = server.headers.clone();
    headers.push((http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json")));
    let response = server.address.exchange(Method::POST, "/v1/agents", &headers, body).await?;
    match response.status() {
        StatusCode::CONFLICT => Ok(()),
        status if status.is_success() => {
            eprintln!("{agent}: made");
            Ok(())
        }
        _ => Err(refusal(response).await),
    }
}

/// What the deployment is asked to be, beside its image.
fn spec(args: &Args) -> anyhow::Result<Map<String, Value>> {
    let mut env = Map::new();
    let mut variable = |text: &str, place: &str| {
        let Some((name, value)) = text.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            // The line may hold a secret: it is not repeated.
            bail!("{place}: say NAME=VALUE");
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
    // The server would say the same, but after the upload.
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

/// A deployment, as it is now.
pub async fn look(server: &Server, agent: &str, number: u64) -> anyhow::Result<Deployment> {
    let answer = server.call(Method::GET, &path(agent, number), Vec::new()).await?;
    Deployment::read(serde_json::from_slice(&answer).context("the server's answer")?)
}

/// A deployment's address.
fn path(agent: &str, number: u64) -> String {
    format!("/v1/agents/{}/deployments/{number}", segment(agent))
}
