//! Plays a case against a server: sends its steps and checks the answers.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json};

use super::case::{Case, Expect, Other, Step};
use super::http::{Answer, Call};
use super::server::Server;

/// State that the steps of a case share.
struct Play<'a> {
    server: &'a Server,
    sessions: HashMap<String, String>,
    keys: HashMap<String, String>,
    saved: HashMap<String, String>,
}

/// Plays all steps; `Err` names the one that failed.
pub(crate) fn play(server: &Server, case: &Case) -> Result<(), String> {
    let (sessions, keys, saved) = Default::default();
    let mut play = Play { server, sessions, keys, saved };
    let mut result = Ok(());
    for (number, step) in case.steps.iter().enumerate() {
        result = play.step(step).map_err(|e| format!("{}\nstep {}: {e}", case.about, number + 1));
        if result.is_err() {
            break;
        }
    }
    for id in play.sessions.values() {
        let _ =
            Call::new("DELETE", format!("/v1/sessions/{id}")).header("x-api-key", &server.key).send_to(server.address);
    }
    result
}

impl Play<'_> {
    fn step(&mut self, step: &Step) -> Result<(), String> {
        std::thread::sleep(Duration::from_millis(step.wait_ms));
        let key = self.key(step.key.as_deref());
        let call = match (&step.code, &step.call) {
            (_, Some(other)) => self.other(other)?,
            (Some(_), None) => self.run(step, &key)?,
            (None, None) => return Err("nothing to send".to_owned()),
        };
        let given = call.headers.iter().any(|(name, _)| name == "x-api-key" || name == "authorization");
        let call = if given { call } else { call.header("x-api-key", key) };
        let started = Instant::now();
        let answer = match call.send_to(self.server.address) {
            Err(_) if step.expect.or_closed => return within(&step.expect, started.elapsed()),
            answer => answer?,
        };
        self.leaks(&answer)?;
        let outcome =
            if step.events { joined(&answer)? } else { serde_json::from_slice(&answer.body).unwrap_or_default() };
        self.compare(&step.expect, &answer, &outcome).map_err(|e| format!("{e}\n{}", shown(&answer)))
    }

    fn key(&mut self, name: Option<&str>) -> String {
        match name {
            None => self.server.key.clone(),
            Some(name) => self.keys.entry(name.to_owned()).or_insert_with(|| self.server.new_key(&["run"])).clone(),
        }
    }

    fn run(&mut self, step: &Step, key: &str) -> Result<Call, String> {
        let mut body = Map::new();
        if let Some(language) = &step.language {
            body.insert("language".into(), json!(language));
        }
        if let Some(code) = &step.code {
            body.insert("code".into(), json!(self.filled(&code.text()?)));
        }
        if let Some(name) = &step.session {
            let id = match self.sessions.get(name) {
                Some(id) => id.clone(),
                None => self.make_session(name, step, key)?,
            };
            body.insert("session".into(), json!(id));
        }
        let mut files = Vec::new();
        for (path, content) in &step.files {
            files.push(json!({"path": path, "content_base64": BASE64_STANDARD.encode(content.bytes()?)}));
        }
        if let Some(many) = &step.many_files {
            let text = many.text.text()?;
            let file = |n: usize| json!({"path": many.path.replace("{}", &n.to_string()), "content": text});
            files.extend((0..many.count).map(file));
        }
        if let Some(stdin) = &step.stdin {
            body.insert("stdin".into(), json!(stdin.text()?));
        }
        let given = [
            ("files", json!(files), files.is_empty()),
            ("limits", json!(step.limits), step.limits.is_empty()),
            ("env", json!(step.env), step.env.is_empty()),
            ("args", json!(step.args), step.args.is_empty()),
            ("svg", json!(true), !step.svg),
            ("grants", json!(step.grants), step.grants.is_none()),
            ("if_busy", json!(step.if_busy), step.if_busy.is_none()),
        ];
        body.extend(given.into_iter().filter(|(.., absent)| !absent).map(|(name, value, _)| (name.to_owned(), value)));
        let call = Call::new("POST", "/v1/runs").json(&Value::Object(body));
        Ok(if step.events { call.header("accept", "text/event-stream") } else { call })
    }

    fn make_session(&mut self, name: &str, step: &Step, key: &str) -> Result<String, String> {
        let body = json!({"language": step.language, "limits": step.limits});
        let call = Call::new("POST", "/v1/sessions").json(&body).header("x-api-key", key);
        let answer = call.send_to(self.server.address)?;
        let id = answer.json()["id"].as_str().map(str::to_owned);
        let id = id.ok_or_else(|| format!("the session was not made: {}", shown(&answer)))?;
        self.sessions.insert(name.to_owned(), id.clone());
        Ok(id)
    }

    fn other(&self, other: &Other) -> Result<Call, String> {
        let mut call = Call::new(&other.method, self.filled(&other.path));
        if let Some(body) = &other.body {
            call = call.body(body.bytes()?, &other.content_type);
        }
        for (name, value) in &other.headers {
            call = call.header(name, value);
        }
        call.slow = other.piece_bytes.map(|size| (size, Duration::from_millis(other.pause_ms)));
        call.raw = other.raw.as_ref().map(|raw| raw.bytes()).transpose()?;
        if let Some(raw) = &mut call.raw {
            let key = raw.windows(6).position(|w| w == b"${KEY}");
            if let Some(at) = key {
                raw.splice(at..at + 6, self.server.key.bytes());
            }
        }
        Ok(call)
    }

    /// `${name}` becomes the session's id or the saved text, `${name.id}` the id of the run whose text was saved.
    fn filled(&self, text: &str) -> String {
        self.sessions
            .iter()
            .chain(&self.saved)
            .fold(text.to_owned(), |text, (name, value)| text.replace(&format!("${{{name}}}"), value.trim_end()))
    }

    /// Texts that no answer may contain.
    fn leaks(&self, answer: &Answer) -> Result<(), String> {
        let text = answer.text();
        let data = self.server.folder.path().to_string_lossy().into_owned();
        for secret in [self.server.key.as_str(), &data, env!("CARGO_MANIFEST_DIR"), "panicked at"] {
            if text.contains(secret) {
                return Err(format!("the answer leaks {secret:?}: {}", shown(answer)));
            }
        }
        if answer.status >= 500 && answer.status != 503 {
            return Err(format!("a failure of ours: {}", shown(answer)));
        }
        Ok(())
    }

    fn compare(&mut self, expect: &Expect, answer: &Answer, outcome: &Value) -> Result<(), String> {
        match &expect.http {
            Some(http) if !http.has(&answer.status) => return Err(format!("HTTP {}, not {http:?}", answer.status)),
            None if expect.problem.is_none() && answer.status != 200 => return Err(format!("HTTP {}", answer.status)),
            _ => {}
        }
        if let Some(kinds) = &expect.problem {
            let problem: cofferdam_contract::Problem =
                serde_json::from_slice(&answer.body).map_err(|e| format!("no problem document: {e}"))?;
            if !kinds.has(&problem.kind().to_owned()) {
                return Err(format!("the problem is {:?}, not {kinds:?}", problem.kind()));
            }
            let detail = answer.check_problem(problem.kind())?;
            has_all("detail", &detail, &expect.detail)?;
        }
        outcome_matches(expect, outcome)?;
        has_all("body", &answer.text(), &expect.body_contains)?;
        let lacks: Vec<String> = expect.lacks.iter().map(|part| self.filled(part)).collect();
        lacks_all("body", &answer.text(), &lacks)?;
        within(expect, answer.took)?;
        let stdout = outcome["stdout"].as_str().unwrap_or_default();
        let kept = |name: &str| self.saved.get(name).map(String::as_str).ok_or(format!("nothing was kept as {name:?}"));
        if let Some(name) = &expect.same_as
            && kept(name)? != stdout
        {
            return Err(format!("stdout differs from {name:?}: {:?}", kept(name)?));
        }
        for name in &expect.differs_from {
            if kept(name)? == stdout {
                return Err(format!("stdout is the same as {name:?}"));
            }
        }
        if let Some(name) = &expect.save {
            self.saved.insert(name.clone(), stdout.to_owned());
            self.saved.insert(format!("{name}.id"), outcome["id"].as_str().unwrap_or_default().to_owned());
        }
        Ok(())
    }
}

fn within(expect: &Expect, took: Duration) -> Result<(), String> {
    let slow = |most| !cofferdam_testkit::machine::within(took, Duration::from_millis(most));
    if expect.max_ms.is_some_and(slow) || expect.min_ms.is_some_and(|least| took < Duration::from_millis(least)) {
        return Err(format!("it took {took:?}, not {:?} to {:?} ms", expect.min_ms, expect.max_ms));
    }
    Ok(())
}

fn outcome_matches(expect: &Expect, outcome: &Value) -> Result<(), String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if let Some(status) = &expect.status
        && !status.has(&text(&outcome["status"]))
    {
        return Err(format!("the status is {}, not {status:?}", outcome["status"]));
    }
    if expect.exit_code.is_some_and(|code| outcome["exit_code"] != json!(code)) {
        return Err(format!("the exit code is {}, not {:?}", outcome["exit_code"], expect.exit_code));
    }
    let error = &outcome["error"];
    if let Some(name) = &expect.error
        && !name.has(&text(&error["name"]))
    {
        return Err(format!("the error is {}, not {name:?}", error["name"]));
    }
    let said = format!("{}\n{}", text(&error["message"]), text(&error["traceback"]));
    has_all("error", &said, &expect.error_contains)?;
    lacks_all("error", &said, &expect.error_lacks)?;
    let (stdout, stderr) = (text(&outcome["stdout"]), text(&outcome["stderr"]));
    if let Some(exact) = &expect.stdout
        && *exact != stdout
    {
        return Err(format!("stdout is {stdout:?}, not {exact:?}"));
    }
    has_all("stdout", &stdout, &expect.stdout_contains)?;
    has_all("stderr", &stderr, &expect.stderr_contains)?;
    if expect.output_bytes_at_most.is_some_and(|most| stdout.len() + stderr.len() > most) {
        return Err(format!("{} bytes of output", stdout.len() + stderr.len()));
    }
    has_all("results", &outcome["results"].to_string(), &expect.results_contain)?;
    let results = outcome["results"].as_array().cloned().unwrap_or_default();
    if let Some(mime) = expect.mimes.iter().find(|mime| !results.iter().any(|bundle| bundle.get(mime).is_some())) {
        return Err(format!("no result has {mime}"));
    }
    let files = outcome["files"].as_array().cloned().unwrap_or_default();
    if expect.no_files && !files.is_empty() {
        return Err(format!("there are files: {:?}", files.iter().map(|f| &f["path"]).collect::<Vec<_>>()));
    }
    for (path, part) in &expect.files {
        let file = files.iter().find(|file| file["path"] == json!(path)).ok_or(format!("no file {path:?}"))?;
        let bytes = BASE64_STANDARD.decode(text(&file["content_base64"])).map_err(|e| e.to_string())?;
        has_all("the file", &String::from_utf8_lossy(&bytes), std::slice::from_ref(part))?;
    }
    Ok(())
}

fn has_all(what: &str, text: &str, parts: &[String]) -> Result<(), String> {
    parts.iter().find(|part| !text.contains(*part)).map_or(Ok(()), |part| Err(format!("{what} lacks {part:?}")))
}

fn lacks_all(what: &str, text: &str, parts: &[String]) -> Result<(), String> {
    parts.iter().find(|part| text.contains(*part)).map_or(Ok(()), |part| Err(format!("{what} has {part:?}")))
}

/// The outcome of an event stream: the `end` event with the texts and results of the others.
fn joined(answer: &Answer) -> Result<Value, String> {
    let events = answer.events();
    let Some((name, end)) = events.last() else { return Err(format!("no events: {}", shown(answer))) };
    if name != "end" {
        return Err(format!("the last event is {name:?}: {end}"));
    }
    let mut outcome = end.clone();
    for stream in ["stdout", "stderr"] {
        let texts = events.iter().filter(|(name, _)| name == stream).filter_map(|(_, data)| data["text"].as_str());
        outcome[stream] = json!(texts.collect::<String>());
    }
    let results = events.iter().filter(|(name, _)| name == "result").map(|(_, data)| data["data"].clone());
    outcome["results"] = Value::Array(results.collect());
    Ok(outcome)
}

fn shown(answer: &Answer) -> String {
    let text = answer.text();
    let short: String = text.chars().take(1_500).collect();
    format!("HTTP {} after {} ms: {short}", answer.status, answer.took.as_millis())
}
