//! The flags for probes and the times that a version gets, as the API's `health`. The contract checks their bounds.

use std::time::Duration;

use cofferdam_contract::{ExecProbe, Health, HttpProbe, Probe, TcpProbe};

use crate::args::duration;

#[derive(clap::Args)]
#[command(next_help_heading = "Health")]
pub(crate) struct HealthArgs {
    /// Serve only while this answers: http:PORT[/PATH], tcp:PORT, exec:COMMAND, or `none` [default: `/health` of the
    /// published SDK where it is used, else none]
    #[arg(long, value_name = "PROBE", value_parser = probe)]
    pub(crate) readiness: Option<Probe>,
    /// When to ask it: period=TIME, timeout=TIME, failures=NUMBER [default: period=2s,timeout=2s,failures=3]
    #[arg(long, value_name = "KEY=VALUE,...", value_parser = pace)]
    pub(crate) readiness_check: Option<Pace>,
    /// Restart the container when this fails; like --readiness, without `none` [default: no such probe]
    #[arg(long, value_name = "PROBE", value_parser = probe)]
    pub(crate) liveness: Option<Probe>,
    /// When to ask it [default: period=10s,timeout=2s,failures=3]
    #[arg(long, value_name = "KEY=VALUE,...", value_parser = pace)]
    pub(crate) liveness_check: Option<Pace>,
    /// The time that it must stay ready before it serves, 0s to 1h [default: 3s]
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub(crate) min_ready: Option<u32>,
    /// The time within which it must become ready; until then no liveness probe ends it [default: the server's setting]
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub(crate) start_time: Option<u32>,
}

/// The intervals of a probe, in seconds, and its threshold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Pace {
    period_s: Option<u32>,
    timeout_s: Option<u32>,
    failures: Option<u32>,
}

impl HealthArgs {
    /// Overrides what a file says. A flag that names a probe keeps the file's intervals.
    ///
    /// # Errors
    /// Intervals for a probe that nothing names.
    pub(crate) fn over(&self, mut health: Health) -> Result<Health, String> {
        for (flag, given, pace, probe) in [
            ("--readiness", &self.readiness, &self.readiness_check, &mut health.readiness),
            ("--liveness", &self.liveness, &self.liveness_check, &mut health.liveness),
        ] {
            if let Some(given) = given {
                let before = probe.take().unwrap_or_default();
                let Probe { period_s, timeout_s, failures, .. } = before;
                *probe = Some(Probe { period_s, timeout_s, failures, ..given.clone() });
            }
            let Some(pace) = pace else { continue };
            let Some(probe) = probe else { return Err(format!("{flag}-check needs {flag}")) };
            probe.period_s = pace.period_s.or(probe.period_s);
            probe.timeout_s = pace.timeout_s.or(probe.timeout_s);
            probe.failures = pace.failures.or(probe.failures);
        }
        health.min_ready_s = self.min_ready.or(health.min_ready_s);
        health.start_s = self.start_time.or(health.start_s);
        Ok(health)
    }
}

fn probe(text: &str) -> Result<Probe, String> {
    let expected = || "expected http:PORT[/PATH], tcp:PORT, exec:COMMAND or none, such as http:8080/ready".to_owned();
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(expected);
    if text == "none" {
        return Ok(Probe { none: true, ..Probe::default() });
    }
    match text.split_once(':').ok_or_else(expected)? {
        ("http", rest) => {
            let (number, path) = match rest.find('/') {
                Some(at) => rest.split_at(at),
                None => (rest, ""),
            };
            let path = (!path.is_empty()).then(|| path.to_owned());
            Ok(Probe { http: Some(HttpProbe { port: port(number)?, path }), ..Probe::default() })
        }
        ("tcp", rest) => Ok(Probe { tcp: Some(TcpProbe { port: port(rest)? }), ..Probe::default() }),
        ("exec", rest) => Ok(Probe { exec: Some(ExecProbe { command: command(rest)? }), ..Probe::default() }),
        _ => Err(expected()),
    }
}

/// A command as words or, like Docker's CMD, as a JSON list. No shell reads it.
fn command(text: &str) -> Result<Vec<String>, String> {
    if text.trim_start().starts_with('[') {
        return serde_json::from_str(text)
            .map_err(|_| "expected a list of texts: exec:[\"/bin/check\", \"a b\"]".to_owned());
    }
    if text.contains(['"', '\'', '\\']) {
        return Err(
            "no shell reads the command: write words with spaces as a list, exec:[\"/bin/check\", \"a b\"]".to_owned()
        );
    }
    match text.split_whitespace().map(str::to_owned).collect::<Vec<_>>() {
        words if words.is_empty() => Err("expected a command after `exec:`, such as exec:/bin/check".to_owned()),
        words => Ok(words),
    }
}

fn pace(text: &str) -> Result<Pace, String> {
    let mut pace = Pace::default();
    for part in text.split(',') {
        let expected = || format!("{part:?}: expected period=TIME, timeout=TIME or failures=NUMBER");
        let (name, value) = part.split_once('=').ok_or_else(expected)?;
        match name.trim() {
            "period" => pace.period_s = Some(seconds(value)?),
            "timeout" => pace.timeout_s = Some(seconds(value)?),
            "failures" => pace.failures = Some(value.trim().parse().map_err(|_| expected())?),
            _ => return Err(expected()),
        }
    }
    Ok(pace)
}

fn seconds(text: &str) -> Result<u32, String> {
    let time: Duration = duration(text.trim())?;
    if time.subsec_nanos() > 0 {
        return Err("expected whole seconds, such as 5s or 2m".to_owned());
    }
    u32::try_from(time.as_secs()).map_err(|_| "too long".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_probe_is_http_tcp_a_command_or_none() {
        for (text, right) in [
            ("http:8080", json!({"http": {"port": 8080}})),
            ("http:8080/ready?full=1", json!({"http": {"port": 8080, "path": "/ready?full=1"}})),
            ("tcp:5432", json!({"tcp": {"port": 5432}})),
            ("exec:/bin/check --fast", json!({"exec": {"command": ["/bin/check", "--fast"]}})),
            (
                "exec:[\"/bin/sh\", \"-c\", \"test -e /tmp/up\"]",
                json!({"exec": {"command": ["/bin/sh", "-c", "test -e /tmp/up"]}}),
            ),
            ("none", json!({"none": true})),
        ] {
            assert_eq!(json!(probe(text).unwrap()), right, "{text}");
        }
        for (text, part) in [
            ("8080/ready", "http:PORT"),
            ("http://localhost:8080/ready", "http:8080/ready"),
            ("http:0", "http:PORT"),
            ("tcp:70000", "tcp:PORT"),
            ("exec:", "exec:/bin/check"),
            ("exec:sh -c 'x y'", "no shell"),
            ("exec:[1]", "list of texts"),
        ] {
            assert!(probe(text).unwrap_err().contains(part), "{text}");
        }
    }

    #[test]
    fn flags_override_the_file() {
        let flags = |readiness: Option<&str>, check: Option<&str>| HealthArgs {
            readiness: readiness.map(|text| probe(text).unwrap()),
            readiness_check: check.map(|text| pace(text).unwrap()),
            liveness: None,
            liveness_check: None,
            min_ready: Some(10),
            start_time: None,
        };
        let file: Health =
            serde_json::from_value(json!({"readiness": {"tcp": {"port": 1}, "failures": 9}, "start_s": 60})).unwrap();
        let made = flags(Some("http:8080/ready"), Some("period=5s,timeout=1s")).over(file).unwrap();
        let right: Value = json!({"readiness": {"http": {"port": 8080, "path": "/ready"}, "period_s": 5, "timeout_s": 1,
            "failures": 9}, "min_ready_s": 10, "start_s": 60});
        assert_eq!(json!(made), right);
        assert!(flags(None, Some("failures=1")).over(Health::default()).unwrap_err().contains("needs --readiness"));
        for (bad, part) in [("period", "period=TIME"), ("every=5s", "period=TIME"), ("period=500ms", "whole seconds")] {
            assert!(pace(bad).unwrap_err().contains(part), "{bad}");
        }
    }
}
