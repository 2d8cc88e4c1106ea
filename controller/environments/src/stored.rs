//! The translation between an environment's row in the store and its settings, secrets sealed and opened.

use cofferdam_cluster::Access;
use cofferdam_core::{Secret, Vault};
use cofferdam_store::EnvironmentRow;
use zeroize::Zeroizing;

use crate::check::kubeconfig_text;
use crate::environment::DEFAULT_NAMESPACE;
use crate::{
    Cloud, Environment, EnvironmentInfo, EnvironmentKind, EnvironmentRequest, EnvironmentState, Error, Images, Kind,
    Secrets, Settings, images_place,
};

const NO_KUBECONFIG: &str = "this environment has no cluster to run containers in: give it a kubeconfig with \
                             `cofferdam environment create NAME --replace --kubeconfig FILE` and its other settings (or \
                             PUT /v1/environments/NAME); images can be uploaded meanwhile, and `start` runs them then";

/// The text that a row's secrets are bound to: they open with no other row and no other settings.
fn context(row: &EnvironmentRow) -> String {
    format!("environment\0{}\0{}\0{}", row.organization.as_str(), row.id, row.settings)
}

/// Writes settings into a row, and seals the secrets into it.
pub(crate) fn seal(
    vault: &Vault,
    mut row: EnvironmentRow,
    request: &EnvironmentRequest,
) -> Result<EnvironmentRow, Error> {
    row.settings = serde_json::to_string(&request.settings).map_err(Error::Serialize)?;
    let secrets = Zeroizing::new(serde_json::to_vec(&request.secrets).map_err(Error::Serialize)?);
    row.sealed = vault.seal(&context(&row), &secrets)?;
    Ok(row)
}

/// Reads the settings and opens the secrets of a row.
pub(crate) fn open(vault: &Vault, row: &EnvironmentRow) -> Result<(Settings, Secrets), Error> {
    let settings = serde_json::from_str(&row.settings);
    let settings = settings.map_err(|source| Error::Settings { name: row.name.clone(), source })?;
    let bytes = vault.unseal(&context(row), &row.sealed)?;
    // The JSON error may quote a secret.
    let secrets = serde_json::from_slice(&bytes).map_err(|_| Error::Secrets { name: row.name.clone() })?;
    Ok((settings, secrets))
}

/// The environment that deployments work with.
pub(crate) fn environment(name: String, settings: Settings, secrets: Secrets) -> Result<Environment, Error> {
    let kind = match settings.kind {
        EnvironmentKind::SelfDeployed => Kind::SelfDeployed,
        EnvironmentKind::Cloud => Kind::Cloud(Cloud {
            bucket: settings.bucket.unwrap_or_default(),
            prefix: match settings.bucket_prefix.unwrap_or_default() {
                prefix if prefix.is_empty() || prefix.ends_with('/') => prefix,
                prefix => format!("{prefix}/"),
            },
            region: settings.region.unwrap_or_default(),
            endpoint: settings.endpoint,
            credentials: settings.access_key_id.zip(secrets.secret_access_key.map(Secret::new)),
            ecr: settings.ecr,
        }),
    };
    let cluster = match secrets.kubeconfig {
        Some(base64) => Access::Kubeconfig { yaml: Secret::new(kubeconfig_text(&base64)?), context: settings.context },
        None => Access::None(NO_KUBECONFIG.to_owned()),
    };
    let place = |text: Option<String>| text.and_then(|text| images_place(&text).ok());
    Ok(Environment {
        name,
        kind,
        images: Images {
            repository: place(settings.images),
            pull_repository: place(settings.images_pull),
            plain_http: settings.plain_http,
            credentials: settings.username.zip(secrets.password.map(Secret::new)),
            ca: settings.ca,
            allow: settings.allow_in_images,
            compression: settings.compression,
        },
        cluster,
        namespace: settings.namespace.unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned()),
        architecture: settings.architecture.unwrap_or_else(|| "amd64".to_owned()),
        runtime_class: settings.runtime_class,
        image_pull_secrets: settings.image_pull_secrets,
        env: secrets.env.into_iter().map(|(name, value)| (name, Secret::new(value))).collect(),
        resources: settings.resources,
        pods: settings.pods,
    })
}

/// The environment as callers see it, whether or not it opens: one that does not must not hide the others.
pub(crate) fn shown(vault: &Vault, row: EnvironmentRow) -> EnvironmentInfo {
    match open(vault, &row) {
        Ok((settings, secrets)) => info(row, settings, &secrets),
        Err(error) => {
            let state = match error {
                Error::Vault(_) => EnvironmentState::Sealed,
                _ => EnvironmentState::Unreadable,
            };
            let settings = serde_json::from_str(&row.settings).unwrap_or_default();
            EnvironmentInfo { state, ..info(row, settings, &Secrets::default()) }
        }
    }
}

/// The environment as callers see it, without its secrets.
pub(crate) fn info(row: EnvironmentRow, settings: Settings, secrets: &Secrets) -> EnvironmentInfo {
    EnvironmentInfo {
        name: row.name,
        state: EnvironmentState::Usable,
        settings,
        has_cluster: secrets.kubeconfig.is_some(),
        has_password: secrets.password.is_some(),
        env: secrets.env.keys().cloned().collect(),
        built_in: false,
        created_at: row.created_at,
        updated_at: row.updated_at,
    }
}

/// The environment `local` as callers see it.
pub(crate) fn local_info(local: &Environment) -> EnvironmentInfo {
    EnvironmentInfo {
        name: local.name.clone(),
        state: EnvironmentState::Usable,
        has_cluster: !matches!(local.cluster, Access::None(_)),
        has_password: local.images.credentials.is_some(),
        env: Vec::new(),
        built_in: true,
        created_at: 0,
        updated_at: 0,
        settings: Settings {
            images: local.images.repository.clone(),
            images_pull: local.images.pull_repository.clone(),
            plain_http: local.images.plain_http,
            username: local.images.credentials.as_ref().map(|(name, _)| name.clone()),
            namespace: Some(local.namespace.clone()),
            architecture: Some(local.architecture.clone()),
            runtime_class: local.runtime_class.clone(),
            image_pull_secrets: local.image_pull_secrets.clone(),
            allow_in_images: local.images.allow.clone(),
            compression: local.images.compression,
            resources: local.resources.clone(),
            pods: local.pods.clone(),
            ..Settings::default()
        },
    }
}
