//! Follows a container's log: lines with their times, bounded in length. Stores nothing.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use k8s_openapi::api::core::v1;
use k8s_openapi::jiff::Timestamp;
use kube::api::LogParams;
use kube::core::Request;
use tokio::time::Instant;

use crate::answers::{self, ContainerStatus, Terminated};
use crate::kubernetes::Kubernetes;
use crate::names::CONTAINER;
use crate::ours::Pieces;
use crate::remove::is_pod_name;
use crate::wire::{RequestError, Wire};
use crate::{ClusterError, Lines, PodName, RawLine, Words, judge};

/// Longer lines are cut.
const MAX_LINE: usize = 64 * 1_024;
/// The longest timestamp before a line.
const MAX_STAMP: usize = 40;
/// After this time without a line the log has to be opened again, because the node may be gone.
const MAX_SILENCE: Duration = Duration::from_secs(600);

impl Kubernetes {
    pub(crate) async fn lines(&self, pod: &PodName, since: Option<&str>) -> Result<Lines, ClusterError> {
        let since = match since.map(str::parse::<Timestamp>) {
            None => None,
            Some(Ok(time)) => Some(time),
            Some(Err(_)) => {
                return Err(ClusterError::refused("The time to read the log from is not RFC 3339"));
            }
        };
        if !is_pod_name(&pod.pod) {
            return Ok(stream::empty().boxed());
        }
        let wire = self.wire().await?;
        let there = wire.get::<answers::Pod>(&self.path::<v1::Pod>(), &pod.pod).await;
        let there = there.map_err(|e| self.explained(wire, e, "get", "Pod"))?;
        let Some(there) = there else { return Ok(stream::empty().boxed()) };
        let previous = match way_to(judge::container(&there), pod.restarts) {
            WayTo::This => false,
            WayTo::Previous => true,
            WayTo::Gone => return Ok(stream::empty().boxed()),
            WayTo::Later => return Err(not_yet(wire, &pod.pod, "")),
        };
        let which = LogParams {
            container: Some(CONTAINER.to_owned()),
            follow: !previous,
            previous,
            timestamps: true,
            // The API takes whole seconds. Rounded down here, because kube rounds up.
            since_time: since.and_then(|time| Timestamp::from_second(time.as_second()).ok()),
            ..LogParams::default()
        };
        match wire.open(Request::new(self.path::<v1::Pod>()).logs(&pod.pod, &which)).await {
            Ok(pieces) => Ok(lines_of(pieces, since, MAX_SILENCE)),
            Err(failure) if failure.is_gone() => Ok(stream::empty().boxed()),
            Err(RequestError::Api(refusal)) if refusal.code == 400 => {
                let says = |words: &str| refusal.message.contains(words);
                let never = previous || says("not found") || says("terminated");
                if never { Ok(stream::empty().boxed()) } else { Err(not_yet(wire, &pod.pod, &refusal.message)) }
            }
            Err(failure) => Err(self.explained(wire, failure, "read the log of", "Pod")),
        }
    }
}

/// The way to the log of one run of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WayTo {
    /// The log that a node gives.
    This,
    /// The log of the previous run.
    Previous,
    /// The node does not keep it any more.
    Gone,
    /// It has not begun.
    Later,
}

/// A node has the logs of at most two runs. While a container waits to be started or restarted, it gives the log of the run
/// that ended last, whichever of the two is asked for.
fn way_to(status: Option<&ContainerStatus>, run: u32) -> WayTo {
    let newest = status.map_or(0, ContainerStatus::restarts);
    let state = status.and_then(|status| status.state.as_ref());
    let has_log = |end: &&Terminated| end.container_id.as_deref().is_some_and(|id| !id.is_empty());
    let ends = status.and_then(|status| status.last_state.as_ref()).and_then(|last| last.terminated.as_ref());
    let waits = state.is_some_and(|state| state.waiting.is_some());
    match ends.filter(has_log).filter(|_| waits) {
        Some(end) => {
            // A container that was made anew and has not started yet is no run.
            let is_newest = status.is_some_and(|status| status.container_id == end.container_id);
            let last = if is_newest { newest } else { newest.saturating_sub(1) };
            match run.cmp(&last) {
                Ordering::Less => WayTo::Gone,
                Ordering::Equal => WayTo::This,
                Ordering::Greater => WayTo::Later,
            }
        }
        None if run == newest => WayTo::This,
        None if run.checked_add(1) == Some(newest) => WayTo::Previous,
        None if run < newest => WayTo::Gone,
        None => WayTo::Later,
    }
}

fn not_yet(wire: &Wire, pod: &str, said: &str) -> ClusterError {
    let words = Words::ours(format!("The container of pod {pod} has no log yet")).saying(". The cluster says:", said);
    ClusterError::conflict(words.scrubbed(|said| wire.scrub(said)))
}

/// The state of a log that is being read.
struct Reading {
    pieces: Pieces,
    cut: Cutter,
    ready: VecDeque<RawLine>,
    since: Option<Timestamp>,
    over: bool,
}

/// `silence` is the longest time without a line.
fn lines_of(pieces: Pieces, since: Option<Timestamp>, silence: Duration) -> Lines {
    let reading = Reading { pieces, cut: Cutter::default(), ready: VecDeque::new(), since, over: false };
    stream::unfold(reading, move |mut reading| async move {
        // One deadline for a whole line: a byte now and then is no line.
        let until = Instant::now() + silence;
        loop {
            if let Some(line) = reading.ready.pop_front() {
                return Some((Ok(line), reading));
            }
            if reading.over {
                return None;
            }
            match tokio::time::timeout_at(until, reading.pieces.next()).await {
                Ok(Some(Ok(piece))) => {
                    reading.take(|cut, each| cut.push(&piece, each));
                }
                Ok(None) => {
                    reading.over = true;
                    reading.take(Cutter::end);
                }
                broken => {
                    reading.over = true;
                    let why = match broken {
                        Ok(_) => "The log broke off",
                        Err(_) => "No log line arrived for ten minutes",
                    };
                    return Some((Err(ClusterError::unreachable(why)), reading));
                }
            }
        }
    })
    .boxed()
}

impl Reading {
    fn take(&mut self, read: impl FnOnce(&mut Cutter, &mut dyn FnMut(&[u8]))) {
        let (since, ready) = (self.since, &mut self.ready);
        read(&mut self.cut, &mut |line| {
            let Some((time, text)) = stamped(line) else { return };
            if since.is_none_or(|since| time.0 >= since) {
                ready.push_back(RawLine { time: time.1, text });
            }
        });
    }
}

/// A line's time and text. `None` if it has no time: the cluster did not write it.
fn stamped(line: &[u8]) -> Option<((Timestamp, String), String)> {
    let space = line.iter().take(MAX_STAMP).position(|b| *b == b' ').unwrap_or(line.len());
    let stamp = std::str::from_utf8(line.get(..space)?).ok()?;
    let time = stamp.parse().ok()?;
    let text = line.get(space + 1..).unwrap_or_default();
    let text = text.get(..text.len().min(MAX_LINE)).unwrap_or_default();
    Some(((time, stamp.to_owned()), String::from_utf8_lossy(text).into_owned()))
}

/// Cuts a stream of bytes into lines, and holds at most one line of the allowed length.
#[derive(Default)]
struct Cutter {
    begun: Vec<u8>,
}

impl Cutter {
    fn push(&mut self, piece: &[u8], each: &mut dyn FnMut(&[u8])) {
        let mut rest = piece;
        while let Some(end) = rest.iter().position(|b| *b == b'\n') {
            let (line, after) = rest.split_at(end);
            self.keep(line);
            self.end(each);
            rest = after.get(1..).unwrap_or_default();
        }
        self.keep(rest);
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = (MAX_LINE + MAX_STAMP).saturating_sub(self.begun.len());
        self.begun.extend_from_slice(bytes.get(..bytes.len().min(room)).unwrap_or_default());
    }

    fn end(&mut self, each: &mut dyn FnMut(&[u8])) {
        if !self.begun.is_empty() {
            let line = self.begun.strip_suffix(b"\r").unwrap_or(&self.begun);
            each(line);
            self.begun.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn cut(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut cutter = Cutter::default();
        let mut lines = Vec::new();
        for piece in pieces {
            cutter.push(piece, &mut |line| lines.push(line.to_vec()));
        }
        cutter.end(&mut |line| lines.push(line.to_vec()));
        lines
    }

    #[test]
    fn lines_are_the_same_however_the_bytes_come() {
        let text = b"one\ntwo\r\n\nthree";
        let whole = cut(&[text]);
        assert_eq!(whole, [b"one".to_vec(), b"two".to_vec(), b"three".to_vec()]);
        for at in 0..text.len() {
            assert_eq!(cut(&[&text[..at], &text[at..]]), whole, "{at}");
        }
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(cut(&bytes), whole);
    }

    #[test]
    fn a_line_without_end_is_cut_and_does_not_grow() {
        let mut cutter = Cutter::default();
        let mut lines = Vec::new();
        let stamp = b"2026-11-22T01:02:03.000000004Z ";
        cutter.push(stamp, &mut |_| {});
        for _ in 0..1_000 {
            cutter.push(&[b'x'; 1_024], &mut |_| panic!("no line yet"));
            assert!(cutter.begun.len() <= MAX_LINE + MAX_STAMP);
        }
        cutter.push(b"\n", &mut |line| lines.push(stamped(line).unwrap()));
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].1.len(), MAX_LINE);
        assert_eq!(lines[0].0.1, "2026-11-22T01:02:03.000000004Z");
    }

    #[test]
    fn each_run_is_asked_for_where_its_log_is() {
        use WayTo::{Gone, Later, Previous, This};
        let ended = |id: &str| serde_json::json!({"terminated": {"exitCode": 3, "containerID": id}});
        let runs = serde_json::json!({"running": {}});
        let waits = serde_json::json!({"waiting": {"reason": "CrashLoopBackOff"}});
        let of = |state: &serde_json::Value, last: &serde_json::Value, id: &str| -> ContainerStatus {
            serde_json::from_value(serde_json::json!({"name": "agent", "image": "x", "imageID": "", "ready": false,
                "restartCount": 2, "state": state, "lastState": last, "containerID": id}))
            .unwrap()
        };
        for (status, ways) in [
            (of(&runs, &ended("c1"), "c2"), [Gone, Previous, This, Later]),
            (of(&ended("c2"), &ended("c1"), "c2"), [Gone, Previous, This, Later]),
            // Between two restarts, both logs are the last run's.
            (of(&waits, &ended("c2"), "c2"), [Gone, Gone, This, Later]),
            // The next container was made, and has not started.
            (of(&waits, &ended("c1"), "c2"), [Gone, This, Later, Later]),
            (of(&waits, &serde_json::json!({}), ""), [Gone, Previous, This, Later]),
        ] {
            assert_eq!([0, 1, 2, 3].map(|run| way_to(Some(&status), run)), ways, "{status:?}");
        }
        assert_eq!([0, 1].map(|run| way_to(None, run)), [This, Later]);
    }

    /// A byte now and then, for hours, is no line; neither is silence.
    #[tokio::test]
    async fn a_line_has_one_deadline_however_its_bytes_drip() {
        let silence = Duration::from_millis(400);
        let drip = stream::repeat(()).then(move |()| async move {
            tokio::time::sleep(silence / 4).await;
            Ok(Bytes::from_static(b"x"))
        });
        for rest in [drip.boxed(), stream::pending().boxed()] {
            let first = stream::iter([Ok(Bytes::from_static(b"2026-11-22T01:02:03Z one\n"))]);
            let mut lines = lines_of(first.chain(rest).boxed(), None, silence);
            assert_eq!(lines.next().await.unwrap().unwrap().text, "one");
            let begun = Instant::now();
            let error = lines.next().await.unwrap().unwrap_err();
            assert!(error.is_retryable() && error.to_string().contains("ten minutes"), "{error}");
            assert!(begun.elapsed() >= silence && begun.elapsed() <= silence * 10, "{:?}", begun.elapsed());
            assert!(lines.next().await.is_none());
        }
    }

    #[test]
    fn what_has_no_time_is_no_line() {
        let line = |text: &str| stamped(text.as_bytes()).map(|((_, time), text)| (time, text));
        let time = "2026-11-22T01:02:03.1Z".to_owned();
        assert_eq!(line("2026-11-22T01:02:03.1Z hello  you"), Some((time.clone(), "hello  you".to_owned())));
        assert_eq!(line("2026-11-22T01:02:03.1Z "), Some((time.clone(), String::new())));
        assert_eq!(line("2026-11-22T01:02:03.1Z"), Some((time, String::new())));
        assert_eq!(line("hello you"), None);
        assert_eq!(line("unable to retrieve container logs"), None);
    }
}
