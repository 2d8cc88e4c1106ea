//! The request of a call: path, headers, body and key as the upstream's kind wants them. Sends nothing, except that a Google
//! account is exchanged for a token.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use cofferdam_core::Secret;
use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HOST, PROXY_AUTHORIZATION, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use http_body_util::Full;

use crate::ask::Ask;
use crate::aws::{Signable, signature};
use crate::bedrock;
use crate::error::SendError;
use crate::headers;
use crate::keys::{Key, Use};
use crate::kind::{Kind, Service};
use crate::scrub::Scrub;
use crate::upstream::Upstream;
use crate::wire;

/// The longest name of a model that goes into a request.
const MAX_MODEL_BYTES: usize = 512;

impl Upstream {
    /// The request of a call, with its key.
    pub(crate) async fn request(&self, ask: &Ask, key: Option<&Key>) -> Result<Request<Full<Bytes>>, SendError> {
        let dots = !ask.model.is_empty() && ask.model.bytes().all(|byte| byte == b'.');
        if dots || ask.model.is_empty() || ask.model.len() > MAX_MODEL_BYTES {
            return Err(SendError::Unsendable("the model has no usable name".to_owned()));
        }
        let bedrock = self.spec.kind == Kind::Bedrock;
        let body = match bedrock {
            true => bedrock::body(&ask.body, &ask.headers).map_err(|why| SendError::Unsendable(why.to_owned()))?,
            false => ask.body.clone(),
        };
        let path = wire::path(&self.spec, &self.dialer.place.path, ask.service, &ask.model, ask.stream);
        let mut headers = headers::to_upstream(&ask.headers, self.spec.kind, ask.service);
        let accept = match (ask.stream, bedrock) {
            (true, true) => "application/vnd.amazon.eventstream",
            (true, false) => "text/event-stream",
            (false, _) => "application/json",
        };
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if matches!(ask.service, Service::Messages | Service::CountTokens) && !bedrock {
            let version = HeaderName::from_static("anthropic-version");
            headers.entry(version).or_insert(HeaderValue::from_static(wire::ANTHROPIC_VERSION));
        }
        self.finished(Method::POST, &path, headers, body, key).await
    }

    /// A request with the headers that every one has, and its key.
    pub(crate) async fn finished(
        &self,
        method: Method,
        path: &str,
        mut headers: HeaderMap,
        body: Bytes,
        key: Option<&Key>,
    ) -> Result<Request<Full<Bytes>>, SendError> {
        let place = &self.dialer.place;
        headers.insert(HOST, self.host.clone());
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let own = HeaderValue::from_static(concat!("cofferdam/", env!("CARGO_PKG_VERSION")));
        headers.entry(USER_AGENT).or_insert(own);
        for (name, value) in &self.own_headers {
            headers.insert(name.clone(), value.clone());
        }
        match key.map(|key| &key.by) {
            None => {}
            Some(Use::Header(name, value)) => {
                headers.insert(name.clone(), value.clone());
            }
            Some(Use::Google(google)) => {
                let (value, new) = google.header().await?;
                if new {
                    self.look_for_tokens();
                }
                headers.insert(AUTHORIZATION, value);
            }
            Some(Use::Aws(credentials)) => {
                let url = format!("{}://{}{path}", place.scheme(), place.authority());
                let authority = place.authority();
                let request = Signable {
                    region: self.spec.region.as_deref().unwrap_or_default(),
                    service: "bedrock",
                    method: method.as_str(),
                    url: &url,
                    headers: &[("host", &authority), ("content-type", "application/json")],
                    body: &body,
                    time: SystemTime::now(),
                };
                let unsigned = || SendError::NoKey("the request cannot be signed with it".to_owned());
                headers.extend(signature(credentials, &request).ok_or_else(unsigned)?);
            }
        }
        if let Some(authorization) = self.dialer.proxy_authorization() {
            let value = HeaderValue::from_str(authorization);
            let value = value.map_err(|_| SendError::Proxy("has an odd user name".to_owned()))?;
            headers.insert(PROXY_AUTHORIZATION, value);
        }
        let target = match self.dialer.absolute() {
            true => format!("{}://{}{path}", place.scheme(), place.authority()),
            false => path.to_owned(),
        };
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = target.parse().map_err(|_| SendError::Unsendable("the path is odd".to_owned()))?;
        *request.headers_mut() = headers;
        Ok(request)
    }

    /// Takes the present tokens out of answers, too.
    fn look_for_tokens(&self) {
        let tokens = self.keys.all().iter().filter_map(|key| match &key.by {
            Use::Google(google) => google.text(),
            _ => None,
        });
        let texts: Vec<Secret> = self.texts.iter().cloned().chain(tokens).collect();
        match Scrub::new(&texts) {
            Ok(scrub) => *self.scrub.write() = scrub.map(Arc::new),
            Err(why) => tracing::warn!(upstream = self.name(), why, "cannot look for the upstream's tokens"),
        }
    }
}
