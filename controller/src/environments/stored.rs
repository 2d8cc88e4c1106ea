//! Environments that are kept in the store: put, shown, deleted, opened.

use cofferdam_contract::{OrganizationId, Problem};

use super::check::{check, invalid, kubeconfig_text};
use super::request::{EnvironmentInfo, EnvironmentKind, EnvironmentRequest, Secrets, Settings};
use super::{Cloud, ClusterAccess, Environment, Images, Kind, LOCAL, local};
use crate::Error;
use crate::auth::Caller;
use crate::clock::{now, random_bits};
use crate::config::{Secret, images_place, is_label};
use crate::services::App;
use crate::store::EnvironmentRow;

/// Of one organization.
const MAX_ENVIRONMENTS: u64 = 100;
const NO_KUBECONFIG: &str = "this environment has no cluster to run containers in: put a kubeconfig into it (PUT \
                             /v1/environments/NAME); images can be uploaded meanwhile, and `start` runs them then";

fn context(row: &EnvironmentRow) -> String {
    format!("environment\0{}\0{}\0{}", row.organization.as_str(), row.id, row.settings)
}

pub(super) fn missing(name: &str) -> Error {
    let shown: String = name.chars().take(80).collect();
    Problem::not_found(format!("There is no environment {shown:?}.")).into()
}

/// The environment of that name, with everything that is secret in it opened.
///
/// # Errors
/// [`Problem::not_found`], the store's failure, or a sealed part that this process's key does not open.
pub async fn find(app: &App, organization: &OrganizationId, name: &str) -> Result<Environment, Error> {
    if name == LOCAL {
        return Ok(local::local(&app.config));
    }
    let row = app.store.environment(organization, name).await?.ok_or_else(|| missing(name))?;
    let (settings, secrets) = open(app, &row)?;
    environment(row.name, settings, secrets)
}

fn open(app: &App, row: &EnvironmentRow) -> Result<(Settings, Secrets), Error> {
    let wrong = |e: serde_json::Error| Error::Row(e.to_string());
    let settings = serde_json::from_str(&row.settings).map_err(wrong)?;
    let bytes = app.vault.unseal(&context(row), &row.sealed)?;
    let secrets = serde_json::from_slice(&bytes).map_err(|_| Error::Sealed("an environment's secrets do not parse"))?;
    Ok((settings, secrets))
}

fn environment(name: String, settings: Settings, secrets: Secrets) -> Result<Environment, Error> {
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
        Some(base64) => {
            ClusterAccess::Kubeconfig { yaml: Secret::new(kubeconfig_text(&base64)?), context: settings.context }
        }
        None => ClusterAccess::None(NO_KUBECONFIG.to_owned()),
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
        },
        cluster,
        namespace: settings.namespace.unwrap_or_else(|| "cofferdam-agents".to_owned()),
        architecture: settings.architecture.unwrap_or_else(|| "amd64".to_owned()),
        runtime_class: settings.runtime_class,
        image_pull_secrets: settings.image_pull_secrets,
        env: secrets.env.into_iter().map(|(name, value)| (name, Secret::new(value))).collect(),
        resources: settings.resources,
    })
}

fn shown(row: EnvironmentRow, settings: Settings, secrets: &Secrets) -> EnvironmentInfo {
    EnvironmentInfo {
        name: row.name,
        settings,
        has_cluster: secrets.kubeconfig.is_some(),
        has_password: secrets.password.is_some(),
        env: secrets.env.keys().cloned().collect(),
        built_in: false,
        created_at: row.created_at,
        updated_at: row.updated_at,
    }
}

/// Makes an environment or replaces its settings, all of them; and whether it is new. Agents that run in it go on; what
/// is done with them next is done with the new settings.
///
/// # Errors
/// What cannot be, by field.
pub async fn put(
    app: &App,
    caller: &Caller,
    name: &str,
    request: EnvironmentRequest,
) -> Result<(EnvironmentInfo, bool), Error> {
    if name == LOCAL {
        let detail = "The environment `local` comes from the server's own settings (docs/agents.md).";
        return Err(Problem::conflict(detail).into());
    }
    if !is_label(name) {
        return Err(Problem::invalid("name: 1 to 63 of a-z, 0-9 and `-`, a letter or digit first and last").into());
    }
    check(&request)?;
    if let Some(kubeconfig) = &request.secrets.kubeconfig {
        let checked = app.agents.check_kubeconfig(&kubeconfig_text(kubeconfig)?, request.settings.context.as_deref());
        checked.map_err(|why| invalid("kubeconfig", why))?;
    }
    let before = app.store.environment(&caller.organization, name).await?;
    if before.is_none() && app.store.count_environments(&caller.organization).await? >= MAX_ENVIRONMENTS {
        let detail = format!("There are {MAX_ENVIRONMENTS} environments, which is the most.");
        return Err(Problem::overloaded(detail).into());
    }
    let json = |e: serde_json::Error| Error::Row(e.to_string());
    let updated_at = now();
    let mut row = EnvironmentRow {
        id: match &before {
            Some(before) => before.id.clone(),
            None => format!("env_{:032x}", random_bits()?),
        },
        organization: caller.organization.clone(),
        name: name.to_owned(),
        settings: serde_json::to_string(&request.settings).map_err(json)?,
        sealed: String::new(),
        created_at: before.as_ref().map_or(updated_at, |before| before.created_at),
        updated_at,
    };
    let secrets = zeroize::Zeroizing::new(serde_json::to_vec(&request.secrets).map_err(json)?);
    row.sealed = app.vault.seal(&context(&row), &secrets)?;
    app.store.put_environment(&row).await?;
    Ok((shown(row, request.settings, &request.secrets), before.is_none()))
}

/// # Errors
/// [`Problem::not_found`], or the store's failure.
pub async fn show(app: &App, caller: &Caller, name: &str) -> Result<EnvironmentInfo, Error> {
    if name == LOCAL {
        return Ok(built_in(app));
    }
    let row = app.store.environment(&caller.organization, name).await?.ok_or_else(|| missing(name))?;
    let (settings, secrets) = open(app, &row)?;
    Ok(shown(row, settings, &secrets))
}

/// All of the organization's, `local` among them.
///
/// # Errors
/// The store's failure.
pub async fn list(app: &App, caller: &Caller) -> Result<Vec<EnvironmentInfo>, Error> {
    let mut all = vec![built_in(app)];
    for row in app.store.environments(&caller.organization).await? {
        if row.name != LOCAL {
            let (settings, secrets) = open(app, &row)?;
            all.push(shown(row, settings, &secrets));
        }
    }
    Ok(all)
}

/// # Errors
/// [`Problem::not_found`]; [`Problem::conflict`] where agents are in it.
pub async fn delete(app: &App, caller: &Caller, name: &str) -> Result<(), Error> {
    if name == LOCAL {
        return Err(Problem::conflict("The environment `local` comes from the server's own settings.").into());
    }
    if app.store.delete_environment(&caller.organization, name).await? {
        return Ok(());
    }
    if app.store.environment(&caller.organization, name).await?.is_none() {
        return Err(missing(name));
    }
    Err(Problem::conflict(format!("Agents are in the environment {name:?}; delete them first.")).into())
}

fn built_in(app: &App) -> EnvironmentInfo {
    let local = local::local(&app.config);
    EnvironmentInfo {
        name: LOCAL.to_owned(),
        has_cluster: !matches!(local.cluster, ClusterAccess::None(_)),
        has_password: local.images.credentials.is_some(),
        env: Vec::new(),
        built_in: true,
        created_at: 0,
        updated_at: 0,
        settings: Settings {
            images: local.images.repository,
            images_pull: local.images.pull_repository,
            plain_http: local.images.plain_http,
            username: local.images.credentials.map(|(name, _)| name),
            namespace: Some(local.namespace),
            architecture: Some(local.architecture),
            runtime_class: local.runtime_class,
            image_pull_secrets: local.image_pull_secrets,
            allow_in_images: local.images.allow,
            resources: local.resources,
            ..Settings::default()
        },
    }
}
