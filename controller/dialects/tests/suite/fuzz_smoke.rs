//! Runs the fuzz target over mutations of the cases and of the kept inputs, two seconds. Deterministic, and needs no fuzzer.

use std::time::{Duration, Instant};

use crate::dialects::dialects;
use crate::smoke::{Random, kept, write_seeds};

/// Words at which readers of these protocols tend to go wrong.
const WORDS: [&str; 24] = [
    "null",
    "0",
    "-1",
    "1e999",
    "\"\"",
    "{}",
    "[]",
    "\n\n",
    "\r",
    "data: ",
    "data: [DONE]\n\n",
    "event: error\n",
    "\\u0000",
    "\"index\":0",
    "\"index\":1",
    "\"type\":",
    "\"usage\":null",
    "message_stop",
    "content_block_stop",
    "\u{feff}",
    "}",
    "]",
    "\"arguments\":\"{\"",
    "\"finish_reason\":\"stop\"",
];

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        match random.below(8) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 => bytes.truncate(at.max(4)),
            2 | 3 => {
                let word = WORDS[random.below(WORDS.len())].bytes();
                bytes.splice(at..at, word);
            }
            4 => {
                let to = (at + random.below(64)).min(bytes.len());
                bytes.drain(at..to);
            }
            5 if bytes.len() > 4 => bytes[random.below(4)] = random.below(256) as u8,
            _ => {
                let to = (at + random.below(400)).min(bytes.len());
                let piece = bytes[at..to].repeat(1 + random.below(8));
                let place = random.below(bytes.len() + 1);
                bytes.splice(place..place, piece);
            }
        }
    }
}

/// The inputs of the cases, each behind the bytes that choose what is done with it.
fn seeds() -> Vec<Vec<u8>> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut seeds = Vec::new();
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let kind = match name.split('.').next() {
            Some("request" | "round") => 0,
            Some("answer" | "error") => 1,
            _ => 2,
        };
        let from =
            ["chat", "responses", "messages"].iter().position(|word| name.split('.').nth(1) == Some(word)).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        for case in text.split("-- in\n").skip(1) {
            let end = ["\n-- ", "\n== "].iter().filter_map(|mark| case.find(mark)).min().unwrap_or(case.len());
            for to in 0..3 {
                let head = [kind, from as u8, to, 5];
                seeds.push([&head, &case.as_bytes()[..end], b"\n\n"].concat());
            }
        }
    }
    seeds
}

#[test]
fn mutated_inputs_neither_panic_nor_hang() {
    let mut seeds = seeds();
    write_seeds("dialects", &seeds);
    seeds.extend(kept("dialects"));
    seeds.iter().for_each(|seed| dialects(seed));
    let mut random = Random(12);
    let end = Instant::now() + Duration::from_secs(2);
    let mut runs = 0;
    while Instant::now() < end {
        let mut bytes = seeds[random.below(seeds.len())].clone();
        mutate(&mut bytes, &mut random);
        let began = Instant::now();
        dialects(&bytes);
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", String::from_utf8_lossy(&bytes));
        runs += 1;
    }
    assert!(runs > 100, "{runs}");
}
