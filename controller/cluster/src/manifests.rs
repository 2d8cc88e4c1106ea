//! The objects of a workload as documents to read. Shows no value of a variable, and sends nothing.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use serde::Serialize;
use serde_json::Value;

use crate::connect::Options;
use crate::{ClusterError, Workload, objects};

/// Stands for the value of a variable.
const HIDDEN: &str = "[not shown]";

/// In the order in which they are applied. Once the Job exists, Secret and ServiceAccount also name it as their owner.
pub(crate) fn manifests(workload: &Workload, namespace: &str, options: &Options) -> Result<Vec<Value>, ClusterError> {
    objects::check(workload)?;
    let names = workload.env.keys().map(|name| (name.clone(), HIDDEN.to_owned()));
    let hidden: BTreeMap<String, String> = names.collect();
    let secret = Secret { data: None, string_data: Some(hidden), ..objects::secret(workload, None) };
    Ok(vec![
        document(&objects::network_policy(workload, namespace, options), namespace)?,
        document(&objects::service_account(workload, None), namespace)?,
        document(&secret, namespace)?,
        document(&objects::job(workload, options), namespace)?,
    ])
}

fn document(object: &impl Serialize, namespace: &str) -> Result<Value, ClusterError> {
    let written = serde_json::to_value(object);
    let mut value = written.map_err(|_| ClusterError::Settings("An object cannot be shown".to_owned()))?;
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("namespace".to_owned(), namespace.into());
    }
    Ok(value)
}
