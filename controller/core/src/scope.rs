//! The scopes of a key. `admin` covers everything; `run` and `deploy` cover `read`.

use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr};
use utoipa::ToSchema;

#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema, EnumString, IntoStaticStr,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Scope {
    Admin,
    Deploy,
    Run,
    Read,
}

impl Scope {
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// A key's scopes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scopes(Vec<Scope>);

impl Scopes {
    pub fn new(mut scopes: Vec<Scope>) -> Self {
        scopes.sort_unstable();
        scopes.dedup();
        Self(scopes)
    }

    /// Parses the store's text. Names that this version does not know are ignored.
    pub fn from_text(text: &str) -> Self {
        Self::new(text.split(',').filter_map(|name| name.parse().ok()).collect())
    }

    pub fn to_text(&self) -> String {
        self.0.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(",")
    }

    pub fn list(&self) -> &[Scope] {
        &self.0
    }

    /// Returns true if one of the scopes covers the needed one.
    pub fn cover(&self, needed: Scope) -> bool {
        self.0.iter().any(|has| {
            *has == needed
                || *has == Scope::Admin
                || (needed == Scope::Read && matches!(has, Scope::Run | Scope::Deploy))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_scope_covers() {
        for (text, needed, covered) in [
            ("admin", Scope::Run, true),
            ("admin", Scope::Admin, true),
            ("run", Scope::Read, true),
            ("run", Scope::Deploy, false),
            ("run,deploy", Scope::Admin, false),
            ("read", Scope::Run, false),
            ("", Scope::Read, false),
            ("root,Admin", Scope::Read, false),
        ] {
            assert_eq!(Scopes::from_text(text).cover(needed), covered, "{text} {needed:?}");
        }
    }
}
