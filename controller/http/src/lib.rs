//! HTTP for all of the controller's handlers: bounded bodies, JSON in and out, and problem documents.
//!
//! The only crate that turns a failure into a response ([`ApiError`]). Never knows a route or a service.

mod body;
mod error;
mod json;
mod mismatch;
mod nul;
mod refusals;

pub use body::read as read_body;
pub use error::{ApiError, PROBLEM_JSON};
pub use json::{Json, OptionalJson, parse, parse_long, read as read_json};
pub use nul::refuse as refuse_nul;
pub use refusals::plain_refusals;
