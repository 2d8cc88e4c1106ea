//! A version of a tool under the operator's policy and limits.

use std::collections::HashMap;
use std::convert::Infallible;

use cofferdam_contract::{Grants, Limits, LimitsRequest, ToolFunction};
use cofferdam_policy::{Limited, LimitsConfig, OperatorPolicy, effective};
use cofferdam_store::ToolVersionRow;

/// A version of a tool, ready to be called.
#[derive(Debug)]
pub struct Tool {
    pub row: ToolVersionRow,
    /// The grants that were asked for and are allowed.
    pub grants: Grants,
    /// The grants and limits that were reduced or refused.
    pub limited: Vec<Limited>,
    pub limits: Limits,
    /// The index of each function in the component's list.
    functions: HashMap<String, usize>,
}

impl Tool {
    pub(crate) fn new(row: ToolVersionRow, policy: &OperatorPolicy, config: &LimitsConfig) -> Self {
        let (grants, mut limited) = effective(&row.grants, policy);
        let limits = within(&row.limits, config, &mut limited);
        let functions =
            row.component.functions.iter().enumerate().map(|(at, function)| (function.name.clone(), at)).collect();
        Self { row, grants, limited, limits, functions }
    }

    pub fn function(&self, name: &str) -> Option<&ToolFunction> {
        self.functions.get(name).and_then(|at| self.row.component.functions.get(*at))
    }

    pub fn functions(&self) -> &[ToolFunction] {
        &self.row.component.functions
    }
}

/// The limits of a tool's calls: those that were asked for, at most the operator's maximum.
fn within(asked: &LimitsRequest, config: &LimitsConfig, limited: &mut Vec<Limited>) -> Limits {
    let Ok(limits) = Limits::combine(asked, &config.default, &config.maximum, |name, asked, default, most| {
        if let Some(asked) = asked
            && asked > most
        {
            limited.push(Limited {
                grant: format!("limits.{name}"),
                by: "operator's maximum".to_owned(),
                detail: format!("{most} instead of {asked}"),
            });
        }
        Ok::<_, Infallible>(asked.unwrap_or(default).clamp(1, most.max(1)))
    });
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_beyond_the_maximum_are_cut_and_reported() {
        let config = LimitsConfig { default: Limits::DEFAULT, maximum: Limits { wall_ms: 5, ..Limits::MAXIMUM } };
        let asked = LimitsRequest { wall_ms: Some(9), files: Some(0), ..LimitsRequest::default() };
        let mut limited = Vec::new();
        let limits = within(&asked, &config, &mut limited);
        assert_eq!((limits.wall_ms, limits.files, limits.cpu_ms), (5, 1, Limits::DEFAULT.cpu_ms));
        let notes: Vec<_> = limited.iter().map(|note| (note.grant.as_str(), note.detail.as_str())).collect();
        assert_eq!(notes, [("limits.wall_ms", "5 instead of 9")]);
    }
}
