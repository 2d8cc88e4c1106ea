//! Tests that need nodes that run containers.

use std::time::{Duration, Instant};

use cofferdam_cluster::{AnyCluster, HeldBy, Mended, Seen, Workload, WorkloadFailure, workload_name};
use cofferdam_contract::FailureReason;
use cofferdam_core::Secret;
use futures_util::{FutureExt, StreamExt};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, Secret as KubeSecret};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{DeleteParams, EvictParams, Patch, PatchParams};
use serde_json::json;

use super::{Case, Testbed, said};

/// The image's program is a shell that does what `SCRIPT` says: `ENTRYPOINT ["/bin/sh", "-c", "eval \"$SCRIPT\""]`.
pub(super) const CASES: &[Case] = &[
    ("an agent runs, writes its log, and ends when asked", |testbed| runs(testbed).boxed()),
    ("a crash loop, with its exit code and last lines", |testbed| crashes(testbed).boxed()),
    ("a crash is seen within ten seconds, twenty times of twenty", |testbed| crash_times(testbed).boxed()),
    ("a restart after it was ready is a crash, ready or not", |testbed| crashes_later(testbed).boxed()),
    ("an evicted pod that ends with 0 is replaced", |testbed| evicted(testbed).boxed()),
    ("one of several pods that is evicted and ends with 0 is replaced", |testbed| one_evicted(testbed).boxed()),
    ("a Job that was suspended by hand", |testbed| suspended(testbed).boxed()),
    ("a readiness probe is waited for, a liveness probe kills", |testbed| probes(testbed).boxed()),
    ("the probe of the SDK means nothing where nothing listens", |testbed| sdk_probe(testbed).boxed()),
    ("what was deleted by hand is restored", |testbed| mended(testbed).boxed()),
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
    let ended = |seen: &Seen| matches!(seen, Seen::Failed(_) | Seen::Crashed { .. });
    match testbed.until(cluster, &workload.id, "failed", ended).await {
        Seen::Failed(failure) | Seen::Crashed { failure, .. } => failure,
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
    let workload = scripted(&testbed, "echo about to fail; sleep 0.1; echo KeyError: API_KEY >&2; exit 3");
    let failure = failure(&testbed, &cluster, &workload).await;
    assert_eq!((failure.reason, failure.exit_code), (FailureReason::Exited, Some(3)), "{failure:?}");
    assert_eq!(failure.last_lines, ["about to fail", "KeyError: API_KEY"]);
    let restarted = |seen: &Seen| matches!(seen, Seen::Crashed { failure, .. } if failure.restarts >= 1);
    testbed.until(&cluster, &workload.id, "restarted", restarted).await;
    let pods = cluster.pods(&workload.id).await.unwrap();
    assert_eq!(pods.len(), 2);
    for pod in &pods {
        let lines: Vec<_> = cluster.logs(pod, None).await.unwrap().collect().await;
        assert_eq!(lines.len(), 2, "{pod:?} {lines:?}");
    }
    cluster.remove(&workload.id).await.unwrap();
}

async fn crash_times(testbed: Testbed) {
    let cluster = testbed.cluster();
    for number in 0..20 {
        let mut workload = scripted(&testbed, "sleep 1; exit 3");
        workload.id.version = 100 + number;
        cluster.apply(&workload).await.unwrap();
        let ready = |seen: &Seen| !matches!(seen, Seen::Starting { .. });
        let seen = testbed.until(&cluster, &workload.id, "started", ready).await;
        let begun = Instant::now();
        if !matches!(seen, Seen::Crashed { .. }) {
            testbed.until(&cluster, &workload.id, "crashed", |seen| matches!(seen, Seen::Crashed { .. })).await;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{number}: {:?}", begun.elapsed());
        cluster.remove(&workload.id).await.unwrap();
    }
}

async fn crashes_later(testbed: Testbed) {
    let cluster = testbed.cluster();
    let workload = scripted(&testbed, "echo serving; sleep 4; echo KeyError >&2; exit 7");
    cluster.apply(&workload).await.unwrap();
    testbed.until(&cluster, &workload.id, "ready", |seen| matches!(seen, Seen::Ready { .. })).await;
    let again = |seen: &Seen| matches!(seen, Seen::Crashed { now, .. } if matches!(**now, Seen::Ready { .. }));
    let Seen::Crashed { failure, .. } = testbed.until(&cluster, &workload.id, "ready again", again).await else {
        unreachable!()
    };
    assert_eq!((failure.exit_code, failure.restarts), (Some(7), 1), "{failure:?}");
    assert_eq!(failure.last_lines, ["serving", "KeyError"]);
    cluster.remove(&workload.id).await.unwrap();
}

async fn evicted(testbed: Testbed) {
    let cluster = testbed.cluster();
    let workload = scripted(&testbed, "trap 'exit 0' TERM; echo serving; while true; do sleep 0.1; done");
    cluster.apply(&workload).await.unwrap();
    testbed.until(&cluster, &workload.id, "ready", |seen| matches!(seen, Seen::Ready { .. })).await;
    let pods = testbed.objects::<Pod>();
    let pod = cluster.pods(&workload.id).await.unwrap().remove(0).pod;
    pods.evict(&pod, &EvictParams::default()).await.unwrap();
    // Its Job is complete by then: only a new one starts it again.
    testbed.until(&cluster, &workload.id, "gone", |seen| *seen == Seen::Gone).await;
    cluster.apply(&workload).await.unwrap();
    let other = |seen: &Seen| matches!(seen, Seen::Ready { pod: name, .. } if *name != pod);
    testbed.until(&cluster, &workload.id, "ready again", other).await;
    assert_eq!(cluster.mend(&workload).await.unwrap(), []);
    cluster.remove(&workload.id).await.unwrap();
}

async fn one_evicted(testbed: Testbed) {
    let cluster = testbed.cluster();
    let mut workload = scripted(&testbed, "trap 'exit 0' TERM; while true; do sleep 0.1; done");
    workload.pod.replicas = Some(2);
    cluster.apply(&workload).await.unwrap();
    testbed.until(&cluster, &workload.id, "ready", |seen| matches!(seen, Seen::Ready { .. })).await;
    let pod = cluster.pods(&workload.id).await.unwrap().remove(0).pod;
    testbed.objects::<Pod>().evict(&pod, &EvictParams::default()).await.unwrap();
    testbed.until(&cluster, &workload.id, "one short", |seen| matches!(seen, Seen::Starting { .. })).await;
    testbed.until(&cluster, &workload.id, "ready again", |seen| matches!(seen, Seen::Ready { .. })).await;
    assert_eq!(cluster.mend(&workload).await.unwrap(), []);
    cluster.remove(&workload.id).await.unwrap();
}

async fn suspended(testbed: Testbed) {
    let cluster = testbed.cluster();
    let workload = scripted(&testbed, "while true; do sleep 0.1; done");
    cluster.apply(&workload).await.unwrap();
    testbed.until(&cluster, &workload.id, "ready", |seen| matches!(seen, Seen::Ready { .. })).await;
    let (jobs, name) = (testbed.objects::<Job>(), workload_name(&workload.id));
    let patch = |fields| Patch::Merge(json!({"spec": fields}));
    jobs.patch(&name, &PatchParams::default(), &patch(json!({"suspend": true}))).await.unwrap();
    let held = |words: &'static str| {
        move |seen: &Seen| match seen {
            Seen::Starting { waits_for, held_by: HeldBy::Cluster } => waits_for.shown(str::to_owned).contains(words),
            _ => false,
        }
    };
    testbed.until(&cluster, &workload.id, "suspended", held("suspended")).await;
    jobs.patch(&name, &PatchParams::default(), &patch(json!({"suspend": false}))).await.unwrap();
    testbed.until(&cluster, &workload.id, "ready again", |seen| matches!(seen, Seen::Ready { .. })).await;
    jobs.patch(&name, &PatchParams::default(), &patch(json!({"parallelism": 0}))).await.unwrap();
    testbed.until(&cluster, &workload.id, "without a pod", held("parallelism")).await;
    assert_eq!(cluster.mend(&workload).await.unwrap(), [Mended { kind: "Job", was_missing: false }]);
    testbed.until(&cluster, &workload.id, "ready again", |seen| matches!(seen, Seen::Ready { .. })).await;
    cluster.remove(&workload.id).await.unwrap();
}

async fn probes(testbed: Testbed) {
    let cluster = testbed.cluster();
    let mut workload =
        scripted(&testbed, "sleep 8; touch /tmp/ready; sleep 8; rm /tmp/ready; while true; do sleep 0.1; done");
    workload.health = serde_json::from_value(json!({
        "readiness": {"exec": {"command": ["/bin/sh", "-c", "test -f /tmp/ready"]}, "period_s": 1, "failures": 1},
        "liveness": {"exec": {"command": ["/bin/sh", "-c", "test -f /tmp/ready"]}, "period_s": 1, "failures": 2},
    }))
    .unwrap();
    workload.start_s = 60;
    let begun = Instant::now();
    cluster.apply(&workload).await.unwrap();
    testbed.until(&cluster, &workload.id, "ready", |seen| matches!(seen, Seen::Ready { .. })).await;
    assert!(begun.elapsed() >= Duration::from_secs(8), "{:?}", begun.elapsed());
    let crashed = |seen: &Seen| matches!(seen, Seen::Crashed { .. });
    let Seen::Crashed { failure, .. } = testbed.until(&cluster, &workload.id, "killed", crashed).await else {
        unreachable!()
    };
    assert!(said(&failure).contains("liveness probe"), "{failure:?}");
    cluster.remove(&workload.id).await.unwrap();
}

async fn sdk_probe(testbed: Testbed) {
    let cluster = testbed.cluster();
    let mut workload = scripted(&testbed, "while true; do sleep 0.1; done");
    workload.env.insert("XPANDER_API_KEY".to_owned(), Secret::new("a-key-of-the-sdk"));
    cluster.apply(&workload).await.unwrap();
    let refused = |seen: &Seen| match seen {
        Seen::Starting { waits_for, .. } => waits_for.shown(str::to_owned).contains("connection refused"),
        _ => false,
    };
    testbed.until(&cluster, &workload.id, "refused", refused).await;
    let ready = |seen: &Seen| matches!(seen, Seen::Ready { for_s: 30.., .. });
    testbed.until(&cluster, &workload.id, "taken as ready", ready).await;
    cluster.remove(&workload.id).await.unwrap();
}

async fn mended(testbed: Testbed) {
    let cluster = testbed.cluster();
    let workload = scripted(&testbed, "while true; do sleep 0.1; done");
    cluster.apply(&workload).await.unwrap();
    testbed.until(&cluster, &workload.id, "ready", |seen| matches!(seen, Seen::Ready { .. })).await;
    assert_eq!(cluster.mend(&workload).await.unwrap(), []);
    let name = workload_name(&workload.id);
    testbed.objects::<NetworkPolicy>().delete(&name, &DeleteParams::default()).await.unwrap();
    testbed.objects::<KubeSecret>().delete(&name, &DeleteParams::default()).await.unwrap();
    let mut kinds: Vec<_> =
        cluster.mend(&workload).await.unwrap().iter().map(|one| (one.kind, one.was_missing)).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, [("NetworkPolicy", true), ("Secret", true)]);
    let open = Patch::Merge(json!({"spec": {"egress": [{}]}}));
    testbed.objects::<NetworkPolicy>().patch(&name, &PatchParams::default(), &open).await.unwrap();
    assert_eq!(cluster.mend(&workload).await.unwrap(), [Mended { kind: "NetworkPolicy", was_missing: false }]);
    assert_eq!(cluster.mend(&workload).await.unwrap(), []);
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
    assert!(said(&failure).contains("limit of 32Mi"), "{failure:?}");
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
    assert!(said(&failure).contains("resources.cpu"), "{failure:?}");
    cluster.remove(&workload.id).await.unwrap();
}

async fn architecture(testbed: Testbed) {
    let cluster = testbed.cluster();
    let mut workload = scripted(&testbed, "sleep 60");
    workload.architecture = "s390x".to_owned();
    let failure = failure(&testbed, &cluster, &workload).await;
    assert_eq!(failure.reason, FailureReason::Unschedulable, "{failure:?}");
    assert!(said(&failure).contains("s390x"), "{failure:?}");
    cluster.remove(&workload.id).await.unwrap();
}
