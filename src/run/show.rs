//! Shows a run on the terminal as it happens: its output as it is, figures as files, everything else on standard error.

use std::io::Write;

use cofferdam_contract::run::{Event, MimeBundle, ResultChunk, RunError};
use cofferdam_contract::{FileEntry, LimitName, Outcome, Status};
use serde_json::Value;

use super::places::{Places, below, save};
use super::target::Target;

/// Kinds of figures, with their ending and whether they come in base64.
const FIGURES: [(&str, &str, bool); 3] =
    [("image/png", "png", true), ("image/jpeg", "jpg", true), ("image/svg+xml", "svg", false)];

pub struct Show {
    places: Places,
    svg: bool,
    /// Why it ended has been said.
    told: bool,
    /// A REPL shows the last expression's value.
    main_too: bool,
}

impl Show {
    pub fn new(places: Places, svg: bool, main_too: bool) -> Self {
        Self { places, svg, told: false, main_too }
    }

    pub fn event(&mut self, event: &Event) -> anyhow::Result<()> {
        match event {
            Event::Stdout(chunk) => write(&mut std::io::stdout(), &chunk.text)?,
            Event::Stderr(chunk) => write(&mut std::io::stderr(), &chunk.text)?,
            Event::Result(result) => self.result(result)?,
            Event::Error(error) => {
                // `sys.exit(3)` says all it has to say by the exit status.
                if error.name != "SystemExit" || !error.traceback.is_empty() {
                    eprintln!("{}", told(error));
                }
                self.told = true;
            }
            Event::Problem(problem) => anyhow::bail!("{}: {}", problem.title, problem.detail),
            Event::End(outcome) => {
                if !std::mem::take(&mut self.told) {
                    ended(outcome);
                }
            }
        }
        Ok(())
    }

    fn result(&mut self, result: &ResultChunk) -> anyhow::Result<()> {
        if self.figure(&result.data)? || (result.main && !self.main_too) {
            return Ok(());
        }
        if let Some(Value::String(text)) = result.data.get("text/plain") {
            write(&mut std::io::stdout(), &format!("{text}\n"))?;
        }
        Ok(())
    }

    /// Saves a figure; whether it was one.
    fn figure(&mut self, data: &MimeBundle) -> anyhow::Result<bool> {
        let mut path = None;
        for (kind, ending, base64) in FIGURES {
            let Some(Value::String(content)) = data.get(kind) else { continue };
            if path.is_some() && !self.svg {
                continue;
            }
            let stem = path.get_or_insert_with(|| self.places.next_figure());
            let file = stem.with_extension(ending);
            let bytes = if base64 { decode(content)? } else { content.clone().into_bytes() };
            save(&file, &bytes)?;
            eprintln!("{}", file.display());
        }
        Ok(path.is_some())
    }

    /// Saves the files that the run made, or says what they are.
    pub async fn files(&self, target: &Target, outcome: &Outcome) -> anyhow::Result<()> {
        let Some(folder) = &self.places.output else {
            for file in &outcome.files {
                eprintln!("made {} ({} bytes); --output DIR saves it", file.path, file.size);
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
            eprintln!("{}", path.display());
        }
        Ok(())
    }
}

fn decode(content: &str) -> anyhow::Result<Vec<u8>> {
    let entry = FileEntry { path: String::new(), size: 0, content_base64: Some(content.to_owned()) };
    entry.bytes().ok_or_else(|| anyhow::anyhow!("a figure is not base64"))
}

/// A pipe that nobody reads any more ends the command quietly, as it ends others.
fn write(out: &mut impl Write, text: &str) -> anyhow::Result<()> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(141),
        written => Ok(written?),
    }
}

fn told(error: &RunError) -> String {
    let trimmed = error.traceback.trim_end();
    let limit = LimitName::ALL.iter().any(|limit| limit.as_str() == error.name);
    match (trimmed.is_empty(), limit) {
        (true, true) => error.message.clone(),
        (true, false) => format!("{}: {}", error.name, error.message),
        (false, true) => format!("{trimmed}\n{}", error.message),
        (false, false) => trimmed.to_owned(),
    }
}

fn ended(outcome: &Outcome) {
    match outcome.status {
        Status::Ok | Status::Error => {}
        Status::Timeout => eprintln!("stopped: the wall-clock limit was reached (--timeout)"),
        Status::Limit => {
            let name = outcome.error.as_ref().map_or("unknown", |error| error.name.as_str());
            eprintln!("stopped: the limit {name} was reached");
        }
        Status::Cancelled => eprintln!("cancelled"),
    }
}
