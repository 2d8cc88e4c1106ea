//! The arguments of `cofferdam run`.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use cofferdam_contract::Language;

use crate::Folders;
use crate::args::{bytes, duration, variable};

/// Run a Python, JavaScript or TypeScript snippet in a fresh sandbox, or start a REPL if no file is given.
///
/// Uses the server that COFFERDAM_URL names (with COFFERDAM_API_KEY), or a worker of its own if it is not set.
#[derive(clap::Args)]
#[command(after_long_help = HELP)]
pub struct Args {
    /// The source; `-` reads it from standard input; without it, a REPL
    #[arg(value_name = "FILE")]
    pub(crate) source: Option<String>,
    /// [default: from the file's extension (.py .js .mjs .ts), else python]
    #[arg(long, value_enum)]
    pub(crate) lang: Option<Lang>,
    /// Run in this session of the server
    #[arg(long, value_name = "ID")]
    pub(crate) session: Option<String>,
    /// Copy a file into the working folder, under its own name or another: PATH or NAME=PATH
    #[arg(long = "file", value_name = "PATH")]
    pub(crate) files: Vec<String>,
    /// Ask for outbound HTTP to a host
    #[arg(long, value_name = "HOST")]
    pub(crate) allow_http: Vec<String>,
    /// Wall time, such as 10s, 500ms or 2m
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
    /// Memory, such as 256MiB or 1GiB
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub(crate) memory: Option<u64>,
    /// Print the whole outcome as JSON instead of the output
    #[arg(long)]
    pub(crate) json: bool,
    /// Also save figures as SVG
    #[arg(long)]
    pub(crate) svg: bool,
    /// The code's standard input; `-` for this command's own
    #[arg(long, value_name = "FILE")]
    pub(crate) stdin: Option<String>,
    /// A variable of the code's environment
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = variable)]
    pub(crate) variables: Vec<(String, String)>,
    /// Save figures and the files that the run made in this folder
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) folders: Folders,
    /// Arguments for the code
    #[arg(last = true, value_name = "ARGS")]
    pub(crate) args: Vec<String>,
}

/// Lines have at most 79 characters: wrapping would break the columns.
const HELP: &str = "\
Exit status:
  the code's own, and
    1  if it raised an exception
    2  for a wrong command line
  124  after a timeout
  125  if another limit stopped it; standard error says which
  126  if the run was refused or could not be started
  130  when cancelled

Figures are saved beside the source as figure-1.png, figure-2.png, ...

A terminal gets the output's text, foreground colours, bold, dim, italic and underline;
everything else that it would obey is shown as \\u{1b}. A file or a pipe gets the bytes.

Examples:
  cofferdam run analysis.py --file sales.csv --output results
  echo 'console.log(1 + 1)' | cofferdam run - --lang javascript
  cofferdam run job.py --timeout 10s --memory 256MiB -- --verbose
  cofferdam run plot.py --json | jq .results
  cofferdam run                                 # a Python REPL; :help there
  export COFFERDAM_URL=http://127.0.0.1:8080 COFFERDAM_API_KEY=...
  cofferdam run hello.ts                        # on that server";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Lang {
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
