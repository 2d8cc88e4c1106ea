//! Tools for the rows: components built by `make examples` or here from text, deployed and called.

use std::path::Path;
use std::process::Command;

use anyhow::Context;
use serde_json::{Value, json};

use crate::bench::root;
use crate::client::Client;
use crate::service::{program, scratch};

/// The folder of the components that `make examples` has built.
pub(crate) fn example(name: &str) -> anyhow::Result<Vec<u8>> {
    let path = root().join("target").join("examples").join(format!("{name}.wasm"));
    std::fs::read(path).with_context(|| format!("target/examples/{name}.wasm is missing; `make examples` makes it"))
}

/// `add: func(a: s32, b: s32) -> s32`. `mark` is in an ignored section and makes the component unique.
pub(crate) fn adder(mark: &str) -> anyhow::Result<Vec<u8>> {
    let text = format!(
        r#"(component
          (@custom "mark" "{mark}")
          (core module $m
            (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1))))
          (core instance $i (instantiate $m))
          (func (export "add") (param "a" s32) (param "b" s32) (result s32) (canon lift (core func $i "add"))))"#
    );
    Ok(wat::parse_str(text)?)
}

/// A component that fetches (`code/fetch.wat`), built the way an author would: `cofferdam tool wrap`.
pub(crate) fn fetcher() -> anyhow::Result<Vec<u8>> {
    let folder = scratch()?;
    let wit = folder.path().join("wit");
    copy(&root().join("wit").join("deps"), &wit.join("deps"))?;
    std::fs::write(wit.join("fetch.wit"), include_str!("code/fetch.wit"))?;
    let (module, out) = (folder.path().join("fetch.core.wasm"), folder.path().join("fetch.wasm"));
    std::fs::write(&module, wat::parse_str(include_str!("code/fetch.wat"))?)?;
    let mut command = Command::new(program());
    command.args(["tool", "wrap"]).arg(&module).arg("--wit").arg(&wit).arg("--output").arg(&out);
    let output = command.output().context("`cofferdam tool wrap`")?;
    anyhow::ensure!(output.status.success(), "`tool wrap`: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(std::fs::read(out)?)
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        std::fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

/// Deploys it; returns the milliseconds that it took.
pub(crate) fn deploy(client: &mut Client, name: &str, component: &[u8], grants: &Value) -> anyhow::Result<f64> {
    let grants: String = grants.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect();
    let path = format!("/v1/tools/{name}?grants={grants}");
    let answer = client.call_with("PUT", &path, "content-type: application/wasm\r\n", component)?;
    answer.json().with_context(|| format!("deploying {name}"))?;
    Ok(answer.ms)
}

/// A call over REST that can be repeated.
pub(crate) struct Call {
    path: String,
    body: Vec<u8>,
    result: Value,
}

impl Call {
    pub(crate) fn new(tool: &str, function: &str, arguments: &Value, result: Value) -> Self {
        let path = format!("/v1/tools/{tool}/functions/{function}");
        Self { path, body: arguments.to_string().into_bytes(), result }
    }

    /// A call of [`adder`].
    pub(crate) fn add(tool: &str) -> Self {
        Self::new(tool, "add", &json!({ "a": 2, "b": 3 }), json!(5))
    }

    /// Calls it and asserts the result; returns milliseconds.
    pub(crate) fn time(&self, client: &mut Client) -> anyhow::Result<f64> {
        let answer = client.post(&self.path, &self.body)?;
        let outcome = answer.json()?;
        anyhow::ensure!(outcome.get("result") == Some(&self.result), "not {}: {outcome}", self.result);
        Ok(answer.ms)
    }
}

/// Sends one request over MCP; returns its `result` and milliseconds.
pub(crate) fn mcp(client: &mut Client, body: &[u8]) -> anyhow::Result<(Value, f64)> {
    const LINES: &str = "content-type: application/json\r\naccept: application/json, text/event-stream\r\n\
                         mcp-protocol-version: 2025-06-18\r\n";
    let answer = client.call_with("POST", "/mcp", LINES, body)?;
    let mut message = answer.json()?;
    let result = message.get_mut("result").map(Value::take);
    Ok((result.with_context(|| format!("no result: {message}"))?, answer.ms))
}

pub(crate) fn mcp_body(method: &str, params: &Value) -> Vec<u8> {
    json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string().into_bytes()
}
