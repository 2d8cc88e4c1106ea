//! A folder of a tool that persists between calls.

use cofferdam_contract::Grants;
use cofferdam_contract::grants::{FilesGrant, MAX_FOLDER_BYTES, MAX_FOLDER_FILES};
use serde::Deserialize;

use super::{BadGrant, Capability, Notes, Split, bad, no_zeros};
use crate::operator::OperatorPolicy;
use crate::quantity::Bytes;
use crate::yaml::PolicyError;

/// An operator's policy for tools' folders.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Files {
    pub allow: bool,
    pub read_only: bool,
    pub max_bytes: Option<u64>,
    pub max_files: Option<u64>,
}

impl Default for Files {
    fn default() -> Self {
        Self { allow: true, read_only: false, max_bytes: Some(256 << 20), max_files: Some(20_000) }
    }
}

/// The section of a tool's policy.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Storage {
    allow: Vec<Place>,
    max_bytes: Option<Bytes>,
    max_files: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    uri: String,
    access: Vec<Access>,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Access {
    Read,
    Write,
}

impl Storage {
    /// The grant that the section requests.
    pub(crate) fn grant(self, warnings: &mut Vec<String>) -> Result<Option<FilesGrant>, PolicyError> {
        if self.allow.is_empty() {
            return Ok(None);
        }
        let usual = FilesGrant::default();
        let mut grant = FilesGrant {
            read_only: true,
            max_bytes: self.max_bytes.map_or(usual.max_bytes, |bytes| bytes.0),
            max_files: self.max_files.unwrap_or(usual.max_files),
        };
        for (number, place) in self.allow.iter().enumerate() {
            let wrong =
                |key: &str, what: &str| PolicyError::at(format!("permissions.storage.allow[{number}].{key}"), what);
            if place.access.is_empty() {
                return Err(wrong("access", "say read, write or both"));
            }
            let Some(path) = place.uri.strip_prefix("fs://") else {
                return Err(wrong("uri", "only fs:// is known: a folder of the tool's own"));
            };
            if !matches!(path, "" | "data" | "data/**" | "**") {
                warnings.push(format!(
                    "storage {:?}: a tool gets a folder of its own; no path leads to the server's files",
                    place.uri.chars().take(100).collect::<String>()
                ));
            }
            grant.read_only &= !place.access.contains(&Access::Write);
        }
        Ok(Some(grant))
    }
}

pub(super) struct Folder;

impl Capability for Folder {
    fn permission(&self) -> &'static str {
        "permissions.storage"
    }

    fn check(&self, grants: &Grants) -> Result<(), BadGrant> {
        match &grants.files {
            Some(grant) if grant.max_bytes == 0 || grant.max_files == 0 => {
                Err(bad("files", "max_bytes and max_files are at least 1"))
            }
            _ => Ok(()),
        }
    }

    fn narrow(&self, asked: &Grants, operator: &OperatorPolicy, left: &mut Grants, notes: &mut Notes) {
        let Some(mut grant) = asked.files else { return };
        if !operator.files.allow {
            return notes.add("files", "files.allow", "files that last are not allowed");
        }
        notes.bound(&mut grant.max_bytes, operator.files.max_bytes, "files.max_bytes");
        notes.bound(&mut grant.max_files, operator.files.max_files, "files.max_files");
        if operator.files.read_only && !grant.read_only {
            grant.read_only = true;
            notes.add("files", "files.read_only", "only reading is allowed");
        }
        left.files = Some(grant);
    }

    fn for_snippets(&self) -> Result<Split, &'static str> {
        Err("a snippet's files last as long as its session")
    }

    fn check_tool(&self, grants: &Grants) -> Result<(), BadGrant> {
        match grants.files {
            Some(grant) if grant.max_bytes > MAX_FOLDER_BYTES || grant.max_files > MAX_FOLDER_FILES => Err(bad(
                "files",
                format!(
                    "max_bytes is at most {MAX_FOLDER_BYTES} and max_files at most {MAX_FOLDER_FILES}, \
                     because each call gets the whole folder; a tool that keeps more uses grants.keyvalue or a server."
                ),
            )),
            _ => Ok(()),
        }
    }

    fn check_section(&self, policy: &OperatorPolicy) -> Result<(), PolicyError> {
        no_zeros([("files.max_bytes", policy.files.max_bytes), ("files.max_files", policy.files.max_files)])
    }
}
