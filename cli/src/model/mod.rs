//! `cofferdam model`: lists the models of a key, tests one, and sums up what was used.
//!
//! Never shows or takes a provider's key.

pub(crate) mod args;
mod list;
mod test;
#[cfg(test)]
mod tests;
mod usage;

use std::process::ExitCode;

use crate::Machine;
use crate::client::{block_on, find};
use args::Command;

pub(crate) fn main(command: Command, machine: &dyn Machine) -> anyhow::Result<ExitCode> {
    let server = find(machine)?;
    match command {
        Command::List(output) => block_on(list::list(&server, output.json))?,
        Command::Test(args) => return block_on(test::test(&server, &args)),
        Command::Usage(args) => block_on(usage::usage(&server, &args))?,
    }
    Ok(ExitCode::SUCCESS)
}
