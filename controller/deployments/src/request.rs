//! The steps that every request for a deployment shares: a new row, its turn, its first event. They happen within a
//! change of the agent and take effect when it is committed.

use cofferdam_contract::{AgentId, DeploymentId, DeploymentState, Problem};
use cofferdam_core::{Caller, now, now_ms, random_bits};
use cofferdam_store::{AgentChange, AgentRow, Because, DeploymentRow, ImageSource, Observed, Spec, Wanted};

use crate::service::{container, no_agent};
use crate::{DeploymentInfo, Deployments, Error, Once};

impl Deployments {
    /// The deployment that an earlier request with this key asked for.
    ///
    /// # Errors
    /// A key that was used with another request; a deployment that is not kept any more.
    pub(crate) async fn requested_before(
        &self,
        caller: &Caller,
        id: &AgentId,
        once: &Once,
    ) -> Result<Option<DeploymentInfo>, Error> {
        let Some(key) = once.key() else { return Ok(None) };
        let Some(found) = self.store.once(&caller.organization, &key.name).await? else { return Ok(None) };
        once.check(&found)?;
        let row = self.store.deployment(&caller.organization, id, found.number).await?;
        row.as_ref().map(|row| Some(row.into())).ok_or_else(|| no_deployment(id, found.number))
    }

    /// Begins a change. Until it ends, use the store through the change only.
    ///
    /// # Errors
    /// [`Problem::not_found`]; [`Problem::conflict`] if the agent is being deleted.
    pub(crate) async fn begin_change(&self, caller: &Caller, id: &AgentId) -> Result<AgentChange, Error> {
        let change = self.store.change_agent(&caller.organization, id, None).await?;
        let change = change.ok_or_else(|| no_agent(id))?;
        if let Err(serverless) = container(&change.agent) {
            change.abandon().await?;
            return Err(serverless);
        }
        if change.agent.wanted.deletes() {
            change.abandon().await?;
            return Err(Problem::conflict(format!("The agent {:?} is being deleted.", id.as_str())).into());
        }
        Ok(change)
    }

    /// Notes the key, commits and announces the change. Returns the deployment, or the one that a concurrent request
    /// with the same key asked for.
    ///
    /// # Errors
    /// A key that was used with another request; the store's failure.
    pub(crate) async fn finish_change(
        &self,
        mut change: AgentChange,
        once: &Once,
        row: DeploymentRow,
    ) -> Result<DeploymentInfo, Error> {
        if let Some(key) = once.key()
            && let Some(found) = change.once(key, row.number).await?
        {
            change.abandon().await?;
            once.check(&found)?;
            let before = self.store.deployment(&row.organization, &row.agent, found.number).await?;
            return before.as_ref().map(Into::into).ok_or_else(|| no_deployment(&row.agent, found.number));
        }
        change.commit().await?;
        self.announce(&row.organization, &row.agent);
        Ok((&row).into())
    }

    /// Refuses early. Only [`Self::begin_deployment`] keeps the limit.
    ///
    /// # Errors
    /// [`Problem::overloaded`] if too many of the organization's deployments have not settled.
    pub(crate) async fn check_quota(&self, caller: &Caller) -> Result<(), Error> {
        self.quota(self.store.count_unsettled(&caller.organization).await?)
    }

    /// Begins a change that may add a deployment. No other one adds a deployment until it ends.
    ///
    /// # Errors
    /// As [`Self::begin_change`]; [`Problem::overloaded`] if too many of the organization's deployments have not settled.
    pub(crate) async fn begin_deployment(&self, caller: &Caller, id: &AgentId) -> Result<AgentChange, Error> {
        let mut change = self.begin_change(caller, id).await?;
        match self.quota(change.count_unsettled().await?) {
            Ok(()) => Ok(change),
            Err(error) => {
                change.abandon().await?;
                Err(error)
            }
        }
    }

    fn quota(&self, unsettled: u64) -> Result<(), Error> {
        let most = self.config.max_unsettled;
        if unsettled < most {
            return Ok(());
        }
        let detail = format!(
            "{most} deployments of the organization are on their way: deployment limit reached; wait for some."
        );
        Err(Problem::overloaded(detail).into())
    }

    /// Inserts a new deployment with its variables and gives it its turn.
    pub(crate) async fn insert_running(
        &self,
        change: &mut AgentChange,
        row: &mut DeploymentRow,
        sealed: Option<&str>,
    ) -> Result<(), Error> {
        take_turn(change, row);
        change.insert(row, sealed).await?;
        change.put(row, true).await?;
        Ok(())
    }

    /// A new deployment of an older one's image, with its variables, secrets and resources.
    pub(crate) async fn repeat(
        &self,
        change: &mut AgentChange,
        older: &DeploymentRow,
        because: Because,
    ) -> Result<DeploymentRow, Error> {
        let source = ImageSource::Version { number: older.number, because };
        let mut row = blank(&change.agent, source, Spec { other_settings: false, ..older.spec.clone() })?;
        copy_image(older, &mut row);
        let sealed = change.variables(older).await?;
        let variables = self.unseal_variables(&older.id, sealed.as_deref())?;
        let sealed = self.seal_variables(&row.id, &variables)?;
        self.insert_running(change, &mut row, sealed.as_deref()).await?;
        Ok(row)
    }
}

pub(crate) fn no_deployment(agent: &AgentId, number: u64) -> Error {
    Problem::not_found(format!("Agent {:?} has no deployment {number}.", agent.as_str())).into()
}

/// A deployment of that agent without an image. It gets its number when it is inserted.
pub(crate) fn blank(agent: &AgentRow, source: ImageSource, spec: Spec) -> Result<DeploymentRow, Error> {
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
        observed: Observed::default(),
        events: 0,
        created_at: at,
        updated_at: at,
    })
}

/// Gives a new deployment the image of an older one.
pub(crate) fn copy_image(older: &DeploymentRow, row: &mut DeploymentRow) {
    row.image.clone_from(&older.image);
    row.architecture.clone_from(&older.architecture);
    (row.run_as, row.size_bytes) = (older.run_as, older.size_bytes);
}

/// Puts a deployment into another state.
pub(crate) fn enter(row: &mut DeploymentRow, state: DeploymentState, detail: impl Into<String>) {
    row.state = state;
    row.detail = detail.into();
    row.since_ms = now_ms();
    row.attempts = 0;
    row.retry_at_ms = 0;
}

/// Asks a deployment to run, after every one that was asked to run before it.
pub(crate) fn take_turn(change: &mut AgentChange, row: &mut DeploymentRow) {
    change.agent.last_turn += 1;
    change.agent.wanted = Wanted::Run;
    row.turn = change.agent.last_turn;
    if !row.image.is_empty() {
        enter(row, DeploymentState::Applying, "Creating the Job.");
    }
}
