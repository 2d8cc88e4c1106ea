//! Lines that a person types as answers. Nothing is read unless a question is open, and what was typed before one is no answer to it.

use std::io::stdin;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

/// A line that comes sooner after its question was typed before it.
const TYPED_BEFORE: Duration = Duration::from_millis(150);

/// Reads lines on a thread of its own, which ends with the process.
#[derive(Default)]
pub(super) struct Lines {
    reader: Option<Reader>,
    asked_at: Option<Instant>,
}

struct Reader {
    wanted: std::sync::mpsc::Sender<()>,
    lines: mpsc::Receiver<Option<String>>,
    /// A line was asked for and has not come.
    reading: bool,
}

impl Reader {
    fn start() -> Self {
        let (wanted, asked) = std::sync::mpsc::channel();
        let (sender, lines) = mpsc::channel(1);
        std::thread::spawn(move || {
            while asked.recv().is_ok() {
                let mut line = String::new();
                let read = stdin().read_line(&mut line).is_ok_and(|bytes| bytes > 0);
                if sender.blocking_send(read.then_some(line)).is_err() || !read {
                    return;
                }
            }
        });
        Self { wanted, lines, reading: false }
    }

    fn want(&mut self) {
        if !self.reading {
            self.reading = self.wanted.send(()).is_ok();
        }
    }
}

impl Lines {
    /// A question was put.
    pub(super) fn ask(&mut self) {
        self.asked_at = Some(Instant::now());
        self.reader.get_or_insert_with(Reader::start).want();
    }

    /// The next line after the question; `None` at the end of the input. Safe to drop.
    pub(super) async fn next(&mut self) -> Option<String> {
        loop {
            let reader = self.reader.as_mut()?;
            let line = reader.lines.recv().await.flatten();
            reader.reading = false;
            let line = line?;
            if self.asked_at.is_none_or(|at| at.elapsed() >= TYPED_BEFORE) {
                return Some(line);
            }
            reader.want();
        }
    }
}
