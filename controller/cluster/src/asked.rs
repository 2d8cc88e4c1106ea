//! The parts of a Job that a deployment asks for: labels, annotations, tolerations, volumes. Pure. Never decides what is
//! allowed; our own keys always win.

use std::collections::BTreeMap;

use cofferdam_contract::{PodSettings, Toleration as AskedToleration, Volume as AskedVolume};
use k8s_openapi::api::core::v1::{
    EmptyDirVolumeSource, PersistentVolumeClaimVolumeSource, Toleration, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::{Workload, names};

/// The Job's and the pod's labels.
pub(crate) fn labels(workload: &Workload) -> BTreeMap<String, String> {
    merged(&workload.pod.labels, names::labels(&workload.id))
}

/// The pod's annotations.
pub(crate) fn annotations(workload: &Workload) -> BTreeMap<String, String> {
    merged(&workload.pod.annotations, names::annotations(&workload.id))
}

fn merged(asked: &BTreeMap<String, String>, ours: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut all = asked.clone();
    all.extend(ours);
    all
}

pub(crate) fn tolerations(pod: &PodSettings) -> Option<Vec<Toleration>> {
    let one = |AskedToleration { key, value, effect }: &AskedToleration| Toleration {
        key: Some(key.clone()),
        operator: Some(if value.is_some() { "Equal" } else { "Exists" }.to_owned()),
        value: value.clone(),
        effect: effect.map(|effect| effect.name().to_owned()),
        ..Toleration::default()
    };
    some(pod.tolerations.iter().map(one).collect())
}

pub(crate) fn volumes(pod: &PodSettings) -> Option<Vec<Volume>> {
    let one = |AskedVolume { name, claim, size, read_only, .. }: &AskedVolume| Volume {
        name: name.clone(),
        persistent_volume_claim: claim.as_ref().map(|claim| PersistentVolumeClaimVolumeSource {
            claim_name: claim.clone(),
            read_only: read_only.then_some(true),
        }),
        empty_dir: size.as_ref().map(|size| EmptyDirVolumeSource {
            size_limit: Some(Quantity(size.clone())),
            ..EmptyDirVolumeSource::default()
        }),
        ..Volume::default()
    };
    some(pod.volumes.iter().map(one).collect())
}

pub(crate) fn mounts(pod: &PodSettings) -> Option<Vec<VolumeMount>> {
    let one = |AskedVolume { name, mount_path, read_only, .. }: &AskedVolume| VolumeMount {
        name: name.clone(),
        mount_path: mount_path.clone(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    };
    some(pod.volumes.iter().map(one).collect())
}

fn some<T>(all: Vec<T>) -> Option<Vec<T>> {
    Some(all).filter(|all| !all.is_empty())
}
