//! One call's account: what it holds of its budgets, what it used, how long it took, how it ended. Settles and records once,
//! at the end of the answer, or when the caller goes away: dropping it is an end too.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cofferdam_contract::OrganizationId;
use cofferdam_core::now_ms;
use cofferdam_dialects::Usage;
use cofferdam_redact::Redactor;
use cofferdam_upstreams::{Kind, Owner, Service};
use cofferdam_usage::{Accounts, Amounts, Content, Ending, Held, Record, Who};
use tokio::time::Instant;
use tracing::Span;

use crate::name::Candidate;
use crate::settings::Catalogue;

/// An event of a stream without usage counts as a token, and what it has beyond its usual frame by its bytes.
const EVENT_BYTES: u64 = 150;
const BYTES_PER_TOKEN: u64 = 4;
/// The tokens that a model makes in a second at least, where no usage came: those that it only thought were never seen.
const TOKENS_PER_SECOND: u64 = 30;
/// The most bytes of a request and of an answer that are kept for an organization that asks for contents.
const MAX_CONTENT_BYTES: usize = 64 << 10;

pub(crate) struct Meter {
    accounts: Arc<Accounts>,
    started: Instant,
    record: Option<Record>,
    held: Option<Held>,
    catalogue: Option<Arc<Catalogue>>,
    served: Option<Candidate>,
    input_estimate: u64,
    most_output: u64,
    /// A request is with an upstream, which may charge for it.
    in_flight: bool,
    /// Tokens of answers that came and were of no use to the caller.
    wasted: Usage,
    /// The time of the last try.
    tried: Instant,
    /// Bytes of the answer that came, and its events.
    bytes: u64,
    events: u64,
    request: Option<Bytes>,
    answer: Vec<u8>,
    span: Span,
}

impl Meter {
    pub(crate) fn start(accounts: &Arc<Accounts>, who: &Who, service: Service) -> Self {
        let started = Instant::now();
        let at_ms = now_ms();
        // The call itself needs no random bytes, so that it is not refused without them.
        let id = Record::new_id(at_ms).unwrap_or_else(|_| format!("call_{at_ms:012x}"));
        let span = tracing::info_span!(
            target: "cofferdam_models",
            "model",
            otel.kind = "client",
            otel.name = tracing::field::Empty,
            gen_ai.operation.name = operation(service),
            gen_ai.provider.name = tracing::field::Empty,
            gen_ai.request.model = tracing::field::Empty,
            gen_ai.response.model = tracing::field::Empty,
            gen_ai.response.id = id,
            gen_ai.usage.input_tokens = tracing::field::Empty,
            gen_ai.usage.output_tokens = tracing::field::Empty,
            error.r#type = tracing::field::Empty,
        );
        let record = Record {
            id,
            at_ms,
            who: who.clone(),
            door: service.name(),
            asked: String::new(),
            served: None,
            upstream: None,
            provider: None,
            shared: false,
            tries: 0,
            input: 0,
            cached: 0,
            cache_written: 0,
            reasoning: 0,
            output: 0,
            money: 0,
            first_token_ms: None,
            wall_ms: 0,
            ending: Ending::Cancelled,
            estimated: false,
            content: None,
        };
        Self {
            accounts: Arc::clone(accounts),
            started,
            record: Some(record),
            held: None,
            catalogue: None,
            served: None,
            input_estimate: 0,
            most_output: 0,
            in_flight: false,
            wasted: Usage::default(),
            tried: started,
            bytes: 0,
            events: 0,
            request: None,
            answer: Vec::new(),
            span,
        }
    }

    pub(crate) fn id(&self) -> &str {
        self.record.as_ref().map_or("", |record| record.id.as_str())
    }

    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    /// The model that the caller asked for.
    pub(crate) fn asked(&mut self, model: &str) {
        self.span.record("gen_ai.request.model", model);
        if let Some(record) = &mut self.record {
            record.asked = cut(model);
        }
    }

    /// The prices that count for it, and the request's body if the organization keeps contents.
    pub(crate) fn within(&mut self, catalogue: &Arc<Catalogue>, body: &Bytes) {
        self.catalogue = Some(Arc::clone(catalogue));
        self.request = catalogue.privacy.store_contents.then(|| body.clone());
    }

    pub(crate) fn hold(&mut self, held: Held, input: u64, output: u64) {
        self.held = Some(held);
        self.input_estimate = input;
        self.most_output = output;
    }

    /// A request goes to this upstream.
    pub(crate) fn trying(&mut self, candidate: &Candidate) {
        self.served = Some(candidate.clone());
        self.in_flight = true;
        self.tried = Instant::now();
        let Some(record) = &mut self.record else { return };
        record.tries = record.tries.saturating_add(1);
        if let Some(held) = &mut self.held {
            let (upstream, served) = (Some(candidate.upstream.name().to_owned()), Some(cut(&candidate.model)));
            held.running(Record { upstream, served, ..record.clone() }, self.input_estimate);
        }
    }

    /// The upstream answered that it did not do it, or did not answer at all.
    pub(crate) fn failed(&mut self) {
        self.in_flight = false;
        (self.bytes, self.events) = (0, 0);
        self.answer = Vec::new();
    }

    /// An answer came that the caller cannot be given. The provider charges for it all the same.
    pub(crate) fn waste(&mut self, usage: Option<Usage>) {
        self.wasted = sum(self.wasted, usage.unwrap_or_default());
    }

    /// An answer had begun and did not come to its end: the provider has read the request, at least.
    pub(crate) fn lost(&mut self) {
        let output = self.seen();
        self.waste(Some(Usage { input: self.input_estimate, output, ..Usage::default() }));
        if let Some(record) = &mut self.record {
            record.estimated = true;
        }
    }

    /// A piece of the answer came.
    pub(crate) fn took(&mut self, piece: &[u8], streamed: bool) {
        self.bytes = self.bytes.saturating_add(piece.len() as u64);
        if streamed {
            self.events += memchr::memmem::find_iter(piece, b"\n\n").count() as u64;
        }
        if self.request.is_some() {
            let room = MAX_CONTENT_BYTES.saturating_sub(self.answer.len());
            self.answer.extend_from_slice(piece.get(..piece.len().min(room)).unwrap_or_default());
        }
    }

    /// The model has begun to answer.
    pub(crate) fn first_token(&mut self) {
        let after = self.started.elapsed();
        if let Some(record) = &mut self.record {
            record.first_token_ms.get_or_insert(millis(after));
        }
    }

    /// The call has ended. `model`: the one that the upstream says has answered.
    pub(crate) fn finish(&mut self, ending: Ending, usage: Option<Usage>, complete: bool) {
        let Some(mut record) = self.record.take() else { return };
        record.ending = ending;
        record.wall_ms = millis(self.started.elapsed());
        let mut cost = Amounts::default();
        if let Some(candidate) = &self.served {
            record.upstream = Some(candidate.upstream.name().to_owned());
            record.provider = Some(provider(candidate.upstream.kind()));
            record.shared = match candidate.upstream.owner() {
                Owner::Operator => true,
                Owner::Organization(organization) => *organization == OrganizationId::default_organization(),
            };
            record.served = Some(cut(&candidate.model));
        }
        if self.in_flight || self.wasted != Usage::default() {
            let last = if self.in_flight { self.used(usage, complete, &mut record) } else { Usage::default() };
            let mut used = sum(last, self.wasted);
            // Parts of the input are no more than all of it.
            used.cached = used.cached.min(used.input);
            used.cache_write = used.cache_write.min(used.input - used.cached);
            record.input = used.input;
            record.cached = used.cached;
            record.cache_written = used.cache_write;
            record.reasoning = used.reasoning;
            record.output = used.output;
            let prices = self.catalogue.as_ref().map(|catalogue| &catalogue.prices);
            let price = self
                .served
                .as_ref()
                .zip(prices)
                .and_then(|(candidate, prices)| prices.cost(candidate.upstream.name(), &candidate.model, &used));
            record.money = price.unwrap_or_default();
            let tokens = used.input.saturating_add(used.output);
            cost = Amounts { requests: 1, tokens, money: record.money };
        }
        self.tell(&record);
        record.content = self.content();
        match self.held.take() {
            Some(held) => held.settle(cost, record),
            None => self.accounts.record(record),
        }
    }

    /// Tokens used, by what the upstream said, else estimated from the bytes.
    fn used(&self, usage: Option<Usage>, complete: bool, record: &mut Record) -> Usage {
        // A count of tokens uses none.
        if record.door == Service::CountTokens.name() {
            return Usage::default();
        }
        if let (Some(usage), true) = (usage, complete) {
            return usage;
        }
        record.estimated = true;
        let output = self.seen();
        let known = usage.unwrap_or(Usage { input: self.input_estimate, ..Usage::default() });
        Usage { output: known.output.max(output), ..known }
    }

    /// The tokens that an answer without usage had so far, by its bytes and its time, at most those that were held.
    fn seen(&self) -> u64 {
        let frames = self.events.saturating_mul(EVENT_BYTES);
        let by_bytes = self.events.saturating_add(self.bytes.saturating_sub(frames) / BYTES_PER_TOKEN);
        let by_time = u64::from(millis(self.tried.elapsed())).saturating_mul(TOKENS_PER_SECOND) / 1_000;
        by_bytes.max(by_time).min(self.most_output)
    }

    /// The attributes of OpenTelemetry's conventions for generative AI.
    fn tell(&self, record: &Record) {
        let span = &self.span;
        if span.is_disabled() {
            return;
        }
        span.record("otel.name", format!("{} {}", record.door, record.asked));
        if let Some(candidate) = &self.served {
            span.record("gen_ai.provider.name", provider(candidate.upstream.kind()));
            span.record("gen_ai.response.model", record.served.as_deref().unwrap_or_default());
        }
        span.record("gen_ai.usage.input_tokens", record.input);
        span.record("gen_ai.usage.output_tokens", record.output);
        if record.ending != Ending::Ok {
            span.record("error.type", record.ending.name());
        }
    }

    /// The redacted texts, for an organization that keeps them.
    fn content(&mut self) -> Option<Content> {
        let request = self.request.take()?;
        let answer = std::mem::take(&mut self.answer);
        let redactor = Redactor::new([]).ok()?;
        let clean = |bytes: &[u8]| {
            let bytes = bytes.get(..bytes.len().min(MAX_CONTENT_BYTES)).unwrap_or_default();
            redactor.text(&String::from_utf8_lossy(bytes)).into_owned()
        };
        Some(Content { request: clean(&request), answer: clean(&answer) })
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.finish(Ending::Cancelled, None, false);
    }
}

/// `gen_ai.operation.name`.
fn operation(service: Service) -> &'static str {
    match service {
        Service::Chat | Service::Responses | Service::Messages => "chat",
        Service::Embeddings => "embeddings",
        Service::CountTokens => "count_tokens",
    }
}

/// `gen_ai.provider.name`.
fn provider(kind: Kind) -> &'static str {
    match kind {
        Kind::Openai => "openai",
        Kind::Anthropic => "anthropic",
        Kind::Azure => "azure.ai.openai",
        Kind::Bedrock => "aws.bedrock",
        Kind::Vertex => "gcp.vertex_ai",
        Kind::Gemini => "gcp.gemini",
        Kind::Compatible => "compatible",
    }
}

fn sum(one: Usage, other: Usage) -> Usage {
    Usage {
        input: one.input.saturating_add(other.input),
        cached: one.cached.saturating_add(other.cached),
        cache_write: one.cache_write.saturating_add(other.cache_write),
        cache_write_long: one.cache_write_long.saturating_add(other.cache_write_long),
        output: one.output.saturating_add(other.output),
        reasoning: one.reasoning.saturating_add(other.reasoning),
    }
}

fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

/// A name that the caller chose, of bounded length.
fn cut(name: &str) -> String {
    name.chars().take(256).collect()
}
