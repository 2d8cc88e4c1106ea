//! Calls that are with an upstream. One that takes longer than a moment is written down while it runs, with what it holds:
//! if the process dies, the record says so and the budgets have counted it. A short call is never written twice.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::account::Account;
use crate::ledger::Take;
use crate::queue::MAX_FLUSHED;
use crate::record::{Ending, Record};

/// A call that has been with upstreams for so long is written down.
const SHORT_MS: i64 = 800;
/// Parts of the list, so that calls seldom wait for each other.
const SHARDS: usize = 16;
/// Room for so many calls is kept in each part.
const MAX_SPARE: usize = 256;

/// A call's place in the list.
#[derive(Debug)]
pub(crate) struct Place(u64);

#[derive(Debug)]
struct Running {
    since_ms: i64,
    record: Record,
    takes: Vec<Take>,
    /// The store has the record as it is, or will have it.
    written: bool,
    /// The accounts have what the call holds as lasting.
    lasting: bool,
}

/// The calls that are with an upstream. As many as run: the list ends with them.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    shards: [Mutex<HashMap<u64, Running>>; SHARDS],
    last: AtomicU64,
}

impl Calls {
    fn shard(&self, place: &Place) -> Option<&Mutex<HashMap<u64, Running>>> {
        self.shards.get(usize::try_from(place.0).unwrap_or_default() % SHARDS)
    }

    /// A call is with an upstream from now on. `record` has what it may come to.
    pub(crate) fn begin(&self, record: Record, takes: &[Take], now_ms: i64) -> Place {
        let place = Place(self.last.fetch_add(1, Ordering::Relaxed));
        let running = Running { since_ms: now_ms, record, takes: takes.to_vec(), written: false, lasting: false };
        if let Some(shard) = self.shard(&place) {
            shard.lock().insert(place.0, running);
        }
        place
    }

    /// The call is with another upstream now.
    pub(crate) fn change(&self, place: &Place, record: Record) {
        let Some(shard) = self.shard(place) else { return };
        if let Some(running) = shard.lock().get_mut(&place.0) {
            (running.record, running.written) = (record, false);
        }
    }

    /// The call has ended. Returns its record if it is written down as running, and its accounts have what it holds as lasting.
    pub(crate) fn end(&self, place: &Place) -> Option<Record> {
        let shard = self.shard(place)?;
        let mut calls = shard.lock();
        let ended = calls.remove(&place.0);
        if calls.capacity() > MAX_SPARE && calls.len() < calls.capacity() / 4 {
            calls.shrink_to(MAX_SPARE);
        }
        drop(calls);
        ended.filter(|running| running.lasting).map(|running| running.record)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.shards.iter().all(|shard| shard.lock().is_empty())
    }

    /// The records of calls that are not short, or with `all` of all, as far as they are not written; and the accounts that
    /// have more from now on that lasts.
    pub(crate) fn take(&self, now_ms: i64, all: bool) -> (Vec<Record>, Vec<Arc<Account>>) {
        let (mut records, mut accounts) = (Vec::new(), Vec::new());
        for shard in &self.shards {
            for running in shard.lock().values_mut() {
                let age_ms = now_ms.saturating_sub(running.since_ms);
                if running.written || age_ms < SHORT_MS && !all || records.len() >= MAX_FLUSHED {
                    continue;
                }
                running.written = true;
                let mut record = Record { ending: Ending::Running, estimated: true, ..running.record.clone() };
                record.wall_ms = u32::try_from(age_ms).unwrap_or_default();
                record.bounded();
                records.push(record);
                if !std::mem::replace(&mut running.lasting, true) {
                    for take in &running.takes {
                        take.account.state().last_longer(take.amount);
                        accounts.push(Arc::clone(&take.account));
                    }
                }
            }
        }
        (records, accounts)
    }

    /// The store may have taken this process for dead: what was written is written again.
    pub(crate) fn write_again(&self) {
        for shard in &self.shards {
            shard.lock().values_mut().for_each(|running| running.written = false);
        }
    }
}
