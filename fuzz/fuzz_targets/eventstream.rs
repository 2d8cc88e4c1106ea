//! See `eventstream.rs` of the folder above.
#![no_main]

#[path = "../eventstream.rs"]
mod eventstream;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| eventstream::eventstream(bytes));
