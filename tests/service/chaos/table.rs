//! The actions, their ends and their times: the table that is printed at the end.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Mutex;
use std::time::Duration;

/// Latencies that are kept for each action; of more, every second is dropped.
const MAX_LATENCIES: usize = 20_000;

#[derive(Default)]
struct Row {
    outcomes: BTreeMap<&'static str, u64>,
    latencies: Vec<u32>,
    /// Every so many are kept.
    every: u64,
    count: u64,
}

#[derive(Default)]
pub(super) struct Table(Mutex<BTreeMap<&'static str, Row>>);

impl Table {
    pub(super) fn note(&self, action: &'static str, outcome: &'static str, took: Duration) {
        let mut rows = self.0.lock().unwrap();
        let row = rows.entry(action).or_default();
        *row.outcomes.entry(outcome).or_default() += 1;
        row.count += 1;
        if row.count.is_multiple_of(row.every.max(1)) {
            row.latencies.push(took.as_micros().try_into().unwrap_or(u32::MAX));
        }
        if row.latencies.len() > MAX_LATENCIES {
            let mut keep = false;
            row.latencies.retain(|_| {
                keep = !keep;
                keep
            });
            row.every = row.every.max(1) * 2;
        }
    }

    pub(super) fn text(&self) -> String {
        let mut text = format!("{:<18} {:>8} {:>9} {:>9}  outcomes\n", "action", "count", "p50 ms", "p99 ms");
        for (action, row) in self.0.lock().unwrap().iter_mut() {
            row.latencies.sort_unstable();
            let at = |hundredths: usize| {
                let index = row.latencies.len().saturating_sub(1) * hundredths / 100;
                f64::from(row.latencies.get(index).copied().unwrap_or_default()) / 1_000.0
            };
            let outcomes: Vec<String> = row.outcomes.iter().map(|(name, count)| format!("{name} {count}")).collect();
            let (p50, p99, outcomes) = (at(50), at(99), outcomes.join(", "));
            let _ = writeln!(text, "{action:<18} {:>8} {p50:>9.1} {p99:>9.1}  {outcomes}", row.count);
        }
        text
    }
}
