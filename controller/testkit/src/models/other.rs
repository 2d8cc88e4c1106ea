//! Embeddings, lists of models, counts of tokens, and errors in each provider's words.

use base64::Engine;
use serde_json::{Value, json};

use super::ask::{Asked, Door, Provider};
use super::chat::CREATED;
use super::script::INPUT_TOKENS;

/// Models that the list has.
const MODELS: [&str; 3] = ["fake-small", "fake-large", "fake-embedding"];
const DIMENSIONS: u64 = 8;

pub(super) fn embeddings(asked: &Asked) -> Value {
    let input = &asked.body["input"];
    let count = match input {
        Value::Array(list) if !list.iter().all(Value::is_number) => list.len(),
        _ => 1,
    };
    let dimensions = asked.body["dimensions"].as_u64().unwrap_or(DIMENSIONS);
    let values = |at: usize| -> Vec<f32> { (0..dimensions).map(|n| (at as f32 + 1.0) / (n as f32 + 2.0)).collect() };
    let one = |at: usize| {
        let values = values(at);
        let embedding = if asked.body["encoding_format"] == "base64" {
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            json!(base64::engine::general_purpose::STANDARD.encode(bytes))
        } else {
            json!(values)
        };
        json!({"object": "embedding", "index": at, "embedding": embedding})
    };
    json!({
        "object": "list", "data": (0..count).map(one).collect::<Vec<_>>(), "model": asked.model,
        "usage": {"prompt_tokens": INPUT_TOKENS, "total_tokens": INPUT_TOKENS}
    })
}

pub(super) fn count_tokens(asked: &Asked) -> Value {
    match asked.provider {
        Provider::Bedrock => json!({"inputTokens": INPUT_TOKENS}),
        _ => json!({"input_tokens": INPUT_TOKENS}),
    }
}

pub(super) fn models(asked: &Asked) -> Option<Value> {
    let anthropic = asked.provider == Provider::Anthropic;
    let one = |id: &str| match anthropic {
        true => json!({"type": "model", "id": id, "display_name": id, "created_at": "2025-11-30T00:00:00Z"}),
        false => json!({"id": id, "object": "model", "created": CREATED, "owned_by": "fake"}),
    };
    if let Door::Model(id) = &asked.door {
        return MODELS.contains(&id.as_str()).then(|| one(id));
    }
    let data: Vec<Value> = MODELS.iter().map(|id| one(id)).collect();
    Some(match anthropic {
        true => json!({"data": data, "has_more": false, "first_id": MODELS[0], "last_id": MODELS[2]}),
        false => json!({"object": "list", "data": data}),
    })
}

/// An error as this provider writes it.
pub(super) fn error(provider: Provider, status: u16, message: &str) -> Value {
    let (openai, code, anthropic) = match status {
        400 => ("invalid_request_error", Value::Null, "invalid_request_error"),
        401 => ("invalid_request_error", json!("invalid_api_key"), "authentication_error"),
        404 => ("invalid_request_error", json!("model_not_found"), "not_found_error"),
        402 => ("insufficient_quota", json!("insufficient_quota"), "billing_error"),
        429 => ("requests", json!("rate_limit_exceeded"), "rate_limit_error"),
        503 | 529 => ("server_error", json!("server_overloaded"), "overloaded_error"),
        _ => ("server_error", Value::Null, "api_error"),
    };
    match provider {
        Provider::Anthropic => {
            json!({"type": "error", "error": {"type": anthropic, "message": message}, "request_id": "req_fake"})
        }
        Provider::Bedrock => json!({"message": message}),
        Provider::Google => json!([{"error": {"code": status, "message": message, "status": "UNAVAILABLE"}}]),
        Provider::Openai | Provider::Azure => {
            json!({"error": {"message": message, "type": openai, "param": null, "code": code}})
        }
    }
}
