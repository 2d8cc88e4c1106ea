//! Rows about agents at work. PostgreSQL, the service, the model and the clients share the processors; the model answers at
//! once and asks for one call of a Wasm tool.

mod chaos;
mod flood;
mod followers;
mod handout;
mod held;
mod rate;
mod sizes;

use anyhow::Context;
use serde_json::{Value, json};

use crate::bench::Bench;
use crate::client::Client;
use crate::load::request;
use crate::postgres::Postgres;
use crate::service::{KEY, Service};
use crate::tools::{adder, deploy};
use crate::upstream::Upstream;

pub(super) use chaos::chaos;
pub(super) use flood::flood;
pub(super) use followers::followers;
pub(super) use handout::handout;
pub(super) use held::held;
pub(super) use rate::rate;
pub(super) use sizes::sizes;

const UPSTREAM_KEY: &str = "sk-upstream-0123456789abcdef0123456789";
const AGENT: &str = "bench-agent";

struct Rig {
    // In the order in which they stop.
    service: Service,
    _upstream: Upstream,
    postgres: Postgres,
}

impl Rig {
    fn start(bench: &mut Bench) -> anyhow::Result<Self> {
        let (postgres, upstream) = (Postgres::start()?, Upstream::start()?);
        let service = bench.fresh_service_in(&[
            ("DATABASE_URL", &postgres.url()),
            ("OPENAI_BASE_URL", &upstream.base_url()),
            ("OPENAI_API_KEY", UPSTREAM_KEY),
        ])?;
        let mut client = service.client();
        deploy(&mut client, "bench-adder", &adder("work")?, &json!({}))?;
        make_agent(&mut client, AGENT, "openai/calls", &json!(["bench-adder"]))?;
        Ok(Self { service, _upstream: upstream, postgres })
    }

    fn invoke(&self, agent: &str) -> Vec<u8> {
        self.invoke_as(KEY, agent)
    }

    fn invoke_as(&self, key: &str, agent: &str) -> Vec<u8> {
        let path = format!("/v1/agents/{agent}/invoke");
        request(self.service.address(), &path, key, &json!({ "input": "How much is two and three?" }).to_string())
    }
}

fn make_agent(client: &mut Client, id: &str, model: &str, tools: &Value) -> anyhow::Result<()> {
    let agent = json!({ "id": id, "name": id, "instructions": "Add with the tool, then answer.", "model": model, "tools": tools });
    client.post("/v1/agents", agent.to_string().as_bytes())?.json().with_context(|| format!("making {id}"))?;
    Ok(())
}

/// Asks the agent once and checks that it made its tool call.
fn ask(client: &mut Client, agent: &str) -> anyhow::Result<Value> {
    let answer = client.post(&format!("/v1/agents/{agent}/invoke"), br#"{"input": "How much is two and three?"}"#)?;
    let task = answer.json()?;
    anyhow::ensure!(task.get("status") == Some(&json!("completed")), "the task did not end well: {task}");
    Ok(task)
}
