//! Parts of tests: catalogues without a store.

use std::collections::BTreeMap;
use std::sync::Arc;

use cofferdam_contract::OrganizationId;
use cofferdam_upstreams::{Kind, Net, Owner, Upstream, UpstreamSpec};
use cofferdam_usage::Who;

use crate::settings::{Catalogue, Prices, Privacy};

pub(crate) fn who(key: &str, agent: Option<&str>) -> Who {
    let organization = OrganizationId::default_organization();
    Who { organization, key: key.to_owned(), agent: agent.map(str::to_owned), task: None }
}

/// An upstream of OpenAI's that is never called.
pub(crate) fn upstream(name: &str, region: Option<&str>) -> Arc<Upstream> {
    let spec = UpstreamSpec { region: region.map(str::to_owned), ..UpstreamSpec::new(Kind::Openai) };
    Upstream::new(
        name,
        Owner::Operator,
        spec,
        vec![cofferdam_core::Secret::new("sk-0123456789")],
        &Net::new(Vec::new(), Vec::new()),
    )
    .unwrap()
}

pub(crate) fn catalogue(upstreams: &[Arc<Upstream>], rules: &[(&str, &str)]) -> Catalogue {
    Catalogue {
        upstreams: upstreams.iter().map(|upstream| (upstream.name().to_owned(), Arc::clone(upstream))).collect(),
        broken: BTreeMap::new(),
        aliases: BTreeMap::new(),
        own_aliases: std::collections::BTreeSet::new(),
        rules: rules.iter().map(|(name, text)| ((*name).to_owned(), serde_json::from_str(text).unwrap())).collect(),
        budgets: Vec::new(),
        prices: Prices::default(),
        privacy: Privacy::default(),
    }
}
