//! Agents are made, shown and deleted. Deleting is wanted at once and done by the driver: first what runs, then the rows.

use cofferdam_contract::{AgentId, Problem};

use super::{AgentInfo, CreateAgent, Once, no_agent, tell};
use crate::Error;
use crate::auth::Caller;
use crate::clock::{now, random_bits};
use crate::environments::{self, LOCAL};
use crate::services::App;
use crate::store::{AgentRow, Inserted, Wanted};

const MAX_NAME: usize = 200;
/// Agents in one page.
const MAX_PAGE: usize = 200;

/// Makes an agent.
///
/// # Errors
/// What is wrong with it; [`Problem::conflict`] where there is one of that id.
pub async fn create(app: &App, caller: &Caller, request: CreateAgent, once: &Once) -> Result<AgentInfo, Error> {
    if let Some(before) = before(app, caller, once).await? {
        return Ok(before);
    }
    let id = match request.id {
        Some(id) => id,
        None => AgentId::parse(&format!("agent-{:032x}", random_bits()?)).map_err(|e| Error::Row(e.to_string()))?,
    };
    let name = request.name.unwrap_or_else(|| id.to_string());
    if name.trim().is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
        let detail = format!("name: 1 to {MAX_NAME} bytes, no control characters");
        return Err(Problem::invalid(detail).into());
    }
    let environment = request.environment.unwrap_or_else(|| LOCAL.to_owned());
    if environment != LOCAL && app.store.environment(&caller.organization, &environment).await?.is_none() {
        let shown: String = environment.chars().take(80).collect();
        let detail = format!("environment: there is no environment {shown:?}; make it with PUT /v1/environments");
        return Err(Problem::invalid(detail).into());
    }
    let most = app.config.agents.max;
    if app.store.count_agents(&caller.organization).await? >= most {
        let detail = format!("There are {most} agents, which is the most for an organization; delete some.");
        return Err(Problem::overloaded(detail).into());
    }
    let at = now();
    let row = AgentRow {
        organization: caller.organization.clone(),
        id,
        name,
        environment,
        wanted: Wanted::Run,
        last_number: 0,
        last_turn: 0,
        serving: 0,
        active: false,
        dirty: 0,
        lease_owner: String::new(),
        lease_until_ms: 0,
        created_at: at,
        updated_at: at,
    };
    match app.store.insert_agent(&row, once.key()).await? {
        Inserted::Done => Ok(AgentInfo::new(row, None, None)),
        Inserted::Taken => Err(Problem::conflict(format!("There is an agent {:?} already.", row.id.as_str())).into()),
        // Another request with this key was faster.
        Inserted::Before(found) => {
            once.check(&found)?;
            let id = AgentId::parse(&found.agent).map_err(|e| Error::Row(e.to_string()))?;
            show(app, caller, &id).await
        }
    }
}

/// What the request with this key has made before.
async fn before(app: &App, caller: &Caller, once: &Once) -> Result<Option<AgentInfo>, Error> {
    let Some(key) = once.key() else { return Ok(None) };
    let Some(found) = app.store.once(&caller.organization, &key.name).await? else { return Ok(None) };
    once.check(&found)?;
    let id = AgentId::parse(&found.agent).map_err(|e| Error::Row(e.to_string()))?;
    show(app, caller, &id).await.map(Some)
}

/// A page of agents by id, after `after`; and the id to go on after, where there are more.
///
/// # Errors
/// The store's failure.
pub async fn list(
    app: &App,
    caller: &Caller,
    after: &str,
    most: usize,
) -> Result<(Vec<AgentInfo>, Option<String>), Error> {
    let most = most.clamp(1, MAX_PAGE);
    let mut rows = app.store.agents(&caller.organization, after, most as u64 + 1).await?;
    let more = rows.len() > most;
    rows.truncate(most);
    let next = rows.last().filter(|_| more).map(|row| row.id.to_string());
    let deployments = app.store.agents_deployments(&caller.organization, &rows).await?;
    let info = |row: AgentRow| {
        let serving = deployments.get(&(row.id.clone(), row.serving));
        let latest = deployments.get(&(row.id.clone(), row.last_number));
        AgentInfo::new(row, serving, latest)
    };
    Ok((rows.into_iter().map(info).collect(), next))
}

/// # Errors
/// [`Problem::not_found`].
pub async fn show(app: &App, caller: &Caller, id: &AgentId) -> Result<AgentInfo, Error> {
    let row = app.store.agent(&caller.organization, id).await?.ok_or_else(|| no_agent(id))?;
    let one = |number: u64| app.store.deployment(&caller.organization, id, number);
    let serving = if row.serving == 0 { None } else { one(row.serving).await? };
    let latest = if row.last_number == 0 { None } else { one(row.last_number).await? };
    Ok(AgentInfo::new(row, serving.as_ref(), latest.as_ref()))
}

/// Deletes an agent: from now on nothing more can be done with it, and it is gone once everything that runs of it is.
///
/// # Errors
/// [`Problem::not_found`].
pub async fn delete(app: &App, caller: &Caller, id: &AgentId) -> Result<(), Error> {
    let change = app.store.change_agent(&caller.organization, id, None).await?;
    let mut change = change.ok_or_else(|| no_agent(id))?;
    change.agent.wanted = Wanted::Delete;
    change.commit().await?;
    tell(app, &caller.organization, id);
    tracing::info!(organization = %caller.organization, agent = %id, "an agent is to be deleted");
    Ok(())
}

/// That agent's environment.
///
/// # Errors
/// As [`environments::find`].
pub(super) async fn environment_of(app: &App, agent: &AgentRow) -> Result<environments::Environment, Error> {
    environments::find(app, &agent.organization, &agent.environment).await
}
