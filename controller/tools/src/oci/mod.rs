//! Components in OCI registries, in the Wasm OCI artifact layout. Only registries that the operator names are contacted;
//! every answer is bounded and compared with its digest; no error shows a credential.

mod access;
mod failure;
mod layout;
mod pull;
mod push;
mod signature;

use cofferdam_policy::{RegistriesConfig, Signatures};

pub use pull::PulledTool;
pub use push::PushedTool;

/// Pulls and pushes components.
pub(crate) struct Artifacts {
    registries: RegistriesConfig,
    signatures: Signatures,
}

impl Artifacts {
    pub(crate) fn new(registries: RegistriesConfig, signatures: Signatures) -> Self {
        Self { registries, signatures }
    }
}
