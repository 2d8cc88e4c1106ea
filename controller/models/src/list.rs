//! The models that a caller may name. Upstreams without a list of their own are asked for theirs, seldom.

use std::sync::{Arc, Weak};
use std::time::Duration;

use cofferdam_upstreams::{Owner, Upstream};
use cofferdam_usage::Who;
use futures_util::future::join_all;
use moka::sync::Cache;

use crate::call::Narrow;
use crate::name::{Candidate, candidates};
use crate::rules::Rules;
use crate::settings::Catalogue;

/// A name that a caller may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedModel {
    pub id: String,
    /// `alias`, or the upstream's name.
    pub owned_by: String,
}

/// The time for which an upstream's own list is believed.
const KNOWN_TIME: Duration = Duration::from_secs(60);
/// The most upstreams whose lists are kept.
const MAX_KNOWN: u64 = 1_000;
/// The most models of one upstream's own list.
const MAX_LISTED: usize = 2_000;
/// The time that an upstream has to list its models.
const LIST_TIMEOUT: Duration = Duration::from_secs(3);

/// The lists of upstreams that serve any model.
pub(crate) struct Known(Cache<(Option<String>, String), Listed>);

/// A list, and the upstream that gave it: one of the same name that was put later, with another place or key, has another.
#[derive(Clone)]
struct Listed {
    upstream: Weak<Upstream>,
    models: Arc<Vec<String>>,
}

impl Default for Known {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(MAX_KNOWN).time_to_live(KNOWN_TIME).build())
    }
}

impl Known {
    /// The models that the upstream itself lists; none if it does not answer in time.
    async fn of(&self, upstream: &Arc<Upstream>) -> Arc<Vec<String>> {
        let owner = match upstream.owner() {
            Owner::Operator => None,
            Owner::Organization(organization) => Some(organization.as_str().to_owned()),
        };
        let key = (owner, upstream.name().to_owned());
        let this = Arc::downgrade(upstream);
        if let Some(known) = self.0.get(&key).filter(|known| known.upstream.ptr_eq(&this)) {
            return known.models;
        }
        let asked = tokio::time::timeout(LIST_TIMEOUT, upstream.models()).await;
        let mut models = asked.ok().and_then(Result::ok).unwrap_or_default();
        models.truncate(MAX_LISTED);
        let models = Arc::new(models);
        self.0.insert(key, Listed { upstream: this, models: Arc::clone(&models) });
        models
    }

    /// The lists of all upstreams that have none in their settings.
    pub(crate) async fn all(&self, catalogue: &Catalogue) -> Vec<(Arc<Upstream>, Arc<Vec<String>>)> {
        let open = catalogue.upstreams.values().filter(|upstream| upstream.spec().models.is_empty());
        join_all(open.map(|upstream| async { (Arc::clone(upstream), self.of(upstream).await) })).await
    }
}

/// The aliases, and the models that upstreams list, by name; each model with its upstream's name before it, too. An upstream
/// without a list in its settings serves any name: those are shown that it lists itself, and those that a grant names.
pub(crate) fn list(
    catalogue: &Catalogue,
    open: &[(Arc<Upstream>, Arc<Vec<String>>)],
    who: &Who,
    narrow: &[Narrow],
) -> Vec<ListedModel> {
    let rules = Rules::of(catalogue, who, narrow);
    let mut found: Vec<ListedModel> = Vec::new();
    let usable = |candidate: &Candidate, name: &str| {
        rules.allow_region(candidate.upstream.region()) && rules.allow_candidate(name, candidate)
    };
    for name in catalogue.aliases.keys() {
        // One that leads nowhere from here is none of the names that a caller may use.
        if !candidates(catalogue, name, &mut |_| 0).iter().any(|candidate| usable(candidate, name)) {
            continue;
        }
        found.push(ListedModel { id: name.clone(), owned_by: "alias".to_owned() });
    }
    let mut add = |upstream: &Upstream, model: &str| {
        if rules.allow_region(upstream.region()) {
            let owner = upstream.name().to_owned();
            found.push(ListedModel { id: model.to_owned(), owned_by: owner.clone() });
            found.push(ListedModel { id: format!("{owner}/{model}"), owned_by: owner });
        }
    };
    for upstream in catalogue.upstreams.values() {
        upstream.spec().models.iter().for_each(|model| add(upstream, &model.name));
    }
    for (upstream, models) in open {
        models.iter().for_each(|model| add(upstream, model));
    }
    for name in narrow.iter().filter(|narrow| narrow.exact).filter_map(|narrow| narrow.models.as_ref()).flatten() {
        let serving = candidates(catalogue, name, &mut |_| 0);
        if let Some(first) = serving.iter().find(|candidate| rules.allow_region(candidate.upstream.region())) {
            found.push(ListedModel { id: name.clone(), owned_by: first.upstream.name().to_owned() });
        }
    }
    found.retain(|model| rules.allow(&model.id));
    found.sort_by(|one, other| one.id.cmp(&other.id));
    found.dedup_by(|one, other| one.id == other.id);
    found
}

#[cfg(test)]
mod tests {
    use cofferdam_testkit::models::FakeModels;
    use cofferdam_upstreams::{Kind, Net, UpstreamSpec};

    use super::*;
    use crate::testing::{catalogue, upstream, who};

    #[test]
    fn aliases_that_lead_nowhere_are_not_listed() {
        let rules = [("eu", r#"{"for":{"key":"k"},"regions":["eu-*"]}"#)];
        let mut all = catalogue(&[upstream("us", Some("us-1")), upstream("eu", Some("eu-1"))], &rules);
        for (name, chain) in [
            ("gone", r#"{"chain":["broken/x"]}"#),
            ("far", r#"{"chain":["us/a"]}"#),
            ("near", r#"{"chain":["us/a","eu/a"]}"#),
        ] {
            all.aliases.insert(name.to_owned(), serde_json::from_str(chain).unwrap());
        }
        all.broken.insert("broken".to_owned(), crate::settings::Broken::new(None, "why"));
        let listed = |key| {
            let found = list(&all, &[], &who(key, None), &[]);
            found.into_iter().map(|model| model.id).collect::<Vec<_>>()
        };
        assert_eq!(listed("k"), ["near"]);
        assert_eq!(listed("other"), ["far", "near"]);
    }

    fn made(base_url: String) -> Arc<Upstream> {
        let spec = UpstreamSpec { base_url: Some(base_url), ..UpstreamSpec::new(Kind::Compatible) };
        let keys = vec![cofferdam_core::Secret::new("sk-0123456789")];
        Upstream::new("near", Owner::Operator, spec, keys, &Net::new(Vec::new(), Vec::new())).unwrap()
    }

    #[tokio::test]
    async fn an_upstream_that_was_put_anew_is_asked_again() {
        let fake = FakeModels::start().await;
        let known = Known::default();
        assert_eq!(known.of(&made("http://127.0.0.1:9/v1".to_owned())).await.len(), 0);
        let there = made(format!("{}/v1", fake.base()));
        let listed = known.of(&there).await;
        assert!(!listed.is_empty(), "the list of another place was shown");
        assert!(Arc::ptr_eq(&listed, &known.of(&there).await), "and is kept");
    }
}
