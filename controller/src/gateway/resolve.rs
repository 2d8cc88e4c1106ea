//! Names to addresses, by the system's resolver. It judges nothing: what comes out is checked before it is dialled, each
//! time anew, and the address that was checked is the one that is dialled.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

/// The most addresses of one name that are looked at.
pub const MAX_ADDRESSES: usize = 16;
/// Lookups at once: each holds a thread of the system's resolver.
const AT_ONCE: usize = 32;
/// The time of one lookup.
const TIME: Duration = Duration::from_secs(5);
/// What was found is used again for so long.
const KEPT: Duration = Duration::from_secs(5);
const MOST_KEPT: usize = 1_024;

pub type Addresses<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>>;

pub trait Resolve: Send + Sync {
    fn resolve<'a>(&'a self, host: &'a str) -> Addresses<'a>;
}

type Kept = HashMap<String, (Vec<IpAddr>, Instant)>;

pub struct SystemResolver {
    places: Semaphore,
    kept: Mutex<Kept>,
}

impl Default for SystemResolver {
    fn default() -> Self {
        Self { places: Semaphore::new(AT_ONCE), kept: Mutex::default() }
    }
}

impl SystemResolver {
    fn kept(&self, host: &str) -> Option<Vec<IpAddr>> {
        let kept = self.kept.lock().unwrap_or_else(|e| e.into_inner());
        kept.get(host).filter(|(_, since)| since.elapsed() < KEPT).map(|(addresses, _)| addresses.clone())
    }

    fn keep(&self, host: &str, addresses: &[IpAddr]) {
        let mut kept = self.kept.lock().unwrap_or_else(|e| e.into_inner());
        if kept.len() >= MOST_KEPT {
            kept.retain(|_, (_, since)| since.elapsed() < KEPT);
        }
        if kept.len() < MOST_KEPT {
            kept.insert(host.to_owned(), (addresses.to_vec(), Instant::now()));
        }
    }

    async fn look_up(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let _place = self.places.acquire().await.map_err(io::Error::other)?;
        let found = tokio::net::lookup_host((host, 0)).await?;
        let mut addresses: Vec<IpAddr> = found.map(|address| address.ip()).take(MAX_ADDRESSES).collect();
        addresses.dedup();
        Ok(addresses)
    }
}

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a str) -> Addresses<'a> {
        Box::pin(async move {
            if let Some(addresses) = self.kept(host) {
                return Ok(addresses);
            }
            let found = tokio::time::timeout(TIME, self.look_up(host)).await;
            let found = found.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no answer in time"))??;
            self.keep(host, &found);
            Ok(found)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_of_this_machine_resolve_and_what_cannot_be_does_not() {
        let resolver = SystemResolver::default();
        let found = resolver.resolve("localhost").await.unwrap();
        assert!(found.iter().all(IpAddr::is_loopback) && !found.is_empty(), "{found:?}");
        assert_eq!(resolver.kept("localhost"), Some(found));
        assert!(resolver.resolve("name.invalid").await.is_err());
        assert_eq!(resolver.kept("name.invalid"), None);
    }
}
