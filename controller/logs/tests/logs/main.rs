//! Agents' logs, from a cluster to a follower: every line once, in order, without secrets, whatever breaks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod attacks;
mod breaks;
mod reading;
mod stores;

use std::sync::Arc;
use std::time::Duration;

use cofferdam_cluster::{AnyCluster, WorkloadId};
use cofferdam_contract::{AgentId, LogLine, OrganizationId};
use cofferdam_logs::{Follower, LogMetrics, LogQuery, Logs, LogsConfig, Query};
use cofferdam_objects::AnyObjects;
use cofferdam_redact::Redactor;
use cofferdam_store::{DatabaseConfig, Store};
use futures_util::TryStreamExt as _;
use object_store::ObjectStoreExt as _;

pub const EVENT_TIMEOUT: Duration = Duration::from_secs(20);

/// The database and the object store, which outlive a controller.
struct Place {
    folder: tempfile::TempDir,
    pub objects: AnyObjects,
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let objects = cofferdam_objects::folder(&folder.path().join("objects")).unwrap();
        Self { folder, objects }
    }

    pub(crate) async fn logs(&self) -> Arc<Logs> {
        self.logs_with(LogsConfig::default()).await
    }

    pub(crate) async fn logs_with(&self, limits: LogsConfig) -> Arc<Logs> {
        let store = Store::open(&DatabaseConfig::sqlite(&self.folder.path().join("a.db"))).await.unwrap();
        Logs::new(store, Arc::clone(&self.objects), limits, LogMetrics::default())
    }

    /// All stored data, as text.
    pub(crate) async fn stored(&self) -> String {
        let all: Vec<_> = self.objects.list(None).try_collect().await.unwrap();
        let mut text = String::new();
        for meta in all {
            let bytes = self.objects.get(&meta.location).await.unwrap().bytes().await.unwrap();
            text.push_str(&String::from_utf8(zstd::stream::decode_all(&bytes[..]).unwrap()).unwrap());
        }
        text
    }
}

pub fn plain() -> Arc<Redactor> {
    Arc::new(Redactor::new([]).unwrap())
}

pub fn watch(logs: &Arc<Logs>, id: &WorkloadId, cluster: &AnyCluster) {
    logs.watch(id, cluster, plain());
}

/// An event that a follower received.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    Line(LogLine),
    Gap(String),
    End,
    Failed,
}

/// Reads events as an SSE client does.
pub struct Reader {
    follower: Follower,
    waiting: std::collections::VecDeque<Event>,
}

impl Reader {
    pub fn new(logs: &Arc<Logs>, agent: &str, query: Query) -> Self {
        let organization = OrganizationId::default_organization();
        let follower = logs.follow(&organization, &AgentId::parse(agent).unwrap(), query).unwrap();
        Self { follower, waiting: Default::default() }
    }

    /// Waits until it has begun: its position is fixed by its first bytes, not at its creation.
    pub async fn begun(mut self) -> Self {
        assert!(self.more().await && self.waiting.is_empty());
        self
    }

    async fn more(&mut self) -> bool {
        let Some(bytes) = self.follower.next().await else { return false };
        let text = std::str::from_utf8(&bytes).unwrap();
        assert!(text.ends_with("\n\n"), "{text:?}");
        for event in text.split_terminator("\n\n") {
            self.waiting.extend(parse(event));
        }
        true
    }

    /// The next event; `None` at the end of the stream. Skips keep-alive comments.
    pub async fn event(&mut self) -> Option<Event> {
        let event = async {
            while self.waiting.is_empty() && self.more().await {}
            self.waiting.pop_front()
        };
        tokio::time::timeout(EVENT_TIMEOUT, event).await.expect("nothing comes")
    }

    /// The next event, which must be a line.
    pub async fn line(&mut self) -> LogLine {
        match self.event().await {
            Some(Event::Line(line)) => line,
            other => panic!("not a line: {other:?}"),
        }
    }

    pub async fn lines(&mut self, count: usize) -> Vec<LogLine> {
        let mut lines = Vec::new();
        while lines.len() < count {
            lines.push(self.line().await);
        }
        lines
    }

    /// All events of a stream that does not follow.
    pub async fn rest(&mut self) -> Vec<LogLine> {
        let mut lines = Vec::new();
        loop {
            match self.event().await {
                Some(Event::Line(line)) => lines.push(line),
                Some(Event::End) => return lines,
                other => panic!("{other:?}"),
            }
        }
    }

    /// True if nothing arrives for this long.
    pub async fn is_quiet(&mut self, time: Duration) -> bool {
        self.waiting.is_empty() && tokio::time::timeout(time, self.follower.next()).await.is_err()
    }
}

fn parse(event: &str) -> Option<Event> {
    let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    if event.lines().all(|line| line.starts_with(':') || line.starts_with("retry: ")) {
        return None;
    }
    let data = field("data").unwrap();
    Some(match field("event").unwrap() {
        "log" => {
            let line: LogLine = serde_json::from_str(data).unwrap();
            assert_eq!(field("id").unwrap(), line.seq.to_string());
            assert_eq!(event.lines().count(), 3, "{event}");
            Event::Line(line)
        }
        "gap" => Event::Gap(data.to_owned()),
        "end" => Event::End,
        "failed" => Event::Failed,
        other => panic!("{other}"),
    })
}

pub fn ask(query: LogQuery) -> Query {
    query.understand(None).unwrap()
}

/// Reads the stored log to its end.
pub async fn history(logs: &Arc<Logs>, agent: &str) -> Vec<LogLine> {
    let query = ask(LogQuery { follow: Some("false".to_owned()), ..LogQuery::default() });
    Reader::new(logs, agent, query).rest().await
}

pub fn texts(lines: &[LogLine]) -> Vec<&str> {
    lines.iter().map(|line| line.line.as_str()).collect()
}

/// Asserts that the numbers increase.
pub fn in_order(lines: &[LogLine]) {
    for pair in lines.windows(2) {
        assert!(pair[0].seq < pair[1].seq, "{pair:?}");
    }
}
