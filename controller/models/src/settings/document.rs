//! The kinds of documents: their names in the store, their bounds, and which checks each has to pass.

use cofferdam_contract::Problem;
use cofferdam_usage::BudgetSpec;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::alias::AliasSpec;
use super::pattern::check_name;
use super::price::{PriceSpec, check_price_name};
use super::rule::{Privacy, RuleSpec};

/// The longest document, as JSON without its keys.
pub(super) const MAX_DOCUMENT_BYTES: usize = 64 << 10;

/// The most characters of all documents of an organization, without keys: they are kept in memory while they are in use.
pub(super) const MAX_DOCUMENTS_CHARACTERS: u64 = 8 << 20;

/// The name of the only document of its kind.
pub(super) const ONLY: &str = "privacy";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DocumentKind {
    Upstream,
    Alias,
    Rule,
    Budget,
    Price,
    Privacy,
}

impl DocumentKind {
    /// Its name in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Upstream => "upstream",
            Self::Alias => "alias",
            Self::Rule => "rule",
            Self::Budget => "budget",
            Self::Price => "price",
            Self::Privacy => "privacy",
        }
    }

    /// The most of one organization.
    pub const fn most(self) -> u64 {
        match self {
            Self::Upstream => 100,
            Self::Alias | Self::Budget => 500,
            Self::Rule | Self::Price => 1_000,
            Self::Privacy => 1,
        }
    }

    /// The kind in a sentence.
    pub const fn said(self) -> &'static str {
        match self {
            Self::Upstream => "upstream",
            Self::Alias => "model alias",
            Self::Rule => "model rule",
            Self::Budget => "budget",
            Self::Price => "model price",
            Self::Privacy => "privacy setting",
        }
    }

    /// The problem of a document that is not there.
    pub(super) fn missing(self, name: &str) -> Problem {
        let shown: String = name.chars().take(80).collect();
        Problem::not_found(format!("There is no {} {shown:?}.", self.said()))
    }

    /// The problem of one document too many.
    pub(super) fn full(self) -> Problem {
        Problem::overloaded(format!(
            "There are {} documents of the kind {} at most, and all documents about models together have at most \
             {MAX_DOCUMENTS_CHARACTERS} characters; delete some.",
            self.most(),
            self.said()
        ))
    }

    pub(super) fn check_name(self, name: &str) -> Result<(), String> {
        match self {
            Self::Price => check_price_name(name),
            _ => check_name(name),
        }
    }
}

/// Those to whom a document belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DocumentOwner {
    Operator,
    Organization,
}

/// A document with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document<S> {
    pub name: String,
    pub owner: DocumentOwner,
    pub spec: S,
    /// Unix time in seconds; none for the operator's.
    pub created_at: Option<i64>,
    pub updated_at: Option<i64>,
}

/// The content of a kind of document. Upstreams are no such kind, because they have keys.
pub trait Spec: Serialize + DeserializeOwned + Clone + Send + Sync {
    const KIND: DocumentKind;

    /// Checks the document by itself.
    ///
    /// # Errors
    /// The wrong field, and how to mend it.
    fn check(&self) -> Result<(), String>;
}

impl Spec for AliasSpec {
    const KIND: DocumentKind = DocumentKind::Alias;
    fn check(&self) -> Result<(), String> {
        Self::check(self)
    }
}

impl Spec for RuleSpec {
    const KIND: DocumentKind = DocumentKind::Rule;
    fn check(&self) -> Result<(), String> {
        Self::check(self)
    }
}

impl Spec for BudgetSpec {
    const KIND: DocumentKind = DocumentKind::Budget;
    fn check(&self) -> Result<(), String> {
        Self::check(self)?;
        if self.limit.amount(self.unit)? == 0 {
            return Err("limit: more than 0; to forbid models use a rule with \"models\": []".to_owned());
        }
        Ok(())
    }
}

impl Spec for PriceSpec {
    const KIND: DocumentKind = DocumentKind::Price;
    fn check(&self) -> Result<(), String> {
        Self::check(self)
    }
}

impl Spec for Privacy {
    const KIND: DocumentKind = DocumentKind::Privacy;
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}
