//! Files that go into and come out of a sandbox, and the rule for their paths.

mod read;

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};

/// The longest accepted path, in bytes.
pub const MAX_PATH_BYTES: usize = 1_024;
/// The longest path segment, in bytes.
pub const MAX_NAME_BYTES: usize = 255;
/// The most parts of a path: its folders and the name.
pub const MAX_DEPTH: usize = 32;

/// The path is not allowed in a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("a file needs a name")]
    Empty,
    #[error("a path may have at most {MAX_PATH_BYTES} bytes, {MAX_NAME_BYTES} in each name")]
    TooLong,
    #[error("a path may have at most {MAX_DEPTH} parts, its folders and the name")]
    TooDeep,
    #[error("paths are relative to the working folder: no leading '/'")]
    Absolute,
    #[error("'..' and '.' are not allowed in a path")]
    Traversal,
    #[error("a file's path cannot end in '/'")]
    TrailingSlash,
    #[error("NUL bytes, control characters and backslashes are not allowed in a path")]
    Character,
}

/// Checks a path relative to the sandbox's working folder and returns it with repeated slashes collapsed.
pub fn normalize_path(path: &str) -> Result<String, PathError> {
    if path.is_empty() {
        return Err(PathError::Empty);
    }
    if path.len() > MAX_PATH_BYTES {
        return Err(PathError::TooLong);
    }
    if path.chars().any(|c| c.is_control() || c == '\\') {
        return Err(PathError::Character);
    }
    if path.starts_with('/') {
        return Err(PathError::Absolute);
    }
    if path.ends_with('/') {
        return Err(PathError::TrailingSlash);
    }
    let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
    if names.iter().any(|name| *name == ".." || *name == ".") {
        return Err(PathError::Traversal);
    }
    if names.iter().any(|name| name.len() > MAX_NAME_BYTES) {
        return Err(PathError::TooLong);
    }
    if names.len() > MAX_DEPTH {
        return Err(PathError::TooDeep);
    }
    Ok(names.join("/"))
}

/// A file in a request: text in `content`, or bytes in `content_base64`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FileInput {
    /// Relative to the working folder.
    pub path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_base64: Option<String>,
}

impl FileInput {
    /// Makes a file from any bytes: text if they are UTF-8, else base64.
    pub fn new(path: impl Into<String>, bytes: Vec<u8>) -> Self {
        let path = path.into();
        match String::from_utf8(bytes) {
            Ok(text) => Self { path, content: Some(text), content_base64: None },
            Err(e) => Self { path, content: None, content_base64: Some(BASE64_STANDARD.encode(e.as_bytes())) },
        }
    }

    /// The decoded bytes, or a message that says what is wrong.
    pub fn bytes(&self) -> Result<Vec<u8>, String> {
        match (&self.content, &self.content_base64) {
            (Some(text), None) => Ok(text.clone().into_bytes()),
            (None, Some(text)) => BASE64_STANDARD
                .decode(text)
                .map_err(|e| format!("files: content_base64 of {:?} is not base64: {e}", self.path)),
            (None, None) => Err(format!("files: {:?} needs `content` or `content_base64`", self.path)),
            (Some(_), Some(_)) => {
                Err(format!("files: {:?} has both `content` and `content_base64`; send one", self.path))
            }
        }
    }
}

/// The files of a request: a list, or a map from path to text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum FilesInput {
    List(Vec<FileInput>),
    Map(BTreeMap<String, String>),
}

impl Default for FilesInput {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

impl FilesInput {
    pub fn is_empty(&self) -> bool {
        match self {
            Self::List(list) => list.is_empty(),
            Self::Map(map) => map.is_empty(),
        }
    }

    /// Checks every path and decodes every file. The error names the first invalid one.
    pub fn decode(&self) -> Result<Vec<(String, Vec<u8>)>, String> {
        let check = |path: &str| normalize_path(path).map_err(|e| format!("files: {path:?}: {e}"));
        match self {
            Self::List(list) => list.iter().map(|file| Ok((check(&file.path)?, file.bytes()?))).collect(),
            Self::Map(map) => map.iter().map(|(path, text)| Ok((check(path)?, text.clone().into_bytes()))).collect(),
        }
    }
}

/// A file that a run made or changed under its working folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FileEntry {
    /// Relative to the working folder.
    pub path: String,
    /// In bytes.
    pub size: u64,
    /// The content in base64, if all of the run's files together fit into the answer
    /// ([`crate::run::INLINE_FILES_BYTES`]). Otherwise fetch it from `/v1/runs/{id}/files/{path}` or from the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_base64: Option<String>,
}

impl FileEntry {
    /// The inline content, if there is any.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        BASE64_STANDARD.decode(self.content_base64.as_ref()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside_the_working_folder() {
        for (path, expected) in [
            ("a.txt", Ok("a.txt")),
            ("a//b/c.csv", Ok("a/b/c.csv")),
            ("ä b.txt", Ok("ä b.txt")),
            ("..a/b..", Ok("..a/b..")),
            ("", Err(PathError::Empty)),
            ("/etc/passwd", Err(PathError::Absolute)),
            ("../x", Err(PathError::Traversal)),
            ("a/../../x", Err(PathError::Traversal)),
            ("./x", Err(PathError::Traversal)),
            ("a/", Err(PathError::TrailingSlash)),
            ("a\0b", Err(PathError::Character)),
            ("..\\x", Err(PathError::Character)),
            (&"x".repeat(256), Err(PathError::TooLong)),
            (&"x/".repeat(600), Err(PathError::TooLong)),
            (&format!("{}x", "d/".repeat(40)), Err(PathError::TooDeep)),
        ] {
            assert_eq!(normalize_path(path), expected.map(str::to_owned), "{path:?}");
        }
    }

    #[test]
    fn files_come_as_a_list_or_as_a_map() {
        for (json, expected) in [
            (r#"{"a.txt": "hi"}"#, Ok(("a.txt", b"hi".to_vec()))),
            (r#"[{"path": "a.txt", "content": "hi"}]"#, Ok(("a.txt", b"hi".to_vec()))),
            (r#"[{"path": "a.bin", "content_base64": "/w=="}]"#, Ok(("a.bin", vec![255]))),
            (r#"[{"path": "a.bin", "content_base64": "?"}]"#, Err("not base64")),
            (r#"[{"path": "a.bin"}]"#, Err("needs")),
            (r#"[{"path": "../a", "content": ""}]"#, Err("'..'")),
            (r#"{"/a": ""}"#, Err("leading")),
        ] {
            let files: FilesInput = serde_json::from_str(json).unwrap();
            match (files.decode(), expected) {
                (Ok(got), Ok((path, bytes))) => assert_eq!(got, vec![(path.to_owned(), bytes)]),
                (Err(got), Err(part)) => assert!(got.contains(part), "{got}"),
                (got, expected) => panic!("{json}: {got:?}, expected {expected:?}"),
            }
        }
    }
}
