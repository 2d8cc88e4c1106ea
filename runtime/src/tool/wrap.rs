//! Wraps a core module into a component, for compilers that only produce core modules (C, Zig, AssemblyScript).
//!
//! Runs on the author's machine, never in a worker: module and WIT are the author's own.

use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use super::embed::{EmbedError, embed_docs};

#[derive(Debug, thiserror::Error)]
pub enum WrapError {
    #[error("the WIT in {path}: {reason}")]
    Wit { path: String, reason: String },
    #[error("the module does not fit the world: {0}")]
    Module(String),
    #[error(transparent)]
    Docs(#[from] EmbedError),
}

/// Makes a component from `module` for the world in the WIT file or folder, with the WIT's doc comments. A module that
/// imports WASI 0.1 gets the adapter to 0.2. A module that is a component already only gets the comments.
pub fn wrap(mut module: Vec<u8>, wit: &Path, world: Option<&str>) -> Result<Vec<u8>, WrapError> {
    let bad = |reason: &dyn std::fmt::Display| WrapError::Wit {
        path: wit.display().to_string(),
        reason: format!("{reason:#}"),
    };
    if wasmparser::Parser::is_component(&module) {
        return Ok(embed_docs(module, wit)?);
    }
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(wit).map_err(|e| bad(&e))?;
    let world = resolve.select_world(&[package], world).map_err(|e| bad(&e))?;
    let fits = |e: &dyn std::fmt::Display| WrapError::Module(format!("{e:#}"));
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).map_err(|e| fits(&e))?;
    let mut encoder = ComponentEncoder::default().validate(true).module(&module).map_err(|e| fits(&e))?;
    let adapter = wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER;
    let name = wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME;
    if module.windows(name.len()).any(|window| window == name.as_bytes()) {
        encoder = encoder.adapter(name, adapter).map_err(|e| fits(&e))?;
    }
    Ok(embed_docs(encoder.encode().map_err(|e| fits(&e))?, wit)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_module_becomes_a_component_of_its_world() {
        let folder = tempfile::tempdir().unwrap();
        let wit = folder.path().join("w.wit");
        std::fs::write(&wit, "package t:t; world w { /// Adds.\nexport add: func(a: s32, b: s32) -> s32; }").unwrap();
        let module = |export: &str| {
            wat::parse_str(format!(
                r#"(module (func (export "{export}") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1))))"#
            ))
            .unwrap()
        };
        let component = wrap(module("add"), &wit, None).unwrap();
        let described = crate::tool::describe(&component, "").unwrap();
        assert_eq!(described.functions[0].description, "Adds.");
        assert!(wrap(component.clone(), &wit, None).unwrap().starts_with(&component));
        assert!(matches!(wrap(module("sub"), &wit, None), Err(WrapError::Module(_))));
        assert!(matches!(wrap(module("add"), &wit, Some("other")), Err(WrapError::Wit { .. })));
    }
}
