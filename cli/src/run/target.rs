//! The two places to run: a server's API, or a worker of our own on its wire. The calls are the same on both.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use cofferdam_contract::run::MAX_REQUEST_BYTES;
use cofferdam_contract::worker::{ORGANIZATION_HEADER, WorkerRun, WorkerSession};
use cofferdam_contract::{
    Event, Language, Limits, LimitsRequest, OrganizationId, Outcome, RunId, RunRequest, Session, SessionId,
    SessionRequest,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::args::Args;
use super::events::read;
use super::input::TOO_MUCH;
use super::own_folder::OwnFolder;
use crate::client::{self, Server, call, json, segments};
use crate::folders::{data_dir, env, set};
use crate::machine::{LocalWorker, Machine, WorkerFolders};

/// A REPL's session ends this many seconds after its last use.
const TTL_S: u64 = 3_600;

pub(super) struct Target {
    server: Server,
    own: Option<OwnWorker>,
}

struct OwnWorker {
    worker: Box<dyn LocalWorker>,
    /// Outlives the worker.
    _state: OwnFolder,
}

impl OwnWorker {
    async fn start(args: &Args, machine: &dyn Machine) -> anyhow::Result<Self> {
        let state = OwnFolder::make(&std::env::temp_dir())?;
        let folders = WorkerFolders {
            kernels: args.folders.kernels()?,
            cache: args.folders.cache(&data_dir(machine)?)?,
            state: state.path().to_owned(),
        };
        Ok(Self { worker: machine.start_worker(folders).await?, _state: state })
    }
}

impl Target {
    /// The server that the environment names, or a worker that is started here.
    pub(super) async fn find(args: &Args, machine: &dyn Machine) -> anyhow::Result<Self> {
        if let Some(url) = set("COFFERDAM_URL") {
            return Ok(Self { server: Server::at(&url, env("COFFERDAM_API_KEY").as_deref())?, own: None });
        }
        if args.session.is_some() {
            bail!("sessions live in a server: set COFFERDAM_URL and COFFERDAM_API_KEY");
        }
        let own = OwnWorker::start(args, machine).await?;
        let organization = OrganizationId::default_organization();
        let organization = HeaderValue::from_str(organization.as_str()).context("the organization")?;
        let headers = HeaderMap::from_iter([(HeaderName::from_static(ORGANIZATION_HEADER), organization)]);
        Ok(Self { server: Server::worker(own.worker.socket(), headers)?, own: Some(own) })
    }

    /// Ends the worker, if it is ours.
    pub(super) async fn end(self) {
        if let Some(own) = self.own {
            own.worker.stop().await;
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
            bail!("--allow-http {}: a run without a server has no network", grant.host);
        }
        let (id, limits) = (RunId::from_random(random()?), own_limits(&request.limits)?);
        Ok(serde_json::to_vec(&WorkerRun { id, limits, token: None, env: BTreeMap::new(), request: request.clone() })?)
    }

    /// Runs to the end and returns the whole outcome.
    pub(super) async fn run(&self, request: &RunRequest) -> anyhow::Result<Outcome> {
        let answer = self.server.send(Method::POST, &self.path("/runs"), self.body(request)?).await?;
        serde_json::from_slice(&answer).context("the outcome could not be read")
    }

    /// Runs and passes each event to `tell`; the outcome has nothing of what the events told.
    pub(super) async fn stream(
        &self,
        request: &RunRequest,
        tell: &mut dyn FnMut(&Event) -> anyhow::Result<()>,
    ) -> anyhow::Result<Outcome> {
        let body = self.body(request)?;
        let mut events = client::events(json(self.server.request(Method::POST, &self.path("/runs")), body)).await?;
        while let Some(sent) = events.next().await? {
            let Some(event) = read(&sent)? else { continue };
            tell(&event)?;
            if let Event::End(outcome) = event {
                return Ok(*outcome);
            }
        }
        bail!("the stream ended without an outcome; the worker was lost")
    }

    /// A file that a run made and that was too large for its outcome.
    pub(super) async fn file(&self, outcome: &Outcome, path: &str) -> anyhow::Result<Vec<u8>> {
        let folder = match &outcome.session {
            Some(session) => format!("/sessions/{session}/files/"),
            None => format!("/runs/{}/files/", outcome.id),
        };
        let path = format!("{}{}", self.path(&folder), segments(path));
        Ok(call(self.server.request(Method::GET, &path)).await?.to_vec())
    }

    /// A new session.
    pub(super) async fn session(&self, language: Language, limits: LimitsRequest) -> anyhow::Result<SessionId> {
        if self.own.is_none() {
            let wanted = SessionRequest {
                language: Some(language),
                ttl_s: Some(TTL_S),
                limits,
                grants: cofferdam_contract::Grants::default(),
                snapshot: None,
            };
            let answer = self.server.send(Method::POST, "/v1/sessions", serde_json::to_vec(&wanted)?).await?;
            return Ok(serde_json::from_slice::<Session>(&answer).context("the session")?.id);
        }
        let id = SessionId::from_random(random()?);
        let ends_at = u64::MAX >> 1;
        let limits = own_limits(&limits)?;
        let wanted = WorkerSession { id: id.clone(), language, limits, ttl_s: TTL_S, ends_at, snapshot: None };
        self.server.send(Method::POST, "/sessions", serde_json::to_vec(&wanted)?).await?;
        Ok(id)
    }

    pub(super) async fn end_session(&self, id: &SessionId) -> anyhow::Result<()> {
        self.server.delete(&self.path(&format!("/sessions/{id}"))).await
    }
}

/// A command's own worker allows as much as any server can.
fn own_limits(request: &LimitsRequest) -> anyhow::Result<Limits> {
    Ok(Limits::resolve(request, &Limits::DEFAULT, &Limits::MAXIMUM)?)
}

fn random() -> anyhow::Result<u128> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|e| anyhow::anyhow!("no random bytes: {e}"))?;
    Ok(u128::from_le_bytes(bytes))
}
