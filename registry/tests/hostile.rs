//! Registries that are down, slow, full or hostile: every file in `tests/attack/registry` is one, with the expected
//! result. A push must end soon, say whose fault it was, and show no credential.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use cofferdam_registry::client::credentials::Credentials;
use cofferdam_registry::push::error::PushError;
use common::archive::{docker_save, layer, noise};
use common::fake::{Access, Fake, PASSWORD, Trouble, USER};
use common::{push, stream, target};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    about: String,
    #[serde(default)]
    access: Access,
    #[serde(default)]
    trouble: Vec<Trouble>,
    #[serde(default)]
    push: How,
    expect: Expect,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct How {
    /// `none`, `right` or `wrong`.
    credentials: String,
    layers_mib: Vec<usize>,
    /// The other server is configured as the registry's token service.
    token_host: bool,
    /// Nothing listens there.
    nowhere: bool,
}

impl Default for How {
    fn default() -> Self {
        Self { credentials: "right".into(), layers_mib: vec![1, 20], token_host: false, nowhere: false }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Expect {
    /// The push succeeds, and every blob arrives intact.
    works: bool,
    /// The name of a `Fault` variant.
    fault: Option<String>,
    retriable: Option<bool>,
    says: Vec<String>,
    /// Prefixes of requests, and the most that may occur.
    at_most: BTreeMap<String, usize>,
    max_ms: Option<u64>,
    min_ms: Option<u64>,
}

const CASE_TIMEOUT: Duration = Duration::from_secs(60);
/// The bounds are for a case alone; eight share the machine, and each has its own retries.
const BUSY: u32 = 10;
const AT_ONCE: usize = 8;

/// Built once for each list of sizes.
fn archive_of(layers_mib: &[usize]) -> Vec<u8> {
    static MADE: Mutex<BTreeMap<Vec<usize>, Vec<u8>>> = Mutex::new(BTreeMap::new());
    let make = || {
        let layers = (1_u64..).zip(layers_mib).map(|(seed, mib)| layer("noise", &noise(seed, mib << 20)));
        docker_save(&layers.collect::<Vec<_>>())
    };
    MADE.lock().unwrap().entry(layers_mib.to_vec()).or_insert_with(make).clone()
}

async fn run(name: &str, case: Case) -> Result<(), String> {
    let fake = Fake::start(case.access, case.trouble).await;
    let registry = if case.push.nowhere { "127.0.0.1:1".to_owned() } else { fake.address.clone() };
    let mut target = target(&registry, "team/agent:1.0");
    target.credentials = match case.push.credentials.as_str() {
        "none" => Credentials::Anonymous,
        "right" => Credentials::basic(USER, PASSWORD),
        "wrong" => Credentials::basic(USER, "wrong-never-shown"),
        other => return Err(format!("no such credentials: {other}")),
    };
    target.token_host = case.push.token_host.then(|| fake.other.clone());
    let archive = archive_of(&case.push.layers_mib);
    let started = Instant::now();
    let done = tokio::time::timeout(CASE_TIMEOUT, push(stream(archive), &target)).await;
    let took = started.elapsed();
    let done = done.map_err(|_| format!("it did not end within {CASE_TIMEOUT:?}"))?;
    let mut wrong = Vec::new();
    let shown = match &done {
        Ok(pushed) => format!("{pushed:?}"),
        Err(error) => format!("{error} {error:?} {:?}", fault(error)),
    };
    let joined = shown.replace("\\u{200b}", "").replace('\\', "");
    if ["never-shown", "aHVudGVy", "YWxpY2U6", "68756e74"].iter().any(|secret| joined.contains(secret)) {
        wrong.push(format!("it shows a credential: {shown}"));
    }
    match (&done, case.expect.works) {
        (Ok(pushed), true) => {
            let state = fake.state.lock().unwrap();
            for pushed in &pushed.layers {
                let blob = state.blobs.get(&("team/agent".to_owned(), pushed.digest));
                if blob.is_none_or(|blob| cofferdam_registry::Digest::of(blob) != pushed.digest) {
                    wrong.push(format!("{} is not there as it should be", pushed.digest));
                }
            }
            if !state.manifests.contains_key(&("team/agent".to_owned(), "1.0".to_owned())) {
                wrong.push("the tag is not there".to_owned());
            }
        }
        (Err(error), false) => {
            if case.expect.fault.is_some() && case.expect.fault != Some(fault(error)) {
                wrong.push(format!("it says that it was the fault of {}: {error}", fault(error)));
            }
            if case.expect.retriable.is_some_and(|wanted| wanted != error.is_retriable()) {
                wrong.push(format!("retriable: {}: {error}", error.is_retriable()));
            }
            if let Some(part) = case.expect.says.iter().find(|part| !error.to_string().contains(*part)) {
                wrong.push(format!("it does not say {part:?}: {error}"));
            }
            if fake.state.lock().unwrap().manifests.contains_key(&("team/agent".to_owned(), "1.0".to_owned())) {
                wrong.push("it failed, and yet there is a tag".to_owned());
            }
        }
        (Ok(_), false) => wrong.push("it worked".to_owned()),
        (Err(error), true) => wrong.push(format!("it failed: {error}")),
    }
    for (start, most) in &case.expect.at_most {
        let count = fake.requests(start);
        if count > *most {
            wrong.push(format!("{count} times {start:?}"));
        }
    }
    let leaked = fake.state.lock().unwrap().leaked.clone();
    if !case.push.token_host && !leaked.is_empty() {
        wrong.push(format!("another host was sent credentials: {leaked:?}"));
    }
    if case
        .expect
        .max_ms
        .is_some_and(|most| !cofferdam_testkit::machine::within(took, Duration::from_millis(most) * BUSY))
    {
        wrong.push(format!("it took {took:?}"));
    }
    if case.expect.min_ms.is_some_and(|least| took < Duration::from_millis(least)) {
        wrong.push(format!("it took only {took:?}"));
    }
    if wrong.is_empty() {
        return Ok(());
    }
    let log = fake.state.lock().unwrap().log.join("\n    ");
    Err(format!("{name} ({}): {}\n    {log}", case.about, wrong.join("; ")))
}

fn fault(error: &PushError) -> String {
    serde_json::to_value(error.fault()).unwrap().as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_hostile_registry() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/attack/registry");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "toml"));
    files.sort();
    let only = std::env::var("CASE").unwrap_or_default();
    let (mut failures, mut count) = (Vec::new(), 0);
    let mut running: tokio::task::JoinSet<Result<(), String>> = tokio::task::JoinSet::new();
    for path in files {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if !name.contains(&only) {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let case: Case = toml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        count += 1;
        if running.len() >= AT_ONCE {
            failures.extend(running.join_next().await.unwrap().unwrap().err());
        }
        running.spawn(async move { run(&name, case).await });
    }
    while let Some(done) = running.join_next().await {
        failures.extend(done.unwrap().err());
    }
    assert!(count >= if only.is_empty() { 25 } else { 1 }, "only {count} cases");
    assert!(failures.is_empty(), "{} of {count}:\n{}", failures.len(), failures.join("\n"));
}
