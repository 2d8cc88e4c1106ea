//! Writes a request for an upstream: byte for byte in its own protocol, without other providers' thinking, translated in
//! another one.

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
                takes: Some(target.takes()),
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

#[cfg(test)]
mod tests {
    use cofferdam_core::Secret;
    use cofferdam_upstreams::{Kind, Net, Owner, Upstream, UpstreamSpec};

    use super::*;

    fn candidate(kind: Kind, services: &[Service]) -> Candidate {
        let spec = UpstreamSpec {
            services: Some(services.to_vec()),
            base_url: (kind == Kind::Compatible).then(|| "http://127.0.0.1:1/v1".to_owned()),
            region: (kind == Kind::Bedrock).then(|| "eu-north-1".to_owned()),
            ..UpstreamSpec::new(kind)
        };
        let net = Net::new(Vec::new(), Vec::new());
        let upstream = Upstream::new("a", Owner::Operator, spec, vec![Secret::new("sk-0123456789")], &net).unwrap();
        Candidate { upstream, model: "m".to_owned() }
    }

    /// A fallback of an alias sends the history of one provider to another one of the same protocol.
    #[test]
    fn thinking_of_another_provider_stays_behind() {
        use Service::{Chat, CountTokens, Messages, Responses};
        let turn = |block: &str| {
            format!(
                r#"{{"model":"m","max_tokens":9,"messages":[{{"role":"assistant","content":[{block}{{"type":"text","text":"x"}}]}}]}}"#
            )
        };
        let (packed, unsigned) = (
            r#"{"type":"thinking","thinking":"a","signature":"cofferdam1.item.rs_1.ENCR"},"#,
            r#"{"type":"thinking","thinking":"a","signature":""},"#,
        );
        let chat =
            |fields: &str| format!(r#"{{"model":"m","messages":[{{"role":"assistant","content":"x"{fields}}}]}}"#);
        let blocks = r#","thinking_blocks":[{"type":"thinking","thinking":"a","signature":"EqSIG"}]"#;
        let reasoning = r#","reasoning_content":"a""#;
        let responses = |item: &str| format!(r#"{{"model":"m","input":[{item}{{"role":"user","content":"x"}}]}}"#);
        let item = r#"{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"cofferdam1.signature.EqSIG"},"#;
        for (kind, service, body, expected) in [
            (Kind::Anthropic, Messages, turn(packed), turn("")),
            (Kind::Anthropic, Messages, turn(unsigned), turn("")),
            (Kind::Anthropic, CountTokens, turn(packed), turn("")),
            (Kind::Bedrock, Messages, turn(packed), turn("")),
            (Kind::Compatible, Messages, turn(unsigned), turn(unsigned)),
            (Kind::Compatible, Messages, turn(packed), turn("")),
            (Kind::Openai, Chat, chat(blocks), chat("")),
            (Kind::Openai, Chat, chat(reasoning), chat("")),
            (Kind::Gemini, Chat, chat(reasoning), chat("")),
            (Kind::Compatible, Chat, chat(blocks), chat("")),
            (Kind::Compatible, Chat, chat(reasoning), chat(reasoning)),
            (Kind::Openai, Responses, responses(item), responses("")),
        ] {
            let bytes = Bytes::from(body);
            let mut read = Body::read(service, &bytes).unwrap();
            let prepared = read.prepare(&candidate(kind, &[service])).map_err(|_| "untranslatable").unwrap();
            assert_eq!(prepared.body, expected.as_bytes(), "{kind:?} {service:?}");
        }
    }
}
