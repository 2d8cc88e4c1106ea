//! Removes what the cluster has of a deployment that is over or is to end.

use std::time::Duration;

use cofferdam_cluster::ClusterError;
use cofferdam_contract::DeploymentState as State;
use cofferdam_core::{chain, now_ms};
use tokio::time::timeout;

use super::{Next, Step, sentence};
use crate::Error;
use crate::request::enter;

/// A cluster that is unreachable for this long no longer keeps an agent from being deleted.
const GIVE_UP_MS: i64 = 24 * 3_600 * 1_000;
/// The one attempt to remove a deployment of an agent that is deleted by force.
const ABANDON_TIMEOUT: Duration = Duration::from_secs(30);

impl Step {
    pub(super) async fn remove(&self) -> Result<Next, Error> {
        if !self.row.placed {
            return self.gone().await;
        }
        let environment = match self.environment().await {
            Ok(environment) => environment,
            // Without its environment it is unknown where it ran.
            Err(Error::Refused(_)) => return self.gone().await,
            Err(error) => return Err(error),
        };
        // A controller that took over collects its log from where it is stored, as long as its pods are there.
        self.collect(&environment).await;
        match self.remove_workload(&environment).await {
            Ok(()) | Err(ClusterError::None(_)) => self.gone().await,
            Err(error) if self.agent.wanted.deletes() && now_ms() - self.row.since_ms > GIVE_UP_MS => {
                tracing::warn!(agent = %self.agent.id, version = self.row.number, %error,
                    "the Job of a deleted agent could not be removed for a day; it is left behind");
                self.gone().await
            }
            Err(error) if self.row.state == State::Stopping => {
                let why = self.refusal(&environment, &error).await;
                self.later(sentence(&format!("it cannot be removed yet: {why}"))).await
            }
            // The detail of a failed deployment stays readable.
            Err(error) => {
                tracing::debug!(agent = %self.agent.id, version = self.row.number, %error, "a Job cannot be removed yet");
                self.later(self.row.detail.clone()).await
            }
        }
    }

    /// Tries once to remove a deployment of an agent that is deleted by force. The request has been answered with what may
    /// stay behind.
    pub(super) async fn abandon(&self) -> Result<Next, Error> {
        let tried = async {
            let environment = self.environment().await.map_err(|error| chain(&error))?;
            let removed = self.remove_workload(&environment).await;
            match removed {
                Ok(()) => Ok(()),
                Err(error) => Err(self.refusal(&environment, &error).await),
            }
        };
        if self.row.placed
            && let Err(error) = timeout(ABANDON_TIMEOUT, tried).await.unwrap_or_else(|_| Err("no answer".to_owned()))
        {
            tracing::warn!(agent = %self.agent.id, version = self.row.number, %error,
                "the Job of an agent that was deleted by force could not be removed; it may be left behind");
        }
        self.gone().await
    }

    /// Records that the cluster has nothing of the deployment any more.
    async fn gone(&self) -> Result<Next, Error> {
        let Some((mut change, mut row)) = self.take().await? else { return Ok(Next::soon()) };
        row.placed = false;
        let stops = row.state == State::Stopping;
        if stops {
            let why = if row.attempts > 0 { "Stopped.".to_owned() } else { row.detail.clone() };
            enter(&mut row, State::Stopped, why);
        }
        if change.agent.serving == row.number {
            change.agent.serving = 0;
        }
        change.put(&mut row, stops).await?;
        self.done(change).await?;
        Ok(Next::now())
    }
}
