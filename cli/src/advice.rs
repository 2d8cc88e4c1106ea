//! Errors of two kinds that commands make themselves: a wrong value on the command line, and an error with the command that
//! mends it. Never decides which of a server's answers is a failure.

use std::fmt;

/// A value that the command refuses before it asks anyone: the exit status is that of a wrong command line.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct WrongLine(pub(crate) String);

impl WrongLine {
    /// Makes one of an error in a value.
    pub(crate) fn of(error: &anyhow::Error) -> anyhow::Error {
        Self(format!("{error:#}")).into()
    }
}

/// A sentence that is told after the error which it is the context of: the cause comes first.
#[derive(Debug)]
struct Advice(String);

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Adds what to do to an error.
pub(crate) fn advise(error: anyhow::Error, todo: impl Into<String>) -> anyhow::Error {
    error.context(Advice(todo.into()))
}

/// The error as it is told: the causes, and the advice on a line after them.
pub(crate) fn in_order(error: anyhow::Error) -> anyhow::Error {
    let Some(todo) = error.downcast_ref::<Advice>().map(|advice| advice.0.clone()) else { return error };
    let causes: Vec<String> = error.chain().map(ToString::to_string).filter(|text| *text != todo).collect();
    anyhow::Error::msg(format!("{}\n{todo}", causes.join(": ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_comes_first_and_stays_what_it_is() {
        let error = advise(anyhow::Error::new(WrongLine("no".to_owned())).context("--env"), "do this");
        assert!(error.is::<Advice>() && error.downcast_ref::<WrongLine>().is_some());
        assert_eq!(format!("{:#}", in_order(error)), "--env: no\ndo this");
        assert_eq!(format!("{:#}", in_order(anyhow::anyhow!("a").context("b"))), "b: a");
    }
}
