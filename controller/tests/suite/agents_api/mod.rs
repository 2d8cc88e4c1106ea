//! Container agents over HTTP: uploads, deployments, links, environments. The pipeline behind uploads is a fake that
//! reproduces a registry's rare behaviour; there is no cluster and no driver.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod contract;
mod environments;
mod events;
mod lifecycle;
mod links;
mod operated;
mod resume;
mod rig;
mod uploads;
