//! Callers and their secrets: organizations, API keys, the keyring that recognizes them, run tokens, the audit log, and secrets
//! sealed at rest.
//!
//! Never stores a key's text, except in the key file that `serve` creates for its owner (mode 0600), and never returns a
//! secret's value to a client. The check in front of each route is in `cofferdam_api`. Start reading at `keyring.rs`.

mod audit;
mod bootstrap;
mod error;
mod key;
mod keyring;
mod keys;
mod names;
mod organizations;
mod rates;
mod refusals;
mod run_tokens;
mod secrets;

pub use audit::{Audit, AuditConfig, AuditFilter, AuditPage, MAX_AUDIT_PAGE, Outcome, Ticket};
pub use bootstrap::{KeySource, SERVE_KEY, accept_serve_key};
pub use error::Error;
pub use key::{Hash, hash, new_key};
pub use keyring::{Ended, Found, Keyring};
pub use keys::{KeyPatch, KeyRequest, Keys, KeysConfig};
pub use organizations::{
    MAX_ORGANIZATION_PAGE, NewOrganization, OrganizationPage, OrganizationPatch, OrganizationRequest, Organizations,
};
pub use rates::{Rates, RatesConfig, TooOften};
pub use refusals::{Refusal, Refusals};
pub use run_tokens::{MAX_RUN_TOKEN_PAGE, NewRunToken, RUN_TOKEN_PREFIX, RunToken, RunTokenPage, RunTokens};
pub use secrets::{OpenedSecret, Secrets, secret_hosts};
