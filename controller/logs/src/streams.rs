//! State of the log streams of one workload: which containers are read now, and when the others are read again.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use cofferdam_core::backoff;
use cofferdam_redact::KeyBlock;
use parking_lot::Mutex;

use crate::container::{StreamEnd, Waits};
use crate::positions::Container;

/// The first wait after a stream broke, could not be opened, or had no lines.
const FIRST_REST: Duration = Duration::from_millis(500);
/// The longest wait after a stream broke or could not be opened.
const MAX_BROKEN_REST: Duration = Duration::from_secs(2);
/// The longest wait after a stream without lines.
const MAX_EMPTY_REST: Duration = Duration::from_secs(30);
/// A stream that ends this soon without a line is of a container that has ended. It is read again, less and less often.
const SHORT_STREAM: Duration = Duration::from_secs(2);
/// A stream that has been silent for this long has no more lines for now.
pub(crate) const QUIET_TIME: Duration = Duration::from_millis(300);

/// The stream of one container.
#[derive(Debug)]
struct ContainerStream {
    reading: bool,
    /// The reader waits for lines.
    waits: bool,
    /// The last time that `reading` or `waits` was set.
    moved: Instant,
    /// The container is not read again before this time.
    rest_until: Instant,
    /// Ends without a line, in a row.
    ends: u32,
    /// Breaks in a row.
    breaks: u32,
    key: KeyBlock,
}

/// The streams of one workload.
#[derive(Default)]
pub(crate) struct Streams(Mutex<HashMap<Container, ContainerStream>>);

impl Streams {
    /// Begins to read a container. Returns where its stream stands in a private key, or `None` if the container is being
    /// read or rests, or if there is no room for another stream.
    pub(crate) fn begin(&self, container: &Container, has_room: bool) -> Option<KeyBlock> {
        let now = Instant::now();
        let mut streams = self.0.lock();
        let stream = streams.entry(container.clone()).or_insert_with(|| ContainerStream {
            reading: false,
            waits: false,
            moved: now,
            rest_until: now,
            ends: 0,
            breaks: 0,
            key: KeyBlock::default(),
        });
        if stream.reading || stream.rest_until > now || !has_room {
            return None;
        }
        (stream.reading, stream.waits, stream.moved) = (true, false, now);
        Some(std::mem::take(&mut stream.key))
    }

    /// Notes whether the reader of a container waits for lines.
    pub(crate) fn moved(&self, container: &Container, waits: Waits) {
        if let Some(stream) = self.0.lock().get_mut(container) {
            (stream.waits, stream.moved) = (waits == Waits::Yes, Instant::now());
        }
    }

    /// Notes that a stream ended, and when the container is read again.
    pub(crate) fn ended(&self, container: &Container, end: StreamEnd) {
        let mut streams = self.0.lock();
        let Some(stream) = streams.get_mut(container) else { return };
        (stream.reading, stream.moved, stream.key) = (false, Instant::now(), end.key);
        let rest = if end.error.is_some() {
            stream.breaks = if end.lines > 0 { 1 } else { stream.breaks.saturating_add(1) };
            backoff(FIRST_REST, MAX_BROKEN_REST, stream.breaks)
        } else if end.lines == 0 && end.took < SHORT_STREAM {
            (stream.ends, stream.breaks) = (stream.ends.saturating_add(1), 0);
            backoff(FIRST_REST, MAX_EMPTY_REST, stream.ends)
        } else {
            // It may have been cut off: reading it again tells.
            (stream.ends, stream.breaks) = (0, 0);
            Duration::ZERO
        };
        stream.rest_until = Instant::now() + rest;
    }

    /// Forgets containers that are gone and not being read.
    pub(crate) fn retain(&self, there: &[Container]) {
        self.0.lock().retain(|container, stream| stream.reading || there.contains(container));
    }

    /// The time until the next container that rests is read again.
    pub(crate) fn next_rest(&self) -> Option<Duration> {
        let streams = self.0.lock();
        let soonest = streams.values().filter(|stream| !stream.reading).map(|stream| stream.rest_until).min()?;
        Some(soonest.saturating_duration_since(Instant::now()))
    }

    /// Returns whether all lines that were written before `begun` are read.
    pub(crate) fn are_quiet_since(&self, begun: Instant) -> bool {
        self.0.lock().values().all(|stream| {
            if stream.reading {
                stream.waits && stream.moved.elapsed() > QUIET_TIME && begun.elapsed() > QUIET_TIME
            } else {
                stream.ends > 0 || stream.breaks > 0
            }
        })
    }
}
