//! Windows of models, and how full one is.

use cofferdam_contract::work::{AgentDefinition, EventType};
use cofferdam_store::NewEvent;
use serde_json::json;

/// The window of a model that the table does not know.
const DEFAULT_WINDOW: u64 = 128_000;
const MIN_WINDOW: u64 = 1_000;
/// Shares of the window, in percent: older messages are summed up, and what providers refuse.
const THRESHOLD: u64 = 75;
const EMERGENCY: u64 = 90;
/// Tokens that are kept free for the answer where the definition does not say.
const ANSWER_TOKENS: u64 = 4_096;
/// Bytes of a token: text has three to four, source code about three.
const BYTES_PER_TOKEN: u64 = 3;

/// The beginnings of models' names and their windows in tokens. The first that fits counts, so longer ones stand before shorter ones.
const WINDOWS: [(&str, u64); 26] = [
    ("gpt-5", 272_000),
    ("gpt-4.1", 1_000_000),
    ("gpt-4o", 128_000),
    ("gpt-4-turbo", 128_000),
    ("gpt-4-32k", 32_000),
    ("gpt-4", 8_000),
    ("gpt-3.5", 16_000),
    ("gpt-oss", 128_000),
    ("o1-mini", 128_000),
    ("o1", 200_000),
    ("o3", 200_000),
    ("o4", 200_000),
    ("claude-2.0", 100_000),
    ("claude", 200_000),
    ("gemini-1.5-pro", 2_000_000),
    ("gemini-1.0", 32_000),
    ("gemini", 1_000_000),
    ("llama-3.1", 128_000),
    ("llama-3.2", 128_000),
    ("llama-3.3", 128_000),
    ("llama-4", 1_000_000),
    ("llama-3", 8_000),
    ("llama", 4_000),
    ("mixtral", 32_000),
    ("phi-3-mini-4k", 4_000),
    ("gemma", 8_000),
];

/// The window of a model by its name: with the provider's name before it or without.
fn known(model: &str) -> u64 {
    let name = model.to_ascii_lowercase();
    let last = name.rsplit('/').next().unwrap_or_default();
    // `anthropic.claude-...` and `us.anthropic.claude-...` are names of Bedrock.
    let dotted = last.rsplit_once("anthropic.").or_else(|| last.rsplit_once("meta.")).map_or(last, |(_, name)| name);
    let plain =
        |name: &str, start: &str| name.starts_with(start) || name.replace("llama3", "llama-3").starts_with(start);
    let parts = [name.as_str(), last, dotted];
    let found = WINDOWS.iter().find(|(start, _)| parts.iter().any(|name| plain(name, start)));
    found.map_or(DEFAULT_WINDOW, |(_, window)| *window)
}

/// The window of a task's model.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    tokens: u64,
    answer: u64,
}

/// The tokens of so many bytes, about.
pub(super) fn tokens(bytes: usize) -> u64 {
    bytes as u64 / BYTES_PER_TOKEN
}

/// The bytes that so many tokens have, about.
pub(super) fn bytes(tokens: u64) -> usize {
    usize::try_from(tokens.saturating_mul(BYTES_PER_TOKEN)).unwrap_or(usize::MAX)
}

impl Window {
    pub(super) fn of(definition: &AgentDefinition, model: &str) -> Self {
        let tokens = definition.context_window.unwrap_or_else(|| known(model)).max(MIN_WINDOW);
        Self { tokens, answer: definition.limits.max_output_tokens.unwrap_or(ANSWER_TOKENS) }
    }

    pub(super) fn tokens(self) -> u64 {
        self.tokens
    }

    /// The tokens at which older messages are summed up.
    pub(super) fn threshold(self) -> u64 {
        let part = self.tokens.saturating_mul(THRESHOLD) / 100;
        part.min(self.tokens.saturating_sub(self.answer)).max(self.tokens / 4)
    }

    pub(super) fn is_full(self, tokens: u64) -> bool {
        tokens >= self.threshold()
    }

    /// The event that says how full it is.
    pub(super) fn status(self, tokens: u64, compacting: bool) -> NewEvent {
        let tenths = u32::try_from(tokens.saturating_mul(1_000) / self.tokens.max(1)).unwrap_or(u32::MAX);
        let data = json!({
            "estimated_tokens": tokens,
            "context_window": self.tokens,
            "percent": f64::from(tenths) / 10.0,
            "auto_compact_threshold": self.threshold(),
            "emergency_threshold": self.tokens.saturating_mul(EMERGENCY) / 100,
            "compacting": compacting,
        });
        NewEvent { kind: EventType::ContextStatus, data }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_by_name() {
        for (model, window) in [
            ("gpt-5-mini", 272_000),
            ("openai/gpt-4.1-nano", 1_000_000),
            ("gpt-4o-mini", 128_000),
            ("gpt-4", 8_000),
            ("claude-sonnet-4-5", 200_000),
            ("us.anthropic.claude-sonnet-4-20250514-v1:0", 200_000),
            ("anthropic/claude-opus-4", 200_000),
            ("gemini-2.5-pro", 1_000_000),
            ("meta-llama/Llama-3.3-70B-Instruct", 128_000),
            ("default", 128_000),
            ("", 128_000),
        ] {
            assert_eq!(known(model), window, "{model}");
        }
    }

    #[test]
    fn the_definition_wins_and_room_for_the_answer_is_kept() {
        let window = Window::of(&AgentDefinition::default(), "default");
        assert_eq!((window.tokens(), window.threshold()), (128_000, 96_000));
        let own = AgentDefinition { context_window: Some(10_000), ..AgentDefinition::default() };
        let window = Window::of(&own, "gpt-5");
        assert_eq!((window.tokens(), window.threshold()), (10_000, 5_904));
        assert!(window.is_full(5_904) && !window.is_full(5_903));
        let status = window.status(1_234, true);
        assert_eq!((status.data["percent"].as_f64(), &status.data["compacting"]), (Some(12.3), &json!(true)));
    }
}
