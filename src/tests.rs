//! The command line as a whole.

use clap::CommandFactory;

use super::Cli;

#[test]
fn what_is_laid_out_in_the_help_fits_80_columns() {
    Cli::command().debug_assert();
    let mut lines = 0;
    for command in Cli::command().get_subcommands() {
        let Some(text) = command.get_after_long_help() else { continue };
        for line in text.to_string().lines().filter(|line| line.starts_with(' ')) {
            assert!(line.chars().count() < 80, "{}: {line:?}", command.get_name());
            lines += 1;
        }
    }
    assert!(lines > 20, "{lines} lines");
}

#[test]
fn the_commands_are_in_the_order_of_the_help() {
    let command = Cli::command();
    let names: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
    assert_eq!(
        names,
        [
            "serve",
            "run",
            "tool",
            "image",
            "secret",
            "connector",
            "model",
            "deploy",
            "agent",
            "task",
            "thread",
            "environment",
            "variable",
            "org",
            "key",
            "audit",
            "doctor",
            "internal"
        ]
    );
}

#[test]
fn the_help_of_serve_names_no_variable_that_the_docs_do_not_know() {
    let docs = concat!(
        include_str!("../docs/operations.md"),
        include_str!("../docs/agents.md"),
        include_str!("../docs/logs.md"),
        include_str!("../docs/limits.md")
    );
    let command = Cli::command();
    let serve = command.get_subcommands().find(|command| command.get_name() == "serve").unwrap();
    let help = serve.get_after_long_help().unwrap().to_string();
    let names = help.split(|c: char| !(c.is_ascii_uppercase() || c == '_' || c.is_ascii_digit()));
    let names: Vec<&str> = names.filter(|name| name.starts_with("COFFERDAM_") && !name.ends_with('_')).collect();
    assert!(names.len() > 25, "{names:?}");
    for name in names {
        assert!(docs.contains(name), "{name}");
    }
    assert!(!help.contains("--role all") && !format!("{}", serve.clone().render_long_help()).contains("default: all]"));
}
