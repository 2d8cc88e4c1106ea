//! Two controllers over one store: one as good as the other.

use std::collections::BTreeSet;
use std::time::Duration;

use cofferdam_core::Secret;
use cofferdam_testkit::Redis;
use cofferdam_testkit::worker::FakeWorker;
use cofferdam_workers::{RemoteWorker, Worker};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::remote::code_runner;
use crate::support::{ADMIN, TestApp};

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_used_through_either_controller_where_it_lives() {
    let (folder, stop) = (tempfile::tempdir().unwrap(), CancellationToken::new());
    let fakes: Vec<FakeWorker> = (0..3).map(|number| FakeWorker::start(folder.path(), number)).collect();
    let mut addresses = Vec::new();
    for fake in &fakes {
        addresses.push(RemoteWorker { authority: code_runner(fake, &stop).await });
    }
    let known = async || {
        let mut known = Vec::new();
        for address in &addresses {
            let worker = Worker::remote(address, Some(&Secret::new("hush"))).unwrap();
            worker.set_health(Some(worker.ping(Duration::from_secs(3)).await.unwrap()));
            known.push(worker);
        }
        known
    };
    let one = TestApp::over(known().await).await;
    let two = one.another_over(known().await, &[]).await;
    let mut used = BTreeSet::new();
    for at in 0..12 {
        let (maker, user) = if at % 2 == 0 { (&one, &two) } else { (&two, &one) };
        let session = maker.session(ADMIN).await;
        for app in [user, maker, user] {
            let run = json!({"code": format!("{at}"), "session": session});
            let ran = app.call(ADMIN, "POST", "/v1/runs", Some(run)).await;
            assert_eq!(ran.status, 200, "{}", String::from_utf8_lossy(&ran.body));
        }
        // The fake worker knows only its own sessions.
        let runs_in_it = |worker: &FakeWorker| {
            let runs = worker.seen.runs.lock().unwrap();
            runs.iter().filter(|run| run.request.session.as_ref().is_some_and(|id| id.as_str() == session)).count()
        };
        let runs: Vec<usize> = fakes.iter().map(runs_in_it).collect();
        assert_eq!(runs.iter().filter(|count| **count > 0).count(), 1, "{runs:?}");
        assert_eq!(runs.iter().sum::<usize>(), 3, "{runs:?}");
        used.extend(runs.iter().position(|count| *count > 0));
        let ended = user.call(ADMIN, "DELETE", &format!("/v1/sessions/{session}"), None).await;
        assert_eq!(ended.status, 204);
    }
    assert!(used.len() > 1, "only one worker was used: {used:?}");
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_holds_for_both_over_one_redis() {
    let Some(redis) = Redis::start() else { return };
    let url = redis.url("");
    let one = TestApp::with(0, &[("REDIS_URL", url.as_str())]).await;
    let two = one.another(&[("REDIS_URL", url.as_str())]).await;
    let spec = json!({"name": "limited", "scopes": ["run"], "requests_per_minute": 60});
    let made = one.call(ADMIN, "POST", "/v1/keys", Some(spec)).await.json();
    let key = made["key"].as_str().unwrap();
    // Both have connected when the second counts what the first has let through.
    for attempt in 0..50 {
        let mut taken = 0;
        for at in 0..20 {
            let app = if at % 2 == 0 { &one } else { &two };
            taken += usize::from(app.call(key, "GET", "/v1/sessions", None).await.status == 200);
        }
        if taken <= 12 {
            return;
        }
        assert!(attempt < 49, "{taken} of a burst of 10");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_on_a_local_worker_is_not_looked_for_on_anothers() {
    let one = TestApp::new().await;
    let folder = tempfile::tempdir().unwrap();
    let fake = FakeWorker::start(folder.path(), 0);
    let (own, other) = (one.app.status.workers.all()[0].clone(), fake.worker());
    own.set_home("local-1".to_owned());
    other.set_home("local-2".to_owned());
    other.set_health(Some(other.ping(Duration::from_secs(3)).await.unwrap()));
    let two = one.another_over(vec![other], &[]).await;
    let session = one.session(ADMIN).await;
    let run = json!({"code": "1", "session": session});
    // As it is when the worker is gone for a time: nothing is lost, and nothing is deleted.
    two.call(ADMIN, "POST", "/v1/runs", Some(run.clone())).await.problem(503, "unavailable");
    assert_eq!(one.call(ADMIN, "POST", "/v1/runs", Some(run)).await.status, 200);
    assert!(fake.seen.runs.lock().unwrap().is_empty());
}
