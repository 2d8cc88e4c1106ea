//! Runs the scripts of `controller/tests/clients`: the providers' own clients, unmodified, against the scripted server and
//! against the gateway. Skips, and says so, where they are not installed.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use cofferdam_testkit::models::FakeModels;

use super::rig::{ANTHROPIC, Gateway, OPENAI};

/// A script may take this long; the clients themselves take a second or two to start.
const SCRIPT_TIMEOUT: Duration = Duration::from_secs(120);

/// Settings of one run.
pub(super) struct Ask<'a> {
    pub base: &'a str,
    pub key: &'a str,
    pub model: &'a str,
    /// Model = the exception that the client raises.
    pub errors: &'a [(&'a str, &'a str)],
    pub skip: &'a str,
}

/// The folder of the installed clients for a language.
fn installed(language: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("COFFERDAM_TEST_CLIENTS").map(|folder| PathBuf::from(folder).join(language));
    let folder = folder.filter(|folder| folder.join("complete").exists());
    if folder.is_none() {
        eprintln!("SKIPPED: the clients for {language} are not installed; scripts/with-services installs them");
    }
    folder
}

/// Runs a script with its client. Panics with what it printed if a check failed.
pub(super) async fn run(script: &str, ask: &Ask<'_>) {
    let python = Path::new(script).extension().is_some_and(|end| end == "py");
    let Some(folder) = installed(if python { "python" } else { "node" }) else { return };
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    let place = tempfile::tempdir().unwrap();
    let mut command = if python {
        let mut command = tokio::process::Command::new(folder.join("bin/python"));
        command.arg(scripts.join(script)).env("PYTHONDONTWRITEBYTECODE", "1");
        command
    } else {
        // Modules are looked for beside the script.
        std::os::unix::fs::symlink(folder.join("node_modules"), place.path().join("node_modules")).unwrap();
        for name in ["checks.mjs", script] {
            std::fs::copy(scripts.join(name), place.path().join(name)).unwrap();
        }
        let mut command = tokio::process::Command::new("node");
        command.arg(place.path().join(script));
        command
    };
    let errors: serde_json::Map<_, _> =
        ask.errors.iter().map(|(model, class)| ((*model).to_owned(), (*class).into())).collect();
    command.env("BASE", ask.base).env("KEY", ask.key).env("MODEL", ask.model).env("SKIP", ask.skip);
    command.env("ERRORS", serde_json::Value::Object(errors).to_string());
    for name in
        ["OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "HTTP_PROXY", "http_proxy"]
    {
        command.env_remove(name);
    }
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(SCRIPT_TIMEOUT, output).await.expect("the script ends in time").unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{script}:\n{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("ok "), "{script} checked nothing: {text}");
}

/// Errors of the scripted server, as a client gets them that calls it directly.
const OPENAI_ERRORS: [(&str, &str); 8] = [
    ("trouble.too-many.1", "RateLimitError"),
    ("trouble.no-money", "RateLimitError"),
    ("trouble.bad-request", "BadRequestError"),
    ("trouble.key-refused", "AuthenticationError"),
    ("trouble.page", "InternalServerError"),
    ("trouble.overloaded", "InternalServerError"),
    ("trouble.closed", "APIConnectionError"),
    ("trouble.redirect", "APIConnectionError"),
];
const ANTHROPIC_ERRORS: [(&str, &str); 6] = [
    ("trouble.too-many.1", "RateLimitError"),
    ("trouble.bad-request", "BadRequestError"),
    ("trouble.key-refused", "AuthenticationError"),
    ("trouble.page", "InternalServerError"),
    ("trouble.overloaded", "OverloadedError|InternalServerError"),
    ("trouble.closed", "APIConnectionError"),
];

async fn directly(script: &str, errors: &[(&str, &str)], skip: &str) {
    let fake = FakeModels::start().await;
    let base = fake.base();
    run(script, &Ask { base: &base, key: "sk-fake-key", model: "fake-small", errors, skip }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scripted_server_satisfies_openais_client_for_python() {
    directly("openai_chat.py", &OPENAI_ERRORS, "").await;
    directly("openai_responses.py", &OPENAI_ERRORS, "").await;
    directly("providers.py", &[], "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scripted_server_satisfies_anthropics_client_for_python() {
    directly("anthropic_messages.py", &ANTHROPIC_ERRORS, "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scripted_server_satisfies_openais_client_for_javascript() {
    directly("openai.mjs", &OPENAI_ERRORS, "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scripted_server_satisfies_anthropics_client_for_javascript() {
    directly("anthropic.mjs", &ANTHROPIC_ERRORS, "").await;
}

/// Errors of the upstreams, as a client of the gateway gets them.
const THROUGH: [(&str, &str); 7] = [
    // The second call finds the upstream's key at rest.
    ("trouble.too-many.60", "RateLimitError|OverloadedError|InternalServerError"),
    ("trouble.no-money", "RateLimitError|OverloadedError|InternalServerError"),
    ("trouble.bad-request", "BadRequestError"),
    ("trouble.key-refused", "OverloadedError|InternalServerError"),
    ("trouble.page", "OverloadedError|InternalServerError"),
    ("trouble.overloaded", "OverloadedError|InternalServerError"),
    ("trouble.redirect", "OverloadedError|InternalServerError"),
];

/// Through the gateway, with an upstream of each protocol. Errors have an upstream of their own for each, because they close
/// its breaker.
async fn through(script: &str, skip_native: &str, skip_translated: &str, native: &str) {
    for kind in [OPENAI, ANTHROPIC] {
        let mut upstreams = vec![("good".to_owned(), kind)];
        let models: Vec<String> = (0..THROUGH.len()).map(|at| format!("bad{at}/{}", THROUGH[at].0)).collect();
        upstreams.extend((0..THROUGH.len()).map(|at| (format!("bad{at}"), kind)));
        let more = "[[models.aliases]]\nname = \"small\"\nchain = [\"good/fake-small\"]\n";
        let gateway = Gateway::with(&upstreams, "", more).await;
        let (key, _) = gateway.key("client").await;
        let errors: Vec<(&str, &str)> =
            models.iter().zip(THROUGH).map(|(model, (_, class))| (model.as_str(), class)).collect();
        let skip = if kind == native { skip_native } else { skip_translated };
        let base = &gateway.app.base;
        run(script, &Ask { base, key: &key, model: "good/fake-small", errors: &errors, skip }).await;
        let records = gateway.records(1).await;
        assert!(records.values().all(|record| record.calls > 1), "{records:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn openais_client_for_python_works_through_the_gateway() {
    through("openai_chat.py", "", "embeddings", OPENAI).await;
    through("openai_responses.py", "", "", OPENAI).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn anthropics_client_for_python_works_through_the_gateway() {
    // Thinking of another provider has its proof in the signature; only its own text is checked there.
    through("anthropic_messages.py", "", "signed", ANTHROPIC).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn openais_client_for_javascript_works_through_the_gateway() {
    through("openai.mjs", "", "embeddings", OPENAI).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn anthropics_client_for_javascript_works_through_the_gateway() {
    through("anthropic.mjs", "", "", ANTHROPIC).await;
}
