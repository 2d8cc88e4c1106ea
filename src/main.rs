//! The `cofferdam` program: its commands. What they do is in the crates below and in `run` and `doctor`.

mod commands;
mod doctor;
mod folders;
mod run;
mod telemetry;
mod worker_program;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use commands::{doctor as check, internal, run as snippet, serve};

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
    Run(Box<snippet::Args>),
    Doctor(check::Args),
    /// The program's own child processes.
    #[command(hide = true, subcommand)]
    Internal(internal::Command),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Serve(args) => serve::main(args),
        Command::Run(args) => snippet::main(*args),
        Command::Doctor(args) => check::main(&args),
        Command::Internal(command) => internal::main(command),
    };
    done.unwrap_or_else(|error| {
        eprintln!("cofferdam: {error:#}");
        ExitCode::FAILURE
    })
}
