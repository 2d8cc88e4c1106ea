//! Components as tools: their functions, the mapping from JSON to their types, and their compiled code. Never calls
//! one; `tool_worker` does.

pub mod compile;
pub mod describe;
mod docs;
mod embed;
mod names;
mod number;
mod read;
mod schema;
pub mod shape;
mod value_in;
mod value_out;
mod weight;
mod words;
pub mod wrap;

#[cfg(test)]
mod tests;

pub use compile::compile;
pub use describe::describe;
pub use embed::{EmbedError, embed_docs};
pub use shape::{Signature, Unfit};
pub use value_in::ValueError;
pub use value_out::{ResultError, Returned};
pub use weight::instance_weight;
