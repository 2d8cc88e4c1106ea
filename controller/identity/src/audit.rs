//! The audit log: who changed what, and who was refused. An entry is written right after its change, in groups; one that the store
//! does not take waits, and what does not fit is counted and told to the log.
//!
//! Never holds a secret's value: entries have names, ids and counts.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cofferdam_contract::OrganizationId;
use cofferdam_core::{Caller, chain, every, now_ms, random_bits};
use cofferdam_store::{AuditQuery, AuditRow, Store};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::{Mutex as AsyncMutex, Notify};
use tokio_util::sync::CancellationToken;

use crate::{Error, Keyring};

/// The most entries in one page of a list.
pub const MAX_AUDIT_PAGE: u32 = 1_000;

/// The most entries that wait for the store.
const MAX_QUEUED: usize = 10_000;
/// The entries that are written at once.
const MAX_WRITTEN: usize = 500;
/// The longest text of an action, a target or an address, in characters.
const MAX_TEXT: usize = 300;
/// The longest detail, in bytes of JSON.
const MAX_DETAIL_BYTES: usize = 8 << 10;
/// The wait after a write that failed.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// The time that a call waits for its entry. After it, the entry is still written.
const WRITTEN_TIMEOUT: Duration = Duration::from_secs(2);
/// The time between two writes of refused callers, and two sweeps.
const REFUSED_INTERVAL: Duration = Duration::from_secs(60);
/// The time that the last write may take.
const LAST_TIMEOUT: Duration = Duration::from_secs(2);

/// The bounds of the audit log.
#[derive(Debug, Clone, Copy)]
pub struct AuditConfig {
    /// Entries are kept for so many days.
    pub keep_days: u32,
    /// The newest entries of changes that each organization keeps.
    pub max_changes: u64,
    /// The newest entries of refused callers that each organization keeps.
    pub max_refusals: u64,
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self { keep_days: 365, max_changes: 100_000, max_refusals: 10_000 }
    }
}

/// The outcome of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// It may have happened in part.
    Failed,
    /// The caller went away, and the change may have happened or not.
    Unknown,
}

impl Outcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

/// The place of an entry among those that were noted: [`Audit::written`] waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// Entries to look for.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Only entries after the one with this id.
    pub after: Option<String>,
    /// Only entries before the one with this id.
    pub before: Option<String>,
    /// The action, or its first part: `key` finds `key.create`.
    pub action: Option<String>,
    /// The id of a key.
    pub key: Option<String>,
}

/// A page of entries, the newest first.
#[derive(Debug, Clone)]
pub struct AuditPage {
    pub entries: Vec<AuditRow>,
    /// The next page's `before`; absent on the last page.
    pub next: Option<String>,
}

#[derive(Default)]
struct Queue {
    rows: VecDeque<AuditRow>,
    /// Entries that were ever noted.
    noted: u64,
    last_ms: i64,
    count: u32,
}

/// The audit log of all organizations.
pub struct Audit {
    store: Store,
    keyring: Arc<Keyring>,
    config: AuditConfig,
    queue: Mutex<Queue>,
    wake: Notify,
    /// The newest entry that is written. Held while entries are written.
    written: AsyncMutex<u64>,
    lost: AtomicU64,
}

impl Audit {
    pub fn new(store: Store, keyring: Arc<Keyring>, config: AuditConfig) -> Self {
        Self {
            store,
            keyring,
            config,
            queue: Mutex::default(),
            wake: Notify::new(),
            written: AsyncMutex::new(0),
            lost: AtomicU64::new(0),
        }
    }

    /// Notes a change. `detail` is an object of names, ids and counts, never of secrets.
    pub fn note(
        &self,
        caller: &Caller,
        address: Option<std::net::IpAddr>,
        action: &str,
        target: &str,
        outcome: Outcome,
        detail: &Value,
    ) -> Ticket {
        let address = address.map(|address| address.to_canonical().to_string()).unwrap_or_default();
        let who = (&caller.organization, caller.key.as_str());
        self.push(who, &address, action, target, outcome.as_str(), detail)
    }

    fn push(
        &self,
        (organization, key): (&OrganizationId, &str),
        address: &str,
        action: &str,
        target: &str,
        outcome: &str,
        detail: &Value,
    ) -> Ticket {
        let mut detail = detail.to_string();
        if detail.len() > MAX_DETAIL_BYTES {
            detail = json!({"left_out_bytes": detail.len()}).to_string();
        }
        let mut queue = self.queue.lock();
        queue.noted = queue.noted.saturating_add(1);
        let ticket = Ticket(queue.noted);
        if queue.rows.len() >= MAX_QUEUED {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return ticket;
        }
        // In the order of time, also if the clock goes back a little.
        let at_ms = now_ms().max(queue.last_ms);
        queue.count = if at_ms == queue.last_ms { queue.count.wrapping_add(1) } else { 0 };
        queue.last_ms = at_ms;
        let row = AuditRow {
            id: entry_id(at_ms, queue.count),
            organization: organization.clone(),
            at_ms,
            key: short(key),
            action: short(action),
            target: short(target),
            outcome: outcome.to_owned(),
            address: short(address),
            detail,
        };
        queue.rows.push_back(row);
        drop(queue);
        self.wake.notify_one();
        ticket
    }

    /// Waits until an entry is written, for a bounded time. Whoever waits first writes what all others have noted meanwhile.
    pub async fn written(&self, ticket: Ticket) {
        // An entry that the store does not take in time stays in the queue, and the log says why.
        let _ = tokio::time::timeout(WRITTEN_TIMEOUT, self.write(ticket)).await;
    }

    /// An organization's entries, the newest first.
    ///
    /// # Errors
    /// The store failed.
    pub async fn list(&self, caller: &Caller, filter: AuditFilter, limit: u32) -> Result<AuditPage, Error> {
        let query = AuditQuery {
            after: filter.after.unwrap_or_default(),
            before: filter.before.unwrap_or_default(),
            action: filter.action.unwrap_or_default(),
            key: filter.key.unwrap_or_default(),
        };
        let limit = limit.clamp(1, MAX_AUDIT_PAGE);
        let mut entries = self.store.audit(&caller.organization, &query, i64::from(limit).saturating_add(1)).await?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = entries.len() > limit;
        entries.truncate(limit);
        let next = entries.last().filter(|_| more).map(|row| row.id.clone());
        Ok(AuditPage { entries, next })
    }

    /// Writes entries as they come, refused callers each minute, and forgets old entries, until `stop`; then writes the rest.
    pub async fn keep(self: Arc<Self>, stop: CancellationToken) {
        let mut minutes = every(REFUSED_INTERVAL);
        minutes.tick().await;
        loop {
            tokio::select! {
                () = self.wake.notified() => {}
                _ = minutes.tick() => {
                    self.note_refusals();
                    self.sweep().await;
                }
                () = stop.cancelled() => break,
            }
            while !self.write(self.newest()).await {
                tokio::select! {
                    () = tokio::time::sleep(RETRY_INTERVAL) => {}
                    () = stop.cancelled() => break,
                }
                if stop.is_cancelled() {
                    break;
                }
            }
        }
        self.note_refusals();
        if !tokio::time::timeout(LAST_TIMEOUT, self.write(self.newest())).await.unwrap_or(false) {
            let left = self.queue.lock().rows.len();
            tracing::error!(left, "entries of the audit log were lost at the end");
        }
    }

    /// Notes the callers that were refused since the last time.
    pub fn note_refusals(&self) {
        for (refusal, times) in self.keyring.refusals().drain() {
            let detail = json!({
                "reason": refusal.reason, "times": times.count,
                "first": cofferdam_contract::Timestamp(times.first_ms),
                "last": cofferdam_contract::Timestamp(times.last_ms),
            });
            let who = (&refusal.organization, refusal.key.as_str());
            self.push(who, &refusal.address, "authentication.refuse", "", "refused", &detail);
        }
    }

    /// Writes what waits up to an entry. Returns false if the store did not take it. An entry leaves the queue when it is written,
    /// so that one whose writer was given up is written again, which changes nothing.
    async fn write(&self, until: Ticket) -> bool {
        let mut written = self.written.lock().await;
        while *written < until.0 {
            let (rows, newest) = {
                let queue = self.queue.lock();
                let rows: Vec<AuditRow> = queue.rows.iter().take(MAX_WRITTEN).cloned().collect();
                let left = queue.rows.len().saturating_sub(rows.len());
                // Nobody waits any longer for an entry that was lost.
                (rows, queue.noted.saturating_sub(u64::try_from(left).unwrap_or(u64::MAX)))
            };
            let lost = self.lost.swap(0, Ordering::Relaxed);
            if lost > 0 {
                tracing::error!(lost, "entries of the audit log were lost: the store took none for too long");
            }
            if let Err(error) = self.store.add_audit(&rows).await {
                tracing::warn!(error = %chain(&error), "writing the audit log failed; retrying");
                return false;
            }
            self.queue.lock().rows.drain(..rows.len());
            *written = newest;
        }
        true
    }

    /// The newest entry.
    fn newest(&self) -> Ticket {
        Ticket(self.queue.lock().noted)
    }

    async fn sweep(&self) {
        let days = i64::from(self.config.keep_days);
        let before = now_ms().saturating_sub(days.saturating_mul(86_400_000));
        for (refused, max) in [(false, self.config.max_changes), (true, self.config.max_refusals)] {
            match self.store.sweep_audit(before, refused, max).await {
                Ok(0) => {}
                Ok(forgotten) => tracing::info!(forgotten, refused, "old entries of the audit log were forgotten"),
                Err(error) => tracing::warn!(error = %chain(&error), "sweeping the audit log failed; retrying"),
            }
        }
    }
}

/// An id that is in the order of time.
fn entry_id(at_ms: i64, count: u32) -> String {
    let bits = random_bits().unwrap_or_default() & u128::from(u32::MAX);
    format!("aud_{at_ms:012x}{count:06x}{bits:08x}")
}

/// The first characters of a text, without control characters.
fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_TEXT).collect()
}
