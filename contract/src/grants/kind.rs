//! The kinds of grants. Each side's list of capabilities matches on [`GrantKind`] without a wildcard, so that a new kind
//! compiles only once every side handles it.

use strum::{IntoStaticStr, VariantArray};

use super::Grants;

/// A kind of grant. In the order of the fields of [`Grants`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, VariantArray, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum GrantKind {
    Http,
    Secrets,
    Tools,
    KeyValue,
    Files,
    Config,
    Llm,
}

impl GrantKind {
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The field of [`Grants`].
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// True if the gateway carries out the requests of this kind of grant.
    const fn needs_gateway(self) -> bool {
        match self {
            Self::Http | Self::Tools | Self::KeyValue | Self::Files | Self::Llm => true,
            Self::Secrets | Self::Config => false,
        }
    }
}

impl Grants {
    /// True if there is a grant of this kind.
    pub fn has(&self, kind: GrantKind) -> bool {
        // Without `..`, so that a new field compiles only once it has a kind.
        let Self { http, secrets, tools, keyvalue, files, config, llm } = self;
        match kind {
            GrantKind::Http => !http.is_empty(),
            GrantKind::Secrets => !secrets.is_empty(),
            GrantKind::Tools => !tools.is_empty(),
            GrantKind::KeyValue => keyvalue.is_some(),
            GrantKind::Files => files.is_some(),
            GrantKind::Config => !config.is_empty(),
            GrantKind::Llm => llm.is_some(),
        }
    }

    /// True if these grants make the imports of this kind available. Models are reached over HTTP.
    pub fn provides(&self, kind: GrantKind) -> bool {
        self.has(kind) || (kind == GrantKind::Http && self.has(GrantKind::Llm))
    }

    /// The kinds of these grants.
    pub fn kinds(&self) -> impl Iterator<Item = GrantKind> {
        GrantKind::ALL.iter().copied().filter(|kind| self.has(*kind))
    }

    pub fn is_empty(&self) -> bool {
        self.kinds().next().is_none()
    }

    /// True if a grant needs the gateway to carry out requests.
    pub fn needs_gateway(&self) -> bool {
        self.kinds().any(GrantKind::needs_gateway)
    }

    /// True if outbound HTTP can reach anything.
    pub fn reaches_http(&self) -> bool {
        self.provides(GrantKind::Http)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grants::{FilesGrant, HttpGrant, KeyValueGrant, LlmGrant, SecretGrant};

    /// Grants with one of each kind.
    fn every() -> Grants {
        Grants {
            http: vec![HttpGrant::default()],
            secrets: vec![SecretGrant { name: "s".to_owned(), env: None }],
            tools: vec!["t".to_owned()],
            keyvalue: Some(KeyValueGrant::default()),
            files: Some(FilesGrant::default()),
            config: [("k".to_owned(), "v".to_owned())].into(),
            llm: Some(LlmGrant::of(vec!["m".to_owned()])),
        }
    }

    #[test]
    fn the_kinds_are_the_fields_by_name_and_in_order() {
        assert!(Grants::default().is_empty() && !Grants::default().needs_gateway());
        assert_eq!(every().kinds().collect::<Vec<_>>(), GrantKind::ALL);
        let text = serde_json::to_string(&every()).unwrap();
        let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
        assert_eq!(fields.len(), GrantKind::ALL.len());
        let at = |kind: &GrantKind| text.find(&format!("\"{}\":", kind.name())).unwrap();
        assert!(GrantKind::ALL.is_sorted_by_key(at), "{text}");
    }

    #[test]
    fn each_kind_is_found_alone() {
        let fields: serde_json::Map<String, serde_json::Value> =
            serde_json::from_value(serde_json::to_value(every()).unwrap()).unwrap();
        for kind in GrantKind::ALL {
            let alone = serde_json::json!({ kind.name(): fields[kind.name()] });
            let grants: Grants = serde_json::from_value(alone).unwrap();
            assert_eq!(grants.kinds().collect::<Vec<_>>(), [*kind]);
            assert!(!grants.is_empty());
            assert_eq!(grants.needs_gateway(), !matches!(kind, GrantKind::Secrets | GrantKind::Config), "{kind:?}");
            assert_eq!(grants.reaches_http(), matches!(kind, GrantKind::Http | GrantKind::Llm), "{kind:?}");
        }
    }
}
