//! See `dialects.rs` of the folder above.
#![no_main]

#[path = "../dialects.rs"]
mod dialects;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dialects::dialects(bytes));
