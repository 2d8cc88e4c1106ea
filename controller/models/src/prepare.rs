//! Writes a request for an upstream: byte for byte in its own protocol, translated in another one.

use std::sync::Arc;

use bytes::Bytes;
use cofferdam_dialects::{Dialect, Edit, Head, Refused, Request};
use cofferdam_upstreams::Service;

use crate::failed::Failed;
use crate::name::Candidate;

/// A call's body, read once.
pub(crate) struct Body<'a> {
    pub(crate) service: Service,
    pub(crate) bytes: &'a Bytes,
    pub(crate) head: Head<'a>,
    /// The limit of tokens that is written where the caller gives none.
    pub(crate) max_tokens: Option<u64>,
    request: Option<Result<Arc<Request>, Refused>>,
}

/// A request in an upstream's protocol.
pub(crate) struct Prepared {
    pub(crate) service: Service,
    pub(crate) model: String,
    pub(crate) body: Bytes,
    /// The request in the neutral form, where the answer has to be translated.
    pub(crate) translated: Option<(Dialect, Arc<Request>)>,
}

impl<'a> Body<'a> {
    /// Reads the head of a body, as far as this door needs it.
    pub(crate) fn read(service: Service, bytes: &'a Bytes) -> Result<Self, Refused> {
        let dialect = match service {
            Service::Chat | Service::Embeddings => Dialect::Chat,
            Service::Responses => Dialect::Responses,
            Service::Messages | Service::CountTokens => Dialect::Messages,
        };
        let head = Head::read(dialect, bytes)?;
        Ok(Self { service, bytes, head, max_tokens: None, request: None })
    }

    /// The caller wants a stream.
    pub(crate) fn stream(&self) -> bool {
        self.head.stream && self.service.dialect().is_some()
    }

    /// The request for this candidate.
    pub(crate) fn prepare(&mut self, candidate: &Candidate) -> Result<Prepared, Failed> {
        let upstream = &candidate.upstream;
        let target = upstream.target(&candidate.model);
        if upstream.speaks(self.service) {
            let edit = Edit {
                model: target.model,
                ask_usage: self.service == Service::Chat,
                max_tokens: self.max_tokens.filter(|_| self.service.dialect().is_some()),
                old_max_tokens: target.old_max_tokens,
            };
            let body = Bytes::from(self.head.edited(&edit));
            return Ok(Prepared { service: self.service, model: target.model.to_owned(), body, translated: None });
        }
        let Some(dialect) = self.service.dialect() else {
            let why = format!("the upstream `{}` has no {}", upstream.name(), self.service.name());
            return Err(Failed::untranslatable(no_field(why)));
        };
        let request = self.request(dialect).map_err(Failed::untranslatable)?;
        let native = upstream.native();
        let body = request.write(native, &target).map_err(Failed::untranslatable)?;
        let translated = Some((native, request));
        Ok(Prepared { service: of(native), model: target.model.to_owned(), body: Bytes::from(body), translated })
    }

    fn request(&mut self, dialect: Dialect) -> Result<Arc<Request>, Refused> {
        let (bytes, most) = (self.bytes, self.max_tokens);
        let read = || {
            let mut request = Request::read(dialect, bytes)?;
            request.max_tokens = request.max_tokens.or(most);
            Ok(Arc::new(request))
        };
        self.request.get_or_insert_with(read).clone()
    }
}

/// The service that answers in a dialect.
fn of(dialect: Dialect) -> Service {
    match dialect {
        Dialect::Chat => Service::Chat,
        Dialect::Responses => Service::Responses,
        Dialect::Messages => Service::Messages,
    }
}

fn no_field(why: String) -> Refused {
    Refused { field: "model".to_owned(), why }
}
