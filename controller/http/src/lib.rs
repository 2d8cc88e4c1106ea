//! HTTP for all of the controller's handlers: bounded bodies, JSON in and out, problem documents, the key of a request, and
//! answers that end with it.
//!
//! The only crate that turns a failure into a response ([`ApiError`]). Never knows a route or a service.

mod address;
mod body;
mod ending;
mod error;
mod json;
mod known;
mod mismatch;
mod nul;
mod presented;
mod refusals;

pub use address::refuse_nul_in;
pub use body::read as read_body;
pub use ending::unless_ended;
pub use error::{ApiError, PROBLEM_JSON};
pub use json::{Json, OptionalJson, parse, parse_long, read as read_json};
pub use known::{Known, Peer};
pub use nul::refuse as refuse_nul;
pub use presented::presented_key;
pub use refusals::plain_refusals;
