//! The protocols that models are spoken to in, and the translation between them: OpenAI's chat completions and responses,
//! Anthropic's messages; requests, answers, streams and errors.
//!
//! A request is read into a neutral form and written in another dialect. Reading is strict: a field that is unknown, or that
//! the other dialect has no word for, is refused with its path, and none is dropped silently (`docs/models.md` lists the few
//! that are left out because they change nothing). What upstreams send is read tolerantly. What stays in one dialect is passed
//! on as it is: [`Head`] finds and replaces the model's name, [`Tap`] looks at the answer.
//!
//! Never does IO, never reads a clock, knows no keys, budgets or upstreams. Nothing grows without a bound.

mod answer;
mod chars;
mod chat;
mod custom;
mod cut;
mod dialect;
mod edit;
mod error;
mod estimate;
mod fields;
mod foreign;
mod json;
mod messages;
mod request;
mod responses;
mod rules;
mod seal;
pub mod sse;
mod stream;
mod usage;

pub use answer::{Answer, Stop, Unreadable, Usage};
pub use cut::Cutter;
pub use dialect::Dialect;
pub use edit::{Edit, Head};
pub use error::{Failure, Kind, MAX_MESSAGE_BYTES, Refused, error_body};
pub use estimate::input_tokens;
pub use foreign::Takes;
pub use request::{DEFAULT_MAX_TOKENS, EFFORTS, Request, Target};
pub use stream::{MAX_KEPT_BYTES, StreamTranslator};
pub use usage::{MAX_SEEN_EVENT_BYTES, Seen, Tap};
