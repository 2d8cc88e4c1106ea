//! Reads the events of a task and of its sub-agents' tasks into one row. A stream that breaks is opened again after its last event.

use std::collections::BTreeSet;
use std::time::Duration;

use http::Method;
use tokio::sync::mpsc::Sender;
use tokio::task::JoinSet;

use super::event::Event;
use crate::client::{ClientError, Events, Server, json, lively_events, segment};

/// The longest row of attempts without an event: about two minutes.
const MAX_ATTEMPTS: u32 = 20;
/// The longest silence of a stream. The server sends a comment every 15 seconds.
const MAX_SILENCE: Duration = Duration::from_secs(60);
/// Sub-agents' tasks that are shown. More are told by their results.
const MAX_CHILDREN: usize = 32;
const MAX_DEPTH: usize = 8;

/// The place at which the following begins.
pub(crate) enum Start {
    /// With the task's creation.
    Invoke { path: String, body: Vec<u8>, once: String },
    /// With a task that exists, after this event.
    Task { id: String, after: u64 },
}

/// A piece of the row.
pub(super) enum Sent {
    Event {
        event: Event,
        depth: usize,
    },
    /// The task itself cannot be followed.
    Failed(anyhow::Error),
}

/// The streams of a task and its sub-agents.
pub(super) struct Followers {
    server: Server,
    sender: Sender<Sent>,
    tasks: JoinSet<()>,
    known: BTreeSet<String>,
}

impl Followers {
    pub(super) fn new(server: Server, sender: Sender<Sent>, start: Start) -> Self {
        let mut all = Self { server, sender, tasks: JoinSet::new(), known: BTreeSet::new() };
        let (server, sender) = (all.server.clone(), all.sender.clone());
        all.tasks.spawn(async move {
            let row = Row { server, sender, depth: 0, task: None, last: 0 };
            row.run(start).await;
        });
        all
    }

    /// Follows a sub-agent's task, once.
    pub(super) fn child(&mut self, task: &str, depth: usize) {
        if task.is_empty()
            || depth > MAX_DEPTH
            || self.known.len() >= MAX_CHILDREN
            || !self.known.insert(task.to_owned())
        {
            return;
        }
        let row = Row { server: self.server.clone(), sender: self.sender.clone(), depth, task: None, last: 0 };
        let start = Start::Task { id: task.to_owned(), after: 0 };
        self.tasks.spawn(row.run(start));
    }
}

struct Row {
    server: Server,
    sender: Sender<Sent>,
    depth: usize,
    task: Option<String>,
    last: u64,
}

/// The end of a stream.
#[derive(Debug, PartialEq, Eq)]
enum Broken {
    Finished,
    /// Nobody listens any more.
    Unheard,
    Open,
}

impl Row {
    async fn run(mut self, start: Start) {
        if let Start::Task { id, after } = &start {
            (self.task, self.last) = (Some(id.clone()), *after);
        }
        let mut in_vain = 0;
        loop {
            let before = self.last;
            match self.stream(&start).await {
                Ok(Broken::Finished | Broken::Unheard) => return,
                Ok(Broken::Open) => {}
                Err(error) => {
                    let busy = error.is_busy() && self.last > 0;
                    let lost = busy || (error.is_lost() && (self.last > 0 || self.task.is_none()));
                    let refused = matches!(error, ClientError::Unreachable { refused: true, .. }) && self.last == 0;
                    if !lost || refused || in_vain >= MAX_ATTEMPTS {
                        if self.depth == 0 {
                            let _ = self.sender.send(Sent::Failed(error.into())).await;
                        }
                        return;
                    }
                }
            }
            in_vain = if self.last == before { in_vain + 1 } else { 0 };
            tokio::time::sleep(Duration::from_millis(200 << in_vain.min(5))).await;
        }
    }

    async fn open(&self, start: &Start) -> Result<Events, ClientError> {
        let request = match (&self.task, start) {
            (Some(task), _) => {
                let request = self.server.request(Method::GET, &format!("/v1/tasks/{}/events", segment(task)));
                if self.last > 0 { request.header("last-event-id", self.last) } else { request }
            }
            // Sent again with the same key, it makes no second task.
            (None, Start::Invoke { path, body, once }) => {
                json(self.server.request(Method::POST, path), body.clone()).header("idempotency-key", once)
            }
            (None, Start::Task { id, .. }) => {
                self.server.request(Method::GET, &format!("/v1/tasks/{}/events", segment(id)))
            }
        };
        lively_events(request, MAX_SILENCE).await
    }

    async fn stream(&mut self, start: &Start) -> Result<Broken, ClientError> {
        let mut stream = self.open(start).await?;
        let mut finished = false;
        loop {
            let sent = match stream.next().await {
                Ok(Some(sent)) => sent,
                // The server ends the stream behind a task's last event.
                Ok(None) => return Ok(if finished { Broken::Finished } else { Broken::Open }),
                Err(_) if finished => return Ok(Broken::Finished),
                Err(error) => return Err(error),
            };
            let Some(event) = Event::read(sent.data.as_deref().unwrap_or_default()) else { continue };
            if event.id <= self.last {
                continue;
            }
            self.last = event.id;
            let task = self.task.get_or_insert_with(|| event.task_id.clone());
            if event.task_id != *task {
                continue;
            }
            finished = event.kind == "task_finished";
            if self.sender.send(Sent::Event { event, depth: self.depth }).await.is_err() {
                return Ok(Broken::Unheard);
            }
        }
    }
}
