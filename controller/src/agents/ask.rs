//! What asking for a deployment has in common, however it is asked for: a new row, its turn, its first event. Within a
//! change of the agent; nothing has happened until that is committed.

use cofferdam_contract::{AgentId, DeploymentId, DeploymentState, Problem};

use super::{DeploymentInfo, Once, compose, no_agent, tell};
use crate::Error;
use crate::auth::Caller;
use crate::clock::{now, now_ms, random_bits};
use crate::services::App;
use crate::store::{AgentChange, AgentRow, Because, DeploymentRow, Source, Spec, Wanted};

/// What the same request has come to before.
///
/// # Errors
/// A key of another request; a deployment that is not kept any more.
pub(super) async fn before(
    app: &App,
    caller: &Caller,
    id: &AgentId,
    once: &Once,
) -> Result<Option<DeploymentInfo>, Error> {
    let Some(key) = once.key() else { return Ok(None) };
    let Some(found) = app.store.once(&caller.organization, &key.name).await? else { return Ok(None) };
    once.check(&found)?;
    let row = app.store.deployment(&caller.organization, id, found.number).await?;
    row.as_ref().map(|row| Some(row.into())).ok_or_else(|| no_deployment(id, found.number))
}

/// Begins a change. Until it ends the store is used through it alone.
///
/// # Errors
/// [`Problem::not_found`]; an agent that is being deleted.
pub(super) async fn begin(app: &App, caller: &Caller, id: &AgentId) -> Result<AgentChange, Error> {
    let change = app.store.change_agent(&caller.organization, id, None).await?;
    let change = change.ok_or_else(|| no_agent(id))?;
    if change.agent.wanted == Wanted::Delete {
        change.abandon().await?;
        return Err(Problem::conflict(format!("The agent {:?} is being deleted.", id.as_str())).into());
    }
    Ok(change)
}

/// Notes the key, commits, tells. The deployment as it is, or as the same request at the same time has made it.
///
/// # Errors
/// A key of another request; the store's failure.
pub(super) async fn finish(
    app: &App,
    mut change: AgentChange,
    once: &Once,
    row: DeploymentRow,
) -> Result<DeploymentInfo, Error> {
    if let Some(key) = once.key()
        && let Some(found) = change.once(key, row.number).await?
    {
        change.abandon().await?;
        once.check(&found)?;
        let before = app.store.deployment(&row.organization, &row.agent, found.number).await?;
        return before.as_ref().map(Into::into).ok_or_else(|| no_deployment(&row.agent, found.number));
    }
    change.commit().await?;
    tell(app, &row.organization, &row.agent);
    Ok((&row).into())
}

pub(super) fn no_deployment(agent: &AgentId, number: u64) -> Error {
    Problem::not_found(format!("No deployment {number} of agent {:?} is kept.", agent.as_str())).into()
}

/// # Errors
/// Too many deployments of the organization are on their way.
pub(super) async fn check_quota(app: &App, caller: &Caller) -> Result<(), Error> {
    let most = app.config.agents.max_unsettled;
    if app.store.count_unsettled(&caller.organization).await? < most {
        return Ok(());
    }
    let detail = format!("{most} deployments are on their way, which is the most for an organization; wait for some.");
    Err(Problem::overloaded(detail).into())
}

/// A deployment of that agent that has nothing yet; it gets its number when it is inserted.
pub(super) fn blank(agent: &AgentRow, source: Source, spec: Spec) -> Result<DeploymentRow, Error> {
    let (at, at_ms) = (now(), now_ms());
    Ok(DeploymentRow {
        id: DeploymentId::from_random(random_bits()?),
        organization: agent.organization.clone(),
        agent: agent.id.clone(),
        number: 0,
        turn: 0,
        state: DeploymentState::Uploading,
        reason: None,
        detail: String::new(),
        exit_code: None,
        last_lines: Vec::new(),
        source,
        image: String::new(),
        architecture: String::new(),
        run_as: None,
        size_bytes: 0,
        received_bytes: 0,
        spec,
        placed: false,
        attempts: 0,
        retry_at_ms: 0,
        since_ms: at_ms,
        up_at_ms: 0,
        crashes: 0,
        events: 0,
        created_at: at,
        updated_at: at,
    })
}

/// Puts a deployment into another state.
pub(crate) fn enter(row: &mut DeploymentRow, state: DeploymentState, detail: impl Into<String>) {
    row.state = state;
    row.detail = detail.into();
    row.since_ms = now_ms();
    row.attempts = 0;
    row.retry_at_ms = 0;
}

/// Gives a deployment its turn: it is to run, after everything that was asked for before it.
pub(super) fn take_turn(change: &mut AgentChange, row: &mut DeploymentRow) {
    change.agent.last_turn += 1;
    change.agent.wanted = Wanted::Run;
    row.turn = change.agent.last_turn;
    if !row.image.is_empty() {
        enter(row, DeploymentState::Applying, "Its Job is being made.");
    }
}

/// A new deployment of an older one's image, with its variables and all that it asked for.
pub(crate) async fn again(
    app: &App,
    change: &mut AgentChange,
    older: &DeploymentRow,
    because: Because,
) -> Result<DeploymentRow, Error> {
    let source = Source::Version { number: older.number, because };
    let mut row = blank(&change.agent, source, older.spec.clone())?;
    row.image.clone_from(&older.image);
    row.architecture.clone_from(&older.architecture);
    (row.run_as, row.size_bytes) = (older.run_as, older.size_bytes);
    let sealed = change.variables(older).await?;
    let variables = compose::unseal(app, &older.id, sealed.as_deref())?;
    let sealed = compose::seal(app, &row.id, &variables)?;
    take_turn(change, &mut row);
    change.insert(&mut row, sealed.as_deref()).await?;
    change.put(&mut row, true).await?;
    Ok(row)
}
