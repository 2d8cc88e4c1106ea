//! Components in text form against the linker: sockets, configuration, logging, key-value.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use cofferdam_contract::{
    FilesGrant, Grants, HttpGrant, KeyValueGrant, LimitName, LlmGrant, SecretGrant,
    tool::{covered_by, uncovered},
};
use wasmtime::{
    Engine, Store,
    component::{Component, Linker},
};

use super::*;
use crate::{Sandbox, Stdio, Stop, deny_sockets, testing::component, wasi::tests::sandbox};

const CONFIG: &str = include_str!("../../../wit/deps/config.wit");
const IO: &str = include_str!("../../../wit/deps/io.wit");
const KEYVALUE: &str = include_str!("../../../wit/deps/keyvalue.wit");
const LOGGING: &str = include_str!("../../../wit/deps/logging.wit");

/// Shared by the components here: a memory that only grows, and `go`.
fn module(imports: &str, go: &str) -> String {
    format!(
        r#"(module {imports}
          (memory (export "memory") 4)
          (data (i32.const 0) "keyvalue here")
          (global $top (mut i32) (i32.const 65536))
          (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
            (global.get $top)
            (global.set $top (i32.and (i32.add (i32.add (global.get $top) (local.get 3)) (i32.const 15)) (i32.const -16))))
          (func (export "go") (result i32) {go}))"#
    )
}

fn run(bytes: &[u8], sandbox: Sandbox, capabilities: Capabilities) -> wasmtime::Result<i32> {
    let engine = Engine::default();
    let component = Component::new(&engine, bytes).unwrap();
    let mut linker = Linker::<Sandbox>::new(&engine);
    add_capabilities_to_linker(&mut linker, capabilities).unwrap();
    // A linker may serve many components, each with another version of sockets.
    for _ in 0..2 {
        deny_sockets(&mut linker.clone(), &component)?;
    }
    deny_sockets(&mut linker, &component)?;
    let mut store = Store::new(&engine, sandbox);
    let instance = linker.instantiate(&mut store, &component)?;
    let go = instance.get_typed_func::<(), (i32,)>(&mut store, "go").unwrap();
    go.call(&mut store, ()).map(|(value,)| value)
}

#[test]
fn grants_become_capabilities() {
    let mut grants = Grants::default();
    assert_eq!(Capabilities::from(&grants), Capabilities::default());
    grants.http.push(HttpGrant { host: "example.com".to_owned(), ..HttpGrant::default() });
    let http = Capabilities::default().with(GrantKind::Http);
    assert_eq!(Capabilities::from(&grants), http);
    grants.keyvalue = Some(KeyValueGrant::default());
    assert_eq!(Capabilities::from(&grants), http.with(GrantKind::KeyValue));
    assert!(!Capabilities::from(&grants).has(GrantKind::Tools));
    grants.tools.push("other".to_owned());
    assert!(Capabilities::from(&grants).has(GrantKind::Tools));
    grants.secrets.push(SecretGrant { name: "s".to_owned(), env: None });
    grants.files = Some(FilesGrant::default());
    let all = http.with(GrantKind::KeyValue).with(GrantKind::Tools);
    assert_eq!(Capabilities::from(&grants), all, "what is linked alike is equal");
    let llm = Grants { llm: Some(LlmGrant::of(vec!["m".to_owned()])), ..Grants::default() };
    assert_eq!(Capabilities::from(&llm), http);
}

/// The contract says which grant makes an import available, and the capabilities link it.
#[test]
fn the_imports_of_a_grant_are_those_that_it_links() {
    let none = Grants::default();
    for kind in GrantKind::ALL {
        let linked = of::<Sandbox>(*kind).map_or(&[][..], |capability| capability.imports());
        let names: Vec<&str> = linked.iter().map(|import| import.split_once('@').unwrap().0).collect();
        assert_eq!(names, covered_by(*kind), "{kind:?}");
        for import in linked {
            assert!(uncovered(&[(*import).to_owned()], &none)[0].remedy.starts_with("grant it"), "{import}");
        }
    }
    for import in always::<Sandbox>().iter().flat_map(|capability| capability.imports()) {
        assert_eq!(uncovered(&[(*import).to_owned()], &none), []);
    }
    // An interface that is linked cannot be linked again.
    let every = GrantKind::ALL.iter().fold(Capabilities::default(), |all, kind| all.with(*kind));
    let mut linker = Linker::<Sandbox>::new(&Engine::default());
    add_capabilities_to_linker(&mut linker, every).unwrap();
    let granted = GrantKind::ALL.iter().filter_map(|kind| of::<Sandbox>(*kind));
    for capability in always().into_iter().chain(granted) {
        assert!(capability.link(&mut linker).is_err(), "{:?}", capability.imports());
    }
}

/// Enough of the real package to have each kind of function.
const SOCKETS: &str = "package wasi:sockets@0.2.3;
    interface network {
        resource network;
        enum error-code { unknown, access-denied, not-supported }
        network-error-code: func(err: u32) -> option<error-code>;
    }
    interface instance-network {
        use network.{network};
        instance-network: func() -> network;
    }
    interface tcp {
        use wasi:io/poll@0.2.12.{pollable};
        use network.{network, error-code};
        resource tcp-socket {
            subscribe: func() -> pollable;
        }
        create-tcp-socket: func(family: u32) -> result<tcp-socket, error-code>;
        start-connect: func(network: borrow<network>, port: u16) -> result<_, error-code>;
        open-count: func() -> u32;
    }";

fn sockets(go: &str) -> Vec<u8> {
    let world = "package t:t; world w {
        import wasi:sockets/network@0.2.3;
        import wasi:sockets/instance-network@0.2.3;
        import wasi:sockets/tcp@0.2.3;
        import wasi:io/poll@0.2.12;
        export go: func() -> s32;
    }";
    let imports = r#"
        (import "wasi:sockets/instance-network@0.2.3" "instance-network" (func $network (result i32)))
        (import "wasi:sockets/network@0.2.3" "[resource-drop]network" (func $drop (param i32)))
        (import "wasi:sockets/network@0.2.3" "network-error-code" (func $code (param i32 i32)))
        (import "wasi:sockets/tcp@0.2.3" "create-tcp-socket" (func $create (param i32 i32)))
        (import "wasi:sockets/tcp@0.2.3" "start-connect" (func $connect (param i32 i32 i32)))
        (import "wasi:sockets/tcp@0.2.3" "open-count" (func $count (result i32)))
        (import "wasi:sockets/tcp@0.2.3" "[method]tcp-socket.subscribe" (func $subscribe (param i32) (result i32)))"#;
    component(&[IO, SOCKETS, world], &module(imports, go))
}

#[test]
fn sockets_are_denied() {
    // `access-denied` is case 1. Each result is that error.
    let denied = sockets(
        r#"(local $network i32) (local $times i32)
        (call $create (i32.const 0) (i32.const 512))
        (if (i32.ne (i32.load8_u (i32.const 512)) (i32.const 1)) (then (return (i32.const -1))))
        (if (i32.ne (i32.load8_u (i32.const 516)) (i32.const 1)) (then (return (i32.const -2))))
        (loop $more
          (local.set $network (call $network))
          (call $connect (local.get $network) (i32.const 80) (i32.const 512))
          (if (i32.ne (i32.load16_u (i32.const 512)) (i32.const 257)) (then (return (i32.const -3))))
          (call $drop (local.get $network))
          (local.set $times (i32.add (local.get $times) (i32.const 1)))
          (br_if $more (i32.lt_u (local.get $times) (i32.const 5000))))
        (call $code (i32.const 0) (i32.const 512))
        (i32.load8_u (i32.const 512))"#,
    );
    assert_eq!(run(&denied, sandbox(), Capabilities::default()).unwrap(), 0);
    let trapped = run(&sockets("(call $count)"), sandbox(), Capabilities::default()).unwrap_err();
    let text = format!("{trapped:?}");
    assert!(text.contains("wasi:sockets/tcp@0.2.3#open-count") && text.contains("no sockets"), "{text}");
    // Networks count against the resource limit.
    let endless = sockets("(loop $more (drop (call $network)) (br $more)) (unreachable)");
    let stopped = run(&endless, sandbox(), Capabilities::default()).unwrap_err();
    assert_eq!(stopped.downcast_ref(), Some(&Stop(LimitName::HostMemory)));
    // A number that the guest made up is not a socket.
    assert!(run(&sockets("(call $subscribe (i32.const 1))"), sandbox(), Capabilities::default()).is_err());
}

#[test]
fn configuration_by_every_name() {
    for (name, wit) in [
        ("wasi:config/store@0.2.0-rc.1", CONFIG.to_owned()),
        ("wasi:config/store@0.2.0-draft", CONFIG.replace("0.2.0-rc.1", "0.2.0-draft")),
        (
            "wasi:config/runtime@0.2.0-draft",
            CONFIG.replace("0.2.0-rc.1", "0.2.0-draft").replace("interface store", "interface runtime"),
        ),
    ] {
        let world = format!("package t:t; world w {{ import {name}; export go: func() -> s32; }}");
        let imports = format!(
            r#"(import "{name}" "get" (func $get (param i32 i32 i32))) (import "{name}" "get-all" (func $all (param i32)))"#
        );
        // The length of `key`'s value, 0 for `v`, and the number of values.
        let go = r#"
            (call $get (i32.const 3) (i32.const 1) (i32.const 512))
            (if (i32.load8_u (i32.const 512)) (then (return (i32.const -1))))
            (if (i32.load8_u (i32.const 516)) (then (return (i32.const -2))))
            (call $get (i32.const 0) (i32.const 3) (i32.const 512))
            (if (i32.ne (i32.load8_u (i32.const 516)) (i32.const 1)) (then (return (i32.const -3))))
            (call $all (i32.const 600))
            (i32.add (i32.mul (i32.load (i32.const 524)) (i32.const 100)) (i32.load (i32.const 608)))"#;
        let bytes = component(&[&wit, &world], &module(&imports, go));
        let mut sandbox = sandbox();
        let config = [("key", "value"), ("k2", "")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        sandbox.set_config(BTreeMap::from(config));
        assert_eq!(run(&bytes, sandbox, Capabilities::default()).unwrap(), 502, "{name}");
    }
}

#[test]
fn log_lines_are_output() {
    for (name, wit) in [
        ("wasi:logging/logging@0.1.0-draft", LOGGING.to_owned()),
        ("wasi:logging/logging", LOGGING.replace("@0.1.0-draft", "")),
    ] {
        let world = format!("package t:t; world w {{ import {name}; export go: func() -> s32; }}");
        let imports = format!(r#"(import "{name}" "log" (func $log (param i32 i32 i32 i32 i32)))"#);
        let go = r#"
            (call $log (i32.const 3) (i32.const 0) (i32.const 3) (i32.const 9) (i32.const 4))
            (call $log (i32.const 5) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 100000))
            (i32.const 0)"#;
        let bytes = component(&[&wit, &world], &module(&imports, go));
        let output = |limit: usize| {
            let mut sandbox = sandbox();
            let lines = Arc::new(Mutex::new(Vec::new()));
            let theirs = Arc::clone(&lines);
            sandbox.set_output(Box::new(move |stream: Stdio, bytes: &[u8]| {
                assert!(stream == Stdio::Stderr && bytes.len() <= 64 << 10);
                let mut lines = theirs.lock().unwrap();
                lines.extend_from_slice(bytes);
                if lines.len() > limit { Err(Stop(LimitName::OutputBytes)) } else { Ok(()) }
            }));
            (run(&bytes, sandbox, Capabilities::default()), lines)
        };
        let (result, lines) = output(1 << 20);
        assert_eq!(result.unwrap(), 0);
        let lines = lines.lock().unwrap();
        assert!(lines.starts_with(b"WARN key: here\nCRITICAL keyvalue here\0"), "{name}");
        assert_eq!(lines.len(), 15 + 9 + 100_000 + 1);
        let (result, _) = output(1_000);
        assert_eq!(result.unwrap_err().downcast_ref(), Some(&Stop(LimitName::OutputBytes)));
    }
}

#[test]
fn key_value_needs_its_grant() {
    let name = "wasi:keyvalue/store@0.2.0-draft2";
    let world = format!("package t:t; world w {{ import {name}; export go: func() -> s32; }}");
    let imports = format!(
        r#"(import "{name}" "open" (func $open (param i32 i32 i32)))
        (import "{name}" "[method]bucket.get" (func $get (param i32 i32 i32 i32)))"#
    );
    // Without a gateway: `access-denied`, which is case 1.
    let go = r#"
        (call $open (i32.const 0) (i32.const 3) (i32.const 512))
        (if (i32.load8_u (i32.const 512)) (then (return (i32.const -1))))
        (call $get (i32.load (i32.const 516)) (i32.const 0) (i32.const 3) (i32.const 600))
        (i32.add (i32.mul (i32.load8_u (i32.const 600)) (i32.const 10)) (i32.load8_u (i32.const 604)))"#;
    let bytes = component(&[KEYVALUE, &world], &module(&imports, go));
    assert!(run(&bytes, sandbox(), Capabilities::default()).is_err());
    assert_eq!(run(&bytes, sandbox(), Capabilities::default().with(GrantKind::KeyValue)).unwrap(), 11);
}
