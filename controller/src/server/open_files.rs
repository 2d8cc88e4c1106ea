//! This process's limit of open files: raised at the start, and what it leaves for connections.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Open files that are not connections': the database, the listeners, the event loops, logs, children.
const RESERVED_FILES: u64 = 64;
/// A client's connection, and the one to the worker that serves its request.
const FILES_PER_CONNECTION: u64 = 2;
/// Served even if the limit is absurd.
const MIN_CONNECTIONS: usize = 16;

/// Raises the soft limit to the hard one: the usual limit of a login shell is for programs that use `select`.
pub(super) fn raise() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
}

/// The connections that the limit of open files leaves room for, `most` at most.
pub(super) fn connections(most: usize) -> usize {
    getrlimit(Resource::Nofile).current.map_or(most, |files| fitting(files, most))
}

fn fitting(files: u64, most: usize) -> usize {
    let fitting = files.saturating_sub(RESERVED_FILES) / FILES_PER_CONNECTION;
    usize::try_from(fitting).unwrap_or(most).clamp(MIN_CONNECTIONS.min(most), most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_room_for_the_rest() {
        assert_eq!([0, 256, 1_024, 1 << 20].map(|files| fitting(files, 8_192)), [16, 96, 480, 8_192]);
    }

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        raise();
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        assert_eq!(current, maximum);
    }
}
