//! The tagged manifest: the form that the registry takes, and the digest that the reference asks for.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::sync::{Arc, Mutex};

use cofferdam_registry::push::error::PushError;
use cofferdam_registry::push::progress::{Event, Progress};
use cofferdam_registry::{Digest, Fault, PushOptions};
use common::archive::{Stored, attested, docker_save, layer, layout, noise, tar_of};
use common::fake::Fake;
use common::quirks::{Broken, Quirks, Refuses};
use common::{file, memory, push, stream, target};
use serde_json::Value;

const INVALID: &str = r#"{"errors":[{"code":"MANIFEST_INVALID","message":"schema version not supported"}]}"#;

fn refusing(form: &str, status: u16) -> Quirks {
    let refuses = Refuses { form: form.to_owned(), status, body: INVALID.to_owned() };
    Quirks { refuses: Some(refuses), ..Quirks::default() }
}

fn layers(seed: u64) -> Vec<Vec<u8>> {
    vec![layer("one", &noise(seed, 1_000)), layer("two", &noise(seed + 1, 2_000))]
}

fn saved(docker: bool, several: bool, stored: Stored) -> Vec<u8> {
    let mut images = vec![("amd64", layers(1))];
    if several {
        images.push(("arm64", layers(3)));
    }
    tar_of(&layout(&images, stored, docker))
}

/// The manifest of a tag.
fn tagged(fake: &Fake, tag: &str) -> Option<(String, Value, Digest)> {
    let state = fake.state.lock().unwrap();
    let (kind, bytes) = state.manifests.get(&("team/agent".to_owned(), tag.to_owned()))?;
    Some((kind.clone(), serde_json::from_slice(bytes).unwrap(), Digest::of(bytes)))
}

/// All media types of a document.
fn types(document: &Value) -> Vec<String> {
    let one = |value: &Value| value["mediaType"].as_str().map(str::to_owned);
    let inner = ["layers", "manifests"].iter().filter_map(|name| document[name].as_array()).flatten();
    one(document).into_iter().chain(one(&document["config"])).chain(inner.filter_map(one)).collect()
}

#[tokio::test]
async fn a_form_that_is_refused_is_made_again_in_the_other_one() {
    for (form, other, status) in [("oci", "docker", 400), ("docker", "oci", 415)] {
        for several in [false, true] {
            for stored in [Stored::Gzip, Stored::Plain] {
                let name = format!("{form} {status} {several}");
                let fake = Fake::like(refusing(&format!("vnd.{form}."), status), Vec::new()).await;
                let archive = saved(form == "docker", several, stored);
                let plain_docker = form == "docker" && stored == Stored::Plain;
                let pushed = push(stream(archive), &target(&fake.address, "team/agent:1.0")).await;
                let pushed = pushed.unwrap_or_else(|error| panic!("{name}: {error}"));
                let (kind, document, digest) = tagged(&fake, "1.0").unwrap();
                assert_eq!((&pushed.media_type, pushed.digest), (&kind, digest), "{name}");
                let all = types(&document);
                assert!(all.iter().all(|kind| kind.contains(other)), "{name}: {all:?}");
                assert_eq!(kind.contains("list") || kind.contains("index"), several, "{name}");
                // A docker manifest whose layers were compressed is made anew, in OCI's form from the start.
                let note = pushed.notes.iter().find(|note| note.contains("does not take"));
                assert_eq!(note.is_none(), plain_docker, "{name}: {note:?}");
                assert!(
                    note.is_none_or(|note| note.contains("schema version not supported") && note.contains("digest"))
                );
            }
        }
    }
}

#[tokio::test]
async fn an_index_that_is_all_there_keeps_its_digest() {
    let (entries, digest) = attested(&[("amd64", layers(1)), ("arm64", layers(3))]);
    let archive = tar_of(&entries);
    for source in [stream(archive.clone()), file(&archive)] {
        let fake = Fake::like(Quirks::default(), Vec::new()).await;
        let pushed = push(source, &target(&fake.address, "team/agent:1.0")).await.unwrap();
        assert_eq!((pushed.digest, tagged(&fake, "1.0").unwrap().2, pushed.images.len()), (digest, digest, 2));
        let index = tagged(&fake, "1.0").unwrap().1;
        for entry in index["manifests"].as_array().unwrap() {
            let (_, manifest, _) = tagged(&fake, entry["digest"].as_str().unwrap()).unwrap();
            let inner = manifest["layers"].as_array().unwrap().iter().chain([&manifest["config"]]);
            for blob in inner {
                let blob = blob["digest"].as_str().unwrap().parse().unwrap();
                assert!(fake.state.lock().unwrap().blobs.contains_key(&("team/agent".to_owned(), blob)), "{blob}");
            }
        }
    }
    // A registry that does not take attestations gets the images, in the form that they have.
    let fake = Fake::like(refusing("application/vnd.in-toto", 400), Vec::new()).await;
    let pushed = push(stream(archive), &target(&fake.address, "team/agent:1.0")).await.unwrap();
    let (kind, index, _) = tagged(&fake, "1.0").unwrap();
    assert_eq!((kind.contains("oci.image.index"), index["manifests"].as_array().unwrap().len()), (true, 2));
    assert!(pushed.notes.iter().any(|note| note.contains("attestations")), "{:?}", pushed.notes);
}

#[tokio::test]
async fn a_refusal_of_both_forms_is_the_first_one() {
    let fake = Fake::like(refusing("application", 400), Vec::new()).await;
    let error = push(stream(docker_save(&layers(1))), &target(&fake.address, "team/agent:1.0")).await.unwrap_err();
    assert!(error.to_string().contains("MANIFEST_INVALID: schema version not supported"), "{error}");
    assert!(!error.to_string().contains("zstd"), "{error}");
    assert_eq!((error.fault(), fake.requests("PUT /v2/team/agent/manifests")), (Fault::Registry, 2));
    assert!(tagged(&fake, "1.0").is_none());
}

#[tokio::test]
async fn what_docker_has_no_form_for_is_said() {
    let fake = Fake::like(refusing("vnd.oci.", 415), Vec::new()).await;
    let archive = saved(false, false, Stored::Zstd);
    let error = push(stream(archive), &target(&fake.address, "team/agent:1.0")).await.unwrap_err();
    assert!(error.to_string().contains("zstd") && error.to_string().contains("415"), "{error}");
}

#[tokio::test]
async fn other_refusals_are_no_reason_for_another_form() {
    for (status, body) in [
        (403, r#"{"errors":[{"code":"DENIED","message":"immutable"}]}"#),
        (400, r#"{"errors":[{"code":"TAG_INVALID","message":"the tag is immutable"}]}"#),
        (404, r#"{"errors":[{"code":"NAME_UNKNOWN","message":"no such repository"}]}"#),
    ] {
        let refuses = Refuses { form: "application".into(), status, body: body.into() };
        let fake = Fake::like(Quirks { refuses: Some(refuses), ..Quirks::default() }, Vec::new()).await;
        let error = push(stream(docker_save(&layers(1))), &target(&fake.address, "team/agent:1.0")).await.unwrap_err();
        assert!(error.to_string().contains(&status.to_string()), "{error}");
        assert_eq!(fake.requests("PUT /v2/team/agent/manifests"), 1, "{body}");
    }
}

#[tokio::test]
async fn a_tag_with_a_digest_is_written_if_the_digest_is_right() {
    let fake = Fake::like(Quirks::default(), Vec::new()).await;
    let archive = saved(false, false, Stored::Gzip);
    let place = |image: &str| target(&fake.address, image);
    let digest = push(stream(archive.clone()), &place("team/agent:t1")).await.unwrap().digest;
    let both = push(stream(archive.clone()), &place(&format!("team/agent:t2@{digest}"))).await.unwrap();
    assert_eq!((both.digest, tagged(&fake, "t2").unwrap().2), (digest, digest));
    push(stream(archive.clone()), &place(&format!("team/agent@{digest}"))).await.unwrap();
    let other = Digest::of(b"other");
    for image in [format!("team/agent:t3@{other}"), format!("team/agent@{other}")] {
        let before = fake.requests("PUT /v2/team/agent/manifests");
        let error = push(stream(archive.clone()), &place(&image)).await.unwrap_err();
        assert!(
            matches!(error, PushError::OtherDigest { wanted, found } if wanted == other && found == digest),
            "{error}"
        );
        assert!(error.to_string().contains(&digest.to_string()) && !error.is_retriable(), "{error}");
        assert_eq!(fake.requests("PUT /v2/team/agent/manifests"), before);
    }
    // The other form would have another digest.
    let strict = Fake::like(refusing("vnd.oci.", 415), Vec::new()).await;
    let error = push(stream(archive), &target(&strict.address, &format!("team/agent:t2@{digest}"))).await.unwrap_err();
    assert!(error.to_string().contains("another digest"), "{error}");
    assert!(tagged(&strict, "t2").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reason_for_reading_again_is_said_once() {
    let quirks = Quirks { broken: Broken::Fatal, ..Quirks::default() };
    // The third chunk of each reading breaks off. Each trouble counts the requests that those before it let through.
    let cut = |skip: usize| format!("when = \"PATCH\"\nskip = {skip}\ntimes = 1\nread = 1000\nact = \"close\"");
    let troubles = [2, 5, 8].map(|skip| toml::from_str(&cut(skip)).unwrap());
    let fake = Fake::like(quirks, troubles.to_vec()).await;
    let archive = docker_save(&[layer("noise", &noise(1, 20 << 20))]);
    let said = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&said);
    let progress = Progress::new(move |event| {
        if let Event::Again { why } = event {
            heard.lock().unwrap().push(why);
        }
    });
    let place = target(&fake.address, "team/agent:1.0");
    let done = cofferdam_registry::push(file(&archive), &place, &PushOptions::default(), memory(), &progress).await;
    let error = done.unwrap_err().to_string();
    assert!(error.contains("Push again"), "{error}");
    assert_eq!(said.lock().unwrap().len(), 1, "{said:?}");
}

/// buildkit#3776 and aws/containers-roadmap#2380 (immutable tags), kaniko#298 (a digest without its algorithm).
#[tokio::test]
async fn a_tag_that_has_the_image_already_is_no_failure() {
    for quirks in [
        Quirks { immutable: true, ..Quirks::default() },
        Quirks { immutable: true, loses_answer: true, ..Quirks::default() },
        Quirks { bare_digest: true, ..Quirks::default() },
    ] {
        let fake = Fake::like(quirks, Vec::new()).await;
        let target = target(&fake.address, "team/agent:1.0");
        let first = push(stream(saved(false, false, Stored::Gzip)), &target).await.unwrap();
        assert_eq!(Some(first.digest), tagged(&fake, "1.0").map(|(_, _, digest)| digest));
        let again = push(stream(saved(false, false, Stored::Gzip)), &target).await.unwrap();
        assert_eq!(again.digest, first.digest);
    }
    let fake = Fake::like(Quirks { immutable: true, ..Quirks::default() }, Vec::new()).await;
    let target = target(&fake.address, "team/agent:1.0");
    push(stream(saved(false, false, Stored::Gzip)), &target).await.unwrap();
    let other = push(stream(saved(false, true, Stored::Gzip)), &target).await.unwrap_err();
    assert!(other.to_string().contains("immutable"), "{other}");
}
