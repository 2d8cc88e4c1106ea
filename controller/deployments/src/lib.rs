//! Container agents: created, deployed, started, stopped, rolled back, deleted, and the driver that brings this about.
//! Every request is written to the store first; the driver acts on what is written and may be killed at any point.
//!
//! Never calls a cluster except through [`cofferdam_cluster::Cluster`], never touches a database except through the store,
//! and knows nothing of HTTP. Start reading at `service.rs` and `driver/mod.rs`.

mod agents;
mod arrival;
mod changes;
mod config;
mod deletion;
mod deploy;
mod driver;
mod dry_run;
mod error;
mod history;
mod image;
mod lifecycle;
mod metrics;
mod once;
mod operator;
mod request;
mod resolver;
mod service;
mod states;
#[cfg(test)]
mod testing;
mod trial;
mod uploads;
mod values;
mod wire;
mod workload;

pub use changes::Listener;
pub use config::{DeploymentsConfig, Timing};
pub use driver::Driver;
pub use error::Error;
pub use image::{RegistryAccess, ResolveImage};
pub use metrics::DeploymentMetrics;
pub use once::Once;
pub use operator::Operator;
pub use resolver::RegistryResolver;
pub use service::Deployments;
pub use uploads::{Refusal, Sending, Sent, UploadLink, Uploaded, Uploads};
pub use wire::{
    AgentInfo, CheckOutcome, CreateAgent, DeletedAgent, DeployRequest, DeploymentEvent, DeploymentInfo, DryRun,
    EnvironmentCheck, EnvironmentTest, LeftBehind,
};
