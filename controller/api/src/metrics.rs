//! Metrics of the HTTP API, and the registry of all crates' metrics. Labels have bounded values only: routes as
//! templates, never paths, ids or keys.

use std::sync::atomic::AtomicI64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RequestLabels {
    pub(crate) method: &'static str,
    pub(crate) route: String,
    pub(crate) status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RouteLabels {
    pub(crate) route: String,
}

/// All metrics of this process.
pub struct Metrics {
    registry: Registry,
    /// Metrics whose names conventions give: nothing stands before them.
    plain: Registry,
    pub(crate) requests: Family<RequestLabels, Counter>,
    pub(crate) durations: Family<RouteLabels, Histogram>,
    pub(crate) in_flight: Gauge,
    pub(crate) workers_ready: Gauge<i64, AtomicI64>,
}

fn durations() -> Histogram {
    Histogram::new([0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0])
}

impl Metrics {
    /// Registers the API's own metrics; `others` registers those of the other crates, in the second registry those with names
    /// of conventions.
    pub fn new(others: impl FnOnce(&mut Registry, &mut Registry)) -> Self {
        let mut registry = Registry::with_prefix("cofferdam_api");
        let requests = Family::default();
        let durations = Family::new_with_constructor(durations as fn() -> Histogram);
        let (in_flight, workers_ready) = (Gauge::default(), Gauge::default());
        registry.register("requests", "Requests answered", requests.clone());
        let help = "Time until the head of the answer";
        registry.register_with_unit("request_duration", help, Unit::Seconds, durations.clone());
        registry.register("requests_in_flight", "Requests whose answer has not begun", in_flight.clone());
        registry.register("workers_ready", "Workers that take runs", workers_ready.clone());
        let mut plain = Registry::default();
        others(&mut registry, &mut plain);
        Self { registry, plain, requests, durations, in_flight, workers_ready }
    }

    /// This process's metrics followed by the workers', under one end mark.
    pub(crate) fn text(&self, workers: &[&str]) -> String {
        let (mut text, mut plain) = (String::new(), String::new());
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        let _ = encode(&mut plain, &self.plain);
        let strip = |text: &str| text.trim_end().trim_end_matches("# EOF").trim_end().to_owned();
        let texts: Vec<String> = [&*text, &*plain].into_iter().chain(workers.iter().copied()).map(strip).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).filter(|text| !text.is_empty()).collect();
        format!("{}\n# EOF\n", texts.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_texts_have_one_end() {
        let metrics = Metrics::new(|_, plain| plain.register("gen_ai_x", "X", Gauge::<i64>::default()));
        metrics.in_flight.inc();
        let text = metrics.text(&["", "# TYPE a counter\na_total 1\n# EOF\n"]);
        assert!(text.contains("cofferdam_api_requests_in_flight 1\n") && text.contains("\ngen_ai_x 0\n"), "{text}");
        assert!(text.ends_with("a_total 1\n# EOF\n") && text.matches("# EOF").count() == 1, "{text}");
        assert!(!text.contains("\n\n"), "{text}");
    }
}
