//! The environment variables of a deployment, from the four places that give them: the environment, the organization's
//! variables, the organization's secrets that the deployment names, and its own. They are opened when they are needed and
//! kept nowhere.

use std::collections::BTreeMap;

use cofferdam_contract::{DeploymentId, OrganizationId, Problem};
use cofferdam_core::{Secret, check_variable_name};
use cofferdam_environments::Environment;
use cofferdam_redact::{Redactor, TooManySecrets};
use cofferdam_store::DeploymentRow;
use zeroize::Zeroizing;

use crate::{Deployments, Error};

/// All variables of a deployment together: a Kubernetes Secret holds 1 MiB.
const MAX_BYTES: usize = 768 << 10;
/// Lines of a failed container's log that are shown.
const MAX_LINES: usize = 20;
/// Characters of each.
const MAX_LINE: usize = 1_000;

fn context(id: &DeploymentId) -> String {
    format!("deployment\0{id}")
}

impl Deployments {
    /// Seals a deployment's own variables for the store.
    pub(crate) fn seal_variables(
        &self,
        id: &DeploymentId,
        variables: &BTreeMap<String, String>,
    ) -> Result<Option<String>, Error> {
        if variables.is_empty() {
            return Ok(None);
        }
        let json = serde_json::to_vec(variables).map(Zeroizing::new);
        let json = json.map_err(|source| Error::Encode { what: "a deployment's variables", source })?;
        Ok(Some(self.vault.seal(&context(id), &json)?))
    }

    /// Opens a deployment's own variables.
    pub(crate) fn unseal_variables(
        &self,
        id: &DeploymentId,
        sealed: Option<&str>,
    ) -> Result<BTreeMap<String, String>, Error> {
        let Some(sealed) = sealed else { return Ok(BTreeMap::new()) };
        let bytes = self.vault.unseal(&context(id), sealed)?;
        serde_json::from_slice(&bytes).map_err(|_| Error::Corrupt("a deployment's variables do not parse"))
    }

    /// Checks that the organization has each of these secrets.
    ///
    /// # Errors
    /// The first invalid or missing name; the store's failure.
    pub(crate) async fn check_secrets<'a>(
        &self,
        organization: &OrganizationId,
        names: impl Iterator<Item = &'a String>,
    ) -> Result<(), Error> {
        for name in names {
            check_variable_name(name)?;
            if self.store.secret(organization, name).await?.is_none() {
                return Err(missing(name));
            }
        }
        Ok(())
    }

    /// All variables of a deployment with their values.
    ///
    /// # Errors
    /// A secret that no longer exists; more than 768 KiB in all; the store's failure.
    pub(crate) async fn values(
        &self,
        environment: &Environment,
        row: &DeploymentRow,
    ) -> Result<BTreeMap<String, Secret>, Error> {
        let mut all = environment.env.clone();
        all.extend(self.variables.open(&row.organization).await?);
        let sealed = self.store.deployment_variables(&row.id).await?;
        let own = self.unseal_variables(&row.id, sealed.as_deref())?;
        for name in &row.spec.secrets {
            let opened = self.secrets.open(&row.organization, name).await?.ok_or_else(|| missing(name))?;
            all.insert(name.clone(), Secret::new(opened.value.as_str()));
        }
        all.extend(own.into_iter().map(|(name, value)| (name, Secret::new(value))));
        add_identity(&mut all, row);
        let bytes: usize = all.iter().map(|(name, value)| name.len() + value.expose().len()).sum();
        check_size(bytes)?;
        Ok(all)
    }
}

/// Checks the size of all variables of a deployment together.
pub(crate) fn check_size(bytes: usize) -> Result<(), Problem> {
    if bytes <= MAX_BYTES {
        return Ok(());
    }
    let detail =
        format!("The variables of this deployment are {bytes} bytes together; at most {MAX_BYTES} are allowed.");
    Err(Problem::too_large(detail))
}

fn missing(name: &str) -> Error {
    let detail = format!(
        "secret missing: the organization has no secret {name:?}; store it with `cofferdam secret set {name} --host HOST` \
         (HOST is where the gateway may send it for tools and runs; an agent gets the value as its variable {name})"
    );
    Problem::invalid(detail).into()
}

/// The variables by which a container learns who it is.
fn add_identity(all: &mut BTreeMap<String, Secret>, row: &DeploymentRow) {
    for (name, value) in [
        ("COFFERDAM_ORGANIZATION_ID", row.organization.to_string()),
        ("COFFERDAM_AGENT_ID", row.agent.to_string()),
        ("COFFERDAM_AGENT_VERSION", row.number.to_string()),
    ] {
        all.insert(name.to_owned(), Secret::new(value));
    }
    // The xpander SDK reads these; a deployment may override them.
    for (name, value) in
        [("XPANDER_ORGANIZATION_ID", row.organization.as_str()), ("XPANDER_AGENT_ID", row.agent.as_str())]
    {
        all.entry(name.to_owned()).or_insert_with(|| Secret::new(value));
    }
}

/// Looks for the secrets of a deployment in its lines.
///
/// # Errors
/// [`TooManySecrets`]: none of its lines may be shown.
pub(crate) fn redactor(values: &BTreeMap<String, Secret>, row: &DeploymentRow) -> Result<Redactor, TooManySecrets> {
    let secrets: Vec<String> = row.spec.secrets.iter().cloned().collect();
    Redactor::for_env(values, &secrets)
}

/// The last lines of a failed container as the API shows them: without secrets, bounded.
pub(crate) fn shown_lines(redactor: &Redactor, lines: &[String]) -> Vec<String> {
    // All lines are redacted before some are left out: a private key may begin above those that are kept.
    let lines = redactor.lines(lines);
    let from = lines.len().saturating_sub(MAX_LINES);
    lines.iter().skip(from).map(|line| line.chars().take(MAX_LINE).collect()).collect()
}

#[cfg(test)]
mod tests;
