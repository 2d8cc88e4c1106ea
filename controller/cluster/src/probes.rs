//! Builds a container's probes from a deployment's settings, and the one that an agent gets that is built on the published
//! SDK. Pure.

use cofferdam_contract::Probe as Asked;
use cofferdam_contract::health::{SDK_HEALTH_PATH, SDK_PORT};
use k8s_openapi::api::core::v1::{Container, ExecAction, HTTPGetAction, Probe, TCPSocketAction};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::Workload;

/// The SDK reads its API key from this variable, and does not start without.
const SDK_KEY: &str = "XPANDER_API_KEY";
/// The SDK listens on this port instead of its usual one.
const SDK_PORT_VARIABLE: &str = "XPANDER_STREAMING_PORT";
const READINESS_PERIOD_S: u32 = 2;
const LIVENESS_PERIOD_S: u32 = 10;
/// The period of the probe that holds the liveness probe back while the container starts.
const STARTUP_PERIOD_S: u32 = 2;
const TIMEOUT_S: u32 = 2;
const FAILURES: u32 = 3;

/// The port to ask if nobody said how: the SDK's, if the agent has the SDK's variables. It may use the SDK without its
/// server, so a connection that is refused there means nothing.
pub(crate) fn sdk_port(workload: &Workload) -> Option<u16> {
    if workload.health.readiness.is_some() {
        return None;
    }
    let named = workload.env.get(SDK_PORT_VARIABLE).and_then(|value| value.expose().parse().ok());
    let named = named.filter(|port| *port > 0);
    named.or_else(|| workload.env.contains_key(SDK_KEY).then_some(SDK_PORT))
}

/// The container with its probes.
pub(crate) fn added(workload: &Workload, container: Container) -> Container {
    let mut container = container;
    let health = &workload.health;
    container.readiness_probe = match (&health.readiness, sdk_port(workload)) {
        (Some(asked), _) => probe(asked, READINESS_PERIOD_S),
        (None, Some(port)) => {
            Some(Probe { http_get: Some(http(port, SDK_HEALTH_PATH)), ..timed(&Asked::default(), READINESS_PERIOD_S) })
        }
        (None, None) => None,
    };
    let Some(liveness) = &health.liveness else { return container };
    container.liveness_probe = probe(liveness, LIVENESS_PERIOD_S);
    // The same question, until the container has had the time that it gets to start.
    let failures = workload.start_s.div_ceil(STARTUP_PERIOD_S).max(1);
    let patient = Asked { period_s: Some(STARTUP_PERIOD_S), failures: Some(failures), ..liveness.clone() };
    container.startup_probe = probe(&patient, STARTUP_PERIOD_S);
    container
}

fn probe(asked: &Asked, period_s: u32) -> Option<Probe> {
    let timed = timed(asked, period_s);
    if let Some(asked) = &asked.http {
        return Some(Probe { http_get: Some(http(asked.port, asked.path.as_deref().unwrap_or("/"))), ..timed });
    }
    if let Some(asked) = &asked.tcp {
        let tcp_socket = Some(TCPSocketAction { port: IntOrString::Int(asked.port.into()), host: None });
        return Some(Probe { tcp_socket, ..timed });
    }
    let exec = asked.exec.as_ref()?;
    Some(Probe { exec: Some(ExecAction { command: Some(exec.command.clone()) }), ..timed })
}

/// The host is the pod: nobody chooses another one.
fn http(port: u16, path: &str) -> HTTPGetAction {
    HTTPGetAction { port: IntOrString::Int(port.into()), path: Some(path.to_owned()), ..HTTPGetAction::default() }
}

fn timed(asked: &Asked, period_s: u32) -> Probe {
    let number = |value: u32| i32::try_from(value).ok();
    Probe {
        period_seconds: number(asked.period_s.unwrap_or(period_s)),
        timeout_seconds: number(asked.timeout_s.unwrap_or(TIMEOUT_S)),
        failure_threshold: number(asked.failures.unwrap_or(FAILURES)),
        ..Probe::default()
    }
}
