//! Decides what the model says: calls of the tools that it was given, then a text that repeats their results; JSON of the
//! schema that was asked for; thinking if the request asks for it. The same request gets the same answer.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::ask::{Asked, Door};
use super::trouble::Trouble;

/// Tokens of every request, cached ones among them.
pub const INPUT_TOKENS: u64 = 100;
/// Those of them that come from the provider's cache.
pub const CACHED_TOKENS: u64 = 40;
/// Tokens of an answer of usual length, without thinking.
pub const OUTPUT_TOKENS: u64 = 12;
/// Tokens of thinking, which come on top.
pub const REASONING_TOKENS: u64 = 5;
/// Stands for bytes that are no characters, until the answer is sent.
pub(super) const BAD_BYTES: &str = "@@BAD-BYTES@@";

pub(super) struct Call {
    pub id: String,
    pub name: String,
    /// The arguments in the pieces in which a stream brings them.
    pub pieces: Vec<String>,
}

impl Call {
    pub(super) fn arguments(&self) -> String {
        self.pieces.concat()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum UsageQuirk {
    None,
    Null,
    Twice,
}

pub(super) struct Script {
    pub id: u64,
    pub model: String,
    pub thinking: Option<String>,
    pub words: Vec<String>,
    pub calls: Vec<Call>,
    pub pause: Duration,
    pub output: u64,
    pub reasoning: u64,
    pub usage: UsageQuirk,
    /// Every call has the index 0.
    pub zero: bool,
}

/// A tool as any of the protocols names it, and its schema.
fn tools(body: &Value) -> Vec<(String, Value)> {
    let name = |tool: &Value| {
        let function = if tool["function"].is_object() { &tool["function"] } else { tool };
        let schema =
            ["parameters", "input_schema"].iter().find_map(|key| function.get(*key)).cloned().unwrap_or(json!({}));
        Some((function["name"].as_str()?.to_owned(), schema))
    };
    body["tools"].as_array().into_iter().flatten().filter_map(name).collect()
}

/// A value that the schema allows.
fn example(schema: &Value, name: &str) -> Value {
    if let Some(first) = schema["enum"].get(0) {
        return first.clone();
    }
    if let Some(constant) = schema.get("const") {
        return constant.clone();
    }
    if let Some(first) = schema["anyOf"].get(0) {
        return example(first, name);
    }
    let kind = schema["type"]
        .as_str()
        .or_else(|| schema["type"].get(0).and_then(Value::as_str))
        .unwrap_or_else(|| if schema["properties"].is_object() { "object" } else { "string" });
    match kind {
        "integer" => json!(7),
        "number" => json!(1.5),
        "boolean" => json!(true),
        "null" => Value::Null,
        "array" => json!([example(&schema["items"], name)]),
        "object" => {
            let properties = schema["properties"].as_object().cloned().unwrap_or_default();
            let wanted: Map<String, Value> =
                properties.iter().map(|(key, schema)| (key.clone(), example(schema, key))).collect();
            Value::Object(wanted)
        }
        _ => json!(if name.contains("city") { "Paris" } else { "text" }),
    }
}

/// The results of tools that end the conversation so far, as texts.
fn results(body: &Value) -> Vec<String> {
    let text = |content: &Value| match content {
        Value::String(text) => text.clone(),
        other => other.as_array().into_iter().flatten().filter_map(|part| part["text"].as_str()).collect(),
    };
    let mut found = Vec::new();
    let list = body["messages"].as_array().or_else(|| body["input"].as_array());
    for item in list.into_iter().flatten().rev() {
        if item["role"] == "tool" {
            found.push(text(&item["content"]));
        } else if item["type"] == "function_call_output" {
            found.push(text(&item["output"]));
        } else {
            let blocks = item["content"].as_array().filter(|_| item["role"] == "user");
            let mine = blocks.into_iter().flatten().filter(|block| block["type"] == "tool_result");
            let mine: Vec<String> = mine.map(|block| text(&block["content"])).collect();
            found.extend(mine.into_iter().rev());
            break;
        }
    }
    found.reverse();
    found
}

fn schema(body: &Value) -> Option<Value> {
    let formats = [
        &body["response_format"]["json_schema"]["schema"],
        &body["text"]["format"]["schema"],
        &body["output_config"]["format"]["schema"],
        &body["output_format"]["schema"],
    ];
    formats.into_iter().find(|schema| schema.is_object()).cloned()
}

fn thinks(body: &Value) -> bool {
    let effort = [&body["reasoning_effort"], &body["reasoning"]["effort"]];
    effort.iter().any(|effort| effort.as_str().is_some_and(|word| word != "none"))
        || matches!(body["thinking"]["type"].as_str(), Some("enabled" | "adaptive"))
}

fn chosen(body: &Value, mut tools: Vec<(String, Value)>) -> Vec<(String, Value)> {
    let choice = &body["tool_choice"];
    let word = choice.as_str().or_else(|| choice["type"].as_str()).unwrap_or("auto");
    if word == "none" {
        return Vec::new();
    }
    let named = choice["function"]["name"].as_str().or_else(|| choice["name"].as_str());
    if let Some(named) = named {
        tools.retain(|tool| tool.0 == named);
    }
    let single = body["parallel_tool_calls"] == false || choice["disable_parallel_tool_use"] == true;
    tools.truncate(if single { 1 } else { 2 });
    tools
}

/// Cuts a text into pieces of this many characters.
fn cut(text: &str, size: usize) -> Vec<String> {
    let characters: Vec<char> = text.chars().collect();
    characters.chunks(size).map(|piece| piece.iter().collect()).collect()
}

impl Script {
    pub(super) fn of(asked: &Asked, trouble: Option<&Trouble>, number: u64) -> Self {
        let body = &asked.body;
        let mut script = Self {
            id: number,
            model: asked.model.clone(),
            thinking: thinks(body).then(|| "The question is short.".to_owned()),
            words: ["Hel", "lo", " \u{f6}", " there", "."].map(str::to_owned).to_vec(),
            calls: Vec::new(),
            pause: Duration::ZERO,
            output: OUTPUT_TOKENS,
            reasoning: 0,
            usage: UsageQuirk::None,
            zero: false,
        };
        if script.thinking.is_some() {
            script.reasoning = REASONING_TOKENS;
            script.output += REASONING_TOKENS;
        }
        let results = results(body);
        if let Some(rest) = asked.model.strip_prefix("words.") {
            let mut numbers = rest.split('.').map(|word| word.parse::<u64>().unwrap());
            let count = numbers.next().unwrap();
            script.words = (0..count).map(|n| format!(" w{n}")).collect();
            script.output = count;
            script.pause = Duration::from_millis(numbers.next().unwrap_or_default());
        } else if !results.is_empty() {
            script.words = cut(&format!("The tools said: {}.", results.join(", ")), 6);
        } else if let Some(schema) = schema(body) {
            script.words = cut(&example(&schema, "").to_string(), 5);
        } else {
            let calls = chosen(body, tools(body));
            script.calls = calls.iter().enumerate().map(|(at, (name, schema))| script.call(at, name, schema)).collect();
            if !script.calls.is_empty() {
                script.words.truncate(if script.thinking.is_some() { 0 } else { 1 });
            }
        }
        if let Some(trouble) = trouble {
            script.spoil(trouble, asked);
        }
        script
    }

    fn call(&self, at: usize, name: &str, schema: &Value) -> Call {
        let arguments =
            example(&if schema["properties"].is_object() { schema.clone() } else { json!({"type": "object"}) }, "");
        let pieces = cut(&arguments.to_string(), 4);
        Call { id: format!("{}_{}", self.id, at), name: name.to_owned(), pieces }
    }

    fn spoil(&mut self, trouble: &Trouble, asked: &Asked) {
        match trouble {
            Trouble::Drip(pause) => self.pause = *pause,
            Trouble::InvalidUtf8 => self.words.insert(1, BAD_BYTES.to_owned()),
            Trouble::LongLine if !asked.stream => self.words.push("x".repeat(8 << 20)),
            Trouble::BrokenArguments | Trouble::TwoZero => {
                let schema = json!({"properties": {"city": {"type": "string"}}});
                self.words.clear();
                self.calls =
                    ["look", "now"].iter().enumerate().map(|(at, name)| self.call(at, name, &schema)).collect();
                self.zero = *trouble == Trouble::TwoZero;
                if *trouble == Trouble::BrokenArguments {
                    self.calls[0].pieces = ["{\"city\": ", "\"Par", "]]}, {", "\\"].map(str::to_owned).to_vec();
                }
            }
            Trouble::UsageNull => self.usage = UsageQuirk::Null,
            Trouble::UsageTwice => self.usage = UsageQuirk::Twice,
            Trouble::KeyInStream => {
                let key = asked.key.as_deref().unwrap_or_default();
                self.words.insert(1, format!(" your key is {key} and that was it"));
            }
            _ => {}
        }
    }

    pub(super) fn text(&self) -> String {
        self.words.concat()
    }

    /// The proof that the provider gives with its thinking, and takes back only with the same text.
    pub(super) fn proof(thinking: &str) -> String {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode(format!("proof of: {thinking}"))
    }

    /// Refuses a conversation whose thinking was changed, or is missing where it has to be.
    pub(super) fn refused(asked: &Asked) -> Option<String> {
        let body = &asked.body;
        if asked.door == Door::Responses {
            let items = body["input"].as_array().into_iter().flatten().filter(|item| item["type"] == "reasoning");
            let wrong = |item: &Value| {
                let text = item["summary"][0]["text"].as_str().unwrap_or_default();
                item["encrypted_content"].as_str() != Some(&Self::proof(text))
            };
            return items.into_iter().any(wrong).then(|| "The encrypted content could not be verified.".to_owned());
        }
        if asked.door != Door::Messages {
            return None;
        }
        let mut last = None;
        for (at, message) in body["messages"].as_array().into_iter().flatten().enumerate() {
            let blocks = message["content"].as_array().into_iter().flatten();
            for (place, block) in blocks.enumerate().filter(|(_, block)| block["type"] == "thinking") {
                let text = block["thinking"].as_str().unwrap_or_default();
                if block["signature"].as_str() != Some(&Self::proof(text)) {
                    return Some(format!("messages.{at}.content.{place}: Invalid `signature` in `thinking` block"));
                }
            }
            last = (message["role"] == "assistant").then_some((at, message)).or(last);
        }
        let (at, message) = last.filter(|_| body["thinking"]["type"] == "enabled" && !results(body).is_empty())?;
        let first = message["content"][0]["type"].as_str().unwrap_or("text");
        (!first.ends_with("thinking")).then(|| {
            format!("messages.{at}.content.0.type: Expected `thinking` or `redacted_thinking`, but found `{first}`.")
        })
    }
}
