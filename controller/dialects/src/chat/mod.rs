//! OpenAI's chat completions: requests, answers and streams, both ways.
//!
//! Thinking has no field in this protocol. Two extensions carry it, those that LiteLLM made common: `reasoning_content` (the
//! text, to be shown) and `thinking_blocks` (a list of `{"type", "thinking", "signature"}` or `{"type", "data"}`, to be sent
//! back). The official clients keep unknown fields of a message, and send them back when the message is appended to the
//! history, so nothing has to be known of this by the one who uses them. In a stream `thinking_blocks` come once, whole,
//! before the end: Python's client lengthens the texts of a field that comes again, JavaScript's keeps the last one.

pub(crate) mod answer;
pub(crate) mod content;
pub(crate) mod read;
pub(crate) mod stream_in;
pub(crate) mod stream_out;
pub(crate) mod write;
