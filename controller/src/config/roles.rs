//! Which parts of the program this process runs. Roles that are not built yet are refused by name.

use cofferdam_core::ConfigError;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Controller,
    Api,
    CodeRunner,
    AwsOperator,
    AiGateway,
    AgentWorker,
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
            "ai-gateway" => Ok(Role::AiGateway),
            "agent-worker" => Ok(Role::AgentWorker),
            other => Err(ConfigError::Role(other.to_owned())),
        });
        let roles = Self(roles.collect::<Result<_, _>>()?);
        if roles.0.len() > 1 && roles.0.contains(&Role::CodeRunner) {
            return Err(ConfigError::value("--role", "code-runner runs alone; omit --role to run everything"));
        }
        Ok(roles)
    }

    /// True if this process starts a local worker.
    pub fn local_worker(&self) -> bool {
        self.0.is_empty() || self.front_only()
    }

    /// True if this process only serves its local workers to controllers on other machines.
    pub fn front_only(&self) -> bool {
        self.0.contains(&Role::CodeRunner)
    }

    /// True if this process copies images from buckets into registries.
    pub fn carries(&self) -> bool {
        self.0.is_empty() || self.0.contains(&Role::AwsOperator)
    }

    /// True if this process serves the addresses of models.
    pub fn serves_models(&self) -> bool {
        self.serves() || self.0.contains(&Role::AiGateway)
    }

    /// True if this process serves the addresses of models and no other ones.
    pub fn models_only(&self) -> bool {
        self.serves_models() && !self.serves()
    }

    /// True if this process does nothing but copy images.
    pub fn carries_only(&self) -> bool {
        self.carries() && !self.serves_models() && !self.runs_agents()
    }

    /// True if this process takes agents' tasks and runs them.
    pub fn runs_agents(&self) -> bool {
        self.0.is_empty() || self.0.contains(&Role::AgentWorker)
    }

    /// True if this process runs agents, and serves no addresses but health and metrics.
    pub fn agents_only(&self) -> bool {
        self.runs_agents() && !self.serves_models()
    }

    /// True if this process keeps files of its own: the others have all they know from the database.
    pub fn keeps_files(&self) -> bool {
        self.serves() || self.local_worker()
    }

    /// True if this process serves the HTTP API and drives agents.
    pub fn serves(&self) -> bool {
        self.0.is_empty() || self.0.iter().any(|role| matches!(role, Role::Controller | Role::Api))
    }
}
