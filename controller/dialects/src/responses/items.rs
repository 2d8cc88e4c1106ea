//! Writes the items of a response's output, for whole answers, for streams and for the history of a request.

use crate::json::Object;
use crate::request::{Body, Seal};

pub(crate) fn message(o: &mut Object<'_>, id: &str, status: &str, content: impl FnOnce(&mut crate::json::List<'_>)) {
    o.string("type", "message");
    o.string("id", id);
    o.string("status", status);
    o.string("role", "assistant");
    o.list("content", content);
}

pub(crate) fn content_part(o: &mut Object<'_>, body: &Body) {
    match body {
        Body::Text(text) => output_text(o, text),
        Body::Refusal(text) => refusal(o, text),
        _ => {}
    }
}

pub(crate) fn output_text(o: &mut Object<'_>, text: &str) {
    o.string("type", "output_text");
    o.string("text", text);
    o.literal("annotations", "[]");
    o.literal("logprobs", "[]");
}

pub(crate) fn refusal(o: &mut Object<'_>, text: &str) {
    o.string("type", "refusal");
    o.string("refusal", text);
}

pub(crate) fn function_call(o: &mut Object<'_>, id: &str, status: &str, call_id: &str, name: &str, arguments: &str) {
    o.string("type", "function_call");
    o.string("id", id);
    o.string("call_id", call_id);
    o.string("name", name);
    o.string("arguments", arguments);
    o.string("status", status);
}

pub(crate) fn custom_call(o: &mut Object<'_>, id: &str, status: &str, call_id: &str, name: &str, input: &str) {
    o.string("type", "custom_tool_call");
    o.string("id", id);
    o.string("call_id", call_id);
    o.string("name", name);
    o.string("input", input);
    o.string("status", status);
}

pub(crate) fn reasoning(o: &mut Object<'_>, id: &str, text: &str, seal: &Seal) {
    o.string("type", "reasoning");
    o.string("id", id);
    o.list("summary", |list| {
        if !text.is_empty() {
            list.object(|o| summary(o, text));
        }
    });
    if let Some(encrypted) = seal.encrypted() {
        o.string("encrypted_content", &encrypted);
    }
}

pub(crate) fn summary(o: &mut Object<'_>, text: &str) {
    o.string("type", "summary_text");
    o.string("text", text);
}
