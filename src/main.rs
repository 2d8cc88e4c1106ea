//! The `cofferdam` program: joins the commands, the controller and the runtime.

mod internal;
mod machine;
mod serve;
mod telemetry;
mod workers;

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
    let done = match Cli::parse().command {
        Command::Client(command) => return cofferdam_cli::main(command, &machine::ThisMachine),
        Command::Serve(args) => serve::main(args),
        Command::Internal(command) => internal::main(command),
    };
    done.unwrap_or_else(|error| {
        telemetry::tell(format_args!("cofferdam: {error:#}"));
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests;
