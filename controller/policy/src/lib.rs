//! Policies: the grants that a tool or run asks for, the operator's policy, and their intersection.
//!
//! Parses and compares; never resolves a name and never opens a connection. **Invariant**: neither side can widen the
//! other, and a policy that does not parse is refused as a whole. Start reading at `effective.rs`;
//! `capabilities/` has one file for each kind of grant.

mod address;
mod allowed;
mod capabilities;
mod check;
mod cidr;
mod effective;
mod host;
mod limits;
mod operator;
mod quantity;
mod registries;
mod signatures;
mod tool;
mod yaml;

pub use address::{is_public, to_dial};
pub use allowed::Allowed;
pub use capabilities::{
    AllowedHost, BODILESS, BadGrant, DeniedHost, Files, KeyValue, Limited, Llm, Named, Network, Secrets, Switch,
    tool_name,
};
pub use check::{
    NotForSnippets, grants as check_grants, one_by_one, snippet_grants as check_snippet_grants,
    tool_grants as check_tool_grants,
};
pub use cidr::Cidr;
pub use effective::effective;
pub use host::HostPattern;
pub use limits::LimitsConfig;
pub use operator::OperatorPolicy;
pub use registries::{KnownRegistry, RegistriesConfig};
pub use signatures::{PublicKey, Signatures};
pub use tool::ToolPolicy;
pub use yaml::{MAX_POLICY_BYTES, PolicyError};
