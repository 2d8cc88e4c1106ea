//! The models that a caller may name.

use cofferdam_usage::Who;

use crate::call::Narrow;
use crate::name::candidates;
use crate::rules::Rules;
use crate::settings::Catalogue;

/// A name that a caller may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedModel {
    pub id: String,
    /// `alias`, or the upstream's name.
    pub owned_by: String,
}

/// The aliases, and the models that upstreams list, by name; each model with its upstream's name before it where several list
/// it. An upstream without a list serves any name, of which those are known that a grant names.
pub(crate) fn list(catalogue: &Catalogue, who: &Who, narrow: &[Narrow]) -> Vec<ListedModel> {
    let rules = Rules::of(catalogue, who, narrow);
    let mut found: Vec<ListedModel> = Vec::new();
    for name in catalogue.aliases.keys() {
        found.push(ListedModel { id: name.clone(), owned_by: "alias".to_owned() });
    }
    for upstream in catalogue.upstreams.values().filter(|upstream| rules.allow_region(upstream.region())) {
        for model in &upstream.spec().models {
            let owner = upstream.name().to_owned();
            found.push(ListedModel { id: model.name.clone(), owned_by: owner.clone() });
            found.push(ListedModel { id: format!("{owner}/{}", model.name), owned_by: owner });
        }
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
