//! The upstream of models and the operator's key for it: read once at the start, never shown.

use std::sync::Arc;

use bytes::Bytes;
use cofferdam_core::ConfigError;
use cofferdam_redact::{Effort, Matcher, Replacement, Replacer};
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, HOST, USER_AGENT};
use http::{HeaderValue, Request, Uri};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use zeroize::Zeroizing;

use super::{Service, post, whole};
use crate::GatewayConfig;
use crate::body::GatewayBody;
use crate::refusal::Refusal;
use crate::target::Target;

/// The base URL where only a key is configured.
const DEFAULT_BASE_URL: &str = "https://api.openai.com/v1";
/// Stands in the key's place.
const MARK: &str = "[the operator's key]";
/// Servers on one's own machine want words like `none` or `ollama` for a key. Those are no secrets, and taking them out
/// of a text would break it.
const MIN_KEY_BYTES: usize = 12;
/// The memory of all requests that are being read or sent, in KiB.
const MAX_MEMORY_KIB: u32 = 256 << 10;

/// The upstream of models.
pub struct Models {
    base: Target,
    host: HeaderValue,
    chat: Uri,
    embeddings: Uri,
    models: Uri,
    authorization: Option<HeaderValue>,
    /// The key in every spelling, and what it becomes.
    key: Option<(Arc<Matcher>, Arc<Vec<Replacement>>)>,
    memory: Arc<Semaphore>,
}

/// A request's share of the memory.
pub(crate) struct Memory(OwnedSemaphorePermit);

fn kib(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(MAX_MEMORY_KIB)
}

impl Memory {
    /// Gives back the memory that a body of this size does not need.
    pub(crate) fn keep(&mut self, bytes: usize) {
        let unused = self.0.num_permits().saturating_sub(kib(bytes) as usize);
        drop(self.0.split(unused));
    }
}

impl Models {
    /// The upstream that the operator has configured, if any.
    ///
    /// # Errors
    /// An invalid address or key, by the setting's name and without its value.
    pub fn new(config: &GatewayConfig) -> Result<Option<Self>, ConfigError> {
        let key = config.llm_key.as_ref().map(|key| key.expose().trim());
        let text = match (&config.llm_base_url, key) {
            (Some(text), _) => text.as_str(),
            (None, Some(_)) => DEFAULT_BASE_URL,
            (None, None) => return Ok(None),
        };
        let refused = |why: &str| ConfigError::value("OPENAI_BASE_URL", why);
        let base = Target::parse(text.trim()).map_err(refused)?;
        if base.query.is_some() {
            return Err(refused("the URL has a query"));
        }
        let host = base.authority().parse().map_err(|_| refused("the URL has an invalid host name"))?;
        let uri = |service: Service| {
            let path = format!("{}{}", base.path.trim_end_matches('/'), service.path());
            path.parse::<Uri>().map_err(|_| refused("not a valid URL"))
        };
        let (chat, embeddings, models) = (uri(Service::Chat)?, uri(Service::Embeddings)?, uri(Service::Models)?);
        let authorization = key.map(|key| HeaderValue::from_str(&format!("Bearer {key}"))).transpose();
        let mut authorization = authorization
            .map_err(|_| ConfigError::value("OPENAI_API_KEY", "it has characters that no header can carry"))?;
        if let Some(value) = &mut authorization {
            value.set_sensitive(true);
        }
        let key = key.filter(|key| key.len() >= MIN_KEY_BYTES).map(|key| {
            let with = vec![Ok(Zeroizing::new(MARK.as_bytes().to_vec()))];
            Matcher::new([key.as_bytes()]).map(|matcher| (Arc::new(matcher), Arc::new(with)))
        });
        let key = key.transpose().map_err(|why| ConfigError::value("OPENAI_API_KEY", why))?;
        let memory = Arc::new(Semaphore::new(MAX_MEMORY_KIB as usize));
        Ok(Some(Self { base, host, chat, embeddings, models, authorization, key, memory }))
    }

    pub(crate) fn base(&self) -> &Target {
        &self.base
    }

    /// Waits for the memory for a request.
    pub(crate) async fn memory(&self, bytes: usize) -> Result<Memory, Refusal> {
        let permit = Arc::clone(&self.memory).acquire_many_owned(kib(bytes)).await;
        permit.map(Memory).map_err(|_| Refusal::token())
    }

    /// The request to the upstream. Its head has nothing from the guest.
    pub(crate) fn request(&self, service: Service, body: Bytes) -> Request<GatewayBody> {
        let (mut request, uri) = match service {
            Service::Chat => (post(body), &self.chat),
            Service::Embeddings => (post(body), &self.embeddings),
            Service::Models => (Request::new(whole(body)), &self.models),
        };
        *request.uri_mut() = uri.clone();
        let headers = request.headers_mut();
        headers.insert(HOST, self.host.clone());
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("cofferdam/", env!("CARGO_PKG_VERSION"))));
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        request
    }

    /// Takes the key out of a stream.
    pub(crate) fn scrubber(&self) -> Option<Replacer> {
        let (matcher, with) = self.key.as_ref()?;
        Some(Replacer::new(Arc::clone(matcher), Arc::clone(with), usize::MAX))
    }

    /// True when the bytes hold the key, in any spelling.
    pub(crate) fn holds_key(&self, bytes: &[u8]) -> bool {
        self.key.as_ref().is_some_and(|(matcher, with)| {
            !matches!(matcher.replace_all(with, bytes, &mut Effort::new(bytes.len())), Ok(None))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_core::Secret;

    fn models(base: Option<&str>, key: Option<&str>) -> Result<Option<Models>, String> {
        let config = GatewayConfig {
            llm_base_url: base.map(str::to_owned),
            llm_key: key.map(Secret::new),
            ..GatewayConfig::default()
        };
        Models::new(&config).map_err(|e| e.to_string())
    }

    #[test]
    fn the_settings_are_read_and_never_shown() {
        assert!(models(None, None).unwrap().is_none());
        let usual = models(None, Some("sk-0123456789abc")).unwrap().unwrap();
        assert_eq!(usual.base().shown(), "https://api.openai.com/v1");
        let request = usual.request(Service::Chat, Bytes::new());
        assert_eq!((request.uri().path(), request.method().as_str()), ("/v1/chat/completions", "POST"));
        assert!(!format!("{:?}", request.headers()).contains("0123"), "{:?}", request.headers());
        let own = models(Some("http://[::1]:11434/v1/"), None).unwrap().unwrap();
        let request = own.request(Service::Models, Bytes::new());
        assert_eq!((request.uri().path(), request.method().as_str()), ("/v1/models", "GET"));
        assert!(request.headers().get(AUTHORIZATION).is_none() && own.scrubber().is_none());
        for (base, key, part) in [
            ("api.openai.com", "sk-0123456789abc", "OPENAI_BASE_URL"),
            ("https://u:hush-canary@x.example/v1", "k", "OPENAI_BASE_URL"),
            ("https://x.example/v1?key=hush-canary", "k", "OPENAI_BASE_URL"),
            ("https://x.example/v1", "hush-canary\r\nx: y", "OPENAI_API_KEY"),
        ] {
            let why = models(Some(base), Some(key)).err().unwrap();
            assert!(why.contains(part) && !why.contains("hush"), "{why}");
        }
    }

    #[test]
    fn a_word_that_is_no_key_is_not_taken_out() {
        assert!(models(None, Some("ollama")).unwrap().unwrap().scrubber().is_none());
        let real = models(None, Some("sk-0123456789abc")).unwrap().unwrap();
        assert!(real.holds_key(b"x sk-0123456789abc") && !real.holds_key(b"sk-0123456789ab"));
        assert!(real.holds_key(b"x \\u0073k%2d0123456789abc") && real.holds_key(b"c2stMDEyMzQ1\r\nNjc4OWFiYw=="));
    }
}
