//! Scans the files of a layer while it streams by, for paths that lead outside, device nodes, `.env` files and private
//! keys. Keeps at most the head of one file, and never reports content. A file that does not belong into an image does not
//! end the scan: all of them are named at once.

mod findings;
mod secrets;

use std::sync::Arc;

pub(crate) use findings::Findings;
pub use findings::{Secret, Secrets};

use crate::limits::Allow;
use crate::shown::shown;
use crate::tar::{Entry, Kind, Step, Tar, TarError, TarLimits};

/// The reasons for refusing a layer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScanError {
    #[error(transparent)]
    Tar(#[from] TarError),
    #[error("ends in the middle of a file")]
    Truncated,
    #[error("has the path {path}, which leads out of the image")]
    Traversal { path: String },
    #[error("has the device node {path}")]
    Device { path: String },
}

/// The scan of one layer.
pub(crate) struct Scan {
    tar: Tar,
    allow: Arc<Allow>,
    findings: Arc<Findings>,
    layer: String,
    head: Head,
    /// Zeros that unpacking makes of sparse files.
    holes: u64,
}

/// The head of the current file.
#[derive(Default)]
struct Head {
    path: Vec<u8>,
    /// Bytes of it to inspect; 0 for files that may contain anything.
    wanted: usize,
    bytes: Vec<u8>,
}

impl Scan {
    pub(crate) fn new(layer: String, allow: Arc<Allow>, findings: Arc<Findings>, limits: TarLimits) -> Self {
        Self { tar: Tar::new(limits), allow, findings, layer, head: Head::default(), holes: 0 }
    }

    /// Bytes that unpacking adds to the layer's own, because its sparse files become whole.
    pub(crate) fn holes(&self) -> u64 {
        self.holes
    }

    pub(crate) fn entries(&self) -> u64 {
        self.tar.entries()
    }

    pub(crate) fn feed(&mut self, mut input: &[u8]) -> Result<(), ScanError> {
        while !input.is_empty() {
            let (taken, step) = self.tar.step(input)?;
            let (part, rest) = input.split_at_checked(taken).unwrap_or((input, &[]));
            input = rest;
            match step {
                Step::Entry(entry) => self.entry(entry)?,
                Step::Data if self.head.wanted > 0 => self.data(part),
                Step::EndOfEntry => self.look(),
                Step::Data | Step::More | Step::After => {}
            }
        }
        Ok(())
    }

    pub(crate) fn finish(&mut self) -> Result<(), ScanError> {
        self.look();
        // Some programs omit a layer's end marker, and runtimes accept that.
        self.tar.may_end(true).then_some(()).ok_or(ScanError::Truncated)
    }

    fn entry(&mut self, entry: Entry) -> Result<(), ScanError> {
        let path = plain(&entry.name);
        if leads_out(path) || entry.kind == Kind::HardLink && leads_out(&entry.link) {
            return Err(ScanError::Traversal { path: shown(&entry.name) });
        }
        if entry.kind == Kind::Device && !self.allow.devices {
            return Err(ScanError::Device { path: shown(&entry.name) });
        }
        self.head.bytes.clear();
        self.head.wanted = 0;
        if !matches!(entry.kind, Kind::File | Kind::HardLink | Kind::Other) {
            return Ok(());
        }
        self.holes = self.holes.saturating_add(entry.whole().saturating_sub(entry.size));
        let empty = entry.kind != Kind::HardLink && entry.size == 0;
        if !empty && secrets::is_env_file(path) && !self.is_allowed(path) {
            self.findings.add(&self.layer, "an environment file", path);
            return Ok(());
        }
        if entry.size >= secrets::SMALLEST_KEY {
            self.head.wanted = secrets::head_of(path);
            self.head.path.clear();
            self.head.path.extend_from_slice(path);
        }
        Ok(())
    }

    fn data(&mut self, part: &[u8]) {
        let missing = self.head.wanted.saturating_sub(self.head.bytes.len());
        if let Some(enough) = part.get(..missing) {
            // Usually the whole head is in this piece.
            let found = if self.head.bytes.is_empty() {
                secrets::has_private_key(enough)
            } else {
                self.head.bytes.extend_from_slice(enough);
                secrets::has_private_key(&self.head.bytes)
            };
            self.judge(found);
        } else {
            self.head.bytes.extend_from_slice(part);
        }
    }

    /// Inspects a file that is shorter than the head.
    fn look(&mut self) {
        let found = self.head.wanted > 0 && secrets::has_private_key(&self.head.bytes);
        self.judge(found);
    }

    fn judge(&mut self, found: bool) {
        self.head.wanted = 0;
        if found && !self.is_allowed(&self.head.path) {
            self.findings.add(&self.layer, "a private key", &self.head.path);
        }
    }

    fn is_allowed(&self, path: &[u8]) -> bool {
        self.allow.secrets.iter().any(|pattern| matches(plain(pattern.as_bytes()), path))
    }
}

/// The path relative to the image's root.
fn plain(mut path: &[u8]) -> &[u8] {
    while let Some(rest) = path.strip_prefix(b"/").or_else(|| path.strip_prefix(b"./")) {
        path = rest;
    }
    path
}

fn leads_out(path: &[u8]) -> bool {
    path.split(|&byte| byte == b'/').any(|part| part == b"..")
}

/// `*` matches any characters.
fn matches(pattern: &[u8], path: &[u8]) -> bool {
    let mut parts = pattern.split(|&byte| byte == b'*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = path.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts.filter(|part| !part.is_empty()) {
        let Some(at) = rest.windows(part.len()).position(|window| window == part) else { return false };
        rest = rest.get(at.saturating_add(part.len())..).unwrap_or_default();
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_have_stars() {
        for (pattern, path, expected) in [
            ("*", "a/.env", true),
            ("a/.env", "a/.env", true),
            ("a/.env", "b/a/.env", false),
            ("a/*", "a/b/.env", true),
            ("*/test/*.pem", "usr/lib/test/a.pem", true),
            ("*/test/*.pem", "usr/lib/test/a.key", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("", "a", false),
            ("a**b", "ab", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), path.as_bytes()), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn paths_lead_out_only_by_their_parts() {
        for path in ["..", "a/..", "../a", "a/../../b"] {
            assert!(leads_out(path.as_bytes()), "{path}");
        }
        for path in ["a/..b", "...", "a..", ".", ""] {
            assert!(!leads_out(path.as_bytes()), "{path}");
        }
        assert_eq!(plain(b"/././/a/b"), b"a/b");
        assert_eq!(plain(b".env"), b".env");
    }
}
