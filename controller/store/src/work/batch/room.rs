//! The limit on unfinished tasks of an organization. Far from the limit a count of the last second suffices; near it the
//! tasks are counted in the batch itself. Two controllers that add at once may exceed it by what they add in a second.

use std::collections::{BTreeSet, HashMap};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use cofferdam_contract::OrganizationId;
use sqlx::{Any, Transaction};

use super::load::count_unfinished;
use super::ops::Op;
use crate::Error;
use crate::work::rows::Write;
use crate::work::rowset::Dialect;

/// The age of a count from which on it is made again.
const COUNT_AGE: Duration = Duration::from_secs(1);
/// Organizations whose counts are remembered.
const MAX_COUNTS: usize = 10_000;

/// Counts of unfinished tasks, from a moment ago.
#[derive(Debug, Default)]
pub(crate) struct Counts(Mutex<HashMap<OrganizationId, (Instant, u64)>>);

impl Counts {
    fn get(&self, organization: &OrganizationId) -> Option<u64> {
        let counts = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (at, count) = counts.get(organization)?;
        (at.elapsed() < COUNT_AGE).then_some(*count)
    }

    fn set(&self, organization: &OrganizationId, count: u64) {
        let mut counts = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if counts.len() >= MAX_COUNTS {
            counts.clear();
        }
        counts.insert(organization.clone(), (Instant::now(), count));
    }

    fn add(&self, organization: &OrganizationId) {
        let mut counts = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((_, count)) = counts.get_mut(organization) {
            *count += 1;
        }
    }
}

/// Places for new tasks in a batch.
#[derive(Debug)]
pub(super) struct Room<'a> {
    counts: &'a Counts,
    used: HashMap<OrganizationId, u64>,
}

impl<'a> Room<'a> {
    pub(super) async fn look(
        tx: &mut Transaction<'static, Any>,
        dialect: Dialect,
        counts: &'a Counts,
        ops: &[Op<'_>],
    ) -> Result<Self, Error> {
        let mut wanted: HashMap<&OrganizationId, (u64, u64)> = HashMap::new();
        for op in ops {
            if let Op::Write(Write::Add(new)) = op {
                let (adds, most) = wanted.entry(&new.task.organization).or_insert((0, u64::MAX));
                *adds += 1;
                *most = (*most).min(new.max_unfinished);
            }
        }
        let mut used = HashMap::new();
        let mut near = BTreeSet::new();
        for (organization, (adds, most)) in wanted {
            match counts.get(organization) {
                Some(count) if count.saturating_add(adds) <= most - most / 10 => {
                    used.insert(organization.clone(), count);
                }
                _ => {
                    near.insert(organization);
                }
            }
        }
        if !near.is_empty() {
            let mut found = count_unfinished(tx, dialect, &near).await?;
            for organization in near {
                let count = found.remove(organization).unwrap_or(0);
                counts.set(organization, count);
                used.insert(organization.clone(), count);
            }
        }
        Ok(Self { counts, used })
    }

    /// Returns false if the organization has as many as it may have.
    pub(super) fn has(&self, op: &Op<'_>) -> bool {
        let Op::Write(Write::Add(new)) = op else { return true };
        self.used.get(&new.task.organization).is_none_or(|used| *used < new.max_unfinished)
    }

    /// A task was added.
    pub(super) fn take(&mut self, op: &Op<'_>) {
        if let Op::Write(Write::Add(new)) = op {
            self.counts.add(&new.task.organization);
            if let Some(used) = self.used.get_mut(&new.task.organization) {
                *used += 1;
            }
        }
    }
}
