//! The object store and the database behind logs: slow, failing, shared by several controllers, left by deleted agents.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cofferdam_core::Secret;
use cofferdam_logs::{LogQuery, LogsConfig};
use cofferdam_objects::{AnyObjects, S3, s3};
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt as _, StreamExt as _};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};

use super::{Event, Place, Reader, ask, history, in_order, texts, watch};
use cofferdam_testkit::cluster::{FakeCluster, workload};

/// An object store that can be down.
#[derive(Debug)]
struct Flaky {
    inner: AnyObjects,
    down: Arc<AtomicBool>,
}

impl fmt::Display for Flaky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("flaky")
    }
}

impl Flaky {
    fn up(&self) -> Result<()> {
        match self.down.load(Ordering::SeqCst) {
            true => Err(object_store::Error::Generic { store: "flaky", source: "it is down".into() }),
            false => Ok(()),
        }
    }
}

// Written as the attribute macro `async_trait` would, which this crate does not have.
impl ObjectStore for Flaky {
    fn put_opts<'a, 'b, 'c>(
        &'a self,
        location: &'b Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<PutResult>> + Send + 'c>>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        async move {
            self.up()?;
            self.inner.put_opts(location, payload, options).await
        }
        .boxed()
    }

    fn put_multipart_opts<'a, 'b, 'c>(
        &'a self,
        location: &'b Path,
        options: PutMultipartOptions,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<Box<dyn MultipartUpload>>> + Send + 'c>>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        self.inner.put_multipart_opts(location, options)
    }

    fn get_opts<'a, 'b, 'c>(
        &'a self,
        location: &'b Path,
        options: GetOptions,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<GetResult>> + Send + 'c>>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        async move {
            self.up()?;
            self.inner.get_opts(location, options).await
        }
        .boxed()
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.up() {
            Ok(()) => self.inner.list(prefix),
            Err(error) => futures_util::stream::iter([Err(error)]).boxed(),
        }
    }

    fn list_with_delimiter<'a, 'b, 'c>(
        &'a self,
        prefix: Option<&'b Path>,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<ListResult>> + Send + 'c>>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        self.inner.list_with_delimiter(prefix)
    }

    fn copy_opts<'a, 'b, 'c, 'd>(
        &'a self,
        from: &'b Path,
        to: &'c Path,
        options: CopyOptions,
    ) -> BoxFuture<'d, Result<()>>
    where
        'a: 'd,
        'b: 'd,
        'c: 'd,
        Self: 'd,
    {
        self.inner.copy_opts(from, to, options)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_down_for_a_while_costs_no_line() {
    let (mut place, (cluster, any)) = (Place::new(), FakeCluster::pair());
    let down = Arc::new(AtomicBool::new(true));
    place.objects = Arc::new(Flaky { inner: Arc::clone(&place.objects), down: Arc::clone(&down) });
    let logs = place.logs_with(LogsConfig { rate: 1 << 30, ..LogsConfig::default() }).await;
    let id = workload("a", 1);
    let pod = cluster.pod(&id, "p", 0);
    watch(&logs, &id, &any);
    pod.write("0");
    // Down at the start: a follower is told so, and nothing is collected before it is known how far that was.
    let mut early = Reader::new(&logs, "a", ask(LogQuery::default()));
    assert_eq!(early.event().await, Some(Event::Failed));
    assert_eq!(early.event().await, None);
    down.store(false, Ordering::SeqCst);
    let mut reader = Reader::new(&logs, "a", ask(LogQuery::default()));
    assert_eq!(reader.line().await.line, "0");
    // Down in between: lines are live until too many are unwritten, then wait where they are.
    down.store(true, Ordering::SeqCst);
    const LINES: usize = 60_000;
    pod.write_all((1..LINES).map(|n| format!("{n} {}", "w".repeat(100))));
    let mut lines = reader.lines(5_000).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    down.store(false, Ordering::SeqCst);
    lines.extend(reader.lines(LINES - 1 - 5_000).await);
    assert!(lines.iter().enumerate().all(|(n, line)| line.line.starts_with(&format!("{} w", n + 1))));
    logs.close().await;
    let again = place.logs().await;
    let stored = history(&again, "a").await;
    in_order(&stored);
    assert_eq!(stored[1..], lines);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_controller_shows_what_this_one_collects_and_takes_over() {
    let (place, (cluster, any)) = (Place::new(), FakeCluster::pair());
    let (one, two) = (place.logs().await, place.logs().await);
    let id = workload("a", 1);
    let pod = cluster.pod(&id, "p", 0);
    let mut early = Reader::new(&two, "a", ask(LogQuery::default()));
    assert!(early.is_quiet(Duration::from_millis(50)).await || early.waiting.is_empty());
    watch(&one, &id, &any);
    let mut all = Vec::new();
    for n in 0..6 {
        let written = std::time::Instant::now();
        pod.write(&n.to_string());
        all.push(early.line().await);
        assert!(written.elapsed() < Duration::from_millis(4_500), "{:?}", written.elapsed());
    }
    let mut late = Reader::new(&two, "a", ask(LogQuery { tail: Some(2), ..LogQuery::default() }));
    assert_eq!(texts(&late.lines(2).await), ["4", "5"]);
    // The lease goes over; followers of both see the stream go on.
    let mut of_one = Reader::new(&one, "a", ask(LogQuery { tail: Some(1), ..LogQuery::default() }));
    assert_eq!(of_one.line().await.line, "5");
    one.unwatch(&id, true).await;
    pod.write("6");
    watch(&two, &id, &any);
    pod.write("7");
    for reader in [&mut early, &mut late, &mut of_one] {
        assert_eq!(texts(&reader.lines(2).await), ["6", "7"]);
    }
    // And back, by one whose lease was taken from it: what it has not stored is not its to store.
    watch(&one, &id, &any);
    two.unwatch(&id, false).await;
    pod.write("8");
    for reader in [&mut early, &mut late, &mut of_one] {
        loop {
            // Both read for a moment: a line may come from either, under numbers of its own.
            let line = reader.line().await;
            if line.line == "8" {
                break;
            }
        }
    }
    one.close().await;
    two.close().await;
    let after = place.logs().await;
    in_order(&history(&after, "a").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_agents_log_is_gone_and_its_numbers_are_not_used_again() {
    let (place, (cluster, any)) = (Place::new(), FakeCluster::pair());
    let logs = place.logs().await;
    let id = workload("a", 1);
    let pod = cluster.pod(&id, "p", 0);
    watch(&logs, &id, &any);
    pod.write("old");
    let mut reader = Reader::new(&logs, "a", ask(LogQuery::default()));
    let old = reader.line().await;
    drop(reader);
    logs.drain(&id).await;
    logs.unwatch(&id, true).await;
    assert_eq!(logs.sweep().await.unwrap(), 0, "it is young");
    logs.forget(&id.organization, &id.agent).await.unwrap();
    cluster.remove_pods(&id);
    assert_eq!(history(&logs, "a").await, []);
    assert_eq!(place.stored().await, "");
    let pod = cluster.pod(&id, "p2", 0);
    pod.write("new");
    watch(&logs, &id, &any);
    let mut reader = Reader::new(&logs, "a", ask(LogQuery::default()));
    let new = reader.line().await;
    assert!(new.line == "new" && new.seq > old.seq);
    logs.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_logs_that_nobody_uses_are_swept() {
    let (place, (cluster, any)) = (Place::new(), FakeCluster::pair());
    let logs = place.logs_with(LogsConfig { days: 3, ..LogsConfig::default() }).await;
    for agent in ["old", "young"] {
        let id = workload(agent, 1);
        cluster.pod(&id, "p", 0).write("x");
        watch(&logs, &id, &any);
        assert_eq!(Reader::new(&logs, agent, ask(LogQuery::default())).line().await.line, "x");
        logs.unwatch(&id, true).await;
    }
    let folder = place.folder.path().join("objects/logs/default/old");
    let old = std::time::SystemTime::now() - Duration::from_secs(4 * 86_400);
    for file in std::fs::read_dir(folder).unwrap() {
        std::fs::File::options().write(true).open(file.unwrap().path()).unwrap().set_modified(old).unwrap();
    }
    assert_eq!(logs.sweep().await.unwrap(), 1);
    assert_eq!((history(&logs, "old").await.len(), history(&logs, "young").await.len()), (0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3_keeps_logs() {
    let Ok(endpoint) = std::env::var("COFFERDAM_TEST_AWS") else {
        eprintln!("SKIPPED: COFFERDAM_TEST_AWS names no server that speaks S3");
        return;
    };
    let bucket = format!("logs-{}", std::process::id());
    let client = Client::builder(TokioExecutor::new()).build_http::<http_body_util::Empty<bytes::Bytes>>();
    let request = http::Request::put(format!("{endpoint}/{bucket}")).body(http_body_util::Empty::new()).unwrap();
    assert!(client.request(request).await.unwrap().status().is_success());
    let settings = S3 {
        bucket,
        region: "us-east-1".to_owned(),
        endpoint: Some(endpoint),
        credentials: Some(("test".to_owned(), Secret::new("test"))),
    };
    let (mut place, (cluster, any)) = (Place::new(), FakeCluster::pair());
    place.objects = Arc::new(s3(&settings).unwrap());
    let (logs, other) = (place.logs().await, place.logs().await);
    let id = workload("a", 1);
    let pod = cluster.pod(&id, "p", 0);
    watch(&logs, &id, &any);
    let mut elsewhere = Reader::new(&other, "a", ask(LogQuery::default()));
    for round in 0..3 {
        pod.write_all((0..2_000).map(|n| format!("{} {}", round * 2_000 + n, "v".repeat(120))));
        for n in 0..2_000 {
            let line = elsewhere.line().await;
            assert!(line.line.starts_with(&format!("{} v", round * 2_000 + n)), "{}", line.line);
        }
    }
    logs.close().await;
    let again = place.logs().await;
    let stored = history(&again, "a").await;
    assert_eq!(stored.len(), 6_000);
    in_order(&stored);
    watch(&again, &id, &any);
    pod.write("goes on");
    let query = LogQuery::default().understand(Some(&stored[5_998].seq.to_string())).unwrap();
    let lines = Reader::new(&again, "a", query).lines(2).await;
    assert_eq!((lines[0] == stored[5_999], lines[1].line.as_str()), (true, "goes on"));
    again.forget(&id.organization, &id.agent).await.unwrap();
    assert_eq!(place.stored().await, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_does_not_exist_is_named_as_such() {
    let Ok(endpoint) = std::env::var("COFFERDAM_TEST_AWS") else {
        eprintln!("SKIPPED: COFFERDAM_TEST_AWS names no server that speaks S3");
        return;
    };
    let settings = S3 {
        bucket: format!("nowhere-{}", std::process::id()),
        region: "us-east-1".to_owned(),
        endpoint: Some(endpoint),
        credentials: Some(("test".to_owned(), Secret::new("test"))),
    };
    let mut place = Place::new();
    place.objects = Arc::new(s3(&settings).unwrap());
    let logs = place.logs().await;
    let error = logs.sweep().await.unwrap_err().to_string();
    assert!(error.contains("bucket") || error.contains("NoSuchBucket"), "{error}");
}
