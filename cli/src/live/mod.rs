//! Follows a task in the terminal: its answer as it comes, what it thinks, its tool calls and sub-agents, and questions to a person.
//! A command that ends changes nothing: the task goes on in the server, and `cofferdam task follow` shows it again.

mod decide;
mod event;
mod follow;
mod lines;
mod spinner;
mod view;

use std::collections::BTreeMap;
use std::io::{IsTerminal, stderr, stdin};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;

use crate::client::Server;
use crate::interrupt::{Interrupt, interrupted};
use crate::terminal::{json_line, note, print};
use decide::{Choice, Question};
pub(crate) use decide::{send as send_decision, shown as shown_call};
use event::Event;
use follow::Sent;
pub(crate) use follow::Start;
use lines::Lines;
use view::View;
pub(crate) use view::summary;

/// The silence after which an open question is put: what is told of the past has passed then.
const QUIET: Duration = Duration::from_millis(400);
/// Events that wait to be shown. A stream is not read on while there are more.
const MAX_WAITING: usize = 256;

/// The exit statuses of a command that follows a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Completed = 0,
    /// It failed, or was stopped.
    Failed = 1,
    /// It waits for a person.
    Waits = 3,
    /// Ctrl-C: the task goes on.
    Left = 130,
    Terminated = 143,
}

impl From<End> for ExitCode {
    fn from(end: End) -> Self {
        Self::from(end as u8)
    }
}

/// The things that are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Live,
    /// Each event as a line of JSON.
    Json,
}

/// Follows a task to its end.
///
/// # Errors
/// The server refused, or could not be reached for long.
pub(crate) async fn live(server: &Server, start: Start, form: Form) -> anyhow::Result<End> {
    let talks = form == Form::Live && stdin().is_terminal() && stderr().is_terminal();
    let (sender, mut events) = mpsc::channel(MAX_WAITING);
    let mut session = Session {
        server,
        form,
        talks,
        view: View::new(form),
        lines: Lines::default(),
        open: BTreeMap::new(),
        paused: BTreeMap::new(),
        asked: None,
        followers: follow::Followers::new(server.clone(), sender, start),
        task: None,
    };
    let mut interrupt = Box::pin(interrupted());
    loop {
        let waits = session.waits();
        tokio::select! {
            sent = events.recv() => {
                let Some(sent) = sent else { return Ok(End::Failed) };
                if let Some(end) = session.take(sent)? {
                    return Ok(end);
                }
            }
            () = tokio::time::sleep(QUIET), if waits => {
                if let Some(end) = session.quiet() {
                    return Ok(end);
                }
            }
            line = session.lines.next(), if session.asked.is_some() => {
                if let Some(end) = session.answer(line).await {
                    return Ok(end);
                }
            }
            signal = &mut interrupt => {
                interrupt = Box::pin(interrupted());
                if let Some(end) = session.interrupted(signal) {
                    return Ok(end);
                }
            }
        }
    }
}

/// The question that is on the terminal.
enum Asked {
    Call(Question),
    /// Ctrl-C: leave, stop, or go on.
    Leave,
}

/// A task, and a call of it.
type Call = (String, String);

struct Session<'a> {
    server: &'a Server,
    form: Form,
    /// There is somebody to ask.
    talks: bool,
    view: View,
    lines: Lines,
    /// Calls that wait for a person.
    open: BTreeMap<Call, Value>,
    /// Tasks that are paused, and why.
    paused: BTreeMap<String, String>,
    asked: Option<Asked>,
    followers: follow::Followers,
    /// The task, once it is known.
    task: Option<String>,
}

impl Session<'_> {
    fn waits(&self) -> bool {
        self.asked.is_none() && (!self.paused.is_empty() || (self.talks && !self.open.is_empty()))
    }

    /// Shows an event. Returns the end if it is the last one.
    fn take(&mut self, sent: Sent) -> anyhow::Result<Option<End>> {
        let (event, depth) = match sent {
            Sent::Event { event, depth } => (event, depth),
            Sent::Failed(error) => {
                self.view.end();
                if let Some(task) = &self.task {
                    note!("the task goes on in the server; follow it with: cofferdam task follow {task}");
                }
                return Err(error);
            }
        };
        if depth == 0 && self.task.is_none() {
            self.task = Some(event.task_id.clone());
        }
        if self.form == Form::Json {
            print(&format!("{}\n", json_line(&event.text)))?;
        }
        self.note(&event);
        self.view.show(&event, depth)?;
        if event.kind == "sub_agent_trigger" && self.form == Form::Live {
            self.followers.child(event.word("/task_id"), depth + 1);
        }
        if event.kind != "task_finished" || depth > 0 {
            return Ok(None);
        }
        self.asked = None;
        self.view.finish(&event.data)?;
        Ok(Some(if event.word("/status") == "completed" { End::Completed } else { End::Failed }))
    }

    /// Keeps who waits for what.
    fn note(&mut self, event: &Event) {
        let call = |id: &str| (event.task_id.clone(), id.to_owned());
        match event.kind.as_str() {
            "approval_requested" => {
                self.open.insert(call(event.word("/call_id")), event.data.clone());
            }
            "approval_settled" | "tool_call_result" => {
                let settled = call(event.word("/call_id"));
                self.open.remove(&settled);
                if matches!(&self.asked, Some(Asked::Call(question)) if question.call == settled) {
                    note!("it was answered elsewhere");
                    self.asked = None;
                }
            }
            "task_created" | "task_updated" | "task_finished" => {
                match event.word("/status") {
                    "paused" => self.paused.insert(event.task_id.clone(), event.word("/internal_status").to_owned()),
                    _ => self.paused.remove(&event.task_id),
                };
                if event.kind == "task_finished" {
                    self.open.retain(|(task, _), _| *task != event.task_id);
                }
            }
            _ => {}
        }
    }

    /// Nothing comes any more, and somebody is waited for.
    fn quiet(&mut self) -> Option<End> {
        self.view.rest();
        if self.talks
            && let Some((call, asked)) = self.open.first_key_value()
        {
            let question = Question::new(call.clone(), asked.clone());
            question.put();
            self.lines.ask();
            self.asked = Some(Asked::Call(question));
            return None;
        }
        for (task, why) in &self.paused {
            match why.as_str() {
                "needs_approval" | "needs_decision" => {}
                "needs_login" => note!("the task waits for a login; afterwards: cofferdam task resume {task}"),
                _ => note!("the task is paused; it goes on with: cofferdam task resume {task}"),
            }
        }
        for (call, asked) in &self.open {
            Question::new(call.clone(), asked.clone()).tell();
        }
        self.leave_word();
        Some(End::Waits)
    }

    fn leave_word(&self) {
        if let Some(task) = &self.task {
            note!("follow it with: cofferdam task follow {task}");
        }
    }

    /// Takes a line that a person typed.
    async fn answer(&mut self, line: Option<String>) -> Option<End> {
        let Some(line) = line else {
            // The end of the input: there is nobody any more.
            (self.talks, self.asked) = (false, None);
            return None;
        };
        match self.asked.take() {
            Some(Asked::Leave) => match line.trim() {
                "" | "d" | "detach" => Some(self.detach()),
                "s" | "stop" => {
                    if let Some(task) = &self.task
                        && let Err(error) = crate::task::steer(self.server, task, "stop").await
                    {
                        note!("it was not stopped: {error:#}");
                    }
                    None
                }
                "c" | "continue" => None,
                _ => {
                    self.ask_to_leave();
                    None
                }
            },
            Some(Asked::Call(question)) => {
                match question.answer(&line) {
                    Choice::Answer(body) => match decide::send(self.server, &question.call, &body).await {
                        Ok(_) => {
                            self.open.remove(&question.call);
                            self.paused.remove(&question.call.0);
                        }
                        Err(error) => {
                            note!("{error:#}");
                            self.open.remove(&question.call);
                        }
                    },
                    Choice::Again(next) => {
                        next.put();
                        self.lines.ask();
                        self.asked = Some(Asked::Call(next));
                    }
                }
                None
            }
            None => None,
        }
    }

    fn ask_to_leave(&mut self) {
        self.view.rest();
        note!("[d] leave, and let the task go on (default)   [s] stop the task   [c] continue here");
        self.lines.ask();
        self.asked = Some(Asked::Leave);
    }

    fn detach(&mut self) -> End {
        self.view.end();
        match &self.task {
            Some(task) => note!("the task goes on; follow it with: cofferdam task follow {task}"),
            None => note!("if the server had taken the task, it goes on: cofferdam task list"),
        }
        End::Left
    }

    fn interrupted(&mut self, signal: Interrupt) -> Option<End> {
        match signal {
            Interrupt::Terminated => {
                self.detach();
                Some(End::Terminated)
            }
            // A second one, or nobody to ask.
            Interrupt::Interrupted
                if !self.talks || self.task.is_none() || matches!(self.asked, Some(Asked::Leave)) =>
            {
                Some(self.detach())
            }
            Interrupt::Interrupted => {
                self.ask_to_leave();
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
