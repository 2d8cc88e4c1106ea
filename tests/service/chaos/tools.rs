//! Calls of a tool that asks the upstream with its organization's secret: over REST, over MCP, from a snippet.

use std::time::Instant;

use serde_json::{Value, json};

use super::client::Client;
use super::judge::{DISTURBED, Judged, outcome_said, parsed, settled, shown, upstream_said};
use super::kills::Kind;
use super::rig::TOOL;
use crate::support::{Answer, Call};

impl Client<'_> {
    fn owner(&self) -> &'static str {
        self.rig.keys[self.key].organization_name()
    }

    fn arguments(&self, token: &str) -> Value {
        json!({"authority": self.rig.upstream.address.to_string(), "path": format!("/who?token={token}&key=")})
    }

    /// True if a worker of either kind was dead or coming back.
    fn any_disturbed(&self, from: Instant) -> bool {
        [Kind::Snippets, Kind::Tools].iter().any(|kind| self.rig.kills.disturbed(*kind, from))
    }

    /// A call of MCP; returns its result and the answer to show.
    fn mcp(&mut self, method: &str, params: Value) -> Result<(Value, Answer), String> {
        let id = self.random.below(1 << 40);
        let body = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        let call = Call::new("POST", "/mcp").json(&body).header("accept", "application/json, text/event-stream");
        let answer = self.send(call.header("mcp-protocol-version", "2025-06-18"))?;
        if answer.status != 200 {
            return Err(shown(&answer));
        }
        let message = parsed(&answer)?;
        match message["id"] == json!(id) && message["result"].is_object() {
            true => Ok((message["result"].clone(), answer)),
            false => Err(format!("no result: {}", shown(&answer))),
        }
    }

    /// A call of a tool over MCP. `None` if it says that the worker was lost, and one was killed.
    fn mcp_tool(&mut self, kind: Kind, name: &str, arguments: &Value) -> Result<Option<(Value, Answer)>, String> {
        let from = Instant::now();
        let (result, answer) = self.mcp("tools/call", json!({"name": name, "arguments": arguments}))?;
        if result["isError"] != true {
            return Ok(Some((result, answer)));
        }
        let text = result["content"][0]["text"].as_str().unwrap_or_default();
        let lost = ["The worker was lost", "Not ready"].iter().any(|title| text.starts_with(title));
        match lost && self.rig.kills.disturbed(kind, from) {
            true => Ok(None),
            false => Err(shown(&answer)),
        }
    }
}

pub(super) fn call(client: &mut Client<'_>) -> Judged {
    let (token, from) = (client.token(), Instant::now());
    let call = Call::new("POST", format!("/v1/tools/{TOOL}/functions/ask")).json(&client.arguments(&token));
    let answer = client.send(call)?;
    let Some(answer) = settled(client.rig, Kind::Tools, from, answer, &[200])? else { return Ok(DISTURBED) };
    let outcome = parsed(&answer)?;
    // A worker that has just come back may not have its way to the gateway yet.
    if outcome["status"] == "error" && client.rig.kills.disturbed(Kind::Tools, from) {
        return Ok("no-way-yet");
    }
    if outcome["status"] != "ok" {
        return Err(shown(&answer));
    }
    upstream_said(outcome["result"].as_str().unwrap_or_default(), client.owner(), &token)?;
    Ok("ok")
}

pub(super) fn from_snippet(client: &mut Client<'_>) -> Judged {
    let (token, from) = (client.token(), Instant::now());
    let arguments = client.arguments(&token);
    let code = format!(
        "from host import tools\nprint(tools.{TOOL}(authority={}, path={}), end='')",
        arguments["authority"], arguments["path"]
    );
    let body = json!({"language": "python", "code": code, "grants": {"tools": [TOOL]}});
    let Some(answer) = client.ran(&body)? else { return Ok(DISTURBED) };
    let outcome = parsed(&answer)?;
    if outcome["status"] == "error" && client.any_disturbed(from) {
        return Ok("no-way-yet");
    }
    if outcome["status"] != "ok" {
        return Err(shown(&answer));
    }
    upstream_said(outcome["stdout"].as_str().unwrap_or_default(), client.owner(), &token)?;
    Ok("ok")
}

pub(super) fn mcp_initialize(client: &mut Client<'_>) -> Judged {
    let hello =
        json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}});
    let (result, answer) = client.mcp("initialize", hello)?;
    if result["serverInfo"]["name"] == "cofferdam" { Ok("ok") } else { Err(shown(&answer)) }
}

pub(super) fn mcp_list(client: &mut Client<'_>) -> Judged {
    let (result, answer) = client.mcp("tools/list", json!({}))?;
    let names: Vec<&str> =
        result["tools"].as_array().into_iter().flatten().filter_map(|t| t["name"].as_str()).collect();
    if names == ["run_code", TOOL] { Ok("ok") } else { Err(format!("{names:?}: {}", shown(&answer))) }
}

pub(super) fn mcp_run(client: &mut Client<'_>) -> Judged {
    let token = client.token();
    let arguments = json!({"language": "python", "code": format!("print('{token}')")});
    let Some((result, answer)) = client.mcp_tool(Kind::Snippets, "run_code", &arguments)? else { return Ok(DISTURBED) };
    let outcome = &result["structuredContent"];
    outcome_said(outcome, &format!("{token}\n")).map_err(|why| format!("{why}: {}", shown(&answer)))?;
    Ok("ok")
}

pub(super) fn mcp_call(client: &mut Client<'_>) -> Judged {
    let (token, from) = (client.token(), Instant::now());
    let arguments = client.arguments(&token);
    match client.mcp_tool(Kind::Tools, TOOL, &arguments) {
        Ok(Some((result, _))) => {
            let text = result["structuredContent"]["result"].as_str().unwrap_or_default();
            upstream_said(text, client.owner(), &token)?;
            Ok("ok")
        }
        Ok(None) => Ok(DISTURBED),
        Err(why) if why.contains("Trap") && client.rig.kills.disturbed(Kind::Tools, from) => Ok("no-way-yet"),
        Err(why) => Err(why),
    }
}
