//! Agents, their deployments, and what happened to each. Writes go through an [`AgentChange`]; every decision is made in
//! `cofferdam_deployments`.

mod carriages;
mod change;
mod deployments;
mod layers;
mod leases;
mod observed;
mod once;
mod reads;
mod rows;
mod variables;

pub use change::{AgentChange, Inserted};
pub use deployments::{KEPT_DEPLOYMENTS, MAX_EVENTS};
pub use observed::{LastCrash, Observed};
pub use once::{OnceKey, OnceRow};
pub use rows::{AgentRow, Because, DeploymentRow, EventRow, ImageSource, Spec, Wanted};
pub use variables::VariableRow;
