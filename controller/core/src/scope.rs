//! The scopes of a key. `admin` covers everything, `run` covers `invoke` and `read`, `deploy` covers `read`. `invoke` covers nothing
//! else: reads of agents' work take a key with either `read` or `invoke` ([`Scopes::cover_any`]).

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
    /// Making and steering tasks of agents, and reading these tasks and threads.
    Invoke,
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
                || (needed == Scope::Invoke && *has == Scope::Run)
        })
    }

    /// Returns true if one of the needed scopes is covered.
    pub fn cover_any(&self, needed: &[Scope]) -> bool {
        needed.iter().any(|needed| self.cover(*needed))
    }

    /// Returns true if every scope of the other ones is covered: its holder can do no more than this one's.
    pub fn cover_all(&self, others: &Self) -> bool {
        others.0.iter().all(|other| self.cover(*other))
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
            ("read", Scope::Invoke, false),
            ("run", Scope::Invoke, true),
            ("admin", Scope::Invoke, true),
            ("deploy", Scope::Invoke, false),
            ("invoke", Scope::Read, false),
            ("invoke", Scope::Run, false),
            ("invoke", Scope::Invoke, true),
            ("", Scope::Read, false),
            ("root,Admin", Scope::Read, false),
        ] {
            assert_eq!(Scopes::from_text(text).cover(needed), covered, "{text} {needed:?}");
        }
        let invoke = Scopes::from_text("invoke");
        assert!(invoke.cover_any(&[Scope::Read, Scope::Invoke]) && !invoke.cover_any(&[Scope::Run, Scope::Read]));
        let run = Scopes::from_text("run");
        assert!(run.cover_all(&Scopes::from_text("invoke,read")) && !run.cover_all(&Scopes::from_text("run,deploy")));
    }
}
