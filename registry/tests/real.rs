//! Against Debian's `docker-registry`, with `skopeo` as the witness of what arrived.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::process::Command;
use std::time::Duration;

use cofferdam_registry::client::credentials::Credentials;
use cofferdam_registry::client::error::Kind;
use cofferdam_registry::client::{Client, Sent};
use cofferdam_registry::compress::Compression;
use cofferdam_registry::inspect;
use cofferdam_registry::push::error::PushError;
use cofferdam_registry::{ArchiveSource, Digest, Fault, PushOptions, Rules};
use common::archive::{Stored, docker_save, gzip, layer, noise, oci_entries, tar_of};
use common::fake::{PASSWORD, USER};
use common::real::{Folder, Real, Setup, have};
use common::{memory, push, push_with, stream, target};
use serde_json::Value;

const PROGRAMS: &[&str] = &["docker-registry", "skopeo"];

fn layers() -> Vec<Vec<u8>> {
    let text = "the same line again, and again\n".repeat(200_000).into_bytes();
    vec![layer("etc/text", &text), layer("bin/agent", &noise(7, 20 << 20)), layer("small", b"x")]
}

fn file(folder: &Folder, name: &str, bytes: &[u8]) -> ArchiveSource {
    std::fs::write(folder.0.join(name), bytes).unwrap();
    ArchiveSource::File(std::fs::File::open(folder.0.join(name)).unwrap())
}

/// Every layer, inflated, is the one that went in.
fn holds(folder: &std::path::Path, expected: &[Vec<u8>]) {
    let manifest: Value = serde_json::from_slice(&std::fs::read(folder.join("manifest.json")).unwrap()).unwrap();
    let mut found = Vec::new();
    for layer in manifest["layers"].as_array().unwrap() {
        let name = layer["digest"].as_str().unwrap().trim_start_matches("sha256:").to_owned();
        let kind = layer["mediaType"].as_str().unwrap();
        let path = folder.join(name);
        let bytes = match kind {
            kind if kind.ends_with("gzip") => {
                Command::new("gzip").args(["-dc"]).stdin(open(&path)).output().unwrap().stdout
            }
            kind if kind.ends_with("zstd") => zstd::decode_all(open(&path)).unwrap(),
            _ => std::fs::read(&path).unwrap(),
        };
        found.push(Digest::of(&bytes));
    }
    assert_eq!(found, expected.iter().map(|layer| Digest::of(layer)).collect::<Vec<_>>());
}

fn open(path: &std::path::Path) -> std::fs::File {
    std::fs::File::open(path).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_form_of_archive_arrives() {
    if !have("every_form_of_archive_arrives", PROGRAMS) {
        return;
    }
    let real = Real::start(&Setup::default());
    let folder = Folder::new();
    let layers = layers();
    let save = docker_save(&layers);
    let oci = |stored| tar_of(&oci_entries(&[("amd64", layers.clone())], stored));
    let on_disk = folder.0.join("layout");
    for (name, bytes) in oci_entries(&[("amd64", layers.clone())], Stored::Gzip) {
        let path = on_disk.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let sources = [
        ("save-pipe", stream(save.clone())),
        ("save-file", file(&folder, "save.tar", &save)),
        ("save-gzip", stream(gzip(&save))),
        ("save-gzip-file", file(&folder, "save.tar.gz", &gzip(&save))),
        ("save-zstd", stream(zstd::encode_all(save.as_slice(), 1).unwrap())),
        ("oci-plain", stream(oci(Stored::Plain))),
        ("oci-gzip", stream(oci(Stored::Gzip))),
        ("oci-gzip-file", file(&folder, "oci.tar", &oci(Stored::Gzip))),
        ("oci-zstd", stream(oci(Stored::Zstd))),
        ("oci-folder", ArchiveSource::Directory(on_disk)),
    ];
    let mut digests = std::collections::BTreeMap::new();
    for (name, source) in sources {
        let image = format!("forms/{name}:1.0");
        let pushed = push(source, &target(&real.address, &image)).await.unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!((pushed.layers.len(), pushed.images.len()), (3, 1), "{name}");
        let seen = real.seen(&image, &[]);
        assert_eq!(seen["Digest"], pushed.digest.to_string(), "{name}");
        assert_eq!((&seen["Architecture"], &seen["Os"]), (&"amd64".into(), &"linux".into()));
        holds(&real.copied(&image), &layers);
        let found = inspect::reference(&Client::new(&target(&real.address, &image)).unwrap()).await.unwrap();
        assert_eq!(found.images[0].config.entrypoint, ["/agent"]);
        assert_eq!(found.digest, Some(pushed.digest));
        digests.insert(name, pushed.digest);
    }
    assert_eq!(digests["save-pipe"], digests["save-gzip"], "the same input makes the same image");
    assert_eq!(digests["save-pipe"], digests["save-file"]);
    assert_eq!(digests["oci-gzip"], digests["oci-folder"]);
    // Stored as the registry shall have it, an image keeps its digest.
    let entries = oci_entries(&[("amd64", layers.clone())], Stored::Gzip);
    let index: Value = serde_json::from_slice(&entries[entries.len() - 2].1).unwrap();
    assert_eq!(index["manifests"][0]["digest"], digests["oci-gzip"].to_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_again_sends_nothing_and_siblings_are_mounted() {
    if !have("the_same_again_sends_nothing", PROGRAMS) {
        return;
    }
    let real = Real::start(&Setup::default());
    let folder = Folder::new();
    let (save, options, cache) = (docker_save(&layers()), PushOptions::default(), memory());
    let first = push_with(stream(save.clone()), &target(&real.address, "a/one:1"), &options, &cache).await.unwrap();
    assert_eq!((first.skipped, first.mounted), (0, 0));
    for (name, source) in [("pipe", stream(save.clone())), ("file", file(&folder, "save.tar", &save))] {
        let again = push_with(source, &target(&real.address, "a/one:2"), &options, &cache).await.unwrap();
        assert_eq!((again.skipped, again.sent, again.digest), (3, 0, first.digest), "{name}");
    }
    let sibling = push_with(stream(save.clone()), &target(&real.address, "a/two:1"), &options, &cache).await.unwrap();
    assert_eq!((sibling.mounted, sibling.sent, sibling.digest), (3, 0, first.digest));
    holds(&real.copied("a/two:1"), &layers());
    // Another organization knows nothing of it, and sends it itself.
    let other = PushOptions { scope: "other".into(), ..PushOptions::default() };
    let theirs = push_with(stream(save.clone()), &target(&real.address, "b/three:1"), &other, &cache).await.unwrap();
    assert_eq!((theirs.mounted, theirs.skipped, theirs.digest), (0, 0, first.digest));
    // A cache that promises what the registry has lost is only a hint.
    std::fs::remove_dir_all(real.data()).unwrap();
    let anew =
        push_with(file(&folder, "s.tar", &save), &target(&real.address, "a/one:3"), &options, &cache).await.unwrap();
    assert_eq!((anew.skipped, anew.mounted, anew.digest), (0, 0, first.digest));
    holds(&real.copied("a/one:3"), &layers());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_platforms_become_an_index() {
    if !have("several_platforms_become_an_index", PROGRAMS) {
        return;
    }
    let real = Real::start(&Setup::default());
    let (one, two) = (layers(), vec![layer("bin/agent", &noise(9, 3 << 20))]);
    for stored in [Stored::Gzip, Stored::Plain] {
        let archive = tar_of(&oci_entries(&[("amd64", one.clone()), ("arm64", two.clone())], stored));
        let pushed = push(stream(archive.clone()), &target(&real.address, "multi:1")).await.unwrap();
        assert_eq!(pushed.images.len(), 2);
        for (architecture, expected) in [("amd64", &one), ("arm64", &two)] {
            let seen = real.seen("multi:1", &["--override-arch", architecture]);
            assert_eq!(seen["Architecture"], architecture);
            assert_eq!(seen["Layers"].as_array().unwrap().len(), expected.len());
        }
        real.copied("multi:1");
        let found = inspect::reference(&Client::new(&target(&real.address, "multi:1")).unwrap()).await.unwrap();
        let platforms: Vec<_> = found.images.iter().map(|image| image.config.platform.as_str()).collect();
        assert_eq!(platforms, ["linux/amd64", "linux/arm64"]);
        let rules = Rules { platform: Some("linux/arm64".parse().unwrap()), ..Rules::default() };
        let only = PushOptions { rules, ..PushOptions::default() };
        let pushed = push_with(stream(archive), &target(&real.address, "multi:arm"), &only, &memory()).await.unwrap();
        assert_eq!(pushed.images.len(), 1);
        assert_eq!(real.seen("multi:arm", &["--override-arch", "arm64"])["Architecture"], "arm64");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compressions_and_their_types() {
    if !have("compressions_and_their_types", PROGRAMS) {
        return;
    }
    let real = Real::start(&Setup::default());
    let save = docker_save(&layers());
    for (name, compression, ending) in [
        ("gzip", Compression::Gzip(1), "tar+gzip"),
        ("zstd", Compression::Zstd(3), "tar+zstd"),
        ("none", Compression::None, "tar"),
    ] {
        let options = PushOptions { compression, ..PushOptions::default() };
        let place = target(&real.address, &format!("packed:{name}"));
        let pushed = push_with(stream(save.clone()), &place, &options, &memory()).await.unwrap();
        let raw = real.seen(&format!("packed:{name}"), &["--raw"]);
        for layer in raw["layers"].as_array().unwrap() {
            assert_eq!(layer["mediaType"], format!("application/vnd.oci.image.layer.v1.{ending}"));
        }
        let more_threads = PushOptions { threads: 5, compression, ..PushOptions::default() };
        let place = target(&real.address, &format!("packed-again:{name}"));
        let again = push_with(stream(save.clone()), &place, &more_threads, &memory()).await.unwrap();
        assert_eq!(again.digest, pushed.digest, "{name}: however many threads");
        holds(&real.copied(&format!("packed:{name}")), &layers());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passwords_and_private_cas() {
    if !have("passwords_and_private_cas", PROGRAMS) {
        return;
    }
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let real = Real::start(&Setup { password: true, tls: Some((certificate.clone(), key)) });
    let save = docker_save(&[layer("small", b"x"), layer("big", &noise(3, 18 << 20))]);
    let mut place = target(&real.address, "private/agent:1");
    place.plain_http = false;
    let failed = |error: PushError| match error {
        PushError::Registry(error) => (error.kind, error.fault(), error.to_string()),
        other => panic!("{other}"),
    };
    let (kind, fault, text) = failed(push(stream(save.clone()), &place).await.unwrap_err());
    assert_eq!((kind, fault), (Kind::Tls, Fault::Settings), "{text}");
    assert!(text.contains("--ca-file"), "{text}");
    place.ca = Some(certificate.into());
    assert_eq!(failed(push(stream(save.clone()), &place).await.unwrap_err()).0, Kind::Unauthorized);
    place.credentials = Credentials::basic(USER, "wrong");
    assert_eq!(failed(push(stream(save.clone()), &place).await.unwrap_err()).1, Fault::Credentials);
    place.credentials = Credentials::basic(USER, PASSWORD);
    let pushed = push(stream(save), &place).await.unwrap();
    assert_eq!(
        real.seen("private/agent:1", &["--creds", &format!("{USER}:{PASSWORD}")])["Digest"],
        pushed.digest.to_string()
    );
    real.copied("private/agent:1");
    // Without TLS at a TLS port, and the other way round.
    place.plain_http = true;
    assert!(push(stream(docker_save(&layers())), &place).await.is_err());
    let plain = Real::start(&Setup::default());
    let mut place = target(&plain.address, "agent:1");
    place.plain_http = false;
    let (kind, _, text) = failed(push(stream(docker_save(&layers())), &place).await.unwrap_err());
    assert!(kind == Kind::Tls && text.contains("--plain-http"), "{kind:?} {text}");
}

/// `openssl req -x509` marks what it makes as a CA's, and many use that for the server itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ca_that_is_the_servers_certificate() {
    if !have("a_ca_that_is_the_servers_certificate", PROGRAMS) {
        return;
    }
    let made = |name: &str| {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    };
    let (certificate, key) = made("localhost");
    let real = Real::start(&Setup { tls: Some((certificate.clone(), key)), ..Setup::default() });
    let mut place = target(&real.address, "agent:1");
    place.plain_http = false;
    for ca in [None, Some(made("localhost").0)] {
        place.ca = ca.map(Into::into);
        let error = push(stream(docker_save(&layers())), &place).await.unwrap_err();
        assert!(matches!(&error, PushError::Registry(error) if error.kind == Kind::Tls), "{error}");
        assert!(error.to_string().contains("marked as a CA's") && error.to_string().contains("--ca-file"), "{error}");
    }
    place.ca = Some(certificate.into());
    push(stream(docker_save(&layers())), &place).await.unwrap();
    // Its names count.
    let (certificate, key) = made("other.example");
    let real = Real::start(&Setup { tls: Some((certificate.clone(), key)), ..Setup::default() });
    let mut place = target(&real.address, "agent:1");
    (place.plain_http, place.ca) = (false, Some(certificate.into()));
    let error = push(stream(docker_save(&layers())), &place).await.unwrap_err();
    assert!(error.to_string().contains("not valid for name"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_registry_gets_the_rest() {
    if !have("a_restarted_registry_gets_the_rest", PROGRAMS) {
        return;
    }
    let mut real = Real::start(&Setup::default());
    let mut place = target(&real.address, "restart/agent:1");
    place.patience.attempts = 60;
    (place.patience.first, place.patience.longest) = (Duration::from_millis(100), Duration::from_millis(500));
    let client = Client::new(&place).unwrap();
    let bytes = bytes::Bytes::from(noise(5, 24 << 20));
    let mut upload = client.begin_upload().await.unwrap();
    assert!(matches!(client.send_chunk(&mut upload, &bytes.slice(..8 << 20)).await.unwrap(), Sent::Taken));
    real.kill();
    let part = bytes.slice(8 << 20..16 << 20);
    let sending = client.send_chunk(&mut upload, &part);
    let (sent, real) = tokio::join!(
        sending,
        tokio::task::spawn_blocking(move || {
            std::thread::sleep(Duration::from_millis(100));
            real.start_again();
            real
        })
    );
    let real = real.unwrap();
    match sent {
        Ok(_) => {
            let digest = Digest::of(&bytes);
            let done = client.finish_upload(&mut upload, &bytes.slice(16 << 20..), &digest).await.unwrap();
            assert!(matches!(done, Sent::Taken));
            assert_eq!(client.blob_size(&digest).await.unwrap(), Some(bytes.len() as u64));
        }
        Err(error) => panic!("{error}: {}", real.log()),
    }
}
