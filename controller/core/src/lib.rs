//! Shared by all controller crates: the clock, random ids, secrets and their vault, the caller, settings, retries, and
//! the blame for failures.
//!
//! Never opens a connection and never depends on another controller crate. Start reading at `blame.rs` and `caller.rs`.

mod blame;
mod caller;
mod clock;
mod names;
mod private;
mod retry;
mod scope;
mod secret;
mod settings;
mod tag;
mod vault;

pub use blame::{Blame, Failure, chain, used_up};
pub use caller::{Caller, Limits, OrganizationLimits};
pub use clock::{RandomError, now, now_ms, random, random_bits};
pub use names::{check_variable_name, check_variable_value, is_label};
pub use private::{read_private, write_private};
pub use retry::{backoff, every, millis};
pub use scope::{Scope, Scopes};
pub use secret::Secret;
pub use settings::{ConfigError, Source, check_random};
pub use tag::{TAG_LENGTH, tag};
pub use vault::{Vault, VaultError};
