//! Follows a container's log: lines with their times, bounded in length. Stores nothing.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::BodyExt;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::api::LogParams;
use kube::client::Body;
use kube::core::Request;

use crate::kubernetes::Kubernetes;
use crate::names::CONTAINER;
use crate::remove::is_pod_name;
use crate::wire::RequestError;
use crate::words::clean;
use crate::{ClusterError, Lines, PodName, RawLine, judge};

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
                return Err(ClusterError::Refused("The time to read the log from is not RFC 3339".to_owned()));
            }
        };
        if !is_pod_name(&pod.pod) {
            return Ok(stream::empty().boxed());
        }
        let wire = self.wire().await?;
        let there: Option<Pod> =
            wire.get(&self.path::<Pod>(), &pod.pod).await.map_err(|e| self.explained(wire, e, "get", "Pod"))?;
        let Some(there) = there else { return Ok(stream::empty().boxed()) };
        let restarts = judge::container(&there).map_or(0, |status| u32::try_from(status.restart_count).unwrap_or(0));
        let previous = pod.restarts.checked_add(1) == Some(restarts);
        if pod.restarts != restarts && !previous {
            // The cluster keeps the previous container's log only; a container of a later restart has none yet.
            return if pod.restarts < restarts { Ok(stream::empty().boxed()) } else { Err(not_yet(&pod.pod, "")) };
        }
        let which = LogParams {
            container: Some(CONTAINER.to_owned()),
            follow: !previous,
            previous,
            timestamps: true,
            // The API takes whole seconds. Rounded down here, because kube rounds up.
            since_time: since.and_then(|time| Timestamp::from_second(time.as_second()).ok()),
            ..LogParams::default()
        };
        let asked = wire.built(Request::new(self.path::<Pod>()).logs(&pod.pod, &which));
        let opened = match asked {
            Ok(request) => wire.open(request).await,
            Err(failure) => Err(failure),
        };
        match opened {
            Ok(body) => Ok(lines_of(body, since)),
            Err(failure) if failure.is_gone() => Ok(stream::empty().boxed()),
            Err(RequestError::Api(status)) if status.code == 400 => {
                let said = clean(&status.message);
                let never = previous || said.contains("not found") || said.contains("terminated");
                if never { Ok(stream::empty().boxed()) } else { Err(not_yet(&pod.pod, &said)) }
            }
            Err(failure) => Err(self.explained(wire, failure, "read the log of", "Pod")),
        }
    }
}

fn not_yet(pod: &str, said: &str) -> ClusterError {
    ClusterError::Conflict(format!("The container of pod {pod} has no log yet. {said}").trim_end().to_owned())
}

/// The state of a log that is being read.
struct Reading {
    body: Body,
    cut: Cutter,
    ready: VecDeque<RawLine>,
    since: Option<Timestamp>,
    over: bool,
}

fn lines_of(body: Body, since: Option<Timestamp>) -> Lines {
    let reading = Reading { body, cut: Cutter::default(), ready: VecDeque::new(), since, over: false };
    stream::unfold(reading, |mut reading| async move {
        loop {
            if let Some(line) = reading.ready.pop_front() {
                return Some((Ok(line), reading));
            }
            if reading.over {
                return None;
            }
            match tokio::time::timeout(MAX_SILENCE, reading.body.frame()).await {
                Ok(Some(Ok(frame))) => {
                    let piece: Bytes = frame.into_data().unwrap_or_default();
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
                    return Some((Err(ClusterError::Unreachable(why.to_owned())), reading));
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
