//! The places at which looks into the tables of waiting work begin. Rows that were deleted stay in PostgreSQL's pages as long as any
//! transaction that is older runs, and a look that begins at the start passes all of them. So it begins at the *floor*: a position
//! below which everything was taken when somebody last looked. From time to time it begins at the start, for what was written
//! late or given back.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lanes whose floors are remembered.
const MAX_FLOORS: usize = 10_000;
/// The distance of two remembered positions.
const MARK_EVERY: Duration = Duration::from_millis(500);
/// The time after which a look begins at the start again.
const FULL_LOOK_EVERY: Duration = Duration::from_secs(10);
/// The time after which a position that was given out is written, or never will be.
const SETTLED_AFTER: Duration = Duration::from_secs(5);
#[derive(Debug, Clone, Copy)]
struct Floor {
    position: i64,
    full_look_at: Instant,
}

#[derive(Debug, Default)]
struct Marks {
    /// Positions that had been given out at a time.
    given: VecDeque<(Instant, i64)>,
    lanes: HashMap<String, Floor>,
}

/// The places at which hand-outs begin.
#[derive(Debug, Default)]
pub(crate) struct Floors(Mutex<Marks>);

impl Floors {
    /// The position at which a look at the lane begins; 0 for a full look.
    pub(super) fn begin(&self, lane: &str) -> i64 {
        let marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        marks.lanes.get(lane).filter(|floor| floor.full_look_at > Instant::now()).map_or(0, |floor| floor.position)
    }

    /// Notes the newest position that was given out.
    pub(super) fn note(&self, newest: i64) {
        let mut marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if marks.given.back().is_none_or(|(at, _)| now.duration_since(*at) >= MARK_EVERY) {
            marks.given.push_back((now, newest));
        }
        while marks.given.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= SETTLED_AFTER) {
            marks.given.pop_front();
        }
    }

    /// The lanes in use, with their floors.
    pub(super) fn known(&self, most: usize) -> Vec<(String, i64)> {
        let marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        marks.lanes.iter().take(most).map(|(lane, floor)| (lane.clone(), floor.position)).collect()
    }

    /// Everything of the lane below `position` is handed out (all of it where there is none).
    pub(super) fn looked(&self, lane: &str, began: i64, position: Option<i64>) {
        let mut marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let settled = marks.given.front().filter(|(at, _)| now.duration_since(*at) >= SETTLED_AFTER);
        let Some(&(_, settled)) = settled else { return };
        let position = position.map_or(settled, |position| position.min(settled));
        if marks.lanes.len() >= MAX_FLOORS {
            marks.lanes.clear();
        }
        let floor = marks.lanes.entry(lane.to_owned()).or_insert(Floor { position: 0, full_look_at: now });
        floor.position = floor.position.max(position);
        if began == 0 {
            floor.full_look_at = now + FULL_LOOK_EVERY;
            floor.position = position;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_floor_rises_only_over_what_is_settled() {
        let floors = Floors::default();
        let long_ago = Instant::now().checked_sub(2 * SETTLED_AFTER).unwrap();
        floors.looked("a", 0, None);
        assert_eq!(floors.begin("a"), 0, "nothing is known to be settled");
        floors.0.lock().unwrap().given.push_back((long_ago, 100));
        floors.note(500);
        floors.looked("a", 0, None);
        assert_eq!(floors.begin("a"), 100);
        floors.looked("b", 0, Some(70));
        assert_eq!(floors.begin("b"), 70);
        floors.looked("b", 70, Some(60));
        assert_eq!(floors.begin("b"), 70, "it does not sink");
        floors.0.lock().unwrap().lanes.get_mut("b").unwrap().full_look_at = long_ago;
        assert_eq!(floors.begin("b"), 0, "a full look");
    }
}
