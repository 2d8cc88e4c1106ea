//! An archive's own index in Debian's registry: its digest is what was signed, so it is kept where all that it names is
//! pushed unchanged. `skopeo` is the witness.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;
mod support;

use cofferdam_registry::compress::Compression;
use cofferdam_registry::{ArchiveSource, Digest, PushOptions, PushReport, Rules, inspect};
use common::real::{Folder, Real, Setup, have};
use common::{memory, push, push_with, stream, target};
use support::archive::Description;
use support::tar::Compress;

const PROGRAMS: &[&str] = &["docker-registry", "skopeo"];

fn described(platforms: &[&str], layer_compress: Compress, attestation: Option<bool>) -> Description {
    let platforms = platforms.iter().map(|&platform| platform.to_owned()).collect();
    Description { platforms, layer_compress, attestation, ..Description::default() }
}

/// The digest of the archive's own index.
fn own(bytes: &[u8]) -> Option<Digest> {
    let inspection = inspect::archive(stream(bytes.to_vec()), &Default::default(), &Rules::inspecting(None)).unwrap();
    inspection.digest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_whose_content_is_all_there_keeps_its_digest() {
    if !have("an_index_whose_content_is_all_there_keeps_its_digest", PROGRAMS) {
        return;
    }
    let real = Real::start(&Setup::default());
    let folder = Folder::new();
    for (name, platforms, attestation) in [
        ("two", &["amd64", "arm64"][..], None),
        ("attested", &["amd64", "arm64"], Some(true)),
        ("one", &["amd64"], Some(true)),
        ("bare", &["amd64"], Some(false)),
    ] {
        let bytes = described(platforms, Compress::Gzip, attestation).build().unwrap().bytes;
        let index = own(&bytes).unwrap();
        let path = folder.0.join(name);
        std::fs::write(&path, &bytes).unwrap();
        for (kind, source) in
            [("pipe", stream(bytes.clone())), ("file", ArchiveSource::File(std::fs::File::open(&path).unwrap()))]
        {
            let image = format!("index/{name}:{kind}");
            let pushed = push(source, &target(&real.address, &image)).await.unwrap();
            assert_eq!((pushed.digest, pushed.images.len()), (index, platforms.len()), "{image}: {:?}", pushed.notes);
            assert_eq!(real.seen(&image, &[])["Digest"], index.to_string());
            // Everything that the index names is there, with the right digests.
            let copy = real.copied(&image);
            let manifests = std::fs::read_dir(copy)
                .unwrap()
                .filter(|file| file.as_ref().unwrap().file_name().to_string_lossy().ends_with(".manifest.json"));
            assert_eq!(manifests.count(), platforms.len() + usize::from(attestation.is_some()));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_that_no_longer_fits_is_made_anew() {
    if !have("an_index_that_no_longer_fits_is_made_anew", PROGRAMS) {
        return;
    }
    let real = Real::start(&Setup::default());
    let plain = described(&["amd64", "arm64"], Compress::None, Some(true)).build().unwrap().bytes;
    let with = async |name: &str, options: &PushOptions| -> PushReport {
        push_with(stream(plain.clone()), &target(&real.address, name), options, &memory()).await.unwrap()
    };
    let compressed =
        with("anew/gzip:1", &PushOptions { compression: Compression::GZIP, ..PushOptions::default() }).await;
    assert_ne!(Some(compressed.digest), own(&plain));
    let kept = with("anew/none:1", &PushOptions { compression: Compression::None, ..PushOptions::default() }).await;
    assert_eq!(Some(kept.digest), own(&plain));
    let rules = Rules { platform: Some("linux/arm64".parse().unwrap()), ..Rules::default() };
    let one = with("anew/one:1", &PushOptions { rules, ..PushOptions::default() }).await;
    assert_eq!((one.images.len(), one.digest), (1, one.images[0].digest));
    real.copied("anew/gzip:1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reference_may_ask_for_the_digest_of_the_index_or_of_its_only_image() {
    if !have("a_reference_may_ask_for_the_digest", PROGRAMS) {
        return;
    }
    let real = Real::start(&Setup::default());
    let bytes = described(&["amd64"], Compress::Gzip, Some(true)).build().unwrap().bytes;
    let free = push(stream(bytes.clone()), &target(&real.address, "asked/free:1")).await.unwrap();
    for digest in [free.digest, free.images[0].digest] {
        let image = format!("asked/for:t@{digest}");
        let pushed = push(stream(bytes.clone()), &target(&real.address, &image)).await.unwrap();
        assert_eq!(pushed.digest, digest);
        assert_eq!(real.seen("asked/for:t", &[])["Digest"], digest.to_string());
    }
    let other = format!("asked/for:t@{}", Digest::of(b"other"));
    assert!(push(stream(bytes), &target(&real.address, &other)).await.is_err());
}
