//! The progress of a push: a line on a terminal, a line per layer elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cofferdam_registry::push::progress::{Event, Progress};
use parking_lot::Mutex;

use crate::progress::{Elsewhere, Line, bytes};

/// Erases its line when it is dropped.
pub(super) struct Shown {
    line: Line,
    lines: bool,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    sent: AtomicU64,
    layers: Mutex<Layers>,
}

#[derive(Default)]
struct Layers {
    begun: usize,
    pushed: usize,
    skipped: usize,
}

impl Shown {
    /// `size` is the archive's, if known.
    pub(super) fn start(size: Option<u64>, json: bool) -> Self {
        let state: Arc<State> = Arc::default();
        let counted = Arc::clone(&state);
        let elsewhere = if json { Elsewhere::Nothing } else { Elsewhere::Lines };
        let line = Line::start("read", size, Arc::new(move || counted.summary()), elsewhere);
        let lines = !line.is_drawn() && !json;
        Self { line, lines, state }
    }

    pub(super) fn progress(&self) -> Progress {
        let (line, lines, state) = (self.line.handle(), self.lines, Arc::clone(&self.state));
        Progress::new(move |event| {
            let again = matches!(event, Event::Again { .. });
            let text = state.take(&event);
            if let Event::Read { bytes } = event {
                line.set(bytes);
            }
            // Reading it again is said on a terminal, too: the line jumps back.
            if let Some(text) = text.filter(|_| lines || (again && line.is_drawn())) {
                line.note(&text);
            }
        })
    }
}

impl State {
    /// Counts the event. Some events have a line to show.
    fn take(&self, event: &Event) -> Option<String> {
        let mut layers = self.layers.lock();
        match event {
            Event::LayerBegun { .. } => layers.begun += 1,
            Event::LayerPushed { layer, digest, bytes: size } => {
                layers.pushed += 1;
                return Some(format!("layer {layer}: {digest} pushed, {}", bytes(*size)));
            }
            Event::LayerSkipped { layer, digest } => {
                layers.skipped += 1;
                return Some(format!("layer {layer}: {digest} already exists"));
            }
            Event::LayerMounted { layer, digest } => {
                layers.skipped += 1;
                return Some(format!("layer {layer}: {digest} mounted from another repository"));
            }
            Event::Sent { bytes } => {
                self.sent.fetch_max(*bytes, Ordering::Relaxed);
            }
            Event::Manifest { digest, platform } => {
                let suffix = platform.as_ref().map(|platform| format!(" for {platform}")).unwrap_or_default();
                return Some(format!("manifest{suffix}: {digest}"));
            }
            Event::Again { why } => {
                *layers = Layers::default();
                return Some(format!("retrying: {why}"));
            }
            _ => {}
        }
        None
    }

    fn summary(&self) -> Vec<String> {
        let layers = self.layers.lock();
        let mut parts = vec![format!("{} of {} layers pushed", layers.pushed, layers.begun)];
        if layers.skipped > 0 {
            parts.push(format!("{} skipped", layers.skipped));
        }
        parts.push(format!("{} sent", bytes(self.sent.load(Ordering::Relaxed))));
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_that_is_read_again_is_counted_again() {
        let state = State::default();
        let begun = || Event::LayerBegun { layer: 1, name: String::new(), bytes: 1 };
        let digest = cofferdam_registry::Digest::of(b"x");
        state.take(&begun());
        state.take(&Event::LayerSkipped { layer: 1, digest });
        state.take(&Event::Sent { bytes: 2048 });
        assert_eq!(state.summary(), ["0 of 1 layers pushed", "1 skipped", "2.00 KiB sent"]);
        let said = state.take(&Event::Again { why: "x".to_owned() });
        assert_eq!(said.as_deref(), Some("retrying: x"));
        state.take(&begun());
        assert_eq!(state.summary(), ["0 of 1 layers pushed", "2.00 KiB sent"]);
    }
}
