//! Many clients that follow one thread: the time from an event's making until each of them has it.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{AGENT, Rig, ask};
use crate::bench::Bench;
use crate::finding::{Finding, Unit};
use crate::process::enough_files;
use crate::service::KEY;
use crate::stats::Samples;

const FOLLOWERS: usize = 5_000;
const BOUND_MS: f64 = 50.0;

fn now_ms() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64() * 1e3)
}

pub(in crate::rows) fn followers(bench: &mut Bench) -> anyhow::Result<Vec<Finding>> {
    enough_files();
    let (followers, tasks) = (bench.times(FOLLOWERS), bench.times(30));
    let rig = Rig::start(bench)?;
    let mut client = rig.service.client();
    let task = ask(&mut client, AGENT)?;
    let thread = task.get("thread_id").and_then(Value::as_str).context("no thread")?.to_owned();
    let about = client.call("GET", &format!("/v1/threads/{thread}"), &[])?.json()?;
    let last = about.get("last_event").and_then(Value::as_u64).context("no last_event")?;
    let address = rig.service.address();
    let request = format!(
        "GET /v1/threads/{thread}/events HTTP/1.1\r\nhost: {address}\r\nx-api-key: {KEY}\r\naccept: text/event-stream\r\n\
         last-event-id: {last}\r\n\r\n"
    );
    let (open, opened) = std::sync::mpsc::channel();
    let (done, ended) = tokio::sync::watch::channel(false);
    let reading = std::thread::spawn(move || {
        Builder::new_current_thread().enable_all().build()?.block_on(async move {
            let (request, room) = (Arc::<[u8]>::from(request.as_bytes()), Arc::new(Semaphore::new(64)));
            let mut all = JoinSet::new();
            for _ in 0..followers {
                all.spawn(follow(address, Arc::clone(&request), Arc::clone(&room), open.clone(), ended.clone()));
            }
            drop(open);
            let mut sum = (Samples::default(), 0_usize);
            while let Some(one) = all.join_next().await {
                let (late, events) = one??;
                sum.0.extend(&late);
                sum.1 += events;
            }
            anyhow::Ok(sum)
        })
    });
    for _ in 0..followers {
        opened.recv_timeout(Duration::from_secs(60)).context("a follower did not open its stream")?;
    }
    for number in 0..tasks {
        let body = json!({ "input": format!("Add again, {number}."), "thread": thread });
        let answer = client.post(&format!("/v1/agents/{AGENT}/invoke"), body.to_string().as_bytes())?.json()?;
        anyhow::ensure!(answer.get("status") == Some(&json!("completed")), "{answer}");
        std::thread::sleep(Duration::from_millis(300));
    }
    let about = client.call("GET", &format!("/v1/threads/{thread}"), &[])?.json()?;
    let made = about.get("last_event").and_then(Value::as_u64).context("no last_event")? - last;
    std::thread::sleep(Duration::from_secs(2));
    done.send_replace(true);
    let (late, events) = reading.join().map_err(|_| anyhow::anyhow!("the followers broke off"))??;
    let wanted = made as usize * followers;
    Ok(vec![
        Finding::new("task-followers", format!("an event to each of {followers} followers of a thread"), Unit::Ms)
            .target(&format!("p99 at most {BOUND_MS} ms, none lost"))
            .ours(&late)
            .at_most("p99", Unit::Ms, late.p99(), BOUND_MS)
            .at_most("lost", Unit::Count, wanted.saturating_sub(events) as f64, 0.0)
            .add(&format!(
                "{made} events to each, {events} in all, timed from the time that is in the event, which is before it is stored; \
                 the followers share the processors with the service."
            )),
    ])
}

/// Reads a stream until the end is told; the lateness of its events and their number.
async fn follow(
    address: std::net::SocketAddr,
    request: Arc<[u8]>,
    room: Arc<Semaphore>,
    open: std::sync::mpsc::Sender<()>,
    mut ended: tokio::sync::watch::Receiver<bool>,
) -> anyhow::Result<(Samples, usize)> {
    let place = room.acquire_owned().await?;
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(&request).await?;
    let mut seen = Vec::with_capacity(4 << 10);
    while !seen.windows(4).any(|four| four == b"\r\n\r\n") {
        if stream.read_buf(&mut seen).await? == 0 {
            bail!("no stream: {}", String::from_utf8_lossy(&seen));
        }
    }
    anyhow::ensure!(seen.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&seen));
    drop(place);
    let _ = open.send(());
    let (mut late, mut events) = (Samples::default(), 0);
    loop {
        while let Some(end) = seen.windows(2).position(|two| two == b"\n\n") {
            let event: Vec<u8> = seen.drain(..end + 2).collect();
            let text = String::from_utf8_lossy(&event);
            if !text.contains("data:") {
                continue;
            }
            events += 1;
            let at = text.split_once("\"time\":\"").and_then(|(_, rest)| rest.split('"').next());
            if let Some(moment) = at.and_then(|text| text.parse::<jiff::Timestamp>().ok()) {
                late.push(now_ms() - moment.as_millisecond() as f64);
            }
        }
        tokio::select! {
            read = stream.read_buf(&mut seen) => if read? == 0 { bail!("a stream ended early"); },
            _ = ended.changed() => return Ok((late, events)),
        }
    }
}
