//! Resolves names to addresses with the system's resolver. Checks nothing: the gateway checks every address before it
//! dials it, each time anew, and dials the address that it has checked.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use moka::sync::Cache;
use tokio::sync::Semaphore;

/// The most addresses of one name that are looked at.
const MAX_ADDRESSES: usize = 16;
/// Lookups at once: each holds a thread of the system's resolver.
const MAX_LOOKUPS: usize = 32;
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// An answer is used again for this time.
const CACHE_TIME: Duration = Duration::from_secs(5);
const MAX_CACHED: u64 = 1_024;

/// The addresses of a name, as a future.
pub type Addresses<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>>;

/// Resolves names.
pub trait Resolve: Send + Sync {
    fn resolve<'a>(&'a self, host: &'a str) -> Addresses<'a>;
}

/// The system's resolver.
pub struct SystemResolver {
    lookups: Semaphore,
    cache: Cache<String, Vec<IpAddr>>,
}

impl Default for SystemResolver {
    fn default() -> Self {
        let cache = Cache::builder().max_capacity(MAX_CACHED).time_to_live(CACHE_TIME).build();
        Self { lookups: Semaphore::new(MAX_LOOKUPS), cache }
    }
}

impl SystemResolver {
    async fn look_up(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let _place = self.lookups.acquire().await.map_err(io::Error::other)?;
        let found = tokio::net::lookup_host((host, 0)).await?;
        let mut addresses: Vec<IpAddr> = found.map(|address| address.ip()).take(MAX_ADDRESSES).collect();
        addresses.dedup();
        Ok(addresses)
    }
}

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a str) -> Addresses<'a> {
        Box::pin(async move {
            if let Some(addresses) = self.cache.get(host) {
                return Ok(addresses);
            }
            let found = tokio::time::timeout(LOOKUP_TIMEOUT, self.look_up(host)).await;
            let found = found.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no answer in time"))??;
            self.cache.insert(host.to_owned(), found.clone());
            Ok(found)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_answers_are_cached() {
        let resolver = SystemResolver::default();
        let found = resolver.resolve("localhost").await.unwrap();
        assert!(found.iter().all(IpAddr::is_loopback) && !found.is_empty(), "{found:?}");
        assert_eq!(resolver.cache.get("localhost"), Some(found));
        assert!(resolver.resolve("name.invalid").await.is_err());
        assert_eq!(resolver.cache.get("name.invalid"), None);
    }
}
