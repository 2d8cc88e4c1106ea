//! An image that was uploaded elsewhere is asked for: whoever has the role `aws-operator` brings it into the registry and
//! says when it is there. Where uploads come to us, they need no bringing.

use std::time::Duration;

use cofferdam_contract::{DeploymentState as State, FailureReason};

use super::write::Failed;
use super::{Act, Next, is_final, safe};
use crate::Error;
use crate::agents::ask::enter;
use crate::agents::cloud::BROUGHT;
use crate::clock::now_ms;
use crate::environments::Kind;

/// Nothing is to be done here; looked at again in case the environment becomes another.
const IDLE: Duration = Duration::from_secs(300);
/// Whether somebody brings it is looked at so often.
const LOOK: Duration = Duration::from_secs(5);
/// That nobody does is said after this time.
const WORTH_TELLING: Duration = Duration::from_secs(20);
const NOBODY: &str = "No process brings its image from S3 to the registry: one with the role aws-operator has to run on \
                      this database (`cofferdam serve --role aws-operator`).";

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
    if act.row.state == State::Uploading {
        let Some((mut change, mut row)) = act.take().await? else { return Ok(Next::soon()) };
        enter(&mut row, State::Pushing, BROUGHT);
        change.put(&mut row, true).await?;
        act.done(change).await?;
        return Ok(Next::now());
    }
    let (app, timing, now) = (&act.app, act.app.config.agents.timing, now_ms());
    let idle_since = app.store.ask_carriage(&act.row.id, now).await?;
    app.agents.carriage.notify_one();
    let idle = Duration::from_millis(u64::try_from(now.saturating_sub(idle_since)).unwrap_or(0));
    if idle >= timing.patience {
        app.store.end_carriage(&act.row.id).await?;
        return act.fail(Failed::new(FailureReason::Internal, NOBODY)).await;
    }
    if idle >= WORTH_TELLING && act.row.detail != NOBODY {
        return act.later(NOBODY.to_owned()).await;
    }
    Ok(Next::after(LOOK.min(timing.patience - idle)))
}
