//! Makes a kernel's first image: starts the interpreter once, warms it up, and saves its memory.
//!
//! Only runs while kernels are prepared. The code that it runs comes from the kernel's folder, not from users.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cofferdam_contract::LimitName;
use cofferdam_host_api::{Base, Budget, Interrupt, Quota, Sandbox, Stdio, Stop, Vfs, WallClock};
use parking_lot::Mutex;
use serde_json::json;
use wasmtime::component::{Component, Instance};
use wasmtime::{Engine, Store};

use super::manifest::Manifest;
use super::rewrite::Rewritten;
use super::{linker, mounts, turn_text};
use crate::engine::{GUARD, RESERVATION};
use crate::error::KernelError;
use crate::guest::State;
use crate::memory::{Slot, WASM_PAGE, with_pending};

/// The longest time for an interpreter to start and warm up.
const BIRTH_TIMEOUT: Duration = Duration::from_secs(300);
const QUOTA: Quota = Quota { disk_bytes: 64 << 20, files: 1_000, open_files: 64 };

fn failed(what: impl std::fmt::Display) -> KernelError {
    KernelError::Image(what.to_string())
}

/// A fixed time of day (2026-01-01), so that remaking an image gives the same bytes and suspended sessions over it stay
/// valid.
struct StandingClock;

impl WallClock for StandingClock {
    fn now(&self) -> Duration {
        Duration::from_secs(1_767_225_600)
    }
}

/// The interpreter's output while it starts, for error messages.
type Said = Arc<Mutex<Vec<u8>>>;

struct Making {
    store: Store<State>,
    instance: Instance,
    said: Said,
}

impl Making {
    fn call(&mut self, name: &str, text: Option<&str>) -> Result<(), KernelError> {
        let func = self.instance.get_func(&mut self.store, name);
        let func = func.ok_or_else(|| failed(format!("no export {name:?}")))?;
        self.store.set_epoch_deadline(u64::MAX / 2);
        let status = match (name, text) {
            ("init", _) => func.typed::<(), ()>(&self.store)?.call(&mut self.store, ()).map(|()| 0),
            (_, None) => func.typed::<(), (i32,)>(&self.store)?.call(&mut self.store, ()).map(|(status,)| status),
            (_, Some(text)) => {
                func.typed::<(&str,), (i32,)>(&self.store)?.call(&mut self.store, (text,)).map(|(status,)| status)
            }
        };
        let said = || {
            let said = self.said.lock();
            String::from_utf8_lossy(&said).trim().to_owned()
        };
        match status {
            Ok(0) => Ok(()),
            Ok(status) => Err(failed(format!("{name} returned {status}: {}", said()))),
            Err(error) => Err(failed(format!("{name}: {error:#}: {}", said()))),
        }
    }
}

/// Starts the interpreter and returns its memory at rest.
pub fn first_image(
    engine: &Engine,
    component: &Component,
    folder: &Path,
    manifest: &Manifest,
    rewritten: &Rewritten,
) -> Result<Vec<u8>, KernelError> {
    let mounts = Arc::new(mounts::open(folder, &manifest.mounts)?);
    let base = Base { mounts, budget: Budget::new(256 << 20), clock: Arc::new(StandingClock) };
    let vfs = Vfs::new(Arc::new(base), QUOTA).map_err(failed)?;
    let said = Said::default();
    let mut sandbox = Sandbox::new(vfs);
    sandbox.set_interrupt(Interrupt::new(Instant::now().checked_add(BIRTH_TIMEOUT)));
    sandbox.set_reproducible();
    sandbox.set_env(manifest.env.iter().map(|(k, v)| (k.clone(), v.clone())).collect::<Vec<_>>());
    listen(&mut sandbox, &said);

    let size = usize::try_from(rewritten.memory_pages).map_err(failed)? * WASM_PAGE;
    let mut slot = Slot::zeroed(size, RESERVATION, GUARD).map_err(failed)?;
    for segment in &rewritten.segments {
        slot.write(segment.offset, &segment.bytes).map_err(failed)?;
    }
    let slot = Arc::new(slot);
    let mut store = Store::new(engine, State::new(sandbox));
    store.set_epoch_deadline(u64::MAX / 2);
    let pre = linker(engine)?.instantiate_pre(component)?;
    let instance = with_pending(rewritten.memory_pages, Arc::clone(&slot), || pre.instantiate(&mut store))?;
    let mut making = Making { store, instance, said };
    making.call("init", None)?;
    making.call("boot", None)?;
    for file in &manifest.image.prelude {
        let path = folder.join(file);
        let text = std::fs::read_to_string(&path).map_err(|e| KernelError::io(&path, e))?;
        making.call("turn", Some(&text))?;
    }
    for code in &manifest.image.warmup {
        let spec = json!({
            "code": code, "language": manifest.language, "filename": "warmup", "args": [], "env": manifest.env,
            "birth": "00".repeat(32), "svg": true,
        });
        making.call("turn", Some(&turn_text(&manifest.image.turn, &spec.to_string())))?;
    }
    if let Some(text) = &manifest.image.finish {
        making.call("turn", Some(text))?;
    }
    let open = making.store.data().sandbox.vfs().usage().open;
    if open > 0 {
        return Err(failed(format!(
            "{open} files are open at rest; a sandbox started from the image would not have them"
        )));
    }
    Ok(slot.with_bytes(&mut making.store, <[u8]>::to_vec))
}

/// Keeps the first 64 KiB of the interpreter's output, from its streams and its door.
fn listen(sandbox: &mut Sandbox, said: &Said) {
    let keep = |said: &Said, bytes: &[u8]| {
        let mut said = said.lock();
        let room = (64_usize << 10).saturating_sub(said.len()).min(bytes.len());
        said.extend_from_slice(bytes.get(..room).unwrap_or_default());
    };
    let output = Arc::clone(said);
    sandbox.set_output(Box::new(move |_: Stdio, bytes: &[u8]| -> Result<(), Stop> {
        keep(&output, bytes);
        if bytes.len() > 1 << 20 { Err(Stop(LimitName::OutputBytes)) } else { Ok(()) }
    }));
    let door = Arc::clone(said);
    sandbox.set_door(Box::new(move |request: &[u8]| -> Result<Vec<u8>, String> {
        let text = request.starts_with(br#"{"op":"error""#) || request.starts_with(br#"{"op": "error""#);
        if text {
            keep(&door, request);
        }
        Ok(b"{}".to_vec())
    }));
}
