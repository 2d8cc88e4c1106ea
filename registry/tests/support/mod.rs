//! What the tests of this crate share: archives made of a description, and a sink that checks what it is given.
#![allow(dead_code)]

pub mod archive;
pub mod case;
#[path = "../../../tests/support/generate.rs"]
pub mod generate;
pub mod sink;
pub mod tar;
