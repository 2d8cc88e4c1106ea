//! The AI gateway: calls of models, for agents, sandboxes, tools and people. Decides who may use which model, chooses the
//! upstreams that may serve a call, tries them in turn, translates between protocols, and sees to it that every call is held
//! against its budgets and recorded once.
//!
//! [`Models`] carries out calls; [`settings`] holds what organizations and the operator configured. Start reading at
//! `call.rs`. Never opens a connection itself (the room `upstreams` does), never counts (the room `usage` does), never knows
//! HTTP routes, and never tries a second time once a byte of an answer has gone to the caller.

mod answer;
mod call;
mod events;
mod failed;
mod list;
mod meter;
mod name;
mod prepare;
mod refusal;
mod reply;
mod room;
mod rules;
pub mod settings;
#[cfg(test)]
mod testing;
mod tries;

pub use call::{Call, Models, Narrow};
pub use cofferdam_upstreams::Service;
pub use cofferdam_usage::Who;
pub use list::ListedModel;
pub use reply::{BrokenOff, Reply, ReplyBody};
pub use settings::{Catalogue, Settings};
