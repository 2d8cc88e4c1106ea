//! Which parts of the program this process runs. Roles that are not built yet are refused by name.

use super::ConfigError;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Controller,
    Api,
    CodeRunner,
    AwsOperator,
}

/// The roles of this process; none named means everything in one process tree.
#[derive(Debug, Clone, Default)]
pub struct Roles(Vec<Role>);

impl Roles {
    pub(super) fn parse(names: &[String]) -> Result<Self, ConfigError> {
        let roles = names.iter().map(|name| match name.as_str() {
            "controller" => Ok(Role::Controller),
            "api" => Ok(Role::Api),
            "code-runner" => Ok(Role::CodeRunner),
            "aws-operator" => Ok(Role::AwsOperator),
            other => Err(ConfigError::Role(other.to_owned())),
        });
        let roles = Self(roles.collect::<Result<_, _>>()?);
        if roles.0.len() > 1 && roles.0.contains(&Role::CodeRunner) {
            return Err(ConfigError::value("--role", "code-runner runs alone: without --role one process runs all"));
        }
        Ok(roles)
    }

    /// Whether a worker child runs on this machine.
    pub fn local_worker(&self) -> bool {
        self.0.is_empty() || self.front_only()
    }

    /// Whether this process is no more than a worker with a door for other machines.
    pub fn front_only(&self) -> bool {
        self.0.contains(&Role::CodeRunner)
    }

    /// Whether it brings images from the cloud's buckets into its registry.
    pub fn carries(&self) -> bool {
        self.0.is_empty() || self.0.contains(&Role::AwsOperator)
    }

    /// Whether it does nothing else.
    pub fn carries_only(&self) -> bool {
        self.carries() && !self.serves()
    }

    /// Whether it has the HTTP API and drives agents.
    pub fn serves(&self) -> bool {
        self.0.is_empty() || self.0.iter().any(|role| matches!(role, Role::Controller | Role::Api))
    }
}
