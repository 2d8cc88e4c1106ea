//! A reset slot equals its image byte for byte, whatever ran in it. With the real kernels.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test: what is not as expected ends it")]
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cofferdam_contract::OrganizationId;
use cofferdam_host_api::{Budget, Interrupt, Quota, Sandbox, Stdio, Stop, Vfs};
use cofferdam_runtime::artifact::ArtifactCache;
use cofferdam_runtime::engine::{kernel_engine, start_ticker};
use cofferdam_runtime::guest::{Bounds, Guest, State, TurnEnd};
use cofferdam_runtime::kernel::Kernel;

const PYTHON: &[&str] = &[
    "print('hello')",
    "import pandas as pd, numpy as np\nprint(pd.DataFrame(np.random.rand(500, 20)).describe())",
    "import matplotlib.pyplot as plt\nplt.hist([1, 2, 2, 3]); plt.show()",
    "x = bytearray(100 << 20); x[::4096] = b'x' * len(x[::4096])",
    "import builtins, json, sys\nbuiltins.print = None; json.dumps = None; sys.modules.clear()",
    "import gc; gc.unfreeze(); gc.collect(); [object() for _ in range(300000)]",
    "def f(n): return f(n + 1)\nf(0)",
    "raise ValueError('a' * 100000)",
    "import os; os._exit(0)",
    "while True: pass",
];
const JAVASCRIPT: &[&str] = &[
    "console.log('hello')",
    "const a = []; for (let i = 0; i < 1e6; i++) a.push({i});",
    "Array.prototype.map = null; globalThis.console = null; JSON.stringify = null",
    "function f(n) { return f(n + 1) + 1 }; f(0)",
    "throw new Error('x'.repeat(100000))",
    "const b = new Uint8Array(100 << 20).fill(7); b.length",
    "process.exit(0)",
    "for (;;) {}",
];

fn folder(variable: &str, name: &str) -> PathBuf {
    std::env::var_os(variable)
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target").join(name), PathBuf::from)
}

/// Runs every text in one slot, and compares the slot with its image each time.
fn check(name: &str, language: &str, texts: &[&str]) {
    let kernels = folder("COFFERDAM_KERNELS", "kernels");
    let cache = folder("COFFERDAM_CACHE_DIR", "cache");
    assert!(kernels.join(name).is_dir(), "no kernels in {}: run `make kernels`", kernels.display());
    cofferdam_runtime::prepare(&kernels, &cache, &mut |line| eprintln!("{line}")).unwrap();
    let engine = kernel_engine().unwrap();
    start_ticker(&engine, || ()).unwrap();
    let cache = ArtifactCache::open(&cache).unwrap();
    let kernel = Kernel::load(&engine, &cache, &kernels.join(name), &Budget::new(1 << 30), 2).unwrap();
    let organization = OrganizationId::default_organization();
    let mut kept = None;
    for text in texts {
        let slot = kept.take().unwrap_or_else(|| kernel.slots().take(&organization).unwrap());
        let quota = Quota { disk_bytes: 1 << 20, files: 10, open_files: 10 };
        let mut sandbox = Sandbox::new(Vfs::new(Arc::clone(kernel.base()), quota).unwrap());
        sandbox.set_output(Box::new(|_: Stdio, _: &[u8]| -> Result<(), Stop> { Ok(()) }));
        sandbox.set_door(Box::new(|_: &[u8]| -> Result<Vec<u8>, String> { Ok(b"{}".to_vec()) }));
        let mut guest = Guest::birth(&kernel, slot, State::new(sandbox)).unwrap();
        let spec = serde_json::json!({
            "code": text, "language": language, "filename": "main", "args": [], "env": kernel.env(),
            "birth": "ab".repeat(32), "svg": false,
        });
        let bounds = Bounds {
            interrupt: Interrupt::new(Instant::now().checked_add(Duration::from_secs(2))),
            cpu: Duration::from_secs(10),
            memory_bytes: 1 << 30,
        };
        let (end, _) = guest.turn(&kernel.turn_text(&spec.to_string()), bounds);
        let crashed = matches!(end, TurnEnd::Crashed(_));
        let (slot, _) = guest.end();
        // A guest that crashed returns no slot. Every other one returns one that resets cleanly.
        let mut slot = match slot {
            Some(slot) => slot,
            None if crashed => continue,
            None => panic!("{text:?} ended with {end:?} and left no slot"),
        };
        assert!(!slot.is_pristine(), "{text:?} wrote nothing at all?");
        slot.reset().unwrap();
        assert!(slot.is_pristine(), "{name}: after {text:?}, which ended with {end:?}");
        kept = Some(slot);
    }
}

#[test]
fn after_python_the_slot_is_the_image_again() {
    on_a_large_stack(|| check("python", "python", PYTHON));
}

#[test]
fn after_javascript_the_slot_is_the_image_again() {
    on_a_large_stack(|| check("javascript", "javascript", JAVASCRIPT));
}

/// Guests run on the caller's stack, which is small in tests.
fn on_a_large_stack(work: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(64 << 20).spawn(work).unwrap().join().unwrap();
}
