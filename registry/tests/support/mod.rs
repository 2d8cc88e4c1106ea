//! What the tests of this crate share: archives made of a description, and a sink that checks what it is given.
#![allow(dead_code)]

pub mod archive;
pub mod case;
#[path = "../../../tests/support/generate.rs"]
pub mod generate;
pub mod sink;
pub mod tar;

/// Cases of tools have components in them; images have none.
pub mod component {
    use std::collections::BTreeMap;

    pub fn made(
        _: &str,
        _: &str,
        _: &BTreeMap<String, String>,
        _: usize,
        _: &[(isize, u8)],
    ) -> Result<Vec<u8>, String> {
        Err("an image has no component".to_owned())
    }
}
