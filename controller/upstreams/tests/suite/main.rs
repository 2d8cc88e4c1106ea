//! The crate against servers that play the providers' wires, and misbehave.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod answers;
mod bedrock;
mod cancel;
mod dial;
#[path = "../../../../fuzz/eventstream.rs"]
mod eventstream;
mod frames;
mod fuzz_smoke;
mod google;
mod keys;
mod kinds;
mod probe;
mod proxy;
mod server;
#[path = "../../../../fuzz/smoke.rs"]
mod smoke;
mod streams;
mod tls;
