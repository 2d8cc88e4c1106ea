//! Logs to standard error, and sends traces to an OpenTelemetry collector if `OTEL_EXPORTER_OTLP_ENDPOINT` names one.

use std::io::{IsTerminal, Write, stderr};

use anyhow::{Context, bail};
use clap::ValueEnum;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// The variable with the log filter: `info`, `cofferdam_sandbox=debug`, ...
pub(crate) const LOG: &str = "COFFERDAM_LOG";

/// The levels of the log.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

impl LogFormat {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }

    /// For people on a terminal, for machines elsewhere.
    pub(crate) fn fitting() -> Self {
        if stderr().is_terminal() { Self::Text } else { Self::Json }
    }
}

/// Sends the last traces when it is dropped.
pub(crate) struct Telemetry {
    provider: Option<SdkTracerProvider>,
}

/// Writes a line for a person to standard error. A line that cannot be written is lost: a closed pipe or a full disk must
/// not end the process, as it does with the standard macro.
pub(crate) fn tell(line: impl std::fmt::Display) {
    let _ = writeln!(stderr(), "{line}");
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(provider) = &self.provider
            && let Err(error) = provider.shutdown()
        {
            tell(format_args!("cofferdam: the last traces could not be sent: {error}"));
        }
    }
}

pub(crate) fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Starts logging. Must be called outside of an async runtime, because the exporter would block its threads.
pub(crate) fn start(format: LogFormat, default_level: &str) -> anyhow::Result<Telemetry> {
    let filter = filter(env(LOG).as_deref().unwrap_or(default_level)).context(LOG)?;
    // A line that cannot be written is lost: to report it on standard error again would end the process.
    let lines = tracing_subscriber::fmt::layer()
        .log_internal_errors(false)
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal());
    let lines = match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).with_ansi(false).boxed(),
    };
    let endpoint = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];
    let provider = endpoint.iter().any(|name| env(name).is_some_and(|v| !v.is_empty())).then(provider).transpose()?;
    let traces = provider.as_ref().map(|provider| {
        // All our crates by their prefix: the exporter's own requests must not become traces.
        let ours = EnvFilter::new("off,cofferdam=info");
        tracing_opentelemetry::layer().with_tracer(provider.tracer("cofferdam")).with_filter(ours)
    });
    tracing_subscriber::registry()
        .with(traces)
        .with(lines.with_filter(filter))
        .try_init()
        .context("starting the log")?;
    Ok(Telemetry { provider })
}

/// A filter of levels: one for everything, and `TARGET=LEVEL` for parts. A single word that is no level would name a target
/// that nothing has, and turn the log off.
fn filter(text: &str) -> anyhow::Result<EnvFilter> {
    let is_level = |word: &str| LEVELS.iter().any(|level| word.eq_ignore_ascii_case(level));
    let is_part = |word: &str| word.contains(['=', '[', ':']) || word.starts_with("cofferdam");
    if let Some(word) =
        text.split(',').map(str::trim).find(|word| !word.is_empty() && !is_level(word) && !is_part(word))
    {
        bail!("{word:?} is not a level; there are {}", LEVELS.join(", "));
    }
    // The MCP library writes each request into the log, with its arguments. The Kubernetes library warns at each connection
    // whose certificate an environment does not verify; `environment test` says it once.
    Ok(EnvFilter::try_new(format!("rmcp=warn,kube_client::client::tls=error,{text}"))?)
}

fn provider() -> anyhow::Result<SdkTracerProvider> {
    // The exporter's client is built without one of its own. An error says that one is set already.
    let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
    let exporter =
        opentelemetry_otlp::SpanExporter::builder().with_http().build().context("OTEL_EXPORTER_OTLP_ENDPOINT")?;
    let name = env("OTEL_SERVICE_NAME").unwrap_or_else(|| "cofferdam".to_owned());
    let resource = Resource::builder().with_service_name(name).build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_level_is_refused() {
        for good in ["info", "WARN", "", "info,cofferdam_sandbox=debug", "cofferdam_gateway", "[request]=debug", "off"]
        {
            assert!(filter(good).is_ok(), "{good}");
        }
        for bad in ["bogus", "info,loud", "verbose", "cofferdam=loud", "1x"] {
            assert!(filter(bad).is_err(), "{bad}");
        }
    }
}
