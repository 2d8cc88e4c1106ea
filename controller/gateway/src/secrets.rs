//! A run's secrets at the gateway. On the way out, placeholders become values for the hosts that a secret is bound to;
//! on the way back, values become placeholders again. Values are read at the first use and overwritten at the end.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use cofferdam_identity::OpenedSecret;
use cofferdam_redact::{
    Effort, Finder, Forbidden, MAX_INSERTED_BYTES, Matcher, Replacement, Replacer, percent_encoded,
};
use http::header::{HeaderName, HeaderValue};
use zeroize::Zeroizing;

use crate::Gateway;
use crate::admission::Admission;
use crate::refusal::Refusal;
use crate::target::Target;

/// All values of one run together.
const MAX_VALUE_BYTES: usize = 64 << 10;

struct Entry {
    name: String,
    placeholder: String,
    /// `None`: the organization has no such secret.
    secret: Option<Arc<OpenedSecret>>,
}

/// The secrets that a run was granted.
pub(crate) struct Held {
    entries: Vec<Entry>,
    placeholders: Arc<Finder>,
    /// All values, in any spelling.
    values: Arc<Matcher>,
    /// The placeholder that each value becomes.
    back: Arc<Vec<Replacement>>,
}

impl Held {
    /// The run's secrets, read at the first call.
    ///
    /// # Errors
    /// The store's failure, or secrets that are too long together.
    pub(crate) async fn of(gateway: &Gateway, admission: &Admission) -> Result<Option<Arc<Self>>, Refusal> {
        if admission.placeholders.is_empty() {
            return Ok(None);
        }
        let held = admission.held.get_or_try_init(|| Self::load(gateway, admission)).await?;
        Ok(Some(Arc::clone(held)))
    }

    async fn load(gateway: &Gateway, admission: &Admission) -> Result<Arc<Self>, Refusal> {
        let organization = &admission.pass.caller.organization;
        let mut entries = Vec::new();
        for (grant, placeholder) in admission.pass.grants.secrets.iter().zip(&admission.placeholders) {
            let secret = gateway.secrets.open(organization, &grant.name).await?;
            entries.push(Entry { name: grant.name.clone(), placeholder: placeholder.clone(), secret });
        }
        Self::new(entries)
    }

    fn new(entries: Vec<Entry>) -> Result<Arc<Self>, Refusal> {
        let values = entries.iter().filter_map(|entry| entry.secret.as_ref()).map(|secret| secret.value.len());
        if values.sum::<usize>() > MAX_VALUE_BYTES {
            let detail = format!("The granted secrets have over {MAX_VALUE_BYTES} bytes together.");
            return Err(Refusal::policy(detail));
        }
        let (mut values, mut back) = (Vec::new(), Vec::<Replacement>::new());
        for entry in &entries {
            if let Some(secret) = &entry.secret {
                values.push(secret.value.as_bytes());
                back.push(Ok(Zeroizing::new(entry.placeholder.clone().into_bytes())));
            }
        }
        let values = Matcher::new(values).map(Arc::new).map_err(|e| Refusal::internal(&e))?;
        let finder = |texts| Finder::new(texts).map(Arc::new).map_err(|e| Refusal::internal(&e));
        let placeholders = finder(entries.iter().map(|entry| entry.placeholder.clone().into_bytes()).collect())?;
        Ok(Arc::new(Self { placeholders, values, back: Arc::new(back), entries }))
    }

    /// True when a secret may be sent to the host. Its answers have to be searched for the value then.
    pub(crate) fn any_bound(&self, target: &Target) -> bool {
        self.entries.iter().filter_map(|entry| entry.secret.as_ref()).any(|secret| bound_to(secret, target))
    }

    /// The replacements of placeholders in a request to the host.
    pub(crate) fn outgoing(self: &Arc<Self>, target: &Target, plain_http: bool) -> Outgoing {
        let of = |entry: &Entry| -> Replacement {
            let name = &entry.name;
            match &entry.secret {
                None => Err(format!(
                    "The secret {name:?} is granted but does not exist: store it with `cofferdam secret set {name} --host HOST`."
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

    /// Takes the values out of a stream.
    pub(crate) fn scrubber(&self) -> Replacer {
        Replacer::new(Arc::clone(&self.values), Arc::clone(&self.back), usize::MAX)
    }

    /// True when a header's name holds a value, in any spelling and in any case. Such a header is not passed on.
    pub(crate) fn is_in_name(&self, name: &HeaderName, effort: &mut Effort) -> bool {
        self.values.is_in_name(name.as_str().as_bytes(), effort)
    }

    /// A header's value without secrets. None: it has no secret.
    ///
    /// # Errors
    /// The result is no valid header.
    pub(crate) fn scrub_header(
        &self,
        value: &HeaderValue,
        effort: &mut Effort,
    ) -> Result<Option<HeaderValue>, Forbidden> {
        let scrubbed = self.values.replace_all(&self.back, value.as_bytes(), effort)?;
        scrubbed.map(|bytes| HeaderValue::from_bytes(&bytes).map_err(|e| Forbidden(e.to_string()))).transpose()
    }
}

/// The placeholders in one request: each becomes its secret's value, or ends the request with the sentence that says
/// why the secret must not be sent to the host.
pub(crate) struct Outgoing {
    finder: Arc<Finder>,
    with: Arc<Vec<Replacement>>,
}

impl Outgoing {
    pub(crate) fn body(&self) -> Replacer {
        Replacer::new(Arc::clone(&self.finder), Arc::clone(&self.with), MAX_INSERTED_BYTES)
    }

    /// The path and query with the values put in, percent-encoded. None: there is no placeholder.
    ///
    /// # Errors
    /// A placeholder of a secret that must not be sent to the host.
    pub(crate) fn url(&self, path_and_query: &str) -> Result<Option<Zeroizing<String>>, Forbidden> {
        let encode = |with: &Replacement| with.clone().map(|value| Zeroizing::new(percent_encoded(&value)));
        let with: Vec<Replacement> = self.with.iter().map(encode).collect();
        let Some(bytes) = self.finder.replace_all(&with, path_and_query.as_bytes())? else { return Ok(None) };
        String::from_utf8(bytes).map(|text| Some(Zeroizing::new(text))).map_err(|e| Forbidden(e.to_string()))
    }

    /// A header's value with the secrets' values put in, also inside basic credentials. None: there is no placeholder.
    ///
    /// # Errors
    /// A placeholder of a secret that must not be sent to the host, or a value that no header can carry.
    pub(crate) fn header(&self, value: &HeaderValue) -> Result<Option<HeaderValue>, Forbidden> {
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

fn bound_to(secret: &OpenedSecret, target: &Target) -> bool {
    secret.hosts.iter().any(|host| host.binds(&target.host, target.port))
}

/// The user name and password of `Authorization: Basic`.
fn basic(value: &HeaderValue) -> Option<Vec<u8>> {
    let (scheme, credentials) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("basic").then(|| BASE64_STANDARD.decode(credentials.trim()).ok())?
}

#[cfg(test)]
#[path = "secrets_tests.rs"]
mod tests;
