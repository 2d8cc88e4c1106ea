//! Anthropic's messages: requests, answers and streams, both ways.

pub(crate) mod answer;
pub(crate) mod content;
pub(crate) mod read;
pub(crate) mod stream_in;
pub(crate) mod stream_out;
mod thinking;
pub(crate) mod write;
