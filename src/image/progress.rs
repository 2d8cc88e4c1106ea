//! How a push looks while it is under way: a bar on a terminal, a line a layer elsewhere.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use cofferdam_registry::push::progress::{Event, Progress};
use indicatif::{ProgressBar, ProgressStyle};

pub struct Shown {
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

pub fn bytes(count: u64) -> String {
    indicatif::BinaryBytes(count).to_string()
}

impl Shown {
    /// `size` is the archive's, where it is known.
    pub fn start(size: Option<u64>, json: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = terminal.then(|| {
            let bar = size.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
            let known = "{bar:30} {binary_bytes}/{binary_total_bytes} read at {binary_bytes_per_sec}  {msg}";
            let unknown = "{spinner} {binary_bytes} read at {binary_bytes_per_sec}  {msg}";
            // Both texts are right; the default is good enough if not.
            if let Ok(style) = ProgressStyle::with_template(if size.is_some() { known } else { unknown }) {
                bar.set_style(style);
            }
            bar
        });
        Self { bar, lines: !terminal && !json, state: Arc::default() }
    }

    pub fn progress(&self) -> Progress {
        let (bar, lines, state) = (self.bar.clone(), self.lines, Arc::clone(&self.state));
        Progress::new(move |event| {
            let line = state.take(&event);
            if let Some(bar) = &bar {
                match event {
                    Event::Read { bytes } => bar.set_position(bytes),
                    _ => bar.set_message(state.summary()),
                }
            } else if let Some(line) = line.filter(|_| lines) {
                eprintln!("{line}");
            }
        })
    }

    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl State {
    /// Counts, and says what is worth a line.
    fn take(&self, event: &Event) -> Option<String> {
        let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::LayerBegun { .. } => layers.begun += 1,
            Event::LayerPushed { layer, digest, bytes: size } => {
                layers.pushed += 1;
                return Some(format!("layer {layer}: {digest} pushed, {}", bytes(*size)));
            }
            Event::LayerSkipped { layer, digest } => {
                layers.skipped += 1;
                return Some(format!("layer {layer}: {digest} is there already"));
            }
            Event::LayerMounted { layer, digest } => {
                layers.skipped += 1;
                return Some(format!("layer {layer}: {digest} mounted from another repository"));
            }
            Event::Sent { bytes } => {
                self.sent.fetch_max(*bytes, Ordering::Relaxed);
            }
            Event::Manifest { digest, platform } => {
                let whose = platform.as_ref().map(|platform| format!(" for {platform}")).unwrap_or_default();
                return Some(format!("manifest{whose}: {digest}"));
            }
            Event::Again { why } => return Some(format!("once more: {why}")),
            _ => {}
        }
        None
    }

    fn summary(&self) -> String {
        let layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = bytes(self.sent.load(Ordering::Relaxed));
        format!("{sent} sent, {} of {} layers pushed, {} skipped", layers.pushed, layers.begun, layers.skipped)
    }
}
