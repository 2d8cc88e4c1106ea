//! The operator's settings: a struct per concern, parsed in one place from flags, environment and a TOML file, in that
//! order of precedence. What does not parse is refused whole; nothing here reads the process's state by itself.

mod agents;
mod database;
mod file;
mod gateway;
mod limits;
mod objects;
mod registries;
mod roles;
mod secret;
mod sessions;
mod source;
mod uploads;
mod workers;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use agents::{AgentsConfig, LocalCluster, LocalEnvironment, Timing, credentials_for, images_place, is_label};
pub use database::DatabaseConfig;
pub use file::ConfigFile;
pub use gateway::GatewayConfig;
pub use limits::LimitsConfig;
pub use objects::{LogsConfig, ObjectsConfig};
pub use registries::{RegistriesConfig, RegistryAccess};
pub use roles::{Role, Roles};
pub use secret::Secret;
pub use sessions::SessionsConfig;
pub use source::Source;
pub use uploads::UploadsConfig;
pub use workers::{RemoteWorker, WorkersConfig};

/// Why the settings are refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{name}: {reason}")]
    Value { name: String, reason: String },
    #[error("the configuration file is refused: {0}")]
    File(String),
    #[error(
        "there is no role {0:?} in this version: there are `controller` and `api` (the HTTP API), `code-runner` (a worker \
         for other machines) and `aws-operator` (brings images from S3 to ECR); without --role everything runs together"
    )]
    Role(String),
    #[error("--role {0} needs {1}")]
    Needs(&'static str, &'static str),
    #[error("no data folder: give --data-dir, or set HOME")]
    NoHome,
}

impl ConfigError {
    pub(crate) fn value(name: impl Into<String>, reason: impl ToString) -> Self {
        Self::Value { name: name.into(), reason: reason.to_string() }
    }
}

/// What the command line says; the rest comes from the environment and the file.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    pub listen: Option<String>,
    pub data_dir: Option<PathBuf>,
    pub roles: Vec<String>,
}

/// Everything that `serve` is told.
#[derive(Debug, Clone)]
pub struct Config {
    pub listen: SocketAddr,
    pub data_dir: PathBuf,
    pub roles: Roles,
    /// The key that is accepted from the first start on.
    pub api_key: Option<Secret>,
    pub database: DatabaseConfig,
    pub limits: LimitsConfig,
    pub sessions: SessionsConfig,
    pub workers: WorkersConfig,
    /// The file of the operator's policy.
    pub policy: Option<PathBuf>,
    pub registries: RegistriesConfig,
    pub gateway: GatewayConfig,
    pub agents: AgentsConfig,
    pub uploads: UploadsConfig,
    pub objects: ObjectsConfig,
    pub logs: LogsConfig,
    /// How long a shutdown waits for what is under way.
    pub drain: Duration,
}

impl Config {
    /// Parses it all. `env` looks a variable up, `file` is the text of the `--config` file.
    ///
    /// # Errors
    /// The first setting that is wrong, by name.
    pub fn parse(flags: &Flags, env: &dyn Fn(&str) -> Option<String>, file: Option<&str>) -> Result<Self, ConfigError> {
        let file = file.map_or_else(|| Ok(ConfigFile::default()), ConfigFile::parse)?;
        let source = Source::new(env);
        let roles = Roles::parse(&flags.roles)?;
        let data_dir = match flags.data_dir.clone().or_else(|| source.text("COFFERDAM_DATA_DIR").map(PathBuf::from)) {
            Some(dir) => dir,
            None => file.data_dir.clone().map_or_else(|| default_data_dir(env), Ok)?,
        };
        let listen = flags.listen.clone().or_else(|| source.text("COFFERDAM_LISTEN")).or_else(|| file.listen.clone());
        let listen = listen.unwrap_or_else(|| "127.0.0.1:8080".to_owned());
        let listen =
            listen.parse().map_err(|e| ConfigError::value("listen", format!("{listen:?}: {e}; say IP:PORT")))?;
        let workers = WorkersConfig::parse(&source, &file)?;
        if roles.front_only() && workers.token.is_none() {
            return Err(ConfigError::Needs("code-runner", "COFFERDAM_WORKER_TOKEN, which its controllers send"));
        }
        if roles.serves() && !roles.local_worker() && workers.remote.is_empty() {
            return Err(ConfigError::Needs("controller", "COFFERDAM_WORKERS, the addresses of its code-runners"));
        }
        let (database, gateway) =
            (DatabaseConfig::parse(&source, &file, &data_dir)?, GatewayConfig::parse(&source, &file));
        if roles.carries_only() && database.is_file() {
            return Err(ConfigError::Needs("aws-operator", "DATABASE_URL, the PostgreSQL database of its controllers"));
        }
        if roles.carries_only() && gateway.encryption_key.is_none() {
            return Err(ConfigError::Needs("aws-operator", "COFFERDAM_ENCRYPTION_KEY, the one of its controllers"));
        }
        Ok(Self {
            listen,
            api_key: source.text("COFFERDAM_API_KEY").map(Secret::new),
            database,
            limits: LimitsConfig::parse(&source, &file)?,
            sessions: SessionsConfig::parse(&source, &file)?,
            gateway,
            objects: ObjectsConfig::parse(&source, &file, &data_dir)?,
            logs: LogsConfig::parse(&source, &file)?,
            policy: source.text("COFFERDAM_POLICY").map(PathBuf::from).or_else(|| file.policy.clone()),
            registries: RegistriesConfig::parse(&source, &file)?,
            agents: AgentsConfig::parse(&source, &file)?,
            uploads: UploadsConfig::parse(&source, &file)?,
            drain: Duration::from_secs(source.number("COFFERDAM_DRAIN_S", file.drain_s, 30)?),
            workers,
            data_dir,
            roles,
        })
    }
}

/// `$XDG_DATA_HOME/cofferdam`, or `~/.local/share/cofferdam`.
///
/// # Errors
/// Where neither variable is set.
pub fn default_data_dir(env: &dyn Fn(&str) -> Option<String>) -> Result<PathBuf, ConfigError> {
    let set = |name: &str| env(name).filter(|text| !text.is_empty()).map(PathBuf::from);
    let base = set("XDG_DATA_HOME").or_else(|| Some(set("HOME")?.join(".local/share")));
    base.map(|base| base.join("cofferdam")).ok_or(ConfigError::NoHome)
}

#[cfg(test)]
mod tests;
