//! See `image.rs`.
#![no_main]

#[path = "../image.rs"]
#[allow(dead_code)]
mod image;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| image::image_archive(bytes));
