//! Tests that need nodes that run containers.

use std::time::Duration;

use cofferdam_cluster::{AnyCluster, Seen, Workload, WorkloadFailure};
use cofferdam_contract::FailureReason;
use cofferdam_core::Secret;
use futures_util::{FutureExt, StreamExt};

use super::{Case, Testbed};

/// The image's program is a shell that does what `SCRIPT` says: `ENTRYPOINT ["/bin/sh", "-c", "eval \"$SCRIPT\""]`.
pub(super) const CASES: &[Case] = &[
    ("an agent runs, writes its log, and ends when asked", |testbed| runs(testbed).boxed()),
    ("a crash loop, with its exit code and last lines", |testbed| crashes(testbed).boxed()),
    ("an agent that returns 0", |testbed| returns(testbed).boxed()),
    ("more memory than its limit", |testbed| out_of_memory(testbed).boxed()),
    ("an image that is not there", |testbed| no_image(testbed).boxed()),
    ("more CPU than any node has", |testbed| unschedulable(testbed).boxed()),
    ("no node of that architecture", |testbed| architecture(testbed).boxed()),
];

fn scripted(testbed: &Testbed, script: &str) -> Workload {
    let mut workload = testbed.workload();
    workload.env.insert("SCRIPT".to_owned(), Secret::new(script));
    workload.resources.cpu = Some("50m".to_owned());
    workload.resources.memory = Some("32Mi".to_owned());
    workload
}

async fn failure(testbed: &Testbed, cluster: &AnyCluster, workload: &Workload) -> WorkloadFailure {
    cluster.apply(workload).await.unwrap();
    match testbed.until(cluster, &workload.id, "failed", |seen| matches!(seen, Seen::Failed(_))).await {
        Seen::Failed(failure) => failure,
        other => panic!("{other:?}"),
    }
}

async fn runs(testbed: Testbed) {
    let cluster = testbed.cluster();
    let workload = scripted(
        &testbed,
        "echo number $NUMBER user $(id -u); i=0; while true; do i=$((i+1)); echo line $i; sleep 0.2; done",
    );
    cluster.apply(&workload).await.unwrap();
    testbed.until(&cluster, &workload.id, "ready", |seen| matches!(seen, Seen::Ready { for_s: 1.., .. })).await;
    let pods = cluster.pods(&workload.id).await.unwrap();
    assert_eq!(pods.len(), 1);
    let mut lines = cluster.logs(&pods[0], None).await.unwrap();
    let first = lines.next().await.unwrap().unwrap();
    assert_eq!(first.text, "number 007 user 65532");
    let mut last = first;
    for number in 1..=10 {
        last = lines.next().await.unwrap().unwrap();
        assert_eq!(last.text, format!("line {number}"));
    }
    let mut later = cluster.logs(&pods[0], Some(&last.time)).await.unwrap();
    assert_eq!(later.next().await.unwrap().unwrap(), last);
    drop(later);
    cluster.remove(&workload.id).await.unwrap();
    let end = tokio::time::timeout(Duration::from_secs(10), async { while lines.next().await.is_some() {} }).await;
    end.expect("the log ends with its container");
    assert_eq!(cluster.see(&workload.id).await.unwrap(), Seen::Gone);
}

async fn crashes(testbed: Testbed) {
    let cluster = testbed.cluster();
    let workload = scripted(&testbed, "echo about to fail; echo KeyError: API_KEY >&2; exit 3");
    let failure = failure(&testbed, &cluster, &workload).await;
    assert_eq!((failure.reason, failure.exit_code), (FailureReason::Exited, Some(3)), "{failure:?}");
    assert_eq!(failure.last_lines, ["about to fail", "KeyError: API_KEY"]);
    assert!(failure.restarts >= 1, "{failure:?}");
    let pods = cluster.pods(&workload.id).await.unwrap();
    assert_eq!(pods.len(), 2);
    for pod in &pods {
        let lines: Vec<_> = cluster.logs(pod, None).await.unwrap().collect().await;
        assert_eq!(lines.len(), 2, "{pod:?} {lines:?}");
    }
    cluster.remove(&workload.id).await.unwrap();
}

async fn returns(testbed: Testbed) {
    let cluster = testbed.cluster();
    let workload = scripted(&testbed, "echo done");
    let failure = failure(&testbed, &cluster, &workload).await;
    assert_eq!((failure.reason, failure.exit_code), (FailureReason::Exited, Some(0)), "{failure:?}");
    assert_eq!(failure.last_lines, ["done"]);
    cluster.remove(&workload.id).await.unwrap();
}

async fn out_of_memory(testbed: Testbed) {
    let cluster = testbed.cluster();
    let workload = scripted(&testbed, "x=xxxxxxxxxxxxxxxx; while true; do x=$x$x; done");
    let failure = failure(&testbed, &cluster, &workload).await;
    assert_eq!(failure.reason, FailureReason::OutOfMemory, "{failure:?}");
    assert!(failure.detail.contains("limit of 32Mi"), "{failure:?}");
    cluster.remove(&workload.id).await.unwrap();
}

async fn no_image(testbed: Testbed) {
    let cluster = testbed.cluster();
    let mut workload = scripted(&testbed, "true");
    let (name, _) = workload.image.split_once('@').unwrap();
    workload.image = format!("{name}@sha256:{}", "0".repeat(64));
    let failure = failure(&testbed, &cluster, &workload).await;
    assert_eq!(failure.reason, FailureReason::ImagePull, "{failure:?}");
    cluster.remove(&workload.id).await.unwrap();
}

async fn unschedulable(testbed: Testbed) {
    let cluster = testbed.cluster();
    let mut workload = scripted(&testbed, "sleep 60");
    workload.resources.cpu = Some("9999".to_owned());
    let failure = failure(&testbed, &cluster, &workload).await;
    assert_eq!(failure.reason, FailureReason::Unschedulable, "{failure:?}");
    assert!(failure.detail.contains("resources.cpu"), "{failure:?}");
    cluster.remove(&workload.id).await.unwrap();
}

async fn architecture(testbed: Testbed) {
    let cluster = testbed.cluster();
    let mut workload = scripted(&testbed, "sleep 60");
    workload.architecture = "s390x".to_owned();
    let failure = failure(&testbed, &cluster, &workload).await;
    assert_eq!(failure.reason, FailureReason::Unschedulable, "{failure:?}");
    assert!(failure.detail.contains("s390x"), "{failure:?}");
    cluster.remove(&workload.id).await.unwrap();
}
