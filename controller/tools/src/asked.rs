//! The grants and limits of a deployment as a request carries them, and the choice between grants and a policy.

use cofferdam_contract::{Grants, LimitsRequest, Problem};
use cofferdam_policy::{ToolPolicy, check_grants, check_tool_grants};

use crate::Error;

/// The grants and limits in a request: either grants as they are, or a policy that names them.
#[derive(Debug, Default)]
pub struct AskedTool {
    pub grants: Option<Grants>,
    pub policy: Option<String>,
    pub limits: LimitsRequest,
}

impl AskedTool {
    /// Parses and checks them. Limits in the request override those in the policy.
    ///
    /// # Errors
    /// The first invalid grant or the first error in the policy.
    pub fn read(self) -> Result<ToolPolicy, Error> {
        let mut asked = match (self.grants, self.policy) {
            (Some(_), Some(_)) => return Err(Problem::invalid("Give either `grants` or `policy`, not both.").into()),
            (Some(grants), None) => {
                check_grants(&grants).map_err(|e| Problem::invalid(format!("grants.{e}")))?;
                ToolPolicy { grants, ..ToolPolicy::default() }
            }
            (None, Some(text)) => {
                ToolPolicy::parse(&text).map_err(|e| Problem::invalid(format!("The policy is refused: {e}")))?
            }
            (None, None) => ToolPolicy::default(),
        };
        check_tool_grants(&asked.grants).map_err(|e| Problem::invalid(format!("grants.{e}")))?;
        asked.limits = self.limits.or(asked.limits);
        Ok(asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_and_a_policy_exclude_each_other_and_the_requests_limits_win() {
        let policy = "version: \"1.0\"\npermissions: {resources: {limits: {wall_ms: 5, files: 7}}}";
        let limits = LimitsRequest { wall_ms: Some(9), ..LimitsRequest::default() };
        let asked = AskedTool { grants: None, policy: Some(policy.to_owned()), limits }.read().unwrap();
        assert_eq!((asked.limits.wall_ms, asked.limits.files), (Some(9), Some(7)));
        let both = AskedTool { grants: Some(Grants::default()), policy: Some(policy.to_owned()), limits };
        assert!(both.read().is_err());
    }
}
