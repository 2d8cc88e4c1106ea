//! The largest results and arguments, and the memory of all calls.

use cofferdam_contract::tool::{MAX_ARGUMENTS_BYTES, MAX_RESULT_BYTES};

use super::*;

const LARGE: &str = r#"(component
    (core module $m
        (memory (export "memory") 1)
        (global $top (mut i32) (i32.const 65536))
        (func $take (param $bytes i32) (result i32) (local $at i32)
            (local.set $at (global.get $top))
            (global.set $top (i32.add (local.get $at) (local.get $bytes)))
            (if (i32.gt_u (global.get $top) (i32.mul (memory.size) (i32.const 65536)))
                (then (if (i32.eq (i32.const -1) (memory.grow (i32.add (i32.div_u (local.get $bytes) (i32.const 65536)) (i32.const 2))))
                    (then (unreachable)))))
            (local.get $at))
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) (call $take (local.get 3)))
        (func $many (param $bytes i32) (result i32) (local $at i32)
            (local.set $at (call $take (local.get $bytes)))
            (memory.fill (local.get $at) (i32.const 97) (local.get $bytes))
            (i32.store (i32.const 8) (local.get $at))
            (i32.store (i32.const 12) (local.get $bytes))
            (i32.const 8))
        (func (export "many") (param i32) (result i32) (call $many (local.get 0)))
        (func (export "wide") (param i32) (result i32)
            (drop (call $many (i32.mul (local.get 0) (i32.const 8))))
            (i32.store (i32.const 12) (local.get 0))
            (i32.const 8))
        (func (export "count") (param i32 i32) (result i32) (local.get 1)))
    (core instance $i (instantiate $m))
    (func (export "bytes") (param "n" u32) (result (list u8)) (canon lift (core func $i "many") (memory (core memory $i "memory"))))
    (func (export "text") (param "n" u32) (result string) (canon lift (core func $i "many") (memory (core memory $i "memory"))))
    (func (export "pairs") (param "n" u32) (result (list (tuple u32 u32))) (canon lift (core func $i "wide") (memory (core memory $i "memory"))))
    (func (export "count-bytes") (param "it" (list u8)) (result u32)
        (canon lift (core func $i "count") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))
    (func (export "count-text") (param "it" string) (result u32)
        (canon lift (core func $i "count") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))
)"#;

fn digest() -> String {
    static DIGEST: OnceLock<String> = OnceLock::new();
    DIGEST.get_or_init(|| deployed(LARGE)).clone()
}

fn large(function: &str, arguments: &str) -> ToolOutcome {
    carried(to_call(&digest(), Some(function), arguments), Interrupt::default()).unwrap()
}

fn sized(function: &str, n: usize) -> ToolOutcome {
    large(function, &format!(r#"{{"n": {n}}}"#))
}

#[test]
fn results_may_be_as_long_as_it_says() {
    // In base64, between quotes.
    let most = (MAX_RESULT_BYTES - 2) / 4 * 3;
    let bytes = sized("bytes", most);
    assert_eq!(
        (bytes.status, bytes.result.as_ref().map(|raw| raw.get().len())),
        (Status::Ok, Some(MAX_RESULT_BYTES - 2))
    );
    let text = sized("text", MAX_RESULT_BYTES - 2);
    assert_eq!((text.status, text.result.as_ref().map(|raw| raw.get().len())), (Status::Ok, Some(MAX_RESULT_BYTES)));
    // `[1633771873,1633771873],`: 24 bytes each.
    assert_eq!(sized("pairs", MAX_RESULT_BYTES / 24).status, Status::Ok);
    for (function, n, limit) in [
        ("bytes", most + 3, LimitName::OutputBytes),
        ("bytes", 8 << 20, LimitName::HostMemory),
        ("text", MAX_RESULT_BYTES - 1, LimitName::OutputBytes),
        ("text", 17 << 20, LimitName::HostMemory),
        ("pairs", MAX_RESULT_BYTES / 24 + 1, LimitName::OutputBytes),
        ("bytes", 40 << 20, LimitName::MemoryBytes),
    ] {
        let outcome = sized(function, n);
        assert_eq!((outcome.status, error(&outcome).1), (Status::Limit, limit.as_str()), "{function} {n}");
    }
}

#[test]
fn arguments_may_be_as_long_as_it_says() {
    let around = r#"{"it": ""}"#.len();
    for (function, most) in
        [("count-bytes", (MAX_ARGUMENTS_BYTES - around) / 4 * 3), ("count-text", MAX_ARGUMENTS_BYTES - around)]
    {
        let long = if function == "count-text" { most } else { most / 3 * 4 };
        let arguments = format!(r#"{{"it": "{}"}}"#, "A".repeat(long));
        assert!(arguments.len() <= MAX_ARGUMENTS_BYTES);
        let outcome = large(function, &arguments);
        assert_eq!(outcome.result.as_ref().map(|raw| raw.get()), Some(most.to_string().as_str()), "{outcome:?}");
    }
}

/// A worker with this much memory for all calls.
fn worker(memory_bytes: u64) -> ToolWorker {
    let config = ToolWorkerConfig { memory_bytes, ..bench().worker.config.clone() };
    let (_, components) = load(&config).unwrap();
    ToolWorker::new(config, components, bench().runtime.handle().clone())
}

#[test]
fn all_calls_share_the_memory() {
    let worker = worker(64 << 20);
    let carried = |call: ToolCall| {
        let mut outcome = None;
        // As in the server, the stack is larger than a test's.
        std::thread::scope(|scope| {
            let work = || outcome = Some(carry_out(&worker, call, Interrupt::default()).map(|(outcome, _)| outcome));
            std::thread::Builder::new().stack_size(THREAD_STACK).spawn_scoped(scope, work).unwrap();
        });
        outcome.unwrap()
    };
    let call = |function: &str, arguments: &str| {
        let mut call = to_call(&digest(), Some(function), arguments);
        call.limits.memory_bytes = 1 << 30;
        carried(call)
    };
    assert_eq!(call("text", r#"{"n": 1000000}"#).unwrap().status, Status::Ok);
    assert_eq!(worker.memory.used(), 0);
    // Its own limit is far away, the worker's is not.
    let outcome = call("text", r#"{"n": 60000000}"#).unwrap();
    assert_eq!((outcome.status, error(&outcome).1), (Status::Limit, LimitName::HostMemory.as_str()), "{outcome:?}");
    assert!(error(&outcome).2.contains("all calls"), "{outcome:?}");
    assert_eq!(worker.memory.used(), 0);

    let others = worker.memory.share(50 << 20).unwrap();
    let refused = call("text", r#"{"n": 1}"#).unwrap_err().to_problem();
    assert!(refused.kind() == "overloaded" && refused.retryable, "{refused:?}");
    others.shrink(14 << 20);
    let long = format!(r#"{{"it": "{}"}}"#, "A".repeat(4 << 20));
    assert_eq!(call("count-bytes", &long).unwrap_err().to_problem().kind(), "overloaded", "no room for the values");
    // No room for the longest lists, but for short ones.
    assert_eq!(call("bytes", r#"{"n": 300000}"#).unwrap().status, Status::Ok);
    let narrow = call("bytes", r#"{"n": 1000000}"#).unwrap();
    assert_eq!(error(&narrow).1, LimitName::HostMemory.as_str());
    drop(others);
    assert_eq!(call("count-text", &long).unwrap().status, Status::Ok);

    // Too much from the start: nothing ran, and another worker may have room.
    let big = deployed(
        r#"(component (core module $m (memory 800) (func (export "f"))) (core instance $i (instantiate $m))
        (func (export "f") (canon lift (core func $i "f"))))"#,
    );
    let mut begins = to_call(&big, Some("f"), "{}");
    begins.limits.memory_bytes = 1 << 30;
    assert_eq!(carried(begins).unwrap_err().to_problem().kind(), "overloaded");
    assert_eq!(worker.memory.used(), 0);
}

#[test]
fn what_instances_take_is_counted_and_bounded() {
    let functions = "(func)".repeat(20_000);
    let text = |instances: usize| {
        format!(
            r#"(component (core module $m {functions} (func (export "f"))) {}
                (core instance $i (instantiate $m)) (func (export "f") (canon lift (core func $i "f"))))"#,
            "(core instance (instantiate $m))".repeat(instances)
        )
    };
    let digest = deployed(&text(9));
    let loaded = bench().worker.components.get(&digest, Capabilities::default()).unwrap();
    assert!((6_400_000..7_000_000).contains(&loaded.instance_bytes), "{}", loaded.instance_bytes);
    assert_eq!(carried(to_call(&digest, Some("f"), "{}"), Interrupt::default()).unwrap().status, Status::Ok);
    let bytes = wat::parse_str(text(100)).unwrap();
    let cache_dir = bench().worker.config.cache_dir.clone();
    let job = tool::compile::Job {
        cache_dir,
        digest: format!("sha256:{}", hex::encode(Sha256::digest(&bytes))),
        confine: false,
    };
    let refused = tool::compile(&job, &mut &*bytes).unwrap_err().to_problem();
    assert!(refused.kind() == "bad-component" && refused.detail.contains("each of its instances"), "{refused:?}");
}
