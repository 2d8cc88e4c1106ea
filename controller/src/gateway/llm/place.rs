//! Where models are, and the key for it: read once at the start, never shown.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, HOST, USER_AGENT};
use http::{HeaderValue, Request};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use zeroize::Zeroizing;

use super::super::body::GatewayBody;
use super::super::refusal::Refusal;
use super::super::replace::{Finder, Replacement, Replacer};
use super::super::scrub::forms;
use super::super::target::Target;
use super::{Service, post, whole};
use crate::config::{ConfigError, GatewayConfig};

/// Where only a key is configured.
const USUAL: &str = "https://api.openai.com/v1";
/// What stands where the key was.
const TAKEN_OUT: &str = "[the operator's key]";
/// Servers on one's own machine want words like `none` or `ollama` for a key. Those are no secrets, and taking them out
/// of a text would break it.
const SHORTEST_KEY: usize = 12;
/// What all requests that are being read or sent may hold together, in KiB.
const MEMORY_KIB: u32 = 256 << 10;

/// The upstream of models.
pub struct Models {
    base: Target,
    authorization: Option<HeaderValue>,
    /// The key in all its forms, and what each becomes.
    key: Option<(Arc<Finder>, Arc<Vec<Replacement>>)>,
    memory: Arc<Semaphore>,
}

/// A request's share of the memory.
pub struct Memory(OwnedSemaphorePermit);

fn kib(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(MEMORY_KIB)
}

impl Memory {
    /// Gives back what the body, now that it is there, does not need.
    pub fn keep(&mut self, bytes: usize) {
        let unused = self.0.num_permits().saturating_sub(kib(bytes) as usize);
        drop(self.0.split(unused));
    }
}

impl Models {
    /// What the operator has configured; none where there is nothing.
    ///
    /// # Errors
    /// An address or a key that cannot be, by the setting's name and without its value.
    pub fn new(config: &GatewayConfig) -> Result<Option<Self>, ConfigError> {
        let key = config.llm_key.as_ref().map(|key| key.expose().trim());
        let text = match (&config.llm_base_url, key) {
            (Some(text), _) => text.as_str(),
            (None, Some(_)) => USUAL,
            (None, None) => return Ok(None),
        };
        let refused = |why: &str| ConfigError::value("OPENAI_BASE_URL", why);
        let base = Target::parse(text.trim()).map_err(refused)?;
        if base.query.is_some() {
            return Err(refused("the URL has a query"));
        }
        let authorization = key.map(|key| HeaderValue::from_str(&format!("Bearer {key}"))).transpose();
        let mut authorization = authorization
            .map_err(|_| ConfigError::value("OPENAI_API_KEY", "it has characters that no header can carry"))?;
        if let Some(value) = &mut authorization {
            value.set_sensitive(true);
        }
        let key = key.filter(|key| key.len() >= SHORTEST_KEY).map(|key| {
            let forms = forms(key.as_bytes());
            let with = forms.iter().map(|_| Ok(Zeroizing::new(TAKEN_OUT.as_bytes().to_vec()))).collect();
            Finder::new(forms).map(|finder| (Arc::new(finder), Arc::new(with)))
        });
        let key = key.transpose().map_err(|why| ConfigError::value("OPENAI_API_KEY", why.0))?;
        let memory = Arc::new(Semaphore::new(MEMORY_KIB as usize));
        Ok(Some(Self { base, authorization, key, memory }))
    }

    pub fn base(&self) -> &Target {
        &self.base
    }

    /// Room for a request of so many bytes.
    pub async fn memory(&self, bytes: usize) -> Result<Memory, Refusal> {
        let permit = Arc::clone(&self.memory).acquire_many_owned(kib(bytes)).await;
        permit.map(Memory).map_err(|_| Refusal::token())
    }

    /// The request as it goes out: nothing of the guest's is in its head.
    pub fn request(&self, service: Service, body: Bytes) -> Result<Request<GatewayBody>, Refusal> {
        let mut request = match service {
            Service::Models => Request::new(whole(body)),
            Service::Chat | Service::Embeddings => post(body),
        };
        let path = format!("{}{}", self.base.path.trim_end_matches('/'), service.path());
        let wrong = |_| Refusal::malformed("The operator's address of models can be no request's.");
        *request.uri_mut() = path.parse().map_err(wrong)?;
        let headers = request.headers_mut();
        let host = self.base.authority().parse();
        headers.insert(HOST, host.map_err(|_| Refusal::malformed("The operator's host of models can be no header."))?);
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("cofferdam/", env!("CARGO_PKG_VERSION"))));
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        Ok(request)
    }

    /// Takes the key out of a stream.
    pub fn scrubber(&self) -> Option<Replacer> {
        let (finder, with) = self.key.as_ref()?;
        Some(Replacer::new(Arc::clone(finder), Arc::clone(with), usize::MAX))
    }

    /// Whether the key is in there, in any form.
    pub fn holds_key(&self, bytes: &[u8]) -> bool {
        self.key.as_ref().is_some_and(|(finder, with)| !matches!(finder.replace_all(with, bytes), Ok(None)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

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
        let request = usual.request(Service::Chat, Bytes::new()).unwrap();
        assert_eq!((request.uri().path(), request.method().as_str()), ("/v1/chat/completions", "POST"));
        assert!(!format!("{:?}", request.headers()).contains("0123"), "{:?}", request.headers());
        let own = models(Some("http://[::1]:11434/v1/"), None).unwrap().unwrap();
        let request = own.request(Service::Models, Bytes::new()).unwrap();
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
    }
}
