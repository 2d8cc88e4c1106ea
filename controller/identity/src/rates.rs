//! The rates of keys and organizations. Decides from memory which limits a request counts against; who counts is the
//! cache's limiter. Never waits for anything while there is no Redis.

use std::sync::Arc;

use cofferdam_cache::{Limiter, Rate};
use cofferdam_contract::{OrganizationId, Problem};
use cofferdam_core::{Limits, OrganizationLimits};

/// The limits of those for whom none is set. By default there are none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RatesConfig {
    /// Requests of each key.
    pub key_requests_per_minute: Option<u32>,
    pub organization: OrganizationLimits,
}

/// A request too many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TooOften {
    /// The limit, in a sentence for the caller.
    pub detail: String,
    /// Seconds until there is room for the next one.
    pub retry_after_s: u64,
}

impl From<TooOften> for Problem {
    fn from(too_often: TooOften) -> Self {
        Self::rate_limited(too_often.detail)
    }
}

/// Counts requests against the limits of keys and organizations.
#[derive(Debug)]
pub struct Rates {
    limiter: Arc<Limiter>,
    config: RatesConfig,
}

impl Rates {
    pub fn new(limiter: Arc<Limiter>, config: RatesConfig) -> Self {
        Self { limiter, config }
    }

    /// Takes one request of a key's rate and one of its organization's.
    ///
    /// # Errors
    /// One of them is used up.
    pub async fn check(&self, key: &str, organization: &OrganizationId, limits: &Limits) -> Result<(), TooOften> {
        let of_key = limits.key_requests_per_minute.or(self.config.key_requests_per_minute);
        if let Some(rate) = of_key {
            self.take(&format!("key:{key}"), rate, || format!("This API key may send {rate} requests a minute"))
                .await?;
        }
        if let Some(rate) = self.organization(limits.organization).requests_per_minute {
            let who = || format!("The organization {:?} may send {rate} requests a minute", organization.as_str());
            self.take(&format!("organization:{}", organization.as_str()), rate, who).await?;
        }
        Ok(())
    }

    async fn take(&self, key: &str, rate: u32, who: impl Fn() -> String) -> Result<(), TooOften> {
        let taken = self.limiter.check(key, Rate::per_minute(rate)).await;
        taken.map_err(|wait| {
            let retry_after_s = wait.seconds();
            TooOften { detail: format!("{}; send the next one in {retry_after_s} s.", who()), retry_after_s }
        })
    }

    /// An organization's own limits, and the operator's where it has none.
    pub fn organization(&self, own: OrganizationLimits) -> OrganizationLimits {
        let OrganizationLimits { requests_per_minute, max_concurrent_runs, max_concurrent_tasks } =
            self.config.organization;
        OrganizationLimits {
            requests_per_minute: own.requests_per_minute.or(requests_per_minute),
            max_concurrent_runs: own.max_concurrent_runs.or(max_concurrent_runs),
            max_concurrent_tasks: own.max_concurrent_tasks.or(max_concurrent_tasks),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(key: Option<u32>, organization: Option<u32>) -> Limits {
        let organization = OrganizationLimits { requests_per_minute: organization, ..OrganizationLimits::default() };
        Limits { key_requests_per_minute: key, organization }
    }

    async fn taken(rates: &Rates, key: &str, organization: &str, limits: Limits) -> (u32, Option<TooOften>) {
        let organization = OrganizationId::parse(organization).unwrap();
        for taken in 0..100 {
            if let Err(too_often) = rates.check(key, &organization, &limits).await {
                return (taken, Some(too_often));
            }
        }
        (100, None)
    }

    #[tokio::test]
    async fn the_limit_that_is_used_up_is_named() {
        let cache = cofferdam_cache::Cache::memory();
        let rates = Rates::new(Arc::clone(&cache.limiter), RatesConfig::default());
        assert_eq!(taken(&rates, "a", "one", limits(None, None)).await, (100, None));
        let (count, too_often) = taken(&rates, "a", "one", limits(Some(30), Some(600))).await;
        let too_often = too_often.unwrap();
        assert_eq!((count, too_often.retry_after_s), (5, 2));
        assert_eq!(too_often.detail, "This API key may send 30 requests a minute; send the next one in 2 s.");
        // Another key of the organization has its own; both count for the organization.
        assert_eq!(taken(&rates, "b", "one", limits(Some(30), Some(36))).await.0, 5);
        let (_, too_often) = taken(&rates, "c", "one", limits(None, Some(36))).await;
        assert!(too_often.unwrap().detail.starts_with("The organization \"one\" may send 36 requests a minute"));
        assert_eq!(taken(&rates, "d", "two", limits(None, Some(36))).await.0, 6);
    }

    #[tokio::test]
    async fn the_operators_default_holds_for_those_without_a_limit() {
        let organization = OrganizationLimits { requests_per_minute: Some(60), ..OrganizationLimits::default() };
        let config = RatesConfig { key_requests_per_minute: Some(12), organization };
        let rates = Rates::new(cofferdam_cache::Cache::memory().limiter, config);
        assert_eq!(taken(&rates, "a", "one", limits(None, None)).await.0, 2);
        assert_eq!(taken(&rates, "b", "one", limits(Some(600), None)).await.0, 8);
        assert_eq!(taken(&rates, "c", "two", limits(Some(6000), Some(6000))).await, (100, None));
    }
}
