//! Upstreams of an organization's that cannot be used: they keep their names and their models, and refuse every call. Nothing
//! that was meant for one of them goes to another provider.

use cofferdam_core::chain;
use cofferdam_store::ModelSettingRow;
use cofferdam_upstreams::{ModelSpec, UpstreamSpec};

use super::error::Error;

/// An upstream that cannot be used.
#[derive(Debug, Clone)]
pub struct Broken {
    /// Its settings as far as they can be read. None: nobody knows which models it serves.
    spec: Option<UpstreamSpec>,
    /// The fault, and what an administrator does about it, in one sentence without a key.
    why: String,
}

impl Broken {
    pub(crate) fn new(spec: Option<UpstreamSpec>, why: impl Into<String>) -> Self {
        Self { spec, why: why.into() }
    }

    pub(super) fn of(row: &ModelSettingRow, error: &Error) -> Self {
        let name = &row.name;
        let why = match error {
            Error::Refused(problem) => {
                let detail = problem.detail.trim_end_matches('.');
                format!("{detail}; an administrator mends that, or puts the upstream again: PUT /v1/upstreams/{name}")
            }
            Error::Vault(_) => format!(
                "its keys do not open with this server's encryption key; the operator restores that key, or an administrator \
                 sends the keys again: PUT /v1/upstreams/{name}"
            ),
            other => {
                tracing::error!(organization = %row.organization, name, error = chain(other), "a broken upstream");
                format!("its settings cannot be read; an administrator puts it again: PUT /v1/upstreams/{name}")
            }
        };
        Self::new(readable(&row.value), why)
    }

    pub fn why(&self) -> &str {
        &self.why
    }

    pub(crate) fn spec(&self) -> Option<&UpstreamSpec> {
        self.spec.as_ref()
    }

    /// True if it may be the one that serves this name.
    pub(crate) fn serves(&self, model: &str) -> bool {
        let listed =
            |spec: &UpstreamSpec| spec.models.is_empty() || spec.models.iter().any(|known| known.name == model);
        self.spec.as_ref().is_none_or(listed)
    }

    /// True if its settings have no list of models.
    pub(crate) fn is_open(&self) -> bool {
        self.spec.as_ref().is_some_and(|spec| spec.models.is_empty())
    }
}

/// The settings, or of those that another version wrote the kind and the names of the models.
fn readable(value: &str) -> Option<UpstreamSpec> {
    let value: serde_json::Value = serde_json::from_str(value).ok()?;
    if let Ok(spec) = serde_json::from_value(value.clone()) {
        return Some(spec);
    }
    let mut spec = UpstreamSpec::new(serde_json::from_value(value.get("kind")?.clone()).ok()?);
    spec.base_url = value.get("base_url").and_then(|url| url.as_str()).map(str::to_owned);
    for model in value.get("models").and_then(|models| models.as_array()).into_iter().flatten() {
        let name = model.as_str().or_else(|| model.get("name")?.as_str())?;
        spec.models.push(ModelSpec::named(name));
    }
    Some(spec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_another_version_still_say_which_models_they_have() {
        let read = |text: &str| Broken::new(readable(text), "");
        let newer = read(r#"{"kind":"openai","later":1,"models":["a",{"name":"b","later":2}]}"#);
        assert!(newer.serves("a") && newer.serves("b") && !newer.serves("c") && !newer.is_open());
        let open = read(r#"{"kind":"openai","later":1}"#);
        assert!(open.serves("c") && open.is_open());
        for unknown in ["", "[]", "{}", r#"{"kind":"later"}"#, r#"{"kind":"openai","later":1,"models":[7]}"#] {
            let unknown = read(unknown);
            assert!(unknown.serves("c") && !unknown.is_open() && unknown.spec().is_none());
        }
    }
}
