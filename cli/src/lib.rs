//! The commands of the `cofferdam` program that talk to a server, to a registry or to a worker of their own: HTTP client,
//! upload, REPL, terminal output. `cofferdam serve` is not among them.
//!
//! Never runs code itself and knows neither runtime nor controller: what needs one of them is behind [`Machine`].

#![warn(clippy::print_stdout, clippy::print_stderr)]

mod advice;
mod agent;
mod args;
mod assignments;
mod audit;
mod client;
mod connector;
mod deploy;
mod doctor;
mod environment;
mod folders;
mod image;
mod interrupt;
mod key;
mod live;
mod machine;
mod model;
mod org;
mod progress;
mod run;
mod secret;
mod stdin;
mod table;
mod task;
mod terminal;
mod thread;
mod times;
mod tool;
mod variable;

use std::process::ExitCode;

use clap::Subcommand;

pub use folders::Folders;
pub use machine::{Cancelled, Kernel, LocalWorker, Machine, WorkerFolders};

/// A command with its arguments.
#[derive(Subcommand)]
pub enum Command {
    Run(Box<run::args::Args>),
    Tool(tool::args::Tool),
    Image(image::args::Image),
    Secret(secret::args::Secret),
    Connector(connector::args::Connector),
    Model(model::args::Model),
    Deploy(Box<deploy::args::Args>),
    Agent(agent::args::Agent),
    Task(task::args::Task),
    Thread(thread::args::Thread),
    #[command(visible_alias = "env")]
    Environment(environment::args::Environment),
    Variable(variable::args::Variable),
    Org(org::args::Org),
    Key(key::args::Key),
    Audit(audit::args::Audit),
    Doctor(doctor::args::Args),
}

/// Runs a command, reports its failure, and returns its exit status.
pub fn main(command: Command, machine: &dyn Machine) -> ExitCode {
    let done = match command {
        Command::Run(args) => Ok(run::main(&args, machine)),
        Command::Tool(args) => tool::main(args.command, machine),
        Command::Image(args) => image::main(args.command),
        Command::Secret(args) => secret::main(args.command, machine),
        Command::Connector(args) => connector::main(args.command, machine),
        Command::Model(args) => model::main(args.command, machine),
        Command::Deploy(args) => Ok(deploy::main(&args, machine)),
        Command::Agent(args) => agent::main(args.command, machine),
        Command::Task(args) => task::main(args.command, machine),
        Command::Thread(args) => thread::main(args.command, machine),
        Command::Environment(args) => environment::main(args.command, machine),
        Command::Variable(args) => variable::main(args.command, machine),
        Command::Org(args) => org::main(args.command, machine),
        Command::Key(args) => key::main(args.command, machine),
        Command::Audit(args) => audit::main(&args, machine),
        Command::Doctor(args) => doctor::main(&args, machine),
    };
    done.unwrap_or_else(|error| deploy::status(Err(error)))
}
