//! Uploads an image through the API, and pushes the same one with `cofferdam image push`; each time to an empty
//! registry.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use anyhow::Context;
use serde_json::json;

use super::images::archives;
use crate::bench::Bench;
use crate::finding::{Finding, Unit};
use crate::pusher::{Registry, ours, peak_mib, version, watch, written_mib};
use crate::service::{Service, program, scratch};
use crate::stats::{Paired, Samples};

const ROW: &str = "image-upload";
/// The size of a sent piece of the archive, in bytes.
const PIECE: usize = 1 << 20;

struct Uploaded {
    ms: f64,
    /// The growth of the server's memory and disk writes.
    memory_mib: f64,
    written_mib: f64,
}

/// From the first byte to the answer that confirms the image is in the registry.
fn put(service: &Service, path: &str, archive: &str) -> anyhow::Result<f64> {
    let mut file = File::open(archive)?;
    let size = file.metadata()?.len();
    let mut buffer = vec![0; PIECE];
    let started = Instant::now();
    let mut stream = TcpStream::connect(service.address())?;
    let host = service.address();
    let head = format!("PUT {path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {size}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    loop {
        let read = file.read(&mut buffer)?;
        let Some(piece) = buffer.get(..read).filter(|piece| !piece.is_empty()) else { break };
        stream.write_all(piece)?;
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let ms = started.elapsed().as_secs_f64() * 1e3;
    anyhow::ensure!(answer.starts_with("HTTP/1.1 200 "), "the upload was answered with {answer}");
    Ok(ms)
}

fn upload(registry: &Registry, archive: &str) -> anyhow::Result<Uploaded> {
    let images = format!("http://{}/agents", registry.address);
    let service =
        Service::start_with(None, &[("COFFERDAM_IMAGES", &images), ("COFFERDAM_IMAGES_COMPRESSION", "gzip")])?;
    let mut client = service.client();
    client.call("POST", "/v1/agents", json!({"id": "bench"}).to_string().as_bytes())?.json()?;
    let begin = json!({"agent_id": "bench", "action": "upload"}).to_string();
    let begun = client.call("POST", "/api/deploy-agent", begin.as_bytes())?.json()?;
    let link = begun.get("link").and_then(|link| link.as_str()).context("the answer has no link")?;
    let path = link.find("/uploads/").and_then(|at| link.get(at..)).context("the link leads elsewhere")?;
    let (memory, written) = (peak_mib(service.pid()), written_mib(service.pid()));
    let ms = put(&service, path, archive)?;
    Ok(Uploaded { ms, memory_mib: peak_mib(service.pid()) - memory, written_mib: written_mib(service.pid()) - written })
}

pub(super) fn measure(bench: &mut Bench) -> anyhow::Result<Vec<Finding>> {
    if version("docker-registry").is_none() {
        let why = "docker-registry is not installed (Debian's package of the same name)";
        return Ok(vec![Finding::failed(ROW, "upload of an image archive through the API", why)]);
    }
    let archives = archives(bench.quick)?;
    let mut paired = Paired::default();
    let (mut memory, mut written) = (0.0_f64, 0.0_f64);
    for _ in 0..if bench.quick { 1 } else { 3 } {
        let uploaded = upload(&Registry::start()?, &archives.gzip)?;
        let (registry, folder) = (Registry::start()?, scratch()?);
        let direct = watch(ours(&program(), &archives.gzip, &registry, "a/b:1", folder.path()), None)?;
        paired.block(&Samples::from_iter([uploaded.ms]), direct.ms);
        memory = memory.max(uploaded.memory_mib);
        written = written.max(uploaded.written_mib);
    }
    let size = std::fs::metadata(&archives.gzip)?.len() >> 20;
    let work = format!("upload of a new image, {size} MiB gzipped, through the API");
    let finding = Finding::new(ROW, work, Unit::Ms)
        .paired("`cofferdam image push`", &paired)
        .target("at most 1.15 x the direct push")
        .at_most("ratio", Unit::Times, paired.ratio(), 1.15)
        .add(&format!("The server's memory grew by {memory:.0} MiB at most; {written:.1} MiB were written to disk."));
    Ok(vec![finding])
}
