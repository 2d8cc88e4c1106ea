//! The notes about grants that are less than requested, and the comparisons that make them.

use serde::{Deserialize, Serialize};

use crate::allowed::Allowed;

/// A grant that is less than requested, and the reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Limited {
    /// The place of the request, such as `http[0].host`.
    pub grant: String,
    /// The part of the operator's policy that limits it.
    pub by: String,
    /// The difference.
    pub detail: String,
}

#[derive(Default)]
pub(crate) struct Notes(Vec<Limited>);

impl Notes {
    pub(super) fn add(&mut self, grant: impl Into<String>, by: &str, detail: impl Into<String>) {
        self.0.push(Limited { grant: grant.into(), by: format!("operator policy: {by}"), detail: detail.into() });
    }

    /// Reduces a value to the operator's bound. `name` is the place of both.
    pub(super) fn bound(&mut self, value: &mut u64, most: Option<u64>, name: &str) {
        if let Some(most) = most
            && *value > most
        {
            self.add(name, name, format!("{most} instead of {value}"));
            *value = most;
        }
    }

    /// The requested names that the operator allows; `*` turns into the operator's list. `at` names the places of both.
    pub(super) fn named(&mut self, at: (&str, &str), asked: &[String], allowed: &Allowed) -> Vec<String> {
        let (grant, by) = at;
        let mut left = Vec::new();
        for (number, name) in asked.iter().enumerate() {
            match allowed {
                Allowed::Names(names) if name == "*" && !allowed.allows(name) => {
                    left.extend(names.iter().cloned());
                    self.add(format!("{grant}[{number}]"), by, format!("only {}", names.join(", ")));
                }
                allowed if allowed.allows(name) => left.push(name.clone()),
                _ => self.add(format!("{grant}[{number}]"), by, format!("{name} is not allowed")),
            }
        }
        left.sort_unstable();
        left.dedup();
        left
    }

    pub(crate) fn into_list(self) -> Vec<Limited> {
        self.0
    }
}
