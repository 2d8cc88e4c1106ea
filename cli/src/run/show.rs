//! Shows a run on the terminal as it happens: its output unchanged, figures as files, everything else on standard error.

use cofferdam_contract::run::{Event, MimeBundle, ResultChunk, RunError};
use cofferdam_contract::{FileEntry, LimitName, Outcome, Status};
use serde_json::Value;

use super::places::{Places, below, save};
use super::target::Target;
use crate::terminal::{Output, error_lines, note};

/// Media types of figures, with their extensions; true for those in base64.
const FIGURES: [(&str, &str, bool); 3] =
    [("image/png", "png", true), ("image/jpeg", "jpg", true), ("image/svg+xml", "svg", false)];

pub(super) struct Show {
    places: Places,
    svg: bool,
    /// The cause of the end has been shown.
    explained: bool,
    /// A REPL shows the last expression's value.
    show_value: bool,
    out: Output,
    err: Output,
}

impl Show {
    pub(super) fn new(places: Places, svg: bool, show_value: bool) -> Self {
        Self { places, svg, explained: false, show_value, out: Output::stdout(), err: Output::stderr() }
    }

    pub(super) fn event(&mut self, event: &Event) -> anyhow::Result<()> {
        match event {
            Event::Stdout(chunk) => self.out.write(&chunk.text)?,
            Event::Stderr(chunk) => self.err.write(&chunk.text)?,
            Event::Result(result) => self.result(result)?,
            Event::Error(error) => {
                // `sys.exit(3)` is told by the exit status alone.
                if error.name != "SystemExit" || !error.traceback.is_empty() {
                    explain(error);
                }
                self.explained = true;
            }
            Event::Problem(problem) => anyhow::bail!("{}: {}", problem.title, problem.detail),
            Event::End(outcome) => {
                self.out.end()?;
                let _ = self.err.end();
                if !std::mem::take(&mut self.explained) {
                    ended(outcome);
                }
            }
        }
        Ok(())
    }

    fn result(&mut self, result: &ResultChunk) -> anyhow::Result<()> {
        if self.figure(&result.data)? || (result.main && !self.show_value) {
            return Ok(());
        }
        if let Some(Value::String(text)) = result.data.get("text/plain") {
            Output::stdout().whole(text)?;
        }
        Ok(())
    }

    /// Saves a figure. False if it is not one.
    fn figure(&mut self, data: &MimeBundle) -> anyhow::Result<bool> {
        let mut path = None;
        for (kind, extension, base64) in FIGURES {
            let Some(Value::String(content)) = data.get(kind) else { continue };
            if path.is_some() && !self.svg {
                continue;
            }
            let stem = path.get_or_insert_with(|| self.places.next_figure());
            let file = stem.with_extension(extension);
            let bytes = if base64 { decode(content)? } else { content.clone().into_bytes() };
            save(&file, &bytes)?;
            note!("{}", file.display());
        }
        Ok(path.is_some())
    }

    /// Saves the files that the run made, or lists them.
    pub(super) async fn files(&self, target: &Target, outcome: &Outcome) -> anyhow::Result<()> {
        let Some(folder) = &self.places.output else {
            for file in &outcome.files {
                note!("made {} ({} bytes); --output DIR saves it", file.path, file.size);
            }
            return Ok(());
        };
        for file in &outcome.files {
            let path = below(folder, &file.path)?;
            let bytes = match FileEntry::bytes(file) {
                Some(bytes) => bytes,
                None => target.file(outcome, &file.path).await?,
            };
            save(&path, &bytes)?;
            note!("{}", path.display());
        }
        Ok(())
    }
}

fn decode(content: &str) -> anyhow::Result<Vec<u8>> {
    let entry = FileEntry { path: String::new(), size: 0, content_base64: Some(content.to_owned()) };
    entry.bytes().ok_or_else(|| anyhow::anyhow!("a figure is not base64"))
}

/// The traceback is the program's, the sentence about a limit ours.
fn explain(error: &RunError) {
    let trimmed = error.traceback.trim_end();
    let limit = LimitName::parse(&error.name).is_some();
    let foreign =
        if trimmed.is_empty() && !limit { format!("{}: {}", error.name, error.message) } else { trimmed.to_owned() };
    if !foreign.is_empty() {
        // Closed standard error is no failure of the run.
        let _ = Output::stderr().whole(&foreign);
    }
    if limit {
        error_lines(&error.message);
    }
}

fn ended(outcome: &Outcome) {
    match outcome.status {
        Status::Ok | Status::Error => {}
        Status::Timeout => note!("stopped: the wall-clock limit was reached (--timeout)"),
        Status::Limit => {
            let name = outcome.error.as_ref().map_or("unknown", |error| error.name.as_str());
            note!("stopped: the limit {name} was reached");
        }
        Status::Cancelled => note!("cancelled"),
    }
}
