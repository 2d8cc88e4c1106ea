//! `cofferdam:tool/call`: calls other tools through the gateway, which checks the grants.
//!
//! Looks only at the length of arguments and results.

use bindings::cofferdam::tool::call;
use bytes::Bytes;
use cofferdam_contract::{
    Problem, ToolOutcome,
    tool::{MAX_ARGUMENTS_BYTES, MAX_RESULT_BYTES},
};
use wasmtime::component::Linker;

use crate::{
    capabilities::Capability,
    sandbox::{Sandbox, SandboxView},
    wasi::HasSandbox,
};

mod bindings {
    wasmtime::component::bindgen!({
        path: "../wit/tool",
        world: "caller",
        imports: { default: trappable },
    });
}

/// The longest answer: a result plus the tool's logs.
const MAX_ANSWER: usize = 2 * MAX_RESULT_BYTES;

/// `cofferdam:tool/call`.
pub(crate) struct ToolCalls;

impl<T: SandboxView + 'static> Capability<T> for ToolCalls {
    fn imports(&self) -> &'static [&'static str] {
        &["cofferdam:tool/call@0.1.0"]
    }

    fn link(&self, linker: &mut Linker<T>) -> wasmtime::Result<()> {
        call::add_to_linker::<T, HasSandbox>(linker, T::sandbox)
    }
}

fn is_name(text: &str) -> bool {
    (1..=256).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

impl call::Host for Sandbox {
    fn call(&mut self, tool: String, function: String, arguments: String) -> wasmtime::Result<Result<String, String>> {
        let Some(gateway) = self.gateway.clone() else {
            return Ok(Err("this call has no gateway, so it cannot call tools".to_owned()));
        };
        if !is_name(&tool) || !is_name(&function) {
            return Ok(Err("names of tools and functions may contain only letters, digits and `-`".to_owned()));
        }
        if arguments.len() > MAX_ARGUMENTS_BYTES {
            return Ok(Err(format!("arguments may have at most {MAX_ARGUMENTS_BYTES} bytes")));
        }
        let path = format!("/tools/{tool}/functions/{function}");
        let asked = gateway.post(&path, Bytes::from(arguments), MAX_ANSWER);
        let answer = match self.interrupt.block_on(asked)? {
            Ok(answer) => answer,
            Err(error) => return Ok(Err(format!("the gateway could not be reached: {error}"))),
        };
        Ok(said(answer.status().is_success(), answer.body()))
    }
}

fn said(good: bool, body: &[u8]) -> Result<String, String> {
    if !good {
        let problem = serde_json::from_slice::<Problem>(body).ok();
        return Err(problem.map_or_else(|| "the gateway refused the call".to_owned(), |problem| problem.detail));
    }
    let outcome: ToolOutcome = serde_json::from_slice(body).map_err(|e| e.to_string())?;
    match (outcome.error, outcome.result) {
        (Some(error), _) => Err(format!("{}: {}", error.name, error.message)),
        (None, Some(result)) => Ok(result.get().to_owned()),
        (None, None) => Ok("null".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use http::Response;

    use super::{call::Host as _, *};
    use crate::{
        testing::{full, reading},
        wasi::tests::sandbox as bare,
    };

    #[test]
    fn calls_go_to_the_gateway_and_what_it_says_comes_back() {
        let mut sandbox = bare();
        let call = |sandbox: &mut Sandbox, function: &str, arguments: &str| {
            sandbox.call("other".to_owned(), function.to_owned(), arguments.to_owned()).unwrap()
        };
        assert!(call(&mut sandbox, "f", "{}").unwrap_err().contains("no gateway"));
        sandbox.set_gateway(reading(|request| {
            let outcome = |rest: &str| {
                let usage = r#""usage":{"wall_ms":1,"cpu_ms":1,"memory_peak_bytes":1}"#;
                full(format!(r#"{{"id":"run_00000000000000000000000000","status":"ok",{rest}{usage}}}"#))
            };
            let answer = match request.uri().path() {
                "/tools/other/functions/f" if request.body() == "{\"a\":1}" => outcome(r#""result":[1, 2],"#),
                "/tools/other/functions/nothing" => outcome(""),
                "/tools/other/functions/fails" => {
                    outcome(r#""error":{"name":"ToolError","message":"oops","traceback":""},"#)
                }
                "/tools/other/functions/odd" => full("{"),
                _ => {
                    let problem = Problem::denied("No grant covers it.");
                    let mut refusal = Response::new(full(serde_json::to_vec(&problem).unwrap()));
                    *refusal.status_mut() = http::StatusCode::FORBIDDEN;
                    return refusal;
                }
            };
            Response::new(answer)
        }));
        assert_eq!(call(&mut sandbox, "f", r#"{"a":1}"#).as_deref(), Ok("[1, 2]"));
        assert_eq!(call(&mut sandbox, "nothing", "{}").as_deref(), Ok("null"));
        assert_eq!(call(&mut sandbox, "fails", "{}").unwrap_err(), "ToolError: oops");
        assert_eq!(call(&mut sandbox, "g", "{}").unwrap_err(), "No grant covers it.");
        assert!(call(&mut sandbox, "odd", "{}").is_err());
        for name in ["", "a/b", "..", "a b", &"x".repeat(257)] {
            assert!(call(&mut sandbox, name, "{}").unwrap_err().contains("letters"), "{name}");
        }
        let long = "x".repeat(MAX_ARGUMENTS_BYTES + 1);
        assert!(call(&mut sandbox, "f", &long).unwrap_err().contains("at most"));
    }
}
