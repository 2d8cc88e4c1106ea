//! The three protocols that models are spoken to in. Knows their names, nothing of their fields.

/// A protocol between a client and a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// OpenAI's chat completions, `POST /v1/chat/completions`.
    Chat,
    /// OpenAI's responses, `POST /v1/responses`.
    Responses,
    /// Anthropic's messages, `POST /v1/messages`.
    Messages,
}

impl Dialect {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Chat, Self::Responses, Self::Messages];

    /// The word for it in configuration, records and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Responses => "responses",
            Self::Messages => "messages",
        }
    }

    /// The dialect of a name, if there is one.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dialect| dialect.name() == name)
    }
}
