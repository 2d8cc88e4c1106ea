//! Records that wait for the store, in a queue of bounded length and size.

use std::sync::atomic::{AtomicUsize, Ordering};

use cofferdam_store::ModelCallRow;
use parking_lot::Mutex;

use crate::metrics::UsageMetrics;
use crate::record::Record;

/// The most records in one flush: a call that is short waits for the flush that is under way.
pub(crate) const MAX_FLUSHED: usize = 1_000;
/// The most bytes of contents that wait; beyond that a record waits without its content.
const MAX_CONTENTS_BYTES: usize = 64 << 20;

#[derive(Debug)]
pub(crate) struct Queue {
    records: Mutex<Vec<Record>>,
    /// Records in the queue, and those on their way to the store.
    waiting: AtomicUsize,
    contents: AtomicUsize,
    max: usize,
    metrics: UsageMetrics,
}

fn content_bytes(record: &Record) -> usize {
    record.content.as_ref().map_or(0, crate::record::Content::bytes)
}

impl Queue {
    pub(crate) fn new(max: usize, metrics: UsageMetrics) -> Self {
        Self { records: Mutex::default(), waiting: AtomicUsize::new(0), contents: AtomicUsize::new(0), max, metrics }
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// True while a call may begin.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting() < self.max
    }

    /// Queues a record. There is more room for those of calls that have begun.
    pub(crate) fn push(&self, mut record: Record, begun: bool) {
        record.bounded();
        self.metrics.count(&record);
        if self.waiting() >= if begun { self.max.saturating_mul(2) } else { self.max } {
            self.metrics.lost.inc();
            return;
        }
        let bytes = content_bytes(&record);
        if bytes > 0 && self.contents.fetch_add(bytes, Ordering::Relaxed) + bytes > MAX_CONTENTS_BYTES {
            self.contents.fetch_sub(bytes, Ordering::Relaxed);
            self.metrics.lost.inc();
            record.content = None;
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.metrics.waiting.inc();
        self.records.lock().push(record);
    }

    /// The oldest records, as the store's rows.
    pub(crate) fn take(&self) -> Vec<ModelCallRow> {
        let mut records = self.records.lock();
        let taken = if records.len() > MAX_FLUSHED {
            records.drain(..MAX_FLUSHED).collect()
        } else {
            std::mem::take(&mut *records)
        };
        drop(records);
        taken.into_iter().map(row).collect()
    }

    /// The store has these.
    pub(crate) fn written(&self, rows: &[ModelCallRow]) {
        let bytes =
            |row: &ModelCallRow| row.content.as_ref().map_or(0, |(request, answer)| request.len() + answer.len());
        self.contents.fetch_sub(rows.iter().map(bytes).sum(), Ordering::Relaxed);
        self.waiting.fetch_sub(rows.len(), Ordering::Relaxed);
        self.metrics.waiting.dec_by(i64::try_from(rows.len()).unwrap_or(0));
    }
}

pub(crate) fn row(record: Record) -> ModelCallRow {
    ModelCallRow {
        id: record.id,
        organization: record.who.organization,
        at_ms: record.at_ms,
        key: record.who.key,
        agent: record.who.agent,
        task: record.who.task,
        door: record.door.into(),
        asked: record.asked,
        served: record.served,
        upstream: record.upstream,
        tries: record.tries.into(),
        input: record.input,
        cached: record.cached,
        cache_written: record.cache_written,
        reasoning: record.reasoning,
        output: record.output,
        money: record.money,
        first_token_ms: record.first_token_ms.map(u64::from),
        wall_ms: record.wall_ms.into(),
        ending: record.ending.name().into(),
        estimated: record.estimated,
        content: record.content.map(|content| (content.request, content.answer)),
    }
}
