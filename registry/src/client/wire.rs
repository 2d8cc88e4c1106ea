//! One request to a registry: chooses the HTTP client, applies timeouts and bounds, and classifies failures. Does not
//! retry and does not know credentials.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use url::{Host, Url};

use super::backoff::{Backoff, Patience, Waited, retry_after};
use super::causes::{Causes, Tunnel};
use super::error::{ClientError, Kind};
use super::given::is_ca_of_its_own;
use super::location::place;
use super::proxy::Around;
use super::words::{Words, words};
use super::{Target, tls};
use crate::shown::sentence;

const MAX_ERROR_BODY: usize = 16 << 10;
/// The time to drain the rest of an unwanted answer.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
/// A name that was not found is not looked up more often, because it seldom appears within seconds.
const MAX_LOOKUPS: u32 = 2;
/// Attempts to reach a registry that never answered and where nothing listens. It may be about to start.
const MAX_KNOCKS: u32 = 3;
/// The time to find out whether a port speaks TLS.
const TLS_TRIAL_TIMEOUT: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub(super) struct Wire {
    pub registry: String,
    pub base: Url,
    pub patience: Patience,
    own: reqwest::Client,
    foreign: reqwest::Client,
    /// For other hosts that no proxy leads to.
    foreign_direct: reqwest::Client,
    around: Around,
    pub plain_http: bool,
    pub near: bool,
    waited: Waited,
    /// The registry has answered a request.
    answered: AtomicBool,
}

/// A request. `about` names its purpose, such as "the upload of a layer".
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub method: Method,
    pub url: Url,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub body: Bytes,
    pub wait: Duration,
    pub about: &'static str,
}

impl Ask {
    pub(super) fn new(method: Method, url: Url, wait: Duration, about: &'static str) -> Self {
        Self { method, url, headers: Vec::new(), body: Bytes::new(), wait, about }
    }

    pub(super) fn header(mut self, name: HeaderName, value: &str) -> Self {
        // A value with a line break cannot be sent. The registry then reports what is missing.
        self.headers.extend(HeaderValue::from_str(value).ok().map(|value| (name, value)));
        self
    }
}

#[derive(Debug)]
pub(super) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub about: &'static str,
    /// The host that answered, if it is not the registry's own.
    elsewhere: Option<String>,
    response: reqwest::Response,
}

/// The reason why a body is incomplete.
enum Cut {
    TooLong,
    Dropped,
    Silent,
}

impl Wire {
    pub(super) fn new(target: &Target) -> Result<Self, ClientError> {
        let registry = target.reference.registry().to_owned();
        let scheme = if target.plain_http { "http" } else { "https" };
        let base = Url::parse(&format!("{scheme}://{}/v2/", target.reference.host())).map_err(|_| {
            ClientError::new(Kind::Settings, &registry, "The registry's address is not a host and port")
        })?;
        let near = match base.host() {
            Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            Some(Host::Ipv4(v4)) => v4.is_loopback(),
            Some(Host::Ipv6(v6)) => v6.is_loopback(),
            None => false,
        };
        let tls = tls::config(&registry, target.plain_http, target.ca.as_deref())?;
        let connect = target.patience.connect;
        let around = Around::of_this_process();
        // Registries on this machine are not reached through a proxy.
        let direct = near || around.goes(&base);
        let own = tls::http(&registry, tls.clone(), connect, true, near, direct)?;
        let foreign = tls::http(&registry, tls.clone(), connect, false, near, near)?;
        let foreign_direct = tls::http(&registry, tls, connect, false, near, true)?;
        let patience = target.patience.clone();
        let plain_http = target.plain_http;
        let (waited, answered) = (Waited::default(), AtomicBool::new(false));
        Ok(Self { registry, base, patience, own, foreign, foreign_direct, around, plain_http, near, waited, answered })
    }

    pub(super) fn backoff(&self) -> Backoff<'_> {
        Backoff::new(&self.patience, &self.waited)
    }

    pub(super) fn error(&self, kind: Kind, what: impl Into<String>) -> ClientError {
        ClientError::new(kind, &self.registry, what)
    }

    pub(super) fn url(&self, path: &str) -> Result<Url, ClientError> {
        self.base.join(path).map_err(|_| self.error(Kind::Settings, "The repository's name does not form a valid URL"))
    }

    /// Sends the request once.
    pub(super) async fn send(&self, ask: &Ask, authorization: Option<HeaderValue>) -> Result<Answer, ClientError> {
        let mut request = self.request(ask, authorization)?.timeout(ask.wait);
        if !ask.body.is_empty() || [Method::PUT, Method::POST, Method::PATCH].contains(&ask.method) {
            request = request.header(CONTENT_LENGTH, ask.body.len()).body(ask.body.clone());
        }
        self.answer(request, ask).await
    }

    /// Sends the request once, with a body that arrives bit by bit. The caller bounds the time.
    pub(super) async fn send_stream(
        &self,
        ask: &Ask,
        authorization: Option<HeaderValue>,
        body: reqwest::Body,
        length: Option<u64>,
    ) -> Result<Answer, ClientError> {
        let mut request = self.request(ask, authorization)?.body(body);
        if let Some(length) = length {
            request = request.header(CONTENT_LENGTH, length);
        }
        self.answer(request, ask).await
    }

    fn request(&self, ask: &Ask, authorization: Option<HeaderValue>) -> Result<reqwest::RequestBuilder, ClientError> {
        self.check(&ask.url)?;
        let client = match self.is_own(&ask.url) {
            true => &self.own,
            false if self.around.goes(&ask.url) => &self.foreign_direct,
            false => &self.foreign,
        };
        let mut request = client.request(ask.method.clone(), ask.url.clone());
        for (name, value) in &ask.headers {
            request = request.header(name, value);
        }
        if let Some(mut value) = authorization {
            value.set_sensitive(true);
            request = request.header(http::header::AUTHORIZATION, value);
        }
        Ok(request)
    }

    async fn answer(&self, request: reqwest::RequestBuilder, ask: &Ask) -> Result<Answer, ClientError> {
        let elsewhere = (!self.is_own(&ask.url)).then(|| place(&ask.url));
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Err(self.failure(&error, ask.about, elsewhere)),
        };
        if elsewhere.is_none() {
            self.answered.store(true, Ordering::Relaxed);
        }
        let (status, headers) = (response.status(), response.headers().clone());
        Ok(Answer { status, headers, about: ask.about, elsewhere, response })
    }

    /// True if plain HTTP was to be spoken to a port that speaks TLS. Sends no credentials.
    pub(super) async fn speaks_tls(&self) -> bool {
        let mut url = self.base.clone();
        let port = url.port_or_known_default();
        if !self.plain_http || url.set_scheme("https").is_err() || url.set_port(port).is_err() {
            return false;
        }
        match self.own.get(url).timeout(TLS_TRIAL_TIMEOUT).send().await {
            Ok(_) => true,
            // A certificate that is not trusted here is one all the same.
            Err(error) => {
                let causes = Causes::of(&error);
                causes.tls.is_some() && !causes.is_no_tls()
            }
        }
    }

    /// The error for a port that speaks TLS where plain HTTP was to be spoken.
    pub(super) fn wants_tls(&self) -> ClientError {
        self.error(Kind::Tls, "it speaks TLS, and plain HTTP was asked for").advise("Leave --plain-http out")
    }

    /// An answer's body of at most `most` bytes. `what` names it, such as "a manifest".
    pub(super) async fn body(&self, answer: Answer, most: usize, what: &str) -> Result<Bytes, ClientError> {
        answer.bytes(most, self.patience.silence).await.map_err(|cut| match cut {
            Cut::TooLong => self.error(Kind::TooLong, format!("{what} is longer than {most} bytes")),
            Cut::Dropped => self.error(Kind::Dropped, format!("the connection broke off in the middle of {what}")),
            Cut::Silent => self.error(Kind::Timeout, format!("{what} did not arrive in time")),
        })
    }

    /// Rewords a library's error, which would repeat URLs with a registry's upload tokens. `elsewhere`: the place that was
    /// asked, if it is not the registry's own.
    fn failure(&self, error: &reqwest::Error, about: &str, elsewhere: Option<String>) -> ClientError {
        let causes = Causes::of(error);
        let io = causes.io.map(|kind| format!(" ({kind})")).unwrap_or_default();
        let (it, its) = match &elsewhere {
            None => ("it".to_owned(), "its".to_owned()),
            Some(place) => (format!("{place}, where it sent us for {about},"), format!("{place}'s")),
        };
        if let Some(tunnel) = causes.tunnel {
            return self.error(
                Kind::Proxy,
                match tunnel {
                    Tunnel::WantsCredentials => "the proxy on the way to it wants other credentials (407)".to_owned(),
                    Tunnel::Refused => "the proxy on the way to it refuses to connect us".to_owned(),
                    Tunnel::Failed => format!("the proxy on the way to it cannot be reached{io}"),
                },
            );
        }
        if let Some(why) = &causes.no_address {
            let why = sentence(why, std::iter::empty()).map(|why| format!(" ({why})")).unwrap_or_default();
            let error = self.error(Kind::Unresolved, format!("{its} name has no address{why}"));
            return ClientError { attempts: Some(MAX_LOOKUPS), ..error };
        }
        if causes.is_no_tls() && self.plain_http {
            return self.error(Kind::Tls, format!("{it} does not speak TLS, and its address begins with https")).advise(
                "The registry names that address although we speak plain HTTP to it: correct the address in its own \
                 settings (REGISTRY_HTTP_HOST), or what a proxy in front of it says of the scheme (X-Forwarded-Proto)",
            );
        }
        if causes.is_no_tls() {
            return self.error(Kind::Tls, format!("{it} does not speak TLS")).advise(
                "If it is meant to be without TLS, pass --plain-http: then the password goes unencrypted, too",
            );
        }
        if let Some(tls) = causes.tls {
            let why = match is_ca_of_its_own(&tls) {
                true => "its certificate is marked as a CA's, and is accepted only if the CA file has that very one"
                    .to_owned(),
                false => sentence(&tls.to_string(), std::iter::empty()).unwrap_or_default(),
            };
            let at = elsewhere.map(|place| format!(" to {place}")).unwrap_or_default();
            return self.error(Kind::Tls, format!("no TLS connection{at}: {why}"));
        }
        if error.is_connect() && !error.is_timeout() {
            let nobody = causes.io == Some(io::ErrorKind::ConnectionRefused) && !self.answered.load(Ordering::Relaxed);
            let attempts = nobody.then_some(MAX_KNOCKS);
            return ClientError { attempts, ..self.error(Kind::Unreachable, format!("{it} cannot be reached{io}")) };
        }
        let from = elsewhere.map(|place| format!(" to {place}")).unwrap_or_default();
        if error.is_timeout() {
            return self.error(Kind::Timeout, format!("{it} did not answer {about} in time"));
        }
        self.error(Kind::Dropped, format!("the connection{from} broke off during {about}{io}"))
    }

    /// Classifies an unexpected answer. `secrets` are never shown, even if the server repeats them.
    pub(super) async fn refusal(&self, answer: Answer, secrets: &[zeroize::Zeroizing<String>]) -> ClientError {
        let (status, about) = (answer.status, answer.about);
        let it =
            answer.elsewhere.as_ref().map_or_else(|| "it".to_owned(), |place| format!("{place}, where it sent us,"));
        let wait = retry_after(&answer.headers);
        let lacks_permission =
            answer.header("www-authenticate").is_some_and(|text| text.contains("insufficient_scope"));
        let kind = match status.as_u16() {
            401 if lacks_permission => Kind::Forbidden,
            401 => Kind::Unauthorized,
            403 => Kind::Forbidden,
            404 => Kind::NotFound,
            408 => Kind::Timeout,
            413 | 507 => Kind::Full,
            429 => Kind::Limited,
            500 | 502..=504 => Kind::Broken,
            400..=599 => Kind::Refused,
            _ => Kind::Protocol,
        };
        let Words { code, text } = words(&answer.first(MAX_ERROR_BODY, self.patience.silence).await);
        let said = text.and_then(|text| sentence(&text, secrets.iter().map(|secret| secret.as_str())));
        let said = said.map(|text| format!(" ({text})")).unwrap_or_default();
        let what = format!("{it} answered {} to {about}{said}", status.as_u16());
        ClientError { status: Some(status.as_u16()), code, retry_after: wait, ..self.error(kind, what) }
    }
}

impl Answer {
    /// True if another host than the registry's own answered.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.elsewhere.is_some()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The whole body.
    async fn bytes(mut self, most: usize, silence: Duration) -> Result<Bytes, Cut> {
        if self.response.content_length().is_some_and(|length| length > most as u64) {
            return Err(Cut::TooLong);
        }
        let mut all = BytesMut::new();
        loop {
            let piece = tokio::time::timeout(silence, self.response.chunk()).await.map_err(|_| Cut::Silent)?;
            let piece = piece.map_err(|error| if error.is_timeout() { Cut::Silent } else { Cut::Dropped })?;
            let Some(piece) = piece else { return Ok(all.freeze()) };
            if all.len() + piece.len() > most {
                return Err(Cut::TooLong);
            }
            all.extend_from_slice(&piece);
        }
    }

    /// The beginning of the body, as far as it arrives.
    async fn first(mut self, most: usize, silence: Duration) -> Bytes {
        let mut all = BytesMut::new();
        while all.len() < most
            && let Ok(Ok(Some(piece))) = tokio::time::timeout(silence, self.response.chunk()).await
        {
            all.extend_from_slice(&piece);
        }
        all.truncate(most);
        all.freeze()
    }

    /// Drains a short rest so that the connection can be reused.
    pub(super) async fn done(self) {
        // One time for all of it: a body that drips would hold up the next request for minutes.
        let _ = tokio::time::timeout(DRAIN_TIMEOUT, self.bytes(MAX_ERROR_BODY, DRAIN_TIMEOUT)).await;
    }
}
