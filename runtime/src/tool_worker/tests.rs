//! Calls of a component in text form, on this thread, with tools that behave and tools that do not.

use std::sync::OnceLock;

use cofferdam_contract::{ExportPath, Grants, LimitName, Limits, RunId, Status, ToolCall, ToolOutcome};
use cofferdam_host_api::{Capabilities, Interrupt};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::routes::carry_out;
use super::*;
use crate::tool;

mod folder;
mod large;
mod wire;

const TOOL: &str = r#"(component
    (core module $m
        (memory (export "memory") 1)
        (data (i32.const 0) "\01\00\00\00\10\00\00\00\04\00\00\00")
        (data (i32.const 16) "oops")
        (data (i32.const 32) "\00\00\00\00\00\00\40\00")
        (global $calls (mut i32) (i32.const 0))
        (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
        (func (export "count") (result i32)
            (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
            (i32.store (i32.const 64) (i32.add (i32.load (i32.const 64)) (i32.const 1)))
            (i32.add (global.get $calls) (i32.load (i32.const 64))))
        (func (export "fail") (result i32) (i32.const 0))
        (func (export "spin") (loop (br 0)))
        (func $deep (export "deep") (result i32) (i32.add (call $deep) (i32.const 1)))
        (func (export "eat") (loop (br_if 0 (i32.ne (memory.grow (i32.const 64)) (i32.const -1)))) unreachable)
        (func (export "break") unreachable)
        (func (export "flood") (result i32)
            (drop (memory.grow (i32.const 256))) (i32.const 32)))
    (core instance $i (instantiate $m))
    (func (export "add") (param "a" u8) (param "b" u32) (result u32) (canon lift (core func $i "add")))
    (func (export "count") (result u32) (canon lift (core func $i "count")))
    (func (export "fail") (result (result u32 (error string))) (canon lift (core func $i "fail") (memory (core memory $i "memory"))))
    (func (export "spin") (canon lift (core func $i "spin")))
    (func (export "deep") (result u32) (canon lift (core func $i "deep")))
    (func (export "eat") (canon lift (core func $i "eat")))
    (func (export "break") (canon lift (core func $i "break")))
    (func (export "flood") (result (list u32)) (canon lift (core func $i "flood") (memory (core memory $i "memory"))))
)"#;

struct Bench {
    worker: Arc<ToolWorker>,
    runtime: Runtime,
    _cache: TempDir,
}

fn bench() -> &'static Bench {
    static BENCH: OnceLock<Bench> = OnceLock::new();
    BENCH.get_or_init(|| {
        let cache = tempfile::tempdir().unwrap();
        let config = ToolWorkerConfig {
            cache_dir: cache.path().to_owned(),
            max_calls: 2,
            max_waiting: 1,
            confine: false,
            ..ToolWorkerConfig::default()
        };
        let (engine, components) = load(&config).unwrap();
        start_ticker(&engine, watch::look).unwrap();
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.thread_stack_size(THREAD_STACK).enable_all().build().unwrap();
        let worker = Arc::new(ToolWorker::new(config, components, runtime.handle().clone()));
        Bench { worker, runtime, _cache: cache }
    })
}

/// Compiles a component and returns its digest.
fn deployed(text: &str) -> String {
    deployed_bytes(&wat::parse_str(text).unwrap())
}

fn deployed_bytes(bytes: &[u8]) -> String {
    let digest = format!("sha256:{}", hex::encode(Sha256::digest(bytes)));
    let cache_dir = bench().worker.config.cache_dir.clone();
    let job = tool::compile::Job { cache_dir, digest: digest.clone(), confine: false };
    assert_eq!(tool::compile(&job, &mut &bytes[..]).unwrap().digest, digest);
    digest
}

fn the_tool() -> String {
    static TOOL_DIGEST: OnceLock<String> = OnceLock::new();
    TOOL_DIGEST.get_or_init(|| deployed(TOOL)).clone()
}

fn to_call(digest: &str, function: Option<&str>, arguments: &str) -> ToolCall {
    ToolCall {
        id: RunId::from_random(7),
        tool: "test".to_owned(),
        digest: digest.to_owned(),
        export: function.map(|name| ExportPath { interface: None, function: name.to_owned() }),
        arguments: RawValue::from_string(arguments.to_owned()).unwrap(),
        limits: Limits { wall_ms: 5_000, memory_bytes: 32 << 20, ..Limits::DEFAULT },
        grants: Grants::default(),
        env: Default::default(),
        token: None,
        depth: 0,
    }
}

/// Carries out a call like the server, on a thread with the same stack size.
fn carried(call: ToolCall, interrupt: Interrupt) -> Result<ToolOutcome, Error> {
    let bench = bench();
    let work = move || carry_out(&bench.worker, call, interrupt).map(|(outcome, _)| outcome);
    let work = bench.runtime.spawn_blocking(work);
    bench.runtime.block_on(work).unwrap()
}

fn call(function: &str, arguments: &str) -> Result<ToolOutcome, Error> {
    let call = to_call(&the_tool(), Some(function), arguments);
    let deadline = std::time::Instant::now() + Duration::from_millis(call.limits.wall_ms);
    carried(call, Interrupt::new(Some(deadline)))
}

fn error(outcome: &ToolOutcome) -> (Status, &str, &str) {
    let error = outcome.error.as_ref().unwrap();
    (outcome.status, &error.name, &error.message)
}

#[test]
fn a_function_returns_and_every_call_is_fresh() {
    let outcome = call("add", r#"{"a": 40, "b": 2}"#).unwrap();
    assert_eq!((outcome.status, outcome.result.unwrap().get()), (Status::Ok, "42"));
    assert!(outcome.usage.memory_peak_bytes == 64 << 10 && outcome.usage.wall_ms > Duration::ZERO);
    for _ in 0..3 {
        assert_eq!(call("count", "{}").unwrap().result.unwrap().get(), "2", "globals and memory are as at the start");
    }
}

#[test]
fn what_the_caller_does_wrong_is_a_problem() {
    for (function, arguments, kind, word) in [
        ("add", r#"{"a": 300, "b": 2}"#, "invalid-request", "arguments.a"),
        ("add", r#"{"a": 1}"#, "invalid-request", "arguments.b"),
        ("add", "[]", "invalid-request", "arguments"),
        ("minus", "{}", "not-found", "function"),
    ] {
        let problem = call(function, arguments).unwrap_err().to_problem();
        assert!(problem.kind() == kind && problem.detail.contains(word), "{arguments}: {problem:?}");
    }
    for digest in [format!("sha256:{}", "0".repeat(64)), "sha256:../../etc/passwd".to_owned(), String::new()] {
        let missing = carried(to_call(&digest, None, "{}"), Interrupt::default()).unwrap_err().to_problem();
        assert_eq!(missing.kind(), "component-missing", "{digest}");
    }
}

#[test]
fn what_the_tool_does_wrong_is_an_outcome() {
    let failed = call("fail", "{}").unwrap();
    assert_eq!(error(&failed), (Status::Error, "ToolError", "oops"));
    let trapped = call("break", "{}").unwrap();
    assert_eq!((trapped.status, trapped.error.as_ref().unwrap().name.as_str()), (Status::Error, "Trap"));
    assert!(trapped.error.unwrap().message.contains("unreachable"));
}

#[test]
fn limits_stop_it() {
    let name = |limit: LimitName| limit.as_str();
    let eaten = call("eat", "{}").unwrap();
    assert_eq!(error(&eaten).1, name(LimitName::MemoryBytes));
    assert!(eaten.usage.memory_peak_bytes <= 32 << 20);
    let deep = call("deep", "{}").unwrap();
    assert_eq!(error(&deep).1, name(LimitName::Stack));
    let flood = call("flood", "{}").unwrap();
    assert_eq!((flood.status, error(&flood).1), (Status::Limit, name(LimitName::OutputBytes)));

    let mut spin = to_call(&the_tool(), Some("spin"), "{}");
    spin.limits.cpu_ms = 50;
    let spent = carried(spin, Interrupt::default()).unwrap();
    assert_eq!((spent.status, error(&spent).1), (Status::Limit, name(LimitName::CpuMs)));
    let spin = to_call(&the_tool(), Some("spin"), "{}");
    let soon = std::time::Instant::now() + Duration::from_millis(50);
    assert_eq!(carried(spin, Interrupt::new(Some(soon))).unwrap().status, Status::Timeout);
    let (interrupt, spin) = (Interrupt::default(), to_call(&the_tool(), Some("spin"), "{}"));
    let canceller = interrupt.clone();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        canceller.cancel();
    });
    assert_eq!(carried(spin, interrupt).unwrap().status, Status::Cancelled);
}

#[test]
fn an_instance_alone_is_tried_without_a_function() {
    let good = carried(to_call(&the_tool(), None, "{}"), Interrupt::default()).unwrap();
    assert!(good.status == Status::Ok && good.result.is_none());
    let start = r#"(component
        (core module $m (func $start unreachable) (start $start) (func (export "f")))
        (core instance $i (instantiate $m))
        (func (export "f") (canon lift (core func $i "f"))))"#;
    let bad = carried(to_call(&deployed(start), None, "{}"), Interrupt::default()).unwrap();
    assert_eq!(error(&bad).1, "Trap");
    let huge = r#"(component
        (core module $m (memory 1024) (func (export "f")))
        (core instance $i (instantiate $m))
        (func (export "f") (canon lift (core func $i "f"))))"#;
    let huge = carried(to_call(&deployed(huge), None, "{}"), Interrupt::default()).unwrap();
    assert_eq!(error(&huge).1, LimitName::MemoryBytes.as_str(), "{huge:?}");
}

#[test]
fn what_is_not_granted_is_not_linked() {
    let text = r#"(component
        (import "wasi:keyvalue/store@0.2.0-draft" (instance (export "open" (func (param "identifier" string)))))
        (core module $m (func (export "f")))
        (core instance $i (instantiate $m))
        (func (export "f") (canon lift (core func $i "f"))))"#;
    let refused = carried(to_call(&deployed(text), None, "{}"), Interrupt::default()).unwrap_err().to_problem();
    assert!(refused.kind() == "bad-component" && refused.detail.contains("wasi:keyvalue/store"), "{refused:?}");
}

#[test]
fn few_components_are_kept() {
    let simple = |n: usize| {
        format!(
            r#"(component (core module $m (func (export "f") (result i32) (i32.const {n})))
                (core instance $i (instantiate $m))
                (func (export "f") (result u32) (canon lift (core func $i "f"))))"#
        )
    };
    let digests: Vec<String> = (0..6).map(|n| deployed(&simple(n))).collect();
    for (most, most_bytes, kept) in [(3, u64::MAX, 3), (100, 1, 1), (100, u64::MAX, 6)] {
        let cache = ArtifactCache::open(&bench().worker.config.cache_dir).unwrap();
        let components = Components::new(tool_engine().unwrap(), cache, most, most_bytes);
        let get = |digest: &String| components.get(digest, Capabilities::default()).unwrap();
        for digest in &digests {
            let (first, again) = (get(digest), get(digest));
            assert!(Arc::ptr_eq(&first, &again), "what was just used is kept");
        }
        assert_eq!(components.count(), kept);
        assert!(components.bytes() > 0);
        assert!(components.get("sha256:0", Capabilities::default()).is_err());
        assert_eq!(components.count(), kept, "a missing component takes no space");
    }
}

#[test]
fn deep_calls_have_places_of_their_own() {
    let (bench, own) = (bench(), OrganizationId::default_organization());
    bench.runtime.block_on(async {
        let all = [bench.worker.enter(3, &own, None).await.unwrap(), bench.worker.enter(3, &own, None).await.unwrap()];
        assert!(bench.worker.load().0 >= 2);
        drop(bench.worker.enter(4, &own, None).await.unwrap());
        assert_eq!(bench.worker.enter(MAX_CALL_DEPTH + 1, &own, None).await.unwrap_err().kind(), "denied-by-policy");
        drop(all);
    });
}

/// The files of a component in the cache.
fn cached(digest: &str) -> Vec<PathBuf> {
    let engine_key = crate::artifact::engine_key(&crate::engine::tool_engine().unwrap());
    let key = crate::artifact::component_key(&engine_key, digest).unwrap();
    let folder = ArtifactCache::open(&bench().worker.config.cache_dir).unwrap().component_folder(&key).unwrap();
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_flipped_bit_in_a_component_is_found_before_it_runs_and_healed_by_compiling() {
    let text = TOOL.replace("oops", "bits");
    let digest = deployed(&text);
    let files = cached(&digest);
    assert_eq!(files.len(), 2, "{files:?}");
    let call = || carried(to_call(&digest, Some("add"), r#"{"a": 40, "b": 2}"#), Interrupt::new(None));
    for path in files {
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let Err(Error::Refused(problem)) = call() else { panic!("{} was believed", path.display()) };
        assert_eq!(problem.kind(), "component-missing");
        assert_eq!(deployed(&text), digest);
    }
    assert_eq!(call().unwrap().status, Status::Ok);
}
