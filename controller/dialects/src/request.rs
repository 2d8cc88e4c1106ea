//! A request in the neutral form: everything that at least two of the dialects can say. Knows where in the caller's body a
//! thing stood, so that a refusal can name it. Never holds what no dialect can be told.

use serde_json::value::RawValue;

use crate::custom::Custom;
use crate::dialect::Dialect;
use crate::error::Refused;
use crate::foreign::Takes;

/// A request to a model. Read by [`Request::read`], written by [`Request::write`].
#[derive(Debug)]
pub struct Request {
    /// The dialect that it was read from.
    pub source: Dialect,
    /// The model's name, as the caller says it.
    pub model: String,
    /// The caller wants a stream.
    pub stream: bool,
    /// The caller wants usage in the last chunk of a stream of [`Dialect::Chat`]. The others always have it.
    pub include_usage: bool,
    /// The most tokens of the answer.
    pub max_tokens: Option<u64>,
    pub(crate) messages: Vec<Message>,
    pub(crate) tools: Vec<Tool>,
    /// Those of the tools that the caller calls custom.
    pub(crate) custom: Vec<Custom>,
    pub(crate) tool_choice: Option<ToolChoice>,
    pub(crate) parallel_tool_calls: Option<bool>,
    pub(crate) format: Option<Format>,
    pub(crate) verbosity: Option<String>,
    pub(crate) sampling: Sampling,
    pub(crate) stop: Vec<String>,
    pub(crate) reasoning: Reasoning,
    pub(crate) service_tier: Option<String>,
    pub(crate) user: Option<String>,
    pub(crate) safety_identifier: Option<String>,
    /// Labels of the two OpenAI dialects, as written.
    pub(crate) metadata: Option<Box<RawValue>>,
    pub(crate) prompt_cache_key: Option<String>,
    pub(crate) prompt_cache_retention: Option<String>,
    /// Messages' `cache_control` of the whole request.
    pub(crate) cache: Option<Cache>,
}

/// Numbers keep the digits that they were written with.
#[derive(Debug, Default)]
pub(crate) struct Sampling {
    pub(crate) temperature: Option<Box<RawValue>>,
    pub(crate) top_p: Option<Box<RawValue>>,
    pub(crate) top_k: Option<u64>,
    pub(crate) presence_penalty: Option<Box<RawValue>>,
    pub(crate) frequency_penalty: Option<Box<RawValue>>,
    pub(crate) seed: Option<Box<RawValue>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    System,
    Developer,
    User,
    Assistant,
}

impl Role {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Developer => "developer",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) at: String,
    pub(crate) role: Role,
    pub(crate) parts: Vec<Part>,
    /// The content was one text, not a list of parts.
    pub(crate) plain: bool,
}

#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) at: String,
    pub(crate) cache: Option<Cache>,
    pub(crate) body: Body,
}

#[derive(Debug)]
pub(crate) enum Body {
    Text(String),
    Image { source: Source, detail: Option<String> },
    File { source: Source, name: Option<String>, context: Option<String> },
    ToolCall { id: String, name: String, arguments: String },
    ToolResult { id: String, content: Vec<Part>, is_error: bool },
    Thinking { text: String, seal: Seal },
    Refusal(String),
}

/// Place of a picture or a document.
#[derive(Debug)]
pub(crate) enum Source {
    Base64 {
        media: String,
        data: String,
    },
    Url(String),
    /// A plain text document.
    Text(String),
}

/// The proof of a thinking block, which only the kind of upstream that gave it can check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seal {
    /// None: the text is all there is.
    Open,
    /// Anthropic's signature.
    Signature(String),
    /// Anthropic's redacted thinking, in place of the text.
    Redacted(String),
    /// A reasoning item of Responses.
    Item { id: String, encrypted: String },
    /// JSON that a server of Chat put beside a call (`extra_content`, in which Gemini signs its calls).
    Extra { call: String, json: String },
}

/// A mark up to which an upstream may cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cache {
    /// Time to keep it: `5m`, `1h` (Messages), `30m`, `12h` (OpenAI).
    pub(crate) ttl: Option<String>,
    /// It was OpenAI's `prompt_cache_breakpoint`.
    pub(crate) openai: bool,
}

impl Cache {
    /// Messages' word for the time. OpenAI's 30 minutes and 12 hours become the next that there is.
    pub(crate) fn messages_ttl(&self) -> Option<&str> {
        match self.ttl.as_deref() {
            Some("30m" | "12h") => Some("1h"),
            other => other,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Tool {
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) parameters: Option<Box<RawValue>>,
    pub(crate) strict: Option<bool>,
    pub(crate) cache: Option<Cache>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ToolChoice {
    Auto,
    None,
    Required,
    Named(String),
}

/// The form that the answer has to have.
#[derive(Debug)]
pub(crate) enum Format {
    Text,
    JsonObject,
    Schema { name: Option<String>, description: Option<String>, schema: Box<RawValue>, strict: Option<bool> },
}

/// Wish for how much the model is to think.
#[derive(Debug, Default)]
pub(crate) struct Reasoning {
    /// `none`, `minimal`, `low`, `medium`, `high`, `xhigh` or `max`.
    pub(crate) effort: Option<String>,
    /// Messages' `thinking.type`.
    pub(crate) mode: Option<Thinking>,
    /// `auto`, `concise` or `detailed` of Responses; `omitted` for Messages' `display`.
    pub(crate) summary: Option<String>,
}

/// Fields that each protocol names in its own way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Effort,
    Limit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Thinking {
    Off,
    Adaptive,
    Budget(u64),
}

/// The efforts, from the least.
pub const EFFORTS: [&str; 7] = ["none", "minimal", "low", "medium", "high", "xhigh", "max"];

/// The effort among those that a model takes which is nearest to a wish: the same, else the next lower, else the least. None
/// is no effort: only a wish for it is met by it.
pub(crate) fn nearest(wish: &str, taken: &[&'static str]) -> Option<&'static str> {
    let rank = |effort: &str| EFFORTS.iter().position(|known| *known == effort);
    let thinks = |effort: &&&'static str| **effort != "none" || wish == "none";
    let lower =
        taken.iter().filter(thinks).filter(|effort| rank(effort) <= rank(wish)).max_by_key(|effort| rank(effort));
    lower.or_else(|| taken.iter().filter(thinks).min_by_key(|effort| rank(effort))).copied()
}

/// The tokens of thinking that stand for an effort, where an upstream wants a number: at most this many.
const BUDGETS: [(&str, u64); 5] =
    [("low", 2_048), ("medium", 8_192), ("high", 16_384), ("xhigh", 32_768), ("max", 63_999)];

/// Least budget that Messages accepts.
pub(crate) const MIN_BUDGET: u64 = 1_024;

pub(crate) fn budget_of(effort: &str) -> u64 {
    BUDGETS.iter().find(|row| row.0 == effort).map_or(MIN_BUDGET, |row| row.1)
}

pub(crate) fn effort_of(budget: u64) -> &'static str {
    BUDGETS.iter().find(|row| budget <= row.1).map_or("max", |row| row.0)
}

/// Facts about the upstream's model that are needed to write a request for it.
#[derive(Clone, Debug)]
pub struct Target<'a> {
    /// The model's name there.
    pub model: &'a str,
    /// `max_tokens` for [`Dialect::Messages`], which needs one, where the caller gave none.
    pub max_tokens: u64,
    /// The model takes efforts and thinking. Otherwise asking for them is refused, and asking for none says nothing.
    pub reasons: bool,
    /// Messages: thinking is asked for by a budget of tokens, as models before `adaptive` need it.
    pub budgets: bool,
    /// Messages: the model takes messages of the system in the middle of a conversation.
    pub system_turns: bool,
    /// Chat: the limit is called `max_tokens`, as older compatible servers need it.
    pub old_max_tokens: bool,
    /// Chat: the server takes signed thinking back in `thinking_blocks`, as LiteLLM's proxy does.
    pub thinking_blocks: bool,
    /// The server takes thinking without a proof back, as `reasoning_content` of Chat.
    pub unsigned: bool,
    /// The server takes back what OpenAI does not know, `extra_content` beside a call, and decides itself which names of tools
    /// it takes.
    pub extras: bool,
    /// The efforts that the model takes, of [`EFFORTS`]. A wish for another one becomes the next lower, else the least.
    pub efforts: &'static [&'static str],
}

/// `max_tokens` where neither the caller nor the operator gives one.
pub const DEFAULT_MAX_TOKENS: u64 = 8_192;

impl<'a> Target<'a> {
    /// A current model of the dialect's own provider.
    pub fn new(model: &'a str) -> Self {
        Self {
            model,
            max_tokens: DEFAULT_MAX_TOKENS,
            reasons: true,
            budgets: false,
            system_turns: true,
            old_max_tokens: false,
            thinking_blocks: false,
            unsigned: true,
            extras: true,
            efforts: &EFFORTS,
        }
    }

    /// Thinking that it takes back from a caller who speaks its protocol.
    pub fn takes(&self) -> Takes {
        Takes { unsigned: self.unsigned, extras: self.extras, blocks: self.thinking_blocks, budgets: self.budgets }
    }
}

impl Request {
    /// Reads a request. A field that is unknown, or that no other dialect has, is refused with its path.
    pub fn read(dialect: Dialect, body: &[u8]) -> Result<Self, Refused> {
        match dialect {
            Dialect::Chat => crate::chat::read::request(body),
            Dialect::Responses => crate::responses::read::request(body),
            Dialect::Messages => crate::messages::read::request(body),
        }
    }

    /// Writes it for an upstream. What that dialect cannot say is refused with the path in the caller's body.
    pub fn write(&self, dialect: Dialect, target: &Target<'_>) -> Result<Vec<u8>, Refused> {
        match dialect {
            Dialect::Chat => crate::chat::write::request(self, target),
            Dialect::Responses => crate::responses::write::request(self, target),
            Dialect::Messages => crate::messages::write::request(self, target),
        }
    }

    pub(crate) fn empty(source: Dialect, model: String) -> Self {
        Self {
            source,
            model,
            stream: false,
            include_usage: true,
            max_tokens: None,
            messages: Vec::new(),
            tools: Vec::new(),
            custom: Vec::new(),
            tool_choice: None,
            parallel_tool_calls: None,
            format: None,
            verbosity: None,
            sampling: Sampling::default(),
            stop: Vec::new(),
            reasoning: Reasoning::default(),
            service_tier: None,
            user: None,
            safety_identifier: None,
            metadata: None,
            prompt_cache_key: None,
            prompt_cache_retention: None,
            cache: None,
        }
    }

    pub(crate) fn is_custom(&self, name: &str) -> bool {
        self.custom.iter().any(|custom| custom.name == name)
    }

    /// The name that the caller's protocol has for a field of the neutral form.
    pub(crate) fn field(&self, field: Field) -> &'static str {
        match (field, self.source) {
            (Field::Effort, Dialect::Chat) => "reasoning_effort",
            (Field::Effort, Dialect::Responses) if self.reasoning.effort.is_some() => "reasoning.effort",
            (Field::Effort, Dialect::Responses) => "reasoning.summary",
            (Field::Effort, Dialect::Messages) if self.reasoning.mode.is_some() => "thinking",
            (Field::Effort, Dialect::Messages) => "output_config.effort",
            (Field::Limit, Dialect::Chat) => "max_completion_tokens",
            (Field::Limit, Dialect::Responses) => "max_output_tokens",
            (Field::Limit, Dialect::Messages) => "max_tokens",
        }
    }

    /// Refuses names of tools that the provider would refuse: letters, digits, `-` and `_`, at most `most` of them.
    pub(crate) fn check_names(&self, most: usize) -> Result<(), Refused> {
        let check = |name: &str, at: &dyn Fn() -> String| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            if (1..=most).contains(&name.len()) && name.bytes().all(plain) {
                return Ok(());
            }
            let why = format!("may only have letters, digits, - and _ for this model, and at most {most} of them");
            Err(Refused::new(at(), why))
        };
        let inner = if self.source == Dialect::Chat { ".function.name" } else { ".name" };
        let chat_custom = |tool: &Tool| self.source == Dialect::Chat && self.is_custom(&tool.name);
        for (index, tool) in self.tools.iter().enumerate() {
            let inner = if chat_custom(tool) { ".custom.name" } else { inner };
            check(&tool.name, &|| format!("tools[{index}]{inner}"))?;
        }
        for part in self.messages.iter().flat_map(|message| &message.parts) {
            if let Body::ToolCall { name, .. } = &part.body {
                check(name, &|| format!("{}{inner}", part.at))?;
            }
        }
        Ok(())
    }

    /// The tools' names, which a choice has to be among.
    pub(crate) fn check_choice(&self) -> Result<(), Refused> {
        match &self.tool_choice {
            Some(ToolChoice::Named(name)) if !self.tools.iter().any(|tool| tool.name == *name) => {
                Err(Refused::new("tool_choice", "names a tool that is not among `tools`"))
            }
            _ => Ok(()),
        }
    }
}

impl Part {
    pub(crate) fn new(at: impl Into<String>, body: Body) -> Self {
        Self { at: at.into(), cache: None, body }
    }

    pub(crate) fn refuse<T>(&self, why: &str) -> Result<T, Refused> {
        Err(Refused::new(self.at.clone(), why))
    }
}
