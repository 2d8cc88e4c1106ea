//! Who calls and what they may: keys, scopes, and the check in front of every route. Never stores a key's text, except
//! the one that `serve` makes for its owner (mode 0600).

mod bootstrap;
mod key;
mod keyring;
mod require;
mod scope;

pub use bootstrap::{KeySource, SERVE_KEY, accept_serve_key};
pub(crate) use key::hex;
pub use key::{Hash, hash, new_key};
pub use keyring::{Caller, Keyring, REFRESH};
pub use require::{presented_key, require};
pub use scope::{Scope, Scopes};
