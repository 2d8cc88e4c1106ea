//! The parts that all rows share: the service, started on first use, the peers, and the number of samples.

use std::path::Path;

use anyhow::Context;
use serde_json::{Value, json};

use crate::client::Client;
use crate::peers::Peers;
use crate::service::Service;

/// The repository's root.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) struct Bench {
    pub quick: bool,
    pub peers: Peers,
    service: Option<Service>,
}

impl Bench {
    pub(crate) fn new(quick: bool) -> anyhow::Result<Self> {
        Ok(Self { quick, peers: Peers::find()?, service: None })
    }

    /// The number of samples: `full`, or with `--quick` a tenth of it, at least 2.
    pub(crate) fn times(&self, full: usize) -> usize {
        if self.quick { (full / 10).max(2) } else { full }
    }

    /// The service that most rows use together.
    pub(crate) fn service(&mut self) -> anyhow::Result<&Service> {
        if self.service.is_none() {
            self.service = Some(Service::start(None)?);
        }
        self.service.as_ref().context("no service")
    }

    /// A service of the row's own. The shared one is stopped first, so that two never share the machine.
    pub(crate) fn fresh_service(&mut self) -> anyhow::Result<Service> {
        self.fresh_service_with(None)
    }

    /// The same, with an operator's policy.
    pub(crate) fn fresh_service_with(&mut self, policy: Option<&str>) -> anyhow::Result<Service> {
        self.service = None;
        Service::start(policy)
    }

    /// The same, with these variables.
    pub(crate) fn fresh_service_in(&mut self, variables: &[(&str, &str)]) -> anyhow::Result<Service> {
        self.service = None;
        Service::start_with(None, variables)
    }
}

/// The body of a run in a fresh sandbox.
pub(crate) fn run_body(language: &str, code: &str) -> Vec<u8> {
    json!({ "language": language, "code": code }).to_string().into_bytes()
}

/// The body of a run in a session.
pub(crate) fn session_body(session: &str, code: &str) -> Vec<u8> {
    json!({ "session": session, "code": code }).to_string().into_bytes()
}

/// Runs code that must succeed; returns the answer and the time that it took.
pub(crate) fn run(client: &mut Client, body: &[u8]) -> anyhow::Result<(Value, f64)> {
    let answer = client.post("/v1/runs", body)?;
    let outcome = answer.json()?;
    if outcome.get("status").and_then(Value::as_str) != Some("ok") {
        anyhow::bail!("the run did not end well: {outcome}");
    }
    Ok((outcome, answer.ms))
}

/// Runs code and asserts its output.
pub(crate) fn run_printing(client: &mut Client, body: &[u8], expected: &str) -> anyhow::Result<f64> {
    let (outcome, ms) = run(client, body)?;
    match outcome.get("stdout").and_then(Value::as_str) {
        Some(text) if text.trim_end() == expected => Ok(ms),
        other => anyhow::bail!("printed {other:?}, not {expected:?}"),
    }
}

/// Creates a session and returns its id.
pub(crate) fn session(client: &mut Client, language: &str) -> anyhow::Result<String> {
    let answer = client.post("/v1/sessions", json!({ "language": language }).to_string().as_bytes())?;
    text(&answer.json()?, "id")
}

pub(crate) fn text(value: &Value, field: &str) -> anyhow::Result<String> {
    Ok(value.get(field).and_then(Value::as_str).with_context(|| format!("no {field} in {value}"))?.to_owned())
}
