//! Tests against a real cluster, if `COFFERDAM_E2E_KUBECONFIG` names its kubeconfig: each test creates a namespace and
//! removes it. Tests that run containers also need `COFFERDAM_E2E_IMAGE`, an image with `/bin/sh`, named by its digest,
//! that the nodes can pull. Skipped tests are reported.

mod control_plane;
mod nodes;

use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cofferdam_cluster::{Access, AnyCluster, KubernetesClusters, Options, Seen, Workload, WorkloadFailure, WorkloadId};
use futures_util::future::BoxFuture;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use super::api::{self, Settings};

type Case = (&'static str, fn(Testbed) -> BoxFuture<'static, ()>);

/// A namespace for one test.
#[derive(Clone)]
pub(crate) struct Testbed {
    pub client: Client,
    pub namespace: String,
    pub path: PathBuf,
    pub image: String,
}

impl Testbed {
    async fn make(path: PathBuf, image: Option<String>) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let kubeconfig = kube::config::Kubeconfig::read_from(&path).expect("COFFERDAM_E2E_KUBECONFIG is a kubeconfig");
        let client = Client::try_from(kube::Config::try_from(kubeconfig).unwrap()).unwrap();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("cofferdam-e2e-{}-{number}", std::process::id());
        let made =
            json!({"metadata": {"name": namespace, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
        let made: Namespace = serde_json::from_value(made).unwrap();
        Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &made).await.unwrap();
        let image = image.unwrap_or_else(|| api::workload().image);
        Self { client, namespace, path, image }
    }

    async fn remove(&self) {
        let all = Api::<Namespace>::all(self.client.clone());
        let _ = all.delete(&self.namespace, &DeleteParams::background()).await;
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings {
            namespace: self.namespace.clone(),
            access: Access::Operator { path: self.path.clone(), context: None },
        }
    }

    pub(crate) fn cluster(&self) -> AnyCluster {
        self.settings().connect(&KubernetesClusters::new(self.options())).unwrap()
    }

    pub(crate) fn options(&self) -> Options {
        Options { unschedulable_after: Duration::from_secs(3), grace: Duration::from_secs(2), ..Options::default() }
    }

    pub(crate) fn workload(&self) -> Workload {
        Workload { image: self.image.clone(), image_pull_secrets: Vec::new(), ..api::workload() }
    }

    pub(crate) fn objects<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Creates an object on the test's behalf.
    pub(crate) async fn put<K>(&self, object: Value) -> K
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + serde::Serialize
            + serde::de::DeserializeOwned,
    {
        let object: K = serde_json::from_value(object).unwrap();
        self.objects().create(&PostParams::default(), &object).await.unwrap()
    }

    /// Waits until it is true.
    pub(crate) async fn until(
        &self,
        cluster: &AnyCluster,
        id: &WorkloadId,
        what: &str,
        is: impl Fn(&Seen) -> bool,
    ) -> Seen {
        let started = Instant::now();
        loop {
            let seen = cluster.see(id).await.unwrap();
            if is(&seen) {
                return seen;
            }
            assert!(started.elapsed() < Duration::from_secs(90), "not {what}: {seen:?}");
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }
}

/// The whole text of a failure.
pub(crate) fn said(failure: &WorkloadFailure) -> String {
    failure.detail.shown(str::to_owned)
}

/// Prints past the test harness, which captures the output of tests.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn end_to_end_on_a_real_cluster() {
    let (control_plane, nodes) = (control_plane::CASES, nodes::CASES);
    let Some(path) = std::env::var_os("COFFERDAM_E2E_KUBECONFIG").filter(|path| !path.is_empty()) else {
        say(&format!(
            "real cluster: COFFERDAM_E2E_KUBECONFIG is not set, {} tests skipped",
            control_plane.len() + nodes.len()
        ));
        return;
    };
    let path = PathBuf::from(path);
    let image = std::env::var("COFFERDAM_E2E_IMAGE").ok().filter(|image| !image.is_empty());
    let skipped = if image.is_some() { 0 } else { nodes.len() };
    let mut failed = Vec::new();
    let run: Vec<&Case> = control_plane.iter().chain(nodes.iter().filter(|_| image.is_some())).collect();
    for (name, case) in &run {
        let testbed = Testbed::make(path.clone(), image.clone()).await;
        let started = Instant::now();
        let outcome = tokio::spawn(case(testbed.clone())).await;
        testbed.remove().await;
        let word = if outcome.is_ok() { "ok" } else { "FAILED" };
        say(&format!("real cluster: {name} ... {word} ({:.1} s)", started.elapsed().as_secs_f64()));
        if outcome.is_err() {
            failed.push(*name);
        }
    }
    let why = if skipped > 0 { " (COFFERDAM_E2E_IMAGE is not set)" } else { "" };
    say(&format!("real cluster: {} tests run, {} failed, {skipped} skipped{why}", run.len(), failed.len()));
    assert!(failed.is_empty(), "{failed:?}");
}
