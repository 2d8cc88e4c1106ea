//! The party at fault for a failure. Every crate has an error type of its own that tells through [`Failure`] what a
//! client may see; only `cofferdam-http` turns that into a response.

use std::error::Error;
use std::io::{self, ErrorKind};

use cofferdam_contract::Problem;

use crate::RandomError;

/// The party at fault for a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame<'a> {
    /// The caller, a limit or a policy. The problem says which, and is safe to show.
    Refused(&'a Problem),
    /// A worker process broke the protocol between it and the controller.
    Worker,
    /// We, or the operator. The log gets the whole chain of causes, the client a safe sentence.
    Internal,
}

/// An error that knows the party at fault.
pub trait Failure: Error + Send + Sync + 'static {
    fn blame(&self) -> Blame<'_>;

    /// The problem that the client is shown; `None` if the client is not to blame.
    fn refused(&self) -> Option<&Problem> {
        match self.blame() {
            Blame::Refused(problem) => Some(problem),
            Blame::Worker | Blame::Internal => None,
        }
    }
}

impl Failure for Problem {
    fn blame(&self) -> Blame<'_> {
        Blame::Refused(self)
    }
}

impl Failure for RandomError {
    fn blame(&self) -> Blame<'_> {
        Blame::Internal
    }
}

/// The text of an error with all of its causes, for the log.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Some errors already contain their cause.
        let why = error.to_string();
        if !text.contains(&why) {
            text.push_str(": ");
            text.push_str(&why);
        }
        cause = error.source();
    }
    text
}

/// Linux's codes for no open files left, of this process and of the machine.
const OPEN_FILES: [i32; 2] = [24, 23];

/// The means of this machine that a failure has used up, as a sentence for the client; `None` for other failures.
pub fn used_up(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(what) = error.downcast_ref::<io::Error>().and_then(used_up_by) {
            return Some(what);
        }
        next = error.source();
    }
    None
}

fn used_up_by(error: &io::Error) -> Option<&'static str> {
    match error.kind() {
        ErrorKind::StorageFull => Some("A disk of the server or of its database is full; its operator must make room."),
        ErrorKind::QuotaExceeded => Some("The disk quota of the server is reached; its operator must raise it."),
        _ if error.raw_os_error().is_some_and(|code| OPEN_FILES.contains(&code)) => {
            Some("The server has no open files left (its limit is `nofile`); try again later.")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the upload failed")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn a_chain_names_every_cause_once() {
        let error = Outer(std::io::Error::other("disk full"));
        assert_eq!(chain(&error), "the upload failed: disk full");
    }

    #[test]
    fn used_up_means_are_found_anywhere_in_a_chain() {
        let (nospc, mfile, io) = (28, 24, 5);
        let found = |code| used_up(&Outer(io::Error::from_raw_os_error(code)));
        assert!(found(nospc).is_some_and(|what| what.contains("disk")));
        assert!(found(mfile).is_some_and(|what| what.contains("open files")));
        assert_eq!(found(io), None);
        let wrapped = io::Error::new(ErrorKind::StorageFull, "database or disk is full");
        assert!(used_up(&Outer(wrapped)).is_some());
    }

    #[test]
    fn a_problem_is_a_refusal() {
        let problem = Problem::not_found("no such tool");
        assert_eq!(problem.refused(), Some(&problem));
    }
}
