//! Parses the workers on other machines, their token, and the settings of the local workers.

use cofferdam_core::{ConfigError, Secret, Source};
use cofferdam_workers::RemoteWorker;

use super::ConfigFile;

#[derive(Debug, Clone)]
pub struct WorkersConfig {
    pub remote: Vec<RemoteWorker>,
    /// The token that controllers send and code-runners check.
    pub token: Option<Secret>,
    /// The file's `[worker]` table, for the local worker.
    pub local: toml::Table,
    /// The file's `[tool_worker]` table, for the local worker of tools.
    pub tools: toml::Table,
}

impl WorkersConfig {
    pub(super) fn parse(source: &Source<'_>, file: &ConfigFile) -> Result<Self, ConfigError> {
        let listed = source.list("COFFERDAM_WORKERS");
        let addresses = listed.unwrap_or_else(|| file.workers.addresses.clone().unwrap_or_default());
        let remote = addresses.iter().map(|address| remote(address)).collect::<Result<Vec<_>, _>>()?;
        let token = source.secret("COFFERDAM_WORKER_TOKEN")?;
        if !remote.is_empty() && token.is_none() {
            return Err(ConfigError::value(
                "COFFERDAM_WORKERS",
                "needs COFFERDAM_WORKER_TOKEN, the code-runners' token",
            ));
        }
        Ok(Self { remote, token, local: file.worker.clone(), tools: file.tool_worker.clone() })
    }
}

fn remote(address: &str) -> Result<RemoteWorker, ConfigError> {
    let wrong = || ConfigError::value("COFFERDAM_WORKERS", format!("{address:?} is not http://HOST:PORT"));
    let authority = address.strip_prefix("http://").ok_or_else(wrong)?.trim_end_matches('/');
    let parsed: http::uri::Authority = authority.parse().map_err(|_| wrong())?;
    if parsed.port_u16().is_none() || authority.contains(['/', '@']) {
        return Err(wrong());
    }
    Ok(RemoteWorker { authority: authority.to_owned() })
}
