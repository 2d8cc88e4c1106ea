//! Embeds the doc comments of WIT files into a component, for toolchains that lose them. For the author's own files on
//! the author's machine; not for untrusted bytes.

use std::path::Path;

use wit_parser::{PackageMetadata, Resolve};

use super::docs::SECTION;

/// The WIT could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct EmbedError {
    path: std::path::PathBuf,
    reason: String,
}

/// Appends the doc comments of the WIT file or folder to the component: those of all packages except WASI's.
pub fn embed_docs(mut component: Vec<u8>, wit: &Path) -> Result<Vec<u8>, EmbedError> {
    let fail = |reason: String| EmbedError { path: wit.to_owned(), reason };
    let mut resolve = Resolve::default();
    resolve.push_path(wit).map_err(|e| fail(format!("{e:#}")))?;
    for (id, package) in resolve.packages.iter().filter(|(_, package)| package.name.namespace != "wasi") {
        let docs = PackageMetadata::extract(&resolve, id).encode();
        let docs = docs.map_err(|e| fail(format!("{}: {e:#}", package.name)))?;
        append_section(&mut component, SECTION, &docs);
    }
    Ok(component)
}

/// A custom section may be anywhere, so it goes to the end.
pub(super) fn append_section(component: &mut Vec<u8>, name: &str, data: &[u8]) {
    let mut body = Vec::with_capacity(data.len() + name.len() + 5);
    leb(&mut body, name.len());
    body.extend_from_slice(name.as_bytes());
    body.extend_from_slice(data);
    component.push(0);
    leb(component, body.len());
    component.append(&mut body);
}

fn leb(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let low = (value & 0x7F) as u8;
        value >>= 7;
        out.push(if value == 0 { low } else { low | 0x80 });
        if value == 0 {
            return;
        }
    }
}
