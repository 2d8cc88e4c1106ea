//! An agent's newest lines in memory, and the list of its segments. Lines that are in no segment yet are always in
//! memory. Pure but for the clock it is told.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use cofferdam_contract::LogLine;

use crate::batch::{Batch, BatchBuilder};
use crate::positions::Positions;
use crate::segment::SegmentInfo;

/// Lines that are in segments are kept in memory up to this weight, for followers that are almost up to date.
const MAX_KEPT: usize = 1 << 20;

#[derive(Default)]
pub(crate) struct State {
    building: BatchBuilder,
    ring: VecDeque<Arc<Batch>>,
    ring_weight: usize,
    /// All lines after this one are in memory.
    floor: u64,
    /// All lines up to this one are in segments.
    flushed: u64,
    /// Weight of the sealed lines that are in no segment.
    unflushed: usize,
    /// The time of the first line that is in no segment.
    pub unflushed_since: Option<Instant>,
    /// The last time that followers were told of new lines.
    pub published_at: Option<Instant>,
    pub positions: Positions,
    /// Oldest first.
    index: Vec<SegmentInfo>,
    /// Counts the tasks that have fed this state. Lines of an earlier task are not taken.
    pub epoch: u64,
}

/// The lines after a given line.
pub(crate) enum After {
    /// The next lines. The first of them may be known already.
    Batch(Arc<Batch>),
    /// There are none yet.
    UpToDate,
    /// The lines have to be read from segments, up to this one.
    Behind(u64),
}

/// The place of a line in segments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub segment: SegmentInfo,
    /// The first line of the segment after it.
    pub next: Option<u64>,
}

impl State {
    /// Starts over with nothing in memory: all lines up to `floor` are in segments.
    pub(crate) fn restart(&mut self, floor: u64, index: Vec<SegmentInfo>, positions: Positions) {
        let epoch = self.epoch + 1;
        *self = Self { floor, flushed: floor, index, positions, epoch, ..Self::default() };
    }

    /// Adds a line. Its number has to be higher than all before.
    pub(crate) fn push(&mut self, line: &LogLine, now: Instant) {
        self.building.push(line);
        self.unflushed_since.get_or_insert(now);
        if self.building.is_full() {
            self.seal();
        }
    }

    /// Makes the newest lines visible.
    pub(crate) fn seal(&mut self) {
        if let Some(batch) = self.building.seal() {
            self.unflushed += batch.weight();
            self.ring_weight += batch.weight();
            self.ring.push_back(batch);
        }
    }

    /// Adds a batch that was read from a segment.
    pub(crate) fn mirror(&mut self, batch: Arc<Batch>) {
        if batch.last() > self.last() {
            self.ring_weight += batch.weight();
            self.ring.push_back(batch);
        }
        self.flushed = self.last();
        self.trim();
    }

    /// The last visible line.
    pub(crate) fn last(&self) -> u64 {
        self.ring.back().map_or(self.floor, |batch| batch.last())
    }

    pub(crate) fn unflushed_weight(&self) -> usize {
        self.unflushed + self.building.weight()
    }

    /// Seals, and returns the lines that are in no segment.
    pub(crate) fn take_unflushed(&mut self) -> Vec<Arc<Batch>> {
        self.seal();
        let known = self.ring.partition_point(|batch| batch.last() <= self.flushed);
        self.ring.iter().skip(known).cloned().collect()
    }

    /// Notes that these lines are in a segment.
    pub(crate) fn flushed(&mut self, batches: &[Arc<Batch>], segment: SegmentInfo, now: Instant) {
        self.flushed = batches.last().map_or(self.flushed, |batch| batch.last());
        self.unflushed = self.unflushed.saturating_sub(batches.iter().map(|batch| batch.weight()).sum());
        self.unflushed_since = (self.unflushed_weight() > 0).then_some(now);
        match self.index.last_mut().filter(|last| last.first == segment.first) {
            Some(last) => *last = segment,
            None => self.index.push(segment),
        }
        self.trim();
    }

    fn trim(&mut self) {
        while self.ring_weight > MAX_KEPT
            && let Some(oldest) = self.ring.front().filter(|batch| batch.last() <= self.flushed)
        {
            self.floor = oldest.last();
            self.ring_weight -= oldest.weight();
            self.ring.pop_front();
        }
    }

    /// Drops the lines that are in no segment: another controller collects them.
    pub(crate) fn forget_unflushed(&mut self) {
        self.building = BatchBuilder::default();
        while self.ring.pop_back_if(|batch| batch.last() > self.flushed).is_some() {}
        self.ring_weight = self.ring.iter().map(|batch| batch.weight()).sum();
        (self.unflushed, self.unflushed_since) = (0, None);
        self.floor = self.floor.min(self.flushed);
    }

    pub(crate) fn after(&self, seq: u64) -> After {
        if seq < self.floor {
            return After::Behind(self.floor);
        }
        let known = self.ring.partition_point(|batch| batch.last() <= seq);
        self.ring.get(known).map_or(After::UpToDate, |batch| After::Batch(Arc::clone(batch)))
    }

    /// The batches in memory, newest first.
    pub(crate) fn ring(&self) -> Vec<Arc<Batch>> {
        self.ring.iter().rev().cloned().collect()
    }

    pub(crate) fn floor(&self) -> u64 {
        self.floor
    }

    pub(crate) fn index(&self) -> &[SegmentInfo] {
        &self.index
    }

    /// Replaces the segments from a number on.
    pub(crate) fn update_index(&mut self, from: u64, newer: Vec<SegmentInfo>) {
        self.index.truncate(self.index.partition_point(|info| info.first < from));
        self.index.extend(newer);
    }

    /// Removes a segment that is gone from the store.
    pub(crate) fn drop_segment(&mut self, first: u64) {
        self.index.retain(|info| info.first != first);
    }

    /// Finds the segment that has the first line from `seq` on.
    pub(crate) fn place(&self, seq: u64) -> Option<Place> {
        let behind = self.index.partition_point(|info| info.first <= seq);
        let at = behind.saturating_sub(1);
        let segment = self.index.get(at)?.clone();
        Some(Place { segment, next: self.index.get(at + 1).map(|info| info.first) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(state: &mut State, numbers: std::ops::Range<u64>) {
        for seq in numbers {
            let time = "2026-11-22T01:02:03Z".to_owned();
            let line = LogLine { seq, time, pod: "p".into(), version: 1, line: "x".repeat(100) };
            state.push(&line, Instant::now());
        }
    }

    fn flush(state: &mut State) -> Vec<u64> {
        let batches = state.take_unflushed();
        let first = batches.first().map_or(0, |batch| batch.first());
        state.flushed(&batches, SegmentInfo { first, first_ms: 0, size: 1 }, Instant::now());
        batches.iter().flat_map(|batch| batch.lines()).map(|line| line.seq).collect()
    }

    /// The new lines for a follower that has seen `seq`, until it is up to date or falls behind.
    fn read(state: &State, mut seq: u64) -> Result<Vec<u64>, u64> {
        let mut seen = Vec::new();
        loop {
            match state.after(seq) {
                After::Batch(batch) => {
                    seen.extend(batch.lines().map(|line| line.seq).filter(|found| *found > seq));
                    seq = batch.last();
                }
                After::UpToDate => return Ok(seen),
                After::Behind(floor) => return Err(floor),
            }
        }
    }

    #[test]
    fn what_is_in_no_segment_is_never_dropped() {
        let mut state = State::default();
        state.restart(10, vec![], Positions::default());
        push(&mut state, 11..30_000);
        state.seal();
        assert_eq!(read(&state, 10).unwrap(), (11..30_000).collect::<Vec<_>>());
        assert!(state.unflushed_weight() > 2 * MAX_KEPT);
        assert_eq!(flush(&mut state), (11..30_000).collect::<Vec<_>>());
        assert_eq!((state.unflushed_weight(), state.unflushed_since), (0, None));
        let floor = read(&state, 10).unwrap_err();
        assert!(floor > 20_000 && state.ring_weight <= MAX_KEPT, "{floor}");
        assert_eq!(read(&state, floor).unwrap(), (floor + 1..30_000).collect::<Vec<_>>());
        assert_eq!(read(&state, 1_000_000).unwrap(), Vec::<u64>::new());
        assert!(flush(&mut state).is_empty());
    }

    #[test]
    fn a_new_feeder_goes_on_behind_a_hole() {
        let mut state = State::default();
        push(&mut state, 1..5);
        flush(&mut state);
        push(&mut state, 5..7);
        state.forget_unflushed();
        assert_eq!(read(&state, 0).unwrap(), [1, 2, 3, 4]);
        state.restart(99, state.index().to_vec(), Positions::default());
        push(&mut state, 100..102);
        state.seal();
        assert_eq!(read(&state, 4), Err(99));
        assert_eq!(read(&state, 99).unwrap(), [100, 101]);
        flush(&mut state);
        assert_eq!(state.place(3).unwrap().segment.first, 1);
        assert_eq!(state.place(3).unwrap().next, Some(100));
        assert_eq!(state.place(100).unwrap(), Place { segment: state.index()[1].clone(), next: None });
        state.drop_segment(1);
        assert_eq!(state.place(3).unwrap().segment.first, 100);
    }

    #[test]
    fn a_mirror_takes_overlapping_batches_once() {
        let mut source = State::default();
        push(&mut source, 1..11);
        let mut state = State::default();
        let first = source.take_unflushed();
        push(&mut source, 11..13);
        let mut builder = BatchBuilder::default();
        for seq in 1..13 {
            builder.push(&LogLine { seq, time: String::new(), pod: "p".into(), version: 1, line: String::new() });
        }
        let longer = builder.seal().unwrap();
        for batch in [&first[0], &first[0], &longer, &longer] {
            state.mirror(Arc::clone(batch));
        }
        assert_eq!(state.ring.len(), 2);
        assert_eq!(read(&state, 0).unwrap(), (1..13).collect::<Vec<_>>());
    }
}
