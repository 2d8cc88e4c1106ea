//! A component that fetches: the linker's side of `wasi:http`, and its older versions.

use cofferdam_contract::GrantKind;
use wasmtime::{
    Engine, Store,
    component::{Component, Linker},
};

use super::*;
use crate::{Capabilities, add_capabilities_to_linker, testing::component};

const CLOCKS: &str = include_str!("../../../../wit/deps/clocks.wit");
const HTTP: &str = include_str!("../../../../wit/deps/http.wit");
const IO: &str = include_str!("../../../../wit/deps/io.wit");

/// The same text for an earlier version of WASI.
fn earlier(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.contains("@since") && !line.contains("@deprecated"));
    lines.collect::<Vec<_>>().join("\n").replace("0.2.12", "0.2.0")
}

/// `go: func() -> s32`: posts `ping` and returns the status times 1,000 plus the length of the body, or the negative
/// number of the step that failed.
const GUEST: &str = r#"(module
  (import "wasi:http/types@0.2.0" "[constructor]fields" (func $fields (result i32)))
  (import "wasi:http/types@0.2.0" "[constructor]outgoing-request" (func $request (param i32) (result i32)))
  (import "wasi:http/types@0.2.0" "[method]outgoing-request.set-method"
    (func $method (param i32 i32 i32 i32) (result i32)))
  (import "wasi:http/types@0.2.0" "[method]outgoing-request.set-authority"
    (func $authority (param i32 i32 i32 i32) (result i32)))
  (import "wasi:http/types@0.2.0" "[method]outgoing-request.body" (func $body (param i32 i32)))
  (import "wasi:http/types@0.2.0" "[method]outgoing-body.write" (func $write (param i32 i32)))
  (import "wasi:http/types@0.2.0" "[static]outgoing-body.finish" (func $finish (param i32 i32 i32 i32)))
  (import "wasi:http/outgoing-handler@0.2.0" "handle" (func $handle (param i32 i32 i32 i32)))
  (import "wasi:http/types@0.2.0" "[method]future-incoming-response.subscribe" (func $wait (param i32) (result i32)))
  (import "wasi:http/types@0.2.0" "[method]future-incoming-response.get" (func $get (param i32 i32)))
  (import "wasi:http/types@0.2.0" "[method]incoming-response.status" (func $status (param i32) (result i32)))
  (import "wasi:http/types@0.2.0" "[method]incoming-response.consume" (func $consume (param i32 i32)))
  (import "wasi:http/types@0.2.0" "[method]incoming-body.stream" (func $stream (param i32 i32)))
  (import "wasi:io/poll@0.2.0" "[method]pollable.block" (func $block (param i32)))
  (import "wasi:io/streams@0.2.0" "[method]input-stream.blocking-read" (func $read (param i32 i64 i32)))
  (import "wasi:io/streams@0.2.0" "[method]output-stream.blocking-write-and-flush"
    (func $send (param i32 i32 i32 i32)))
  (import "wasi:io/streams@0.2.0" "[resource-drop]output-stream" (func $close (param i32)))
  (memory (export "memory") 4)
  (data (i32.const 0) "example.com")
  (data (i32.const 16) "ping")
  (global $top (mut i32) (i32.const 65536))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (global.get $top)
    (global.set $top (i32.and (i32.add (i32.add (global.get $top) (local.get 3)) (i32.const 15)) (i32.const -16))))
  (func (export "go") (result i32)
    (local $request i32) (local $body i32) (local $stream i32) (local $future i32) (local $response i32)
    (local $bytes i32)
    (local.set $request (call $request (call $fields)))
    (if (call $method (local.get $request) (i32.const 2) (i32.const 0) (i32.const 0)) (then (return (i32.const -1))))
    (if (call $authority (local.get $request) (i32.const 1) (i32.const 0) (i32.const 11))
      (then (return (i32.const -2))))
    (call $body (local.get $request) (i32.const 512))
    (if (i32.load8_u (i32.const 512)) (then (return (i32.const -3))))
    (local.set $body (i32.load (i32.const 516)))
    (call $write (local.get $body) (i32.const 512))
    (if (i32.load8_u (i32.const 512)) (then (return (i32.const -4))))
    (local.set $stream (i32.load (i32.const 516)))
    (call $handle (local.get $request) (i32.const 0) (i32.const 0) (i32.const 512))
    (if (i32.load8_u (i32.const 512)) (then (return (i32.sub (i32.const -100) (i32.load8_u (i32.const 520))))))
    (local.set $future (i32.load (i32.const 520)))
    (call $send (local.get $stream) (i32.const 16) (i32.const 4) (i32.const 512))
    (if (i32.load8_u (i32.const 512)) (then (return (i32.const -5))))
    (call $close (local.get $stream))
    (call $finish (local.get $body) (i32.const 0) (i32.const 0) (i32.const 512))
    (if (i32.load8_u (i32.const 512)) (then (return (i32.const -6))))
    (call $block (call $wait (local.get $future)))
    (call $get (local.get $future) (i32.const 512))
    (if (i32.eqz (i32.load8_u (i32.const 512))) (then (return (i32.const -7))))
    (if (i32.load8_u (i32.const 520)) (then (return (i32.const -8))))
    (if (i32.load8_u (i32.const 528)) (then (return (i32.sub (i32.const -200) (i32.load8_u (i32.const 536))))))
    (local.set $response (i32.load (i32.const 536)))
    (call $consume (local.get $response) (i32.const 512))
    (if (i32.load8_u (i32.const 512)) (then (return (i32.const -9))))
    (call $stream (i32.load (i32.const 516)) (i32.const 512))
    (if (i32.load8_u (i32.const 512)) (then (return (i32.const -10))))
    (local.set $stream (i32.load (i32.const 516)))
    (loop $more
      (global.set $top (i32.const 65536))
      (call $read (local.get $stream) (i64.const 65536) (i32.const 512))
      (if (i32.eqz (i32.load8_u (i32.const 512)))
        (then
          (local.set $bytes (i32.add (local.get $bytes) (i32.load (i32.const 520))))
          (br $more))))
    ;; The end has to be `closed`.
    (if (i32.ne (i32.load8_u (i32.const 516)) (i32.const 1)) (then (return (i32.const -11))))
    (i32.add (i32.mul (call $status (local.get $response)) (i32.const 1000)) (local.get $bytes))))"#;

fn guest() -> Vec<u8> {
    let world = "package t:t; world w {
        import wasi:http/types@0.2.0;
        import wasi:http/outgoing-handler@0.2.0;
        export go: func() -> s32;
    }";
    component(&[&earlier(IO), &earlier(CLOCKS), &earlier(HTTP), world], GUEST)
}

fn run(sandbox: Sandbox, capabilities: Capabilities) -> wasmtime::Result<i32> {
    let engine = Engine::default();
    let component = Component::new(&engine, guest()).unwrap();
    let mut linker = Linker::<Sandbox>::new(&engine);
    add_capabilities_to_linker(&mut linker, capabilities).unwrap();
    let mut store = Store::new(&engine, sandbox);
    let instance = linker.instantiate(&mut store, &component)?;
    let go = instance.get_typed_func::<(), (i32,)>(&mut store, "go").unwrap();
    go.call(&mut store, ()).map(|(value,)| value)
}

fn http_only() -> Capabilities {
    Capabilities::default().with(GrantKind::Http)
}

#[test]
fn a_component_fetches() {
    let sandbox = sandbox(reading(|request| {
        assert_eq!(request.headers()[METHOD_HEADER], "POST");
        assert_eq!(request.headers()[URL_HEADER], "https://example.com/");
        assert_eq!(request.body(), "ping");
        let mut left = 5;
        let body = pieces(move || {
            left -= 1;
            match left {
                4 | 3 => piece(vec![b'x'; 150_000]),
                2 => (20, None),
                1 => piece("end"),
                _ => (0, None),
            }
        });
        Response::builder().status(201).body(body).unwrap()
    }));
    assert_eq!(run(sandbox, http_only()).unwrap(), 201_000 + 300_003);
}

#[test]
fn what_is_not_granted_is_not_there() {
    let error = run(bare(), Capabilities::default()).unwrap_err();
    let text = format!("{error:#}");
    assert!(text.contains("wasi:http/"), "{text}");
    // A refusal reaches the guest: `HTTP-request-denied` is the 15th code.
    let sandbox =
        sandbox(reading(|_| Response::builder().status(403).header(REFUSED_HEADER, "policy").body(full("")).unwrap()));
    assert_eq!(run(sandbox, http_only()).unwrap(), -215);
}

#[test]
fn a_component_that_reads_slowly_ends_with_its_run() {
    let mut sandbox =
        sandbox(reading(|_| Response::new(pieces(|| (20, Some(Ok(http_body::Frame::data("x".into()))))))));
    let started = Instant::now();
    sandbox.set_interrupt(Interrupt::new(Some(started + Duration::from_millis(300))));
    let error = run(sandbox, http_only()).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Interrupted::Deadline));
    assert!(started.elapsed() < Duration::from_secs(30));
}
