//! Names in a definition that lead nowhere: no error, because what they name may be made later.

use std::sync::Arc;

use axum::extract::FromRef;
use cofferdam_agents::Agents;
use cofferdam_connectors::Connectors;
use cofferdam_contract::AgentId;
use cofferdam_contract::work::{AgentDefinition, ToolEntry};
use cofferdam_core::Caller;
use cofferdam_models::Settings;
use cofferdam_tools::Tools;

use crate::services::Services;

/// Names of a definition that are looked up.
const MAX_LOOKED_UP: usize = 32;
/// Tools that are always there.
const BUILT_IN: [&str; 2] = ["run_code", "update_plan"];

/// Looks names up.
#[derive(Clone)]
pub(super) struct Warnings {
    tools: Arc<Tools>,
    connectors: Arc<Connectors>,
    agents: Arc<Agents>,
    models: Arc<Settings>,
}

impl FromRef<Services> for Warnings {
    fn from_ref(services: &Services) -> Self {
        Self {
            tools: FromRef::from_ref(services),
            connectors: FromRef::from_ref(services),
            agents: FromRef::from_ref(services),
            models: FromRef::from_ref(services),
        }
    }
}

impl Warnings {
    /// The warnings about a definition. A service that fails gives none.
    pub(super) async fn of(&self, caller: &Caller, definition: &AgentDefinition) -> Vec<String> {
        let mut warnings = Vec::new();
        if let Some(model) = &definition.model
            && let Ok(costs) = self.models.costs(&caller.organization, &[model]).await
            && costs.iter().all(|cost| cost.served_by.is_none())
        {
            warnings.push(format!("model: no upstream serves {model:?} now; GET /v1/models lists the models"));
        }
        for (at, entry) in definition.tools.iter().take(MAX_LOOKED_UP).enumerate() {
            if let Some(missing) = self.missing(caller, entry).await {
                warnings.push(format!("tools[{at}]: {missing}"));
            }
        }
        warnings
    }

    async fn missing(&self, caller: &Caller, entry: &ToolEntry) -> Option<String> {
        let name = entry.name();
        match name.split_once(':') {
            Some(("mcp", connector)) => match self.connectors.get(caller, connector).await {
                Err(error) if is_missing(&error) => Some(format!("there is no connector {connector} yet")),
                _ => None,
            },
            Some(("agent", id)) => {
                let id = AgentId::parse(id).ok()?;
                let missing = self.agents.exists(caller, &id).await.is_ok_and(|exists| !exists);
                missing.then(|| format!("there is no agent {id} yet"))
            }
            Some(_) => None,
            None if BUILT_IN.contains(&name) => None,
            None => {
                // `TOOL`, or `TOOL-FUNCTION`, and either may have a hyphen of its own.
                let cuts = name.match_indices('-').filter_map(|(at, _)| name.get(..at));
                for tool in std::iter::once(name).chain(cuts).take(MAX_LOOKED_UP) {
                    match self.tools.show(caller, tool).await {
                        Err(error) if is_missing(&error) => {}
                        _ => return None,
                    }
                }
                Some(format!("there is no tool {name} yet"))
            }
        }
    }
}

fn is_missing(failure: &impl cofferdam_core::Failure) -> bool {
    matches!(failure.blame(), cofferdam_core::Blame::Refused(problem) if problem.status == 404)
}
