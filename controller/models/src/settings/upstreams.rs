//! Upstreams as documents: with keys that go in and never come out, and a test before they are saved.

use std::collections::BTreeSet;

use cofferdam_contract::{OrganizationId, Problem};
use cofferdam_core::Secret;
use cofferdam_store::ModelSettingRow;
use cofferdam_upstreams::{TestReport, UpstreamSpec};
use serde::Deserialize;

use super::Settings;
use super::document::{Document, DocumentKind, DocumentOwner, MAX_DOCUMENT_BYTES};
use super::error::Error;
use super::keys::{self, KeyEntry};
use super::pattern::check_name;

/// An upstream as a request has it.
pub struct PutUpstream {
    pub spec: UpstreamSpec,
    /// Keys, or names of stored secrets. `None` keeps the stored ones.
    pub keys: Option<Vec<KeyEntry>>,
}

/// An upstream as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamDocument {
    pub document: Document<UpstreamSpec>,
    /// The number of keys. They are never shown.
    pub key_count: usize,
    /// The names of the stored secrets among them.
    pub secrets: Vec<String>,
    /// The fault, if it cannot be used, and what to do about it.
    pub broken: Option<String>,
}

impl PutUpstream {
    /// Reads a request: the fields of an upstream, and `keys`.
    ///
    /// # Errors
    /// The field that is wrong. Never shows a key.
    pub fn parse(value: serde_json::Value) -> Result<Self, Problem> {
        let serde_json::Value::Object(mut fields) = value else {
            return Err(Problem::malformed("The body has to be an object with the fields of an upstream."));
        };
        let keys = match fields.remove("keys") {
            None | Some(serde_json::Value::Null) => None,
            Some(keys) => Some(Vec::<KeyEntry>::deserialize(keys).map_err(|_| {
                Problem::malformed("keys: a list of texts, or of {\"secret\": NAME} with the names of stored secrets")
            })?),
        };
        // What is shown may be put back.
        for shown in ["name", "owner", "key_count", "secrets", "broken", "created_at", "updated_at"] {
            fields.remove(shown);
        }
        let spec = serde_path_to_error::deserialize(serde_json::Value::Object(fields));
        Ok(Self { spec: spec.map_err(|error| misread(&error))?, keys })
    }

    /// Reads a request for the upstream of this name: the `name` and the `owner` that are shown have to be right, if they are
    /// put back.
    ///
    /// # Errors
    /// The field that is wrong. Never shows a key.
    pub fn parse_as(name: &str, value: serde_json::Value) -> Result<Self, Problem> {
        if value.get("name").is_some_and(|shown| shown.as_str() != Some(name)) {
            return Err(Problem::malformed("name: has to be the name in the address, or left out"));
        }
        if value.get("owner").is_some_and(|owner| owner.as_str() != Some("organization")) {
            return Err(Problem::malformed("owner: has to be `organization`, or left out"));
        }
        Self::parse(value)
    }

    fn check(&self) -> Result<(), Problem> {
        self.spec.check().map_err(Problem::invalid)?;
        keys::check(self.keys.as_deref().unwrap_or_default()).map_err(Problem::invalid)?;
        let length = serde_json::to_string(&self.spec).map_or(usize::MAX, |text| text.len());
        if length > MAX_DOCUMENT_BYTES {
            return Err(Problem::too_large(format!(
                "A document has at most {MAX_DOCUMENT_BYTES} bytes, its `ca` too."
            )));
        }
        Ok(())
    }
}

/// The problem of a field that cannot be read. Never repeats its value, which may be a key in the wrong place.
fn misread(error: &serde_path_to_error::Error<serde_json::Error>) -> Problem {
    let (path, text) = (error.path().to_string(), error.inner().to_string());
    let place = if path == "." { String::new() } else { format!("{path}: ") };
    match text.split_once(", expected ") {
        Some((found, expected)) if found.starts_with("unknown field") && path == found_field(found) => {
            Problem::malformed(format!("{found}, expected {expected}, `keys`"))
        }
        Some((found, expected)) if found.starts_with("unknown variant") || found.starts_with("invalid value") => {
            Problem::invalid(format!("{place}expected {}", plainly(expected)))
        }
        Some((found, expected)) if found.starts_with("invalid type") => {
            Problem::malformed(format!("{place}expected {}", plainly(expected)))
        }
        // Of unknown and missing fields only the name is told.
        _ => Problem::malformed(format!("{place}{text}")),
    }
}

/// The field of a message about an unknown one.
fn found_field(message: &str) -> &str {
    message.split('`').nth(1).unwrap_or_default()
}

/// The words of a parser about a type, in those of JSON.
pub(super) fn plainly(expected: &str) -> &str {
    match expected {
        "u64" | "u32" | "usize" => "a whole number, not negative",
        "a sequence" => "a list",
        "a map" => "an object",
        "a string" => "a text",
        "a boolean" => "true or false",
        other => other,
    }
}

impl Settings {
    /// Creates an upstream, or replaces the one with its name. Returns whether it is new.
    ///
    /// # Errors
    /// [`Problem::invalid`] for the first wrong field, also if the keys would go to another place than the one that they were
    /// stored for; [`Problem::overloaded`] if there are too many; or the store failed.
    pub async fn put_upstream(
        &self,
        organization: &OrganizationId,
        name: &str,
        request: PutUpstream,
    ) -> Result<(UpstreamDocument, bool), Error> {
        check_name(name).map_err(Problem::invalid)?;
        if name == "test" {
            return Err(Problem::invalid("name: `test` is taken, for tests before an upstream is saved").into());
        }
        request.check()?;
        let row = self.store.model_setting(organization, DocumentKind::Upstream.as_str(), name).await?;
        let (entries, _) = self.made(organization, name, &request, row.as_ref()).await?;
        let sealed = match (&request.keys, row) {
            (None, Some(row)) => row.sealed,
            _ if entries.is_empty() => None,
            _ => {
                let place = keys::destination(&request.spec);
                Some(keys::seal(&self.shared().vault, organization, name, &place, &entries)?)
            }
        };
        let value = serde_json::to_string(&request.spec)?;
        let (created_at, updated_at, new) =
            self.write(organization, DocumentKind::Upstream, name, value, sealed).await?;
        let document = Document {
            name: name.to_owned(),
            owner: DocumentOwner::Organization,
            spec: request.spec,
            created_at: Some(created_at),
            updated_at: Some(updated_at),
        };
        Ok((UpstreamDocument { document, key_count: entries.len(), secrets: keys::names(&entries), broken: None }, new))
    }

    /// The keys of a request with their texts, checked by making the upstream once.
    async fn made(
        &self,
        organization: &OrganizationId,
        name: &str,
        request: &PutUpstream,
        row: Option<&ModelSettingRow>,
    ) -> Result<(Vec<KeyEntry>, std::sync::Arc<cofferdam_upstreams::Upstream>), Error> {
        let entries = match (&request.keys, row) {
            (Some(keys), _) => keys.clone(),
            (None, Some(row)) => self.kept(organization, row, &request.spec)?,
            (None, None) => Vec::new(),
        };
        let shared = self.shared();
        let texts: Vec<Secret> = keys::resolve(&*shared.secrets, organization, &request.spec, &entries).await?;
        let upstream = shared.make(organization, name, request.spec.clone(), texts)?;
        Ok((entries, upstream))
    }

    /// The stored keys, unless they would go to another place.
    fn kept(
        &self,
        organization: &OrganizationId,
        row: &ModelSettingRow,
        spec: &UpstreamSpec,
    ) -> Result<Vec<KeyEntry>, Error> {
        let Some(sealed) = &row.sealed else { return Ok(Vec::new()) };
        let before: UpstreamSpec = serde_json::from_str(&row.value)?;
        let (old, new) = (keys::destination(&before), keys::destination(spec));
        if old != new {
            let detail = "keys: send them again: the stored ones are only for the kind, base_url, region, proxy and ca that \
                          they were stored with; or send \"keys\": [] for an upstream without keys";
            return Err(Problem::invalid(detail).into());
        }
        keys::unseal(&self.shared().vault, organization, &row.name, &old, sealed)
    }

    /// An upstream of the organization's, or of the operator's.
    ///
    /// # Errors
    /// [`Problem::not_found`], or the store failed.
    pub async fn upstream(&self, organization: &OrganizationId, name: &str) -> Result<UpstreamDocument, Error> {
        if let Some(row) = self.store.model_setting(organization, DocumentKind::Upstream.as_str(), name).await? {
            let mut shown = self.shown(organization, row)?;
            if let Ok(catalogue) = self.of(organization).await {
                shown.broken = catalogue.broken.get(name).map(|broken| broken.why().to_owned());
            }
            return Ok(shown);
        }
        self.operators_upstream(name).ok_or_else(|| DocumentKind::Upstream.missing(name).into())
    }

    /// All upstreams of the organization, and the operator's that no own one hides, by name.
    ///
    /// # Errors
    /// The store failed.
    pub async fn upstreams(&self, organization: &OrganizationId) -> Result<Vec<UpstreamDocument>, Error> {
        let rows = self.rows(organization, DocumentKind::Upstream).await?;
        let hidden: BTreeSet<String> = rows.iter().map(|row| row.name.clone()).collect();
        let mut found: Vec<_> = rows.into_iter().filter_map(|row| self.shown(organization, row).ok()).collect();
        // A list is shown as well as it can be.
        if let Ok(catalogue) = self.of(organization).await {
            for own in &mut found {
                own.broken = catalogue.broken.get(&own.document.name).map(|broken| broken.why().to_owned());
            }
        }
        for name in self.shared().upstreams.keys().filter(|name| !hidden.contains(*name)) {
            found.extend(self.operators_upstream(name));
        }
        found.sort_by(|a, b| a.document.name.cmp(&b.document.name));
        Ok(found)
    }

    /// Asks a stored upstream, or one of the operator's, for a cheap answer.
    ///
    /// # Errors
    /// [`Problem::not_found`], or the store failed. A failure of the upstream is part of the report.
    pub async fn test_upstream(&self, organization: &OrganizationId, name: &str) -> Result<TestReport, Error> {
        let catalogue = self.of(organization).await?;
        if let Some(upstream) = catalogue.upstreams.get(name) {
            return Ok(upstream.test().await);
        }
        let broken = catalogue.broken.get(name).ok_or_else(|| DocumentKind::Upstream.missing(name))?;
        let detail = format!("It cannot be used: {}.", broken.why());
        Ok(TestReport { ok: false, status: None, detail, wall_ms: 0, models: None })
    }

    /// Asks an upstream for a cheap answer before it is saved. Without keys in the request, the stored ones of the same name
    /// are used, if they are for the same place.
    ///
    /// # Errors
    /// [`Problem::invalid`] for the first wrong field, or the store failed.
    pub async fn test_unsaved(
        &self,
        organization: &OrganizationId,
        name: Option<&str>,
        request: &PutUpstream,
    ) -> Result<TestReport, Error> {
        request.check()?;
        let row = match name {
            Some(name) => self.store.model_setting(organization, DocumentKind::Upstream.as_str(), name).await?,
            None => None,
        };
        Ok(self.made(organization, name.unwrap_or("test"), request, row.as_ref()).await?.1.test().await)
    }

    /// Refuses to delete a stored secret that an upstream of the organization's names.
    ///
    /// # Errors
    /// [`Problem::conflict`] with the upstream's name, or the store failed.
    pub async fn check_secret_unused(&self, organization: &OrganizationId, secret: &str) -> Result<(), Error> {
        for row in self.rows(organization, DocumentKind::Upstream).await? {
            let name = row.name.clone();
            // One that cannot be read cannot use the secret either.
            let Ok(shown) = self.shown(organization, row) else { continue };
            if shown.secrets.iter().any(|named| named == secret) {
                let detail = format!(
                    "The upstream {name:?} has this secret among its keys; change or delete the upstream first \
                     (PUT or DELETE /v1/upstreams/{name})."
                );
                return Err(Problem::conflict(detail).into());
            }
        }
        Ok(())
    }

    fn shown(&self, organization: &OrganizationId, row: ModelSettingRow) -> Result<UpstreamDocument, Error> {
        let spec: UpstreamSpec = serde_json::from_str(&row.value)?;
        // Keys that do not open any more must not hide the document that has to be put again.
        let entries = match &row.sealed {
            Some(sealed) => {
                let place = keys::destination(&spec);
                keys::unseal(&self.shared().vault, organization, &row.name, &place, sealed).unwrap_or_default()
            }
            None => Vec::new(),
        };
        let document = Document {
            name: row.name,
            owner: DocumentOwner::Organization,
            spec,
            created_at: Some(row.created_at),
            updated_at: Some(row.updated_at),
        };
        Ok(UpstreamDocument { document, key_count: entries.len(), secrets: keys::names(&entries), broken: None })
    }

    /// One of the operator's: kind, models, services and region. Never an address, a header or the number of keys.
    fn operators_upstream(&self, name: &str) -> Option<UpstreamDocument> {
        let upstream = self.shared().upstreams.get(name)?;
        let full = upstream.spec();
        let mut spec = UpstreamSpec::new(full.kind);
        spec.region = full.region.clone();
        spec.models = full.models.iter().map(|model| cofferdam_upstreams::ModelSpec::named(&model.name)).collect();
        spec.services = full.services.clone();
        let owner = DocumentOwner::Operator;
        let document = Document { name: name.to_owned(), owner, spec, created_at: None, updated_at: None };
        Some(UpstreamDocument { document, key_count: 0, secrets: Vec::new(), broken: None })
    }
}
