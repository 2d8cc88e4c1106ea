//! Public reports of other tools' users, replayed against the registry that misbehaves as it did there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use cofferdam_registry::client::credentials::Credentials;
use cofferdam_registry::push::cache::LayerCache;
use cofferdam_registry::push::error::PushError;
use cofferdam_registry::{ArchiveSource, Digest, Fault, PushOptions, PushReport, Target};
use common::archive::{Stored, docker_save, layer, noise, oci_entries, tar_of};
use common::fake::{Access, Fake, PASSWORD, Trouble, USER};
use common::{file, memory, push, push_with, stream, target};

const UNKNOWN: &str = "when = \"PUT /v2/team/agent/manifests\"\ntimes = 1\nstatus = 404\nbody = '{\"errors\":[{\"code\":\"MANIFEST_BLOB_UNKNOWN\"}]}'";

fn troubles(texts: &[&str]) -> Vec<Trouble> {
    texts.iter().map(|text| toml::from_str(text).unwrap()).collect()
}

async fn fake(access: Access, texts: &[&str]) -> (Fake, Target) {
    let fake = Fake::start(access, troubles(texts)).await;
    let target = target(&fake.address, "team/agent:1.0");
    (fake, target)
}

fn saved() -> Vec<u8> {
    docker_save(&[layer("small", b"x")])
}

/// Layers that are stored as the archive has them, so that the registry is asked for them.
fn layers() -> Vec<Vec<u8>> {
    vec![layer("one", &noise(1, 100_000)), layer("two", &noise(2, 100_000))]
}

fn packed() -> Vec<u8> {
    tar_of(&oci_entries(&[("amd64", layers())], Stored::Gzip))
}

async fn failing(target: &Target) -> (Fault, String, Duration) {
    let started = Instant::now();
    let error = push(stream(saved()), target).await.unwrap_err();
    (error.fault(), error.to_string(), started.elapsed())
}

/// All that the pushed manifest names is there.
fn assert_whole(fake: &Fake, pushed: &PushReport) {
    let state = fake.state.lock().unwrap();
    let (_, manifest) = &state.manifests[&("team/agent".to_owned(), "1.0".to_owned())];
    assert_eq!(Digest::of(manifest), pushed.digest);
    let manifest: serde_json::Value = serde_json::from_slice(manifest).unwrap();
    for blob in manifest["layers"].as_array().unwrap().iter().chain([&manifest["config"]]) {
        let digest: Digest = blob["digest"].as_str().unwrap().parse().unwrap();
        assert!(state.blobs.contains_key(&("team/agent".to_owned(), digest)), "{digest}");
    }
}

/// containers/image#1420.
#[tokio::test]
async fn a_page_that_answers_everything_is_no_registry() {
    let page = "status = 200\nbody = '<html><title>Log in</title></html>'\nheaders = { content-type = \"text/html\" }";
    let all: Vec<String> =
        ["GET /", "HEAD /", "POST /", "PUT /", "PATCH /"].map(|one| format!("when = \"{one}\"\n{page}")).into();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let (_fake, place) = fake(Access::Open, &all).await;
    let (fault, text, took) = failing(&place).await;
    assert!(fault == Fault::Registry && text.contains("no registry") && text.contains("web page"), "{text}");
    assert!(took < Duration::from_secs(1), "{took:?}");
}

/// containers/image#1420.
#[tokio::test]
async fn a_manifest_is_pushed_when_it_is_there() {
    for status in [200, 202, 204] {
        let put =
            format!("when = \"PUT /v2/team/agent/manifests\"\nskip = 1\nstatus = {status}\nbody = '<html></html>'");
        let put = if status == 204 { put.replace("body = '<html></html>'", "") } else { put };
        let (_, place) = fake(Access::Open, &[&put.replace("skip = 1", "")]).await;
        let (fault, text, _) = failing(&place).await;
        assert!(fault == Fault::Registry && text.contains("does not have it"), "{status}: {text}");
        // The same answer by a registry that has it.
        let (fake, place) = fake(Access::Open, &[&put]).await;
        let first = push(stream(saved()), &place).await.unwrap();
        let again = push(stream(saved()), &place).await.unwrap_or_else(|error| panic!("{status}: {error}"));
        assert_eq!(first.digest, again.digest);
        assert_whole(&fake, &again);
    }
}

async fn again(source: ArchiveSource, place: &Target, cache: &Arc<dyn LayerCache>) -> Result<PushReport, PushError> {
    push_with(source, place, &PushOptions::default(), cache).await
}

/// goharbor/harbor#20732.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn layers_that_a_registry_has_lost_are_sent_anew() {
    let lies = "when = \"HEAD /v2/team/agent/blobs/\"\nstatus = 200";
    let (fake_file, place) = fake(Access::Open, &[lies, UNKNOWN]).await;
    let pushed = again(file(&packed()), &place, &memory()).await.unwrap();
    assert_whole(&fake_file, &pushed);
    let (fake_pipe, place) = fake(Access::Open, &[lies, UNKNOWN]).await;
    let cache = memory();
    let error = again(stream(packed()), &place, &cache).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("lost them") && text.contains("Push again") && error.is_retriable(), "{text}");
    assert!(!text.contains("repository exists"), "{text}");
    let pushed = again(stream(packed()), &place, &cache).await.unwrap();
    assert_whole(&fake_pipe, &pushed);
    assert_eq!(pushed.skipped, 0);
}

/// goharbor/harbor#20732: the mount is what lies.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mount_that_did_not_happen_is_made_good() {
    for piped in [false, true] {
        let (fake, place) = fake(Access::Open, &["when = \"POST mount=sha256\"\nstatus = 201", UNKNOWN]).await;
        let cache = memory();
        let source = || if piped { stream(packed()) } else { file(&packed()) };
        again(source(), &target(&fake.address, "team/other:1.0"), &cache).await.unwrap();
        let first = again(source(), &place, &cache).await;
        let pushed = match first {
            Err(error) if piped => {
                assert!(error.to_string().contains("Push again"), "{error}");
                again(stream(packed()), &place, &cache).await.unwrap()
            }
            first => first.unwrap(),
        };
        assert_whole(&fake, &pushed);
    }
}

/// google/go-containerregistry#2333.
#[tokio::test]
async fn the_api_check_may_be_redirected() {
    for status in [301, 307, 308] {
        let moved = format!(
            "when = \"GET /v2/?\"\ntimes = 1\nstatus = {status}\nheaders = {{ location = \"http://${{other}}/v2/\" }}"
        );
        let (fake, mut place) = fake(Access::Basic, &[&moved]).await;
        place.credentials = Credentials::basic(USER, PASSWORD);
        let pushed = push(stream(saved()), &place).await.unwrap();
        assert_whole(&fake, &pushed);
        assert!(fake.state.lock().unwrap().leaked.is_empty());
    }
    let circle = "when = \"GET /v2/?\"\nstatus = 301\nheaders = { location = \"/v2/\" }";
    let (fake, place) = fake(Access::Open, &[circle]).await;
    let (fault, text, _) = failing(&place).await;
    assert!(fault == Fault::Registry && fake.requests("GET /v2/?") < 20, "{text}");
}

/// distribution/distribution#1217.
#[tokio::test]
async fn storage_that_refuses_is_named() {
    let (fake, place) = fake(
        Access::Open,
        &[
            "when = \"HEAD /v2/team/agent/blobs/\"\nstatus = 307\nheaders = { location = \"http://${other}/storage\" }",
            "when = \"HEAD /storage\"\nstatus = 403",
        ],
    )
    .await;
    let (fault, text, _) = failing(&place).await;
    assert!(fault == Fault::Registry && text.contains(&fake.other) && text.contains("storage"), "{text}");
    assert!(!text.contains("credentials"), "{text}");
}

/// distribution/distribution#2572.
#[tokio::test]
async fn a_location_with_tls_where_there_is_none() {
    // Speaks plain HTTP only, and says so to whoever speaks TLS.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n").await;
        }
    });
    let post = format!(
        "when = \"POST\"\nstatus = 202\nheaders = {{ location = \"https://{at}/v2/team/agent/blobs/uploads/u1\" }}"
    );
    let (_fake, place) = fake(Access::Open, &[&post]).await;
    let (_, text, _) = failing(&place).await;
    assert!(text.contains("https") && text.contains("X-Forwarded-Proto"), "{text}");
    assert!(!text.contains("--plain-http"), "{text}");
}

/// A `Location` without anything in it took 17.6 s to be a 404.
#[tokio::test]
async fn an_empty_location_is_none() {
    let (fake, place) = fake(Access::Open, &["when = \"POST\"\nstatus = 202\nheaders = { location = \"\" }"]).await;
    let (_, text, took) = failing(&place).await;
    assert!(text.contains("no Location"), "{text}");
    assert!(took < Duration::from_secs(1) && fake.requests("PATCH") + fake.requests("PUT") == 0, "{took:?}");
}

/// siderolabs/image-factory#573.
#[tokio::test]
async fn a_password_is_tried_where_the_token_service_is_not_there() {
    let both = "when = \"GET /v2/?\"\nstatus = 401\n[headers]\nwww-authenticate = 'Bearer realm=\"http://${self}/none\",service=\"s\", Basic realm=\"r\"'";
    let (fake, mut place) = fake(Access::Basic, &[both]).await;
    place.credentials = Credentials::basic(USER, PASSWORD);
    let pushed = push(stream(saved()), &place).await.unwrap();
    assert_whole(&fake, &pushed);
}

/// moby/moby#47210, as a folder.
#[tokio::test]
async fn a_folder_whose_index_names_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let one = layer("small", b"x");
    let config = common::archive::config(std::slice::from_ref(&one), "amd64").to_string();
    for (name, bytes) in [
        ("index.json", br#"{"schemaVersion":2,"manifests":null}"#.to_vec()),
        ("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
        ("manifest.json", br#"[{"Config":"c.json","RepoTags":["a:1"],"Layers":["l.tar"]}]"#.to_vec()),
        ("c.json", config.into_bytes()),
        ("l.tar", one),
    ] {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    let (fake, place) = fake(Access::Open, &[]).await;
    let pushed = push(ArchiveSource::Directory(folder.path().to_owned()), &place).await.unwrap();
    assert_whole(&fake, &pushed);
}

/// A layer that is typed gzip and is something else: the registry gets its true type, and no digest is kept silently.
#[tokio::test]
async fn a_layer_gets_its_true_media_type() {
    for stored in [Stored::Zstd, Stored::Plain] {
        let archive = typed_gzip(stored);
        for piped in [false, true] {
            let (fake, place) = fake(Access::Open, &[]).await;
            let source = || if piped { stream(archive.clone()) } else { file(&archive) };
            let pushed = push(source(), &place).await.unwrap();
            assert_whole(&fake, &pushed);
            let state = fake.state.lock().unwrap();
            let (_, manifest) = &state.manifests[&("team/agent".to_owned(), "1.0".to_owned())];
            let kind = if stored == Stored::Zstd { "layer.v1.tar+zstd" } else { "layer.v1.tar+gzip" };
            assert!(String::from_utf8_lossy(manifest).contains(kind), "{}", String::from_utf8_lossy(manifest));
            assert!(pushed.notes.iter().any(|note| note.contains("digest is not the archive's")), "{:?}", pushed.notes);
        }
    }
}

/// A layout whose manifest says gzip of every layer.
fn typed_gzip(stored: Stored) -> Vec<u8> {
    let mut entries = oci_entries(&[("amd64", layers())], stored);
    let at = entries.iter().position(|(_, bytes)| bytes.starts_with(b"{") && is_manifest(bytes)).unwrap();
    let (old, bytes) = entries.remove(at);
    let kind = if stored == Stored::Zstd { "layer.v1.tar+zstd" } else { "layer.v1.tar" };
    let bytes = String::from_utf8(bytes).unwrap().replace(kind, "layer.v1.tar+gzip").into_bytes();
    let digest = Digest::of(&bytes);
    let index = entries.iter_mut().find(|(name, _)| name == "index.json").unwrap();
    let mut document: serde_json::Value = serde_json::from_slice(&index.1).unwrap();
    assert!(old.ends_with(document["manifests"][0]["digest"].as_str().unwrap().trim_start_matches("sha256:")));
    document["manifests"][0]["digest"] = serde_json::json!(digest);
    document["manifests"][0]["size"] = serde_json::json!(bytes.len());
    index.1 = document.to_string().into_bytes();
    entries.push((format!("blobs/sha256/{}", digest.hex()), bytes));
    tar_of(&entries)
}

fn is_manifest(bytes: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(bytes).is_ok_and(|document| document["layers"].is_array())
}
