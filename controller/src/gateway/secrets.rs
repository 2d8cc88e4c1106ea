//! A run's secrets at the gateway: placeholders become values on the way out, for the hosts that a secret is bound to,
//! and values become placeholders again on the way back. Values are read at the first use and overwritten at the end.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;
use zeroize::Zeroizing;

use super::admission::Admission;
use super::refusal::Refusal;
use super::replace::{Finder, Forbidden, MOST_INSERTED, Replacement, Replacer};
use super::scrub::{forms, percent_encoded};
use super::target::Target;
use crate::services::{App, secrets};

/// All values of one run together, in bytes.
const MOST: usize = 64 << 10;

struct Entry {
    name: String,
    placeholder: String,
    /// None where there is no such secret.
    secret: Option<Arc<secrets::Opened>>,
}

/// The secrets that a run was granted.
pub struct Held {
    entries: Vec<Entry>,
    placeholders: Arc<Finder>,
    /// All forms of all values, each with the placeholder that it becomes.
    values: Arc<Finder>,
    back: Arc<Vec<Replacement>>,
}

impl Held {
    /// The run's secrets, read at the first call.
    ///
    /// # Errors
    /// The store's failure, or secrets that are too much together.
    pub async fn of(app: &App, admission: &Admission) -> Result<Option<Arc<Self>>, Refusal> {
        if admission.placeholders.is_empty() {
            return Ok(None);
        }
        let held = admission.held.get_or_try_init(|| Self::load(app, admission)).await?;
        Ok(Some(Arc::clone(held)))
    }

    async fn load(app: &App, admission: &Admission) -> Result<Arc<Self>, Refusal> {
        let mut entries = Vec::new();
        for (grant, placeholder) in admission.pass.grants.secrets.iter().zip(&admission.placeholders) {
            let secret = secrets::open(app, &admission.pass.caller.organization, &grant.name).await?;
            entries.push(Entry { name: grant.name.clone(), placeholder: placeholder.clone(), secret });
        }
        if entries.iter().filter_map(|entry| entry.secret.as_ref()).map(|s| s.value.len()).sum::<usize>() > MOST {
            return Err(Refusal::policy(format!("The secrets that are granted have over {MOST} bytes together.")));
        }
        let (mut texts, mut back) = (Vec::new(), Vec::<Replacement>::new());
        for entry in &entries {
            for form in entry.secret.iter().flat_map(|secret| forms(secret.value.as_bytes())) {
                texts.push(form);
                back.push(Ok(Zeroizing::new(entry.placeholder.clone().into_bytes())));
            }
        }
        let finder = |texts| Finder::new(texts).map(Arc::new).map_err(|e| Refusal::policy(e.0));
        let placeholders = finder(entries.iter().map(|entry| entry.placeholder.clone().into_bytes()).collect())?;
        Ok(Arc::new(Self { placeholders, values: finder(texts)?, back: Arc::new(back), entries }))
    }

    /// Whether one of them may go to that host: then its answers have to be readable for us.
    pub fn any_bound(&self, target: &Target) -> bool {
        self.entries.iter().filter_map(|entry| entry.secret.as_ref()).any(|secret| bound_to(secret, target))
    }

    /// What becomes of placeholders in a request to that host.
    pub fn outgoing(self: &Arc<Self>, target: &Target, plain_http: bool) -> Outgoing {
        let of = |entry: &Entry| -> Replacement {
            let name = &entry.name;
            match &entry.secret {
                None => Err(format!(
                    "The secret {name:?} was granted and is not there: make it with PUT /v1/secrets/{name}."
                )),
                Some(secret) if !bound_to(secret, target) => Err(format!(
                    "The secret {name:?} is not bound to {}, so its placeholder cannot be sent there; it is bound to {}.",
                    target.authority(),
                    secret.hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
                )),
                Some(_) if !target.https && !plain_http => Err(format!(
                    "The secret {name:?} goes out over https only; an operator allows http with secrets.plain_http."
                )),
                Some(secret) => Ok(Zeroizing::new(secret.value.as_bytes().to_vec())),
            }
        };
        Outgoing { finder: Arc::clone(&self.placeholders), with: Arc::new(self.entries.iter().map(of).collect()) }
    }

    /// Takes values out of a stream.
    pub fn scrubber(&self) -> Replacer {
        Replacer::new(Arc::clone(&self.values), Arc::clone(&self.back), usize::MAX)
    }

    /// A header's value without secrets'.
    ///
    /// # Errors
    /// Where the result can be no header.
    pub fn scrub_header(&self, value: &HeaderValue) -> Result<Option<HeaderValue>, Forbidden> {
        let scrubbed = self.values.replace_all(&self.back, value.as_bytes())?;
        scrubbed.map(|bytes| HeaderValue::from_bytes(&bytes).map_err(|e| Forbidden(e.to_string()))).transpose()
    }
}

/// Placeholders of one request, each with the value for its host or the reason why not.
#[derive(Clone)]
pub struct Outgoing {
    finder: Arc<Finder>,
    with: Arc<Vec<Replacement>>,
}

impl Outgoing {
    pub fn body(&self) -> Replacer {
        Replacer::new(Arc::clone(&self.finder), Arc::clone(&self.with), MOST_INSERTED)
    }

    /// The path and query with values in it, each percent-encoded whole.
    ///
    /// # Errors
    /// A placeholder of a secret that must not go there.
    pub fn url(&self, path_and_query: &str) -> Result<Option<Zeroizing<String>>, Forbidden> {
        let encode = |with: &Replacement| with.clone().map(|value| Zeroizing::new(percent_encoded(&value)));
        let with: Vec<Replacement> = self.with.iter().map(encode).collect();
        let Some(bytes) = self.finder.replace_all(&with, path_and_query.as_bytes())? else { return Ok(None) };
        String::from_utf8(bytes).map(|text| Some(Zeroizing::new(text))).map_err(|e| Forbidden(e.to_string()))
    }

    /// A header's value with secrets' in it, also inside of basic credentials.
    ///
    /// # Errors
    /// A placeholder of a secret that must not go there, or a value that no header can carry.
    pub fn header(&self, value: &HeaderValue) -> Result<Option<HeaderValue>, Forbidden> {
        let replaced = match basic(value) {
            Some(credentials) => self.finder.replace_all(&self.with, &credentials)?.map(|credentials| {
                let credentials = Zeroizing::new(credentials);
                format!("Basic {}", BASE64_STANDARD.encode(credentials.as_slice())).into_bytes()
            }),
            None => self.finder.replace_all(&self.with, value.as_bytes())?,
        };
        let Some(replaced) = replaced.map(Zeroizing::new) else { return Ok(None) };
        let mut header = HeaderValue::from_bytes(&replaced).map_err(|_| {
            Forbidden("A secret in a header has characters that no header can carry, such as a line end.".to_owned())
        })?;
        header.set_sensitive(true);
        Ok(Some(header))
    }
}

fn bound_to(secret: &secrets::Opened, target: &Target) -> bool {
    secret.hosts.iter().any(|host| host.binds(&target.host, target.port))
}

/// User name and password of `Authorization: Basic`.
fn basic(value: &HeaderValue) -> Option<Vec<u8>> {
    let (scheme, credentials) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("basic").then(|| BASE64_STANDARD.decode(credentials.trim()).ok())?
}
