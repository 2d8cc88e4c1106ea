//! Policy: what a tool asks for, what the operator allows, and what is left when both have spoken. Reads and
//! compares; it never resolves a name or lets anything through by itself.
//!
//! **Invariant**: neither side can widen the other, and what does not parse is refused whole.

mod allowed;
mod check;
mod cidr;
mod effective;
mod host;
mod limits;
mod operator;
mod signatures;
mod tool;
mod yaml;

pub use allowed::Allowed;
pub use check::{BadGrant, grants as check_grants, tool_name};
pub use cidr::Cidr;
pub use effective::{Limited, effective};
pub use host::HostPattern;
pub use operator::{AllowedHost, DeniedHost, Files, KeyValue, Llm, Named, Network, OperatorPolicy, Secrets, Switch};
pub use signatures::{PublicKey, Signatures};
pub use tool::ToolPolicy;
pub use yaml::{MAX_POLICY_BYTES, PolicyError};
