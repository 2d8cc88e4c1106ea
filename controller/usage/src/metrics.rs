//! Metrics by the names of OpenTelemetry's conventions for generative AI. Labels have bounded values only: of upstreams and
//! models the first ones have a label of their own, the rest are `other`.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::RwLock;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit as RegistryUnit};

use crate::budget::Unit;
use crate::record::Record;

/// Upstreams and models that have a label of their own, each.
const MAX_LABELS: usize = 200;

/// The attributes of the conventions, and the upstream's name, which they do not know.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModelLabels {
    gen_ai_operation_name: &'static str,
    gen_ai_provider_name: &'static str,
    gen_ai_response_model: Arc<str>,
    upstream: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    gen_ai_operation_name: &'static str,
    gen_ai_provider_name: &'static str,
    gen_ai_response_model: Arc<str>,
    upstream: Arc<str>,
    /// How the call ended; empty for one that ended well.
    error_type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TokenLabels {
    gen_ai_operation_name: &'static str,
    gen_ai_provider_name: &'static str,
    gen_ai_response_model: Arc<str>,
    upstream: Arc<str>,
    gen_ai_token_type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UnitLabels {
    unit: &'static str,
}

/// The bounds that the conventions give.
fn durations() -> Histogram {
    Histogram::new([0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92])
}

fn first_tokens() -> Histogram {
    Histogram::new([0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0])
}

fn tokens() -> Histogram {
    Histogram::new((0..14).map(|power| f64::from(1_u32 << (2 * power))))
}

/// Names that have a label of their own.
#[derive(Debug, Default)]
struct Names(RwLock<HashSet<Arc<str>>>);

impl Names {
    /// `made`: a name without a label may get one.
    fn label(&self, name: Option<&str>, made: bool) -> Arc<str> {
        let name = name.unwrap_or("none");
        if let Some(label) = self.0.read().get(name) {
            return Arc::clone(label);
        }
        let mut names = self.0.write();
        let name = if made && names.len() < MAX_LABELS { name } else { "other" };
        let label: Arc<str> = names.get(name).cloned().unwrap_or_else(|| name.into());
        names.insert(Arc::clone(&label));
        label
    }
}

/// Clones count together.
#[derive(Debug, Clone)]
pub struct UsageMetrics {
    duration: Family<CallLabels, Histogram, fn() -> Histogram>,
    first_token: Family<ModelLabels, Histogram, fn() -> Histogram>,
    tokens: Family<TokenLabels, Histogram, fn() -> Histogram>,
    money: Family<ModelLabels, Counter<f64, std::sync::atomic::AtomicU64>>,
    refusals: Family<UnitLabels, Counter>,
    pub(crate) waiting: Gauge,
    pub(crate) lost: Counter,
    pub(crate) flush_failures: Counter,
    upstreams: Arc<Names>,
    models: Arc<Names>,
}

impl Default for UsageMetrics {
    fn default() -> Self {
        Self {
            duration: Family::new_with_constructor(durations),
            first_token: Family::new_with_constructor(first_tokens),
            tokens: Family::new_with_constructor(tokens),
            money: Family::default(),
            refusals: Family::default(),
            waiting: Gauge::default(),
            lost: Counter::default(),
            flush_failures: Counter::default(),
            upstreams: Arc::default(),
            models: Arc::default(),
        }
    }
}

impl UsageMetrics {
    /// Registers the metrics of the conventions in `plain`, which puts nothing before their names, and ours in `own`.
    pub fn register(&self, own: &mut Registry, plain: &mut Registry) {
        let help = "Time of a call of a model, from its start to the end of its answer";
        plain.register_with_unit("gen_ai_server_request_duration", help, RegistryUnit::Seconds, self.duration.clone());
        let help = "Time until the first token of an answer";
        let first = self.first_token.clone();
        plain.register_with_unit("gen_ai_server_time_to_first_token", help, RegistryUnit::Seconds, first);
        plain.register("gen_ai_client_token_usage", "Tokens of a call", self.tokens.clone());
        own.register("model_cost_dollars", "US dollars that calls of models cost", self.money.clone());
        own.register("model_budget_refusals", "Calls that a budget refused", self.refusals.clone());
        let help = "Records of calls that the store does not have yet";
        own.register("model_records_waiting", help, self.waiting.clone());
        own.register("model_records_lost", "Records, or contents of them, that found no room", self.lost.clone());
        let help = "Flushes of records and budgets that the store did not take; they are tried again";
        own.register("model_flush_failures", help, self.flush_failures.clone());
    }

    pub(crate) fn refused(&self, unit: Unit) {
        self.refusals.get_or_create(&UnitLabels { unit: unit.as_str() }).inc();
    }

    pub(crate) fn count(&self, record: &Record) {
        let well = record.ending == crate::Ending::Ok;
        // An organization that is not the operator's chooses its names alone, and callers those that fail.
        let (model, upstream) = match record.shared || record.upstream.is_none() {
            true => (record.served.as_deref(), record.upstream.as_deref()),
            false => (Some("own"), Some("own")),
        };
        let labels = ModelLabels {
            gen_ai_operation_name: operation(record.door),
            gen_ai_provider_name: record.provider.unwrap_or("none"),
            gen_ai_response_model: self.models.label(model, well),
            upstream: self.upstreams.label(upstream, true),
        };
        let ModelLabels { gen_ai_operation_name, gen_ai_provider_name, gen_ai_response_model, upstream } =
            labels.clone();
        let error_type = if well { "" } else { record.ending.name() };
        let call = CallLabels {
            gen_ai_operation_name,
            gen_ai_provider_name,
            gen_ai_response_model: Arc::clone(&gen_ai_response_model),
            upstream: Arc::clone(&upstream),
            error_type,
        };
        self.duration.get_or_create(&call).observe(f64::from(record.wall_ms) / 1e3);
        if record.input == 0 && record.output == 0 {
            return;
        }
        for (gen_ai_token_type, amount) in [("input", record.input), ("output", record.output)] {
            let tokens = TokenLabels {
                gen_ai_operation_name,
                gen_ai_provider_name,
                gen_ai_response_model: Arc::clone(&gen_ai_response_model),
                upstream: Arc::clone(&upstream),
                gen_ai_token_type,
            };
            self.tokens.get_or_create(&tokens).observe(amount as f64);
        }
        if let Some(first) = record.first_token_ms {
            self.first_token.get_or_create(&labels).observe(f64::from(first) / 1e3);
        }
        if record.money > 0 {
            self.money.get_or_create(&labels).inc_by(record.money as f64 / 1e9);
        }
    }
}

/// `gen_ai.operation.name` of a door: three of them are one operation in different protocols.
fn operation(door: &'static str) -> &'static str {
    match door {
        "chat" | "responses" | "messages" => "chat",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::{record, who};

    #[test]
    fn labels_are_bounded() {
        let (metrics, mut own, mut registry) = (UsageMetrics::default(), Registry::default(), Registry::default());
        metrics.register(&mut own, &mut registry);
        for number in 0..1_000 {
            let mut record = record("x", 1, who("k"));
            record.served = Some(format!("m{number}"));
            metrics.count(&record);
        }
        for number in 0..1_000 {
            let mut theirs = record("x", 1, who("k"));
            theirs.shared = false;
            theirs.upstream = Some(format!("secret-{number}"));
            metrics.count(&theirs);
        }
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(text.contains("upstream=\"own\"") && !text.contains("secret-"));
        let lines = text.lines().filter(|line| line.starts_with("gen_ai_server_request_duration_seconds_count"));
        assert_eq!(lines.count(), MAX_LABELS + 2);
        assert!(text.contains("gen_ai_response_model=\"other\""), "{text}");
        assert!(text.contains("gen_ai_token_type=\"input\""));
    }

    #[test]
    fn labels_are_those_of_the_conventions() {
        let (metrics, mut own, mut plain) = (UsageMetrics::default(), Registry::default(), Registry::default());
        metrics.register(&mut own, &mut plain);
        for door in ["chat", "responses", "messages"] {
            let record = record("x", 1, who("k"));
            metrics.count(&Record { door, upstream: Some("eu".into()), provider: Some("aws.bedrock"), ..record });
        }
        let (mut text, mut ours) = (String::new(), String::new());
        prometheus_client::encoding::text::encode(&mut text, &plain).unwrap();
        prometheus_client::encoding::text::encode(&mut ours, &own).unwrap();
        let labels = "gen_ai_operation_name=\"chat\",gen_ai_provider_name=\"aws.bedrock\",gen_ai_response_model=\"openai/gpt-5\",\
                      upstream=\"eu\"";
        for start in ["gen_ai_server_request_duration_seconds_count", "gen_ai_client_token_usage_count"] {
            assert!(text.contains(&format!("{start}{{{labels},")), "{text}");
        }
        assert!(text.contains(&format!("gen_ai_server_time_to_first_token_seconds_count{{{labels}}} 3")), "{text}");
        assert!(ours.contains(&format!("model_cost_dollars_total{{{labels}}}")) && !ours.contains("gen_ai_server"));
    }
}
