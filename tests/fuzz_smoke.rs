//! Runs every fuzz target over mutations of good inputs and of the kept ones, a second each. Deterministic, and needs no fuzzer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../fuzz/smoke.rs"]
mod smoke;
#[path = "../fuzz/targets.rs"]
mod targets;

use std::io::{Read, Seek};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cofferdam_host_api::{Base, Budget, Mounts, Quota, SystemClock, Vfs};
use cofferdam_runtime::memory::Delta;
use smoke::{Random, kept, write_seeds};
use targets::TARGETS;

/// Values at which lengths and offsets tend to go wrong.
const ODD: [u64; 10] = [0, 1, 127, 255, 4095, 4096, 65_535, u32::MAX as u64, i64::MAX as u64, u64::MAX];

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        match random.below(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 => bytes.truncate(at),
            2 => {
                let odd = b"\0\xff{}[]\"\\/.,:-09aeE\xc3\xe2\n";
                bytes.insert(at, odd[random.below(odd.len())]);
            }
            3 => {
                let width = [1, 2, 4, 8][random.below(4)];
                let odd = ODD[random.below(ODD.len())].to_le_bytes();
                let end = (at + width).min(bytes.len());
                bytes[at..end].copy_from_slice(&odd[..end - at]);
            }
            4 => {
                let to = (at + random.below(64)).min(bytes.len());
                bytes.drain(at..to);
            }
            _ => {
                let to = (at + random.below(64)).min(bytes.len());
                let piece = bytes[at..to].repeat(1 + random.below(40));
                let place = random.below(bytes.len() + 1);
                bytes.splice(place..place, piece);
            }
        }
    }
}

fn a_delta() -> Vec<u8> {
    let mut file = tempfile::tempfile().unwrap();
    let memory = vec![7; 16 * 4_096];
    Delta::write(&mut file, &memory, &[(0, 4_096), (3 * 4_096, 9 * 4_096)]).unwrap();
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    assert!(Delta::open(file).is_ok());
    bytes
}

fn an_archive() -> Vec<u8> {
    let base = Base { mounts: Arc::new(Mounts::new()), budget: Budget::new(8 << 20), clock: Arc::new(SystemClock) };
    let vfs = Vfs::new(Arc::new(base), Quota { disk_bytes: 1 << 20, files: 100, open_files: 8 }).unwrap();
    for (path, size) in [("a.txt", 3), ("deep/er/b.bin", 70_000), ("deep/empty", 0)] {
        vfs.write_file(path, &vec![b'x'; size]).unwrap();
    }
    let mut bytes = Vec::new();
    vfs.to_archive(&mut bytes).unwrap();
    bytes
}

/// A component without code, which exports its imports.
fn a_component() -> Vec<u8> {
    let text = r#"(component
        (import "example:hello/source" (instance $i
            (type $c (enum "red" "green")) (export "color" (type $color (eq $c)))
            (type $f (flags "a" "b")) (export "mode" (type $mode (eq $f)))
            (type $v (variant (case "none") (case "some" (list $color)))) (export "shape" (type $shape (eq $v)))
            (type $o (record (field "size" u8) (field "color" (option $color)))) (export "options" (type $options (eq $o)))
            (export "cat" (type $cat (sub resource)))
            (export "greet" (func (param "name" string) (param "options" (option $options)) (param "mode" $mode)
                (result (result (tuple $shape (list u8)) (error string)))))
            (export "feed" (func (param "cat" (borrow $cat))))))
        (import "helper" (func $now (result u64)))
        (core module (memory 1) (func (result i32) (i32.const 1)))
        (export "example:hello/greeting@0.1.0" (instance $i))
        (export "now" (func $now))
        (@custom "package-docs" "\01{\22interfaces\22:{\22greeting\22:{\22docs\22:\22Hi.\22,\22funcs\22:{\22greet\22:{\22docs\22:\22Greets.\22}}}}}"))"#;
    wat::parse_str(text).unwrap()
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let texts: &[&str] = match target {
        "run_request" => &[
            r#"{"language":"python","code":"print(1)"}"#,
            r#"{"language":"typescript","code":"\ud83d\ude00","stdin":"x","args":["a"],"env":{"A":"b"},"limits":{"wall_ms":5,"files":1},"svg":true,"if_busy":"refuse"}"#,
            r#"{"session":"ses_1","code":"","files":[{"path":"a/b.txt","content":"x"},{"path":"c","content_base64":"AAE="}],"grants":{"http":[{"host":"h"}]}}"#,
            r#"{"language":"javascript","code":"1","files":{"a//b":"c","../x":"y"}}"#,
        ],
        "policy" => &[
            "version: '1.0'\npermissions:\n  network:\n    allow:\n    - {host: '*.a.example:8443', methods: [GET], path_prefix: /v1/, timeout_ms: 5}\n  storage:\n    allow: [{uri: fs://x, access: [read]}]\n  environment:\n    allow: [{key: K}, {key: L, value: v}]\n  resources: {limits: {cpu: 500m, memory: 1Gi}}\n  tools: {allow: [{name: '*'}]}\n  keyvalue: {max_keys: 3}\n",
            "version: \"1.0\"\nnetwork:\n  allow: [{host: '*'}]\n  deny: [{host: b.example}]\n  private: [10.0.0.0/8, '::1']\nsecrets: {allow: [a], plain_http: true}\ntools: {allow: false}\nfiles: {read_only: true}\n",
            "*.example.com:443",
            "[2001:db8::1]:8080",
        ],
        "url" => &[
            "https://api.example.com:8443/v1/a%2fb/../c?q={\"x\"}&y=%zz",
            "http://0x7f.1/..;/%2e%2e/",
            "http://[::ffff:127.0.0.1]:80//a",
            "https://bücher.example./ä",
        ],
        "redact" => &[
            "\0\u{10}\u{14}\u{5}\u{3}hunter22-correct-horsehunter22-correct-{\"a\": \"b\\n\\u0041\"} %25%41 &amp; =3D\r\n",
            "\u{1}\u{20}\u{8}\u{30}\u{1}pa/ss w\u{f6}rd+\"1\"\\&<2>='x'%41?~ and 70612f737320 cGEvc3Mgd\r\n8O2cmQrIjEi",
            "\u{3}\u{18}\u{4}\u{9}\u{7}sk>>>???~~~ key-123 in \\\\u0073\\\\u006b",
            "\u{a}\u{10}\u{2}\u{1}\u{2}\u{1f600}/\u{e9}\n\t& \"key\" and &#128512;&#x2f;%C3%A9",
        ],
        "path" => &["a/b/c.txt", "a//b", "../../etc/passwd", "./a", "a/../b", "ä/ß\u{202e}", "/abs", "x/"],
        "manifest" => &[
            "name=\"k\"\nversion=\"1\"\nlanguage=\"python\"\n[module]\npath=\"m\"\n[module.exports]\ninit=\"i\"\nboot=\"b\"\nturn=\"t\"\nalloc=\"a\"\ndoor=\"host.call\"\n[image]\nprelude=[\"a\"]\nturn=\"$SPEC\"\n[env]\nA=\"b\"\n[[mounts]]\nguest=\"/x\"\npath=\"y\"\n",
        ],
        "door" => &[
            "{\"op\":\"result\",\"main\":true,\"data\":{\"text/plain\":\"1\",\"application/json\":[1,{\"a\":null}]}}",
            "{\"op\":\"error\",\"name\":\"E\",\"message\":\"m\",\"traceback\":\"t\"}\0{\"op\":\"exit\",\"code\":3}\0text ü€😀",
        ],
        "arguments" => &[
            r#"{"x":{"bool":true,"u8":7,"s64":"-9223372036854775808","float":-1.5e3,"char":"ß","bytes":"AAE=","texts":["a","\u0000"],"tuple":["x",1],"variant":{"some":0.1},"enum":"red","flags":["green"],"option":{"some":null},"result":{"err":"e"}}}"#,
            r#"{"x":{"bool":false,"u8":0,"s64":0,"float":"NaN","char":"\ud83d\ude00","bytes":[1,2],"texts":[],"tuple":["y","18446744073709551615"],"variant":"none","enum":"green","flags":[],"result":{"ok":null}}}"#,
        ],
        _ => &[],
    };
    match target {
        "component" => vec![a_component()],
        "delta" => vec![a_delta()],
        "archive" => vec![an_archive()],
        _ => texts.iter().map(|text| text.as_bytes().to_vec()).collect(),
    }
}

#[test]
fn every_parser_stands_a_second_of_mutations() {
    for (name, target) in TARGETS {
        let mut seeds = seeds(name);
        write_seeds(name, &seeds);
        seeds.extend(kept(name));
        seeds.iter().for_each(|seed| target(seed));
        let mut random = Random(42);
        let until = Instant::now() + Duration::from_secs(1);
        let mut tried = 0_u64;
        while Instant::now() < until {
            let mut bytes = seeds[random.below(seeds.len())].clone();
            mutate(&mut bytes, &mut random);
            let started = Instant::now();
            target(&bytes);
            assert!(started.elapsed() < Duration::from_secs(1), "{name} takes {:?} over {bytes:?}", started.elapsed());
            tried += 1;
        }
        assert!(tried > 50, "{name}: {tried} inputs in a second");
        eprintln!("{name}: {tried} inputs");
    }
}
