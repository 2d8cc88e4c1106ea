//! One busy agent's log: the latency of a line from the cluster's stream to its followers over HTTP, with one follower
//! and with a thousand. The service is the real one, with keys, API and object store; the cluster is the tests' fake,
//! whose lines contain the moment at which they are sent.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use cofferdam_cluster::{AnyCluster, WorkloadId};
use cofferdam_contract::{AgentId, OrganizationId};
use cofferdam_controller::config::{Config, Flags};
use cofferdam_controller::{Controller, Machines, World, server};
use cofferdam_identity::accept_serve_key;
use cofferdam_redact::Redactor;
use cofferdam_store::Store;
use cofferdam_testkit::cluster::{FakeCluster, FakePod};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
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
/// Lines per second.
const RATE: u64 = 200;
/// All lines must have arrived by then.
const ARRIVAL_TIMEOUT: Duration = Duration::from_secs(60);
/// The memory allowed for a thousand followers, including sockets and the clients' buffers in the same process.
const MAX_MEMORY_MIB: f64 = 128.0;

/// The service within this process, without workers: nothing here runs code.
struct Service {
    app: Controller,
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
        accept_serve_key(config.api_key.as_ref(), folder.path(), &store).await?;
        let app = Controller::new(config, store, Machines::default(), World::default()).await?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, stop) = (listener.local_addr()?, CancellationToken::new());
        tokio::spawn(server::accept(listener, app.router().0, stop.clone(), Duration::from_secs(1)));
        Ok(Self { app, address, stop, _folder: folder })
    }
}

/// The followers' measurements.
struct Followed {
    latencies: Samples,
    /// Memory of this process, in MiB.
    peak: f64,
}

pub(super) fn measure(bench: &mut Bench) -> anyhow::Result<Vec<Finding>> {
    let lines = bench.times(2_000) as u64;
    // Each follower needs two in this process.
    process::enough_files();
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let service = runtime.block_on(Service::start())?;
    let (organization, agent) = (OrganizationId::default_organization(), AgentId::parse("busy")?);
    let id = WorkloadId { organization, agent, version: 1 };
    let script = Arc::new(FakeCluster::default());
    let pod = script.pod(&id, "cofferdam-busy-v1-abcde", 0);
    let script: AnyCluster = script;
    Client::new(service.address, KEY).call("POST", "/v1/agents", br#"{"id":"busy","name":"busy"}"#)?.json()?;
    let redactor = Arc::new(Redactor::new([])?);
    runtime.block_on(async { service.app.logs.watch(&id, &script, redactor) });

    let one = follow(&runtime, service.address, 1, 0..lines / 4, &pod)?;
    let before = process::private_mib(std::process::id())?;
    let many = follow(&runtime, service.address, FOLLOWERS, lines / 4..lines / 4 + lines, &pod)?;
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
        .at_most("memory", Unit::Mib, grown, MAX_MEMORY_MIB)
        .add("Growth of the measuring process, which holds the service and all clients, at its peak.");
    Ok(vec![single, thousand, memory])
}

/// Connects this many followers, writes the lines at their rate, and waits until all followers have all lines.
fn follow(
    runtime: &Runtime,
    address: SocketAddr,
    followers: usize,
    lines: Range<u64>,
    write: &FakePod,
) -> anyhow::Result<Followed> {
    let begin = Instant::now();
    runtime.block_on(async {
        let mut clients = JoinSet::new();
        let ready = Arc::new(Semaphore::new(0));
        for _ in 0..followers {
            clients.spawn(client(address, lines.clone(), begin, Arc::clone(&ready)));
        }
        let all = u32::try_from(followers)?;
        tokio::time::timeout(ARRIVAL_TIMEOUT, ready.acquire_many(all))
            .await
            .context("not all followers are let in")??
            .forget();
        let mut tick = tokio::time::interval(Duration::from_millis(1_000) / u32::try_from(RATE)?);
        let mut peak = 0.0_f64;
        for n in lines {
            tick.tick().await;
            // A typical line; the moment is taken last, just before it is sent.
            let filler = "GET /v1/things/4711 200 12ms, a line of the usual length";
            write.write(&format!("{filler} @{n}:{}@", begin.elapsed().as_micros()));
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
        tokio::time::timeout(ARRIVAL_TIMEOUT, gathered).await.context("not every line came to everybody")??;
        Ok(Followed { latencies, peak })
    })
}

/// One follower; returns each line's latency in milliseconds.
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
        // The head and the first event, which fixes the place in the log: from here on no line is missed.
        if !let_in && seen.windows(7).any(|part| part == b"retry: ") {
            if !seen.starts_with(b"HTTP/1.1 200") {
                bail!("{}", String::from_utf8_lossy(&seen));
            }
            (let_in, _) = (true, ready.add_permits(1));
        }
        // Events arrive in whole chunks, so only our own reads can cut a mark.
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
