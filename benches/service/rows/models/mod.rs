//! Rows about the AI gateway. The service gets its upstream from the environment, as the shortest way has it; its upstream
//! answers at once; every call is authenticated, counted by two budgets and recorded.

mod call;
mod million;
mod rate;
mod streams;
mod translated;

use serde_json::{Value, json};

use crate::bench::Bench;
use crate::client::Client;
use crate::load::request;
use crate::service::{KEY, Service};
use crate::stats::{Paired, Samples};
use crate::upstream::Upstream;

pub(super) use call::{call, first_token};
pub(super) use million::million;
pub(super) use rate::rate;
pub(super) use streams::streams;
pub(super) use translated::translated;

const CHAT: &str = "/v1/chat/completions";
const MESSAGES: &str = "/v1/messages";
/// Keys are checked by nobody upstream.
const UPSTREAM_KEY: &str = "sk-upstream-0123456789abcdef0123456789";

struct Rig {
    service: Service,
    upstream: Upstream,
}

impl Rig {
    fn start(bench: &mut Bench) -> anyhow::Result<Self> {
        let upstream = Upstream::start()?;
        let (openai, anthropic) = (upstream.base_url(), format!("http://{}", upstream.address()));
        let service = bench.fresh_service_in(&[
            ("OPENAI_BASE_URL", &openai),
            ("OPENAI_API_KEY", UPSTREAM_KEY),
            ("ANTHROPIC_BASE_URL", &anthropic),
            ("ANTHROPIC_API_KEY", UPSTREAM_KEY),
        ])?;
        let mut client = service.client();
        let tokens =
            json!({ "per": "organization", "unit": "tokens", "limit": 1_000_000_000_000_u64, "window": "month" });
        let requests = json!({ "per": "key", "unit": "requests", "limit": 1_000_000_000_u64, "window": "day" });
        for (name, spec) in [("bench-tokens", tokens), ("bench-requests", requests)] {
            put_budget(&mut client, name, &spec)?;
        }
        Ok(Self { service, upstream })
    }

    /// A call's bytes for our service.
    fn request(&self, path: &str, body: &str) -> Vec<u8> {
        request(self.service.address(), path, KEY, body)
    }
}

fn put_budget(client: &mut Client, name: &str, spec: &Value) -> anyhow::Result<()> {
    let answer = client.call("PUT", &format!("/v1/budgets/{name}"), spec.to_string().as_bytes())?;
    anyhow::ensure!(
        (200..300).contains(&answer.status),
        "{}: {}",
        answer.status,
        String::from_utf8_lossy(&answer.body)
    );
    Ok(())
}

/// A chat completion of a usual size. Our names of models begin with their upstream's.
fn chat(model: &str, stream: bool) -> String {
    json!({
        "model": model,
        "messages": [
            { "role": "system", "content": "You are a helpful assistant that answers in one short sentence." },
            { "role": "user", "content": "Which of the two roads leads to the village, and how long does it take on foot?" },
        ],
        "max_completion_tokens": 100,
        "stream": stream,
    })
    .to_string()
}

fn messages(model: &str) -> String {
    json!({
        "model": model,
        "system": "You are a helpful assistant that answers in one short sentence.",
        "messages": [
            { "role": "user", "content": "Which of the two roads leads to the village, and how long does it take on foot?" },
        ],
        "max_tokens": 100,
        "stream": true,
    })
    .to_string()
}

/// Ours and direct calls that took turns one by one.
struct Turns {
    paired: Paired,
    direct: Samples,
    /// The median of the blocks' differences of medians.
    more_p50: f64,
}

impl Turns {
    fn take(
        blocks: usize,
        calls: usize,
        mut ours: impl FnMut() -> anyhow::Result<f64>,
        mut direct: impl FnMut() -> anyhow::Result<f64>,
    ) -> anyhow::Result<Self> {
        for _ in 0..calls.min(50) {
            ours()?;
            direct()?;
        }
        let (mut paired, mut all, mut more) = (Paired::default(), Samples::default(), Samples::default());
        for _ in 0..blocks {
            let (mut mine, mut others) = (Samples::default(), Samples::default());
            for _ in 0..calls {
                others.push(direct()?);
                mine.push(ours()?);
            }
            more.push(mine.p50() - others.p50());
            paired.block(&mine, others.p50());
            all.extend(&others);
        }
        Ok(Self { paired, direct: all, more_p50: more.p50() })
    }

    /// The time by which ours is later at the 99th percentile of each side's calls.
    fn more_p99(&self) -> f64 {
        self.paired.ours.p99() - self.direct.p99()
    }
}
