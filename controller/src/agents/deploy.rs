//! An upload is begun; a deployment is asked for: of what was uploaded, of a reference, of what there was before.

use cofferdam_contract::{AgentId, DeploymentState, Problem};

use super::ask::{again, before, begin, blank, check_quota, finish, take_turn};
use super::create::environment_of;
use super::{DeployRequest, DeploymentInfo, Once, compose, image, no_agent, variables};
use crate::Error;
use crate::auth::Caller;
use crate::services::App;
use crate::store::{AgentChange, Because, DeploymentRow, Source, Spec};

/// Of one deployment.
const MAX_VARIABLES: usize = 256;
const MAX_SECRETS: usize = 64;

/// Begins an upload: a deployment that waits for its image.
///
/// # Errors
/// [`Problem::not_found`]; an environment without a registry; too many at once.
pub async fn begin_upload(app: &App, caller: &Caller, id: &AgentId, once: &Once) -> Result<DeploymentInfo, Error> {
    let agent = app.store.agent(&caller.organization, id).await?.ok_or_else(|| no_agent(id))?;
    let environment = environment_of(app, &agent).await?;
    if environment.repository(&caller.organization, id).is_none() {
        let detail = format!(
            "The environment {:?} has no registry for images: set COFFERDAM_IMAGES=[http://]HOST[:PORT][/PREFIX] for \
             this server, or `images` of the environment.",
            environment.name
        );
        return Err(Problem::conflict(detail).into());
    }
    if let Some(info) = before(app, caller, id, once).await? {
        return Ok(info);
    }
    check_quota(app, caller).await?;
    let mut change = begin(app, caller, id).await?;
    let mut row = blank(&change.agent, Source::Upload, Spec::default())?;
    "Its image is awaited.".clone_into(&mut row.detail);
    change.insert(&mut row, None).await?;
    change.put(&mut row, true).await?;
    finish(app, change, once, row).await
}

/// # Errors
/// What cannot be of it, by field.
async fn check(app: &App, caller: &Caller, request: &DeployRequest) -> Result<(), Error> {
    let invalid = |detail: String| Err(Problem::invalid(detail).into());
    if request.image.is_some() && request.deployment_id.is_some() {
        return invalid("Give either `image` or `deployment_id`, not both.".to_owned());
    }
    if request.env.len() > MAX_VARIABLES || request.secrets.len() > MAX_SECRETS {
        return invalid(format!("At most {MAX_VARIABLES} variables in `env`, and {MAX_SECRETS} `secrets`."));
    }
    for (name, value) in &request.env {
        variables::check_name(name).and_then(|()| variables::check_value(name, value))?;
    }
    if let Err(detail) = request.resources.check() {
        return invalid(detail);
    }
    compose::check_secrets(app, &caller.organization, request.secrets.iter()).await
}

impl DeployRequest {
    /// Whether it says anything of how to run.
    fn says_how(&self) -> bool {
        !self.env.is_empty() || !self.secrets.is_empty() || self.resources != cofferdam_contract::Resources::default()
    }

    fn spec(&self) -> Spec {
        Spec { resources: self.resources.clone(), secrets: self.secrets.clone() }
    }
}

/// Asks for a deployment. It is durable when this returns, and the driver is awake.
///
/// # Errors
/// What is wrong with it; nothing has changed then.
pub async fn deploy(
    app: &App,
    caller: &Caller,
    id: &AgentId,
    request: &DeployRequest,
    once: &Once,
) -> Result<DeploymentInfo, Error> {
    let agent = app.store.agent(&caller.organization, id).await?.ok_or_else(|| no_agent(id))?;
    if let Some(info) = before(app, caller, id, once).await? {
        return Ok(info);
    }
    check(app, caller, request).await?;
    check_quota(app, caller).await?;
    let pinned = match &request.image {
        Some(text) => {
            let environment = environment_of(app, &agent).await?;
            Some((text.clone(), image::resolve(app, &caller.organization, &environment, text).await?))
        }
        None => None,
    };
    let mut change = begin(app, caller, id).await?;
    let row = match pinned {
        Some((reference, image)) => {
            let mut row = blank(&change.agent, Source::Image { reference }, request.spec())?;
            image.put_into(&mut row);
            let sealed = compose::seal(app, &row.id, &request.env)?;
            take_turn(&mut change, &mut row);
            change.insert(&mut row, sealed.as_deref()).await?;
            change.put(&mut row, true).await?;
            row
        }
        None => uploaded(app, &mut change, request).await?,
    };
    tracing::info!(organization = %row.organization, agent = %row.agent, version = row.number, "a deployment is asked for");
    finish(app, change, once, row).await
}

/// The deployment of what was uploaded: of the one that is named, else of the newest.
async fn uploaded(app: &App, change: &mut AgentChange, request: &DeployRequest) -> Result<DeploymentRow, Error> {
    let mut rows = change.deployments().await?;
    rows.sort_by_key(|row| std::cmp::Reverse(row.number));
    let waits = |row: &DeploymentRow| {
        row.turn == 0 && matches!(row.state, DeploymentState::Uploading | DeploymentState::Pushing)
    };
    let found = match &request.deployment_id {
        Some(id) => rows.iter().find(|row| row.id == *id).ok_or_else(|| {
            let detail = format!("No deployment {:?} of this agent is kept.", id.as_str());
            Error::from(Problem::not_found(detail))
        })?,
        None => {
            let newest = rows.iter().find(|row| waits(row));
            newest.or_else(|| rows.iter().find(|row| !row.image.is_empty())).ok_or_else(|| {
                let detail = "Nothing was uploaded to this agent yet: ask for a link and PUT an image there, or name one \
                              with `image`.";
                Error::from(Problem::conflict(detail))
            })?
        }
    };
    let mut row = found.clone();
    if waits(&row) {
        row.spec = request.spec();
        if let Some(sealed) = compose::seal(app, &row.id, &request.env)? {
            change.set_variables(&row, &sealed).await?;
        }
        take_turn(change, &mut row);
        if row.image.is_empty() {
            "It runs once its image has come.".clone_into(&mut row.detail);
        }
        change.put(&mut row, true).await?;
        return Ok(row);
    }
    // Asked for before: the same again is the same, and another way to run it is another version.
    if !row.is_over() && !request.says_how() {
        return Ok(row);
    }
    if row.image.is_empty() {
        let detail = format!("Deployment {} has no image: {}", row.number, row.detail);
        return Err(Problem::conflict(detail).into());
    }
    if !request.says_how() {
        return again(app, change, &row, Because::Start).await;
    }
    let source = Source::Version { number: row.number, because: Because::Start };
    let mut new = blank(&change.agent, source, request.spec())?;
    new.image.clone_from(&row.image);
    new.architecture.clone_from(&row.architecture);
    (new.run_as, new.size_bytes) = (row.run_as, row.size_bytes);
    let sealed = compose::seal(app, &new.id, &request.env)?;
    take_turn(change, &mut new);
    change.insert(&mut new, sealed.as_deref()).await?;
    change.put(&mut new, true).await?;
    Ok(new)
}
