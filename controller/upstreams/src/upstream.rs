//! One upstream with its state: breaker, keys, places, connections. Start reading at [`Upstream::send`].
//!
//! Sends a call once. Never tries again, except on a new connection when an old one had closed before anything was sent.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use cofferdam_core::Secret;
use cofferdam_dialects::{Dialect, Target};
use http::{HeaderName, HeaderValue, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use parking_lot::RwLock;
use tokio::time::{Instant, timeout_at};

use crate::answer::MAX_ANSWER_BYTES;
use crate::ask::{Ask, Closed, Sent, Served};
use crate::body::Bounds;
use crate::breaker::{Breaker, Clock, Entry};
use crate::credential::Credential;
use crate::defaults;
use crate::dial::{Dialer, Sender};
use crate::error::{BodyError, Protocol, SendError, Stage};
use crate::keys::{Key, Keys};
use crate::kind::{Kind, Service};
use crate::net::{Net, Owner};
use crate::per_model::PerModel;
use crate::pool::Pool;
use crate::scrub::Scrub;
use crate::slots::Slots;
use crate::spec::UpstreamSpec;
use crate::wire;

/// The most keys of one upstream.
pub const MAX_KEYS: usize = 32;

/// One upstream.
pub struct Upstream {
    name: String,
    owner: Owner,
    pub(crate) spec: UpstreamSpec,
    pub(crate) dialer: Dialer,
    pub(crate) pool: Arc<Pool>,
    pub(crate) host: HeaderValue,
    pub(crate) own_headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) keys: Keys,
    /// For what is wrong with the upstream, whatever it is asked for.
    breaker: Arc<Breaker>,
    /// For answers and streams of a model that fail.
    by_model: PerModel,
    slots: Arc<Slots>,
    /// The texts of its keys, and their scrub with the present tokens.
    pub(crate) texts: Vec<Secret>,
    pub(crate) scrub: RwLock<Option<Arc<Scrub>>>,
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").field("name", &self.name).field("kind", &self.spec.kind).finish_non_exhaustive()
    }
}

/// An answer's head has come.
pub(crate) struct Answered {
    pub(crate) response: Response<Incoming>,
    pub(crate) sender: Sender,
}

impl Upstream {
    /// An upstream of these settings and keys.
    ///
    /// # Errors
    /// The field that is wrong, never a key.
    pub fn new(
        name: &str,
        owner: Owner,
        spec: UpstreamSpec,
        keys: Vec<Secret>,
        net: &Net,
    ) -> Result<Arc<Self>, String> {
        spec.check()?;
        let bounded = owner != Owner::Operator;
        let place = wire::place(&spec)?;
        let needed = spec.kind != Kind::Compatible && (spec.kind != Kind::Openai || spec.base_url.is_none());
        if keys.len() > MAX_KEYS || (needed && keys.is_empty()) {
            return Err(format!("keys: the kind {} has {} to {MAX_KEYS}", spec.kind.name(), u8::from(needed)));
        }
        let (mut uses, mut texts) = (Vec::new(), Vec::new());
        for (at, text) in keys.iter().enumerate() {
            let wrong = |why: String| format!("keys[{at}]: {why}");
            let credential = Credential::parse(spec.kind, text).map_err(wrong)?;
            texts.extend(credential.texts());
            uses.push(wire::key(&spec, &credential, bounded, net).map_err(wrong)?);
        }
        let scrub = Scrub::new(&texts).map_err(|why| format!("keys: {why}"))?;
        let proxy = match spec.own_proxy()? {
            Some(proxy) => proxy,
            None if bounded => None,
            None => net.proxy.of(&place),
        };
        let host =
            HeaderValue::from_str(&place.authority()).map_err(|_| "base_url: the URL has an invalid host name")?;
        let dialer = Dialer::new(place, proxy, bounded, net, spec.authorities()?, spec.connect_timeout());
        dialer.check()?;
        let clock = Clock::new();
        Ok(Arc::new(Self {
            name: name.to_owned(),
            owner,
            own_headers: spec.own_headers()?,
            dialer,
            pool: Arc::default(),
            host,
            keys: Keys::new(clock, uses),
            breaker: Arc::new(Breaker::new(clock)),
            by_model: PerModel::new(clock),
            slots: Slots::new(spec.max_concurrent, !bounded),
            texts,
            scrub: RwLock::new(scrub.map(Arc::new)),
            spec,
        }))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The one who has configured it.
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        self.spec.kind
    }

    /// Its settings, without keys.
    pub fn spec(&self) -> &UpstreamSpec {
        &self.spec
    }

    /// Its region.
    pub fn region(&self) -> Option<&str> {
        self.spec.region.as_deref()
    }

    /// True when it offers the service.
    pub fn speaks(&self, service: Service) -> bool {
        self.spec.offers().contains(&service)
    }

    /// The protocol that other ones are translated to.
    pub fn native(&self) -> Dialect {
        let own = match self.spec.kind {
            Kind::Anthropic | Kind::Bedrock => Service::Messages,
            _ => Service::Chat,
        };
        let order = [own, Service::Chat, Service::Responses, Service::Messages];
        let found = order.into_iter().find(|service| self.speaks(*service)).and_then(Service::dialect);
        found.unwrap_or(Dialect::Chat)
    }

    /// The way in which it serves a model, if it does.
    pub fn serves(&self, model: &str) -> Option<Served<'_>> {
        match self.spec.models.iter().find(|spec| spec.name == model) {
            Some(spec) => Some(Served::Listed(spec)),
            None if self.spec.models.is_empty() => Some(Served::Any),
            None => None,
        }
    }

    /// The model as the translation needs to know it, by the name that callers say.
    pub fn target<'a>(&'a self, model: &'a str) -> Target<'a> {
        let spec = self.spec.models.iter().find(|spec| spec.name == model);
        defaults::target(self.spec.kind, model, spec)
    }

    /// Says whether a call for a model, by its name there, may go out now. A few reads of numbers.
    pub fn ready(&self, model: &str) -> Result<(), Closed> {
        let closed = |limited| move |retry_after| Closed { retry_after, limited };
        self.breaker.ready().and_then(|()| self.by_model.ready(model)).map_err(closed(false))?;
        self.keys.ready().map_err(closed(self.keys.limited()))
    }

    /// Takes this upstream's keys, and its present tokens, out of texts.
    pub fn scrub(&self) -> Option<Arc<Scrub>> {
        self.scrub.read().clone()
    }

    /// Sends a call, and returns when the answer's head is here. Dropping the future or the body cancels it.
    ///
    /// # Errors
    /// There is no answer. Answers of any status are none.
    pub async fn send(self: &Arc<Self>, ask: Ask) -> Result<Sent, SendError> {
        if !self.speaks(ask.service) {
            return Err(SendError::Unsupported(ask.service.name()));
        }
        let slot = self.slots.take(&ask.organization).ok_or(SendError::Busy)?;
        let closed = |limited| move |retry_after| SendError::Closed { retry_after, limited };
        let key = self.keys.next().map_err(closed(self.keys.limited()))?;
        let entry = self.breaker.enter().map_err(closed(false))?;
        let of_model = self.by_model.enter(&ask.model).map_err(closed(false))?;
        let whole = Instant::now() + self.spec.timeout();
        let (deadline, late) = match ask.deadline <= whole {
            true => (ask.deadline, BodyError::Deadline),
            false => (whole, BodyError::Timeout),
        };
        let stage = if late == BodyError::Deadline { Stage::Deadline } else { Stage::Whole };
        let carried = timeout_at(deadline, self.carry_out(&ask, key)).await;
        let answered = match carried.unwrap_or(Err(SendError::Timeout(stage))) {
            Ok(answered) => answered,
            Err(why) => {
                // A model that takes too long says nothing of the others.
                match (of_model, &why) {
                    (Some(of_model), SendError::Timeout(Stage::FirstByte)) => self.failed(of_model, &why),
                    _ => self.failed(entry, &why),
                }
                return Err(why);
            }
        };
        let bounds = Bounds { max_bytes: MAX_ANSWER_BYTES, idle: self.spec.idle_timeout(), deadline, late };
        self.answer(&ask, key, answered, (entry, of_model), bounds).await.map(|mut sent| {
            sent.body.keep(slot);
            sent
        })
    }

    pub(crate) fn failed(&self, entry: Entry, why: &SendError) {
        tracing::debug!(upstream = self.name, %why, "a call to an upstream of models failed");
        if why.counts() && entry.failed() {
            tracing::warn!(upstream = self.name, %why, "an upstream of models fails again and again; it is not asked for a while");
        }
    }

    async fn carry_out(&self, ask: &Ask, key: Option<&Key>) -> Result<Answered, SendError> {
        let request = self.request(ask, key).await?;
        self.exchange(request).await
    }

    /// Sends a request on a connection that is open, or on a new one.
    pub(crate) async fn exchange(&self, mut request: Request<Full<Bytes>>) -> Result<Answered, SendError> {
        let late = |_| SendError::Timeout(Stage::FirstByte);
        while let Some(mut sender) = self.pool.take() {
            let until = Instant::now() + self.spec.first_byte_timeout();
            match timeout_at(until, sender.requests.try_send_request(request)).await.map_err(late)? {
                Ok(response) => return Ok(Answered { response, sender }),
                Err(mut refused) => match refused.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(SendError::Protocol(protocol(&refused.into_error()))),
                },
            }
        }
        let mut sender = self.dialer.connect().await?;
        let until = Instant::now() + self.spec.first_byte_timeout();
        let sent = timeout_at(until, sender.requests.send_request(request)).await.map_err(late)?;
        match sent {
            Ok(response) => Ok(Answered { response, sender }),
            Err(error) => Err(SendError::Protocol(protocol(&error))),
        }
    }
}

fn protocol(error: &hyper::Error) -> Protocol {
    if error.is_parse_too_large() {
        Protocol::TooLarge
    } else if error.is_parse() {
        Protocol::Malformed
    } else {
        Protocol::Lost
    }
}
