//! Components in OCI registries: pulled and pushed in the Wasm OCI artifact layout. Only registries that the operator
//! names are asked; what comes is bounded and compared with its digest; no error has a credential in it.

mod client;
mod failure;
mod layout;
mod pull;
mod push;
mod signature;

pub use pull::{Pulled, pull};
pub use push::{Pushed, push};
