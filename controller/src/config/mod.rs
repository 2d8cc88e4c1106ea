//! The operator's settings, parsed in one place from flags, environment and a TOML file, in that order of precedence.
//! The structs are the crates' own. One invalid setting refuses the start. Nothing here reads the environment itself:
//! the caller passes it in.

mod agents;
mod database;
mod file;
mod gateway;
mod limits;
mod models;
mod objects;
mod rates;
mod registries;
mod roles;
mod sessions;
mod uploads;
mod workers;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use cofferdam_core::{ConfigError, Secret, Source};
use cofferdam_deployments::DeploymentsConfig;
use cofferdam_environments::LocalEnvironment;
use cofferdam_gateway::GatewayConfig;
use cofferdam_identity::{KeysConfig, RatesConfig};
use cofferdam_logs::LogsConfig;
use cofferdam_policy::{Cidr, LimitsConfig, RegistriesConfig};
use cofferdam_sandbox::SessionsConfig;
use cofferdam_store::DatabaseConfig;
use cofferdam_uploads::UploadsConfig;

pub use file::ConfigFile;
pub use models::ModelsConfig;
pub use roles::{Role, Roles};
pub use workers::WorkersConfig;

/// The settings of the command line; the rest comes from the environment and the file.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    pub listen: Option<String>,
    pub data_dir: Option<PathBuf>,
    pub roles: Vec<String>,
}

/// All settings of `serve`.
#[derive(Debug, Clone)]
pub struct Config {
    pub listen: SocketAddr,
    pub data_dir: PathBuf,
    pub roles: Roles,
    /// An API key that is valid from the first start.
    pub api_key: Option<Secret>,
    /// 32 bytes in hex or base64; by default a key in the data folder.
    pub encryption_key: Option<Secret>,
    pub database: DatabaseConfig,
    pub limits: LimitsConfig,
    pub sessions: SessionsConfig,
    pub keys: KeysConfig,
    /// The limits of keys and organizations without their own.
    pub rates: RatesConfig,
    /// The address of the Redis that processes share; without it each counts and wakes by itself.
    pub redis_url: Option<Secret>,
    pub workers: WorkersConfig,
    /// The file of the operator's policy.
    pub policy: Option<PathBuf>,
    pub registries: RegistriesConfig,
    pub gateway: GatewayConfig,
    pub models: ModelsConfig,
    /// The environment `local`.
    pub local: LocalEnvironment,
    /// Addresses that agents may reach besides the gateway and the controller, if the controller is not in their
    /// cluster.
    pub egress: Vec<Cidr>,
    pub deployments: DeploymentsConfig,
    pub uploads: UploadsConfig,
    /// The object store: `file://`, `s3://`, `gs://` or `az://`; holds no credentials.
    pub objects: String,
    pub logs: LogsConfig,
    /// The time that a shutdown waits for requests and agents' steps under way.
    pub drain: Duration,
    /// Agents' tasks that this process runs at once.
    pub agent_slots: usize,
}

impl Config {
    /// Parses all settings. `env` looks up a variable; `file` is the content of the `--config` file.
    ///
    /// # Errors
    /// The first invalid setting, by name.
    pub fn parse(flags: &Flags, env: &dyn Fn(&str) -> Option<String>, file: Option<&str>) -> Result<Self, ConfigError> {
        let file = file.map_or_else(|| Ok(ConfigFile::default()), ConfigFile::parse)?;
        let source = Source::new(env);
        let roles = Roles::parse(&flags.roles)?;
        let data_dir = match flags.data_dir.clone().or_else(|| source.text("COFFERDAM_DATA_DIR").map(PathBuf::from)) {
            Some(dir) => dir,
            None => match (file.data_dir.clone(), default_data_dir(env)) {
                (Some(dir), _) | (None, Ok(dir)) => dir,
                (None, Err(_)) if !roles.keeps_files() => PathBuf::new(),
                (None, Err(no_home)) => return Err(no_home),
            },
        };
        let listen = flags.listen.clone().or_else(|| source.text("COFFERDAM_LISTEN")).or_else(|| file.listen.clone());
        let listen = listen.unwrap_or_else(|| "127.0.0.1:8080".to_owned());
        let listen =
            listen.parse().map_err(|e| ConfigError::value("listen", format!("{listen:?}: {e}; use IP:PORT")))?;
        let workers = WorkersConfig::parse(&source, &file)?;
        if roles.front_only() && workers.token.is_none() {
            return Err(ConfigError::Needs("code-runner", "COFFERDAM_WORKER_TOKEN, which its controllers send"));
        }
        if roles.serves() && !roles.local_worker() && workers.remote.is_empty() {
            return Err(ConfigError::Needs("controller", "COFFERDAM_WORKERS, the addresses of its code-runners"));
        }
        let database = database::parse(&source, &file, &data_dir)?;
        let encryption_key = source.text("COFFERDAM_ENCRYPTION_KEY").map(Secret::new);
        // Roles that work for controllers elsewhere, and are nothing without them.
        let helper = match (roles.models_only(), roles.carries_only(), roles.agents_only()) {
            (true, ..) => Some("ai-gateway"),
            (_, true, _) => Some("aws-operator"),
            (.., true) => Some("agent-worker"),
            _ => None,
        };
        if let (Some(role), true) = (helper, database.is_file()) {
            return Err(ConfigError::Needs(role, "DATABASE_URL, the PostgreSQL database of its controllers"));
        }
        if let (Some(role), None) = (helper, &encryption_key) {
            return Err(ConfigError::Needs(role, "COFFERDAM_ENCRYPTION_KEY, the one of its controllers"));
        }
        let registries = registries::parse(&source, &file)?;
        let uploads = uploads::parse(&source, &file)?;
        let models = models::parse(&source, env, &file, database.is_file())?;
        Ok(Self {
            listen,
            api_key: source.secret("COFFERDAM_API_KEY")?,
            encryption_key,
            database,
            limits: limits::parse(&source, &file)?,
            sessions: sessions::parse(&source, &file)?,
            keys: sessions::keys(&source, &file)?,
            rates: rates::parse(&source, &file)?,
            redis_url: rates::redis(&source, &file),
            gateway: gateway::parse(&source, &file),
            models,
            objects: objects::url(&source, &file, &data_dir)?,
            logs: objects::logs(&source, &file)?,
            policy: source.text("COFFERDAM_POLICY").map(PathBuf::from).or_else(|| file.policy.clone()),
            local: agents::local_environment(&source, &registries)?,
            registries,
            egress: agents::egress(&source)?,
            deployments: agents::deployments(&source, &uploads)?,
            uploads,
            agent_slots: agents::slots(&source, &file)?,
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
/// [`ConfigError::NoHome`] when neither variable is set.
pub fn default_data_dir(env: &dyn Fn(&str) -> Option<String>) -> Result<PathBuf, ConfigError> {
    let set = |name: &str| env(name).filter(|text| !text.is_empty()).map(PathBuf::from);
    let base = set("XDG_DATA_HOME").or_else(|| Some(set("HOME")?.join(".local/share")));
    base.map(|base| base.join("cofferdam")).ok_or(ConfigError::NoHome)
}

#[cfg(test)]
mod tests;
