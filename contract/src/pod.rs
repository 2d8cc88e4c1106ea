//! The parts of a pod that a deployment may ask for: labels, annotations, tolerations, a priority class and volumes. What
//! cannot be asked for, such as a folder of the node, has no field here. Never says what is allowed: `pod/allowed.rs` does.

mod allowed;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::quantity::Kind;
use crate::text::is_invisible;

pub use allowed::AllowedPods;

/// Labels of one deployment, and as many annotations.
pub const MAX_LABELS: usize = 32;
/// Bytes of an annotation's value.
pub const MAX_ANNOTATION_BYTES: usize = 4 << 10;
pub const MAX_TOLERATIONS: usize = 16;
pub const MAX_VOLUMES: usize = 16;
/// Pods of one version.
pub const MAX_REPLICAS: u32 = 16;
/// Bytes of a path in a container.
const MAX_MOUNT_PATH_BYTES: usize = 255;
/// The longest label value and the longest name in a key, by the API's own rule.
const MAX_LABEL_BYTES: usize = 63;
/// The longest object name, and the longest domain in a key.
const MAX_NAME_BYTES: usize = 253;
/// Keys that name our objects, select the pods of our own services, or belong to the Job's controller.
const RESERVED_KEYS: [&str; 5] = [
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/part-of",
    "app.kubernetes.io/component",
    "controller-uid",
    "job-name",
];
/// Domains whose keys change how a cluster or Cofferdam treats a pod.
const RESERVED_DOMAINS: [&str; 3] = ["cofferdam.dev", "kubernetes.io", "k8s.io"];
/// The one domain below a reserved one whose other keys only describe.
const DESCRIPTIVE_DOMAIN: &str = "app.kubernetes.io";
/// Folders of a container that nothing is mounted over.
const SYSTEM_FOLDERS: [&str; 5] = ["/proc", "/sys", "/dev", "/var/run/secrets", "/run/secrets"];

/// Pod settings of a deployment. The environment has to allow each of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PodSettings {
    /// Labels of the Job and its pod.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations of the pod.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority_class: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
    /// The number of equal pods. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
}

/// Lets a pod run on nodes with a taint of this key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Toleration {
    pub key: String,
    /// The taint's value. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The taint's effect. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<TaintEffect>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum TaintEffect {
    NoSchedule,
    PreferNoSchedule,
    NoExecute,
}

impl TaintEffect {
    /// The name as Kubernetes spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoSchedule => "NoSchedule",
            Self::PreferNoSchedule => "PreferNoSchedule",
            Self::NoExecute => "NoExecute",
        }
    }
}

/// A folder in the container: a PersistentVolumeClaim of the namespace, or an empty folder that ends with the pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Volume {
    /// 1 to 63 of `a-z`, `0-9` and `-`.
    pub name: String,
    /// An absolute path in the container.
    pub mount_path: String,
    /// The name of a PersistentVolumeClaim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<String>,
    /// The most that an empty folder may hold, such as `1Gi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
}

impl PodSettings {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Checks forms and bounds, and refuses reserved keys.
    ///
    /// # Errors
    /// A message that names the first invalid part.
    pub fn check(&self) -> Result<(), String> {
        for (field, keys) in [("labels", &self.labels), ("annotations", &self.annotations)] {
            if keys.len() > MAX_LABELS {
                return Err(format!("pod.{field}: at most {MAX_LABELS}"));
            }
            keys.keys().try_for_each(|key| check_key(field, key))?;
        }
        if let Some((key, _)) = self.labels.iter().find(|(_, value)| !is_label_value(value)) {
            return Err(format!(
                "pod.labels: the value of {key:?} must be 0 to {MAX_LABEL_BYTES} of letters, digits, `-`, `_` and `.`, \
                 with a letter or digit first and last"
            ));
        }
        let hidden = |c: char| is_invisible(c) || (c.is_control() && !matches!(c, '\n' | '\t'));
        let bad = |text: &str| text.len() > MAX_ANNOTATION_BYTES || text.contains(hidden);
        if let Some((key, _)) = self.annotations.iter().find(|(_, value)| bad(value)) {
            return Err(format!(
                "pod.annotations: the value of {key:?} must be at most {MAX_ANNOTATION_BYTES} bytes of visible text in lines"
            ));
        }
        if self.replicas.is_some_and(|replicas| !(1..=MAX_REPLICAS).contains(&replicas)) {
            return Err(format!("pod.replicas: 1 to {MAX_REPLICAS}"));
        }
        self.check_tolerations()?;
        if self.priority_class.as_deref().is_some_and(|name| !is_name(name)) {
            return Err("pod.priority_class: a name of a-z, 0-9, `-` and `.`".to_owned());
        }
        self.check_volumes()
    }

    fn check_tolerations(&self) -> Result<(), String> {
        if self.tolerations.len() > MAX_TOLERATIONS {
            return Err(format!("pod.tolerations: at most {MAX_TOLERATIONS}"));
        }
        for Toleration { key, value, .. } in &self.tolerations {
            if !is_key(key) || value.as_deref().is_some_and(|value| !is_label_value(value)) {
                return Err(format!("pod.tolerations: {:?} is not a taint's KEY, with or without a value", shown(key)));
            }
            check_key("tolerations", key)?;
        }
        Ok(())
    }

    fn check_volumes(&self) -> Result<(), String> {
        if self.volumes.len() > MAX_VOLUMES {
            return Err(format!("pod.volumes: at most {MAX_VOLUMES}"));
        }
        let (mut names, mut paths) = (BTreeSet::new(), BTreeSet::new());
        for volume in &self.volumes {
            let name = shown(&volume.name);
            if !is_dns_label(&volume.name) || !names.insert(&volume.name) {
                return Err(format!("pod.volumes: {name:?} is not a name of its own: 1 to 63 of a-z, 0-9 and `-`"));
            }
            if !is_mount_path(&volume.mount_path) || !paths.insert(&volume.mount_path) {
                return Err(format!(
                    "pod.volumes: the mount_path of {name:?} must be an absolute path of its own of at most \
                     {MAX_MOUNT_PATH_BYTES} bytes of visible text, without `..`, `:`, a `/` at its end or a space at the end of \
                     a part, and not in a folder of the system"
                ));
            }
            match (&volume.claim, &volume.size) {
                (Some(claim), None) if is_name(claim) => {}
                (None, Some(size)) if !Kind::Disk.takes(size) => {
                    return Err(format!("pod.volumes: the size of {name:?} {}", Kind::Disk.form()));
                }
                (None, Some(_)) if !volume.read_only => {}
                _ => {
                    return Err(format!(
                        "pod.volumes: {name:?} needs either `claim`, the name of a PersistentVolumeClaim, or `size`, \
                         such as `1Gi`, of an empty folder to write to"
                    ));
                }
            }
        }
        Ok(())
    }
}

fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

fn check_key(field: &str, key: &str) -> Result<(), String> {
    if !is_key(key) {
        return Err(format!("pod.{field}: {:?} is not a key: [DOMAIN/]NAME", shown(key)));
    }
    if is_reserved(key) {
        return Err(format!("pod.{field}: the key {key:?} is reserved for Kubernetes and Cofferdam"));
    }
    Ok(())
}

/// Returns true for a key that no deployment sets, whatever its environment allows.
fn is_reserved(key: &str) -> bool {
    let domain = key.split_once('/').map_or("", |(domain, _)| domain);
    let below =
        |reserved: &str| domain.strip_suffix(reserved).is_some_and(|left| left.is_empty() || left.ends_with('.'));
    RESERVED_KEYS.contains(&key) || (domain != DESCRIPTIVE_DOMAIN && RESERVED_DOMAINS.iter().any(|one| below(one)))
}

fn ends_alphanumeric(text: &str) -> bool {
    let plain = |byte: Option<u8>| byte.is_some_and(|b| b.is_ascii_alphanumeric());
    plain(text.bytes().next()) && plain(text.bytes().next_back())
}

fn is_label_value(text: &str) -> bool {
    text.is_empty() || is_key_name(text)
}

fn is_key_name(text: &str) -> bool {
    text.len() <= MAX_LABEL_BYTES
        && ends_alphanumeric(text)
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// A qualified name in Kubernetes: `[domain/]name`.
fn is_key(text: &str) -> bool {
    text.split_once('/').map_or_else(|| is_key_name(text), |(domain, name)| is_name(domain) && is_key_name(name))
}

fn is_dns_label(text: &str) -> bool {
    text.len() <= MAX_LABEL_BYTES
        && ends_alphanumeric(text)
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// A DNS subdomain: the form of names in Kubernetes.
fn is_name(text: &str) -> bool {
    text.len() <= MAX_NAME_BYTES && text.split('.').all(is_dns_label)
}

fn is_mount_path(path: &str) -> bool {
    let is_in = |folder: &str| path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let parts = path.strip_prefix('/').unwrap_or_default();
    path.len() <= MAX_MOUNT_PATH_BYTES
        && !parts.is_empty()
        && parts.split('/').all(|part| !matches!(part, "" | "." | "..") && part.trim() == part)
        && !path.chars().any(|c| c.is_control() || is_invisible(c) || c == ':' || (c.is_whitespace() && c != ' '))
        && !SYSTEM_FOLDERS.iter().any(|folder| is_in(folder))
}

#[cfg(test)]
mod tables;
#[cfg(test)]
mod tests;
