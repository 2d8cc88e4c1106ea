//! Anthropic's messages, as its server writes them.

use bytes::Bytes;
use serde_json::{Value, json};

use super::script::{CACHED_TOKENS, INPUT_TOKENS, Script, UsageQuirk};

fn usage(script: &Script, output: u64) -> Value {
    if script.usage == UsageQuirk::Null {
        return Value::Null;
    }
    json!({
        "input_tokens": INPUT_TOKENS - CACHED_TOKENS,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": CACHED_TOKENS,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": output,
        "service_tier": "standard"
    })
}

fn reason(script: &Script) -> &'static str {
    if script.calls.is_empty() { "end_turn" } else { "tool_use" }
}

pub(super) fn whole(script: &Script) -> Value {
    let mut content = Vec::new();
    if let Some(thinking) = &script.thinking {
        content.push(json!({"type": "thinking", "thinking": thinking, "signature": Script::proof(thinking)}));
    }
    if !script.words.is_empty() {
        content.push(json!({"type": "text", "text": script.text()}));
    }
    for call in &script.calls {
        let input = serde_json::from_str::<Value>(&call.arguments()).unwrap_or_else(|_| json!(call.arguments()));
        content
            .push(json!({"type": "tool_use", "id": format!("toolu_{}", call.id), "name": call.name, "input": input}));
    }
    json!({
        "id": format!("msg_{}", script.id), "type": "message", "role": "assistant", "model": script.model,
        "content": content, "stop_reason": reason(script), "stop_sequence": null, "usage": usage(script, script.output)
    })
}

fn event(name: &str, mut data: Value) -> Bytes {
    data["type"] = json!(name);
    Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
}

pub(super) fn events(script: &Script) -> Vec<Bytes> {
    let mut out = Vec::with_capacity(script.words.len() + 16);
    let message = json!({
        "id": format!("msg_{}", script.id), "type": "message", "role": "assistant", "model": script.model, "content": [],
        "stop_reason": null, "stop_sequence": null, "usage": usage(script, 1)
    });
    out.push(event("message_start", json!({"message": message})));
    let mut at = 0;
    let mut block = |start: Value, deltas: Vec<Value>| {
        let index = if script.zero { 0 } else { at };
        out.push(event("content_block_start", json!({"index": index, "content_block": start})));
        if at == 0 {
            out.push(Bytes::from_static(b"event: ping\ndata: {\"type\": \"ping\"}\n\n"));
        }
        out.extend(
            deltas.into_iter().map(|delta| event("content_block_delta", json!({"index": index, "delta": delta}))),
        );
        out.push(event("content_block_stop", json!({"index": index})));
        at += 1;
    };
    if let Some(thinking) = &script.thinking {
        let deltas = vec![
            json!({"type": "thinking_delta", "thinking": thinking}),
            json!({"type": "signature_delta", "signature": Script::proof(thinking)}),
        ];
        block(json!({"type": "thinking", "thinking": "", "signature": ""}), deltas);
    }
    if !script.words.is_empty() {
        let deltas = script.words.iter().map(|word| json!({"type": "text_delta", "text": word})).collect();
        block(json!({"type": "text", "text": ""}), deltas);
    }
    for call in &script.calls {
        let pieces = std::iter::once("").chain(call.pieces.iter().map(String::as_str));
        let deltas = pieces.map(|piece| json!({"type": "input_json_delta", "partial_json": piece})).collect();
        block(json!({"type": "tool_use", "id": format!("toolu_{}", call.id), "name": call.name, "input": {}}), deltas);
    }
    let end = |output: u64| json!({"delta": {"stop_reason": reason(script), "stop_sequence": null}, "usage": usage(script, output)});
    if script.usage == UsageQuirk::Twice {
        out.push(event("message_delta", end(script.output - 1)));
    }
    out.push(event("message_delta", end(script.output)));
    out.push(event("message_stop", json!({})));
    out
}
