//! Tools: deployed, listed, called, rolled back, deleted, pushed to and pulled from registries. A tool belongs to an
//! organization; every key of it with the scope sees the tool.
//!
//! Never runs a component itself and knows no HTTP route. Start reading at `deploy.rs` and `call.rs`.

mod asked;
mod blobs;
mod call;
mod catalogue;
mod deploy;
mod error;
mod missing;
mod names;
mod nested;
mod oci;
mod rollback;
mod service;
mod shelf;
mod shown;
mod sweep;
mod tool;
mod trial;
mod turns;

pub use asked::AskedTool;
pub use call::arguments;
pub use deploy::ToolDeployment;
pub use error::Error;
pub use oci::{PulledTool, PushedTool};
pub use service::Tools;
pub use shelf::ToolShelf;
pub use shown::{Asked, FolderInfo, FunctionSummary, ToolInfo, ToolSummary, VersionInfo};
pub use tool::Tool;
