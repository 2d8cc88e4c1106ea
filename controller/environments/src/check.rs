//! Checks settings when they are put, and not when an agent is deployed with them.

use std::fmt::Display;

use cofferdam_cluster::decode_kubeconfig;
use cofferdam_contract::Problem;
use cofferdam_contract::text::is_invisible;
use cofferdam_core::{check_variable_name, check_variable_value, is_label};

use crate::{EnvironmentKind, EnvironmentRequest, Error, images_place};

const MAX_CA: usize = 256 << 10;
const MAX_TEXT: usize = 1 << 10;
/// Registries' tokens are long.
const MAX_PASSWORD: usize = 16 << 10;
const MAX_LIST: usize = 16;
/// Bytes of one path in `allow_in_images`.
const MAX_PATTERN: usize = 512;
const MAX_VARIABLES: usize = 256;

pub(crate) fn invalid(field: &str, why: impl Display) -> Error {
    Problem::invalid(format!("{field}: {why}")).into()
}

/// Checks all settings but the kubeconfig's content.
///
/// # Errors
/// The first invalid field.
pub(crate) fn check(request: &EnvironmentRequest) -> Result<(), Error> {
    let settings = &request.settings;
    for (field, place) in [("images", &settings.images), ("images_pull", &settings.images_pull)] {
        let Some(place) = place else { continue };
        images_place(place).map_err(|why| invalid(field, why))?;
    }
    if settings.namespace.as_deref().is_some_and(|namespace| !is_label(namespace)) {
        return Err(invalid("namespace", "1 to 63 of a-z, 0-9 and `-`"));
    }
    if settings.architecture.as_deref().is_some_and(|a| !["amd64", "arm64"].contains(&a)) {
        return Err(invalid("architecture", "amd64 or arm64"));
    }
    let named = settings.runtime_class.iter().chain(&settings.image_pull_secrets);
    if settings.image_pull_secrets.len() > MAX_LIST || named.into_iter().any(|name| !is_name(name)) {
        let why = format!("at most {MAX_LIST} names, each of a-z, 0-9, `-` and `.`");
        return Err(invalid("image_pull_secrets and runtime_class", why));
    }
    let is_hidden = |c: char| c.is_control() || is_invisible(c);
    let bad = |pattern: &String| pattern.is_empty() || pattern.len() > MAX_PATTERN || pattern.contains(is_hidden);
    if settings.allow_in_images.len() > MAX_LIST || settings.allow_in_images.iter().any(bad) {
        let why = format!("at most {MAX_LIST} paths, each of 1 to {MAX_PATTERN} bytes of visible text");
        return Err(invalid("allow_in_images", why));
    }
    settings.resources.check().map_err(|why| invalid("resources", why))?;
    settings.pods.check().map_err(Problem::invalid)?;
    texts(request)?;
    if settings.ca.as_deref().is_some_and(|ca| ca.len() > MAX_CA || !ca.contains("-----BEGIN CERTIFICATE-----")) {
        return Err(invalid("ca", "certificates in PEM, at most 256 KiB"));
    }
    if settings.username.is_some() != request.secrets.password.is_some() {
        return Err(invalid("username", "a username needs a password, and a password a username"));
    }
    if settings.access_key_id.is_some() != request.secrets.secret_access_key.is_some() {
        return Err(invalid(
            "access_key_id",
            "access_key_id needs secret_access_key, and secret_access_key needs access_key_id",
        ));
    }
    if request.secrets.env.len() > MAX_VARIABLES {
        return Err(invalid("env", format!("at most {MAX_VARIABLES} variables")));
    }
    for (name, value) in &request.secrets.env {
        check_variable_name(name)?;
        check_variable_value(name, value)?;
    }
    cloud(request)
}

fn cloud(request: &EnvironmentRequest) -> Result<(), Error> {
    let settings = &request.settings;
    if settings.kind == EnvironmentKind::SelfDeployed {
        let stray = [("bucket", settings.bucket.is_some()), ("ecr", settings.ecr)];
        return match stray.into_iter().find(|(_, set)| *set) {
            Some((field, _)) => Err(invalid(field, "is only for environments of kind `cloud`")),
            None => Ok(()),
        };
    }
    if settings.bucket.is_none() || settings.region.is_none() {
        return Err(invalid("bucket", "an environment of kind `cloud` needs `bucket` and `region`"));
    }
    if settings.images.is_none() {
        return Err(invalid("images", "an environment of kind `cloud` needs the registry that images are pushed to"));
    }
    match settings.endpoint.as_deref().map(url::Url::parse) {
        Some(Ok(url)) if ["http", "https"].contains(&url.scheme()) && url.password().is_none() => Ok(()),
        Some(_) => Err(invalid("endpoint", "an http or https URL without a password")),
        None => Ok(()),
    }
}

/// Bounds the length of texts, and refuses control characters, which could end a header's line.
fn texts(request: &EnvironmentRequest) -> Result<(), Error> {
    let settings = &request.settings;
    for (field, text) in [
        ("username", &settings.username),
        ("context", &settings.context),
        ("bucket", &settings.bucket),
        ("bucket_prefix", &settings.bucket_prefix),
        ("region", &settings.region),
        ("endpoint", &settings.endpoint),
        ("access_key_id", &settings.access_key_id),
        ("password", &request.secrets.password),
        ("secret_access_key", &request.secrets.secret_access_key),
    ] {
        let max = if field == "password" { MAX_PASSWORD } else { MAX_TEXT };
        let Some(text) = text else { continue };
        // A password is only ever compared; the others are also read by people.
        let is_secret = matches!(field, "password" | "secret_access_key");
        let is_hidden = |c: char| c.is_control() || (!is_secret && is_invisible(c));
        if text.is_empty() || text.len() > max || text.contains(is_hidden) {
            return Err(invalid(field, format!("1 to {max} bytes of visible text, no control characters")));
        }
    }
    Ok(())
}

/// Decodes a kubeconfig's base64 to YAML.
pub(crate) fn kubeconfig_text(base64: &str) -> Result<String, Error> {
    decode_kubeconfig(base64).map_err(|why| invalid("kubeconfig", why))
}

/// A DNS subdomain: the form of names in Kubernetes.
fn is_name(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}
