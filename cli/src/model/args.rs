//! The arguments of `cofferdam model`.

use clap::{Args, Subcommand};

use crate::args::{Json, STATUSES};

/// Show, test and account for the models behind the AI gateway.
///
/// Agents, sandboxes, tools and people call models through the server, in the protocols of OpenAI and Anthropic: point a client
/// at COFFERDAM_URL with a Cofferdam key in place of the provider's. Talks to the server that COFFERDAM_URL names (with
/// COFFERDAM_API_KEY, a key with the scope run), or to the one on this machine.
#[derive(Args)]
#[command(after_long_help = STATUSES.to_owned() + HELP)]
pub struct Model {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const HELP: &str = "\
Examples:
  cofferdam model list
  cofferdam model test openai/gpt-5.2
  cofferdam model test --upstream azure-eu      # with its own key
  cofferdam model usage --by model,day --since 7d

The shortest way to a first model: start the server with OPENAI_API_KEY or
ANTHROPIC_API_KEY in its environment. Others are put by the API, for example
  curl -X PUT $COFFERDAM_URL/v1/upstreams/ollama \\
    -H \"x-api-key: $COFFERDAM_API_KEY\" -H 'content-type: application/json' \\
    -d '{\"kind\": \"compatible\", \"base_url\": \"https://ollama.example/v1\"}'
Then use it:
  OPENAI_BASE_URL=$COFFERDAM_URL/v1 OPENAI_API_KEY=$COFFERDAM_API_KEY my-tool
  ANTHROPIC_BASE_URL=$COFFERDAM_URL \\
    ANTHROPIC_API_KEY=$COFFERDAM_API_KEY my-tool";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// List the models that this key may use, with their upstreams and, for a key with the scope read, prices
    List(Json),
    Test(Test),
    Usage(Usage),
}

/// Call a model once with a few tokens, or ask an upstream for its cheapest answer.
#[derive(Args)]
#[command(after_long_help = TEST_HELP)]
pub(crate) struct Test {
    /// The model, as `model list` names it [default: the first one of the list that looks like one for chats]
    #[arg(value_name = "MODEL", conflicts_with = "upstream")]
    pub(crate) model: Option<String>,
    /// Test this upstream instead: address, TLS and key; needs a key with the scope admin
    #[arg(long, value_name = "NAME")]
    pub(crate) upstream: Option<String>,
    #[command(flatten)]
    pub(crate) output: Json,
}

const TEST_HELP: &str = "\
A model is tested as every client calls it: with the rules and budgets of the
key, and it is recorded. An upstream is tested below all of that, so that a
wrong address is told from a rule that forbids.

Examples:
  cofferdam model test                          # a model of the list
  cofferdam model test fast                     # an alias
  cofferdam model test --upstream openai";

/// Sum up the calls of models: requests, tokens, money.
#[derive(Args)]
#[command(after_long_help = USAGE_HELP)]
pub(crate) struct Usage {
    /// Groups with commas and no spaces between them, of the times one; `model` is as asked for, `served` as answered
    #[arg(long, value_name = "GROUPS", value_delimiter = ',', default_value = "model,day", value_parser = GROUPS)]
    pub(crate) by: Vec<String>,
    /// How far back, such as 24h, 7d or 30d
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = period)]
    pub(crate) since: Period,
    /// Only the calls that asked for this name: a model or an alias
    #[arg(long, value_name = "NAME")]
    pub(crate) model: Option<String>,
    /// Only the calls that this model answered; its name without the upstream
    #[arg(long, value_name = "MODEL")]
    pub(crate) served: Option<String>,
    /// Only the calls of the key with this id
    #[arg(long, value_name = "ID")]
    pub(crate) key: Option<String>,
    /// Only the calls for this agent
    #[arg(long, value_name = "NAME")]
    pub(crate) agent: Option<String>,
    /// Show single calls instead, the newest first
    #[arg(long, conflicts_with = "by")]
    pub(crate) calls: bool,
    /// The most calls
    #[arg(long, value_name = "NUMBER", default_value_t = 20, requires = "calls",
        value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) limit: u32,
    /// Print CSV, for spreadsheets
    #[arg(long, conflicts_with = "json")]
    pub(crate) csv: bool,
    #[command(flatten)]
    pub(crate) output: Json,
}

const USAGE_HELP: &str = "\
Needs a key with the scope read. Times are UTC; money is US dollars, by the
prices that were valid at each call.

Examples:
  cofferdam model usage                         # by model and day, the last week
  cofferdam model usage --by agent --since 30d
  cofferdam model usage --by task --agent support --since 24h
  cofferdam model usage --calls --agent support # the last 20 calls
  cofferdam model usage --by key,month --since 365d --csv > usage.csv";

/// The groups that the server knows.
const GROUPS: [&str; 12] =
    ["key", "agent", "task", "model", "served", "upstream", "door", "ending", "minute", "hour", "day", "month"];

/// A time back from now, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Period(pub(crate) i64);

/// The longest time back.
const MAX_PERIOD_S: i64 = 366 * 86_400;

fn period(text: &str) -> Result<Period, String> {
    let wrong = || "expected a time such as 24h, 7d or 30d, at most 366d".to_owned();
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let seconds = match unit {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return Err(wrong()),
    };
    let number: i64 = number.parse().map_err(|_| wrong())?;
    let whole = number.checked_mul(seconds).filter(|whole| (1..=MAX_PERIOD_S).contains(whole));
    whole.map(Period).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_have_units() {
        for (text, seconds) in
            [("7d", 604_800), ("24h", 86_400), ("1w", 604_800), ("366d", MAX_PERIOD_S), ("90m", 5_400)]
        {
            assert_eq!(period(text), Ok(Period(seconds)), "{text}");
        }
        for bad in ["", "7", "d", "0d", "367d", "-1d", "7y", "99999999999999999999d", "9999999999999999d"] {
            assert!(period(bad).is_err(), "{bad}");
        }
    }
}
