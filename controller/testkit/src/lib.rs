//! Shared test support: fakes of a cluster, of workers and of models' providers, Debian's registry, a database per test.
//!
//! Only tests and benchmarks depend on it. Without features it depends on none of our crates.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

pub mod alone;
#[cfg(feature = "cluster")]
pub mod cluster;
#[cfg(feature = "database")]
pub mod database;
pub mod docker_registry;
pub mod machine;
#[cfg(feature = "mcp")]
pub mod mcp;
#[cfg(feature = "models")]
pub mod models;
pub mod redis;
#[cfg(feature = "workers")]
pub mod tools;
#[cfg(feature = "workers")]
pub mod worker;

pub use docker_registry::{DockerRegistry, RegistrySetup};
pub use redis::Redis;

/// Waits until `holds` returns true, at most three seconds.
///
/// # Panics
/// It does not within that time.
#[cfg(feature = "workers")]
pub async fn eventually(holds: impl Fn() -> bool) {
    for _ in 0..300 {
        if holds() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("it did not become true");
}
