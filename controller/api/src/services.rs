//! The services behind the handlers. A handler names the one it needs in its signature and gets nothing else.

use std::sync::Arc;

use axum::extract::FromRef;
use cofferdam_agents::Agents;
use cofferdam_connectors::Connectors;
use cofferdam_deployments::{Deployments, Uploads};
use cofferdam_environments::{Environments, Variables};
use cofferdam_identity::{Audit, Keyring, Keys, Organizations, Rates, RunTokens, Secrets};
use cofferdam_logs::Logs;
use cofferdam_models::Settings;
use cofferdam_sandbox::Sandboxes;
use cofferdam_tasks::Tasks;
use cofferdam_tools::Tools;
use cofferdam_usage::Accounts;

use crate::base::Base;
use crate::metrics::Metrics;
use crate::system::Status;
use crate::work::Invoke;

macro_rules! services {
    ($($name:ident: $service:ty,)*) => {
        /// The services that the composition made.
        pub struct ServiceSet {
            $(pub $name: $service,)*
        }

        $(impl FromRef<Services> for $service {
            fn from_ref(services: &Services) -> Self {
                services.0.$name.clone()
            }
        })*
    };
}

services! {
    keyring: Arc<Keyring>,
    agents: Arc<Agents>,
    rates: Arc<Rates>,
    keys: Arc<Keys>,
    organizations: Arc<Organizations>,
    audit: Arc<Audit>,
    run_tokens: Arc<RunTokens>,
    secrets: Arc<Secrets>,
    sandboxes: Arc<Sandboxes>,
    tools: Arc<Tools>,
    tasks: Arc<Tasks>,
    invoke: Arc<dyn Invoke>,
    connectors: Arc<Connectors>,
    environments: Arc<Environments>,
    variables: Arc<Variables>,
    deployments: Arc<Deployments>,
    uploads: Arc<Uploads>,
    logs: Arc<Logs>,
    models: Arc<Settings>,
    accounts: Arc<Accounts>,
    status: Arc<Status>,
    metrics: Arc<Metrics>,
    base: Base,
}

/// Shared by all routes; cheap to clone.
#[derive(Clone)]
pub struct Services(Arc<ServiceSet>);

impl Services {
    pub fn new(set: ServiceSet) -> Self {
        Self(Arc::new(set))
    }
}
