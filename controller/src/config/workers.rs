//! Workers on other machines and the token between them and us; settings that the local worker is given.

use super::{ConfigError, ConfigFile, Secret, Source};

#[derive(Debug, Clone)]
pub struct WorkersConfig {
    pub remote: Vec<RemoteWorker>,
    /// What a controller sends and a code-runner wants.
    pub token: Option<Secret>,
    /// The file's `[worker]` table, for the local worker.
    pub local: toml::Table,
    /// The file's `[tool_worker]` table, for the local worker of tools.
    pub tools: toml::Table,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteWorker {
    /// `host:port`; also the worker's name in the store.
    pub authority: String,
}

impl WorkersConfig {
    pub(super) fn parse(source: &Source<'_>, file: &ConfigFile) -> Result<Self, ConfigError> {
        let listed = source.list("COFFERDAM_WORKERS");
        let addresses = listed.unwrap_or_else(|| file.workers.addresses.clone().unwrap_or_default());
        let remote = addresses.iter().map(|address| RemoteWorker::parse(address)).collect::<Result<Vec<_>, _>>()?;
        let token = source.text("COFFERDAM_WORKER_TOKEN").map(Secret::new);
        if !remote.is_empty() && token.is_none() {
            return Err(ConfigError::value(
                "COFFERDAM_WORKERS",
                "needs COFFERDAM_WORKER_TOKEN, the code-runners' token",
            ));
        }
        Ok(Self { remote, token, local: file.worker.clone(), tools: file.tool_worker.clone() })
    }
}

impl RemoteWorker {
    fn parse(address: &str) -> Result<Self, ConfigError> {
        let wrong = || ConfigError::value("COFFERDAM_WORKERS", format!("{address:?} is not http://HOST:PORT"));
        let authority = address.strip_prefix("http://").ok_or_else(wrong)?.trim_end_matches('/');
        let parsed: http::uri::Authority = authority.parse().map_err(|_| wrong())?;
        if parsed.port_u16().is_none() || authority.contains(['/', '@']) {
            return Err(wrong());
        }
        Ok(Self { authority: authority.to_owned() })
    }
}
