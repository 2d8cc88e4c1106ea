//! Deploying: the component's file and what it asks for as one form, or a reference to a registry as JSON.

use anyhow::{Context, bail};
use cofferdam_contract::grants::{FilesGrant, Grants, HttpGrant, KeyValueGrant, LlmGrant, SecretGrant};
use cofferdam_contract::tool::MAX_COMPONENT_BYTES;
use http::Method;
use serde_json::json;

use super::{path, print};
use crate::commands::tool::Deploy;
use crate::run::wire::Server;

pub async fn deploy(server: &Server, args: &Deploy) -> anyhow::Result<()> {
    let policy = match &args.policy {
        Some(path) => Some(std::fs::read_to_string(path).with_context(|| path.display().to_string())?),
        None => None,
    };
    let grants = grants(args)?;
    let (kind, body) = if args.component.starts_with("oci://") {
        let body = match policy {
            Some(policy) => json!({ "oci": args.component, "policy": policy }),
            None => json!({ "oci": args.component, "grants": grants }),
        };
        ("application/json".to_owned(), serde_json::to_vec(&body)?)
    } else {
        form(&component(&args.component)?, policy.as_deref(), &grants)?
    };
    let answer = server.call_as(Method::PUT, &path(&args.name), &kind, body).await?;
    print(&answer, args.output.json)
}

fn component(file: &str) -> anyhow::Result<Vec<u8>> {
    let size = std::fs::metadata(file).with_context(|| file.to_owned())?.len();
    if size > MAX_COMPONENT_BYTES as u64 {
        bail!("{file} has {size} bytes; a component may have at most {MAX_COMPONENT_BYTES}");
    }
    std::fs::read(file).with_context(|| file.to_owned())
}

fn grants(args: &Deploy) -> anyhow::Result<Grants> {
    let pair = |text: &String| {
        let (name, value) = text.split_once('=').with_context(|| format!("--env {text}: say NAME=VALUE"))?;
        Ok((name.to_owned(), value.to_owned()))
    };
    let secret = |text: &String| match text.split_once('=') {
        Some((variable, name)) => SecretGrant { name: name.to_owned(), env: Some(variable.to_owned()) },
        None => SecretGrant { name: text.clone(), env: None },
    };
    Ok(Grants {
        http: args.allow_http.iter().map(|host| HttpGrant { host: host.clone(), ..HttpGrant::default() }).collect(),
        secrets: args.secret.iter().map(secret).collect(),
        tools: args.tools.clone(),
        keyvalue: args.keyvalue.then(KeyValueGrant::default),
        files: args.files.then(FilesGrant::default),
        llm: (!args.allow_models.is_empty()).then(|| LlmGrant::of(args.allow_models.clone())),
        config: args.variables.iter().map(pair).collect::<anyhow::Result<_>>()?,
    })
}

/// A form and its media type.
fn form(component: &[u8], policy: Option<&str>, grants: &Grants) -> anyhow::Result<(String, Vec<u8>)> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits).map_err(|e| anyhow::anyhow!("no random bytes: {e}"))?;
    let boundary = format!("cofferdam-{:032x}", u128::from_le_bytes(bits));
    let mut body = Vec::with_capacity(component.len() + 4_096);
    let mut part = |name: &str, kind: &str, bytes: &[u8]| {
        let head =
            format!("--{boundary}\r\ncontent-disposition: form-data; name=\"{name}\"\r\ncontent-type: {kind}\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    };
    match policy {
        Some(policy) => part("policy", "application/yaml", policy.as_bytes()),
        None => part("grants", "application/json", &serde_json::to_vec(grants)?),
    }
    part("component", "application/wasm", component);
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    Ok((format!("multipart/form-data; boundary={boundary}"), body))
}
