//! Environments: the clusters that an organization's agents run in, and the registries that hold their images; and the
//! organization's environment variables.
//!
//! The environment `local` comes from this process's own settings, others from the store, where their secrets are sealed.
//! Never pushes an image and never applies anything to a cluster. Start reading at `environment.rs` and `environments.rs`.

mod check;
mod environment;
mod environments;
mod error;
mod images_place;
mod local;
mod names;
mod request;
mod runtimes;
mod stored;
mod variables;

#[cfg(test)]
mod tests;

pub use environment::{Cloud, Environment, Images, Kind, LOCAL};
pub use environments::Environments;
pub use error::Error;
pub use images_place::{InvalidImagesPlace, images_place};
pub use local::{LocalCluster, LocalEnvironment};
pub use names::path_part;
pub use request::{
    EnvironmentInfo, EnvironmentKind, EnvironmentRequest, EnvironmentState, ImageCompression, Secrets, Settings,
};
pub use variables::{VariableInfo, Variables};
