//! Compiling into a cache, loading from it, and calling the result.

use std::fs;

use cofferdam_contract::tool::MAX_RESULT_BYTES;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use wasmtime::Store;
use wasmtime::component::{Linker, Val};

use super::{ENGINE, component, exported};
use crate::artifact::{ArtifactCache, component_key, engine_key};
use crate::error::Error;
use crate::tool::compile::{Job, compile};
use crate::tool::shape::Signature;
use crate::tool::value_out::Returned;

/// Adds two numbers; fails where the second is 0.
const ADD: &str = r#"(component
    (core module $m
        (memory (export "memory") 1)
        (data (i32.const 16) "no zeros")
        (func (export "add") (param i32 i32) (result i32)
            (if (i32.eqz (local.get 1))
                (then (i32.store8 (i32.const 0) (i32.const 1))
                      (i32.store (i32.const 4) (i32.const 16)) (i32.store (i32.const 8) (i32.const 8)))
                (else (i32.store8 (i32.const 0) (i32.const 0))
                      (i32.store (i32.const 4) (i32.add (local.get 0) (local.get 1)))))
            (i32.const 0)))
    (core instance $c (instantiate $m))
    (func $add (param "a" u32) (param "b" u32) (result (result u32 (error string)))
        (canon lift (core func $c "add") (memory (core memory $c "memory"))))
    (instance $i (export "add" (func $add)))
    (export "example:sums/sum@1.0.0" (instance $i)))"#;

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

fn job(folder: &TempDir, digest: String) -> Job {
    Job { cache_dir: folder.path().join("cache"), digest, confine: false }
}

#[test]
fn a_compiled_component_can_be_loaded_and_called() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = component(ADD);
    let job = job(&folder, digest(&bytes));
    let described = compile(&job, &mut bytes.as_slice()).unwrap();
    assert_eq!(described.functions[0].name, "sums-sum-add");
    let cache = ArtifactCache::open(&job.cache_dir).unwrap();
    let key = component_key(&engine_key(&ENGINE), &job.digest).unwrap();
    let loaded = cache.load(&ENGINE, &key).unwrap();

    let path = &described.functions[0].export;
    let signature = Signature::of(&exported(&loaded, path.interface.as_deref().unwrap(), &path.function)).unwrap();
    let interface = loaded.get_export_index(None, path.interface.as_deref().unwrap()).unwrap();
    let index = loaded.get_export_index(Some(&interface), &path.function).unwrap();
    let call = |json: &str| {
        let mut store = Store::new(&ENGINE, ());
        store.set_epoch_deadline(1);
        let instance = Linker::new(&ENGINE).instantiate(&mut store, &loaded).unwrap();
        let arguments = signature.arguments(&RawValue::from_string(json.to_owned()).unwrap()).unwrap();
        let mut results = [Val::Bool(false)];
        instance.get_func(&mut store, index).unwrap().call(&mut store, &arguments, &mut results).unwrap();
        signature.returned(results.first(), MAX_RESULT_BYTES).unwrap()
    };
    assert!(matches!(call(r#"{"a": 40, "b": 2}"#), Returned::Value(json) if json.get() == "42"));
    assert!(matches!(call(r#"{"b": 0, "a": 2}"#), Returned::Error(text) if text == "no zeros"));
}

#[test]
fn the_second_time_nothing_is_compiled() {
    use std::os::unix::fs::MetadataExt;
    let folder = tempfile::tempdir().unwrap();
    let bytes = component(ADD);
    let job = job(&folder, digest(&bytes));
    let first = compile(&job, &mut bytes.as_slice()).unwrap();
    let cache = ArtifactCache::open(&job.cache_dir).unwrap();
    let code = cache.path(&component_key(&engine_key(&ENGINE), &job.digest).unwrap(), "code");
    let (made, inode) = (fs::read(&code).unwrap(), || fs::metadata(&code).unwrap().ino());
    let before = inode();
    assert_eq!(compile(&job, &mut bytes.as_slice()).unwrap(), first);
    assert_eq!(inode(), before, "compiled again");
    fs::write(&code, "damaged").unwrap();
    assert_eq!(compile(&job, &mut bytes.as_slice()).unwrap(), first);
    assert!(fs::read(&code).unwrap() == made, "damaged code is recompiled");
    fs::remove_file(&code).unwrap();
    assert_eq!(compile(&job, &mut bytes.as_slice()).unwrap(), first);
    assert!(fs::read(&code).unwrap() == made, "missing code is recompiled");
}

#[test]
fn what_is_not_what_its_digest_says_is_not_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = component(ADD);
    for (digest, expected) in [
        (digest(b"other"), "are not those of"),
        ("sha256:zz".to_owned(), "64 lower-case hex digits"),
        (digest(&bytes).to_uppercase(), "64 lower-case hex digits"),
        ("../../etc".to_owned(), "64 lower-case hex digits"),
    ] {
        let Err(Error::Refused(problem)) = compile(&job(&folder, digest), &mut bytes.as_slice()) else { panic!() };
        assert!(problem.detail.contains(expected), "{}", problem.detail);
    }
    // Valid outside, broken inside: the compiler must find it.
    let code = bytes.windows(4).position(|w| w == [0x20, 0x01, 0x45, 0x04]).unwrap();
    let mut bent = bytes;
    bent[code] = 0x1A;
    let job = job(&folder, digest(&bent));
    let Err(Error::Refused(problem)) = compile(&job, &mut bent.as_slice()) else { panic!() };
    assert_eq!(problem.kind(), "bad-component");
    assert!(problem.detail.contains("broken"), "{}", problem.detail);
}

#[test]
fn the_cache_lets_go_of_what_was_asked_for_longest_ago() {
    let folder = tempfile::tempdir().unwrap();
    let cache = ArtifactCache::open(folder.path()).unwrap();
    let keys: Vec<String> = (0..3).map(|n| component_key("engine", &digest(&[n])).unwrap()).collect();
    for (age, key) in keys.iter().enumerate() {
        cache.component_folder(key).unwrap();
        let path = cache.path(key, "code");
        fs::write(&path, [0; 1_000]).unwrap();
        let old = std::time::SystemTime::now() - std::time::Duration::from_secs(60 * age as u64);
        fs::File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
    }
    cache.trim_components(2_500).unwrap();
    assert_eq!(keys.iter().map(|key| cache.path(key, "code").exists()).collect::<Vec<_>>(), [true, true, false]);
}
