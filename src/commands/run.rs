//! `cofferdam run`: one snippet, or a REPL.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;
use cofferdam_contract::Language;

use crate::folders::Folders;

/// Run a Python, JavaScript or TypeScript snippet in a fresh sandbox, or a REPL where no file is given.
///
/// Uses the server that COFFERDAM_URL names (with COFFERDAM_API_KEY), and a worker of its own otherwise.
#[derive(clap::Args)]
#[command(after_long_help = HELP)]
pub struct Args {
    /// The source; `-` reads it from standard input; without it, a REPL
    #[arg(value_name = "FILE")]
    pub source: Option<String>,
    /// [default: by the file's ending (.py .js .mjs .ts), else python]
    #[arg(long, value_enum)]
    pub lang: Option<Lang>,
    /// Run in this session of the server
    #[arg(long, value_name = "ID")]
    pub session: Option<String>,
    /// Bring a file into the working folder, under its own name or another: PATH or NAME=PATH
    #[arg(long = "file", value_name = "PATH")]
    pub files: Vec<String>,
    /// Ask for outbound HTTP to a host
    #[arg(long, value_name = "HOST")]
    pub allow_http: Vec<String>,
    /// Wall time, such as 10s, 500ms or 2m
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub timeout: Option<Duration>,
    /// Memory, such as 256MiB or 1GiB
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub memory: Option<u64>,
    /// Print the whole outcome as JSON instead of the output
    #[arg(long)]
    pub json: bool,
    /// Save figures as SVG too
    #[arg(long)]
    pub svg: bool,
    /// What the code reads as its standard input; `-` is this command's own
    #[arg(long, value_name = "FILE")]
    pub stdin: Option<String>,
    /// A variable of the code's environment
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = variable)]
    pub variables: Vec<(String, String)>,
    /// Save the files that the run made, and figures, in this folder
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub folders: Folders,
    /// Arguments of the code
    #[arg(last = true, value_name = "ARGS")]
    pub args: Vec<String>,
}

/// Lines of at most 79 characters: what is laid out in columns would not survive being wrapped.
const HELP: &str = "\
Exit status:
  the code's own, and
    1  where it raised
    2  where this command line is wrong
  124  after a timeout
  125  where another limit stopped it; standard error says which
  126  where the run was refused or could not be made
  130  when cancelled

Figures are saved beside the source as figure-1.png, figure-2.png, ...

Examples:
  cofferdam run analysis.py --file sales.csv --output results
  echo 'console.log(1 + 1)' | cofferdam run - --lang javascript
  cofferdam run job.py --timeout 10s --memory 256MiB -- --verbose
  cofferdam run plot.py --json | jq .results
  cofferdam run                                 # a Python REPL; :help there
  export COFFERDAM_URL=http://127.0.0.1:8080 COFFERDAM_API_KEY=...
  cofferdam run hello.ts                        # by that server";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Lang {
    Python,
    Javascript,
    Typescript,
}

impl From<Lang> for Language {
    fn from(lang: Lang) -> Self {
        match lang {
            Lang::Python => Self::Python,
            Lang::Javascript => Self::JavaScript,
            Lang::Typescript => Self::TypeScript,
        }
    }
}

/// A number and the unit after it.
fn split(text: &str) -> Result<(u64, &str), String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    Ok((number.parse().map_err(|e| format!("{e}"))?, unit.trim()))
}

pub fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text)?;
    let millis = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" | "min" => 60_000,
        other => return Err(format!("{other:?} is no unit of time: ms, s or m")),
    };
    Ok(Duration::from_millis(number.checked_mul(millis).ok_or("too long")?))
}

fn bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text)?;
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kib" | "kb" => 10,
        "m" | "mib" | "mb" => 20,
        "g" | "gib" | "gb" => 30,
        other => return Err(format!("{other:?} is no unit of size: KiB, MiB or GiB")),
    };
    number.checked_mul(1 << shift).ok_or_else(|| "too large".to_owned())
}

fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("say NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

pub fn main(args: &Args) -> ExitCode {
    crate::run::main(args)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_have_units() {
        for (text, millis) in [
            ("10s", Some(10_000)),
            ("500ms", Some(500)),
            ("2m", Some(120_000)),
            ("3", Some(3_000)),
            ("x", None),
            ("5h", None),
        ] {
            assert_eq!(duration(text).ok().map(|d| d.as_millis()), millis, "{text}");
        }
        for (text, size) in [
            ("256MiB", Some(256 << 20)),
            ("1g", Some(1 << 30)),
            ("7", Some(7)),
            ("99999999999GiB", None),
            ("MiB", None),
        ] {
            assert_eq!(bytes(text).ok(), size, "{text}");
        }
    }
}
