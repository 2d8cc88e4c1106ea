//! The translation as a whole: cases as data, streams cut anywhere, hostile inputs, the byte-for-byte edit.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod cases;
#[path = "../../../../fuzz/dialects.rs"]
mod dialects;
mod edit;
mod foreign;
mod fuzz_smoke;
mod hostile;
#[path = "../../../../fuzz/smoke.rs"]
mod smoke;
mod speed;
mod sse;
mod support;
