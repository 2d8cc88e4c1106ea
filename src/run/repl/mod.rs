//! The REPL: lines in, one session, values out. Multi-line input while brackets, strings or blocks are open.

mod complete;

use anyhow::Context;
use cofferdam_contract::{Language, RunRequest, SessionId};
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Editor, Helper};
use tokio::runtime::Runtime;

use super::show::Show;
use super::target::Target;
use super::{places, until_ctrl_c};
use crate::commands::run::Args;
use crate::folders::data_dir;

const HELP: &str = "\
:help        this text
:reset       a fresh session: variables, imports and files are gone
:session     the session's id
:quit        leave (so does Ctrl-D); Ctrl-C cancels what runs
A line that is not complete goes on; an empty line ends a Python block.";

struct Lines(Language);

impl Helper for Lines {}
impl Completer for Lines {
    type Candidate = String;
}
impl Hinter for Lines {
    type Hint = String;
}
impl Highlighter for Lines {}
impl Validator for Lines {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let complete = complete::is_complete(context.input(), self.0);
        Ok(if complete { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

/// Talks until the user leaves.
pub fn talk(args: &Args, runtime: &Runtime, target: &Target, first: RunRequest) -> anyhow::Result<u8> {
    let language = first.language.unwrap_or(Language::Python);
    let mut editor: Editor<Lines, FileHistory> = Editor::new().context("the terminal")?;
    editor.set_helper(Some(Lines(language)));
    let history = data_dir().map(|folder| folder.join("history"))?;
    // A history that cannot be read is an empty one.
    let _ = editor.load_history(&history);
    let begin = |limits| runtime.block_on(target.session(language, limits));
    let own = first.session.is_none();
    let mut session = match &first.session {
        Some(id) => id.clone(),
        None => begin(first.limits)?,
    };
    println!("cofferdam {}: {}, in a sandbox. :help for help.", env!("CARGO_PKG_VERSION"), language.as_str());
    let mut show = Show::new(places(args), args.svg, true);
    // Files come along once.
    let mut next = RunRequest { session: Some(session.clone()), ..first.clone() };
    loop {
        let line = match editor.readline(if language == Language::Python { ">>> " } else { "> " }) {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(error.into()),
        };
        if line.trim().is_empty() {
            continue;
        }
        editor.add_history_entry(line.trim_end())?;
        match line.trim() {
            ":quit" | ":q" | ":exit" => break,
            ":help" | ":h" => println!("{HELP}"),
            ":session" => println!("{session}"),
            ":reset" => {
                session = begin(first.limits)?;
                next = RunRequest { session: Some(session.clone()), ..first.clone() };
            }
            _ => {
                next.code = line;
                if let Err(error) = runtime.block_on(until_ctrl_c(once(target, &next, &mut show))) {
                    eprintln!("cofferdam: {error:#}");
                } else {
                    next.files = cofferdam_contract::FilesInput::default();
                }
            }
        }
    }
    save_history(&mut editor, &history);
    if own {
        end(runtime, target, &session);
    }
    Ok(0)
}

async fn once(target: &Target, request: &RunRequest, show: &mut Show) -> anyhow::Result<u8> {
    let outcome = target.stream(request, &mut |event| show.event(event)).await?;
    show.files(target, &outcome).await?;
    Ok(0)
}

fn save_history(editor: &mut Editor<Lines, FileHistory>, path: &std::path::Path) {
    let folder = path.parent().map(std::fs::create_dir_all);
    if let Some(Err(error)) = folder {
        tracing::debug!(%error, "no folder for the history");
    }
    if let Err(error) = editor.save_history(path) {
        tracing::warn!(%error, "the history could not be saved");
    }
}

fn end(runtime: &Runtime, target: &Target, session: &SessionId) {
    if let Err(error) = runtime.block_on(target.end_session(session)) {
        tracing::debug!(%error, "the session ends by itself later");
    }
}
