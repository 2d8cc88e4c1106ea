//! The `cofferdam` program: its commands. What they do is in the crates below and in `run` and `doctor`.

mod agent;
mod commands;
mod deploy;
mod doctor;
mod folders;
mod image;
mod run;
mod secret;
mod server;
mod sse;
mod telemetry;
mod tool;
mod worker_program;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use commands::{agent as agents, deploy as deployment, doctor as check, image as container, internal};
use commands::{run as snippet, secret as keep, serve, tool as component};

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
    Tool(component::Tool),
    Image(container::Image),
    Secret(keep::Secret),
    Deploy(Box<deployment::Args>),
    Agent(agents::Agent),
    Doctor(check::Args),
    /// The program's own child processes.
    #[command(hide = true, subcommand)]
    Internal(internal::Command),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Serve(args) => serve::main(args),
        Command::Run(args) => Ok(snippet::main(&args)),
        Command::Tool(args) => component::main(args),
        Command::Image(args) => container::main(args),
        Command::Secret(args) => keep::main(args),
        Command::Deploy(args) => Ok(deployment::main(&args)),
        Command::Agent(args) => agents::main(args),
        Command::Doctor(args) => check::main(&args),
        Command::Internal(command) => internal::main(command),
    };
    done.unwrap_or_else(|error| {
        eprintln!("cofferdam: {error:#}");
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn what_is_laid_out_in_the_help_fits_80_columns() {
        Cli::command().debug_assert();
        let mut looked_at = 0;
        for command in Cli::command().get_subcommands() {
            let Some(text) = command.get_after_long_help() else { continue };
            for line in text.to_string().lines().filter(|line| line.starts_with(' ')) {
                assert!(line.chars().count() < 80, "{}: {line:?}", command.get_name());
                looked_at += 1;
            }
        }
        assert!(looked_at > 20, "{looked_at} lines");
    }
}
