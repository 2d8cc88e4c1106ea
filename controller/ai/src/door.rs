//! The doors, one row each. Knows addresses and protocols, nothing of what goes through.

use cofferdam_dialects::Dialect;
use cofferdam_upstreams::Service;

/// An address that calls are made at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    Chat,
    Responses,
    Embeddings,
    Messages,
    CountTokens,
}

impl Door {
    pub(crate) const ALL: [Self; 5] =
        [Self::Chat, Self::Responses, Self::Embeddings, Self::Messages, Self::CountTokens];

    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Responses => "/v1/responses",
            Self::Embeddings => "/v1/embeddings",
            Self::Messages => "/v1/messages",
            Self::CountTokens => "/v1/messages/count_tokens",
        }
    }

    /// The routes below it, where the provider has more addresses and this server has none.
    pub(crate) fn below(self) -> &'static [&'static str] {
        match self {
            Self::Chat => &["/v1/chat/completions/", "/v1/chat/completions/{*rest}"],
            Self::Responses => &["/v1/responses/", "/v1/responses/{*rest}"],
            Self::Embeddings => &["/v1/embeddings/", "/v1/embeddings/{*rest}"],
            Self::Messages => &["/v1/messages/", "/v1/messages/{*rest}"],
            Self::CountTokens => &["/v1/messages/count_tokens/", "/v1/messages/count_tokens/{*rest}"],
        }
    }

    pub(crate) fn service(self) -> Service {
        match self {
            Self::Chat => Service::Chat,
            Self::Responses => Service::Responses,
            Self::Embeddings => Service::Embeddings,
            Self::Messages => Service::Messages,
            Self::CountTokens => Service::CountTokens,
        }
    }

    /// The protocol that its refusals are written in.
    pub(crate) fn dialect(self) -> Dialect {
        self.service().error_dialect()
    }
}
