//! The settings that lead to a cluster: access and namespace.

use std::path::PathBuf;

use cofferdam_core::Secret;
use sha2::{Digest, Sha256};

/// The way into a cluster.
#[derive(Debug, Clone)]
pub enum Access {
    /// A caller's kubeconfig. It must not name files or programs.
    Kubeconfig { yaml: Secret, context: Option<String> },
    /// The operator's own kubeconfig: the file that `KUBECONFIG` names.
    Operator { path: PathBuf, context: Option<String> },
    /// The service account of this process's pod.
    InCluster,
    /// No cluster; the text says why and what to do.
    None(String),
}

/// One namespace of one cluster.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    pub access: &'a Access,
    pub namespace: &'a str,
}

/// Identifies a place among the clients that are kept.
pub(crate) type PlaceKey = [u8; 32];

impl Place<'_> {
    /// Places with the same key share a client. The key holds no credentials.
    pub(crate) fn key(&self) -> PlaceKey {
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        part(self.namespace.as_bytes());
        let context = match self.access {
            Access::Kubeconfig { yaml, context } => {
                part(b"kubeconfig");
                part(yaml.expose().as_bytes());
                context.as_deref()
            }
            Access::Operator { path, context } => {
                part(b"operator");
                part(path.as_os_str().as_encoded_bytes());
                context.as_deref()
            }
            Access::InCluster => {
                part(b"in-cluster");
                None
            }
            Access::None(why) => {
                part(b"none");
                part(why.as_bytes());
                None
            }
        };
        part(if context.is_some() { b"context" } else { b"" });
        part(context.unwrap_or_default().as_bytes());
        hash.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn places_that_differ_have_different_keys() {
        let handed_over = |yaml: &str, context: Option<&str>| Access::Kubeconfig {
            yaml: Secret::new(yaml),
            context: context.map(str::to_owned),
        };
        let operator = |path: &str, context: Option<&str>| Access::Operator {
            path: path.into(),
            context: context.map(str::to_owned),
        };
        let all = [
            handed_over("a", None),
            handed_over("a", Some("")),
            handed_over("a", Some("b")),
            handed_over("ab", None),
            operator("a", None),
            operator("a", Some("b")),
            Access::InCluster,
            Access::None("a".to_owned()),
        ];
        let keys: HashSet<PlaceKey> =
            all.iter().flat_map(|access| ["one", "two"].map(|namespace| Place { access, namespace }.key())).collect();
        assert_eq!(keys.len(), all.len() * 2);
        let again = Place { access: &handed_over("a", Some("b")), namespace: "two" };
        assert!(keys.contains(&again.key()));
    }
}
