//! One busy agent's log: how long a line takes from the cluster's stream to its followers over HTTP, with one follower and
//! with a thousand. The service is the real one, with keys, API and object store; the cluster is a script, because there is
//! none here: its stream hands a line over at the moment that the line names.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use cofferdam_contract::{AgentId, OrganizationId};
use cofferdam_controller::agents::logs::Redactor;
use cofferdam_controller::cluster::{
    AnyCluster, Cluster, ClusterError, Lines, PodName, RawLine, Seen, Workload, WorkloadId,
};
use cofferdam_controller::config::{Config, Flags};
use cofferdam_controller::services::{App, Controller, Parts};
use cofferdam_controller::store::Store;
use cofferdam_controller::{api, auth, server};
use futures_util::future::{BoxFuture, ready};
use futures_util::{FutureExt, StreamExt, stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::bench::Bench;
use crate::client::Client;
use crate::finding::{Finding, Unit};
use crate::process;
use crate::service::scratch;
use crate::stats::Samples;

const KEY: &str = "bench-key-0123456789abcdef0123456789abcdef";
const FOLLOWERS: usize = 1_000;
/// Lines a second.
const RATE: u64 = 200;
/// All have to have come by then.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a thousand followers may take, sockets and the clients' own buffers in the same process included.
const MEMORY: f64 = 128.0;

/// One pod that writes what the row says.
struct Script {
    id: WorkloadId,
    lines: Mutex<Option<mpsc::UnboundedReceiver<RawLine>>>,
}

impl Cluster for Script {
    fn apply<'a>(&'a self, _: &'a Workload) -> BoxFuture<'a, Result<(), ClusterError>> {
        ready(Ok(())).boxed()
    }

    fn see<'a>(&'a self, _: &'a WorkloadId) -> BoxFuture<'a, Result<Seen, ClusterError>> {
        ready(Ok(Seen::Gone)).boxed()
    }

    fn remove<'a>(&'a self, _: &'a WorkloadId) -> BoxFuture<'a, Result<(), ClusterError>> {
        ready(Ok(())).boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<WorkloadId>, ClusterError>> {
        ready(Ok(vec![self.id.clone()])).boxed()
    }

    fn pods<'a>(&'a self, _: &'a WorkloadId) -> BoxFuture<'a, Result<Vec<PodName>, ClusterError>> {
        let pod = PodName { workload: self.id.clone(), pod: "cofferdam-busy-v1-abcde".to_owned(), restarts: 0 };
        ready(Ok(vec![pod])).boxed()
    }

    fn logs<'a>(&'a self, _: &'a PodName, _: Option<&'a str>) -> BoxFuture<'a, Result<Lines, ClusterError>> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(lines) = lines else {
            return ready(Err(ClusterError::Unreachable("the script has one stream".to_owned()))).boxed();
        };
        let lines = stream::unfold(lines, |mut lines| async move { Some((Ok(lines.recv().await?), lines)) });
        ready(Ok(lines.boxed())).boxed()
    }
}

/// The service within this process, without workers: nothing here runs code.
struct Service {
    app: App,
    address: SocketAddr,
    stop: CancellationToken,
    _folder: tempfile::TempDir,
}

impl Service {
    async fn start() -> anyhow::Result<Self> {
        let folder = scratch()?;
        let flags = Flags { data_dir: Some(folder.path().to_owned()), ..Flags::default() };
        let look = |name: &str| (name == "COFFERDAM_API_KEY").then(|| KEY.to_owned());
        let config = Config::parse(&flags, &look, None)?;
        let store = Store::open(&config.database).await?;
        auth::accept_serve_key(config.api_key.as_ref(), folder.path(), &store).await?;
        let app = Controller::new(Parts::new(config, store)).await?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, stop) = (listener.local_addr()?, CancellationToken::new());
        tokio::spawn(server::accept(listener, api::router(&app).0, stop.clone(), Duration::from_secs(1)));
        Ok(Self { app, address, stop, _folder: folder })
    }
}

/// What followers saw of the lines that were written for them.
struct Followed {
    latencies: Samples,
    /// Of this process, in MiB.
    peak: f64,
}

pub fn measure(bench: &mut Bench) -> anyhow::Result<Vec<Finding>> {
    let lines = bench.times(2_000) as u64;
    enough_files();
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let service = runtime.block_on(Service::start())?;
    let (send, receive) = mpsc::unbounded_channel();
    let (organization, agent) = (OrganizationId::default_organization(), AgentId::parse("busy")?);
    let id = WorkloadId { organization, agent, version: 1 };
    let script: AnyCluster = Arc::new(Script { id: id.clone(), lines: Mutex::new(Some(receive)) });
    Client::new(service.address, KEY).call("POST", "/v1/agents", br#"{"id":"busy","name":"busy"}"#)?.json()?;
    let redactor = Arc::new(Redactor::new([])?);
    runtime.block_on(async { service.app.logs.watch(&id, &script, redactor) });

    let one = follow(&runtime, service.address, 1, 0..lines / 4, &send)?;
    let before = process::private_mib(std::process::id())?;
    let many = follow(&runtime, service.address, FOLLOWERS, lines / 4..lines / 4 + lines, &send)?;
    let grown = (many.peak - before).max(0.0);
    service.stop.cancel();
    runtime.block_on(service.app.logs.close());
    runtime.shutdown_timeout(Duration::from_secs(5));

    let source = "The cluster is a script in the measuring process; API, keys, store and HTTP are the real ones.";
    let single = Finding::new("logs", "a line of an agent's log to its one follower", Unit::Ms)
        .target("p99 at most 100 ms")
        .ours(&one.latencies)
        .at_most("p99", Unit::Ms, one.latencies.p99(), 100.0)
        .add(&format!("{RATE} lines a second. {source}"));
    let thousand =
        Finding::new("logs", format!("a line of a busy agent's log to each of {FOLLOWERS} followers"), Unit::Ms)
            .target("every line to everyone, p99 under 250 ms")
            .ours(&many.latencies)
            .at_most("p99", Unit::Ms, many.latencies.p99(), 250.0)
            .add(&format!("{lines} lines, {RATE} a second; each follower got each line once and in order. {source}"));
    let memory = Finding::new("logs", format!("memory for {FOLLOWERS} followers"), Unit::Mib)
        .target("at most 128 MiB, their clients' included")
        .figure(grown)
        .at_most("memory", Unit::Mib, grown, MEMORY)
        .add("Growth of the measuring process, which holds the service and all clients, at its peak.");
    Ok(vec![single, thousand, memory])
}

/// Two for each follower, in this one process.
fn enough_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where it stays too low, connecting says so.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// Connects so many followers, writes the lines at their rate, and waits until everybody has all of them.
fn follow(
    runtime: &Runtime,
    address: SocketAddr,
    followers: usize,
    lines: Range<u64>,
    write: &mpsc::UnboundedSender<RawLine>,
) -> anyhow::Result<Followed> {
    let begin = Instant::now();
    runtime.block_on(async {
        let mut clients = JoinSet::new();
        let ready = Arc::new(Semaphore::new(0));
        for _ in 0..followers {
            clients.spawn(client(address, lines.clone(), begin, Arc::clone(&ready)));
        }
        let all = u32::try_from(followers)?;
        tokio::time::timeout(PATIENCE, ready.acquire_many(all))
            .await
            .context("not all followers are let in")??
            .forget();
        let mut tick = tokio::time::interval(Duration::from_millis(1_000) / u32::try_from(RATE)?);
        let mut peak = 0.0_f64;
        for n in lines {
            tick.tick().await;
            // A line as an agent writes one; the moment is the last thing before it is handed over.
            let filler = "GET /v1/things/4711 200 12ms, a line of the usual length";
            let time = k8s_time();
            write.send(RawLine { time, text: format!("{filler} @{n}:{}@", begin.elapsed().as_micros()) })?;
            if n.is_multiple_of(RATE / 2) {
                peak = peak.max(process::private_mib(std::process::id())?);
            }
        }
        let mut latencies = Samples::default();
        let gathered = async {
            while let Some(seen) = clients.join_next().await {
                latencies.extend(&seen??);
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(PATIENCE, gathered).await.context("not every line came to everybody")??;
        Ok(Followed { latencies, peak })
    })
}

/// RFC 3339, now.
fn k8s_time() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    // Days to a date, by Howard Hinnant's formula for years after 1970.
    let z = days + 719_468;
    let (era, of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute) = (second / 3_600, second / 60 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}.{:09}Z", second % 60, since.subsec_nanos())
}

/// One follower: how long each line took, in milliseconds.
async fn client(
    address: SocketAddr,
    lines: Range<u64>,
    begin: Instant,
    ready: Arc<Semaphore>,
) -> anyhow::Result<Samples> {
    let mut stream = TcpStream::connect(address).await?;
    let head = format!("GET /agents/busy/logs?tail=0 HTTP/1.1\r\nhost: bench\r\nx-api-key: {KEY}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let (mut latencies, mut wanted) = (Samples::default(), lines.start);
    let (mut piece, mut seen) = (vec![0_u8; 16 << 10], Vec::new());
    let mut let_in = false;
    while wanted < lines.end {
        let read = stream.read(&mut piece).await?;
        if read == 0 {
            bail!("the stream ended at line {wanted}: {}", String::from_utf8_lossy(&seen));
        }
        let now = begin.elapsed().as_micros();
        seen.extend_from_slice(piece.get(..read).unwrap_or_default());
        // The head, and with the first event the place in the log: from here on no line is missed.
        if !let_in && seen.windows(7).any(|part| part == b"retry: ") {
            if !seen.starts_with(b"HTTP/1.1 200") {
                bail!("{}", String::from_utf8_lossy(&seen));
            }
            (let_in, _) = (true, ready.add_permits(1));
        }
        // Events come in whole chunks, so that a mark is only ever cut by our own reading.
        let text = String::from_utf8_lossy(&seen);
        let mut parts = text.split('@').skip(1).step_by(2);
        let mut whole = text.matches('@').count() / 2;
        while whole > 0
            && let Some((n, at)) = parts.next().and_then(|mark| mark.split_once(':'))
        {
            if n.parse::<u64>()? != wanted {
                bail!("line {n} where {wanted} was to come");
            }
            latencies.push((now.saturating_sub(at.parse()?)) as f64 / 1_000.0);
            wanted += 1;
            whole -= 1;
        }
        let open = text.matches('@').count() % 2 == 1;
        let keep = if open { seen.iter().rposition(|b| *b == b'@').unwrap_or(0) } else { seen.len() };
        if let_in {
            seen.drain(..keep);
        }
    }
    Ok(latencies)
}
