//! Agents' logs: collected from the cluster once, kept in the object store, shown to any number of followers.
//!
//! Every line goes one way: a stream for each container ([`container`]) takes secrets out, gives the line its number and
//! keeps it in memory ([`log`], [`state`]), tells the followers ([`follow`]) and writes it into segments ([`writer`],
//! [`segment`], [`shelf`]), together with how far the container was read, so that reading continues behind the last stored
//! line after a crash.
//!
//! Never decides who may see a log or when a workload runs. `docs/logs.md` says what callers may rely on. Start reading at
//! `logs.rs`.

mod batch;
mod config;
mod container;
mod error;
mod follow;
mod log;
mod logs;
mod metrics;
mod positions;
mod query;
mod rate;
mod roles;
mod segment;
mod shelf;
mod state;
mod streams;
mod sweep;
mod time;
mod watch;
mod writer;

pub use config::LogsConfig;
pub use error::Error;
pub use follow::Follower;
pub use logs::Logs;
pub use metrics::LogMetrics;
pub use query::{LogQuery, Query};
pub use shelf::SegmentError;
