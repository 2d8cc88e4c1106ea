//! Wraps every request: adds an id to the answer and to the log, a span, metrics. Never logs a query, a header or a
//! body: they hold user code, keys and file names.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderName, HeaderValue, Method};
use tracing::Instrument;
use tracing::field::Empty;

use crate::metrics::{Metrics, RequestLabels, RouteLabels};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

pub use cofferdam_http::Peer;

/// The caller's request id if it is short and plain, else a new one.
fn request_id(request: &Request) -> HeaderValue {
    let plain = |value: &&HeaderValue| {
        (1..=64).contains(&value.len())
            && value.as_bytes().iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
    };
    if let Some(given) = request.headers().get(&REQUEST_ID).filter(plain) {
        return given.clone();
    }
    let bits = cofferdam_core::random_bits().unwrap_or_default();
    HeaderValue::from_str(&format!("req_{bits:032x}")).unwrap_or(HeaderValue::from_static("req"))
}

fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// Middleware around everything.
pub(crate) async fn observe(State(metrics): State<Arc<Metrics>>, request: Request, next: Next) -> Response {
    let start = Instant::now();
    let id = request_id(&request);
    let method = method_name(request.method());
    let route = request.extensions().get::<MatchedPath>().map_or("none", |path| path.as_str()).to_owned();
    // Routes that are polled are logged at debug level only.
    let quiet = matches!(route.as_str(), "none" | "/health" | "/ready" | "/metrics" | "/openapi.json" | "/mcp");
    let span = tracing::info_span!(
        "request",
        otel.name = %format_args!("{method} {route}"),
        otel.kind = "server",
        method,
        route = %route,
        request_id = id.to_str().unwrap_or_default(),
        run = Empty,
    );
    // Also decrements if the client disconnects and this future is dropped.
    let in_flight = InFlight::new(&metrics);
    let mut response = next.run(request).instrument(span.clone()).await;
    drop(in_flight);
    let status = response.status().as_u16();
    let took = start.elapsed();
    metrics.durations.get_or_create(&RouteLabels { route: route.clone() }).observe(took.as_secs_f64());
    metrics.requests.get_or_create(&RequestLabels { method, route, status }).inc();
    let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    // Logged from a task of its own, so that the answer is sent first.
    tokio::spawn(async move {
        span.in_scope(|| match quiet {
            true => tracing::debug!(status, took_us, "answered"),
            false => tracing::info!(status, took_us, "answered"),
        });
    });
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

struct InFlight(prometheus_client::metrics::gauge::Gauge);

impl InFlight {
    fn new(metrics: &Metrics) -> Self {
        metrics.in_flight.inc();
        Self(metrics.in_flight.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}
