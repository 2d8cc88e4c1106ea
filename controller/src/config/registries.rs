//! Parses the registries that components may come from.

use std::collections::BTreeMap;
use std::time::Duration;

use cofferdam_core::{ConfigError, Secret, Source};
use cofferdam_policy::{KnownRegistry, RegistriesConfig};
use serde::Deserialize;

use super::ConfigFile;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RegistrySection {
    pub plain_http: bool,
    pub username: Option<String>,
    pub password: Option<String>,
}

pub(super) fn parse(source: &Source<'_>, file: &ConfigFile) -> Result<RegistriesConfig, ConfigError> {
    let mut known = BTreeMap::new();
    for (host, section) in &file.registries {
        let credentials = match (&section.username, &section.password) {
            (Some(name), Some(password)) => Some((name.clone(), Secret::new(password.clone()))),
            (None, None) => None,
            _ => {
                let reason = "username and password are only valid together";
                return Err(ConfigError::value(format!("registries.{host}"), reason));
            }
        };
        check(host)?;
        known.insert(host.clone(), KnownRegistry { plain_http: section.plain_http, credentials });
    }
    for entry in source.list("COFFERDAM_REGISTRIES").unwrap_or_default() {
        let (host, plain_http) = entry.strip_prefix("http://").map_or((&*entry, false), |host| (host, true));
        check(host)?;
        known.entry(host.to_owned()).or_insert(KnownRegistry { plain_http, credentials: None });
    }
    // The place of the images says `http://` for all of its host.
    let images = source.text("COFFERDAM_IMAGES");
    let without_tls = images.as_deref().and_then(|place| place.strip_prefix("http://"));
    if let Some(known) = without_tls.and_then(|place| known.get_mut(place.split('/').next().unwrap_or_default())) {
        known.plain_http = true;
    }
    let silence = Duration::from_secs(source.number("COFFERDAM_REGISTRY_SILENCE_S", None, 30)?);
    Ok(RegistriesConfig::new(known, silence))
}

fn check(host: &str) -> Result<(), ConfigError> {
    let good = host.parse::<http::uri::Authority>().is_ok_and(|authority| !authority.as_str().contains('@'));
    if good { Ok(()) } else { Err(ConfigError::value("registries", format!("{host:?} is not HOST or HOST:PORT"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(env: &str, file: &str) -> Result<RegistriesConfig, String> {
        let look = |name: &str| (name == "COFFERDAM_REGISTRIES").then(|| env.to_owned());
        let file = ConfigFile::parse(file).map_err(|e| e.to_string())?;
        parse(&Source::new(&look), &file).map_err(|e| e.to_string())
    }

    #[test]
    fn the_place_of_the_images_says_http_for_its_host() {
        let look = |name: &str| match name {
            "COFFERDAM_REGISTRIES" => Some("127.0.0.1:5000,127.0.0.1:5001".to_owned()),
            "COFFERDAM_IMAGES" => Some("http://127.0.0.1:5000/agents".to_owned()),
            _ => None,
        };
        let config = parse(&Source::new(&look), &ConfigFile::default()).unwrap();
        let plain = |host: &str| config.find(host).unwrap().plain_http;
        assert_eq!((plain("127.0.0.1:5000"), plain("127.0.0.1:5001")), (true, false));
    }

    #[test]
    fn registries_come_from_both_places() {
        let file = "[registries.\"r.example\"]\nusername = \"u\"\npassword = \"hush\"";
        let config = read("http://localhost:5000, other.example,r.example", file).unwrap();
        assert_eq!(config.hosts().collect::<Vec<_>>(), ["localhost:5000", "other.example", "r.example"]);
        assert!(config.find("localhost:5000").unwrap().plain_http && config.find("x").is_none());
        assert!(config.find("r.example").unwrap().credentials.is_some(), "the file's says more");
        assert!(!format!("{config:?}").contains("hush"));
        assert!(read("https://x.example/y", "").is_err());
        assert!(read("", "[registries.x]\nusername = \"u\"").is_err());
        assert!(read("", "[registries.x]\npasword = \"u\"").is_err());
    }
}
