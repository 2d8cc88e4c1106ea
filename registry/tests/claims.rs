//! Digests that an archive only claims, in the hands of somebody who knows those of other people's layers: nothing is skipped,
//! mounted or tagged that the archive does not have. As a file and through a pipe.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_registry::push::cache::LayerCache;
use cofferdam_registry::{ArchiveSource, Digest, Fault, PushOptions};
use common::archive::{config, docker_save, end, entry, layer, noise, oci_entries, tar_of};
use common::fake::Fake;
use common::quirks::Quirks;
use common::{file, memory, push_with, stream, target};
use serde_json::json;

/// A file's times tell of every change after this, even where they are whole seconds.
const SETTLED: Duration = Duration::from_millis(3_100);

/// `docker save` of layers that are not the ones that its configuration claims.
fn lying(claimed: &[Vec<u8>], stored: &[Vec<u8>]) -> Vec<u8> {
    let mut tar = Vec::new();
    let names: Vec<String> = (0..stored.len()).map(|number| format!("{number}/layer.tar")).collect();
    names.iter().zip(stored).for_each(|(name, layer)| entry(&mut tar, name, layer));
    let config = config(claimed, "amd64").to_string();
    entry(&mut tar, "config.json", config.as_bytes());
    let manifest = json!([{"Config": "config.json", "RepoTags": ["test/agent:1.0"], "Layers": names}]).to_string();
    entry(&mut tar, "manifest.json", manifest.as_bytes());
    end(&mut tar);
    tar
}

/// Pushes to the fake's `team/agent`, and returns the refusal.
async fn refused(fake: &Fake, source: ArchiveSource, cache: &Arc<dyn LayerCache>) -> String {
    let target = target(&fake.address, "team/agent:1.0");
    let error = push_with(source, &target, &PushOptions::default(), cache).await.unwrap_err();
    let state = fake.state.lock().unwrap();
    assert!(!state.manifests.contains_key(&("team/agent".to_owned(), "1.0".to_owned())), "{error}");
    error.to_string()
}

/// Whoever knows the digest of a layer in a private repository claims to have it, and has it mounted into one that he can
/// read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_gets_a_layer_by_claiming_its_digest() {
    let private = layer("secret", &noise(1, 300_000));
    let bait = layer("secret", &noise(2, 300_000));
    let same_start = {
        let mut bytes = private.clone();
        bytes.truncate(1_000);
        bytes.extend(layer("x", b"y"));
        bytes
    };
    for stored in [bait, same_start] {
        for hostile in
            [lying(std::slice::from_ref(&private), std::slice::from_ref(&stored)), named_like(&private, &stored)]
        {
            for piped in [false, true] {
                let fake = Fake::like(Quirks::default(), Vec::new()).await;
                let cache = memory();
                let theirs = target(&fake.address, "private/agent:1.0");
                let honest = stream(docker_save(std::slice::from_ref(&private)));
                let pushed = push_with(honest, &theirs, &PushOptions::default(), &cache).await.unwrap();
                let source = if piped { stream(hostile.clone()) } else { file(&hostile) };
                refused(&fake, source, &cache).await;
                let state = fake.state.lock().unwrap();
                let blob = pushed.layers[0].digest;
                assert!(!state.blobs.contains_key(&("team/agent".to_owned(), blob)), "piped: {piped}");
                assert!(state.log.iter().all(|line| !line.contains("mount=")), "{:?}", state.log);
            }
        }
    }
}

/// An archive whose layer has the name of another one's digest, as podman writes them.
fn named_like(claimed: &[u8], stored: &[u8]) -> Vec<u8> {
    let mut tar = Vec::new();
    let name = format!("{}.tar", Digest::of(claimed).hex());
    entry(&mut tar, &name, stored);
    let config = config(&[claimed.to_vec()], "amd64").to_string();
    entry(&mut tar, "config.json", config.as_bytes());
    let manifest = json!([{"Config": "config.json", "RepoTags": ["a:1"], "Layers": [name]}]).to_string();
    entry(&mut tar, "manifest.json", manifest.as_bytes());
    end(&mut tar);
    tar
}

/// The same layer, known by its bytes, is still mounted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_the_layer_gets_it_mounted() {
    let layers = [layer("a", &noise(1, 300_000)), layer("b", b"small")];
    for piped in [false, true] {
        let fake = Fake::like(Quirks::default(), Vec::new()).await;
        let cache = memory();
        let archive = docker_save(&layers);
        let (one, two) = (target(&fake.address, "team/one:1"), target(&fake.address, "team/two:1"));
        push_with(stream(archive.clone()), &one, &PushOptions::default(), &cache).await.unwrap();
        let source = if piped { stream(archive.clone()) } else { file(&archive) };
        let pushed = push_with(source, &two, &PushOptions::default(), &cache).await.unwrap();
        assert_eq!((pushed.mounted, pushed.sent), (2, 0), "piped: {piped}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_layers_that_claim_one_digest_are_refused_by_name() {
    let (one, two) = (layer("a", &noise(1, 100_000)), layer("a", &noise(2, 100_000)));
    let hostile = lying(&[one.clone(), one.clone()], &[one, two.clone()]);
    for source in [file(&hostile), stream(hostile.clone())] {
        let fake = Fake::like(Quirks::default(), Vec::new()).await;
        let text = refused(&fake, source, &memory()).await;
        assert!(text.contains("`1/layer.tar`"), "{text}");
    }
}

/// A claimed layer that the registry has is not taken for what the archive stores instead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_layer_that_the_registry_has_is_compared_all_the_same() {
    let (true_one, other) = (layer("a", &noise(1, 100_000)), layer("a", &noise(2, 100_000)));
    let hostile = lying(std::slice::from_ref(&true_one), std::slice::from_ref(&other));
    for piped in [false, true] {
        let fake = Fake::like(Quirks::default(), Vec::new()).await;
        let cache = memory();
        let before = target(&fake.address, "team/agent:old");
        let honest = file(&docker_save(std::slice::from_ref(&true_one)));
        push_with(honest, &before, &PushOptions::default(), &cache).await.unwrap();
        let source = if piped { stream(hostile.clone()) } else { file(&hostile) };
        let text = refused(&fake, source, &cache).await;
        assert!(text.contains("`0/layer.tar`"), "{text}");
    }
}

/// A layer that was read once at a place is skipped there, until the file changes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_not_read_twice_unless_it_changed() {
    let layers = [layer("a", &noise(1, 2 << 20))];
    let oci = tar_of(&oci_entries(&[("amd64", layers.to_vec())], common::archive::Stored::Gzip));
    for archive in [docker_save(&layers), oci] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("archive.tar");
        std::fs::write(&path, &archive).unwrap();
        let (fake, cache) = (Fake::like(Quirks::default(), Vec::new()).await, memory());
        let target = target(&fake.address, "team/agent:1.0");
        let push = async || {
            let source = ArchiveSource::File(File::open(&path).unwrap());
            push_with(source, &target, &PushOptions::default(), &cache).await
        };
        tokio::time::sleep(SETTLED).await;
        assert!(push().await.unwrap().read > 2 << 20);
        let again = push().await.unwrap();
        assert!(again.read < 100_000 && again.skipped == 1, "{}", again.read);
        // A byte in the middle of the layer, with the old times.
        let file = File::options().write(true).open(&path).unwrap();
        let modified = file.metadata().unwrap().modified().unwrap();
        file.write_all_at(b"!", 1 << 20).unwrap();
        file.set_modified(modified).unwrap();
        let error = push().await.unwrap_err();
        assert_eq!(error.fault(), Fault::Archive, "{error}");
    }
}
