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
        ["serve", "run", "tool", "image", "secret", "deploy", "agent", "environment", "variable", "doctor", "internal"]
    );
}
