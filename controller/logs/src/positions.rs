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
    /// The earliest time that was read, in nanoseconds of Unix time. Positions of earlier releases have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<i64>,
}

impl Position {
    /// The `nth` line of that time was read, if it is of this run.
    fn covers(&self, at: i64, nth: u32) -> bool {
        self.first.is_some_and(|first| first <= at) && (at < self.at || (at == self.at && nth <= self.count))
    }
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
            Some((_, position)) if position.at > at => position.first = position.first.map(|first| first.min(at)),
            Some((_, position)) => *position = Position { time: time.to_owned(), at, count: 1, first: position.first },
            None => {
                if self.containers.len() >= MAX_CONTAINERS
                    && let Some(oldest) = self.containers.iter().enumerate().min_by_key(|(_, (_, p))| p.at)
                {
                    self.containers.remove(oldest.0);
                }
                let position = Position { time: time.to_owned(), at, count: 1, first: Some(at) };
                self.containers.push((container.clone(), position));
            }
        }
    }

    /// Finds the lines of a container that were read before under the name of another run of the same pod.
    pub(crate) fn other_runs(&self, container: &Container) -> OtherRuns<'_> {
        let same_pod = |one: &Container| one.version == container.version && one.pod == container.pod;
        let others = self.containers.iter().filter(|(one, _)| one != container && same_pod(one));
        let own = self.of(container);
        OtherRuns {
            others: others.map(|(_, position)| position).collect(),
            at: own.map_or(i64::MIN, |own| own.at),
            count: own.map_or(0, |own| own.count),
        }
    }
}

/// The other runs of a container.
///
/// A node chooses the run whose log it gives, and may give one run's under two names: while a container waits to be
/// restarted, "the previous run" and "this run" are the same one, and what the API server says of a run is older than what
/// the node knows. The runs of a container follow each other, so a line of a time that another run was read for is that run's.
/// Lines are counted within their time: two equal lines of the same nanosecond are two lines.
#[derive(Debug)]
pub(crate) struct OtherRuns<'a> {
    others: Vec<&'a Position>,
    at: i64,
    count: u32,
}

impl OtherRuns<'_> {
    /// Takes the container's next line. Returns whether another run has it.
    pub(crate) fn have(&mut self, at: i64) -> bool {
        let nth = if at == self.at { self.count.saturating_add(1) } else { 1 };
        if at >= self.at {
            (self.at, self.count) = (at, nth);
        }
        self.others.iter().any(|other| other.covers(at, nth))
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

    /// Reads a log of one run under two names, in pieces of that order, and returns the lines that are taken.
    fn read_twice(log: &[i64], names: &[Container], order: &[usize]) -> Vec<i64> {
        let (mut positions, mut taken, mut read) = (Positions::default(), vec![], vec![0; names.len()]);
        for name in order {
            let (container, from) = (&names[*name], read[*name]);
            let Some(at) = log.get(from).copied() else { continue };
            if !positions.other_runs(container).have(at) {
                taken.push(at);
            }
            positions.advance(container, at, "t");
            read[*name] += 1;
        }
        taken
    }

    #[test]
    fn a_log_under_two_names_is_taken_once_whatever_the_order() {
        // Three lines of one nanosecond are three lines.
        let log = [1, 2, 2, 2, 3, 5, 5];
        let names = [0, 1].map(|restarts| Container { restarts, ..container("p") });
        for order in 0..1_u32 << (2 * log.len()) {
            let order: Vec<usize> = (0..2 * log.len()).map(|step| usize::from(order >> step & 1 == 1)).collect();
            // Either name reads to its end.
            let order: Vec<usize> = order.into_iter().chain([0; 7]).chain([1; 7]).collect();
            assert_eq!(read_twice(&log, &names, &order), log, "{order:?}");
        }
    }

    #[test]
    fn another_pod_and_another_version_have_lines_of_their_own() {
        let mut positions = Positions::default();
        (1..9).for_each(|at| positions.advance(&container("p"), at, "t"));
        let other_version = Container { version: 2, ..container("p") };
        for other in [container("q"), other_version] {
            assert!((1..9).all(|at| !positions.other_runs(&other).have(at)), "{other:?}");
        }
        let next = Container { restarts: 1, ..container("p") };
        assert!((1..9).all(|at| positions.other_runs(&next).have(at)));
        // What lies before and behind is its own.
        assert!(!positions.other_runs(&next).have(0) && !positions.other_runs(&next).have(9));
        // Positions that an earlier release stored do not say from where on they were read.
        let old = serde_json::from_str::<Position>(r#"{"time":"t","at":8,"count":1}"#).unwrap();
        assert!(!old.covers(5, 1));
    }

    #[test]
    fn positions_are_bounded_and_lose_the_oldest() {
        let mut positions = Positions::default();
        (0..100).for_each(|n| positions.advance(&container(&format!("p{n}")), n, "t"));
        assert_eq!(positions.containers.len(), MAX_CONTAINERS);
        assert!(positions.of(&container("p0")).is_none() && positions.of(&container("p99")).is_some());
    }
}
