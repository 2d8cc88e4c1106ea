//! Asks a registry what a reference stands for: the digest of the image for one architecture, and whether it can run.

use cofferdam_contract::Problem;
use cofferdam_registry::client::error::{ClientError, Kind};
use cofferdam_registry::client::{Resolved, ResolvedImage};
use cofferdam_registry::{Client, Credentials, Reference, Target};
use futures_util::future::BoxFuture;
use serde::Deserialize;

use super::{PushedImage, RegistryAccess, Resolve};
use crate::Error;

/// All questions about one reference together.
const WHOLE: std::time::Duration = std::time::Duration::from_secs(30);

/// The registries of the world, as far as `image.rs` lets one ask.
pub struct Registries;

impl Resolve for Registries {
    fn resolve<'a>(
        &'a self,
        access: &'a RegistryAccess,
        reference: &'a str,
        architecture: &'a str,
    ) -> BoxFuture<'a, Result<PushedImage, Error>> {
        Box::pin(resolve(access, reference, architecture))
    }
}

async fn resolve(access: &RegistryAccess, text: &str, architecture: &str) -> Result<PushedImage, Error> {
    let reference = Reference::parse(text).map_err(|e| invalid(format!("image: {e}")))?;
    let mut target = Target::new(reference.clone());
    target.plain_http = access.plain_http;
    target.ca = access.ca.as_ref().map(|pem| bytes::Bytes::from(pem.clone().into_bytes()));
    if let Some((name, password)) = &access.credentials {
        target.credentials = Credentials::basic(name, password.expose());
    }
    ask(&target, architecture).await
}

/// What the target's reference stands for now.
///
/// # Errors
/// The registry's, or an image that cannot run there.
pub(super) async fn ask(target: &Target, architecture: &str) -> Result<PushedImage, Error> {
    let reference = &target.reference;
    let client = Client::new(target).map_err(upstream)?;
    let resolved = match tokio::time::timeout(WHOLE, client.resolve()).await {
        Ok(resolved) => resolved.map_err(upstream)?,
        Err(_) => {
            let detail = format!("image: {} did not answer within {} s.", reference.registry(), WHOLE.as_secs());
            return Err(Problem::bad_upstream(detail).into());
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

/// The image for that architecture, and its user.
fn choose<'a>(resolved: &'a Resolved, architecture: &str) -> Result<(&'a ResolvedImage, String), Error> {
    let mut found = Vec::new();
    for image in &resolved.images {
        let Ok(config) = serde_json::from_slice::<ImageConfig>(&image.config) else { continue };
        if config.os == "linux" && config.architecture == architecture {
            return match config.config.filter(Runs::something) {
                Some(runs) => Ok((image, runs.user.unwrap_or_default())),
                None => Err(no_entry_point()),
            };
        }
        found.push(format!("{}/{}", short(&config.os), short(&config.architecture)));
    }
    found.truncate(8);
    let there = if found.is_empty() { "no image that could be read".to_owned() } else { found.join(", ") };
    let detail = format!(
        "image: the environment's nodes are linux/{architecture}, and there is {there}: build it with \
         --platform=linux/{architecture}, or deploy it into another environment."
    );
    Err(invalid(detail))
}

fn no_entry_point() -> Error {
    invalid("image: it has neither an entry point nor a command, so there is nothing to run: add CMD or ENTRYPOINT.")
}

/// Of an image's configuration, what decides whether it can run.
#[derive(Deserialize)]
struct ImageConfig {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    #[serde(default)]
    config: Option<Runs>,
}

#[derive(Deserialize)]
struct Runs {
    #[serde(default, rename = "Entrypoint")]
    entrypoint: Option<Vec<String>>,
    #[serde(default, rename = "Cmd")]
    cmd: Option<Vec<String>>,
    #[serde(default, rename = "User")]
    user: Option<String>,
}

impl Runs {
    fn something(&self) -> bool {
        let says = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
        says(&self.entrypoint) || says(&self.cmd)
    }
}

/// A word of somebody else's, fit to be shown.
fn short(text: &str) -> String {
    text.chars().filter(char::is_ascii_graphic).take(32).collect()
}

fn invalid(detail: impl Into<String>) -> Error {
    Problem::invalid(detail).into()
}

fn upstream(error: ClientError) -> Error {
    let detail = format!("image: {error}");
    match error.kind {
        Kind::NotFound => Problem::invalid(detail).into(),
        Kind::Settings => Problem::invalid(detail).into(),
        Kind::Protocol | Kind::WrongContent => Problem::invalid(detail).into(),
        _ => Problem::bad_upstream(detail).into(),
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
    fn the_image_is_the_one_that_the_nodes_can_run() {
        let arm = r#"{"os":"linux","architecture":"arm64","config":{"Cmd":["x"],"User":"1000:0"}}"#;
        let amd = r#"{"os":"linux","architecture":"amd64","config":{"Entrypoint":["x"],"Cmd":null}}"#;
        let index = resolved(&[arm, amd, "junk"]);
        assert_eq!(choose(&index, "amd64").unwrap().0.manifest.digest, Digest::of(amd.as_bytes()));
        let (image, user) = choose(&index, "arm64").unwrap();
        assert_eq!((image.manifest.digest, PushedImage::user(&user)), (Digest::of(arm.as_bytes()), Some(1000)));
        for root in ["", "0", "0:0", "root", "nobody", "-1", "4294967296"] {
            assert_eq!(PushedImage::user(root), None, "{root}");
        }
        let wrong = choose(&resolved(&[arm]), "amd64").unwrap_err().to_string();
        assert!(wrong.contains("linux/arm64") && wrong.contains("--platform=linux/amd64"), "{wrong}");
        let windows = r#"{"os":"windows","architecture":"amd64","config":{"Cmd":["x"]}}"#;
        for images in [vec![windows], vec!["junk"], vec![]] {
            assert!(choose(&resolved(&images), "amd64").is_err());
        }
        for nothing in [
            r#"{"os":"linux","architecture":"amd64"}"#,
            r#"{"os":"linux","architecture":"amd64","config":{"Cmd":[],"Entrypoint":null}}"#,
        ] {
            let error = choose(&resolved(&[nothing]), "amd64").unwrap_err().to_string();
            assert!(error.contains("ENTRYPOINT"), "{error}");
        }
    }
}
