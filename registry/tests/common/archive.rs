//! Builds image archives byte by byte.

use std::io::Write;

use cofferdam_registry::Digest;
use serde_json::{Value, json};

/// Incompressible bytes, the same for the same seed.
pub(crate) fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// One entry of a tar.
pub(crate) fn entry(tar: &mut Vec<u8>, name: &str, bytes: &[u8]) {
    let mut head = [0_u8; 512];
    head[..name.len()].copy_from_slice(name.as_bytes());
    head[100..108].copy_from_slice(b"0000644\0");
    head[108..116].copy_from_slice(b"0000000\0");
    head[116..124].copy_from_slice(b"0000000\0");
    head[124..136].copy_from_slice(format!("{:011o}\0", bytes.len()).as_bytes());
    head[136..148].copy_from_slice(b"00000000000\0");
    head[148..156].copy_from_slice(b"        ");
    head[156] = b'0';
    head[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
    head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    tar.extend_from_slice(&head);
    tar.extend_from_slice(bytes);
    tar.resize(tar.len().next_multiple_of(512), 0);
}

pub(crate) fn end(tar: &mut Vec<u8>) {
    tar.resize(tar.len() + 1024, 0);
}

/// A layer with one file.
pub(crate) fn layer(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut tar = Vec::with_capacity(bytes.len() + 4096);
    entry(&mut tar, name, bytes);
    end(&mut tar);
    tar
}

pub(crate) fn config(layers: &[Vec<u8>], architecture: &str) -> Value {
    json!({
        "architecture": architecture, "os": "linux", "created": "2026-01-01T00:00:00Z",
        "config": {"Entrypoint": ["/agent"], "Cmd": ["--serve"], "Env": ["PATH=/bin"], "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": layers.iter().map(|layer| Digest::of(layer)).collect::<Vec<_>>()},
        "history": layers.iter().map(|_| json!({"created": "2026-01-01T00:00:00Z", "created_by": "test"})).collect::<Vec<_>>()
    })
}

/// The format of `docker save` before version 25, with layers first.
pub(crate) fn docker_save(layers: &[Vec<u8>]) -> Vec<u8> {
    let mut tar = Vec::new();
    let mut names = Vec::new();
    for layer in layers {
        let name = format!("{}/layer.tar", Digest::of(format!("chain {}", Digest::of(layer)).as_bytes()).hex());
        if !names.contains(&name) {
            entry(&mut tar, &name, layer);
        }
        names.push(name);
    }
    let config = config(layers, "amd64").to_string();
    let config_name = format!("{}.json", Digest::of(config.as_bytes()).hex());
    entry(&mut tar, &config_name, config.as_bytes());
    let manifest = json!([{"Config": config_name, "RepoTags": ["test/agent:1.0"], "Layers": names}]).to_string();
    entry(&mut tar, "manifest.json", manifest.as_bytes());
    end(&mut tar);
    tar
}

/// The encoding of layers in an OCI layout.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stored {
    Plain,
    Gzip,
    Zstd,
}

/// The entries of an OCI layout with one image per architecture.
pub(crate) fn oci_entries(images: &[(&str, Vec<Vec<u8>>)], stored: Stored) -> Vec<(String, Vec<u8>)> {
    layout(images, stored, false)
}

/// As `oci_entries`. `docker`: the manifests inside are docker's.
pub(crate) fn layout(images: &[(&str, Vec<Vec<u8>>)], stored: Stored, docker: bool) -> Vec<(String, Vec<u8>)> {
    let mut blobs: Vec<(String, Vec<u8>)> = Vec::new();
    let mut put = |bytes: Vec<u8>| {
        let (digest, size) = (Digest::of(&bytes), bytes.len());
        let name = format!("blobs/sha256/{}", digest.hex());
        if !blobs.iter().any(|(other, _)| *other == name) {
            blobs.push((name, bytes));
        }
        (digest, size)
    };
    let mut manifests = Vec::new();
    for (architecture, layers) in images {
        let mut descriptors = Vec::new();
        for layer in layers {
            let (bytes, kind) = match stored {
                Stored::Plain => (layer.clone(), "tar"),
                Stored::Gzip => (gzip(layer), "tar+gzip"),
                Stored::Zstd => (zstd::encode_all(layer.as_slice(), 3).unwrap(), "tar+zstd"),
            };
            let (digest, size) = put(bytes);
            let media_type = match (docker, stored) {
                (true, Stored::Gzip) => "application/vnd.docker.image.rootfs.diff.tar.gzip".to_owned(),
                (true, _) => "application/vnd.docker.image.rootfs.diff.tar".to_owned(),
                _ => format!("application/vnd.oci.image.layer.v1.{kind}"),
            };
            descriptors.push(json!({"mediaType": media_type, "digest": digest, "size": size}));
        }
        let (digest, size) = put(config(layers, architecture).to_string().into_bytes());
        let (config, media_type) = if docker {
            ("application/vnd.docker.container.image.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
        } else {
            ("application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.manifest.v1+json")
        };
        let config = json!({"mediaType": config, "digest": digest, "size": size});
        let manifest = json!({"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": descriptors});
        let (digest, size) = put(manifest.to_string().into_bytes());
        manifests.push(json!({"mediaType": media_type, "digest": digest, "size": size,
            "platform": {"os": "linux", "architecture": architecture}}));
    }
    let index = json!({"schemaVersion": 2, "manifests": manifests}).to_string();
    blobs.push(("index.json".to_owned(), index.into_bytes()));
    blobs.push(("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()));
    blobs
}

/// As `oci_entries` with gzip, but below an index of its own that also names an attestation, as BuildKit writes it. Returns
/// that index's digest, too.
pub(crate) fn attested(images: &[(&str, Vec<Vec<u8>>)]) -> (Vec<(String, Vec<u8>)>, Digest) {
    let mut entries = oci_entries(images, Stored::Gzip);
    let at = entries.iter().position(|(name, _)| name == "index.json").unwrap();
    let mut inner: Value = serde_json::from_slice(&entries.remove(at).1).unwrap();
    let mut put = |bytes: Vec<u8>, media_type: &str| {
        let (digest, size) = (Digest::of(&bytes), bytes.len());
        entries.push((format!("blobs/sha256/{}", digest.hex()), bytes));
        json!({"mediaType": media_type, "digest": digest, "size": size})
    };
    let statement = put(br#"{"_type":"https://in-toto.io/Statement/v0.1"}"#.to_vec(), "application/vnd.in-toto+json");
    let config = json!({"architecture": "unknown", "os": "unknown", "config": {}, "rootfs": {"type": "layers",
        "diff_ids": [statement["digest"]]}});
    let config = put(config.to_string().into_bytes(), "application/vnd.oci.image.config.v1+json");
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": [statement]});
    let mut entry = put(manifest.to_string().into_bytes(), kind);
    entry["platform"] = json!({"os": "unknown", "architecture": "unknown"});
    entry["annotations"] = json!({"vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": inner["manifests"][0]["digest"]});
    inner["manifests"].as_array_mut().unwrap().push(entry);
    let kind = "application/vnd.oci.image.index.v1+json";
    inner["mediaType"] = json!(kind);
    let inner = put(inner.to_string().into_bytes(), kind);
    let digest = inner["digest"].as_str().unwrap().parse().unwrap();
    let index = json!({"schemaVersion": 2, "manifests": [inner]}).to_string();
    entries.push(("index.json".to_owned(), index.into_bytes()));
    (entries, digest)
}

pub(crate) fn tar_of(entries: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut tar = Vec::new();
    entries.iter().for_each(|(name, bytes)| entry(&mut tar, name, bytes));
    end(&mut tar);
    tar
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
