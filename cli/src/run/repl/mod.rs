//! The REPL: reads lines, runs them in one session, shows values. Input goes on while brackets, strings or blocks are open.

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

use super::args::Args;
use super::show::Show;
use super::target::Target;
use super::{places, until_ctrl_c};
use crate::Machine;
use crate::folders::data_dir;
use crate::terminal::{Closed, complain, say, settle};

const HELP: &str = "\
:help        show this text
:reset       start a fresh session, without variables, imports and files
:session     show the session's id
:quit        leave (as Ctrl-D does); Ctrl-C cancels the running code
An incomplete line continues on the next; an empty line ends a Python block.";

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

/// Reads and runs lines until the user leaves.
pub(super) fn talk(
    args: &Args,
    runtime: &Runtime,
    target: &Target,
    first: RunRequest,
    machine: &dyn Machine,
) -> anyhow::Result<u8> {
    let language = first.language.unwrap_or(Language::Python);
    let mut editor: Editor<Lines, FileHistory> = Editor::new().context("the terminal")?;
    editor.set_helper(Some(Lines(language)));
    let history = data_dir(machine).map(|folder| folder.join("history"))?;
    // Without a readable history, start with an empty one.
    let _ = editor.load_history(&history);
    let begin = |limits| runtime.block_on(target.session(language, limits));
    let own = first.session.is_none();
    let mut session = match &first.session {
        Some(id) => id.clone(),
        None => begin(first.limits)?,
    };
    say!("cofferdam {}: {}, in a sandbox. :help for help.", env!("CARGO_PKG_VERSION"), language.as_str())?;
    let mut show = Show::new(places(args), args.svg, true);
    // Files are sent once.
    let mut next = RunRequest { session: Some(session.clone()), ..first.clone() };
    loop {
        settle();
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
            ":help" | ":h" => HELP.lines().try_for_each(|line| say!("{line}"))?,
            ":session" => say!("{session}")?,
            ":reset" => {
                session = begin(first.limits)?;
                next = RunRequest { session: Some(session.clone()), ..first.clone() };
            }
            _ => {
                next.code = line;
                match runtime.block_on(until_ctrl_c(once(target, &next, &mut show))) {
                    Err(error) if error.is::<Closed>() => return Err(error),
                    Err(error) => complain(&format!("{error:#}")),
                    Ok(_) => next.files = cofferdam_contract::FilesInput::default(),
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
        tracing::debug!(%error, "the history's folder could not be made");
    }
    if let Err(error) = editor.save_history(path) {
        tracing::warn!(%error, "the history could not be saved");
    }
}

fn end(runtime: &Runtime, target: &Target, session: &SessionId) {
    if let Err(error) = runtime.block_on(target.end_session(session)) {
        tracing::debug!(%error, "the session could not be ended; it expires");
    }
}
