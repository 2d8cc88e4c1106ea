//! Builds a workload's Secret, ServiceAccount, NetworkPolicy and Job. Pure: the same workload gives the same objects, so
//! that applying them again changes nothing.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{
    Capabilities, Container, EnvFromSource, LocalObjectReference, PodSecurityContext, PodSpec, PodTemplateSpec,
    ResourceRequirements, SeccompProfile, Secret, SecretEnvSource, SecurityContext, ServiceAccount,
};
use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    LabelSelector, LabelSelectorRequirement, ObjectMeta, OwnerReference,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::answers;
use crate::connect::Options;
use crate::names::{self, CONTAINER, WORKLOAD, workload_name};
use crate::{ClusterError, NOBODY, Workload};
use crate::{asked, probes};

/// The maximum size of a Secret, by the API's own rule.
const MAX_ENV_BYTES: usize = 1_024 * 1_024;
/// The label that the chart gives the controller's and the gateway's pods.
const PART_OF: (&str, &str) = ("app.kubernetes.io/part-of", "cofferdam");
const COMPONENT: &str = "app.kubernetes.io/component";
const COMPONENTS: [&str; 2] = ["controller", "ai-gateway"];

/// Checks what a cluster's objects cannot express, before anything is sent.
///
/// # Errors
/// [`ClusterError::Refused`], with the invalid part.
pub(crate) fn check(workload: &Workload) -> Result<(), ClusterError> {
    let refuse = |text: String| Err(ClusterError::refused(text));
    if !names::is_pinned(&workload.image) {
        return refuse(format!(
            "The image {:?} is not pinned by its digest (registry/repository@sha256:...): a tag may point to another image tomorrow",
            workload.image.chars().take(200).collect::<String>()
        ));
    }
    if let Err(why) = workload.pod.check().and_then(|()| workload.health.check()) {
        return refuse(why);
    }
    if workload.run_as == Some(0) {
        return refuse("The container would run as root, and no agent does".to_owned());
    }
    let letter = |b: u8| b.is_ascii_alphabetic() || b"-._".contains(&b);
    for name in workload.env.keys() {
        let good = name.bytes().next().is_some_and(letter)
            && name.bytes().all(|b| letter(b) || b.is_ascii_digit())
            && name.len() <= 253
            && !matches!(name.as_str(), "." | "..");
        if !good {
            return refuse(format!(
                "{:?} is not a valid variable name: use letters, digits, `_`, `-` and `.`, and no digit first",
                name.chars().take(80).collect::<String>()
            ));
        }
    }
    let bytes: usize = workload.env.iter().map(|(name, value)| name.len() + value.expose().len()).sum();
    if bytes > MAX_ENV_BYTES {
        return refuse(format!(
            "The variables have {bytes} bytes; a cluster takes at most {MAX_ENV_BYTES} for one workload"
        ));
    }
    Ok(())
}

/// The cluster deletes an object together with its owner.
fn meta(workload: &Workload, owner: Option<OwnerReference>) -> ObjectMeta {
    ObjectMeta {
        name: Some(workload_name(&workload.id)),
        labels: Some(names::labels(&workload.id)),
        annotations: Some(names::annotations(&workload.id)),
        owner_references: owner.map(|owner| vec![owner]),
        ..ObjectMeta::default()
    }
}

/// A reference to the Job as the owner of other objects.
pub(crate) fn owned_by(job: &answers::Job) -> Option<OwnerReference> {
    Some(OwnerReference {
        api_version: "batch/v1".to_owned(),
        kind: "Job".to_owned(),
        name: job.metadata.name.clone()?,
        uid: job.metadata.uid.clone()?,
        ..OwnerReference::default()
    })
}

pub(crate) fn secret(workload: &Workload, owner: Option<OwnerReference>) -> Secret {
    let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
    let data = workload.env.iter().map(|(name, value)| (name.clone(), bytes(value.expose())));
    Secret {
        metadata: meta(workload, owner),
        data: Some(data.collect()),
        immutable: Some(true),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    }
}

pub(crate) fn service_account(workload: &Workload, owner: Option<OwnerReference>) -> ServiceAccount {
    ServiceAccount {
        metadata: meta(workload, owner),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

/// Allows no ingress, and egress only to the controller, the gateway and DNS. No Job owns it: when a Job is deleted, its
/// policy has to stay until the last pod is gone.
pub(crate) fn network_policy(workload: &Workload, namespace: &str, options: &Options) -> NetworkPolicy {
    let controllers = options.controller_namespace.as_deref().unwrap_or(namespace);
    let ours = NetworkPolicyPeer {
        namespace_selector: Some(matching(&[("kubernetes.io/metadata.name", controllers)])),
        pod_selector: Some(LabelSelector {
            match_expressions: Some(vec![LabelSelectorRequirement {
                key: COMPONENT.to_owned(),
                operator: "In".to_owned(),
                values: Some(COMPONENTS.map(str::to_owned).to_vec()),
            }]),
            ..matching(&[PART_OF])
        }),
        ..NetworkPolicyPeer::default()
    };
    let more = options.egress.iter().map(|range| NetworkPolicyPeer {
        ip_block: Some(IPBlock { cidr: range.to_string(), except: None }),
        ..NetworkPolicyPeer::default()
    });
    let dns = NetworkPolicyPeer {
        namespace_selector: Some(matching(&[("kubernetes.io/metadata.name", "kube-system")])),
        pod_selector: Some(matching(&[("k8s-app", "kube-dns")])),
        ..NetworkPolicyPeer::default()
    };
    let port = |protocol: &str| NetworkPolicyPort {
        port: Some(IntOrString::Int(53)),
        protocol: Some(protocol.to_owned()),
        ..NetworkPolicyPort::default()
    };
    NetworkPolicy {
        metadata: meta(workload, None),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(matching(&[(WORKLOAD, &workload_name(&workload.id))])),
            policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
            // Spelled out, although server-side apply treats an absent list and an empty one alike.
            ingress: None,
            egress: Some(vec![
                NetworkPolicyEgressRule { to: Some(std::iter::once(ours).chain(more).collect()), ports: None },
                NetworkPolicyEgressRule { to: Some(vec![dns]), ports: Some(vec![port("UDP"), port("TCP")]) },
            ]),
        }),
    }
}

/// The ends with 0 that a Job of several pods bears for each of them. A pod that is drained often ends so, and a Job counts
/// that as completed: with one completion for each pod it would not replace it.
pub(crate) const ENDS_PER_POD: i32 = 1_000_000;

pub(crate) fn job(workload: &Workload, options: &Options) -> Job {
    let labels = asked::labels(workload);
    let replicas = i32::try_from(workload.pod.replicas.unwrap_or(1)).unwrap_or(1);
    Job {
        metadata: ObjectMeta { labels: Some(labels.clone()), ..meta(workload, None) },
        spec: Some(JobSpec {
            // An agent serves until it is stopped. The kubelet restarts it, ever slower; the controller decides when it
            // has crashed too often, and has its logs by then.
            backoff_limit: Some(i32::MAX),
            completions: Some(if replicas > 1 { replicas.saturating_mul(ENDS_PER_POD) } else { replicas }),
            parallelism: Some(replicas),
            pod_replacement_policy: Some("Failed".to_owned()),
            ttl_seconds_after_finished: Some(i32::try_from(workload.ttl_after_finished_s).unwrap_or(i32::MAX)),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(labels),
                    annotations: Some(pod_annotations(workload)),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod(workload, options)),
            },
            ..JobSpec::default()
        }),
        status: None,
    }
}

fn pod_annotations(workload: &Workload) -> BTreeMap<String, String> {
    let mut all = asked::annotations(workload);
    if let Some(port) = probes::sdk_port(workload) {
        all.insert(names::DEFAULT_PROBE.to_owned(), port.to_string());
    }
    all
}

fn pod(workload: &Workload, options: &Options) -> PodSpec {
    let name = workload_name(&workload.id);
    let pull = workload.image_pull_secrets.iter().map(|name| LocalObjectReference { name: name.clone() });
    let user = i64::from(workload.run_as.unwrap_or(NOBODY));
    PodSpec {
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        service_account_name: Some(name.clone()),
        restart_policy: Some("OnFailure".to_owned()),
        termination_grace_period_seconds: Some(i64::try_from(options.grace.as_secs()).unwrap_or(30)),
        runtime_class_name: workload.runtime_class.clone(),
        priority_class_name: workload.pod.priority_class.clone(),
        tolerations: asked::tolerations(&workload.pod),
        volumes: asked::volumes(&workload.pod),
        node_selector: Some(selecting(&[
            ("kubernetes.io/arch", &workload.architecture),
            ("kubernetes.io/os", "linux"),
        ])),
        image_pull_secrets: Some(pull.collect()).filter(|list: &Vec<_>| !list.is_empty()),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(user),
            // With the image's own user the group is the image's too: its files may be readable by that group only.
            run_as_group: workload.run_as.is_none().then_some(user),
            fs_group: workload.run_as.is_none().then_some(user),
            seccomp_profile: Some(runtime_default()),
            ..PodSecurityContext::default()
        }),
        containers: vec![probes::added(
            workload,
            Container {
                name: CONTAINER.to_owned(),
                image: Some(workload.image.clone()),
                image_pull_policy: Some("IfNotPresent".to_owned()),
                env_from: Some(vec![EnvFromSource {
                    secret_ref: Some(SecretEnvSource { name, optional: Some(false) }),
                    ..EnvFromSource::default()
                }]),
                resources: Some(resources(workload)),
                volume_mounts: asked::mounts(&workload.pod),
                // Keeps the end of the log in the pod's status after the node has deleted the log.
                termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
                security_context: Some(SecurityContext {
                    allow_privilege_escalation: Some(false),
                    capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
                    privileged: Some(false),
                    read_only_root_filesystem: Some(false),
                    run_as_non_root: Some(true),
                    seccomp_profile: Some(runtime_default()),
                    ..SecurityContext::default()
                }),
                ..Container::default()
            },
        )],
        ..PodSpec::default()
    }
}

fn runtime_default() -> SeccompProfile {
    SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }
}

/// Requests and limits are equal.
fn resources(workload: &Workload) -> ResourceRequirements {
    let asked = &workload.resources;
    let all: BTreeMap<String, Quantity> =
        [("cpu", &asked.cpu), ("memory", &asked.memory), ("ephemeral-storage", &asked.ephemeral_storage)]
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), Quantity(value.clone()?))))
            .collect();
    let some = Some(all).filter(|all| !all.is_empty());
    ResourceRequirements { limits: some.clone(), requests: some, claims: None }
}

fn matching(labels: &[(&str, &str)]) -> LabelSelector {
    LabelSelector { match_labels: Some(selecting(labels)), match_expressions: None }
}

fn selecting(labels: &[(&str, &str)]) -> BTreeMap<String, String> {
    labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}
