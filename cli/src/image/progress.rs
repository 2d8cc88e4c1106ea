//! The progress of a push: a bar on a terminal, a line per layer elsewhere.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cofferdam_registry::push::progress::{Event, Progress};
use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::Mutex;

use crate::terminal::note;

pub(super) struct Shown {
    bar: Option<ProgressBar>,
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

pub(super) fn bytes(count: u64) -> String {
    indicatif::BinaryBytes(count).to_string()
}

impl Shown {
    /// `size` is the archive's, if known.
    pub(super) fn start(size: Option<u64>, json: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = terminal.then(|| {
            let bar = size.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
            let known = "{bar:30} {binary_bytes}/{binary_total_bytes} read at {binary_bytes_per_sec}  {msg}";
            let unknown = "{spinner} {binary_bytes} read at {binary_bytes_per_sec}  {msg}";
            // Both templates are valid; without one the default style is shown.
            if let Ok(style) = ProgressStyle::with_template(if size.is_some() { known } else { unknown }) {
                bar.set_style(style);
            }
            bar
        });
        Self { bar, lines: !terminal && !json, state: Arc::default() }
    }

    pub(super) fn progress(&self) -> Progress {
        let (bar, lines, state) = (self.bar.clone(), self.lines, Arc::clone(&self.state));
        Progress::new(move |event| {
            let line = state.take(&event);
            if let Some(bar) = &bar {
                match event {
                    Event::Read { bytes } => bar.set_position(bytes),
                    _ => bar.set_message(state.summary()),
                }
            } else if let Some(line) = line.filter(|_| lines) {
                note!("{line}");
            }
        })
    }

    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
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
            Event::Again { why } => return Some(format!("retrying: {why}")),
            _ => {}
        }
        None
    }

    fn summary(&self) -> String {
        let layers = self.layers.lock();
        let sent = bytes(self.sent.load(Ordering::Relaxed));
        format!("{sent} sent, {} of {} layers pushed, {} skipped", layers.pushed, layers.begun, layers.skipped)
    }
}
