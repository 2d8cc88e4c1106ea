//! Positions: how far each container's log was read. Stored together with the lines, so that reading continues behind the
//! last stored line after a crash, without losing or repeating one. Pure.

use cofferdam_cluster::PodName;
use cofferdam_contract::{AgentId, OrganizationId};
use serde::{Deserialize, Serialize};

/// Containers of one agent whose positions are kept.
const MAX_CONTAINERS: usize = 64;

/// One run of one container.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Container {
    pub version: u64,
    pub pod: String,
    pub restarts: u32,
}

impl From<&PodName> for Container {
    fn from(pod: &PodName) -> Self {
        Self { version: pod.workload.version, pod: pod.pod.clone(), restarts: pod.restarts }
    }
}

/// The last line of a container's log that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// As the cluster wrote it.
    pub time: String,
    /// The same in nanoseconds of Unix time.
    pub at: i64,
    /// Lines of just this time that were read.
    pub count: u32,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Positions {
    containers: Vec<(Container, Position)>,
}

impl Positions {
    pub(crate) fn of(&self, container: &Container) -> Option<&Position> {
        self.containers.iter().find(|(one, _)| one == container).map(|(_, position)| position)
    }

    /// Notes that a line of this time was read. Times that go back do not count: the next stream begins at the latest time.
    pub(crate) fn advance(&mut self, container: &Container, at: i64, time: &str) {
        match self.containers.iter_mut().find(|(one, _)| one == container) {
            Some((_, position)) if position.at == at => position.count = position.count.saturating_add(1),
            Some((_, position)) if position.at > at => {}
            Some((_, position)) => *position = Position { time: time.to_owned(), at, count: 1 },
            None => {
                if self.containers.len() >= MAX_CONTAINERS
                    && let Some(oldest) = self.containers.iter().enumerate().min_by_key(|(_, (_, p))| p.at)
                {
                    self.containers.remove(oldest.0);
                }
                self.containers.push((container.clone(), Position { time: time.to_owned(), at, count: 1 }));
            }
        }
    }
}

/// Skips the lines that a new stream repeats.
#[derive(Debug)]
pub(crate) struct Replay {
    behind: Option<Position>,
    seen: u32,
}

impl Replay {
    pub(crate) fn new(behind: Option<Position>) -> Self {
        Self { behind, seen: 0 }
    }

    /// Returns whether the next line is new.
    pub(crate) fn is_new(&mut self, at: i64) -> bool {
        let Some(behind) = &self.behind else { return true };
        if at < behind.at {
            return false;
        }
        if at == behind.at && self.seen < behind.count {
            self.seen += 1;
            return false;
        }
        self.behind = None;
        true
    }
}

/// The agent of one log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct AgentKey {
    pub organization: OrganizationId,
    pub agent: AgentId,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(pod: &str) -> Container {
        Container { version: 1, pod: pod.into(), restarts: 0 }
    }

    #[test]
    fn a_reader_that_begins_again_gets_each_line_once() {
        let log: Vec<i64> = vec![1, 2, 2, 2, 3, 3, 5];
        for stop in 0..=log.len() {
            let mut positions = Positions::default();
            log[..stop].iter().for_each(|at| positions.advance(&container("p"), *at, &at.to_string()));
            let behind = positions.of(&container("p")).cloned();
            let since = behind.as_ref().map_or(0, |position| position.at);
            let mut replay = Replay::new(behind);
            let rest: Vec<i64> =
                log.iter().copied().filter(|at| *at >= since).filter(|at| replay.is_new(*at)).collect();
            assert_eq!(rest, log[stop..], "stopped after {stop}");
        }
    }

    #[test]
    fn a_clock_that_goes_back_gives_no_line_twice() {
        let mut positions = Positions::default();
        [5, 9, 7].iter().for_each(|at| positions.advance(&container("p"), *at, "t"));
        assert_eq!(positions.of(&container("p")).map(|p| (p.at, p.count)), Some((9, 1)));
        let mut replay = Replay::new(positions.of(&container("p")).cloned());
        assert_eq!([9, 7, 10, 8].map(|at| replay.is_new(at)), [false, false, true, true]);
    }

    #[test]
    fn positions_are_bounded_and_lose_the_oldest() {
        let mut positions = Positions::default();
        (0..100).for_each(|n| positions.advance(&container(&format!("p{n}")), n, "t"));
        assert_eq!(positions.containers.len(), MAX_CONTAINERS);
        assert!(positions.of(&container("p0")).is_none() && positions.of(&container("p99")).is_some());
    }
}
