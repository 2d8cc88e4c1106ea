//! Carries the proof of a thinking block through protocols that have no field for it, and back: Anthropic's signatures in
//! Responses' `encrypted_content`, reasoning items of Responses in Messages' `signature` and Chat's `thinking_blocks`, and
//! what Gemini's servers put beside a call in redacted blocks of the others.
//!
//! The proofs are the providers'; this only packs them. A client may send back anything: it is then the upstream that refuses.

use crate::fields::Fields;
use crate::json;
use crate::request::Seal;

/// Begins every packed proof. Neither provider's own begin so.
pub(crate) const MARK: &str = "cofferdam1.";

/// True for a proof of another provider, packed here. One that cannot be read is as good as none.
pub(crate) fn is_packed(proof: &str) -> bool {
    proof.starts_with(MARK)
}

impl Seal {
    /// The text that stands in `signature` of a thinking block. Empty where there is none.
    pub(crate) fn signature(&self) -> String {
        match self {
            Self::Open | Self::Redacted(_) | Self::Extra { .. } => String::new(),
            Self::Signature(signature) => signature.clone(),
            Self::Item { id, encrypted } => format!("{MARK}item.{id}.{encrypted}"),
        }
    }

    /// Reads the `signature` of a thinking block.
    pub(crate) fn of_signature(signature: &str) -> Self {
        if signature.is_empty() {
            return Self::Open;
        }
        let packed = signature.strip_prefix(MARK).and_then(|rest| rest.strip_prefix("item."));
        match packed.and_then(|rest| rest.split_once('.')) {
            Some((_, encrypted)) if is_packed(encrypted) => Self::Open,
            Some((id, encrypted)) => Self::Item { id: id.to_owned(), encrypted: encrypted.to_owned() },
            None if is_packed(signature) => Self::Open,
            None => Self::Signature(signature.to_owned()),
        }
    }

    /// The text that stands in `data` of a redacted block, for the proofs that are one.
    pub(crate) fn redacted(&self) -> Option<String> {
        match self {
            Self::Redacted(data) => Some(data.clone()),
            Self::Extra { call, json } => {
                let mut packed = format!("{MARK}call.").into_bytes();
                json::object(&mut packed, |o| {
                    o.string("id", call);
                    o.string("extra", json);
                });
                String::from_utf8(packed).ok()
            }
            Self::Open | Self::Signature(_) | Self::Item { .. } => None,
        }
    }

    /// Reads the `data` of a redacted block.
    pub(crate) fn of_redacted(data: &str) -> Self {
        let packed = data.strip_prefix(MARK).and_then(|rest| rest.strip_prefix("call."));
        let fields = packed.and_then(|json| Fields::tolerant(json.as_bytes()));
        let parts = fields.and_then(|mut fields| Some((fields.text("id")?, fields.text("extra")?)));
        match parts {
            // The JSON goes into a request as it is.
            Some((call, json)) if Fields::tolerant(json.as_bytes()).is_some() => {
                Self::Extra { call: call.into_owned(), json: json.into_owned() }
            }
            _ if is_packed(data) => Self::Open,
            _ => Self::Redacted(data.to_owned()),
        }
    }

    /// The text that stands in `encrypted_content` of a reasoning item.
    pub(crate) fn encrypted(&self) -> Option<String> {
        match self {
            Self::Open => None,
            Self::Signature(signature) => Some(format!("{MARK}signature.{signature}")),
            Self::Item { encrypted, .. } => Some(encrypted.clone()),
            Self::Redacted(_) | Self::Extra { .. } => self.redacted().map(|data| format!("{MARK}redacted.{data}")),
        }
    }

    /// Reads a reasoning item's `id` and `encrypted_content`.
    pub(crate) fn of_item(id: &str, encrypted: Option<&str>) -> Self {
        let Some(encrypted) = encrypted.filter(|text| !text.is_empty()) else { return Self::Open };
        if let Some(rest) = encrypted.strip_prefix(MARK) {
            if let Some(signature) = rest.strip_prefix("signature.") {
                return Self::of_signature(signature);
            }
            if let Some(data) = rest.strip_prefix("redacted.") {
                return Self::of_redacted(data);
            }
            return Self::Open;
        }
        Self::Item { id: id.replace('.', "_"), encrypted: encrypted.to_owned() }
    }

    /// Only Anthropic can check it.
    pub(crate) fn is_anthropic(&self) -> bool {
        matches!(self, Self::Signature(_) | Self::Redacted(_))
    }
}
