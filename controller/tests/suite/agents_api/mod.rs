//! Container agents over HTTP: uploads, deployments, links, environments. The pipeline behind uploads is the tests' own, so
//! that it does what a registry does only now and then; there is no cluster and no driver.

mod attacks;
mod contract;
mod events;
mod environments;
mod lifecycle;
mod links;
mod resume;
mod rig;
mod uploads;
