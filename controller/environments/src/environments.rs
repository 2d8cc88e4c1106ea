//! The service that puts, shows, lists, deletes and opens environments.

use std::sync::Arc;

use cofferdam_cluster::{AnyCluster, ClusterError, Clusters, Place, Workload};
use cofferdam_contract::{AgentId, OrganizationId, Problem};
use cofferdam_core::{Caller, Vault, is_label, now, random_bits};
use cofferdam_policy::RegistriesConfig;
use cofferdam_store::{EnvironmentRow, Put, Store};

use crate::check::{check, invalid, kubeconfig_text};
use crate::stored::{environment, info, local_info, open, seal, shown};
use crate::{Environment, EnvironmentInfo, EnvironmentRequest, Error, LOCAL, LocalEnvironment};

/// Environments of one organization.
const MAX_ENVIRONMENTS: u64 = 100;
/// Attempts to put an environment that other requests add and delete at the same time.
const MAX_TRIES: usize = 5;

/// Agents that are named in a refusal.
const MAX_NAMED: usize = 5;
const OF_THE_SERVER: &str = "The environment `local` comes from the server's own settings (KUBECONFIG, COFFERDAM_IMAGES and \
                             others, docs/agents.md), and only these change it. Another name makes another environment.";

/// The refusal to delete an environment with agents.
fn in_use(name: &str, agents: &[AgentId]) -> String {
    let named: Vec<&str> = agents.iter().take(MAX_NAMED).map(AgentId::as_str).collect();
    let more = match agents.len().saturating_sub(MAX_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "Agents use the environment {name:?}: {}{more}. Delete them first, or with it: `cofferdam environment delete {name} \
         --force` (`?force=true`).",
        named.join(", ")
    )
}

pub struct Environments {
    store: Store,
    vault: Arc<Vault>,
    clusters: Arc<dyn Clusters>,
    local: Environment,
}

impl Environments {
    /// `registries` are the operator's; one of them may have the credentials for the registry of `local`.
    pub fn new(
        store: Store,
        vault: Arc<Vault>,
        clusters: Arc<dyn Clusters>,
        local: LocalEnvironment,
        registries: &RegistriesConfig,
    ) -> Self {
        Self { store, vault, clusters, local: local.open(registries) }
    }

    /// Opens the environment of that name.
    ///
    /// # Errors
    /// [`Problem::not_found`], the store's failure, or secrets that this process's key does not open.
    pub async fn find(&self, organization: &OrganizationId, name: &str) -> Result<Environment, Error> {
        if name == LOCAL {
            return Ok(self.local.clone());
        }
        let row = self.row(organization, name).await?;
        let (settings, secrets) = open(&self.vault, &row)?;
        environment(row.name, settings, secrets)
    }

    /// Returns the environment's cluster. Opens no connection: the first call on the cluster does.
    ///
    /// # Errors
    /// Invalid settings.
    pub fn connect(&self, environment: &Environment) -> Result<AnyCluster, ClusterError> {
        self.clusters.connect(&Place { access: &environment.cluster, namespace: &environment.namespace })
    }

    /// The objects that the environment's cluster would get for a workload, without the values of its variables.
    ///
    /// # Errors
    /// [`Problem::invalid`] for a workload that no cluster takes.
    pub fn manifests(&self, environment: &Environment, workload: &Workload) -> Result<Vec<serde_json::Value>, Error> {
        let shown = self.clusters.manifests(&environment.namespace, workload);
        shown.map_err(|error| Problem::invalid(format!("{error}.")).into())
    }

    /// Creates an environment, or replaces all its settings; the second value is true for a new one. Running agents are
    /// not touched; their next change uses the new settings.
    ///
    /// # Errors
    /// The first invalid field, or the limit of environments.
    pub async fn put(
        &self,
        caller: &Caller,
        name: &str,
        request: EnvironmentRequest,
    ) -> Result<(EnvironmentInfo, bool), Error> {
        if name == LOCAL {
            return Err(Problem::conflict(OF_THE_SERVER).into());
        }
        if !is_label(name) {
            return Err(invalid("name", "1 to 63 of a-z, 0-9 and `-`, a letter or digit first and last"));
        }
        check(&request)?;
        if let Some(kubeconfig) = &request.secrets.kubeconfig {
            let yaml = kubeconfig_text(kubeconfig)?;
            let checked = self.clusters.check_kubeconfig(&yaml, request.settings.context.as_deref());
            checked.map_err(|error| invalid("kubeconfig", error))?;
        }
        for _ in 0..MAX_TRIES {
            let row = self.sealed(caller, name, &request).await?;
            match self.store.put_environment(&row, MAX_ENVIRONMENTS).await? {
                Some(Put::Full) => {
                    let detail = format!("The limit of {MAX_ENVIRONMENTS} environments is reached; delete one first.");
                    return Err(Problem::overloaded(detail).into());
                }
                Some(put) => return Ok((info(row, request.settings, &request.secrets), put == Put::Added)),
                // Another request has added or deleted it meanwhile.
                None => {}
            }
        }
        Err(Problem::conflict(format!("Other requests change the environment {name:?} at the same time.")).into())
    }

    /// The row for these settings, under the id of the environment that has the name.
    async fn sealed(&self, caller: &Caller, name: &str, request: &EnvironmentRequest) -> Result<EnvironmentRow, Error> {
        let before = self.store.environment(&caller.organization, name).await?;
        let updated_at = now();
        let (id, created_at) = match before {
            Some(before) => (before.id, before.created_at),
            None => (format!("env_{:032x}", random_bits()?), updated_at),
        };
        let row = EnvironmentRow {
            id,
            organization: caller.organization.clone(),
            name: name.to_owned(),
            settings: String::new(),
            sealed: String::new(),
            created_at,
            updated_at,
        };
        seal(&self.vault, row, request)
    }

    /// # Errors
    /// [`Problem::not_found`], or the store's failure.
    pub async fn show(&self, caller: &Caller, name: &str) -> Result<EnvironmentInfo, Error> {
        if name == LOCAL {
            return Ok(local_info(&self.local));
        }
        Ok(shown(&self.vault, self.row(&caller.organization, name).await?))
    }

    /// Lists the organization's environments, `local` first.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn list(&self, caller: &Caller) -> Result<Vec<EnvironmentInfo>, Error> {
        let rows = self.store.environments(&caller.organization).await?;
        let stored = rows.into_iter().filter(|row| row.name != LOCAL).map(|row| shown(&self.vault, row));
        Ok(std::iter::once(local_info(&self.local)).chain(stored).collect())
    }

    /// # Errors
    /// [`Problem::not_found`], or [`Problem::conflict`] if agents use it.
    pub async fn delete(&self, caller: &Caller, name: &str) -> Result<(), Error> {
        if name == LOCAL {
            return Err(Problem::conflict(OF_THE_SERVER).into());
        }
        if self.store.delete_environment(&caller.organization, name).await? {
            return Ok(());
        }
        self.row(&caller.organization, name).await?;
        let agents = self.store.agents_in(&caller.organization, name).await?;
        Err(Problem::conflict(in_use(name, &agents)).into())
    }

    async fn row(&self, organization: &OrganizationId, name: &str) -> Result<EnvironmentRow, Error> {
        let row = self.store.environment(organization, name).await?;
        row.ok_or_else(|| {
            let shown: String = name.chars().take(80).collect();
            Problem::not_found(format!("There is no environment {shown:?}.")).into()
        })
    }
}
