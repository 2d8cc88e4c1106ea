//! The capabilities: how grants of each kind are checked, narrowed by the operator's policy, and given to snippets and
//! tools. One file for each, registered in [`of`].

mod config;
mod files;
mod http;
mod keyvalue;
mod llm;
mod notes;
mod secrets;
mod tools;

use cofferdam_contract::{GrantKind, Grants};

pub use config::Switch;
pub(crate) use config::Variable;
pub use files::Files;
pub(crate) use files::Storage;
pub use http::{AllowedHost, BODILESS, DeniedHost, Network};
pub use keyvalue::KeyValue;
pub use llm::Llm;
pub use notes::Limited;
pub(crate) use notes::Notes;
pub use secrets::Secrets;
pub(crate) use tools::ToolName;
pub use tools::{Named, tool_name};

use crate::operator::OperatorPolicy;
use crate::yaml::PolicyError;

/// The longest name of a secret, a variable or a model.
const MAX_NAME: usize = 128;
/// The end of the message about a bound of 0 in an operator's policy.
const NOT_ZERO: &str = "at least 1; `allow: false` or an empty `allow` forbids";

/// The first invalid grant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {what}")]
pub struct BadGrant {
    /// Its place, such as `http[0].host`.
    pub path: String,
    pub what: String,
}

fn bad(path: impl Into<String>, what: impl Into<String>) -> BadGrant {
    BadGrant { path: path.into(), what: what.into() }
}

/// Splits grants into single ones.
pub(crate) type Split = fn(&Grants) -> Vec<Grants>;

/// One kind of grant, as policies see it. The methods look at the grants of this kind only.
pub(crate) trait Capability: Sync {
    /// The place of these grants in a tool's policy.
    fn permission(&self) -> &'static str;

    /// Checks the grants by themselves. The operator's policy is not applied here.
    ///
    /// # Errors
    /// The first invalid grant.
    fn check(&self, grants: &Grants) -> Result<(), BadGrant>;

    /// Puts the requested grants into `left`, as far as the operator allows them, and notes the difference.
    fn narrow(&self, asked: &Grants, operator: &OperatorPolicy, left: &mut Grants, notes: &mut Notes);

    /// Splits the grants of a snippet into single ones.
    ///
    /// # Errors
    /// No snippet can have this kind of grant; the end of a sentence says what to use instead.
    fn for_snippets(&self) -> Result<Split, &'static str>;

    /// Checks the bounds of a deployed tool.
    ///
    /// # Errors
    /// The first grant that is too large.
    fn check_tool(&self, _grants: &Grants) -> Result<(), BadGrant> {
        Ok(())
    }

    /// Checks this kind's section of an operator's policy.
    ///
    /// # Errors
    /// The first invalid key.
    fn check_section(&self, _policy: &OperatorPolicy) -> Result<(), PolicyError> {
        Ok(())
    }
}

/// The list of capabilities. A new kind of grant does not compile without its line here.
pub(crate) fn of(kind: GrantKind) -> &'static dyn Capability {
    match kind {
        GrantKind::Http => &http::Http,
        GrantKind::Secrets => &secrets::SecretNames,
        GrantKind::Tools => &tools::ToolNames,
        GrantKind::KeyValue => &keyvalue::KeyValueStore,
        GrantKind::Files => &files::Folder,
        GrantKind::Config => &config::Config,
        GrantKind::Llm => &llm::Models,
    }
}

/// All capabilities, in the order of the grants' fields.
pub(crate) fn all() -> impl Iterator<Item = &'static dyn Capability> {
    GrantKind::ALL.iter().map(|kind| of(*kind))
}

/// Refuses a bound of 0 in an operator's policy.
fn no_zeros<const N: usize>(bounds: [(&str, Option<u64>); N]) -> Result<(), PolicyError> {
    match bounds.into_iter().find(|(_, bound)| *bound == Some(0)) {
        Some((path, _)) => Err(PolicyError::at(path, NOT_ZERO)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ToolPolicy, check_grants};

    /// One valid grant of each kind.
    const ALL_KINDS: &str = "version: '1.0'\npermissions:\n  network: {allow: [{host: a.example}]}\n  \
        secrets: {allow: [{name: s}]}\n  tools: {allow: [{name: t}]}\n  keyvalue: {}\n  \
        storage: {allow: [{uri: fs://data, access: [read]}]}\n  environment: {allow: [{key: k, value: v}]}\n  \
        llm: {models: [m]}";

    #[test]
    fn each_capability_narrows_the_grants_of_its_own_kind_and_no_others() {
        let every = ToolPolicy::parse(ALL_KINDS).unwrap().grants;
        assert_eq!(every.kinds().count(), GrantKind::ALL.len());
        check_grants(&every).unwrap();
        let open = OperatorPolicy::parse("version: '1.0'\nllm: {allow: true}").unwrap();
        let closed = OperatorPolicy::parse(
            "version: '1.0'\nnetwork: {allow: []}\nsecrets: {allow: false}\ntools: {allow: false}\n\
             keyvalue: {allow: false}\nfiles: {allow: false}\nconfig: {allow: false}",
        )
        .unwrap();
        for kind in GrantKind::ALL {
            let narrowed = |operator: &OperatorPolicy| {
                let (mut left, mut notes) = (Grants::default(), Notes::default());
                of(*kind).narrow(&every, operator, &mut left, &mut notes);
                (left.kinds().collect::<Vec<_>>(), notes.into_list())
            };
            assert_eq!(narrowed(&open), (vec![*kind], vec![]), "{kind:?}");
            let (left, notes) = narrowed(&closed);
            assert!(left.is_empty() && notes.len() == 1 && notes[0].grant.starts_with(kind.name()), "{kind:?}");
            if let Ok(split) = of(*kind).for_snippets() {
                let alone = split(&every);
                assert!(alone.len() == 1 && alone[0].kinds().eq([*kind]), "{kind:?}: {alone:?}");
            }
        }
    }
}
