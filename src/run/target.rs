//! Who runs it: a server's API, or a worker of our own on its wire. The same calls on either.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use cofferdam_contract::run::MAX_REQUEST_BYTES;
use cofferdam_contract::worker::{ORGANIZATION_HEADER, WorkerRun, WorkerSession};
use cofferdam_contract::{
    Event, Language, Limits, LimitsRequest, OrganizationId, Outcome, RunId, RunRequest, Session, SessionId,
    SessionRequest,
};
use http::{HeaderName, HeaderValue, Method};
use http_body_util::BodyExt;

use super::events::Events;
use super::input::TOO_MUCH;
use super::own_worker::OwnWorker;
use super::wire::{Address, Server};
use crate::commands::run::Args;
use crate::folders::env;

/// A REPL's session ends this long after its last use, in seconds.
const TTL_S: u64 = 3_600;

pub struct Target {
    server: Server,
    own: Option<OwnWorker>,
}

impl Target {
    /// The server that the environment names, or else a worker that is started here.
    pub async fn find(args: &Args) -> anyhow::Result<Self> {
        if let Some(url) = env("COFFERDAM_URL").filter(|url| !url.is_empty()) {
            let mut headers = Vec::new();
            if let Some(key) = env("COFFERDAM_API_KEY") {
                headers.push(crate::server::key_header(&key)?);
            }
            return Ok(Self { server: Server { address: Address::parse(&url)?, headers }, own: None });
        }
        if args.session.is_some() {
            bail!("sessions live in a server: set COFFERDAM_URL and COFFERDAM_API_KEY");
        }
        let own = OwnWorker::start(&args.folders).await?;
        let organization = OrganizationId::default_organization();
        let headers = vec![(
            HeaderName::from_static(ORGANIZATION_HEADER),
            HeaderValue::from_str(organization.as_str()).context("the organization")?,
        )];
        Ok(Self { server: Server { address: Address::Unix(own.socket.clone()), headers }, own: Some(own) })
    }

    /// Ends the worker, if it is ours.
    pub async fn end(self) {
        if let Some(own) = self.own {
            own.end().await;
        }
    }

    fn path(&self, tail: &str) -> String {
        if self.own.is_some() { tail.to_owned() } else { format!("/v1{tail}") }
    }

    fn body(&self, request: &RunRequest) -> anyhow::Result<Vec<u8>> {
        let body = self.whole_body(request)?;
        if body.len() > MAX_REQUEST_BYTES {
            bail!("the request has {:.1} MiB: {TOO_MUCH}", body.len() as f64 / f64::from(1 << 20));
        }
        Ok(body)
    }

    fn whole_body(&self, request: &RunRequest) -> anyhow::Result<Vec<u8>> {
        if self.own.is_none() {
            return Ok(serde_json::to_vec(request)?);
        }
        request.check().map_err(anyhow::Error::msg)?;
        if let Some(grant) = request.grants.http.first() {
            bail!("--allow-http {}: this version allows no network at all", grant.host);
        }
        let (id, limits) = (RunId::from_random(random()?), own_limits(&request.limits)?);
        Ok(serde_json::to_vec(&WorkerRun { id, limits, token: None, env: BTreeMap::new(), request: request.clone() })?)
    }

    /// Runs to the end and gives the whole outcome.
    pub async fn run(&self, request: &RunRequest) -> anyhow::Result<Outcome> {
        let answer = self.server.call(Method::POST, &self.path("/runs"), self.body(request)?).await?;
        serde_json::from_slice(&answer).context("the outcome could not be read")
    }

    /// Runs and tells what happens; the outcome is without what was told.
    pub async fn stream(
        &self,
        request: &RunRequest,
        tell: &mut dyn FnMut(&Event) -> anyhow::Result<()>,
    ) -> anyhow::Result<Outcome> {
        let body = self.body(request)?;
        let response = self.server.send(Method::POST, &self.path("/runs"), body, "text/event-stream").await?;
        let mut body = response.into_body();
        let mut events = Events::default();
        while let Some(frame) = body.frame().await {
            let Ok(piece) = frame.context("the stream broke off")?.into_data() else { continue };
            for event in events.push(&piece)? {
                tell(&event)?;
                if let Event::End(outcome) = event {
                    return Ok(*outcome);
                }
            }
        }
        bail!("the stream ended without an outcome; the worker was lost")
    }

    /// A file that a run made and that was too large for its outcome.
    pub async fn file(&self, outcome: &Outcome, path: &str) -> anyhow::Result<Vec<u8>> {
        use std::fmt::Write as _;
        let mut uri = match &outcome.session {
            Some(session) => self.path(&format!("/sessions/{session}/files/")),
            None => self.path(&format!("/runs/{}/files/", outcome.id)),
        };
        for byte in path.bytes() {
            if byte.is_ascii_alphanumeric() || b"-_./~".contains(&byte) {
                uri.push(char::from(byte));
            } else {
                write!(uri, "%{byte:02X}")?;
            }
        }
        Ok(self.server.call(Method::GET, &uri, Vec::new()).await?.to_vec())
    }

    /// A new session.
    pub async fn session(&self, language: Language, limits: LimitsRequest) -> anyhow::Result<SessionId> {
        if self.own.is_none() {
            let wanted = SessionRequest {
                language: Some(language),
                ttl_s: Some(TTL_S),
                limits,
                grants: cofferdam_contract::Grants::default(),
                snapshot: None,
            };
            let answer = self.server.call(Method::POST, "/v1/sessions", serde_json::to_vec(&wanted)?).await?;
            return Ok(serde_json::from_slice::<Session>(&answer).context("the session")?.id);
        }
        let id = SessionId::from_random(random()?);
        let ends_at = u64::MAX >> 1;
        let limits = own_limits(&limits)?;
        let wanted = WorkerSession { id: id.clone(), language, limits, ttl_s: TTL_S, ends_at, snapshot: None };
        self.server.call(Method::POST, "/sessions", serde_json::to_vec(&wanted)?).await?;
        Ok(id)
    }

    pub async fn end_session(&self, id: &SessionId) -> anyhow::Result<()> {
        self.server.call(Method::DELETE, &self.path(&format!("/sessions/{id}")), Vec::new()).await.map(drop)
    }
}

/// On one's own machine one may ask for as much as any server would give.
fn own_limits(request: &LimitsRequest) -> anyhow::Result<Limits> {
    Ok(Limits::resolve(request, &Limits::DEFAULT, &Limits::MAXIMUM)?)
}

fn random() -> anyhow::Result<u128> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|e| anyhow::anyhow!("no random bytes: {e}"))?;
    Ok(u128::from_le_bytes(bytes))
}
