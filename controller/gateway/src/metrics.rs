//! The gateway's own metrics. Labels have bounded values only.

use cofferdam_contract::uplink::RefusedBy;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct GatewayLabels {
    /// The kind of grant whose service it is, or `none`.
    service: &'static str,
    /// `ok`, or the word of the refusal.
    outcome: &'static str,
}

/// Counts the requests of sandboxes. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct GatewayMetrics {
    requests: Family<GatewayLabels, Counter>,
}

impl GatewayMetrics {
    pub fn register(&self, registry: &mut Registry) {
        let help = "What sandboxes asked of the gateway, and how it ended";
        registry.register("gateway_requests", help, self.requests.clone());
    }

    pub(crate) fn count(&self, service: &'static str, refused: Option<RefusedBy>) {
        let outcome = refused.map_or("ok", RefusedBy::as_str);
        self.requests.get_or_create(&GatewayLabels { service, outcome }).inc();
    }
}
