//! A line of progress on standard error: redrawn in place on a terminal and never wider than it, elsewhere a plain line
//! now and then. It is erased when its owner is dropped, however a command ends.

mod screen;

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{BinaryBytes, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle, TermLike};
use parking_lot::Mutex;
use screen::Screen;

use crate::folders::set;
use crate::terminal::note;

/// The time between two plain lines.
const PLAIN_INTERVAL: Duration = Duration::from_secs(30);
/// The time between two drawings of a line while nothing moves.
const REDRAW_INTERVAL: Duration = Duration::from_secs(1);
const MIN_BAR: usize = 8;
const MAX_BAR: usize = 30;

pub(crate) fn bytes(count: u64) -> String {
    BinaryBytes(count).to_string()
}

/// Further parts of the line, the important ones first.
pub(crate) type Details = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// The form of the line when standard error is no terminal that can be drawn on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Elsewhere {
    Lines,
    Nothing,
}

/// The owner of the line.
pub(crate) struct Line(Handle);

/// Moves the line, from any thread. Does nothing after the line was erased.
#[derive(Clone)]
pub(crate) struct Handle(Arc<Shared>);

struct Shared {
    bar: Option<ProgressBar>,
    plain: Option<Plain>,
    position: AtomicU64,
    erased: AtomicBool,
}

struct Plain {
    /// The verb of the line: `read`, `sent`.
    verb: &'static str,
    size: Option<u64>,
    details: Details,
    next: Mutex<Instant>,
}

impl Line {
    /// `size` is the number of bytes that will move, if known.
    pub(crate) fn start(verb: &'static str, size: Option<u64>, details: Details, elsewhere: Elsewhere) -> Self {
        let drawn = is_drawable(std::io::stderr().is_terminal(), &set);
        let plain = (!drawn && elsewhere == Elsewhere::Lines).then(|| Plain {
            verb,
            size,
            details: Arc::clone(&details),
            next: Mutex::new(Instant::now() + PLAIN_INTERVAL),
        });
        let bar = drawn.then(|| bar(size, details));
        let (position, erased) = (AtomicU64::new(0), AtomicBool::new(false));
        Self(Handle(Arc::new(Shared { bar, plain, position, erased })))
    }

    pub(crate) fn handle(&self) -> Handle {
        self.0.clone()
    }
}

impl std::ops::Deref for Line {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.0
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.0.0.erased.store(true, Ordering::Release);
        if let Some(bar) = &self.0.0.bar {
            bar.finish_and_clear();
        }
    }
}

impl Handle {
    pub(crate) fn position(&self) -> u64 {
        self.0.position.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, position: u64) {
        self.0.position.store(position, Ordering::Relaxed);
        self.show();
    }

    pub(crate) fn add(&self, bytes: u64) {
        self.0.position.fetch_add(bytes, Ordering::Relaxed);
        self.show();
    }

    /// Writes a line above the drawn one, or a plain one.
    pub(crate) fn note(&self, text: &str) {
        match &self.0.bar {
            Some(bar) => bar.suspend(|| note!("{text}")),
            None => note!("{text}"),
        }
    }

    /// Returns true if the line is drawn in place.
    pub(crate) fn is_drawn(&self) -> bool {
        self.0.bar.is_some()
    }

    fn show(&self) {
        if self.0.erased.load(Ordering::Acquire) {
            return;
        }
        if let Some(bar) = &self.0.bar {
            bar.set_position(self.position());
        }
        if let Some(plain) = &self.0.plain {
            plain.show(self.position(), Instant::now());
        }
    }
}

impl Plain {
    fn show(&self, position: u64, now: Instant) {
        {
            let mut next = self.next.lock();
            if now < *next {
                return;
            }
            *next = now + PLAIN_INTERVAL;
        }
        note!("{}", self.text(position));
    }

    fn text(&self, position: u64) -> String {
        let mut text = format!("{} {}", self.verb, moved(position, self.size));
        for detail in (self.details)() {
            // Writing to a string does not fail.
            let _ = write!(text, ", {detail}");
        }
        text
    }
}

/// Returns true if standard error can be drawn on.
pub(crate) fn is_drawn() -> bool {
    is_drawable(std::io::stderr().is_terminal(), &set)
}

/// Returns true for a terminal that can be drawn on. A build's log is none, even if its runner gives it a terminal.
fn is_drawable(terminal: bool, variable: &dyn Fn(&str) -> Option<String>) -> bool {
    let build = variable("CI").is_some_and(|text| !["0", "false"].contains(&text.as_str()));
    terminal && !build && variable("TERM").is_some_and(|name| name != "dumb")
}

fn bar(size: Option<u64>, details: Details) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(size, ProgressDrawTarget::term_like(Box::new(Screen::default())));
    let line = move |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        let mut parts = vec![moved(state.pos(), state.len())];
        let rate = state.per_sec();
        if rate >= 1.0 {
            parts.push(format!("{}/s", bytes(rate as u64)));
        }
        if state.len().is_some() && !state.eta().is_zero() {
            parts.push(format!("{:#} left", HumanDuration(state.eta())));
        }
        parts.extend(details());
        let done = state.len().map(|_| f64::from(state.fraction()));
        let _ = out.write_str(&fitted(Screen::default().width().into(), done, &parts));
    };
    // The template is valid; without it the default style is shown.
    if let Ok(style) = ProgressStyle::with_template("{line}") {
        bar.set_style(style.with_key("line", line));
    }
    bar.enable_steady_tick(REDRAW_INTERVAL);
    bar
}

fn moved(position: u64, size: Option<u64>) -> String {
    match size {
        Some(size) => format!("{} of {}", bytes(position), bytes(size)),
        None => bytes(position),
    }
}

/// A bar and as many of the parts as fit, the first ones first; the bar gives way to the first two.
fn fitted(width: usize, done: Option<f64>, parts: &[String]) -> String {
    const BEFORE_BAR: usize = 2;
    let (mut text, mut used) = (String::new(), 0);
    for (place, part) in parts.iter().enumerate() {
        let more = part.chars().count() + if used == 0 { 0 } else { 2 };
        let kept = if done.is_some() && place >= BEFORE_BAR { MIN_BAR + 2 } else { 0 };
        if used + more + kept > width {
            break;
        }
        if used > 0 {
            text.push_str(", ");
        }
        text.push_str(part);
        used += more;
    }
    let Some(done) = done else { return text };
    let done = done.clamp(0.0, 1.0);
    if used == 0 {
        let percent = format!("{:.0} %", done * 100.0);
        return if percent.len() <= width { percent } else { String::new() };
    }
    let room = width.saturating_sub(used + 2).min(MAX_BAR);
    if room < MIN_BAR {
        return text;
    }
    let full = ((done * room as f64) as usize).min(room);
    format!("{}{}  {text}", "█".repeat(full), "░".repeat(room - full))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts() -> Vec<String> {
        let parts = ["1023.99 MiB of 12.34 GiB", "123.45 MiB/s", "12m left", "12 of 40 layers", "3 skipped"];
        parts.map(str::to_owned).to_vec()
    }

    #[test]
    fn a_line_is_never_wider_than_it_may_be() {
        for width in 0..200 {
            for done in [None, Some(0.0), Some(0.3), Some(1.0), Some(7.0), Some(f64::NAN)] {
                let line = fitted(width, done, &parts());
                assert!(line.chars().count() <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn a_narrow_line_keeps_what_matters() {
        let at = |width| fitted(width, Some(0.5), &parts());
        let all = "1023.99 MiB of 12.34 GiB, 123.45 MiB/s, 12m left, 12 of 40 layers, 3 skipped";
        assert_eq!(at(99), format!("██████████░░░░░░░░░░░  {all}"));
        assert_eq!(at(79), "██████░░░░░░  1023.99 MiB of 12.34 GiB, 123.45 MiB/s, 12m left, 12 of 40 layers");
        assert_eq!(fitted(79, None, &parts()), all);
        assert_eq!(at(39), "1023.99 MiB of 12.34 GiB, 123.45 MiB/s");
        assert_eq!(at(37), "█████░░░░░░  1023.99 MiB of 12.34 GiB");
        assert_eq!((at(9), at(2)), ("50 %".to_owned(), String::new()));
    }

    #[test]
    fn only_a_persons_terminal_is_drawn_on() {
        let with = |pairs: &'static [(&str, &str)]| {
            is_drawable(true, &|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
        };
        assert!(with(&[("TERM", "xterm")]) && with(&[("TERM", "xterm"), ("CI", "false")]));
        assert!(!with(&[("TERM", "dumb")]) && !with(&[]) && !with(&[("TERM", "xterm"), ("CI", "true")]));
        assert!(!is_drawable(false, &|_| Some("xterm".to_owned())));
    }

    #[test]
    fn plain_lines_come_at_intervals() {
        let now = Instant::now();
        let details: Details = Arc::new(|| vec!["2 of 7 layers".to_owned()]);
        let plain = Plain { verb: "read", size: Some(4 << 20), details, next: Mutex::new(now + PLAIN_INTERVAL) };
        assert_eq!(plain.text(1 << 20), "read 1.00 MiB of 4.00 MiB, 2 of 7 layers");
        plain.show(1, now);
        assert_eq!(*plain.next.lock(), now + PLAIN_INTERVAL);
        plain.show(1, now + PLAIN_INTERVAL);
        assert_eq!(*plain.next.lock(), now + 2 * PLAIN_INTERVAL);
    }
}
