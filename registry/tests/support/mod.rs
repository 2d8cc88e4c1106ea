//! Shared test support: archives built from a description, and a sink that checks what it receives.
#![allow(dead_code)]

pub(crate) mod archive;
pub(crate) mod case;
#[path = "../../../tests/support/generate.rs"]
pub(crate) mod generate;
pub(crate) mod pack;
pub(crate) mod sink;
pub(crate) mod tar;

/// Cases of tools contain components; images contain none.
pub(crate) mod component {
    use std::collections::BTreeMap;

    pub(crate) fn made(
        _: &str,
        _: &str,
        _: &BTreeMap<String, String>,
        _: usize,
        _: &[(isize, u8)],
    ) -> Result<Vec<u8>, String> {
        Err("an image has no component".to_owned())
    }
}
