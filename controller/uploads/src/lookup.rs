//! Looks up an image in a registry: its digest for one architecture, and whether it can run.

use std::time::Duration;

use cofferdam_contract::Problem;
use cofferdam_registry::client::error::{ClientError, Kind};
use cofferdam_registry::client::{Resolved, ResolvedImage};
use cofferdam_registry::inspect::Config;
use cofferdam_registry::{Client, Platform, Target};

use crate::PushedImage;

/// All requests of one lookup together.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(30);
/// Platforms that an error lists.
const MAX_LISTED: usize = 8;

/// Finds the image that a reference names now, for nodes of `architecture`.
///
/// # Errors
/// The registry failed, or it has no image that can run there. The problem is safe to show.
pub async fn look_up(target: &Target, architecture: &str) -> Result<PushedImage, Problem> {
    let reference = &target.reference;
    let client = Client::new(target).map_err(upstream)?;
    let resolved = match tokio::time::timeout(LOOKUP_TIMEOUT, client.resolve()).await {
        Ok(resolved) => resolved.map_err(upstream)?,
        Err(_) => {
            let (registry, seconds) = (reference.registry(), LOOKUP_TIMEOUT.as_secs());
            return Err(Problem::bad_upstream(format!("image: {registry} did not answer within {seconds} s.")));
        }
    };
    let (image, user) = choose(&resolved, architecture)?;
    let digest = image.manifest.digest;
    Ok(PushedImage {
        reference: reference.pinned(digest).to_string(),
        digest: digest.to_string(),
        architecture: architecture.to_owned(),
        run_as: PushedImage::user(&user),
        size_bytes: image.layers.iter().map(|layer| layer.size).fold(0, u64::saturating_add),
    })
}

/// The image for one architecture, and the user it names.
fn choose<'a>(resolved: &'a Resolved, architecture: &str) -> Result<(&'a ResolvedImage, String), Problem> {
    let mut found = Vec::new();
    let nodes = Platform::new("linux", architecture, None);
    for image in &resolved.images {
        let Ok(config) = Config::read(&image.config) else { continue };
        if config.platform.parse().is_ok_and(|platform| nodes.takes(&platform)) {
            if config.entrypoint.iter().chain(&config.cmd).all(String::is_empty) {
                return Err(Problem::invalid(
                    "image: it has neither an entry point nor a command, so there is nothing to run: add CMD or ENTRYPOINT.",
                ));
            }
            return Ok((image, config.user));
        }
        found.push(config.platform);
    }
    found.truncate(MAX_LISTED);
    let found = if found.is_empty() { "no readable image".to_owned() } else { found.join(", ") };
    Err(Problem::invalid(format!(
        "image: the environment's nodes are linux/{architecture}, but the registry has {found}: build it with \
         --platform=linux/{architecture}, or deploy it into another environment."
    )))
}

/// A registry's error as the server tells it: its remedies are settings, not the options of a command.
pub fn told(error: &ClientError) -> String {
    match error.kind {
        Kind::Tls => error.with_remedy(
            "A registry without TLS is named with `http://` in COFFERDAM_IMAGES or COFFERDAM_REGISTRIES, or has `plain_http` \
             in [registries.\"HOST\"] or in its environment's settings; a private CA is an environment's `ca`. \
             `cofferdam environment create --help` shows both.",
        ),
        Kind::Elsewhere => error.with_remedy(
            "Its token service has to be on its own host, or in its domain. From a terminal, `cofferdam image push` takes \
             --token-host.",
        ),
        _ => error.to_string(),
    }
}

fn upstream(error: ClientError) -> Problem {
    let detail = format!("image: {}", told(&error));
    match error.kind {
        Kind::NotFound | Kind::Settings | Kind::Protocol | Kind::WrongContent => Problem::invalid(detail),
        _ => Problem::bad_upstream(detail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_registry::Digest;
    use cofferdam_registry::client::Manifest;

    fn resolved(configs: &[&str]) -> Resolved {
        let manifest = |text: &str| Manifest {
            digest: Digest::of(text.as_bytes()),
            media_type: String::new(),
            bytes: bytes::Bytes::new(),
        };
        let image = |config: &&str| ResolvedImage {
            manifest: manifest(config),
            config: bytes::Bytes::from((*config).to_owned()),
            config_digest: Digest::of(config.as_bytes()),
            layers: vec![],
        };
        Resolved { manifest: manifest("index"), images: configs.iter().map(image).collect() }
    }

    #[test]
    fn no_error_of_the_server_names_options_of_a_command_that_lacks_them() {
        for kind in [Kind::Tls, Kind::Elsewhere, Kind::NotFound, Kind::Unauthorized, Kind::Unreachable] {
            let said = told(&ClientError::new(kind, "r.example", "it does not speak TLS"));
            assert!(said.starts_with("The registry r.example: it does not speak TLS. "), "{said}");
            assert!(!said.contains("--plain-http") && !said.contains("--ca-file"), "{said}");
        }
        assert!(told(&ClientError::new(Kind::Tls, "r", "x")).contains("COFFERDAM_REGISTRIES"));
    }

    #[test]
    fn the_image_is_the_one_that_the_nodes_can_run() {
        let arm = r#"{"os":"linux","architecture":"arm64","config":{"Cmd":["x"],"User":"1000:0"}}"#;
        let amd = r#"{"os":"linux","architecture":"amd64","config":{"Entrypoint":["x"],"Cmd":null}}"#;
        let index = resolved(&[arm, amd, "junk"]);
        assert_eq!(choose(&index, "amd64").unwrap().0.manifest.digest, Digest::of(amd.as_bytes()));
        let (image, user) = choose(&index, "arm64").unwrap();
        assert_eq!((image.manifest.digest, PushedImage::user(&user)), (Digest::of(arm.as_bytes()), Some(1000)));
        // As old tools write it: no operating system, and a text for a list.
        let old = r#"{"architecture":"amd64","config":{"Entrypoint":"x","Cmd":null,"User":null}}"#;
        assert_eq!(choose(&resolved(&[old]), "amd64").unwrap().1, "");
        let wrong = choose(&resolved(&[arm]), "amd64").unwrap_err().detail;
        assert!(wrong.contains("linux/arm64") && wrong.contains("--platform=linux/amd64"), "{wrong}");
        let windows = r#"{"os":"windows","architecture":"amd64","config":{"Cmd":["x"]}}"#;
        for images in [vec![windows], vec!["junk"], vec![]] {
            assert!(choose(&resolved(&images), "amd64").is_err());
        }
        for nothing in [
            r#"{"os":"linux","architecture":"amd64"}"#,
            r#"{"os":"linux","architecture":"amd64","config":{"Cmd":[],"Entrypoint":null}}"#,
        ] {
            let error = choose(&resolved(&[nothing]), "amd64").unwrap_err().detail;
            assert!(error.contains("ENTRYPOINT"), "{error}");
        }
    }
}
