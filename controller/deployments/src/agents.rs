//! Creates, lists and shows agents.

use cofferdam_contract::{AgentId, Problem};
use cofferdam_core::{Caller, now, random_bits};
use cofferdam_environments::LOCAL;
use cofferdam_store::{AgentRow, Inserted, OnceRow, Wanted};

use crate::service::no_agent;
use crate::{AgentInfo, CreateAgent, Deployments, Error, Once};

/// The longest name, in bytes.
const MAX_NAME: usize = 200;
/// No agent's id: `POST /v1/agents/import` takes documents.
const RESERVED_ID: &str = "import";
/// Agents in one page.
const MAX_PAGE: usize = 200;

impl Deployments {
    /// Creates an agent.
    ///
    /// # Errors
    /// The first invalid field; [`Problem::conflict`] if the id is taken; [`Problem::overloaded`] at the limit.
    pub async fn create(&self, caller: &Caller, request: CreateAgent, once: &Once) -> Result<AgentInfo, Error> {
        if let Some(before) = self.created_before(caller, once).await? {
            return Ok(before);
        }
        let id = match request.id {
            Some(id) => id,
            None => parse_id(&format!("agent-{:032x}", random_bits()?))?,
        };
        if id.as_str() == RESERVED_ID {
            return Err(
                Problem::invalid(format!("id: `{RESERVED_ID}` is an address of its own; choose another one")).into()
            );
        }
        let name = request.name.unwrap_or_else(|| id.to_string());
        if name.trim().is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
            let detail = format!("name: 1 to {MAX_NAME} bytes, no control characters");
            return Err(Problem::invalid(detail).into());
        }
        let environment = request.environment.unwrap_or_else(|| LOCAL.to_owned());
        let most = self.config.max_agents;
        let row = new_row(caller, id, name, environment);
        match self.store.insert_agent(&row, once.key(), most).await? {
            Inserted::Done => Ok(AgentInfo::new(row, None, None)),
            Inserted::Taken => Err(Problem::conflict(format!("An agent {:?} already exists.", row.id.as_str())).into()),
            Inserted::NoEnvironment => {
                let shown: String = row.environment.chars().take(80).collect();
                let detail = format!(
                    "environment: there is no environment {shown:?}; make it with `cofferdam environment create`"
                );
                Err(Problem::invalid(detail).into())
            }
            Inserted::Full => {
                let detail = format!("The organization has {most} agents: agent limit reached; delete some.");
                Err(Problem::overloaded(detail).into())
            }
            // A request with the same key came first.
            Inserted::Before(found) => self.created_by(caller, once, &found).await,
        }
    }

    /// The agent that an earlier request with this key created.
    async fn created_before(&self, caller: &Caller, once: &Once) -> Result<Option<AgentInfo>, Error> {
        let Some(key) = once.key() else { return Ok(None) };
        let Some(found) = self.store.once(&caller.organization, &key.name).await? else { return Ok(None) };
        self.created_by(caller, once, &found).await.map(Some)
    }

    async fn created_by(&self, caller: &Caller, once: &Once, found: &OnceRow) -> Result<AgentInfo, Error> {
        once.check(found)?;
        self.show(caller, &parse_id(&found.agent)?).await
    }

    /// A page of agents ordered by id, from the first id above `after`; and the id to continue after, if there are
    /// more.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn list(
        &self,
        caller: &Caller,
        after: &str,
        limit: usize,
    ) -> Result<(Vec<AgentInfo>, Option<String>), Error> {
        let limit = limit.clamp(1, MAX_PAGE);
        let mut rows = self.store.agents(&caller.organization, after, limit as u64 + 1).await?;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(|row| row.id.to_string());
        let deployments = self.store.agents_deployments(&caller.organization, &rows).await?;
        let info = |row: AgentRow| {
            let serving = deployments.get(&(row.id.clone(), row.serving));
            let latest = deployments.get(&(row.id.clone(), row.last_number));
            AgentInfo::new(row, serving, latest)
        };
        Ok((rows.into_iter().map(info).collect(), next))
    }

    /// Unix time in seconds at which an agent was made; none if there is no such agent.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn created_at(&self, caller: &Caller, id: &AgentId) -> Result<Option<i64>, Error> {
        Ok(self.store.agent(&caller.organization, id).await?.map(|agent| agent.created_at))
    }

    /// # Errors
    /// [`Problem::not_found`].
    pub async fn show(&self, caller: &Caller, id: &AgentId) -> Result<AgentInfo, Error> {
        let row = self.store.agent(&caller.organization, id).await?.ok_or_else(|| no_agent(id))?;
        let one = |number: u64| self.store.deployment(&caller.organization, id, number);
        let serving = if row.serving == 0 { None } else { one(row.serving).await? };
        let latest = if row.last_number == 0 { None } else { one(row.last_number).await? };
        Ok(AgentInfo::new(row, serving.as_ref(), latest.as_ref()))
    }
}

fn new_row(caller: &Caller, id: AgentId, name: String, environment: String) -> AgentRow {
    let at = now();
    AgentRow {
        organization: caller.organization.clone(),
        id,
        name,
        environment,
        serverless: false,
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
    }
}

fn parse_id(text: &str) -> Result<AgentId, Error> {
    AgentId::parse(text).map_err(|_| Error::AgentId(text.to_owned()))
}
