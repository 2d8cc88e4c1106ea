//! OpenAI's responses: requests, answers and streams, both ways. Stateless: what refers to stored responses is refused.
//!
//! Thinking is a `reasoning` item: its text is the summary, and the proof of the upstream that thought is packed into
//! `encrypted_content` (see `seal.rs`), which clients send back with the item.

pub(crate) mod answer;
pub(crate) mod content;
pub(crate) mod echo;
pub(crate) mod items;
pub(crate) mod read;
pub(crate) mod stream_in;
pub(crate) mod stream_out;
pub(crate) mod write;
