//! Requests that an image in a bucket be copied into the registry: a process with the role `aws-operator` does it and
//! reports the image's arrival. Images that are uploaded to the controller need no copy.

use std::time::Duration;

use cofferdam_contract::{DeploymentState as State, FailureReason};
use cofferdam_core::now_ms;
use cofferdam_environments::Kind;

use super::write::Failed;
use super::{Next, Step, shown};
use crate::Error;
use crate::operator::CARRYING;

/// Without anything to do, the environment is read again after this time, in case it has changed.
const REREAD_INTERVAL: Duration = Duration::from_secs(300);
/// The interval at which the request is checked for an operator.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// A missing operator is reported after this time.
const WORTH_TELLING: Duration = Duration::from_secs(20);
const NO_OPERATOR: &str = "No process copies the image from S3 to the registry: one with the role aws-operator has to \
                           run on this database (`cofferdam serve --role aws-operator`).";

impl Step {
    pub(super) async fn carry(&self) -> Result<Next, Error> {
        let environment = match self.environment().await {
            Ok(environment) => environment,
            Err(error) if error.is_final() => {
                return self.fail(Failed::new(FailureReason::Registry, shown(&error))).await;
            }
            Err(error) => return Err(error),
        };
        match environment.kind {
            Kind::SelfDeployed => Ok(Next::after(REREAD_INTERVAL)),
            Kind::Cloud(_) if self.row.state == State::Uploading => self.to(State::Pushing, CARRYING).await,
            Kind::Cloud(_) => self.ask_carriage().await,
        }
    }

    async fn ask_carriage(&self) -> Result<Next, Error> {
        let (deployments, patience, now) = (self.deployments(), self.timing().patience, now_ms());
        let idle_since = deployments.store.ask_carriage(&self.row.id, now).await?;
        deployments.carriage.notify_one();
        let idle = Duration::from_millis(u64::try_from(now.saturating_sub(idle_since)).unwrap_or(0));
        if idle >= patience {
            deployments.store.end_carriage(&self.row.id).await?;
            return self.fail(Failed::new(FailureReason::Internal, NO_OPERATOR)).await;
        }
        if idle >= WORTH_TELLING {
            self.say(NO_OPERATOR).await?;
        }
        Ok(Next::after(CHECK_INTERVAL.min(patience - idle)))
    }
}
