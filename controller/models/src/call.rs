//! Carries out a call: rules, candidates, budgets, tries, and the answer's way back. Everything that ends it is written in the
//! caller's protocol.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cofferdam_core::{chain, random_bits};
use cofferdam_dialects::{DEFAULT_MAX_TOKENS, Kind, input_tokens};
use cofferdam_upstreams::{Service, hops};
use cofferdam_usage::{Accounts, Amounts, Budget, Ending, Unit, Who};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::time::Instant;
use tracing::Instrument;

use crate::answer::Trying;
use crate::list::{Known, ListedModel, list};
use crate::meter::Meter;
use crate::name::{Candidate, broken, candidates};
use crate::prepare::Body;
use crate::refusal::Refusal;
use crate::reply::{Reply, ReplyBody};
use crate::room::Room;
use crate::rules::Rules;
use crate::settings::{Catalogue, Settings};
use crate::tries::tries;

/// The longest a call may take in all. Upstreams have shorter ones of their own.
const CALL_TIMEOUT: Duration = Duration::from_secs(3_600);

/// The most gateways of this kind that a call comes through.
const MAX_HOPS: u32 = 4;

const CALL: HeaderName = HeaderName::from_static("x-cofferdam-call");
const MODEL: HeaderName = HeaderName::from_static("x-cofferdam-model");
const TRIES: HeaderName = HeaderName::from_static("x-cofferdam-tries");

/// Further limits of one call, besides the organization's rules: those of a grant or of a run token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Narrow {
    /// The words for it in a refusal, such as `grants.llm`.
    pub name: &'static str,
    /// Patterns of models. All, if absent.
    pub models: Option<Vec<String>>,
    /// The models are names as callers write them, letter by letter, and no patterns.
    pub exact: bool,
    /// The provider must not be told to call servers of the caller's choice: the caller may not call them itself.
    pub no_servers: bool,
    /// The most tokens of all choices of an answer.
    pub max_tokens: Option<u64>,
}

/// A call of a model.
#[derive(Debug)]
pub struct Call {
    pub who: Who,
    pub service: Service,
    /// The caller's; upstreams pass on a few of them.
    pub headers: HeaderMap,
    pub body: Bytes,
    pub narrow: Vec<Narrow>,
}

/// The AI gateway.
pub struct Models {
    settings: Arc<Settings>,
    accounts: Arc<Accounts>,
    room: Room,
    known: Known,
}

impl Models {
    pub fn new(settings: Arc<Settings>, accounts: Arc<Accounts>) -> Arc<Self> {
        Arc::new(Self { settings, accounts, room: Room::default(), known: Known::default() })
    }

    pub fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    pub fn accounts(&self) -> &Arc<Accounts> {
        &self.accounts
    }

    /// Carries out a call. Its refusals and failures are replies too, in the protocol of its service. Dropping the future or
    /// the reply's body cancels it.
    pub async fn call(&self, call: Call) -> Reply {
        let meter = Meter::start(&self.accounts, &call.who, call.service);
        let (id, span) = (HeaderValue::from_str(meter.id()).ok(), meter.span().clone());
        let service = call.service;
        let mut meter = Some(meter);
        let answered = self.answer(&call, &mut meter).instrument(span).await;
        let mut reply = answered.unwrap_or_else(|refusal| {
            if let Some(mut meter) = meter.take() {
                meter.finish(refusal.ending, None, false);
            }
            refusal.reply(service)
        });
        if let Some(id) = id {
            reply.headers_mut().insert(CALL, id);
        }
        reply
    }

    /// The models that a caller may name, by name.
    ///
    /// # Errors
    /// The settings cannot be read.
    pub async fn list(&self, who: &Who, narrow: &[Narrow]) -> Result<Vec<ListedModel>, crate::settings::Error> {
        let catalogue = self.settings.of(&who.organization).await?;
        let open = self.known.all(&catalogue).await;
        Ok(list(&catalogue, &open, who, narrow))
    }

    async fn answer(&self, call: &Call, meter: &mut Option<Meter>) -> Result<Reply, Refusal> {
        let mut body = Body::read(call.service, &call.body)?;
        let catalogue = self.catalogue(&call.who).await?;
        if let Some(meter) = meter {
            meter.asked(&body.head.model);
            meter.within(&catalogue, &call.body);
        }
        if hops(&call.headers) >= MAX_HOPS {
            let message = format!(
                "This call came through {MAX_HOPS} gateways of this kind: the base_url of an upstream probably leads back to \
                 this server."
            );
            return Err(Refusal::new(Kind::Api, Ending::Refused, message));
        }
        if body.head.background {
            let why = "is not offered: an answer that comes later cannot be held against a budget";
            return Err(Refusal::invalid(why).at("background"));
        }
        if let Some(narrow) = call.narrow.iter().find(|narrow| narrow.no_servers && body.head.connects) {
            let why = format!("has MCP servers, which the provider would call; {} does not allow that", narrow.name);
            let field = if call.service == Service::Messages { "mcp_servers" } else { "tools" };
            return Err(Refusal::new(Kind::Permission, Ending::Refused, why).at(field));
        }
        let guarded = call.narrow.iter().find(|narrow| narrow.no_servers);
        if let (Some(narrow), Some(field)) = (guarded, body.head.stored) {
            let why =
                format!("uses what is stored in the account at the provider; {} does not allow that", narrow.name);
            return Err(Refusal::new(Kind::Permission, Ending::Refused, why).at(field));
        }
        let rules = Rules::of(&catalogue, &call.who, &call.narrow);
        rules.check_model(&body.head.model)?;
        if call.service.dialect().is_some() {
            body.max_tokens = rules.check_tokens(&body.head)?;
        }
        let found = find(&catalogue, &rules, &body)?;
        let found = match call.service {
            Service::CountTokens if !found.iter().any(|candidate| candidate.upstream.speaks(call.service)) => {
                return Ok(self.estimate(call, &body, meter));
            }
            _ => found,
        };
        self.hold(call, &catalogue, &mut body, &found, meter).await?;
        let deadline = Instant::now() + CALL_TIMEOUT;
        let trying = Trying {
            room: &self.room,
            organization: &call.who.organization,
            headers: &call.headers,
            deadline,
            stream: body.stream(),
        };
        let served = &mut None;
        let answered = tries(&trying, &found, &mut body, meter, served).await;
        let mut reply = match answered {
            Ok(answered) => answered.reply,
            Err(refusal) => {
                if let Some(mut meter) = meter.take() {
                    let (call, why) = (meter.id(), &refusal.message);
                    let upstream = served.as_ref().map(|served| served.0.full());
                    tracing::warn!(
                        call,
                        upstream,
                        tries = served.as_ref().map(|served| served.1),
                        why,
                        "a call of a model failed"
                    );
                    meter.finish(refusal.ending, None, false);
                }
                refusal.reply(call.service)
            }
        };
        if let Some((candidate, tries)) = served.take() {
            if let Ok(model) = HeaderValue::from_str(&candidate.full()) {
                reply.headers_mut().insert(MODEL, model);
            }
            reply.headers_mut().insert(TRIES, HeaderValue::from(tries));
        }
        Ok(reply)
    }

    async fn catalogue(&self, who: &Who) -> Result<Arc<Catalogue>, Refusal> {
        self.settings.of(&who.organization).await.map_err(|error| {
            tracing::error!(error = chain(&error), "the settings of models cannot be read");
            let message = "The settings of models cannot be read at the moment; try again.";
            Refusal::new(Kind::Overloaded, Ending::Refused, message).after(Some(Duration::from_secs(2)))
        })
    }

    /// Holds what the call may cost at most of all budgets that it counts for.
    async fn hold(
        &self,
        call: &Call,
        catalogue: &Catalogue,
        body: &mut Body<'_>,
        found: &[Candidate],
        meter: &mut Option<Meter>,
    ) -> Result<(), Refusal> {
        let counted = call.service != Service::CountTokens;
        let input = if counted { input_tokens(&call.body) } else { 0 };
        let output = match (call.service.dialect(), body.head.max_tokens.or(body.max_tokens)) {
            (None, _) => 0,
            (Some(_), Some(most)) => most.saturating_mul(body.head.choices.max(1)),
            (Some(_), None) => {
                let default = |candidate: &Candidate| candidate.upstream.target(&candidate.model).max_tokens;
                found.iter().map(default).max().unwrap_or(DEFAULT_MAX_TOKENS).saturating_mul(body.head.choices.max(1))
            }
        };
        let asked = body.head.model.clone();
        let full = found.first().map(Candidate::full).unwrap_or_default();
        let model = found.first().map_or("", |candidate| candidate.model.as_str());
        let names = [asked.as_str(), full.as_str(), model];
        let counts = |budget: &&Arc<Budget>| counted && budget.counts(&call.who, &names);
        if let Some(budget) = catalogue.budgets.iter().filter(counts).find(|budget| budget.spec.unit != Unit::Requests)
        {
            bound(body, &budget.name)?;
            if call.service.dialect().is_some() && body.head.max_tokens.is_none() && body.max_tokens.is_none() {
                // What is held is what can be used.
                body.max_tokens = Some(output / body.head.choices.max(1));
            }
        }
        let prices: Vec<Option<u64>> = found
            .iter()
            .map(|candidate| catalogue.prices.most(candidate.upstream.name(), &candidate.model, input, output))
            .collect();
        let money = prices.iter().flatten().max().copied();
        let unpriced = prices.iter().position(Option::is_none).and_then(|at| found.get(at));
        if let Some(unpriced) = unpriced.map(Candidate::full) {
            let in_money = |budget: &&Arc<Budget>| budget.spec.unit == Unit::Money && counts(budget);
            if let Some(budget) = catalogue.budgets.iter().find(in_money) {
                let message = format!(
                    "The budget `{}` is in money, and no price of {unpriced} is known; an administrator can set one with PUT \
                     /v1/model-prices.",
                    budget.name
                );
                return Err(Refusal::new(Kind::Permission, Ending::Refused, message).at("model"));
            }
        }
        let most = Amounts { requests: 1, tokens: input.saturating_add(output), money: money.unwrap_or_default() };
        let held = self.accounts.hold(&call.who, &names, &catalogue.budgets, most).await;
        let held = held.map_err(|error| Refusal::of_budget(error, most))?;
        if let Some(meter) = meter {
            meter.hold(held, input, output);
        }
        Ok(())
    }

    /// Answers a count of tokens that no upstream can give with an estimate of ours, which is high.
    fn estimate(&self, call: &Call, body: &Body<'_>, meter: &mut Option<Meter>) -> Reply {
        if let Some(mut meter) = meter.take() {
            meter.asked(&body.head.model);
            meter.finish(Ending::Ok, None, false);
        }
        let count = serde_json::json!({"input_tokens": input_tokens(&call.body)});
        let mut reply = Reply::new(ReplyBody::whole(Bytes::from(count.to_string())));
        *reply.status_mut() = StatusCode::OK;
        reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        reply
    }
}

/// Refuses a request whose cost has no bound that is in it.
fn bound(body: &Body<'_>, budget: &str) -> Result<(), Refusal> {
    let refused = |field: &str, why: &str| {
        let why = format!("{why}, so that this call cannot be held against the budget `{budget}`");
        Err(Refusal::new(Kind::Permission, Ending::Refused, why).at(field))
    };
    if let Some(field) = body.head.stored {
        return refused(field, "stands for input that is stored at the provider");
    }
    match body.head.unlimited {
        Some(field) => refused(field, "can make an answer longer than its limit"),
        None => Ok(()),
    }
}

/// The candidates that may serve the call.
fn find(catalogue: &Catalogue, rules: &Rules<'_>, body: &Body<'_>) -> Result<Vec<Candidate>, Refusal> {
    let mut draw =
        |below: u64| u64::try_from(random_bits().unwrap_or_default() % u128::from(below)).unwrap_or_default();
    let asked = &body.head.model;
    let mut found = candidates(catalogue, asked, &mut draw);
    if found.is_empty()
        && let Some((name, broken)) = broken(catalogue, asked)
    {
        let message = format!("The upstream `{name}` of this organization cannot be used: {}.", broken.why());
        return Err(Refusal::new(Kind::Overloaded, Ending::Error, message));
    }
    if found.is_empty() {
        let message = match catalogue.upstreams.is_empty() {
            true => "There is no upstream of models; the operator sets OPENAI_API_KEY or ANTHROPIC_API_KEY for `serve`, or an \
                     administrator makes one with PUT /v1/upstreams/NAME."
                .to_owned(),
            false => {
                let shown: String = asked.chars().take(128).collect();
                if catalogue.aliases.contains_key(asked) {
                    let why = "leads to no model that an upstream here serves; an administrator changes it or its upstreams";
                    let message = format!("The alias {shown:?} {why}.");
                    return Err(Refusal::new(Kind::NotFound, Ending::Refused, message).at("model"));
                }
                format!("There is no model {shown:?} here; GET /v1/models lists those that there are.")
            }
        };
        return Err(Refusal::new(Kind::NotFound, Ending::Refused, message).at("model"));
    }
    found.retain(|candidate| rules.allow_candidate(asked, candidate));
    if found.is_empty() {
        let message = "This alias leads to models of the operator's that are not allowed here.";
        return Err(Refusal::new(Kind::Permission, Ending::Refused, message).at("model"));
    }
    if !found.iter().any(|candidate| rules.allow_region(candidate.upstream.region())) {
        return Err(rules.outside(&found));
    }
    found.retain(|candidate| rules.allow_region(candidate.upstream.region()));
    // Nothing can be translated into these two.
    if body.service == Service::Embeddings {
        found.retain(|candidate| candidate.upstream.speaks(body.service));
        if found.is_empty() {
            let message = "No upstream of this model offers embeddings.";
            return Err(Refusal::new(Kind::NotFound, Ending::Refused, message).at("model"));
        }
    }
    if body.service == Service::CountTokens && found.iter().any(|candidate| candidate.upstream.speaks(body.service)) {
        found.retain(|candidate| candidate.upstream.speaks(body.service));
    }
    Ok(found)
}
