//! `cofferdam internal compile` as the supervisor starts it: confined, with a component on its standard input, whatever
//! that is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cofferdam_contract::{Component, Problem};
use serde_json::{Value, json};

/// Returns "Hello" and the given name.
const HELLO: &str = r#"(component
    (core module $m
        (memory (export "memory") 1)
        (global $top (mut i32) (i32.const 1024))
        (data (i32.const 16) "Hello, ")
        (func (export "realloc") (param i32 i32 i32 i32) (result i32)
            (global.get $top) (global.set $top (i32.add (global.get $top) (local.get 3))))
        (func (export "greet") (param i32 i32) (result i32)
            (memory.copy (i32.const 23) (local.get 0) (local.get 1))
            (i32.store (i32.const 0) (i32.const 16))
            (i32.store (i32.const 4) (i32.add (local.get 1) (i32.const 7)))
            (i32.const 0)))
    (core instance $c (instantiate $m))
    (func $greet (param "name" string) (result string)
        (canon lift (core func $c "greet") (memory (core memory $c "memory")) (realloc (core func $c "realloc"))))
    (instance $i (export "greet" (func $greet)))
    (export "example:hello/greeting@0.1.0" (instance $i)))"#;

struct Answer {
    line: String,
    words: String,
    status: std::process::ExitStatus,
}

fn compile(cache: &Path, digest: &str, bytes: &[u8]) -> Answer {
    let config = json!({"cache_dir": cache}).to_string();
    let mut child = Command::new(env!("CARGO_BIN_EXE_cofferdam"))
        .args(["internal", "compile", "--config", &config, "--parent", &std::process::id().to_string()])
        .args(["--log-format", "json", digest])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that has seen enough does not read to the end.
    let _ = child.stdin.take().unwrap().write_all(bytes);
    let (mut line, mut words) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut line).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut words).unwrap();
    Answer { line, words, status: child.wait().unwrap() }
}

fn digest(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn problem(answer: &Answer) -> Problem {
    serde_json::from_str(&answer.line)
        .unwrap_or_else(|e| panic!("{e}: {} {} {}", answer.status, answer.line, answer.words))
}

fn component(answer: &Answer) -> Component {
    serde_json::from_str(&answer.line)
        .unwrap_or_else(|e| panic!("{e}: {} {} {}", answer.status, answer.line, answer.words))
}

#[test]
fn a_component_is_compiled_once_and_described() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = wat::parse_str(HELLO).unwrap();
    let started = Instant::now();
    let answer = compile(folder.path(), &digest(&bytes), &bytes);
    let first = started.elapsed();
    let described = component(&answer);
    assert!(answer.status.success() && answer.words.is_empty(), "{} {}", answer.status, answer.words);
    assert_eq!(described.functions[0].name, "hello-greeting-greet");
    assert_eq!(described.functions[0].output_schema, json!({"type": "string"}));
    assert_eq!(component(&compile(folder.path(), &digest(&bytes), &bytes)), described);
    assert!(first < Duration::from_secs(5), "{first:?}");
    // Nothing is left lying about but the code and the description.
    let files: Vec<_> = walk(folder.path());
    assert_eq!(files.len(), 2, "{files:?}");
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    std::fs::read_dir(folder)
        .unwrap()
        .flat_map(|entry| {
            let path = entry.unwrap().path();
            if path.is_dir() { walk(&path) } else { vec![path] }
        })
        .collect()
}

#[test]
fn bad_files_get_a_problem_that_says_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let good = wat::parse_str(HELLO).unwrap();
    let mut bent = good.clone();
    let code = bent.windows(4).position(|w| w == [0x20, 0x01, 0xFC, 0x0A]).unwrap();
    bent[code] = 0x1A;
    // Every function is large, and none of them is ever called.
    let functions = "(func (param i32) (local.get 0) drop)".repeat(20_000);
    let large = wat::parse_str(format!("(component (core module {functions}))")).unwrap();
    for (bytes, kind, expected) in [
        (Vec::new(), "bad-component", "it is empty"),
        (wat::parse_str("(module)").unwrap(), "bad-component", "core WebAssembly module"),
        (good[..good.len() / 2].to_vec(), "bad-component", "broken"),
        (bent, "bad-component", "broken"),
        (large, "bad-component", "exports no function"),
        (vec![0; (64 << 20) + 1], "too-large", "the maximum is"),
    ] {
        let answer = compile(folder.path(), &digest(&bytes), &bytes);
        let problem = problem(&answer);
        assert!(answer.status.success(), "{}", answer.status);
        assert!(problem.detail.contains(expected), "{}, expected {expected}", problem.detail);
        assert!(problem.kind() == kind, "{}", problem.kind());
    }
    let answer = compile(folder.path(), &digest(b"other"), &good);
    assert!(problem(&answer).detail.contains("are not those of"), "{}", answer.line);
    let code = walk(folder.path()).into_iter().filter(|path| path.extension().is_some_and(|e| e == "code")).count();
    assert_eq!(code, 0, "nothing that was refused is left");
}

#[test]
fn flipped_bits_never_take_the_compiler_down() {
    let folder = tempfile::tempdir().unwrap();
    let good = wat::parse_str(HELLO).unwrap();
    let mut state = 1_u64;
    for _ in 0..60 {
        let mut bytes = good.clone();
        for _ in 0..2 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = (state >> 33) as usize % bytes.len();
            bytes[at] ^= 1 << (state >> 60 & 7);
        }
        let answer = compile(folder.path(), &digest(&bytes), &bytes);
        let value: Value = serde_json::from_str(&answer.line).unwrap_or_else(|e| panic!("{e}: {}", answer.words));
        assert!(answer.status.success() && value.is_object(), "{}: {}", answer.status, answer.words);
    }
}
