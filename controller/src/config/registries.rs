//! The registries that components are pulled from and pushed to, each with its credentials. No others are ever asked:
//! whoever deploys would otherwise choose what this process connects to.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::{ConfigError, ConfigFile, Secret, Source};

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RegistrySection {
    pub plain_http: bool,
    pub username: Option<String>,
    pub password: Option<String>,
}

#[derive(Debug, Clone, Default)]
pub struct RegistryAccess {
    pub plain_http: bool,
    /// Name and password.
    pub credentials: Option<(String, Secret)>,
}

#[derive(Debug, Clone)]
pub struct RegistriesConfig {
    /// By `host` or `host:port`.
    known: BTreeMap<String, RegistryAccess>,
    /// The longest silence in the middle of an answer.
    pub silence: Duration,
}

impl RegistriesConfig {
    pub(super) fn parse(source: &Source<'_>, file: &ConfigFile) -> Result<Self, ConfigError> {
        let mut known = BTreeMap::new();
        for (host, section) in &file.registries {
            let credentials = match (&section.username, &section.password) {
                (Some(name), Some(password)) => Some((name.clone(), Secret::new(password.clone()))),
                (None, None) => None,
                _ => {
                    let reason = "a username needs a password, and the other way round";
                    return Err(ConfigError::value(format!("registries.{host}"), reason));
                }
            };
            check(host)?;
            known.insert(host.clone(), RegistryAccess { plain_http: section.plain_http, credentials });
        }
        for entry in source.list("COFFERDAM_REGISTRIES").unwrap_or_default() {
            let (host, plain_http) = entry.strip_prefix("http://").map_or((&*entry, false), |host| (host, true));
            check(host)?;
            known.entry(host.to_owned()).or_insert(RegistryAccess { plain_http, credentials: None });
        }
        let silence = Duration::from_secs(source.number("COFFERDAM_REGISTRY_SILENCE_S", None, 30)?);
        Ok(Self { known, silence })
    }

    pub fn find(&self, host: &str) -> Option<&RegistryAccess> {
        self.known.get(host)
    }

    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        self.known.keys().map(String::as_str)
    }
}

fn check(host: &str) -> Result<(), ConfigError> {
    let good = host.parse::<http::uri::Authority>().is_ok_and(|authority| !authority.as_str().contains('@'));
    if good { Ok(()) } else { Err(ConfigError::value("registries", format!("{host:?} is not HOST or HOST:PORT"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(env: &str, file: &str) -> Result<RegistriesConfig, String> {
        let look = |name: &str| (name == "COFFERDAM_REGISTRIES").then(|| env.to_owned());
        let file = ConfigFile::parse(file).map_err(|e| e.to_string())?;
        RegistriesConfig::parse(&Source::new(&look), &file).map_err(|e| e.to_string())
    }

    #[test]
    fn registries_come_from_both_places() {
        let file = "[registries.\"r.example\"]\nusername = \"u\"\npassword = \"hush\"";
        let config = parse("http://localhost:5000, other.example,r.example", file).unwrap();
        assert_eq!(config.hosts().collect::<Vec<_>>(), ["localhost:5000", "other.example", "r.example"]);
        assert!(config.find("localhost:5000").unwrap().plain_http && config.find("x").is_none());
        assert!(config.find("r.example").unwrap().credentials.is_some(), "the file's says more");
        assert!(!format!("{config:?}").contains("hush"));
        assert!(parse("https://x.example/y", "").is_err());
        assert!(parse("", "[registries.x]\nusername = \"u\"").is_err());
        assert!(parse("", "[registries.x]\npasword = \"u\"").is_err());
    }
}
