//! Empty jobs a second through awa: CLIENTS producers, each of which inserts a job and waits until it has run.
//! Usage: awa-peer DATABASE_URL CLIENTS SECONDS. Prints the rate.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use awa::{Client, InsertOpts, JobArgs, JobResult, QueueConfig, insert_with};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

#[derive(Serialize, Deserialize, JobArgs)]
struct Empty {
    number: u64,
}

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<()>>>>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(clients), Some(seconds)) = (arguments.next(), arguments.next(), arguments.next()) else {
        return Err("usage: awa-peer DATABASE_URL CLIENTS SECONDS".into());
    };
    let (clients, seconds): (u64, u64) = (clients.parse()?, seconds.parse()?);
    let pool = sqlx::postgres::PgPoolOptions::new().max_connections(40).connect(&url).await?;
    awa::model::migrations::run(&pool).await?;
    let waiting = Waiting::default();
    let known = Arc::clone(&waiting);
    let config = QueueConfig { max_workers: 64, ..QueueConfig::default() };
    let client = Client::builder(pool.clone())
        .queue("bench", config)
        .register::<Empty, _, _>(move |job, _| {
            let waiting = known.lock().ok().and_then(|mut known| known.remove(&job.number));
            async move {
                if let Some(waiting) = waiting {
                    let _ = waiting.send(());
                }
                Ok(JobResult::Completed)
            }
        })
        .build()?;
    client.start().await?;
    let (numbers, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let begun = Instant::now();
    // The first two seconds are not counted.
    let (from, until) = (Duration::from_secs(2), Duration::from_secs(seconds + 2));
    let mut all = Vec::new();
    for _ in 0..clients {
        let (pool, waiting, numbers, done) = (pool.clone(), Arc::clone(&waiting), Arc::clone(&numbers), Arc::clone(&done));
        all.push(tokio::spawn(async move {
            while begun.elapsed() < until {
                let number = numbers.fetch_add(1, Ordering::Relaxed);
                let (send, sent) = oneshot::channel();
                if let Ok(mut known) = waiting.lock() {
                    known.insert(number, send);
                }
                let opts = InsertOpts { queue: "bench".into(), ..InsertOpts::default() };
                if insert_with(&pool, &Empty { number }, opts).await.is_err() {
                    continue;
                }
                let ran = tokio::time::timeout(Duration::from_secs(10), sent).await;
                if ran.is_ok() && begun.elapsed() > from {
                    done.fetch_add(1, Ordering::Relaxed);
                }
            }
        }));
    }
    for one in all {
        one.await?;
    }
    println!("{:.1}", done.load(Ordering::Relaxed) as f64 / seconds as f64);
    std::process::exit(0);
}
