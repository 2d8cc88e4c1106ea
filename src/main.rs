//! The `cofferdam` program: joins the commands, the controller and the runtime.

mod internal;
mod machine;
mod serve;
mod telemetry;
mod workers;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Cofferdam runs untrusted code in watertight WebAssembly compartments.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Serve(serve::Args),
    #[command(flatten)]
    Client(cofferdam_cli::Command),
    /// The program's own child processes.
    #[command(hide = true, subcommand)]
    Internal(internal::Command),
}

fn main() -> ExitCode {
    let parsed = match Cli::try_parse() {
        Ok(parsed) => parsed,
        Err(error) => return explained(&error),
    };
    let done = match parsed.command {
        Command::Client(command) => return cofferdam_cli::main(command, &machine::ThisMachine),
        Command::Serve(args) => serve::main(args),
        Command::Internal(command) => internal::main(command),
    };
    done.unwrap_or_else(|error| {
        telemetry::tell(format_args!("cofferdam: {error:#}"));
        ExitCode::FAILURE
    })
}

/// Prints help, the version or a wrong command line, and returns the exit status. Help that could not be written is a
/// failure, as for any command.
fn explained(error: &clap::Error) -> ExitCode {
    let written = error.print().and_then(|()| std::io::stdout().flush());
    match error.exit_code() {
        0 if written.is_err() => ExitCode::FAILURE,
        status => ExitCode::from(u8::try_from(status).unwrap_or(1)),
    }
}

#[cfg(test)]
mod tests;
