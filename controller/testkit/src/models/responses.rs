//! OpenAI's responses, as its server writes them.

use bytes::Bytes;
use serde_json::{Value, json};

use super::ask::Asked;
use super::chat::CREATED;
use super::script::{CACHED_TOKENS, INPUT_TOKENS, Script, UsageQuirk};

fn usage(script: &Script) -> Value {
    if script.usage == UsageQuirk::Null {
        return Value::Null;
    }
    json!({
        "input_tokens": INPUT_TOKENS, "input_tokens_details": {"cached_tokens": CACHED_TOKENS},
        "output_tokens": script.output, "output_tokens_details": {"reasoning_tokens": script.reasoning},
        "total_tokens": INPUT_TOKENS + script.output
    })
}

fn or(value: &Value, default: Value) -> Value {
    if value.is_null() { default } else { value.clone() }
}

/// The response without what it says: the request's settings as the server repeats them.
fn frame(script: &Script, asked: &Asked, status: &str, output: Value, usage: Value) -> Value {
    let body = &asked.body;
    let tool = |tool: &Value| {
        let mut tool = tool.clone();
        for (key, default) in [("description", Value::Null), ("parameters", Value::Null), ("strict", json!(true))] {
            tool[key] = or(&tool[key], default);
        }
        tool
    };
    let reasoning = json!({"effort": body["reasoning"]["effort"], "summary": body["reasoning"]["summary"]});
    let mut text = or(&body["text"], json!({}));
    text["format"] = or(&text["format"], json!({"type": "text"}));
    text["verbosity"] = or(&text["verbosity"], json!("medium"));
    json!({
        "id": format!("resp_{}", script.id), "object": "response", "created_at": CREATED, "status": status,
        "completed_at": if status == "completed" { json!(CREATED) } else { Value::Null },
        "background": false, "error": null, "incomplete_details": null, "instructions": body["instructions"],
        "max_output_tokens": body["max_output_tokens"], "max_tool_calls": null, "model": script.model, "output": output,
        "parallel_tool_calls": or(&body["parallel_tool_calls"], json!(true)), "previous_response_id": null,
        "prompt_cache_key": body["prompt_cache_key"], "reasoning": reasoning,
        "safety_identifier": body["safety_identifier"], "service_tier": "default",
        "store": or(&body["store"], json!(true)), "temperature": or(&body["temperature"], json!(1.0)), "text": text,
        "tool_choice": or(&body["tool_choice"], json!("auto")),
        "tools": body["tools"].as_array().into_iter().flatten().map(tool).collect::<Vec<_>>(),
        "top_logprobs": 0, "top_p": or(&body["top_p"], json!(1.0)), "truncation": "disabled", "usage": usage,
        "user": null, "metadata": or(&body["metadata"], json!({})), "presence_penalty": 0.0, "frequency_penalty": 0.0
    })
}

fn reasoning(script: &Script, thinking: &str) -> Value {
    json!({
        "id": format!("rs_{}", script.id), "type": "reasoning", "summary": [{"type": "summary_text", "text": thinking}],
        "encrypted_content": Script::proof(thinking)
    })
}

fn part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

fn message(script: &Script) -> Value {
    json!({"id": format!("msg_{}", script.id), "type": "message", "status": "completed", "role": "assistant",
        "content": [part(&script.text())]})
}

fn call(call: &super::script::Call, arguments: &str, status: &str) -> Value {
    json!({"id": format!("fc_{}", call.id), "type": "function_call", "status": status,
        "call_id": format!("call_{}", call.id), "name": call.name, "arguments": arguments})
}

fn output(script: &Script) -> Value {
    let mut items = Vec::new();
    items.extend(script.thinking.as_deref().map(|thinking| reasoning(script, thinking)));
    if !script.words.is_empty() {
        items.push(message(script));
    }
    items.extend(script.calls.iter().map(|one| call(one, &one.arguments(), "completed")));
    Value::Array(items)
}

pub(super) fn whole(script: &Script, asked: &Asked) -> Value {
    frame(script, asked, "completed", output(script), usage(script))
}

/// Events that are numbered as they are written.
#[derive(Default)]
struct Events(Vec<Bytes>);

impl Events {
    fn push(&mut self, name: &str, mut data: Value) {
        data["type"] = json!(name);
        data["sequence_number"] = json!(self.0.len());
        self.0.push(Bytes::from(format!("event: {name}\ndata: {data}\n\n")));
    }
}

pub(super) fn events(script: &Script, asked: &Asked) -> Vec<Bytes> {
    let mut out = Events::default();
    let early = if script.usage == UsageQuirk::Twice {
        let mut less = usage(script);
        less["output_tokens"] = json!(1);
        less["total_tokens"] = json!(INPUT_TOKENS + 1);
        less
    } else {
        Value::Null
    };
    let begun = frame(script, asked, "in_progress", json!([]), early);
    out.push("response.created", json!({"response": begun}));
    out.push("response.in_progress", json!({"response": begun}));
    let mut at = 0;
    if let Some(thinking) = &script.thinking {
        let id = format!("rs_{}", script.id);
        let summary = |text: &str| json!({"type": "summary_text", "text": text});
        let place = json!({"item_id": id, "output_index": at, "summary_index": 0});
        let with = |key: &str, value: Value| {
            let mut data = place.clone();
            data[key] = value;
            data
        };
        let item = json!({"id": id, "type": "reasoning", "summary": []});
        out.push("response.output_item.added", json!({"output_index": at, "item": item}));
        out.push("response.reasoning_summary_part.added", with("part", summary("")));
        out.push("response.reasoning_summary_text.delta", with("delta", json!(thinking)));
        out.push("response.reasoning_summary_text.done", with("text", json!(thinking)));
        out.push("response.reasoning_summary_part.done", with("part", summary(thinking)));
        out.push("response.output_item.done", json!({"output_index": at, "item": reasoning(script, thinking)}));
        at += 1;
    }
    if !script.words.is_empty() {
        text(&mut out, script, at);
        at += 1;
    }
    for one in &script.calls {
        let index = if script.zero { 0 } else { at };
        let place =
            |key: &str, value: &str| json!({"item_id": format!("fc_{}", one.id), "output_index": index, key: value});
        out.push("response.output_item.added", json!({"output_index": index, "item": call(one, "", "in_progress")}));
        for piece in &one.pieces {
            out.push("response.function_call_arguments.delta", place("delta", piece));
        }
        out.push("response.function_call_arguments.done", place("arguments", &one.arguments()));
        let item = call(one, &one.arguments(), "completed");
        out.push("response.output_item.done", json!({"output_index": index, "item": item}));
        at += 1;
    }
    out.push("response.completed", json!({"response": whole(script, asked)}));
    out.0
}

fn text(out: &mut Events, script: &Script, at: usize) {
    let id = format!("msg_{}", script.id);
    let item = json!({"id": id, "type": "message", "status": "in_progress", "role": "assistant", "content": []});
    out.push("response.output_item.added", json!({"output_index": at, "item": item}));
    let place = json!({"item_id": id, "output_index": at, "content_index": 0});
    let with = |pairs: &[(&str, Value)]| {
        let mut data = place.clone();
        pairs.iter().for_each(|(key, value)| data[*key] = value.clone());
        data
    };
    out.push("response.content_part.added", with(&[("part", part(""))]));
    for word in &script.words {
        out.push("response.output_text.delta", with(&[("delta", json!(word)), ("logprobs", json!([]))]));
    }
    let whole = script.text();
    out.push("response.output_text.done", with(&[("text", json!(whole)), ("logprobs", json!([]))]));
    out.push("response.content_part.done", with(&[("part", part(&whole))]));
    out.push("response.output_item.done", json!({"output_index": at, "item": message(script)}));
}
