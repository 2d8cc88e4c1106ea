//! An image that was uploaded elsewhere is brought into the registry. Where uploads come to us, they need no bringing:
//! who takes them says when they are there.

use cofferdam_contract::{DeploymentState as State, FailureReason};

use super::apply::{is_final, safe};
use super::write::Failed;
use super::{Act, Next};
use crate::Error;
use crate::agents::ask::enter;
use crate::agents::{image_arrived, upload_failed};
use crate::clock::now_ms;
use crate::environments::Kind;

/// Nothing is to be done here; looked at again in case the environment becomes another.
const IDLE: std::time::Duration = std::time::Duration::from_secs(300);

pub async fn carry(act: &Act) -> Result<Next, Error> {
    let environment = match act.environment().await {
        Ok(environment) => environment,
        Err(error) if is_final(&error) => {
            return act.fail(Failed::new(FailureReason::Registry, safe(&error))).await;
        }
        Err(error) => return Err(error),
    };
    if matches!(environment.kind, Kind::SelfDeployed) {
        return Ok(Next::after(IDLE));
    }
    let Some(carrier) = act.app.agents.carrier() else {
        let detail = "This server has no way to bring images from S3; upload into a self-deployed environment.";
        return act.fail(Failed::new(FailureReason::Internal, detail)).await;
    };
    if act.row.state == State::Uploading {
        let Some((mut change, mut row)) = act.take().await? else { return Ok(Next::soon()) };
        enter(&mut row, State::Pushing, "Its image is brought to the registry.");
        change.put(&mut row, true).await?;
        act.done(change).await?;
        return Ok(Next::now());
    }
    match carrier.carry(&act.app, &environment, &act.row).await {
        Ok(image) => image_arrived(&act.app, &act.row.id, image).await.map(|_| Next::now()),
        Err(error) => {
            let waited = now_ms().saturating_sub(act.row.since_ms);
            if error.retryable && waited < super::super::millis(act.app.config.agents.timing.patience) {
                return act.later(error.detail).await;
            }
            upload_failed(&act.app, &act.row.id, error.reason, &error.detail).await.map(|_| Next::now())
        }
    }
}
