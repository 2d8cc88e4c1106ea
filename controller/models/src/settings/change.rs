//! Putting, listing, showing and deleting documents. Checks a document before it is stored, against the others too.

use std::collections::BTreeMap;
use std::sync::Arc;

use cofferdam_contract::{OrganizationId, Problem};
use cofferdam_core::now;
use cofferdam_store::{ModelSettingRow, Put};
use cofferdam_upstreams::Upstream;

use super::Settings;
use super::alias::AliasSpec;
use super::document::{
    Document, DocumentKind, DocumentOwner, MAX_DOCUMENT_BYTES, MAX_DOCUMENTS_CHARACTERS, ONLY, Spec,
};
use super::error::Error;
use super::rule::Privacy;
use crate::name::broken;

impl Settings {
    /// Creates a document, or replaces the one with its name. Returns whether it is new.
    ///
    /// # Errors
    /// [`Problem::invalid`] for the first wrong field, [`Problem::overloaded`] if there are too many, or the store failed.
    pub async fn put<S: Spec>(
        &self,
        organization: &OrganizationId,
        name: &str,
        spec: S,
    ) -> Result<(Document<S>, bool), Error> {
        S::KIND.check_name(name).map_err(Problem::invalid)?;
        spec.check().map_err(Problem::invalid)?;
        let value = serde_json::to_string(&spec)?;
        if S::KIND == DocumentKind::Alias {
            // The alias as a type of its own: the check needs the others.
            let alias: AliasSpec = serde_json::from_str(&value)?;
            self.check_alias(organization, name, &alias).await?;
        }
        let (created_at, updated_at, new) = self.write(organization, S::KIND, name, value, None).await?;
        let owner = DocumentOwner::Organization;
        let document =
            Document { name: name.to_owned(), owner, spec, created_at: Some(created_at), updated_at: Some(updated_at) };
        Ok((document, new))
    }

    /// The organization's document; for aliases and prices, else the operator's.
    ///
    /// # Errors
    /// [`Problem::not_found`], or the store failed.
    pub async fn get<S: Spec>(&self, organization: &OrganizationId, name: &str) -> Result<Document<S>, Error> {
        if let Some(row) = self.store.model_setting(organization, S::KIND.as_str(), name).await? {
            return read(row);
        }
        let found = self.operators::<S>()?.into_iter().find(|document| document.name == name);
        found.ok_or_else(|| S::KIND.missing(name).into())
    }

    /// All documents of a kind, by name; the operator's too, unless the organization has one of the same name.
    ///
    /// # Errors
    /// The store failed.
    pub async fn list<S: Spec>(&self, organization: &OrganizationId) -> Result<Vec<Document<S>>, Error> {
        let rows = self.rows(organization, S::KIND).await?;
        // One that this version cannot read has been logged, and must not hide the others.
        let mut found: Vec<Document<S>> = rows.into_iter().filter_map(|row| read(row).ok()).collect();
        for document in self.operators::<S>()? {
            if !found.iter().any(|own| own.name == document.name) {
                found.push(document);
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// Deletes a document.
    ///
    /// # Errors
    /// [`Problem::not_found`], [`Problem::conflict`] for an upstream that an alias names and for a document of the operator's, or the store failed.
    pub async fn delete(&self, organization: &OrganizationId, kind: DocumentKind, name: &str) -> Result<(), Error> {
        if kind == DocumentKind::Upstream {
            self.check_unused(organization, name).await?;
        }
        if !self.store.delete_model_setting(organization, kind.as_str(), name).await? {
            if self.is_operators(kind, name) {
                let detail = format!(
                    "The {} {name:?} is the operator's, from the configuration of the server; it cannot be deleted here. One of \
                     the organization's with the same name hides it.",
                    kind.said()
                );
                return Err(Problem::conflict(detail).into());
            }
            return Err(kind.missing(name).into());
        }
        self.cache.changed(organization).await;
        Ok(())
    }

    /// The organization's choice about contents.
    ///
    /// # Errors
    /// The store failed.
    pub async fn privacy(&self, organization: &OrganizationId) -> Result<Privacy, Error> {
        let row = self.store.model_setting(organization, DocumentKind::Privacy.as_str(), ONLY).await?;
        row.map_or_else(|| Ok(Privacy::default()), |row| Ok(serde_json::from_str(&row.value)?))
    }

    /// Changes the organization's choice about contents.
    ///
    /// # Errors
    /// The store failed.
    pub async fn put_privacy(&self, organization: &OrganizationId, privacy: Privacy) -> Result<(), Error> {
        self.put(organization, ONLY, privacy).await.map(|_| ())
    }

    /// A stored secret was changed or deleted: upstreams that name it are made anew, in every process.
    ///
    /// # Errors
    /// The store failed.
    pub async fn secret_changed(&self, organization: &OrganizationId) -> Result<(), Error> {
        let rows = self.rows(organization, DocumentKind::Upstream).await?;
        if rows.iter().any(|row| row.sealed.is_some()) {
            self.store.touch_model_settings(organization).await?;
            self.cache.changed(organization).await;
        }
        Ok(())
    }

    /// Writes a document and reads the catalogue again. Returns the times and whether it is new.
    pub(super) async fn write(
        &self,
        organization: &OrganizationId,
        kind: DocumentKind,
        name: &str,
        value: String,
        sealed: Option<String>,
    ) -> Result<(i64, i64, bool), Error> {
        if value.len() > MAX_DOCUMENT_BYTES {
            return Err(Problem::too_large(format!("A document has at most {MAX_DOCUMENT_BYTES} bytes.")).into());
        }
        let updated_at = now();
        let row = ModelSettingRow {
            organization: organization.clone(),
            kind: kind.as_str().to_owned(),
            name: name.to_owned(),
            value,
            sealed,
            created_at: updated_at,
            updated_at,
        };
        let (created_at, new) = match self.store.put_model_setting(&row, kind.most(), MAX_DOCUMENTS_CHARACTERS).await? {
            Put::Added => (updated_at, true),
            Put::Replaced { created_at } => (created_at, false),
            Put::Full => return Err(kind.full().into()),
        };
        self.cache.changed(organization).await;
        Ok((created_at, updated_at, new))
    }

    /// The stored documents of a kind.
    pub(super) async fn rows(
        &self,
        organization: &OrganizationId,
        kind: DocumentKind,
    ) -> Result<Vec<ModelSettingRow>, Error> {
        Ok(self.store.model_settings_of(organization, kind.as_str()).await?)
    }

    /// True if the operator has a document of this name.
    fn is_operators(&self, kind: DocumentKind, name: &str) -> bool {
        let shared = self.shared();
        let mut priced =
            [&*shared.operator.prices, shared.operator.table.as_ref().unwrap_or(&shared.built_in)].into_iter();
        match kind {
            DocumentKind::Upstream => shared.upstreams.contains_key(name),
            DocumentKind::Alias => shared.operator.aliases.contains_key(name),
            DocumentKind::Price => priced.any(|table| table.iter().any(|(known, _)| known == name)),
            _ => false,
        }
    }

    /// The operator's documents of a kind that everybody may see.
    fn operators<S: Spec>(&self) -> Result<Vec<Document<S>>, Error> {
        let operator = &self.shared().operator;
        let values: Vec<(&String, serde_json::Value)> = match S::KIND {
            DocumentKind::Alias => {
                let value = |(name, spec)| Ok((name, serde_json::to_value(spec)?));
                operator.aliases.iter().map(value).collect::<Result<_, serde_json::Error>>()?
            }
            DocumentKind::Price => {
                let table = operator.table.as_ref().unwrap_or(&self.shared().built_in);
                let own: Vec<_> = operator.prices.iter().collect();
                let rest = table.iter().filter(|(name, _)| !own.iter().any(|(other, _)| other == name));
                let value = |(name, spec)| Ok((name, serde_json::to_value(spec)?));
                own.iter().copied().chain(rest).map(value).collect::<Result<_, serde_json::Error>>()?
            }
            _ => Vec::new(),
        };
        let document = |(name, value): (&String, _)| {
            let spec = serde_json::from_value(value)?;
            let owner = DocumentOwner::Operator;
            Ok(Document { name: name.clone(), owner, spec, created_at: None, updated_at: None })
        };
        values.into_iter().map(document).collect()
    }

    /// Refuses an alias that names another alias, or a model that no upstream serves.
    async fn check_alias(&self, organization: &OrganizationId, name: &str, alias: &AliasSpec) -> Result<(), Error> {
        let catalogue = self.of(organization).await?;
        for (at, model) in alias.models() {
            let refused = |why: String| Problem::invalid(format!("chain[{at}]: {why}"));
            if model == name || catalogue.aliases.contains_key(model) {
                return Err(
                    refused(format!("{model:?} is an alias; name its models instead, such as openai/gpt-5.2")).into()
                );
            }
            if let Some((name, broken)) = broken(&catalogue, model) {
                let why = format!("the upstream {name:?} cannot be used: {}", broken.why());
                return Err(refused(why).into());
            }
            check_served(&catalogue.upstreams, model).map_err(refused)?;
        }
        // What others name must not become an alias.
        for (other, alias) in &catalogue.aliases {
            if other != name && alias.models().any(|(_, model)| model == name) {
                let why = format!("the alias {other:?} has a model of this name; choose another name");
                return Err(Problem::invalid(format!("name: {why}")).into());
            }
        }
        Ok(())
    }

    /// Refuses to delete an upstream that an alias of the organization names.
    async fn check_unused(&self, organization: &OrganizationId, name: &str) -> Result<(), Error> {
        // Behind it there may be the operator's upstream of the same name.
        if self.shared().upstreams.contains_key(name) {
            return Ok(());
        }
        let names = |alias: &AliasSpec| {
            alias.models().any(|(_, model)| model.split_once('/').is_some_and(|(upstream, _)| upstream == name))
        };
        for document in self.list::<AliasSpec>(organization).await? {
            if document.owner == DocumentOwner::Organization && names(&document.spec) {
                let detail = format!(
                    "The alias {:?} names the upstream {name:?}; change or delete the alias first.",
                    document.name
                );
                return Err(Problem::conflict(detail).into());
            }
        }
        Ok(())
    }
}

/// A model that some upstream may serve.
pub(super) fn check_served(upstreams: &BTreeMap<String, Arc<Upstream>>, model: &str) -> Result<(), String> {
    if let Some((upstream, rest)) = model.split_once('/')
        && let Some(upstream) = upstreams.get(upstream)
    {
        if rest.is_empty() || upstream.serves(rest).is_none() {
            return Err(format!("the upstream {:?} does not list the model {rest:?}", upstream.name()));
        }
        return Ok(());
    }
    let listed = upstreams.values().any(|u| !u.spec().models.is_empty() && u.serves(model).is_some());
    if listed || (!model.contains('/') && upstreams.values().any(|u| u.spec().models.is_empty())) {
        return Ok(());
    }
    Err(match model.split_once('/') {
        Some((upstream, _)) => {
            let known: Vec<&str> = upstreams.keys().map(String::as_str).take(10).collect();
            format!(
                "there is no upstream {upstream:?}; there are: {}",
                if known.is_empty() { "none".to_owned() } else { known.join(", ") }
            )
        }
        None => format!("no upstream lists the model {model:?}; write UPSTREAM/MODEL"),
    })
}

fn read<S: Spec>(row: ModelSettingRow) -> Result<Document<S>, Error> {
    Ok(Document {
        owner: DocumentOwner::Organization,
        spec: serde_json::from_str(&row.value)?,
        name: row.name,
        created_at: Some(row.created_at),
        updated_at: Some(row.updated_at),
    })
}
