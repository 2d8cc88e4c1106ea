//! One moving line on standard error while tool calls are under way. It is gone before anything else is written.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::progress::is_drawn;
use crate::terminal::plain;

const TICK: Duration = Duration::from_millis(120);

#[derive(Default)]
pub(super) struct Spinner(Option<ProgressBar>);

impl Spinner {
    /// Shows it with this text. Does nothing where standard error cannot be drawn on.
    pub(super) fn show(&mut self, text: &str) {
        if !is_drawn() {
            return;
        }
        let bar = self.0.get_or_insert_with(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(TICK);
            bar
        });
        bar.set_message(plain(text));
    }

    pub(super) fn hide(&mut self) {
        if let Some(bar) = self.0.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.hide();
    }
}
