//! Fast and forgetful: wake-ups between processes, rates, and small look-ups, in memory or in Redis.
//!
//! Never the only place that knows a thing: whatever is lost here costs speed or exactness, never correctness. The only crate
//! that uses `redis`. Start reading at `cache.rs` and `bus.rs`.

mod bus;
mod cache;
mod hub;
mod limiter;
mod lookups;
mod memory;
mod metrics;
mod redis_bus;
mod server;

pub use bus::{Bus, MAX_PAYLOAD, Subscription, Topic, Wake};
pub use cache::Cache;
pub use hub::Hub;
pub use limiter::{Limiter, Rate, RetryAfter};
pub use lookups::Lookups;
pub use memory::MemoryBus;
pub use metrics::CacheMetrics;
pub use redis_bus::RedisBus;
