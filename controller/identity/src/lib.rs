//! Callers and their secrets: API keys, the keyring that recognizes them, run tokens, and secrets sealed at rest.
//!
//! Never stores a key's text, except in the key file that `serve` creates for its owner (mode 0600), and never returns a
//! secret's value to a client. The check in front of each route is in `cofferdam_api`. Start reading at `keyring.rs`.

mod bootstrap;
mod error;
mod key;
mod keyring;
mod keys;
mod run_tokens;
mod secrets;

pub use bootstrap::{KeySource, SERVE_KEY, accept_serve_key};
pub use error::Error;
pub use key::{Hash, hash, new_key};
pub use keyring::Keyring;
pub use keys::{Keys, KeysConfig};
pub use run_tokens::{MAX_RUN_TOKEN_PAGE, NewRunToken, RUN_TOKEN_PREFIX, RunToken, RunTokenPage, RunTokens};
pub use secrets::{OpenedSecret, Secrets, secret_hosts};
