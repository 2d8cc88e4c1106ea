//! The parts of a pod that an environment allows its deployments to ask for. Nothing but empty folders is allowed unless
//! the environment's owner says so: a label can draw another service's traffic, an annotation can turn on a cloud role.

use serde::{Deserialize, Serialize};

use super::{MAX_REPLICAS, PodSettings, is_key, is_name};

/// Entries of one list.
const MAX_ENTRIES: usize = 64;

/// Names and keys that deployments may use. An entry that ends in `*` allows all that begin with the rest of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AllowedPods {
    /// Keys of labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// Keys of annotations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub annotations: Vec<String>,
    /// Keys of taints that may be tolerated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub priority_classes: Vec<String>,
    /// Names of PersistentVolumeClaims in the namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<String>,
    /// Pods of one version. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_replicas: Option<u32>,
}

impl AllowedPods {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Checks the lists themselves.
    ///
    /// # Errors
    /// A message that names the list.
    pub fn check(&self) -> Result<(), String> {
        for (field, entries, key) in [
            ("labels", &self.labels, true),
            ("annotations", &self.annotations, true),
            ("tolerations", &self.tolerations, true),
            ("priority_classes", &self.priority_classes, false),
            ("claims", &self.claims, false),
        ] {
            let good = |entry: &String| match entry.strip_suffix('*') {
                // Any beginning of a name.
                Some(begin) => begin.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b)),
                None if key => is_key(entry),
                None => is_name(entry),
            };
            if entries.len() > MAX_ENTRIES || !entries.iter().all(good) {
                return Err(format!(
                    "pods.{field}: at most {MAX_ENTRIES} names, each with or without a `*` at its end ({})",
                    option(field)
                ));
            }
        }
        match self.max_replicas {
            Some(most) if !(1..=MAX_REPLICAS).contains(&most) => {
                Err(format!("pods.max_replicas: 1 to {MAX_REPLICAS} ({})", option("max_replicas")))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Holds a deployment's wishes against the lists.
    ///
    /// # Errors
    /// A message that names the first part that is not allowed, and the setting that would allow it.
    pub fn admit(&self, pod: &PodSettings) -> Result<(), String> {
        let most = self.max_replicas.unwrap_or(1);
        if pod.replicas.is_some_and(|replicas| replicas > most) {
            return Err(format!(
                "pod.replicas: the environment allows at most {most}; its owner would have to raise `pods.max_replicas` \
                 ({})",
                option("max_replicas")
            ));
        }
        let labels = pod.labels.keys().map(|key| ("labels", "the label", key, &self.labels, "labels"));
        let annotations = pod.annotations.keys();
        let annotations =
            annotations.map(|key| ("annotations", "the annotation", key, &self.annotations, "annotations"));
        let tolerations = pod.tolerations.iter();
        let tolerations =
            tolerations.map(|t| ("tolerations", "the toleration of", &t.key, &self.tolerations, "tolerations"));
        let class = pod.priority_class.iter();
        let class = class.map(|name| ("priority_class", "", name, &self.priority_classes, "priority_classes"));
        let claims = pod.volumes.iter().filter_map(|volume| volume.claim.as_ref());
        let claims = claims.map(|name| ("volumes", "the claim", name, &self.claims, "claims"));
        let mut all = labels.chain(annotations).chain(tolerations).chain(class).chain(claims);
        match all.find(|(_, _, name, allowed, _)| !allowed.iter().any(|entry| matches(entry, name))) {
            Some((field, what, name, _, setting)) => {
                let what = if what.is_empty() { String::new() } else { format!("{what} ") };
                Err(format!(
                    "pod.{field}: the environment does not allow {what}{name:?}; its owner would have to list it in \
                     `pods.{setting}` ({})",
                    option(setting)
                ))
            }
            None => Ok(()),
        }
    }
}

/// The option and the server's variable that set a list.
fn option(setting: &str) -> String {
    let (option, variable) = match setting {
        "labels" => ("--allow-label", "LABELS"),
        "annotations" => ("--allow-annotation", "ANNOTATIONS"),
        "tolerations" => ("--allow-toleration", "TOLERATIONS"),
        "priority_classes" => ("--allow-priority-class", "PRIORITY_CLASSES"),
        "claims" => ("--allow-claim", "CLAIMS"),
        _ => ("--max-replicas", "MAX_REPLICAS"),
    };
    format!("`{option}` of `cofferdam environment create`; for `local`, the server's COFFERDAM_AGENT_{variable}")
}

fn matches(entry: &str, name: &str) -> bool {
    entry.strip_suffix('*').map_or(entry == name, |begin| name.starts_with(begin))
}
