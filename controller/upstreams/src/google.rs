//! Exchanges a service account of Google's for access tokens: a signed assertion (RFC 7523) for a token, which is kept until
//! shortly before its end. One exchange at a time.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use cofferdam_core::Secret;
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request};
use http_body_util::{BodyExt, Full, Limited};
use parking_lot::RwLock;
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tokio_rustls::rustls::crypto::ring::sign::any_supported_type;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::sign::SigningKey;
use tokio_rustls::rustls::{SignatureAlgorithm, SignatureScheme};

use crate::credential::ServiceAccount;
use crate::dial::Dialer;
use crate::error::{SendError, Stage};
use crate::net::Net;
use crate::place::Place;

const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// The time for one exchange.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(10);
/// A token is not used in its last minutes.
const TOKEN_MARGIN: Duration = Duration::from_secs(180);
/// The longest life of a token that is believed.
const MAX_TOKEN_TIME: Duration = Duration::from_secs(12 * 3_600);
/// A failed exchange is not tried again for this time.
const FAILED_FOR: Duration = Duration::from_secs(5);
/// The longest answer to an exchange.
const MAX_ANSWER_BYTES: usize = 64 << 10;

#[derive(Clone)]
struct Token {
    header: HeaderValue,
    text: Secret,
    until: Instant,
}

/// A service account and its present token.
pub(crate) struct Google {
    email: String,
    key_id: Option<String>,
    key: Arc<dyn SigningKey>,
    audience: String,
    dialer: Dialer,
    token: RwLock<Option<Token>>,
    failed: Mutex<Option<(Instant, SendError)>>,
}

#[derive(Deserialize)]
struct Answer {
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<u64>,
    #[serde(default)]
    error: Option<serde_json::Value>,
}

impl Google {
    /// A service account. `anywhere`: its `token_uri` may be any, because the operator has named an address of its own.
    ///
    /// # Errors
    /// A sentence without the key.
    pub(crate) fn new(account: &ServiceAccount, anywhere: bool, bounded: bool, net: &Net) -> Result<Self, String> {
        let place = Place::parse(&account.token_uri).map_err(|why| format!("token_uri: {why}"))?;
        let googles = place.host == "googleapis.com" || place.host.ends_with(".googleapis.com");
        if !(anywhere || place.https && googles) {
            return Err("token_uri: has to be https and a host of googleapis.com".to_owned());
        }
        let proxy = if bounded { None } else { net.proxy.of(&place) };
        let der = PrivateKeyDer::from_pem_slice(account.private_key.as_bytes());
        let der = der.map_err(|_| "private_key: is no key in PEM")?;
        let key = any_supported_type(&der).map_err(|_| "private_key: is no key that can be used")?;
        if key.algorithm() != SignatureAlgorithm::RSA {
            return Err("private_key: has to be an RSA key".to_owned());
        }
        Ok(Self {
            email: account.client_email.clone(),
            key_id: account.private_key_id.clone(),
            key,
            audience: account.token_uri.clone(),
            dialer: Dialer::new(place, proxy, bounded, net, Vec::new(), EXCHANGE_TIMEOUT),
            token: RwLock::new(None),
            failed: Mutex::new(None),
        })
    }

    /// The present token's text, to be taken out of answers.
    pub(crate) fn text(&self) -> Option<Secret> {
        self.token.read().as_ref().map(|token| token.text.clone())
    }

    /// Forgets the token, which the upstream refuses.
    pub(crate) fn forget(&self) {
        *self.token.write() = None;
    }

    /// The header's value, and true if the token is a new one.
    pub(crate) async fn header(&self) -> Result<(HeaderValue, bool), SendError> {
        let fresh = || {
            self.token.read().as_ref().filter(|token| token.until > Instant::now()).map(|token| token.header.clone())
        };
        if let Some(header) = fresh() {
            return Ok((header, false));
        }
        let mut failed = self.failed.lock().await;
        // Somebody else may have exchanged it meanwhile.
        if let Some(header) = fresh() {
            return Ok((header, false));
        }
        if let Some((at, why)) = failed.as_ref().filter(|failed| failed.0.elapsed() < FAILED_FOR) {
            tracing::debug!(?at, "the last exchange for a token failed a moment ago");
            return Err(why.clone());
        }
        let exchanged = timeout(EXCHANGE_TIMEOUT, self.exchange()).await;
        match exchanged.unwrap_or(Err(SendError::Timeout(Stage::Connect))) {
            Ok(token) => {
                let header = token.header.clone();
                *self.token.write() = Some(token);
                *failed = None;
                Ok((header, true))
            }
            Err(why) => {
                *failed = Some((Instant::now(), why.clone()));
                Err(why)
            }
        }
    }

    async fn exchange(&self) -> Result<Token, SendError> {
        let unusable = |why: &str| SendError::NoKey(why.to_owned());
        let assertion = self.assertion(SystemTime::now()).ok_or_else(|| unusable("nothing can be signed with it"))?;
        let form = format!("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={assertion}");
        let place = &self.dialer.place;
        let mut request = Request::new(Full::new(Bytes::from(form)));
        *request.method_mut() = Method::POST;
        let path = if place.path.is_empty() { "/" } else { place.path.as_str() };
        let target = if self.dialer.absolute() {
            format!("{}://{}{path}", place.scheme(), place.authority())
        } else {
            path.to_owned()
        };
        *request.uri_mut() = target.parse().map_err(|_| unusable("its token_uri has an odd path"))?;
        let host = HeaderValue::from_str(&place.authority()).map_err(|_| unusable("its token_uri has an odd host"))?;
        request.headers_mut().insert(HOST, host);
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let mut sender = self.dialer.connect().await?;
        let broke = |_| unusable("the exchange for a token broke off");
        let response = sender.requests.send_request(request).await.map_err(broke)?;
        let status = response.status();
        let read = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
        let bytes = read.map_err(|_| unusable("the exchange for a token broke off"))?.to_bytes();
        let none = || SendError::NoKey(format!("the exchange for a token was answered with {}", status.as_u16()));
        let answer: Answer = serde_json::from_slice(&bytes).map_err(|_| none())?;
        let Some(text) = answer.access_token.filter(|_| status.is_success()) else {
            let word = answer.error.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default();
            return Err(match word {
                "invalid_grant" => unusable("Google does not know the service account or its key (invalid_grant)"),
                "invalid_client" | "unauthorized_client" => unusable("Google refuses the service account"),
                _ => none(),
            });
        };
        let time = Duration::from_secs(answer.expires_in.unwrap_or(300)).min(MAX_TOKEN_TIME);
        let mut header = HeaderValue::from_str(&format!("Bearer {text}")).map_err(|_| none())?;
        header.set_sensitive(true);
        let until = Instant::now() + time.saturating_sub(TOKEN_MARGIN).max(time / 2);
        Ok(Token { header, text: Secret::new(text), until })
    }

    /// A signed assertion of an hour.
    fn assertion(&self, now: SystemTime) -> Option<String> {
        let seconds = now.duration_since(UNIX_EPOCH).ok()?.as_secs();
        let mut head = serde_json::json!({"alg": "RS256", "typ": "JWT"});
        if let (Some(id), Some(head)) = (&self.key_id, head.as_object_mut()) {
            head.insert("kid".to_owned(), id.as_str().into());
        }
        let claims = serde_json::json!({
            "iss": self.email,
            "scope": SCOPE,
            "aud": self.audience,
            "iat": seconds,
            "exp": seconds + 3_600,
        });
        let encode = |part: &serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
        let text = format!("{}.{}", encode(&head), encode(&claims));
        let signer = self.key.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256])?;
        let signature = signer.sign(text.as_bytes()).ok()?;
        Some(format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
    }
}
