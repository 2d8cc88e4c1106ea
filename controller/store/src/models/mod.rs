//! The AI gateway's tables. Never decides who may use a model or what a call costs.

mod budgets;
mod dead;
mod rows;
mod run_tokens;
mod settings;
mod usage;
mod usage_calls;
mod usage_query;

pub use budgets::{Lessee, ShareGrant, ShareRequest};
pub use run_tokens::RunTokenRow;
pub use settings::{ModelSettingRow, ModelSettings};
pub use usage::ModelCallRow;
pub use usage_calls::CallSlice;
pub use usage_query::{UsageColumn, UsageSlice, UsageSums};
