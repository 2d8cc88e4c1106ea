//! Runs the fuzz targets of the archive readers over mutations of good archives and of the kept
//! inputs, two seconds each. Deterministic, and needs no fuzzer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../../fuzz/image.rs"]
mod image;
#[path = "../../fuzz/smoke.rs"]
mod smoke;
mod support;

use std::time::{Duration, Instant};

use image::IMAGE_TARGETS;
use smoke::{Random, kept, write_seeds};
use support::archive::{Description, Form};
use support::tar::{Compress, SparseForm};

const BLOCK: usize = 512;

/// Mutates bits, bytes and whole blocks, the units of an archive.
fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        let block = at / BLOCK * BLOCK;
        match random.below(8) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 => bytes.truncate(at),
            2 if block + BLOCK <= bytes.len() => {
                // A field of a header: type, size, name, magic.
                let odd = b"\0\xff\x80-0127SxgLK/. 9";
                let field = [156, 124, 125, 135, 0, 99, 257, 345, 482][random.below(9)];
                bytes[block + field] = odd[random.below(odd.len())];
            }
            3 => {
                let to = (at + random.below(16)).min(bytes.len());
                bytes[at..to].fill(0xff);
            }
            4 => {
                let to = (block + BLOCK * (1 + random.below(3))).min(bytes.len());
                drop(bytes.drain(block.min(to)..to));
            }
            5 => {
                let to = (block + BLOCK * (1 + random.below(3))).min(bytes.len());
                let piece = bytes[block.min(to)..to].repeat(1 + random.below(20));
                let place = random.below(bytes.len() / BLOCK + 1) * BLOCK;
                bytes.splice(place..place, piece);
            }
            6 => {
                let odd = b"{}[]\":,0a";
                if at < bytes.len() {
                    bytes[at] = odd[random.below(odd.len())];
                }
            }
            _ => {
                let from = random.below(bytes.len() / BLOCK + 1) * BLOCK;
                let (from, to) = (from.min(bytes.len()), (from + BLOCK).min(bytes.len()));
                let copy = bytes[from..to].to_vec();
                bytes.splice(block.min(bytes.len())..block.min(bytes.len()), copy);
            }
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for form in [Form::Docker, Form::DockerOld, Form::Oci] {
        for layer_compress in [Compress::None, Compress::Gzip, Compress::Zstd] {
            for compress in [Compress::None, Compress::Gzip] {
                let described = Description { form, layer_compress, compress, ..Description::default() };
                seeds.push(described.build().unwrap().bytes);
            }
        }
    }
    for sparse in [SparseForm::Gnu, SparseForm::Pax00, SparseForm::Pax01, SparseForm::Pax10] {
        let mut described = Description { sparse: Some(sparse), ..Description::default() };
        described.layers[0][0].zeros = Some(40_000);
        seeds.push(described.build().unwrap().bytes);
    }
    let platforms = vec!["amd64".to_owned(), "arm64".to_owned()];
    let index = Description { platforms, attestation: Some(true), ..Description::default() };
    seeds.push(index.build().unwrap().bytes);
    seeds
}

#[test]
fn the_readers_stand_seconds_of_mutations() {
    let seeds = seeds();
    for (name, target) in IMAGE_TARGETS {
        write_seeds(name, &seeds);
        let seeds: Vec<Vec<u8>> = seeds.iter().cloned().chain(kept(name)).collect();
        seeds.iter().for_each(|seed| target(seed));
        let mut random = Random(42);
        let seconds = std::env::var("COFFERDAM_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2);
        let until = Instant::now() + Duration::from_secs(seconds);
        let mut tried = 0_u64;
        while Instant::now() < until {
            let mut bytes = seeds[random.below(seeds.len())].clone();
            mutate(&mut bytes, &mut random);
            let started = Instant::now();
            target(&bytes);
            assert!(started.elapsed() < Duration::from_secs(2), "{name} takes {:?}", started.elapsed());
            tried += 1;
        }
        assert!(tried > 50, "{name}: {tried} inputs");
        eprintln!("{name}: {tried} inputs");
    }
}
