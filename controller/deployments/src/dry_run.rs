//! A deployment that is only shown: checked like any other, with the objects that its cluster would get. Writes nothing,
//! pushes nothing and asks no cluster.

use cofferdam_contract::AgentId;
use cofferdam_core::{Caller, Secret};
use cofferdam_store::ImageSource;

use crate::request::blank;
use crate::service::{container, no_agent};
use crate::values::check_size;
use crate::{DeployRequest, Deployments, DryRun, Error};

/// Stands for the digest of an image that is not in the registry yet.
const NO_DIGEST: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

impl Deployments {
    /// The objects of the next version, without the values of its variables. Without `image`, the image is the agent's
    /// repository with a digest of zeros, because nothing is uploaded.
    ///
    /// # Errors
    /// As [`Self::deploy`].
    pub async fn dry_run(&self, caller: &Caller, id: &AgentId, request: &DeployRequest) -> Result<DryRun, Error> {
        let agent = self.store.agent(&caller.organization, id).await?.ok_or_else(|| no_agent(id))?;
        container(&agent)?;
        self.check(&agent, request).await?;
        let environment = self.environment_of(&agent).await?;
        let mut row = blank(&agent, ImageSource::Upload, request.spec())?;
        row.number = agent.last_number + 1;
        match (&request.image, &request.deployment_id) {
            (Some(reference), _) => {
                let image = self.resolve(&caller.organization, &environment, reference).await?;
                image.put_into(&mut row);
            }
            (None, uploaded) => {
                let found = match uploaded {
                    Some(uploaded) => self.store.deployment_by_id(uploaded).await?,
                    None => None,
                };
                let ours =
                    |row: &cofferdam_store::DeploymentRow| row.organization == caller.organization && row.agent == *id;
                match found.filter(ours).filter(|found| !found.image.is_empty()) {
                    Some(found) => crate::request::copy_image(&found, &mut row),
                    None => {
                        let place = environment.repository(&caller.organization, id);
                        let place = place.unwrap_or_else(|| format!("registry.invalid/{id}"));
                        row.image = format!("{place}@{NO_DIGEST}");
                    }
                }
            }
        }
        let mut workload = self.workload(&environment, &row).await?;
        // Its own variables are in no store yet.
        for (name, value) in &request.env {
            workload.env.insert(name.clone(), Secret::new(value.as_str()));
        }
        check_size(workload.env.iter().map(|(name, value)| name.len() + value.expose().len()).sum())?;
        let manifests = self.environments.manifests(&environment, &workload)?;
        Ok(DryRun { agent_id: id.clone(), environment: environment.name, image: workload.image, manifests })
    }
}
