//! Tries out an environment: asks its cluster for the rights that agents need, and its registry for an upload, which is
//! cancelled. Changes nothing that stays.

use std::time::Duration;

use cofferdam_cluster::Access;
use cofferdam_contract::{AgentId, Problem};
use cofferdam_core::Caller;
use cofferdam_environments::{Environment, Kind};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::driver::sentence;
use crate::image::own;
use crate::{CheckOutcome, Deployments, EnvironmentCheck, EnvironmentTest, Error};

/// Trials of all organizations at once.
const MAX_TRIALS: usize = 8;
static PLACES: Semaphore = Semaphore::const_new(MAX_TRIALS);
/// The longest wait for a registry.
const REGISTRY_TIMEOUT: Duration = Duration::from_secs(20);
/// The repository in which an upload is begun.
const PROBE: &str = "cofferdam-test";

impl Deployments {
    /// # Errors
    /// [`Problem::not_found`]; [`Problem::overloaded`] if too many environments are being tested.
    pub async fn test_environment(&self, caller: &Caller, name: &str) -> Result<EnvironmentTest, Error> {
        let environment = self.environments.find(&caller.organization, name).await?;
        let _place =
            PLACES.try_acquire().map_err(|_| Problem::overloaded("Too many environments are being tested."))?;
        let (mut checks, registry) =
            tokio::join!(self.try_cluster(&environment), self.try_registry(caller, &environment));
        checks.push(registry);
        let ok = checks.iter().all(|check| check.outcome != CheckOutcome::Bad);
        Ok(EnvironmentTest { environment: environment.name, ok, checks })
    }

    async fn try_cluster(&self, environment: &Environment) -> Vec<EnvironmentCheck> {
        if let Access::None(why) = &environment.cluster {
            return vec![bad("cluster", &sentence(why))];
        }
        let most = self.config.timing.call;
        let asked = async { self.environments.connect(environment)?.check().await };
        match timeout(most, asked).await {
            Ok(Ok(findings)) => findings
                .into_iter()
                .map(|found| {
                    let outcome = if found.good { CheckOutcome::Good } else { CheckOutcome::Bad };
                    EnvironmentCheck { about: found.about, outcome, detail: found.detail }
                })
                .collect(),
            Ok(Err(error)) => vec![bad("cluster", &sentence(&error.to_string()))],
            Err(_) => vec![bad("cluster", &format!("It did not answer within {} s.", most.as_secs()))],
        }
    }

    async fn try_registry(&self, caller: &Caller, environment: &Environment) -> EnvironmentCheck {
        let about = || "registry".to_owned();
        let skipped = |detail: &str| EnvironmentCheck {
            about: about(),
            outcome: CheckOutcome::Skipped,
            detail: detail.to_owned(),
        };
        if matches!(environment.kind, Kind::Cloud(_)) {
            return skipped(
                "Images are carried into it by the processes with the role `aws-operator`, with their rights.",
            );
        }
        let probe = AgentId::parse(PROBE).ok().and_then(|probe| environment.repository(&caller.organization, &probe));
        let Some(repository) = probe else {
            return skipped(
                "The environment has no registry (`images`): only images that are in one already can be deployed.",
            );
        };
        let tried = timeout(REGISTRY_TIMEOUT, self.resolver.try_push(&own(&environment.images), &repository)).await;
        match tried {
            Ok(Ok(())) => EnvironmentCheck {
                about: about(),
                outcome: CheckOutcome::Good,
                detail: format!("It takes uploads to {repository}."),
            },
            Ok(Err(why)) => bad("registry", &sentence(&why)),
            Err(_) => bad("registry", &format!("It did not answer within {} s.", REGISTRY_TIMEOUT.as_secs())),
        }
    }
}

fn bad(about: &str, detail: &str) -> EnvironmentCheck {
    EnvironmentCheck { about: about.to_owned(), outcome: CheckOutcome::Bad, detail: detail.to_owned() }
}
