//! All that is valid for one organization, made from its documents and the operator's. An upstream whose document and keys did not
//! change is the same one as before: its breakers and connections live on.
//!
//! A document that cannot be used any more never takes the others down. It never allows more than before: an upstream stays as
//! one that refuses, a rule or a budget forbids; an alias or a price is left out. All are logged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cofferdam_contract::OrganizationId;
use cofferdam_core::{Secret, Vault, chain};
use cofferdam_store::ModelSettingRow;
use cofferdam_upstreams::{Net, Owner, Upstream, UpstreamSpec};
use cofferdam_usage::{Budget, BudgetSpec};

use super::alias::AliasSpec;
use super::broken::Broken;
use super::document::{DocumentKind, Spec};
use super::error::Error;
use super::keys::{self, NamedSecrets};
use super::operator::OperatorModels;
use super::price::{PriceSpec, PriceTable, Prices};
use super::rule::{Privacy, RuleSpec, Subject};

/// All that is valid for one organization.
pub struct Catalogue {
    pub upstreams: BTreeMap<String, Arc<Upstream>>,
    /// Upstreams of the organization's that cannot be used. None of these names is among `upstreams`.
    pub broken: BTreeMap<String, Broken>,
    pub aliases: BTreeMap<String, AliasSpec>,
    /// The aliases of an organization that is not the operator's own.
    pub own_aliases: BTreeSet<String>,
    pub rules: Vec<(String, RuleSpec)>,
    pub budgets: Vec<Arc<Budget>>,
    pub prices: Prices,
    pub privacy: Privacy,
}

/// An upstream with what it was made from.
#[derive(Clone)]
pub(super) struct Made {
    spec: UpstreamSpec,
    keys: Vec<Secret>,
    upstream: Arc<Upstream>,
}

/// Everything that all organizations share.
pub(super) struct Shared {
    pub(super) vault: Arc<Vault>,
    pub(super) secrets: Arc<dyn NamedSecrets>,
    /// The network as upstreams of organizations see it.
    pub(super) net: Net,
    pub(super) operator: OperatorModels,
    pub(super) upstreams: BTreeMap<String, Arc<Upstream>>,
    pub(super) built_in: Arc<PriceTable>,
}

impl Shared {
    /// Makes a catalogue, and the upstreams that are the organization's own.
    ///
    /// # Errors
    /// A stored secret cannot be read now.
    pub(super) async fn catalogue(
        &self,
        organization: &OrganizationId,
        rows: &[ModelSettingRow],
        before: &BTreeMap<String, Made>,
    ) -> Result<(Catalogue, BTreeMap<String, Made>), Error> {
        let (mut own, mut broken) = (BTreeMap::new(), BTreeMap::new());
        for row in rows.iter().filter(|row| row.kind == DocumentKind::Upstream.as_str()) {
            match self.upstream(organization, row, before).await {
                Ok(made) => {
                    own.insert(row.name.clone(), made);
                }
                // It may be there a moment later: the organization must not lose its upstream until the next change.
                Err(error @ Error::Secret(_)) => return Err(error),
                Err(error) => {
                    unusable(row, &chain(&error));
                    broken.insert(row.name.clone(), Broken::of(row, &error));
                }
            }
        }
        let mut upstreams = self.upstreams.clone();
        // Calls that were meant for the organization's own upstream do not go to the operator's of the same name.
        upstreams.retain(|name, _| !broken.contains_key(name));
        upstreams.extend(own.iter().map(|(name, made)| (name.clone(), Arc::clone(&made.upstream))));
        let mut aliases = self.operator.aliases.clone();
        let written: Vec<(String, AliasSpec)> = parsed(rows).collect();
        let own_aliases = match *organization == OrganizationId::default_organization() {
            true => BTreeSet::new(),
            false => written.iter().map(|(name, _)| name.clone()).collect(),
        };
        aliases.extend(written);
        let budget = |(name, spec)| Arc::new(Budget { name, organization: organization.clone(), spec });
        let catalogue = Catalogue {
            aliases,
            own_aliases,
            rules: rules(rows).into_iter().chain(unreadable_budgets(rows)).collect(),
            budgets: parsed::<BudgetSpec>(rows).map(budget).collect(),
            prices: self.prices(organization, rows, own.keys()),
            privacy: parsed::<Privacy>(rows).next().map(|(_, privacy)| privacy).unwrap_or_default(),
            upstreams,
            broken,
        };
        Ok((catalogue, own))
    }

    fn prices<'a>(
        &self,
        organization: &OrganizationId,
        rows: &[ModelSettingRow],
        own: impl Iterator<Item = &'a String>,
    ) -> Prices {
        let own: BTreeSet<&String> = own.collect();
        // The operator's own organization says what the operator's upstreams cost.
        let paid_for = match *organization == OrganizationId::default_organization() {
            true => BTreeSet::new(),
            false => self.upstreams.keys().filter(|name| !own.contains(name)).cloned().collect(),
        };
        let table = self.operator.table.as_ref().unwrap_or(&self.built_in);
        let documents = PriceTable::new(parsed::<PriceSpec>(rows));
        Prices::new(documents, Arc::clone(&self.operator.prices), Arc::clone(table), paid_for)
    }

    async fn upstream(
        &self,
        organization: &OrganizationId,
        row: &ModelSettingRow,
        before: &BTreeMap<String, Made>,
    ) -> Result<Made, Error> {
        let spec: UpstreamSpec = serde_json::from_str(&row.value)?;
        let entries = match &row.sealed {
            Some(sealed) => keys::unseal(&self.vault, organization, &row.name, &keys::destination(&spec), sealed)?,
            None => Vec::new(),
        };
        let keys = keys::resolve(&*self.secrets, organization, &spec, &entries).await?;
        if let Some(same) = before.get(&row.name).filter(|made| made.spec == spec && made.keys == keys) {
            return Ok(same.clone());
        }
        let upstream = self.make(organization, &row.name, spec.clone(), keys.clone())?;
        Ok(Made { spec, keys, upstream })
    }

    /// An upstream of an organization's.
    pub(super) fn make(
        &self,
        organization: &OrganizationId,
        name: &str,
        spec: UpstreamSpec,
        keys: Vec<Secret>,
    ) -> Result<Arc<Upstream>, Error> {
        let owner = Owner::Organization(organization.clone());
        Upstream::new(name, owner, spec, keys, &self.net)
            .map_err(|why| cofferdam_contract::Problem::invalid(why).into())
    }
}

/// The documents of a kind that can be read.
fn parsed<S: Spec>(rows: &[ModelSettingRow]) -> impl Iterator<Item = (String, S)> {
    rows.iter().filter(|row| row.kind == S::KIND.as_str()).filter_map(|row| {
        let spec: Result<S, _> = serde_json::from_str(&row.value);
        match spec.map_err(|why| why.to_string()).and_then(|spec| spec.check().map(|()| spec)) {
            Ok(spec) => Some((row.name.clone(), spec)),
            Err(why) => {
                unusable(row, &why);
                None
            }
        }
    })
}

/// The rules. One that cannot be read forbids everything to those whom it is for: left out, it would allow what it forbids.
fn rules(rows: &[ModelSettingRow]) -> Vec<(String, RuleSpec)> {
    let mut rules: Vec<_> = parsed::<RuleSpec>(rows).collect();
    let known: BTreeSet<String> = rules.iter().map(|(name, _)| name.clone()).collect();
    for row in rows.iter().filter(|row| row.kind == DocumentKind::Rule.as_str() && !known.contains(&row.name)) {
        let value: Result<serde_json::Value, _> = serde_json::from_str(&row.value);
        let subject = value.ok().and_then(|value| serde_json::from_value(value.get("for")?.clone()).ok());
        let subject = subject.unwrap_or(Subject::Organization);
        rules.push((row.name.clone(), nothing_for(subject)));
    }
    rules
}

/// The budgets' part of the rules: a budget that cannot be read allows nothing, because nobody knows its limit.
fn unreadable_budgets(rows: &[ModelSettingRow]) -> impl Iterator<Item = (String, RuleSpec)> {
    let unreadable = |row: &&ModelSettingRow| {
        let spec: Option<BudgetSpec> = serde_json::from_str(&row.value).ok();
        row.kind == DocumentKind::Budget.as_str() && spec.is_none_or(|spec| Spec::check(&spec).is_err())
    };
    rows.iter().filter(unreadable).map(|row| (format!("budget {}", row.name), nothing_for(Subject::Organization)))
}

/// A rule that forbids every model.
fn nothing_for(subject: Subject) -> RuleSpec {
    RuleSpec { subject, models: Some(Vec::new()), max_tokens: None, regions: None }
}

/// Logged at most once for each time that the organization's documents are read.
fn unusable(row: &ModelSettingRow, why: &str) {
    tracing::error!(
        organization = %row.organization,
        kind = row.kind,
        name = row.name,
        why,
        "a document of the model settings cannot be used; put it again"
    );
}
