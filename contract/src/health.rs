//! Probes of a container agent, and the times that it gets: settings of a deployment with their bounds. Pure.

use serde::{Deserialize, Serialize};

use crate::text::is_invisible;

/// The port on which an agent built on the published SDK answers, unless `XPANDER_STREAMING_PORT` names another.
pub const SDK_PORT: u16 = 59_321;
/// The path that the published SDK answers on its port.
pub const SDK_HEALTH_PATH: &str = "/health";
/// A version must stay ready for this long before it serves, unless its deployment says otherwise.
pub const DEFAULT_MIN_READY_S: u32 = 3;
/// The longest time that a deployment may ask for.
pub const MAX_TIME_S: u32 = 3_600;
const MAX_PROBE_TIME_S: u32 = 300;
const MAX_FAILURES: u32 = 100;
const MAX_PATH_BYTES: usize = 1_024;
const MAX_COMMAND_WORDS: usize = 32;
const MAX_COMMAND_BYTES: usize = 4_096;

/// The probes of a container and the times that it gets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Health {
    /// Asked until it succeeds, and again and again: the version serves while it does. Without it, an agent that is built
    /// on the published SDK is asked for `/health` on the SDK's port; any other is ready while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<Probe>,
    /// Asked once the container has started; when it fails, the node restarts the container. None by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liveness: Option<Probe>,
    /// Seconds for which a version must stay ready before it serves. Default: 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_ready_s: Option<u32>,
    /// Seconds within which a version must become ready. Until then no liveness probe ends it. Default: the server's
    /// setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_s: Option<u32>,
}

/// A question to a container: exactly one of `http`, `tcp`, `exec` and, for readiness only, `none`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Probe {
    /// Succeeds with a status from 200 to 399.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpProbe>,
    /// Succeeds if the port accepts a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpProbe>,
    /// Succeeds if the command, run in the container, exits with 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec: Option<ExecProbe>,
    /// Asks nothing: the container is ready while it runs, even if it is built on the published SDK.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub none: bool,
    /// Seconds between two questions. Default: 2 for readiness, 10 for liveness.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period_s: Option<u32>,
    /// Seconds that an answer may take. Default: 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<u32>,
    /// Failures in a row that count. Default: 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failures: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HttpProbe {
    pub port: u16,
    /// The path with its query. Default: `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TcpProbe {
    pub port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ExecProbe {
    /// The program and its arguments. No shell is involved.
    pub command: Vec<String>,
}

impl Health {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// # Errors
    /// A message that names the first invalid part.
    pub fn check(&self) -> Result<(), String> {
        for (field, value) in [("min_ready_s", self.min_ready_s), ("start_s", self.start_s)] {
            let least = u32::from(field == "start_s");
            if value.is_some_and(|value| !(least..=MAX_TIME_S).contains(&value)) {
                return Err(format!("health.{field}: {least} to {MAX_TIME_S} seconds"));
            }
        }
        if let (Some(min_ready), Some(start)) = (self.min_ready_s, self.start_s)
            && min_ready >= start
        {
            return Err("health.min_ready_s: must be shorter than health.start_s, or no version ever serves".to_owned());
        }
        if self.liveness.as_ref().is_some_and(|probe| probe.none) {
            return Err("health.liveness: leave it out for none".to_owned());
        }
        let probes = [("readiness", &self.readiness), ("liveness", &self.liveness)];
        probes.into_iter().try_for_each(|(field, probe)| probe.as_ref().map_or(Ok(()), |probe| probe.check(field)))
    }
}

impl Probe {
    fn check(&self, field: &str) -> Result<(), String> {
        let ways = [self.http.is_some(), self.tcp.is_some(), self.exec.is_some(), self.none];
        if ways.into_iter().filter(|given| *given).count() != 1 {
            return Err(format!("health.{field}: give exactly one of `http`, `tcp` and `exec`"));
        }
        for (name, value, most) in [
            ("period_s", self.period_s, MAX_PROBE_TIME_S),
            ("timeout_s", self.timeout_s, MAX_PROBE_TIME_S),
            ("failures", self.failures, MAX_FAILURES),
        ] {
            if value.is_some_and(|value| !(1..=most).contains(&value)) {
                return Err(format!("health.{field}.{name}: 1 to {most}"));
            }
        }
        let port = self.http.as_ref().map(|http| http.port).or_else(|| self.tcp.as_ref().map(|tcp| tcp.port));
        if port == Some(0) {
            return Err(format!("health.{field}: the port is 1 to 65535"));
        }
        if let Some(path) = self.http.as_ref().and_then(|http| http.path.as_deref())
            && !is_path(path)
        {
            return Err(format!(
                "health.{field}.http.path: begins with `/`, at most {MAX_PATH_BYTES} visible characters"
            ));
        }
        match &self.exec {
            Some(exec) if !is_command(&exec.command) => Err(format!(
                "health.{field}.exec.command: 1 to {MAX_COMMAND_WORDS} words of at most {MAX_COMMAND_BYTES} bytes together, the first \
                 a program's name in visible text, none with a NUL"
            )),
            _ => Ok(()),
        }
    }
}

/// A path as it stands in a request: nothing that could end the line.
fn is_path(path: &str) -> bool {
    path.starts_with('/') && path.len() <= MAX_PATH_BYTES && path.bytes().all(|b| b.is_ascii_graphic())
}

fn is_command(command: &[String]) -> bool {
    let bytes: usize = command.iter().map(String::len).sum();
    command.len() <= MAX_COMMAND_WORDS
        && bytes <= MAX_COMMAND_BYTES
        && command.first().is_some_and(|program| !program.trim().is_empty() && !program.contains(is_hidden))
        && !command.iter().any(|word| word.contains('\0'))
}

fn is_hidden(c: char) -> bool {
    c.is_control() || is_invisible(c)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn checked(value: Value) -> Result<Health, String> {
        let health: Health = serde_json::from_value(value).map_err(|e| e.to_string())?;
        health.check().map(|()| health)
    }

    #[test]
    fn settings_within_their_bounds_are_taken() {
        for good in [
            json!({}),
            json!({"readiness": {"http": {"port": 8080, "path": "/healthz?full=1"}, "period_s": 5}}),
            json!({"readiness": {"tcp": {"port": 1}}, "liveness": {"exec": {"command": ["/bin/check", ""]}, "failures": 1}}),
            json!({"readiness": {"none": true}, "min_ready_s": 0, "start_s": 3600}),
            json!({"liveness": {"exec": {"command": ["sh", "-c", "echo \u{fc}\n\ttrue"]}, "period_s": 300, "timeout_s": 300, "failures": 100}}),
            json!({"readiness": {"http": {"port": 65535, "path": format!("/{}", "x".repeat(1_023))}}}),
        ] {
            assert!(checked(good.clone()).is_ok(), "{good}: {:?}", checked(good.clone()));
        }
    }

    #[test]
    fn the_documentation_has_these_bounds() {
        let document = include_str!("../../docs/agents.md");
        let thousands = format!("{},{:03}", MAX_TIME_S / 1_000, MAX_TIME_S % 1_000);
        for says in [
            format!("| `min_ready_s` | {DEFAULT_MIN_READY_S} | 0 to {thousands}:"),
            format!("| `start_s` | `COFFERDAM_AGENT_START_S` | 1 to {thousands}:"),
            format!("`period_s` (1 to {MAX_PROBE_TIME_S};"),
            format!("`timeout_s` (1 to {MAX_PROBE_TIME_S};"),
            format!("(1 to {MAX_FAILURES}; default 3)"),
            format!("({SDK_PORT}, or the one"),
        ] {
            assert!(document.contains(&says), "{says}");
        }
    }

    #[test]
    fn every_bound_is_kept_and_named() {
        let long = "x".repeat(5_000);
        for (bad, says) in [
            (json!({"min_ready_s": 3601}), "health.min_ready_s"),
            (json!({"start_s": 0}), "health.start_s"),
            (json!({"min_ready_s": 60, "start_s": 60}), "no version ever serves"),
            (json!({"readiness": {}}), "exactly one"),
            (json!({"readiness": {"tcp": {"port": 1}, "http": {"port": 1}}}), "exactly one"),
            (json!({"readiness": {"none": true, "tcp": {"port": 1}}}), "exactly one"),
            (json!({"liveness": {"none": true}}), "leave it out"),
            (json!({"readiness": {"tcp": {"port": 0}}}), "1 to 65535"),
            (json!({"readiness": {"tcp": {"port": 65536}}}), "65536"),
            (json!({"readiness": {"http": {"port": 1, "path": "x"}}}), "http.path"),
            (json!({"readiness": {"http": {"port": 1, "path": "/a b"}}}), "http.path"),
            (json!({"readiness": {"http": {"port": 1, "path": "/a\r\nHost: x"}}}), "http.path"),
            (json!({"readiness": {"http": {"port": 1, "host": "metadata"}}}), "unknown field `host`"),
            (json!({"liveness": {"exec": {"command": []}}}), "exec.command"),
            (json!({"liveness": {"exec": {"command": ["a", long]}}}), "exec.command"),
            (json!({"liveness": {"exec": {"command": ["a\u{0}b"]}}}), "exec.command"),
            (json!({"liveness": {"exec": {"command": [" "]}}}), "exec.command"),
            (json!({"liveness": {"exec": {"command": ["/bin/x\n"]}}}), "exec.command"),
            (json!({"liveness": {"exec": {"command": ["/bin/\u{202e}x"]}}}), "exec.command"),
            (json!({"liveness": {"exec": {"command": ["a", "b\u{0}"]}}}), "exec.command"),
            (json!({"liveness": {"exec": {"command": vec!["a"; 33]}}}), "exec.command"),
            (json!({"readiness": {"http": {"port": 0}}}), "1 to 65535"),
            (json!({"readiness": {"http": {"port": -1}}}), "-1"),
            (json!({"readiness": {"http": {"port": 1, "path": ""}}}), "http.path"),
            (json!({"readiness": {"http": {"port": 1, "path": "/\u{200b}"}}}), "http.path"),
            (json!({"readiness": {"http": {"port": 1, "path": format!("/{}", "x".repeat(1_024))}}}), "http.path"),
            (json!({"min_ready_s": -1}), "-1"),
            (json!({"start_s": 1.5}), "1.5"),
            (json!({"start_s": 4_294_967_296_u64}), "4294967296"),
            (json!({"liveness": {"tcp": {"port": 1}, "period_s": 0}}), "liveness.period_s"),
            (json!({"liveness": {"tcp": {"port": 1}, "failures": 0}}), "liveness.failures"),
            (json!({"liveness": {"tcp": {"port": 1}, "period_s": 301}}), "liveness.period_s"),
            (json!({"liveness": {"tcp": {"port": 1}, "timeout_s": 0}}), "liveness.timeout_s"),
            (json!({"liveness": {"tcp": {"port": 1}, "failures": 101}}), "liveness.failures"),
        ] {
            let error = checked(bad.clone()).unwrap_err();
            assert!(error.contains(says), "{bad}: {error}");
        }
    }
}
