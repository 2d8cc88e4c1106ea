//! One call of the model, through the AI gateway: streamed, counted, and its failures told apart by what helps. Never tries again by
//! itself, and never writes anything but the pieces of the answer.

use std::time::Duration;

use bytes::Bytes;
use cofferdam_contract::work::Why;
use cofferdam_dialects::sse::Reader;
use cofferdam_dialects::{Kind, Usage};
use cofferdam_models::{Call, Reply, Service, Who};
use cofferdam_store::Used;
use http::HeaderMap;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::chunks::Chunks;
use crate::retry::MAX_ASKED_WAIT;
use crate::said::{Failed, Said, failed};
use crate::types::RunContext;

/// The longest error document that is read.
const MAX_ERROR_BYTES: usize = 64 << 10;
/// The longest event of a stream.
const MAX_EVENT_BYTES: usize = 16 << 20;

/// A call that gave no answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ModelError {
    /// It may help to try again, not before that time.
    Again { why: String, after: Option<Duration> },
    /// It will not help.
    Final { why: Why, detail: String },
    /// The thread does not fit into the model's window.
    Context(String),
    /// The task is asked to end, or its time is over.
    Cancelled,
}

/// An answer, and what it has cost.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answered {
    pub said: Said,
    /// Upstream and model that answered.
    pub model: String,
    pub used: Used,
}

/// The model that a task asks for.
pub(crate) fn name(ctx: &RunContext) -> &str {
    ctx.agent.definition.model.as_deref().unwrap_or("default")
}

/// Calls the model, and shows its answer while it comes.
pub(crate) async fn stream(ctx: &RunContext, body: Vec<u8>, chunks: &mut Chunks) -> Result<Answered, ModelError> {
    let call = call(ctx, body);
    let reply = tokio::select! {
        reply = ctx.parts.models.call(call) => reply,
        () = ctx.cancel.cancelled() => return Err(ModelError::Cancelled),
        () = tokio::time::sleep_until(ctx.deadline) => return Err(ModelError::Cancelled),
    };
    if !reply.status().is_success() {
        return Err(refused(reply).await);
    }
    let model = header(&reply, "x-cofferdam-model");
    let streams = header(&reply, CONTENT_TYPE.as_str()).starts_with("text/event-stream");
    let mut said = Said::default();
    match streams {
        true => read(ctx, reply, &mut said, chunks).await?,
        false => read_whole(ctx, reply, &mut said, chunks).await?,
    }
    let used = used(ctx, &model, said.usage).await;
    Ok(Answered { said, model, used })
}

/// Asks the model something besides the thread, such as a summary. Counts for the task like every call.
pub(crate) async fn ask(
    ctx: &RunContext,
    system: &str,
    text: &str,
    max_tokens: u64,
) -> Result<(String, Used), ModelError> {
    let body = json!({
        "model": name(ctx),
        "messages": [{"role": "system", "content": system}, {"role": "user", "content": text}],
        "max_completion_tokens": max_tokens,
        "stream": true,
        "stream_options": {"include_usage": true},
    });
    let answered = stream(ctx, body.to_string().into_bytes(), &mut Chunks::nowhere()).await?;
    Ok((answered.said.text, answered.used))
}

fn call(ctx: &RunContext, body: Vec<u8>) -> Call {
    let who = Who {
        organization: ctx.task.organization.clone(),
        key: ctx.task.api_key.clone(),
        agent: Some(ctx.task.agent.to_string()),
        task: Some(ctx.task.id.to_string()),
    };
    Call { who, service: Service::Chat, headers: HeaderMap::new(), body: Bytes::from(body), narrow: Vec::new() }
}

fn header(reply: &Reply, name: &str) -> String {
    reply.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

async fn read(ctx: &RunContext, reply: Reply, said: &mut Said, chunks: &mut Chunks) -> Result<(), ModelError> {
    let mut body = reply.into_body();
    let mut reader = Reader::new(MAX_EVENT_BYTES);
    let mut shown = Vec::new();
    loop {
        let frame = tokio::select! {
            biased;
            () = ctx.cancel.cancelled() => return Err(ModelError::Cancelled),
            frame = body.frame() => frame,
            () = chunks.turn() => continue,
            () = tokio::time::sleep_until(ctx.deadline) => return Err(ModelError::Cancelled),
        };
        let Some(frame) = frame else { break };
        let Ok(frame) = frame else { return Err(again("The stream of the model broke off.")) };
        let Ok(piece) = frame.into_data() else { continue };
        let mut error = None;
        let read = reader.push(&piece, |event| {
            if error.is_none() {
                error = said.take(event.data, &mut shown).err();
            }
        });
        chunks.show(&mut shown);
        if let Some(error) = error {
            return Err(of_failed(error, None));
        }
        if read.is_err() {
            return Err(again("The stream of the model cannot be read."));
        }
        if said.done {
            break;
        }
    }
    match said.is_whole() {
        true => Ok(()),
        false => Err(again("The stream of the model ended before its answer.")),
    }
}

/// Reads an answer that comes whole although a stream was asked for.
async fn read_whole(ctx: &RunContext, reply: Reply, said: &mut Said, chunks: &mut Chunks) -> Result<(), ModelError> {
    let bytes = tokio::select! {
        bytes = collect(reply, MAX_EVENT_BYTES) => bytes,
        () = ctx.cancel.cancelled() => return Err(ModelError::Cancelled),
        () = tokio::time::sleep_until(ctx.deadline) => return Err(ModelError::Cancelled),
    };
    let mut shown = Vec::new();
    let taken = said.take(&String::from_utf8_lossy(&bytes), &mut shown);
    chunks.show(&mut shown);
    taken.map_err(|error| of_failed(error, None))?;
    match said.is_whole() {
        true => Ok(()),
        false => Err(again("The model's answer cannot be read.")),
    }
}

async fn collect(reply: Reply, most: usize) -> Vec<u8> {
    let mut body = reply.into_body();
    let mut bytes = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(piece) = frame.into_data() else { continue };
        if bytes.len() + piece.len() > most {
            break;
        }
        bytes.extend_from_slice(&piece);
    }
    bytes
}

fn again(why: &str) -> ModelError {
    ModelError::Again { why: why.to_owned(), after: None }
}

/// Reads a refusal.
async fn refused(reply: Reply) -> ModelError {
    let status = reply.status().as_u16();
    let after = header(&reply, RETRY_AFTER.as_str()).parse().ok().map(Duration::from_secs);
    let body: Value = serde_json::from_slice(&collect(reply, MAX_ERROR_BYTES).await).unwrap_or_default();
    let mut told = failed(body.get("error").unwrap_or(&body));
    // The status is surer than a word that nobody knows.
    if told.kind == Kind::Api {
        told.kind = Kind::of_status(status);
    }
    of_failed(told, after)
}

fn of_failed(failed: Failed, after: Option<Duration>) -> ModelError {
    let Failed { kind, message } = failed;
    let is_final = |why| ModelError::Final { why, detail: message.clone() };
    match kind {
        Kind::Context => ModelError::Context(message),
        Kind::RateLimit | Kind::Overloaded | Kind::Timeout | Kind::Api => match after {
            Some(after) if after > MAX_ASKED_WAIT => is_final(Why::ModelFailed),
            after => ModelError::Again { why: message, after },
        },
        // A budget of a minute has room again soon.
        Kind::Quota => match after.filter(|after| *after <= Duration::from_secs(60)) {
            Some(after) => ModelError::Again { why: message, after: Some(after) },
            None => is_final(Why::ModelForbidden),
        },
        Kind::Permission => is_final(Why::ModelForbidden),
        Kind::NotFound => is_final(Why::NoModel),
        Kind::Invalid | Kind::Authentication | Kind::TooLarge => is_final(Why::ModelFailed),
    }
}

/// The use of an answer, as the task counts it. Its price is that of the gateway.
async fn used(ctx: &RunContext, model: &str, usage: Option<Usage>) -> Used {
    let usage = usage.unwrap_or_default();
    let price = async {
        let (upstream, model) = model.split_once('/')?;
        let catalogue = ctx.parts.models.settings().of(&ctx.task.organization).await.ok()?;
        catalogue.prices.cost(upstream, model, &usage)
    };
    Used {
        steps: 1,
        prompt_tokens: usage.input,
        completion_tokens: usage.output,
        cache_read_tokens: usage.cached,
        cache_write_tokens: usage.cache_write,
        cost: price.await.unwrap_or_default(),
        worked_ms: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_apart_by_what_helps() {
        let of = |kind, after: Option<u64>| {
            of_failed(Failed { kind, message: String::new() }, after.map(Duration::from_secs))
        };
        for kind in [Kind::RateLimit, Kind::Overloaded, Kind::Timeout, Kind::Api] {
            assert!(matches!(of(kind, Some(3)), ModelError::Again { after: Some(_), .. }), "{kind:?}");
            assert!(matches!(of(kind, Some(86_400)), ModelError::Final { why: Why::ModelFailed, .. }), "{kind:?}");
        }
        assert!(matches!(of(Kind::Quota, Some(20)), ModelError::Again { .. }));
        assert!(matches!(of(Kind::Quota, None), ModelError::Final { why: Why::ModelForbidden, .. }));
        assert!(matches!(of(Kind::NotFound, None), ModelError::Final { why: Why::NoModel, .. }));
        assert!(matches!(of(Kind::Context, None), ModelError::Context(_)));
        assert!(matches!(of(Kind::Authentication, None), ModelError::Final { why: Why::ModelFailed, .. }));
    }
}
