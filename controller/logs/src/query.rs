//! Queries: the part of a log that a caller wants to see. Pure.

use cofferdam_contract::Problem;
use regex::{Regex, RegexBuilder};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::batch::Line;
use crate::time;

const MAX_PATTERN: usize = 1_024;
/// Memory of a compiled pattern, and of its search cache.
const MAX_COMPILED: usize = 256 << 10;

/// The parameters of a request.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LogQuery {
    /// Lines written since then: RFC 3339, Unix seconds, or an age such as `90s`, `10m`, `1h30m`, `2d`.
    pub since: Option<String>,
    /// Begin with this many of the last lines (only matching ones if `grep` or `version` is given), then follow.
    pub tail: Option<u64>,
    /// Continue with new lines; true by default.
    #[param(value_type = Option<bool>)]
    pub follow: Option<String>,
    /// A regular expression that the line has to match somewhere. Its time is linear: no look-around, no
    /// back-references.
    pub grep: Option<String>,
    /// Lines of this deployment's number.
    pub version: Option<u64>,
}

/// A checked query.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Nanoseconds of Unix time.
    pub since: Option<i64>,
    pub tail: Option<u64>,
    pub follow: bool,
    pub grep: Option<Regex>,
    pub version: Option<u64>,
    /// The last line that the caller has. The log continues behind it, whatever `since` and `tail` say.
    pub after: Option<u64>,
}

impl LogQuery {
    /// Checks the parameters. `last_event_id` is the header's value.
    ///
    /// # Errors
    /// A parameter is invalid; the problem names it.
    pub fn understand(&self, last_event_id: Option<&str>) -> Result<Query, Problem> {
        let since = self.since.as_deref().filter(|text| !text.is_empty()).map(|text| {
            let what = "is neither a time (RFC 3339, Unix seconds) nor an age such as `10m` or `1h30m`";
            time::since(text, time::now()).ok_or_else(|| Problem::invalid(format!("since: {:?} {what}.", cut(text))))
        });
        let grep = self.grep.as_deref().filter(|text| !text.is_empty()).map(pattern);
        let after = last_event_id.filter(|text| !text.is_empty()).map(|text| {
            let what = "is not the id of an event of this stream: they are numbers";
            text.trim().parse().map_err(|_| Problem::invalid(format!("Last-Event-ID: {:?} {what}.", cut(text))))
        });
        let follow = match self.follow.as_deref() {
            None | Some("" | "true" | "1" | "yes") => true,
            Some("false" | "0" | "no") => false,
            Some(other) => return Err(Problem::invalid(format!("follow: {:?} is not `true` or `false`.", cut(other)))),
        };
        Ok(Query {
            since: since.transpose()?,
            tail: self.tail,
            follow,
            grep: grep.transpose()?,
            version: self.version,
            after: after.transpose()?,
        })
    }
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

fn pattern(text: &str) -> Result<Regex, Problem> {
    if text.len() > MAX_PATTERN {
        return Err(Problem::invalid(format!("grep: it has more than {MAX_PATTERN} bytes.")));
    }
    let built = RegexBuilder::new(text).size_limit(MAX_COMPILED).dfa_size_limit(MAX_COMPILED).nest_limit(50).build();
    built.map_err(|error| Problem::invalid(format!("grep: {}", cut(&error.to_string().replace('\n', " ")))))
}

impl Query {
    /// Returns whether every line is wanted.
    pub fn takes_all(&self) -> bool {
        self.grep.is_none() && self.version.is_none() && (self.since.is_none() || self.after.is_some())
    }

    pub fn takes(&self, line: &Line<'_>) -> bool {
        self.version.is_none_or(|version| version == line.version)
            && (self.after.is_some() || self.since.is_none_or(|since| line.at >= since))
            && self.grep.as_ref().is_none_or(|grep| grep.is_match(&line.text()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let ask = |query: LogQuery, id: Option<&str>| query.understand(id).map_err(|problem| problem.detail);
        let said = |text: &str| Some(text.to_owned());
        for (query, id, part) in [
            (LogQuery { since: said("soon"), ..LogQuery::default() }, None, "since"),
            (LogQuery { follow: said("maybe"), ..LogQuery::default() }, None, "follow"),
            (LogQuery { grep: said("("), ..LogQuery::default() }, None, "grep"),
            (LogQuery { grep: Some("x".repeat(2_000)), ..LogQuery::default() }, None, "grep"),
            (LogQuery { grep: said("(((a{100}){100}){100}){100}"), ..LogQuery::default() }, None, "grep"),
            (LogQuery { grep: said(r"(?=x)"), ..LogQuery::default() }, None, "grep"),
            (LogQuery::default(), Some("x7"), "Last-Event-ID"),
        ] {
            let error = ask(query, id).unwrap_err();
            assert!(error.starts_with(part), "{error}");
        }
        let query = ask(LogQuery { tail: Some(5), since: said("10m"), ..LogQuery::default() }, Some("17")).unwrap();
        assert!(query.follow && query.after == Some(17) && query.takes_all());
    }
}
