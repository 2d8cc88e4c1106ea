//! Pushes the same images to registries that behave as their users report: every file in `tests/registries` is one. From a
//! file and through a pipe, with small and large layers, and with connections that break in the middle of them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_registry::client::credentials::Credentials;
use cofferdam_registry::{Digest, PushReport};
use common::archive::{Stored, docker_save, layer, noise, oci_entries, tar_of};
use common::fake::{Fake, PASSWORD, Trouble, USER};
use common::quirks::Quirks;
use common::{file, push, stream, target};

const CASE_TIMEOUT: Duration = Duration::from_secs(120);
const AT_ONCE: usize = 4;

/// Three layers: one of a few bytes, one below a chunk, one of three chunks.
fn images() -> Vec<(&'static str, Vec<u8>)> {
    let layers =
        [(1, 100), (2, 3 << 20), (3, 17 << 20)].map(|(seed, size)| layer("noise", &noise(seed, size))).to_vec();
    let oci = tar_of(&oci_entries(&[("amd64", layers.clone())], Stored::Gzip));
    vec![("docker", docker_save(&layers)), ("oci", oci)]
}

/// The request that breaks: a chunk after this many, in its middle.
fn cut(skip: usize) -> Trouble {
    let text = format!("when = \"PATCH\"\nskip = {skip}\ntimes = 1\nread = 300000\nact = \"close\"");
    toml::from_str(&text).unwrap()
}

fn quirks() -> Vec<(String, Quirks)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/registries");
    let only = std::env::var("CASE").unwrap_or_default();
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if path.extension().is_some_and(|end| end == "toml") && name.contains(&only) {
            let quirks: Quirks = toml::from_str(&std::fs::read_to_string(&path).unwrap())
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(!quirks.about.is_empty() && !quirks.sources.is_empty(), "{name}");
            all.push((name, quirks));
        }
    }
    assert!(!all.is_empty());
    all.sort_by(|one, two| one.0.cmp(&two.0));
    all
}

/// Everything that the report names is in the registry, with its digest, and the tag leads to it.
fn arrived(fake: &Fake, pushed: &PushReport) -> Result<(), String> {
    let state = fake.state.lock().unwrap();
    let repository = "team/agent".to_owned();
    for digest in pushed.layers.iter().map(|layer| layer.digest).chain(pushed.images.iter().map(|image| image.config)) {
        let blob = state.blobs.get(&(repository.clone(), digest)).ok_or_else(|| format!("{digest} is not there"))?;
        if Digest::of(blob) != digest {
            return Err(format!("{digest} is another one"));
        }
    }
    let (kind, bytes) = state.manifests.get(&(repository, "1.0".to_owned())).ok_or("there is no tag")?;
    if Digest::of(bytes) != pushed.digest || *kind != pushed.media_type {
        return Err(format!("the tag is another manifest: {kind}"));
    }
    if !pushed.layers.iter().all(|layer| String::from_utf8_lossy(bytes).contains(&layer.digest.to_string())) {
        return Err("the manifest lacks a layer".to_owned());
    }
    Ok(())
}

async fn one(
    name: String,
    quirks: Quirks,
    archive: Arc<Vec<u8>>,
    piped: bool,
    broken: Option<usize>,
) -> Result<(), String> {
    let resumes = quirks.resumes;
    let refuses = quirks.refuses.clone();
    let fake = Fake::like(quirks, broken.map(cut).into_iter().collect()).await;
    let mut target = target(&fake.address, "team/agent:1.0");
    target.credentials = Credentials::basic(USER, PASSWORD);
    target.token_host = Some(fake.other.clone());
    let source = if piped { stream(archive.to_vec()) } else { file(&archive) };
    let about = format!("{name}, {}, break {broken:?}", if piped { "pipe" } else { "file" });
    let pushing = tokio::time::timeout(CASE_TIMEOUT, push(source, &target));
    let done = pushing.await.map_err(|_| format!("{about}: it did not end"))?;
    let wrong = match done {
        Ok(pushed) => {
            let refused = refuses.is_some_and(|refuses| refuses.form.contains("oci"));
            let noted = pushed.notes.iter().any(|note| note.contains("does not take"));
            match arrived(&fake, &pushed) {
                Ok(()) if refused != noted => format!("its notes are {:?}", pushed.notes),
                Ok(()) => return Ok(()),
                Err(why) => why,
            }
        }
        // A pipe cannot be read again: where a registry keeps nothing, the push says so.
        Err(error) if piped && broken.is_some() && !resumes && error.is_retriable() => return Ok(()),
        Err(error) => format!("it failed: {error}"),
    };
    Err(format!("{about}: {wrong}\n    {}", fake.state.lock().unwrap().log.join("\n    ")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_images_arrive_at_every_registry() {
    let mut failures = Vec::new();
    let mut running: tokio::task::JoinSet<Result<(), String>> = tokio::task::JoinSet::new();
    let images: Vec<_> = images().into_iter().map(|(kind, archive)| (kind, Arc::new(archive))).collect();
    for (name, quirks) in quirks() {
        for (kind, archive) in &images {
            for piped in [false, true] {
                // Layers that are compressed on their way take the longer path; for the others one break is enough.
                let breaks: &[_] = if *kind == "oci" { &[None, Some(1)] } else { &[None, Some(0), Some(1), Some(2)] };
                for broken in breaks.iter().copied() {
                    if running.len() >= AT_ONCE {
                        failures.extend(running.join_next().await.unwrap().unwrap().err());
                    }
                    let name = format!("{name}, {kind}");
                    running.spawn(one(name, quirks.clone(), Arc::clone(archive), piped, broken));
                }
            }
        }
    }
    while let Some(done) = running.join_next().await {
        failures.extend(done.unwrap().err());
    }
    assert!(failures.is_empty(), "{}:\n{}", failures.len(), failures.join("\n"));
}
