//! Begins uploads, and deploys: an uploaded image, an image reference, or an image that was deployed before.

use cofferdam_contract::{AgentId, DeploymentState, FailureReason, Problem, Resources};
use cofferdam_core::{Caller, check_variable_name, check_variable_value};
use cofferdam_store::{AgentChange, AgentRow, Because, DeploymentRow, ImageSource, Spec};

use crate::request::{blank, copy_image, enter, take_turn};
use crate::service::{container, no_agent};
use crate::states::expects_image;
use crate::values::check_size;
use crate::{DeployRequest, DeploymentInfo, Deployments, Error, Once};

/// Variables of one deployment.
const MAX_VARIABLES: usize = 256;
/// Secrets of one deployment.
const MAX_SECRETS: usize = 64;
/// Images of one agent that were uploaded and wait to be deployed, and as many links under which nothing was sent.
const MAX_UNUSED_IMAGES: usize = 5;
/// Bytes of an image's name in an archive.
const MAX_NAME: usize = 512;

impl DeployRequest {
    /// The request sets how to run the image, not only which one.
    pub fn says_how(&self) -> bool {
        !self.env.is_empty()
            || !self.secrets.is_empty()
            || self.resources != Resources::default()
            || !self.pod.is_empty()
            || !self.health.is_empty()
    }

    pub(crate) fn spec(&self) -> Spec {
        Spec {
            resources: self.resources.clone(),
            secrets: self.secrets.clone(),
            pod: self.pod.clone(),
            health: self.health.clone(),
            ..Spec::default()
        }
    }
}

impl Deployments {
    /// Begins an upload: creates a deployment that waits for its image.
    ///
    /// # Errors
    /// [`Problem::not_found`]; [`Problem::conflict`] if the environment has no registry; [`Problem::overloaded`] if too
    /// many deployments have not settled.
    pub async fn begin_upload(&self, caller: &Caller, id: &AgentId, once: &Once) -> Result<DeploymentInfo, Error> {
        self.begin_upload_of(caller, id, None, &DeployRequest::default(), once).await
    }

    /// The same for the image of this name in an archive that has several, which is to be deployed like `how`. That is checked
    /// now, before anything is sent, and not kept: the request to deploy says it again.
    ///
    /// # Errors
    /// As [`Self::begin_upload`]; an invalid name; settings that [`Self::deploy`] would refuse.
    pub async fn begin_upload_of(
        &self,
        caller: &Caller,
        id: &AgentId,
        archive_image: Option<&str>,
        how: &DeployRequest,
        once: &Once,
    ) -> Result<DeploymentInfo, Error> {
        if archive_image.is_some_and(|name| name.is_empty() || name.len() > MAX_NAME || name.contains(char::is_control))
        {
            let detail = format!("archive_image: 1 to {MAX_NAME} bytes of text, such as `team/agent:1.4`.");
            return Err(Problem::invalid(detail).into());
        }
        let agent = self.store.agent(&caller.organization, id).await?.ok_or_else(|| no_agent(id))?;
        container(&agent)?;
        let environment = self.environment_of(&agent).await?;
        if environment.repository(&caller.organization, id).is_none() {
            let detail = format!(
                "The environment {:?} has no registry for images: set COFFERDAM_IMAGES=[http://]HOST[:PORT][/PREFIX] \
                 for this server, or `images` of the environment.",
                environment.name
            );
            return Err(Problem::conflict(detail).into());
        }
        if let Some(info) = self.requested_before(caller, id, once).await? {
            return Ok(info);
        }
        self.check(&agent, how).await?;
        self.check_quota(caller).await?;
        let mut change = self.begin_deployment(caller, id).await?;
        give_up_unused(&mut change).await?;
        let mut row = blank(&change.agent, ImageSource::Upload, Spec::default())?;
        row.spec.archive_image = archive_image.map(str::to_owned);
        "Waiting for the image.".clone_into(&mut row.detail);
        change.insert(&mut row, None).await?;
        change.put(&mut row, true).await?;
        self.finish_change(change, once, row).await
    }

    /// The first invalid field.
    pub(crate) async fn check(&self, agent: &AgentRow, request: &DeployRequest) -> Result<(), Error> {
        if request.image.is_some() && request.deployment_id.is_some() {
            return Err(Problem::invalid("Give either `image` or `deployment_id`, not both.").into());
        }
        if request.env.len() > MAX_VARIABLES || request.secrets.len() > MAX_SECRETS {
            let detail = format!("At most {MAX_VARIABLES} variables in `env`, and {MAX_SECRETS} `secrets`.");
            return Err(Problem::invalid(detail).into());
        }
        check_size(request.env.iter().map(|(name, value)| name.len() + value.len()).sum())?;
        for (name, value) in &request.env {
            check_variable_name(name).and_then(|()| check_variable_value(name, value))?;
        }
        request.resources.check().map_err(Problem::invalid)?;
        request.pod.check().map_err(Problem::invalid)?;
        request.health.check().map_err(Problem::invalid)?;
        if !request.pod.is_empty() {
            // The driver asks again when it creates the Job: the environment may have changed by then.
            self.environment_of(agent).await?.pods.admit(&request.pod).map_err(Problem::denied)?;
        }
        self.check_secrets(&agent.organization, request.secrets.iter()).await
    }

    /// Asks for a deployment. When this returns, the request is durable and the driver has been woken.
    ///
    /// # Errors
    /// [`Problem::not_found`]; the first invalid field; an image that cannot be deployed. Nothing has changed then.
    pub async fn deploy(
        &self,
        caller: &Caller,
        id: &AgentId,
        request: &DeployRequest,
        once: &Once,
    ) -> Result<DeploymentInfo, Error> {
        let agent = self.store.agent(&caller.organization, id).await?.ok_or_else(|| no_agent(id))?;
        container(&agent)?;
        if let Some(info) = self.requested_before(caller, id, once).await? {
            return Ok(info);
        }
        self.check(&agent, request).await?;
        self.check_quota(caller).await?;
        let pinned = match &request.image {
            Some(text) => {
                let environment = self.environment_of(&agent).await?;
                Some((text.clone(), self.resolve(&caller.organization, &environment, text).await?))
            }
            None => None,
        };
        let mut change = self.begin_deployment(caller, id).await?;
        let row = match pinned {
            Some((reference, image)) => {
                let mut row = blank(&change.agent, ImageSource::Image { reference }, request.spec())?;
                image.put_into(&mut row);
                let sealed = self.seal_variables(&row.id, &request.env)?;
                self.insert_running(&mut change, &mut row, sealed.as_deref()).await?;
                row
            }
            None => self.deploy_uploaded(&mut change, request).await?,
        };
        tracing::info!(organization = %row.organization, agent = %row.agent, version = row.number,
            "a deployment was requested");
        self.finish_change(change, once, row).await
    }

    /// Deploys what was uploaded under the deployment that the request names, else the newest upload.
    async fn deploy_uploaded(&self, change: &mut AgentChange, request: &DeployRequest) -> Result<DeploymentRow, Error> {
        let mut row = find_uploaded(change, request).await?;
        if waits_for_deploy(&row) {
            row.spec = Spec { archive_image: row.spec.archive_image, ..request.spec() };
            if let Some(sealed) = self.seal_variables(&row.id, &request.env)? {
                change.set_variables(&row, &sealed).await?;
            }
            take_turn(change, &mut row);
            if row.image.is_empty() {
                "Starts when the image arrives.".clone_into(&mut row.detail);
            }
            change.put(&mut row, true).await?;
            return Ok(row);
        }
        // It was deployed before: the same request again gets the same deployment, another way to run it a new version.
        if !row.is_over() && !request.says_how() {
            return Ok(row);
        }
        if row.image.is_empty() {
            let detail = format!("Deployment {} has no image: {}", row.number, row.detail);
            return Err(Problem::conflict(detail).into());
        }
        if !request.says_how() {
            return self.repeat(change, &row, Because::Start).await;
        }
        let source = ImageSource::Version { number: row.number, because: Because::Start };
        let mut new = blank(&change.agent, source, Spec { other_settings: true, ..request.spec() })?;
        copy_image(&row, &mut new);
        let sealed = self.seal_variables(&new.id, &request.env)?;
        self.insert_running(change, &mut new, sealed.as_deref()).await?;
        Ok(new)
    }
}

/// Gives up the oldest images that were uploaded and never deployed, and the oldest links under which nothing was sent, so
/// that there is room for one more of each.
async fn give_up_unused(change: &mut AgentChange) -> Result<(), Error> {
    let (images, others): (Vec<_>, Vec<_>) =
        change.deployments().await?.into_iter().filter(waits_for_deploy).partition(|row| !row.image.is_empty());
    let links = others.into_iter().filter(|row| row.state == DeploymentState::Uploading && row.received_bytes == 0);
    for (unused, detail) in [
        (images, "It was uploaded and not deployed, and later uploads took its place. Upload the image again."),
        (links.collect(), "Nothing was sent under its link, and later links took its place. Ask for a new link."),
    ] {
        let most = unused.len().saturating_sub(MAX_UNUSED_IMAGES - 1);
        for mut row in unused.into_iter().take(most) {
            row.reason = Some(FailureReason::UploadLost);
            enter(&mut row, DeploymentState::Failed, detail);
            change.put(&mut row, true).await?;
        }
    }
    Ok(())
}

/// The deployment is an upload that has not been deployed yet.
fn waits_for_deploy(row: &DeploymentRow) -> bool {
    row.turn == 0 && expects_image(row.state)
}

async fn find_uploaded(change: &mut AgentChange, request: &DeployRequest) -> Result<DeploymentRow, Error> {
    let mut rows = change.deployments().await?;
    rows.sort_by_key(|row| std::cmp::Reverse(row.number));
    let found = match &request.deployment_id {
        Some(id) => rows.iter().find(|row| row.id == *id).ok_or_else(|| {
            let detail = format!("This agent has no deployment {:?}.", id.as_str());
            Error::from(Problem::not_found(detail))
        })?,
        None => {
            // An upload that is older than what was deployed last would bring an old image back: it has to be named.
            let last = rows.iter().find(|row| was_deployed(row)).map_or(0, |row| row.number);
            let mut rows = rows.iter().take_while(|row| row.number >= last);
            let mut others = rows.clone();
            let newest = rows.find(|row| waits_for_deploy(row));
            let has_image = |row: &&DeploymentRow| !row.image.is_empty() || (row.turn > 0 && !row.is_over());
            newest.or_else(|| others.find(has_image)).ok_or_else(|| {
                let detail = "Nothing was uploaded to this agent yet: ask for a link and PUT an image there, or name one \
                              with `image`.";
                Error::from(Problem::conflict(detail))
            })?
        }
    };
    Ok(found.clone())
}

/// The deployment was asked to run an image of its own, and did not fail for the want of it. A copy of an older version says
/// nothing about the age of uploads.
fn was_deployed(row: &DeploymentRow) -> bool {
    let is_copy = matches!(row.source, ImageSource::Version { .. });
    row.turn > 0 && !is_copy && (!row.image.is_empty() || !row.is_over())
}
