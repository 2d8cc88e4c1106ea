//! The environment variables of a deployment, from the four places that give them: the environment, the organization's
//! variables, the organization's secrets that it names, its own. Opened when they are needed and kept nowhere.

use std::collections::BTreeMap;

use cofferdam_contract::{DeploymentId, OrganizationId, Problem};
use zeroize::Zeroizing;

use super::variables;
use crate::Error;
use crate::config::Secret;
use crate::environments::Environment;
use crate::services::{App, secrets};
use crate::store::DeploymentRow;

/// All variables of a deployment together: a Secret of Kubernetes takes 1 MiB.
const MAX_BYTES: usize = 768 << 10;
/// Shorter values would be found, and taken out, where they are not.
const SHORTEST: usize = 4;

fn context(id: &DeploymentId) -> String {
    format!("deployment\0{id}")
}

/// A deployment's own variables, for the store.
pub(super) fn seal(
    app: &App,
    id: &DeploymentId,
    variables: &BTreeMap<String, String>,
) -> Result<Option<String>, Error> {
    if variables.is_empty() {
        return Ok(None);
    }
    let json = Zeroizing::new(serde_json::to_vec(variables).map_err(|e| Error::Row(e.to_string()))?);
    app.vault.seal(&context(id), &json).map(Some)
}

pub(super) fn unseal(app: &App, id: &DeploymentId, sealed: Option<&str>) -> Result<BTreeMap<String, String>, Error> {
    let Some(sealed) = sealed else { return Ok(BTreeMap::new()) };
    let bytes = app.vault.unseal(&context(id), sealed)?;
    serde_json::from_slice(&bytes).map_err(|_| Error::Sealed("a deployment's variables do not parse"))
}

/// # Errors
/// A secret that the organization does not have, by name; or the store's failure.
pub(super) async fn check_secrets<'a>(
    app: &App,
    organization: &OrganizationId,
    names: impl Iterator<Item = &'a String>,
) -> Result<(), Error> {
    for name in names {
        variables::check_name(name)?;
        if app.store.secret(organization, name).await?.is_none() {
            return Err(missing(name));
        }
    }
    Ok(())
}

fn missing(name: &str) -> Error {
    let detail = format!("secret missing: the organization has no secret {name:?}; put it with PUT /v1/secrets/{name}");
    Problem::invalid(detail).into()
}

/// Every variable of a deployment with its value.
///
/// # Errors
/// A secret that is not there any more, too much of it all, or the store's failure.
pub async fn values(
    app: &App,
    environment: &Environment,
    row: &DeploymentRow,
) -> Result<BTreeMap<String, Secret>, Error> {
    let mut all = environment.env.clone();
    all.extend(variables::open(app, &row.organization).await?);
    let sealed = app.store.deployment_variables(&row.id).await?;
    let own = unseal(app, &row.id, sealed.as_deref())?;
    for name in &row.spec.secrets {
        let opened = secrets::open(app, &row.organization, name).await?.ok_or_else(|| missing(name))?;
        all.insert(name.clone(), Secret::new(opened.value.as_str()));
    }
    all.extend(own.into_iter().map(|(name, value)| (name, Secret::new(value))));
    for (name, value) in [
        ("COFFERDAM_ORGANIZATION_ID", row.organization.to_string()),
        ("COFFERDAM_AGENT_ID", row.agent.to_string()),
        ("COFFERDAM_AGENT_VERSION", row.number.to_string()),
    ] {
        all.insert(name.to_owned(), Secret::new(value));
    }
    // What the SDK of the contract reads; a deployment may say otherwise.
    for (name, value) in
        [("XPANDER_ORGANIZATION_ID", row.organization.as_str()), ("XPANDER_AGENT_ID", row.agent.as_str())]
    {
        all.entry(name.to_owned()).or_insert_with(|| Secret::new(value));
    }
    let bytes: usize = all.iter().map(|(name, value)| name.len() + value.expose().len()).sum();
    if bytes > MAX_BYTES {
        let detail = format!("The variables of this deployment are {bytes} bytes together; {MAX_BYTES} are the most.");
        return Err(Problem::too_large(detail).into());
    }
    Ok(all)
}

/// Replaces the values of secrets in lines of a log.
pub fn redactor(values: &BTreeMap<String, Secret>) -> impl Fn(&str) -> String + Send + Sync + use<> {
    // Ids and numbers of ours are no secrets.
    let secret = |name: &str| !name.starts_with("COFFERDAM_") && !name.starts_with("XPANDER_") || name.contains("KEY");
    let mut forms: Vec<Vec<u8>> = Vec::new();
    for (name, value) in values {
        let value = value.expose().trim();
        if secret(name) && value.len() >= SHORTEST {
            forms.extend(crate::gateway::forms(value.as_bytes()));
            // A log has lines: each of a key's is one.
            forms.extend(value.lines().filter(|line| line.len() >= 16).map(|line| line.as_bytes().to_vec()));
        }
    }
    forms.sort_unstable();
    forms.dedup();
    let finder = aho_corasick::AhoCorasick::builder()
        .match_kind(aho_corasick::MatchKind::LeftmostLongest)
        .build(&forms)
        .ok()
        .filter(|_| !forms.is_empty());
    move |line: &str| match &finder {
        Some(finder) => {
            let mut clean = Vec::with_capacity(line.len());
            finder.replace_all_with_bytes(line.as_bytes(), &mut clean, |_, _, out| {
                out.extend_from_slice(b"[secret]");
                true
            });
            String::from_utf8_lossy(&clean).into_owned()
        }
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_stand_in_lines() {
        let values = [("TOKEN", "hush-hush"), ("LEVEL", "yes"), ("COFFERDAM_AGENT_ID", "hello")];
        let values = values.into_iter().map(|(name, value)| (name.to_owned(), Secret::new(value))).collect();
        let redact = redactor(&values);
        assert_eq!(redact("a hush-hush b hello yes"), "a [secret] b hello yes");
        assert_eq!(redact("aHVzaC1odXNo"), "[secret]");
        assert_eq!(redactor(&BTreeMap::new())("x"), "x");
    }
}
