//! The kinds of upstreams, and what is asked of them. Knows names and protocols, no URLs.

use cofferdam_dialects::Dialect;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A provider's API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// OpenAI.
    Openai,
    /// Anthropic.
    Anthropic,
    /// Azure OpenAI.
    Azure,
    /// Anthropic's models in Amazon Bedrock.
    Bedrock,
    /// Google Vertex AI, by its door in OpenAI's protocol.
    Vertex,
    /// Google Gemini, by its door in OpenAI's protocol.
    Gemini,
    /// Any server that speaks OpenAI's protocol: Ollama, vLLM, llama.cpp, LiteLLM.
    Compatible,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Openai, Self::Anthropic, Self::Azure, Self::Bedrock, Self::Vertex, Self::Gemini, Self::Compatible];

    /// The word for it in settings, records and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Openai => "openai",
            Self::Anthropic => "anthropic",
            Self::Azure => "azure",
            Self::Bedrock => "bedrock",
            Self::Vertex => "vertex",
            Self::Gemini => "gemini",
            Self::Compatible => "compatible",
        }
    }

    /// The services that it offers unless the settings say otherwise.
    pub fn services(self) -> &'static [Service] {
        use Service::{Chat, CountTokens, Embeddings, Messages, Responses};
        match self {
            Self::Openai | Self::Azure => &[Chat, Responses, Embeddings],
            Self::Anthropic => &[Messages, CountTokens],
            Self::Bedrock => &[Messages],
            Self::Vertex => &[Chat],
            Self::Gemini | Self::Compatible => &[Chat, Embeddings],
        }
    }

    /// The services that the settings may name: those whose paths are known.
    pub(crate) fn possible(self) -> &'static [Service] {
        match self {
            Self::Vertex => &[Service::Chat, Service::Embeddings],
            Self::Compatible => &Service::ALL,
            _ => self.services(),
        }
    }
}

/// A thing that is asked of an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Service {
    /// A chat completion.
    Chat,
    /// A response of OpenAI's protocol of that name.
    Responses,
    /// A message of Anthropic's protocol.
    Messages,
    /// Embeddings of OpenAI's protocol.
    Embeddings,
    /// The number of tokens of a message of Anthropic's protocol.
    CountTokens,
}

impl Service {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Chat, Self::Responses, Self::Messages, Self::Embeddings, Self::CountTokens];

    /// The word for it in settings, records and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Responses => "responses",
            Self::Messages => "messages",
            Self::Embeddings => "embeddings",
            Self::CountTokens => "count_tokens",
        }
    }

    /// The protocol of a generating service.
    pub fn dialect(self) -> Option<Dialect> {
        match self {
            Self::Chat => Some(Dialect::Chat),
            Self::Responses => Some(Dialect::Responses),
            Self::Messages => Some(Dialect::Messages),
            Self::Embeddings | Self::CountTokens => None,
        }
    }

    /// The protocol that its errors are written in.
    pub fn error_dialect(self) -> Dialect {
        match self {
            Self::Responses => Dialect::Responses,
            Self::Messages | Self::CountTokens => Dialect::Messages,
            Self::Chat | Self::Embeddings => Dialect::Chat,
        }
    }
}
