//! Asks a cluster whether our credentials have the rights that agents need, and whether the namespace exists. Uses access
//! reviews and a dry run, so that nothing changes.

use futures_util::future::try_join_all;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::Request;
use serde::Deserialize;

use crate::answers::Review;
use crate::kubernetes::Kubernetes;
use crate::names::MANAGER;
use crate::text::clean;
use crate::wire::Wire;
use crate::{ClusterError, Finding};

/// A right that agents need: API group, resource, subresource, verbs.
struct Right {
    group: &'static str,
    resource: &'static str,
    subresource: &'static str,
    verbs: &'static [&'static str],
    /// Agents run without it.
    optional: bool,
}

const CHANGE: &[&str] = &["get", "list", "create", "patch", "delete"];
const READ: &[&str] = &["get", "list"];
const GET: &[&str] = &["get"];
const LIST: &[&str] = &["list"];

/// As docs/clusters.md lists them, each verb that is used.
const RIGHTS: [Right; 7] = [
    right("batch", "jobs", "", CHANGE),
    right("", "secrets", "", CHANGE),
    right("", "serviceaccounts", "", CHANGE),
    right("networking.k8s.io", "networkpolicies", "", CHANGE),
    right("", "pods", "", READ),
    right("", "pods", "log", GET),
    Right { optional: true, ..right("", "events", "", LIST) },
];

const fn right(
    group: &'static str,
    resource: &'static str,
    subresource: &'static str,
    verbs: &'static [&'static str],
) -> Right {
    Right { group, resource, subresource, verbs, optional: false }
}

/// The object of the dry run, which is never created.
const PROBE: &str = "cofferdam-test";

/// The API server's version, of which we show a part.
#[derive(Deserialize)]
struct Version {
    #[serde(default, rename = "gitVersion")]
    version: String,
}

impl Kubernetes {
    pub(crate) async fn check_rights(&self) -> Result<Vec<Finding>, ClusterError> {
        let wire = self.wire().await?;
        // The first review that fails tells that the credentials are not taken at all.
        let missing = try_join_all(RIGHTS.iter().map(|right| self.missing(wire, right))).await?;
        let mut findings = vec![self.answers(wire).await, self.namespace_exists(wire).await];
        if wire.unverified {
            findings.push(unverified());
        }
        findings.extend(RIGHTS.iter().zip(&missing).map(|(right, missing)| self.told(right, missing)));
        Ok(findings)
    }

    async fn answers(&self, wire: &Wire) -> Finding {
        let request = http::Request::get("/version").body(Vec::new()).map_err(kube::core::request::Error::BuildRequest);
        let version = wire.ask::<Version>(request).await.map(|answer| clean(&wire.scrub(&answer.version)));
        let known = version.ok().filter(|version| !version.is_empty());
        let detail = known.map_or_else(String::new, |version| format!(" (Kubernetes {version})"));
        good("cluster", format!("It answers and accepts the credentials{detail}."))
    }

    /// The verbs of a right that our credentials do not have.
    async fn missing(&self, wire: &Wire, right: &Right) -> Result<Vec<&'static str>, ClusterError> {
        let mut missing = Vec::new();
        for verb in right.verbs {
            if !self.may(wire, right, verb).await? {
                missing.push(*verb);
            }
        }
        Ok(missing)
    }

    async fn may(&self, wire: &Wire, right: &Right, verb: &str) -> Result<bool, ClusterError> {
        let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    group: text(right.group),
                    resource: text(right.resource),
                    subresource: text(right.subresource),
                    namespace: text(&self.namespace),
                    verb: text(verb),
                    ..ResourceAttributes::default()
                }),
                non_resource_attributes: None,
            },
            ..SelfSubjectAccessReview::default()
        };
        let path = <SelfSubjectAccessReview as kube::Resource>::url_path(&(), None);
        let body = serde_json::to_vec(&review).unwrap_or_default();
        let answer = wire.ask::<Review>(Request::new(path).create(&PostParams::default(), body)).await;
        let answer = answer.map_err(|e| self.explained(wire, e, "create", "SelfSubjectAccessReview").vouched_for())?;
        Ok(answer.status.allowed)
    }

    fn told(&self, right: &Right, missing: &[&str]) -> Finding {
        let about = match right.subresource {
            "" => right.resource.to_owned(),
            sub => format!("{}/{sub}", right.resource),
        };
        if missing.is_empty() {
            return good(about, format!("The credentials may {}.", right.verbs.join(", ")));
        }
        let missing = missing.join(", ");
        if right.optional {
            let detail =
                format!("Not needed: the credentials may not {missing}; failures are explained in less detail.");
            return good(about, detail);
        }
        let detail = format!(
            "The credentials may not {missing} in namespace {}: give their user the Role of docs/clusters.md.",
            self.namespace
        );
        Finding { about, good: false, detail }
    }

    /// Asks by a dry run, because the rights in a namespace do not include reading the namespace itself.
    async fn namespace_exists(&self, wire: &Wire) -> Finding {
        let account = ServiceAccount {
            metadata: ObjectMeta { name: Some(PROBE.to_owned()), ..ObjectMeta::default() },
            automount_service_account_token: Some(false),
            ..ServiceAccount::default()
        };
        let how = PatchParams::apply(MANAGER).dry_run().force();
        let path = self.path::<ServiceAccount>();
        let tried = wire.changed(Request::new(path).patch(PROBE, &how, &Patch::Apply(&account))).await;
        let name = &self.namespace;
        match tried.map_err(|e| self.explained(wire, e, "apply", "ServiceAccount").vouched_for()) {
            Ok(()) => good("namespace", format!("The namespace {name} takes objects.")),
            Err(error) => Finding { about: "namespace".to_owned(), good: false, detail: format!("{error}.") },
        }
    }
}

/// Works, as kubectl does, and is said at each test.
fn unverified() -> Finding {
    let detail = "Warning: the kubeconfig sets insecure-skip-tls-verify, so the server's certificate is not verified: \
                  whoever is in between gets the credentials. Put the cluster's authority into \
                  certificate-authority-data instead.";
    good("certificate", detail.to_owned())
}

fn good(about: impl Into<String>, detail: String) -> Finding {
    Finding { about: about.into(), good: true, detail }
}
