//! Changes the model's name in a request's body, asks for usage, and cuts out thinking that is not for this upstream, byte for
//! byte otherwise: order, white space, forms of numbers and unknown fields stay. Finds the fields by their places; never writes
//! JSON anew.

use serde_json::value::RawValue;

use crate::dialect::Dialect;
use crate::error::Refused;
use crate::fields::{Fields, is_string, text_at};
use crate::foreign::{self, Place, Takes, place};
use crate::json;

/// Changes to a body.
#[derive(Clone, Copy, Debug)]
pub struct Edit<'a> {
    /// The model's name.
    pub model: &'a str,
    /// A stream of Chat is asked for usage, if the caller did not ask.
    pub ask_usage: bool,
    /// The most tokens of the answer: a higher limit becomes this, and where there is none it is written.
    pub max_tokens: Option<u64>,
    /// Chat: the limit is written as `max_tokens`, as older compatible servers need it.
    pub old_max_tokens: bool,
    /// Thinking that the upstream takes back: that of other providers is cut out. None: all of it stays.
    pub takes: Option<Takes>,
}

impl<'a> Edit<'a> {
    /// Changes the model's name only.
    pub fn model(model: &'a str) -> Self {
        Self { model, ask_usage: false, max_tokens: None, old_max_tokens: false, takes: None }
    }
}

/// The top-level fields that decide how a request is handled, and where they are.
#[derive(Debug)]
pub struct Head<'a> {
    dialect: Dialect,
    body: &'a [u8],
    model_place: Place,
    /// `stream_options` of Chat, and its `include_usage`.
    options: Option<Place>,
    usage: Option<Place>,
    /// The limits of the answer's tokens that are there, and their places.
    limits: Vec<(Place, u64)>,
    /// `messages` or `input`.
    history: Option<&'a RawValue>,
    /// `thinking` and `context_management` of Messages.
    thinking: Option<&'a RawValue>,
    management: Option<&'a RawValue>,
    /// The model's name.
    pub model: String,
    /// The caller wants a stream.
    pub stream: bool,
    /// The caller wants usage in a stream of Chat.
    pub include_usage: bool,
    /// The caller's limit of the answer's tokens, for each choice.
    pub max_tokens: Option<u64>,
    /// Answers that the caller wants to one request of Chat (`n`).
    pub choices: u64,
    /// The caller wants Responses to answer later, in the background.
    pub background: bool,
    /// The provider is told to call servers of the caller's choice (MCP).
    pub connects: bool,
    /// The field by which the request continues or uses something that the provider has stored, so that its input is not in it.
    pub stored: Option<&'static str>,
    /// A field that can make an answer longer than the limit, at some servers.
    pub unlimited: Option<&'static str>,
}

impl<'a> Head<'a> {
    /// Reads the top level of a body. The whole body has to be JSON; a field that is there twice is refused, because its
    /// readers would not agree on the one that counts, and so is one that differs from a field read here in its case only.
    pub fn read(dialect: Dialect, body: &'a [u8]) -> Result<Self, Refused> {
        let mut fields = Fields::body(body)?;
        if let Some(name) = fields.names().find(|name| is_disguised(name)) {
            return Err(Refused::new(
                name.chars().take(64).collect::<String>(),
                "some servers take it for another field",
            ));
        }
        let raw = fields.look("model").ok_or_else(|| Refused::new("model", "is missing"))?;
        if !is_string(raw) {
            return Err(Refused::new("model", "has to be a text"));
        }
        let model = text_at("model", raw)?.into_owned();
        let model_place = place(body, raw);
        let (mut options, mut usage, mut include_usage) = (None, None, dialect != Dialect::Chat);
        if dialect == Dialect::Chat {
            options = fields.written("stream_options").map(|raw| place(body, raw));
            if let Some(mut inner) = fields.object("stream_options")? {
                usage = inner.written("include_usage").map(|raw| place(body, raw));
                include_usage = inner.bool("include_usage")?.unwrap_or_default();
            }
        }
        let stream = fields.bool("stream")?.unwrap_or_default();
        let mut found = Vec::with_capacity(2);
        for key in limits(dialect) {
            let written = fields.look(key).map(|raw| place(body, raw));
            found.extend(written.zip(fields.number(key)?));
        }
        // Servers differ in the one that they read.
        let max_tokens = found.iter().map(|limit| limit.1).max();
        let choices = if dialect == Dialect::Chat { fields.number("n")?.unwrap_or(1) } else { 1 };
        let background = dialect == Dialect::Responses && fields.bool("background")?.unwrap_or_default();
        Ok(Self {
            dialect,
            body,
            model_place,
            options,
            usage,
            limits: found,
            thinking: fields.look("thinking"),
            management: fields.look("context_management"),
            history: fields.look(if dialect == Dialect::Responses { "input" } else { "messages" }),
            model,
            stream,
            include_usage,
            max_tokens,
            choices,
            background,
            stored: STORED.into_iter().find(|name| fields.look(name).is_some()),
            unlimited: UNLIMITED.into_iter().find(|name| fields.look(name).is_some()),
            connects: connects(dialect, body, &mut fields)?,
        })
    }

    /// The body with these changes, and otherwise as it is.
    pub fn edited(&self, edit: &Edit<'_>) -> Vec<u8> {
        let mut edits: Vec<(Place, Vec<u8>)> = Vec::with_capacity(4);
        if let (Some(takes), Some(history)) = (edit.takes, self.history) {
            let cuts = foreign::cuts(self.dialect, self.body, history, takes);
            if takes.budgets && self.dialect == Dialect::Messages && !cuts.is_empty() {
                edits.extend(foreign::off(self.body, history, self.thinking, self.management, takes));
            }
            edits.extend(cuts.into_iter().map(|place| (place, Vec::new())));
        }
        if edit.model != self.model {
            let mut name = Vec::new();
            json::string(&mut name, edit.model);
            edits.push((self.model_place, name));
        }
        if edit.ask_usage && self.dialect == Dialect::Chat && self.stream && !self.include_usage {
            edits.push(self.usage_edit());
        }
        if let Some(most) = edit.max_tokens {
            let above = self.limits.iter().filter(|limit| limit.1 > most);
            edits.extend(above.map(|limit| (limit.0, most.to_string().into_bytes())));
            if self.limits.is_empty() {
                let name = limits(self.dialect)
                    .first()
                    .filter(|_| !(edit.old_max_tokens && self.dialect == Dialect::Chat))
                    .unwrap_or(&"max_tokens");
                edits.push((self.start(), format!("\"{name}\":{most},").into_bytes()));
            }
        }
        edits.sort_by_key(|edit| edit.0);
        let mut out = Vec::with_capacity(self.body.len() + 64);
        let mut from = 0;
        for ((start, end), text) in &edits {
            out.extend_from_slice(self.body.get(from..*start).unwrap_or_default());
            out.extend_from_slice(text);
            from = *end;
        }
        out.extend_from_slice(self.body.get(from..).unwrap_or_default());
        out
    }

    /// The place behind the brace that begins the body. A field follows it always: the model.
    fn start(&self) -> Place {
        let start = memchr::memchr(b'{', self.body).map_or(0, |brace| brace + 1);
        (start, start)
    }

    fn usage_edit(&self) -> (Place, Vec<u8>) {
        if let Some(usage) = self.usage {
            return (usage, b"true".to_vec());
        }
        match self.options {
            // Behind the brace that begins the object.
            Some((start, _)) if self.body.get(start) == Some(&b'{') => {
                let after = self.body.get(start + 1..).unwrap_or_default();
                let empty = after.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'}');
                let text = if empty { "\"include_usage\":true" } else { "\"include_usage\":true," };
                ((start + 1, start + 1), text.as_bytes().to_vec())
            }
            // Null, which is as good as none.
            Some(place) => (place, b"{\"include_usage\":true}".to_vec()),
            None => (self.start(), b"\"stream_options\":{\"include_usage\":true},".to_vec()),
        }
    }
}

/// The names of the limit of the answer's tokens; the first is the one that counts.
fn limits(dialect: Dialect) -> &'static [&'static str] {
    match dialect {
        Dialect::Chat => &["max_completion_tokens", "max_tokens"],
        Dialect::Responses => &["max_output_tokens"],
        Dialect::Messages => &["max_tokens"],
    }
}

/// True if the provider is told to call an MCP server: `mcp_servers` of Messages, a tool of the type `mcp` elsewhere.
fn connects(dialect: Dialect, body: &[u8], fields: &mut Fields<'_>) -> Result<bool, Refused> {
    // Escapes can hide the word, so a body with one is read as well.
    if memchr::memmem::find(body, b"mcp").is_none() && memchr::memmem::find(body, b"\\u").is_none() {
        return Ok(false);
    }
    if dialect == Dialect::Messages {
        return Ok(fields.look("mcp_servers").is_some());
    }
    let tools = fields.list("tools")?.unwrap_or_default();
    let is_mcp = |raw: &RawValue| {
        let mut tool = Fields::of(raw)?;
        let kind = tool.text("type")?;
        Some(kind.starts_with("mcp"))
    };
    Ok(tools.iter().any(|tool| is_mcp(tool.raw).unwrap_or_default()))
}

/// Fields by which a request uses what the provider has stored.
const STORED: [&str; 3] = ["previous_response_id", "conversation", "prompt"];
/// Fields of compatible servers beside the limits of tokens that the protocols know.
const UNLIMITED: [&str; 5] = ["n_predict", "num_predict", "best_of", "min_tokens", "options"];

/// Fields that decide who may do this and for how much.
const GUARDED: [&str; 18] = [
    "model",
    "stream",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "n",
    "background",
    "tools",
    "mcp_servers",
    "previous_response_id",
    "conversation",
    "prompt",
    "n_predict",
    "num_predict",
    "best_of",
    "min_tokens",
    "options",
];

/// True for `Model` and the like: servers written in Go take them for the field itself, and the last one counts.
fn is_disguised(name: &str) -> bool {
    // The two letters outside of ASCII that such servers fold into it: the long s and the sign for kelvin.
    let fold = |c: char| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    };
    GUARDED.iter().any(|guarded| *guarded != name && guarded.chars().eq(name.chars().map(fold)))
}
