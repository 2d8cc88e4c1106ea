//! The rows of the table, in its order. A row measures ours and its peer in turn and returns a finding.

mod agent_deploy;
mod cpu;
mod fork;
mod fresh;
mod gateway;
mod image_upload;
mod images;
mod inside;
mod limits;
mod live;
mod logs;
mod many_tools;
mod models;
mod session;
mod suspended;
mod throughput;
mod tool_calls;
mod tool_deploy;
mod unplugged;
mod work;

use crate::bench::Bench;
use crate::finding::Finding;

pub(crate) struct Row {
    pub name: &'static str,
    pub about: &'static str,
    pub run: fn(&mut Bench) -> anyhow::Result<Vec<Finding>>,
}

pub(crate) const ALL: &[Row] = &[
    Row { name: "python", about: "fresh Python over HTTP, one client", run: fresh::python },
    Row { name: "inside", about: "fresh Python and JavaScript inside the worker, no HTTP", run: inside::measure },
    Row { name: "pandas", about: "fresh Python with pandas over HTTP", run: fresh::pandas },
    Row { name: "plot", about: "fresh Python, a matplotlib plot as PNG over HTTP", run: fresh::plot },
    Row { name: "javascript", about: "fresh JavaScript over HTTP, one client", run: fresh::javascript },
    Row { name: "throughput", about: "runs a second with 16 clients", run: throughput::measure },
    Row { name: "session", about: "a further run in a session", run: session::measure },
    Row { name: "fork", about: "fork and resume of a session with 10 MB of state", run: fork::measure },
    Row { name: "live", about: "1,000 live sessions of each language", run: live::measure },
    Row { name: "suspended", about: "10,000 suspended sessions", run: suspended::measure },
    Row { name: "cpu", about: "micro-benchmarks against native CPython", run: cpu::measure },
    Row { name: "unplugged", about: "kill -9 of the worker under load", run: unplugged::measure },
    Row { name: "limits", about: "a thousand runs that each hit a limit", run: limits::measure },
    Row { name: "tool-call", about: "calls of a C, a JavaScript and a Python tool over HTTP", run: tool_calls::calls },
    Row { name: "deploy", about: "deployment of a 1 MB component until its first answer", run: tool_deploy::measure },
    Row { name: "mcp", about: "a tool through MCP beside REST", run: tool_calls::through_mcp },
    Row { name: "gateway", about: "requests of a tool through the gateway, a body of 1 GB", run: gateway::measure },
    Row { name: "logs", about: "1,000 followers of one busy agent's log", run: logs::measure },
    Row {
        name: "agent-deploy",
        about: "deployment of a pushed agent image until its Job is applied",
        run: agent_deploy::measure,
    },
    Row { name: "many-tools", about: "1,000 deployed tools beside 10", run: many_tools::measure },
    Row { name: "image", about: "push of an image archive, new and again, beside skopeo", run: images::measure },
    Row { name: "image-pipe", about: "push of an image of 10 GB through a pipe: its memory", run: images::pipe },
    Row {
        name: "image-upload",
        about: "upload of an image through the API beside the direct push",
        run: image_upload::measure,
    },
    Row { name: "model-call", about: "a chat completion through the AI gateway beside direct", run: models::call },
    Row { name: "model-first", about: "the first token of a stream beside direct", run: models::first_token },
    Row { name: "model-translated", about: "translated streams beside direct ones", run: models::translated },
    Row { name: "model-streams", about: "1,000 streams at once: their memory", run: models::streams },
    Row { name: "model-rate", about: "chat completions a second beside LiteLLM", run: models::rate },
    Row { name: "model-million", about: "a million chat completions: memory, records, budget", run: models::million },
    Row { name: "task-rate", about: "tasks a second beside pgbench and awa", run: work::rate },
    Row { name: "task-handout", about: "hand-out of a task after its insert", run: work::handout },
    Row { name: "task-held", about: "tasks while a transaction is held open", run: work::held },
    Row { name: "task-flood", about: "tasks of one organization while another floods", run: work::flood },
    Row { name: "task-followers", about: "5,000 followers of a thread", run: work::followers },
    Row { name: "task-sizes", about: "a million tasks, ten million messages", run: work::sizes },
    Row { name: "task-chaos", about: "tasks while processes are killed", run: work::chaos },
];
