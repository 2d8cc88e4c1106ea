//! Reads a request: which provider's path it is, what is asked, with which key.

use http::{HeaderMap, Method, Uri};
use serde_json::Value;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Provider {
    Openai,
    Anthropic,
    Azure,
    Bedrock,
    Google,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Door {
    Chat,
    Responses,
    Messages,
    Embeddings,
    CountTokens,
    Models,
    Model(String),
}

#[derive(Debug)]
pub(super) struct Asked {
    pub provider: Provider,
    pub door: Door,
    pub model: String,
    pub stream: bool,
    pub key: Option<String>,
    pub body: Value,
}

impl Asked {
    /// Reads it, or says which status and sentence a provider would answer.
    pub(super) fn read(
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Self, (u16, Provider, String)> {
        let path = below(uri.path());
        let (provider, door, named) =
            door(method, path, headers).ok_or((404, Provider::Openai, format!("Invalid URL ({method} {path})")))?;
        let fail = |status, text: &str| (status, provider, text.to_owned());
        let body = match door {
            Door::Models | Door::Model(_) => Value::Null,
            _ => serde_json::from_slice(body)
                .map_err(|_| fail(400, "We could not parse the JSON body of your request."))?,
        };
        if provider == Provider::Azure && path.contains("/deployments/") && !has(uri, "api-version") {
            return Err(fail(404, "Resource not found"));
        }
        if provider == Provider::Anthropic && !headers.contains_key("anthropic-version") {
            return Err(fail(400, "anthropic-version: header is required"));
        }
        let key = key(provider, headers);
        if key.is_none() {
            return Err(fail(401, "You did not provide an API key."));
        }
        if provider == Provider::Bedrock {
            // Clients send `bedrock-2023-05-31`; newer ones the version of Anthropic's own API.
            let version = body["anthropic_version"].is_string();
            if door == Door::Messages && !version {
                return Err(fail(400, "Malformed input request: anthropic_version is required"));
            }
            if !body["model"].is_null() || !body["stream"].is_null() {
                return Err(fail(400, "Malformed input request: extraneous key is not permitted, please reformat"));
            }
        }
        let stream = body["stream"] == true || path.ends_with("/invoke-with-response-stream");
        let model = named.or_else(|| body["model"].as_str().map(str::to_owned)).unwrap_or_default();
        if model.is_empty() && !matches!(door, Door::Models | Door::Model(_)) {
            return Err(fail(400, "you must provide a model parameter"));
        }
        Ok(Self { provider, door, model, stream, key, body })
    }
}

fn has(uri: &Uri, name: &str) -> bool {
    uri.query().is_some_and(|query| query.split('&').any(|pair| pair.split('=').next() == Some(name)))
}

fn key(provider: Provider, headers: &HeaderMap) -> Option<String> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let bearer = text("authorization").map(|value| value.strip_prefix("Bearer ").unwrap_or(&value).to_owned());
    match provider {
        Provider::Azure => text("api-key").or(bearer),
        Provider::Anthropic => text("x-api-key").or(bearer),
        Provider::Google => bearer.or_else(|| text("x-goog-api-key")),
        Provider::Openai | Provider::Bedrock => bearer,
    }
}

/// The path without `/as/NAME`, by which a test tells its upstreams apart.
fn below(path: &str) -> &str {
    let rest = path.strip_prefix("/as/").and_then(|rest| rest.split_once('/'));
    rest.map_or(path, |(name, _)| path.get("/as/".len() + name.len()..).unwrap_or(path))
}

/// The provider whose path this is, what is asked, and the model that the path names.
fn door(method: &Method, path: &str, headers: &HeaderMap) -> Option<(Provider, Door, Option<String>)> {
    if let Some(rest) = path.strip_prefix("/model/") {
        let (model, call) = rest.split_once('/')?;
        let door = match call {
            "invoke" | "invoke-with-response-stream" => Door::Messages,
            "count-tokens" => Door::CountTokens,
            _ => return None,
        };
        return (method == Method::POST).then(|| (Provider::Bedrock, door, Some(decoded(model))));
    }
    let (provider, rest) = if let Some(rest) = path.strip_prefix("/openai/") {
        (Provider::Azure, rest)
    } else if path.contains("/openapi/") || path.starts_with("/v1beta/openai/") {
        (Provider::Google, path)
    } else if path.contains("/messages") || (method == Method::GET && headers.contains_key("anthropic-version")) {
        (Provider::Anthropic, path)
    } else {
        (Provider::Openai, path)
    };
    let named = rest.strip_prefix("deployments/").and_then(|rest| rest.split('/').next()).map(decoded);
    if method == Method::GET {
        let (_, model) = path.split_once("/models")?;
        let door = if model.is_empty() { Door::Models } else { Door::Model(decoded(model.trim_start_matches('/'))) };
        return Some((provider, door, None));
    }
    let ends = [
        ("/chat/completions", Door::Chat),
        ("/responses", Door::Responses),
        ("/embeddings", Door::Embeddings),
        ("/messages", Door::Messages),
        ("/messages/count_tokens", Door::CountTokens),
    ];
    let (_, door) = ends.into_iter().find(|(end, _)| path.ends_with(end)).filter(|_| method == Method::POST)?;
    Some((provider, door, named))
}

fn decoded(part: &str) -> String {
    percent_encoding::percent_decode_str(part).decode_utf8_lossy().into_owned()
}
