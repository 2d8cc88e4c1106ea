//! OpenAI's chat completions, as its server writes them.

use bytes::Bytes;
use serde_json::{Value, json};

use super::ask::Asked;
use super::script::{CACHED_TOKENS, INPUT_TOKENS, Script, UsageQuirk};

/// The second of every answer, so that the same request gets the same bytes.
pub(super) const CREATED: u64 = 1_764_500_000;

fn usage(script: &Script) -> Value {
    if script.usage == UsageQuirk::Null {
        return Value::Null;
    }
    json!({
        "prompt_tokens": INPUT_TOKENS,
        "completion_tokens": script.output,
        "total_tokens": INPUT_TOKENS + script.output,
        "prompt_tokens_details": {"cached_tokens": CACHED_TOKENS, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": script.reasoning, "audio_tokens": 0,
            "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0
        }
    })
}

fn finish(script: &Script) -> &'static str {
    if script.calls.is_empty() { "stop" } else { "tool_calls" }
}

pub(super) fn whole(script: &Script) -> Value {
    let mut message = json!({"role": "assistant", "content": script.text(), "refusal": null, "annotations": []});
    if !script.calls.is_empty() {
        message["content"] = Value::Null;
        let call = |call: &super::script::Call| {
            let mut call = json!({
                "id": format!("call_{}", call.id), "type": "function",
                "function": {"name": call.name, "arguments": call.arguments()}
            });
            if script.zero {
                call["index"] = json!(0);
            }
            call
        };
        message["tool_calls"] = script.calls.iter().map(call).collect();
    }
    let mut answer = json!({
        "id": format!("chatcmpl-{}", script.id), "object": "chat.completion", "created": CREATED, "model": script.model,
        "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": finish(script)}],
        "usage": usage(script), "service_tier": "default", "system_fingerprint": "fp_fake"
    });
    if script.usage == UsageQuirk::Null {
        answer["usage"] = Value::Null;
    }
    answer
}

pub(super) fn events(script: &Script, asked: &Asked) -> Vec<Bytes> {
    let wants_usage = asked.body["stream_options"]["include_usage"] == true;
    let mut out = Vec::with_capacity(script.words.len() + 8);
    let mut push = |choices: Value, usage: Option<Value>| {
        let mut chunk = json!({
            "id": format!("chatcmpl-{}", script.id), "object": "chat.completion.chunk", "created": CREATED,
            "model": script.model, "service_tier": "default", "system_fingerprint": "fp_fake", "choices": choices
        });
        if wants_usage || usage.is_some() {
            chunk["usage"] = usage.unwrap_or_default();
        }
        out.push(Bytes::from(format!("data: {chunk}\n\n")));
    };
    let delta =
        |delta: Value, finish: Value| json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}]);
    push(delta(json!({"role": "assistant", "content": "", "refusal": null}), Value::Null), None);
    for word in &script.words {
        push(delta(json!({"content": word}), Value::Null), None);
    }
    for (at, call) in script.calls.iter().enumerate() {
        let index = if script.zero { 0 } else { at };
        let first = json!({"index": index, "id": format!("call_{}", call.id), "type": "function",
            "function": {"name": call.name, "arguments": ""}});
        push(delta(json!({"tool_calls": [first]}), Value::Null), None);
        for piece in &call.pieces {
            push(delta(json!({"tool_calls": [{"index": index, "function": {"arguments": piece}}]}), Value::Null), None);
        }
    }
    push(delta(json!({}), json!(finish(script))), None);
    if wants_usage {
        if script.usage == UsageQuirk::Twice {
            let mut less = usage(script);
            less["completion_tokens"] = json!(1);
            less["total_tokens"] = json!(INPUT_TOKENS + 1);
            push(json!([]), Some(less));
        }
        push(json!([]), Some(usage(script)));
    }
    out.push(Bytes::from_static(b"data: [DONE]\n\n"));
    out
}
