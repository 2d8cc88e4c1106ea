//! The linker against a real component: a small guest, built here, over the preview1 adapter that kernels use.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER as ADAPTER;
use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, DataSection, EntityType, ExportKind, ExportSection, Function, FunctionSection,
    GlobalSection, GlobalType, ImportSection, InstructionSink, MemArg, MemorySection, MemoryType, Module, TypeSection,
    ValType,
};
use wasmtime::{
    Engine, Store,
    component::{Component, Linker},
};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use super::sandbox;
use crate::{Interrupt, Interrupted, Sandbox, Stdio, add_door_to_linker, add_to_linker};

#[derive(Clone, Copy)]
enum Arg {
    Int(i32),
    Long(i64),
    /// A value that an earlier call left in memory.
    At(u64),
}
use Arg::{At, Int, Long};

const WASI: &str = "wasi_snapshot_preview1";

/// A component whose `go: func() -> s32` makes the calls in order and returns the number of the first with an
/// unexpected result, counted from one; 0 if there is none.
fn guest(memory: &[(i32, &[u8])], calls: &[(&str, &[Arg], i32)]) -> Vec<u8> {
    let (mut types, mut imports, mut functions) = (TypeSection::new(), ImportSection::new(), FunctionSection::new());
    let mut body = Function::new([]);
    let mut code = body.instructions();
    for (index, (name, args, expected)) in calls.iter().enumerate() {
        let params = args.iter().map(|arg| if matches!(arg, Long(_)) { ValType::I64 } else { ValType::I32 });
        let is_door = *name == "call";
        types.ty().function(params, (!is_door).then_some(ValType::I32));
        let module = if is_door { "cofferdam:kernel/door@0.1.0" } else { WASI };
        imports.import(module, name, EntityType::Function(index as u32));
        for arg in *args {
            load(&mut code, *arg);
        }
        code.call(index as u32);
        if is_door {
            // The error flag is where the last argument points.
            load(&mut code, args.last().map_or(Int(0), |arg| if let Int(at) = arg { At(*at as u64) } else { *arg }));
        }
        code.i32_const(*expected).i32_ne().if_(BlockType::Empty).i32_const(index as i32 + 1).return_().end();
    }
    code.i32_const(0).end();
    let count = calls.len() as u32;
    types.ty().function([], [ValType::I32]);
    types.ty().function([ValType::I32; 4], [ValType::I32]);
    functions.function(count).function(count + 1);
    let mut realloc = Function::new([]);
    // A bump allocator: never frees, and skips at most 15 bytes for alignment.
    let bump = &mut realloc.instructions();
    bump.global_get(0).global_get(0).local_get(3).i32_add().i32_const(15).i32_add().i32_const(-16).i32_and();
    bump.global_set(0).end();
    let mut globals = GlobalSection::new();
    let top = GlobalType { val_type: ValType::I32, mutable: true, shared: false };
    globals.global(top, &ConstExpr::i32_const(65_536));
    let mut codes = CodeSection::new();
    codes.function(&body).function(&realloc);
    let mut memories = MemorySection::new();
    memories.memory(MemoryType { minimum: 16, maximum: None, memory64: false, shared: false, page_size_log2: None });
    let mut exports = ExportSection::new();
    exports.export("memory", ExportKind::Memory, 0).export("go", ExportKind::Func, count).export(
        "cabi_realloc",
        ExportKind::Func,
        count + 1,
    );
    let mut data = DataSection::new();
    for (at, bytes) in memory {
        data.active(0, &ConstExpr::i32_const(*at), bytes.iter().copied());
    }
    let mut module = Module::new();
    module.section(&types).section(&imports).section(&functions).section(&memories).section(&globals).section(&exports);
    module.section(&codes).section(&data);
    let mut module = module.finish();

    let mut wit = Resolve::default();
    wit.push_str("kernel.wit", include_str!("../../../../wit/kernel.wit")).unwrap();
    let world = "package t:t; world w { import cofferdam:kernel/door@0.1.0; export go: func() -> s32; }";
    let package = wit.push_str("w.wit", world).unwrap();
    let world = wit.select_world(&[package], Some("w")).unwrap();
    embed_component_metadata(&mut module, &wit, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().module(&module).unwrap().adapter(WASI, ADAPTER).unwrap().encode().unwrap()
}

fn load(code: &mut InstructionSink<'_>, arg: Arg) {
    match arg {
        Int(value) => code.i32_const(value),
        Long(value) => code.i64_const(value),
        At(offset) => code.i32_const(0).i32_load(MemArg { offset, align: 2, memory_index: 0 }),
    };
}

fn run(component: &[u8], sandbox: Sandbox) -> (wasmtime::Result<i32>, Sandbox) {
    let engine = Engine::default();
    let component = Component::new(&engine, component).unwrap();
    let mut linker = Linker::<Sandbox>::new(&engine);
    add_to_linker(&mut linker).unwrap();
    add_door_to_linker(&mut linker).unwrap();
    let mut store = Store::new(&engine, sandbox);
    let instance = linker.instantiate(&mut store, &component).unwrap();
    let go = instance.get_typed_func::<(), (i32,)>(&mut store, "go").unwrap();
    let result = go.call(&mut store, ()).map(|(value,)| value);
    (result, store.into_data())
}

const RIGHTS: i64 = 0x1fff_ffff;

#[test]
fn a_component_meets_its_sandbox() {
    const SUCCESS: i32 = 0;
    const EXIST: i32 = 20;
    const ILLEGAL: i32 = 25;
    const NO_ENTRY: i32 = 44;
    const NO_SPACE: i32 = 51;
    const READ_ONLY: i32 = 69;
    let words = |words: &[i32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>();
    let memory: &[(i32, &[u8])] = &[
        (0, b"home/user/out.txt"),
        (32, b"home/user/\xff"),
        (64, b"hello\n"),
        (80, &words(&[64, 6])),
        (96, b"etc/passwd"),
        (112, b"usr-new"),
        (128, b"home/user/d"),
        (2_000, &words(&[3_000, 100])),
    ];
    let open = |path, len, flags| [Int(3), Int(1), Int(path), Int(len), Int(flags), Long(RIGHTS), Long(RIGHTS), Int(0)];
    let opened = |path, len, flags| [&open(path, len, flags)[..], &[Int(200)]].concat();
    let calls: &[(&str, &[Arg], i32)] = &[
        ("fd_write", &[Int(1), Int(80), Int(1), Int(204)], SUCCESS),
        ("path_open", &opened(0, 17, 1), SUCCESS),
        ("fd_write", &[At(200), Int(80), Int(1), Int(204)], SUCCESS),
        ("fd_write", &[At(200), Int(80), Int(1), Int(204)], SUCCESS),
        ("fd_seek", &[At(200), Long(3), Int(0), Int(208)], SUCCESS),
        ("fd_read", &[At(200), Int(2_000), Int(1), Int(216)], SUCCESS),
        ("fd_filestat_set_size", &[At(200), Long(1 << 40)], NO_SPACE),
        ("fd_filestat_get", &[At(200), Int(400)], SUCCESS),
        ("fd_close", &[At(200)], SUCCESS),
        ("path_open", &opened(0, 17, 1 | 4), EXIST),
        ("path_open", &opened(32, 11, 1), ILLEGAL),
        ("path_create_directory", &[Int(3), Int(32), Int(11)], ILLEGAL),
        ("path_rename", &[Int(3), Int(0), Int(17), Int(3), Int(32), Int(11)], ILLEGAL),
        ("path_open", &opened(96, 10, 0), NO_ENTRY),
        ("path_open", &opened(112, 7, 1), READ_ONLY),
        ("path_create_directory", &[Int(3), Int(128), Int(11)], SUCCESS),
        ("path_filestat_get", &[Int(3), Int(1), Int(128), Int(11), Int(400)], SUCCESS),
        ("path_remove_directory", &[Int(3), Int(128), Int(11)], SUCCESS),
        ("fd_readdir", &[Int(3), Int(4_000), Int(1_000), Long(0), Int(220)], SUCCESS),
        ("random_get", &[Int(5_000), Int(64)], SUCCESS),
        ("clock_time_get", &[Int(1), Long(0), Int(232)], SUCCESS),
        ("environ_sizes_get", &[Int(240), Int(244)], SUCCESS),
        ("fd_prestat_get", &[Int(4), Int(248)], 8),
        ("call", &[Int(64), Int(5), Int(260)], 0),
        ("call", &[Int(64), Int(6), Int(260)], 1),
    ];
    let mut sandbox = sandbox();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let theirs = Arc::clone(&seen);
    sandbox.set_output(Box::new(move |stream: Stdio, bytes: &[u8]| {
        theirs.lock().unwrap().push((stream, bytes.to_vec()));
        Ok(())
    }));
    sandbox.set_door(Box::new(|request: &[u8]| match request {
        b"hello" => Ok(b"{}".to_vec()),
        _ => Err("what?".to_owned()),
    }));
    let (result, sandbox) = run(&guest(memory, calls), sandbox);
    assert_eq!(result.unwrap(), 0);
    assert_eq!(*seen.lock().unwrap(), [(Stdio::Stdout, b"hello\n".to_vec())]);
    assert_eq!(sandbox.vfs().read_file("out.txt").unwrap(), b"hello\nhello\n");
    assert_eq!(sandbox.vfs().usage().open, 0);
}

#[test]
fn a_sleeping_component_is_interrupted() {
    // A subscription to the monotonic clock, relative: tag 0 at 8, clock 1 at 16, timeout at 24.
    let subscription = [0, 0, 0, 0, 1, 0, -1, 0x7fff_ffff, 0, 0, 0, 0].map(i32::to_le_bytes).concat();
    let calls: &[(&str, &[Arg], i32)] = &[("poll_oneoff", &[Int(0), Int(200), Int(1), Int(300)], 0)];
    let mut sandbox = sandbox();
    let started = Instant::now();
    sandbox.set_interrupt(Interrupt::new(Some(started + Duration::from_secs(3))));
    let (result, _) = run(&guest(&[(0, &subscription)], calls), sandbox);
    assert_eq!(result.unwrap_err().downcast_ref(), Some(&Interrupted::Deadline));
    assert!(started.elapsed() >= Duration::from_secs(3));
}
