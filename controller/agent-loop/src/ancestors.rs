//! The tasks above a task in its tree: their limits of tokens and money hold for it too.

use cofferdam_store::{TaskQuery, TaskRow, Used};

use crate::Error;
use crate::limits::{Reached, of_used, with};
use crate::types::RunContext;

/// Tasks above one that are looked at; the depth of trees is smaller.
const MAX_ANCESTORS: usize = 16;
/// Unfinished tasks of one above that are added up.
const MAX_SIBLINGS: u32 = 100;

/// Looks if a limit of a task above is reached, with what its other sub-agents use at the moment.
///
/// # Errors
/// The store cannot be read.
pub(crate) async fn reached(ctx: &RunContext) -> Result<Option<Reached>, Error> {
    let store = ctx.parts.tasks.store();
    let mut below = ctx.task.used;
    let (mut child, mut above) = (ctx.task.id.clone(), ctx.task.parent.clone());
    for _ in 0..MAX_ANCESTORS {
        let Some(parent) = above else { break };
        let Some(row) = store.task(&ctx.task.organization, &parent).await? else { break };
        let definition = ctx.parts.agents.version(&row.organization, &row.agent, &row.agent_version).await?;
        let limits = definition.map(|agent| agent.definition.limits.clone()).unwrap_or_default();
        let mut used = with(row.used, &below);
        if limits.tokens.is_some() || limits.cost_usd.is_some() {
            let query = TaskQuery { parent: Some(parent.clone()), limit: MAX_SIBLINGS, ..TaskQuery::default() };
            let siblings = store.tasks(&ctx.task.organization, &query).await?;
            used = siblings.iter().filter(|other| other.id != child && !other.status.is_final()).fold(used, add);
            let whose = format!("The task {parent}, which this one works for, has limits; its");
            if let Some(reached) = of_used(&limits, &used, &whose) {
                return Ok(Some(reached));
            }
        }
        (below, child, above) = (used, row.id, row.parent);
    }
    Ok(None)
}

fn add(used: Used, task: &TaskRow) -> Used {
    with(used, &task.used)
}
