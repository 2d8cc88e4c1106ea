//! The gateway's overhead on an allowed request, compared with the same request sent to the server directly; and the
//! memory that a body of a gigabyte takes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::bench::Bench;
use crate::client::Client;
use crate::finding::{Finding, Unit};
use crate::process::private_mib;
use crate::service::Service;
use crate::stats::{Paired, Samples};
use crate::tools::{Call, deploy, fetcher};

const POLICY: &str = "version: '1.0'\nnetwork:\n  private: [127.0.0.0/8]\n";
const SMALL_PATH: &str = "/small";
const BODY: &[u8] = b"hello";
/// Bytes of the large body.
const LARGE_BYTES: u64 = 1 << 30;
/// Requests per call.
const REQUESTS_PER_CALL: usize = 20;
const MAX_OVERHEAD_MS: f64 = 1.0;
/// The allowed growth of all processes' private memory, in MiB: buffers, and noise.
const MAX_GROWTH_MIB: f64 = 24.0;

/// A server on loopback that answers at once, for as long as this process lives.
fn server() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().filter_map(Result::ok) {
            // A client that goes away is no failure of ours.
            thread::spawn(move || drop(answer(stream)));
        }
    });
    Ok(address)
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut seen, mut chunk) = (Vec::new(), vec![0_u8; 64 << 10]);
    loop {
        let end = loop {
            match seen.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None => match stream.read(&mut chunk)? {
                    0 => return Ok(()),
                    count => seen.extend_from_slice(chunk.get(..count).unwrap_or_default()),
                },
            }
        };
        let small = seen.starts_with(format!("GET {SMALL_PATH} ").as_bytes());
        seen.drain(..end);
        let length = if small { BODY.len() as u64 } else { LARGE_BYTES };
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: {length}\r\n\r\n");
        if small {
            stream.write_all(&[head.as_bytes(), BODY].concat())?;
        } else {
            stream.write_all(head.as_bytes())?;
            for _ in 0..LARGE_BYTES / chunk.len() as u64 {
                stream.write_all(&chunk)?;
            }
        }
    }
}

pub(super) fn measure(bench: &mut Bench) -> anyhow::Result<Vec<Finding>> {
    let blocks = bench.times(60);
    let component = fetcher()?;
    let service = bench.fresh_service_with(Some(POLICY))?;
    let upstream = server()?;
    let mut client = service.client();
    let grant = json!({ "host": upstream.to_string(), "max_response_bytes": 2 * LARGE_BYTES, "timeout_ms": 120_000 });
    deploy(&mut client, "fetch", &component, &json!({ "http": [grant] }))?;
    let fetch = |path: &str, times: usize, bytes: u64| {
        let arguments = json!({ "authority": upstream.to_string(), "path": path, "times": times });
        Call::new("fetch", "fetch", &arguments, json!(bytes))
    };
    let small = overhead(&mut client, blocks, upstream, &fetch)?;
    Ok(vec![small, large(&service, &mut client, &fetch("/large", 1, LARGE_BYTES))?])
}

fn overhead(
    client: &mut Client,
    blocks: usize,
    upstream: SocketAddr,
    fetch: &impl Fn(&str, usize, u64) -> Call,
) -> anyhow::Result<Finding> {
    let (none, some) =
        (fetch(SMALL_PATH, 0, 0), fetch(SMALL_PATH, REQUESTS_PER_CALL, (REQUESTS_PER_CALL * BODY.len()) as u64));
    let mut direct = Client::new(upstream, "");
    for _ in 0..3 {
        some.time(client)?;
    }
    let (mut paired, mut more) = (Paired::default(), Samples::default());
    for _ in 0..blocks {
        let alone = (0..REQUESTS_PER_CALL)
            .map(|_| Ok(direct.call("GET", SMALL_PATH, &[])?.ms))
            .collect::<anyhow::Result<Samples>>()?;
        // The cost of the call itself is excluded.
        let around = (0..3).map(|_| none.time(client)).collect::<anyhow::Result<Samples>>()?.p50();
        let each = (some.time(client)? - around) / REQUESTS_PER_CALL as f64;
        more.push(each - alone.p50());
        paired.block(&[each].into_iter().collect(), alone.p50());
    }
    let more = more.p50();
    Ok(Finding::new("gateway", "a tool's allowed request to a server on loopback, through the gateway", Unit::Ms)
        .target(&format!("p50 at most {MAX_OVERHEAD_MS} ms more than without"))
        .paired("directly", &paired)
        .at_most("beyond a direct request", Unit::Ms, more, MAX_OVERHEAD_MS)
        .add(&format!(
            "Each of ours is a call that makes {REQUESTS_PER_CALL} requests one after the other, less one that makes none, by {REQUESTS_PER_CALL}; \
             directly is the same request by this program over a kept connection. The median request takes {more:.3} ms more."
        )))
}

/// Sends a gigabyte from the server through the gateway into a tool, and measures the processes' memory meanwhile.
fn large(service: &Service, client: &mut Client, call: &Call) -> anyhow::Result<Finding> {
    let pids = [service.pid(), service.tool_worker()?, service.worker()?];
    let together = || pids.iter().map(|pid| private_mib(*pid)).sum::<anyhow::Result<f64>>();
    let before = together()?;
    let stop = AtomicBool::new(false);
    let started = Instant::now();
    let (called, held) = thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut held = Samples::default();
            while !stop.load(Ordering::Relaxed) {
                held.push(together()?);
                thread::sleep(Duration::from_millis(20));
            }
            anyhow::Ok(held)
        });
        let called = call.time(client);
        stop.store(true, Ordering::Relaxed);
        (called, watcher.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the watcher broke off"))))
    });
    called?;
    let (took, held) = (started.elapsed().as_secs_f64(), held?);
    let (most, looks) = (held.quantile(1.0) - before, held.len());
    anyhow::ensure!(looks >= 5, "only {looks} looks at the memory");
    let mib = LARGE_BYTES as f64 / 1_048_576.0;
    Ok(Finding::new("gateway", "private memory while a body of 1 GiB streams through the gateway, beyond before", Unit::Mib)
        .target("flat")
        .figure(most.max(0.0))
        .at_most("private memory", Unit::Mib, most, MAX_GROWTH_MIB)
        .add(&format!(
            "Service and workers together, {looks} looks: {before:.1} MiB before, at most {:.1} MiB meanwhile; {took:.1} s, \
             {:.0} MiB/s.",
            before + most.max(0.0),
            mib / took
        )))
}
