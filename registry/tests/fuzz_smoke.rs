//! Runs the fuzz targets of the archive readers over mutations of good archives, two seconds each. Deterministic, and
//! needs no fuzzer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../../fuzz/image.rs"]
mod image;
mod support;

use std::time::{Duration, Instant};

use image::IMAGE_TARGETS;
use support::archive::{Description, Form};
use support::tar::Compress;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

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
    seeds
}

/// Writes the seeds for the fuzzer, one folder a target, where `COFFERDAM_FUZZ_SEEDS` names one.
fn write_seeds(name: &str, seeds: &[Vec<u8>]) {
    let Some(folder) = std::env::var_os("COFFERDAM_FUZZ_SEEDS") else { return };
    let folder = std::path::Path::new(&folder).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    for (number, seed) in seeds.iter().enumerate() {
        std::fs::write(folder.join(format!("seed-{number}")), seed).unwrap();
    }
}

#[test]
fn the_readers_stand_seconds_of_mutations() {
    let seeds = seeds();
    for (name, target) in IMAGE_TARGETS {
        write_seeds(name, &seeds);
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
