//! Descriptions of components, good and bad.

use std::time::{Duration, Instant};

use serde_json::json;
use wit_parser::Resolve;

use super::{ENGINE, Random, component, exporting, with_section};
use crate::tool::describe::{Refusal, describe};
use crate::tool::embed::embed_docs;

const WIT: &str = r#"
package example:hello@0.1.0;

/// Greets people.
interface greeting {
  /// How to greet.
  record options {
    /// Ends the greeting with this many exclamation marks.
    excitement: u8,
    color: option<color>,
  }
  /// A color of its own.
  enum color {
    /// As blood.
    red,
    green,
  }
  /// Greets somebody by name.
  greet: func(name: string, options: option<options>) -> result<string, string>;
  plain: func(data: list<u8>) -> list<f64>;
}

world hello {
  export greeting;
  /// Of the world itself.
  export now: func() -> u64;
}
"#;

const DECLARATIONS: &str = r#"
    (type $c (enum "red" "green")) (export "color" (type $color (eq $c)))
    (type $o (record (field "excitement" u8) (field "color" (option $color))))
    (export "options" (type $options (eq $o)))
    (export "greet" (func (param "name" string) (param "options" (option $options)) (result (result string (error string)))))
    (export "plain" (func (param "data" (list u8)) (result (list f64))))
"#;

fn hello() -> Vec<u8> {
    component(&format!(
        r#"(component
            (import "example:hello/source" (instance $i {DECLARATIONS}))
            (import "wasi:sockets/tcp@0.2.0" (instance))
            (import "wasi:http/types@0.2.3" (instance))
            (import "helper" (func $now (result u64)))
            (export "example:hello/greeting@0.1.0" (instance $i))
            (export "now" (func $now)))"#
    ))
}

fn with_docs() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hello.wit");
    std::fs::write(&path, WIT).unwrap();
    assert!(embed_docs(hello(), folder.path().join("elsewhere").as_path()).is_err());
    embed_docs(hello(), &path).unwrap()
}

#[test]
fn functions_have_names_texts_and_schemas() {
    let bytes = with_docs();
    let described = describe(&bytes, "sha256:00").unwrap();
    assert_eq!((described.digest.as_str(), described.size_bytes), ("sha256:00", bytes.len() as u64));
    assert_eq!(
        described.imports,
        ["example:hello/source", "wasi:sockets/tcp@0.2.0", "wasi:http/types@0.2.3", "helper"]
    );
    assert!(matches!(described.warnings.as_slice(), [one] if one.contains("wasi:sockets")), "{:?}", described.warnings);
    let names: Vec<&str> = described.functions.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(names, ["hello-greeting-greet", "hello-greeting-plain", "now"]);
    let [greet, plain, now] = described.functions.as_slice() else { panic!() };
    assert_eq!(greet.export.interface.as_deref(), Some("example:hello/greeting@0.1.0"));
    assert_eq!(greet.export.function, "greet");
    assert_eq!(now.export.interface, None);
    assert_eq!(
        [&greet.description, &plain.description, &now.description],
        ["Greets somebody by name.", "Greets people.", "Of the world itself."]
    );
    assert_eq!(
        greet.input_schema,
        json!({
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "options": {
                    "type": ["object", "null"],
                    "description": "How to greet.",
                    "properties": {
                        "excitement": {
                            "type": "integer", "minimum": 0, "maximum": 255,
                            "description": "Ends the greeting with this many exclamation marks."
                        },
                        "color": {
                            "anyOf": [{"type": "string", "enum": ["red", "green"]}, {"type": "null"}],
                            "description": "A color of its own.\n- red: As blood."
                        }
                    },
                    "required": ["excitement"],
                    "additionalProperties": false
                }
            },
            "required": ["name"],
            "additionalProperties": false
        })
    );
    assert_eq!(greet.output_schema, json!({"type": "string"}));
    let doubles = json!({"type": ["number", "string"], "pattern": "^(NaN|-?Infinity)$"});
    assert_eq!(plain.output_schema, json!({"type": "array", "items": doubles}));
}

#[test]
fn foreign_doc_comments_are_no_reason_to_refuse() {
    for (data, warned) in [
        (
            b"\x01{\"worlds\":{\"elsewhere\":{}},\"interfaces\":{\"unknown\":{\"docs\":\"x\"}},\"new\":1}".to_vec(),
            false,
        ),
        (b"\x00{\"interfaces\":{\"greeting\":{\"funcs\":{\"greet\":\"In the first format\"}}}}".to_vec(), false),
        (b"\x01{\"interfaces\":[]}".to_vec(), true),
        (b"\x02{}".to_vec(), true),
        (b"".to_vec(), true),
        ([b"\x01".to_vec(), b"[".repeat(100_000)].concat(), true),
        ([b"\x01".to_vec(), vec![b' '; 2 << 20]].concat(), true),
    ] {
        let bytes = with_section(hello(), "package-docs", &data);
        let described = describe(&bytes, "").unwrap();
        let found = described.warnings.iter().any(|warning| warning.contains("doc comments were left out"));
        assert_eq!(found, warned, "{:?}", described.warnings);
    }
    let long = format!("\x01{}", json!({"interfaces": {"greeting": {"docs": "é\u{7}".repeat(50_000)}}}));
    let described = describe(&with_section(hello(), "package-docs", long.as_bytes()), "").unwrap();
    let text = &described.functions[0].description;
    assert!(text.len() <= 4096 && !text.is_empty() && text.chars().all(|c| c == 'é'), "{}", text.len());
}

#[test]
fn what_cannot_be_a_tool_is_left_out_or_refused() {
    let resource = r#"(export "cat" (type $cat (sub resource)))
        (export "[constructor]cat" (func (result (own $cat))))
        (export "feed" (func (param "cat" (borrow $cat))))"#;
    let described =
        describe(&exporting("a:b/c", &format!("{resource} (export \"count\" (func (result u32)))")), "").unwrap();
    assert_eq!(described.functions.len(), 1);
    assert!(described.warnings.iter().any(|w| w.contains("a:b/c#feed: it takes or returns a resource")));
    assert!(described.warnings.iter().any(|w| w.contains("[constructor]cat: it belongs to a resource")));
    assert!(described.warnings.iter().any(|w| w.contains("none of its functions has a description")));
    let none = describe(&exporting("a:b/c", resource), "").unwrap_err();
    assert!(matches!(none, Refusal::NoneFit(_)), "{none}");

    // Types that unfold exponentially.
    let mut doubling = "(type $t0 (tuple u8 u8))".to_owned();
    for n in 1..14 {
        doubling += &format!("(type $t{n} (tuple $t{m} $t{m}))", m = n - 1);
    }
    let bytes = exporting("a:b/c", &format!("{doubling} (export \"f\" (func (param \"x\" $t13)))"));
    let large = describe(&bytes, "").unwrap_err();
    assert!(large.to_string().contains("unfold to more than"), "{large}");

    let many: String = (0..257).map(|n| format!("(export \"f{n}\" (func))")).collect();
    assert!(matches!(describe(&exporting("a:b/c", &many), ""), Err(Refusal::TooMany)));

    let name = "x".repeat(2_000);
    let wordy: String = (0..200)
        .map(|n| {
            let params: String = (0..4).map(|p| format!("(param \"{name}{p}\" bool)")).collect();
            format!("(export \"f{n}\" (func {params}))")
        })
        .collect();
    assert!(matches!(describe(&exporting("a:b/c", &wordy), ""), Err(Refusal::Wordy)));
}

#[test]
fn names_that_meet_are_refused() {
    let two = r#"(component
        (import "x:y/z" (instance $i (export "run" (func))))
        (import "x:y/w" (instance $j (export "c-run" (func))))
        (export "a:b/c" (instance $i)) (export "d:b/c@1.0.0" (instance $i)) (export "b" (instance $j)))"#;
    let error = describe(&component(two), "").unwrap_err().to_string();
    assert!(error.contains("`b-c-run`: a:b/c#run and d:b/c@1.0.0#run"), "{error}");
}

#[test]
fn bad_files_are_told_apart() {
    let empty = || component("(component)");
    for (bytes, expected) in [
        (vec![], "it is empty"),
        (wat::parse_str("(module (func))").unwrap(), "core WebAssembly module"),
        (b"#!/bin/sh\necho".to_vec(), "this is text"),
        (b"(component)".to_vec(), "WebAssembly text"),
        (b"PK\x03\x04zip".to_vec(), "a zip archive"),
        (b"\x1F\x8Bgz".to_vec(), "gzip"),
        (b"\0asm\x07\0\0\0".to_vec(), "broken"),
        (b"\0asm\x0D\0\x02\0".to_vec(), "broken"),
        (b"\0asm".to_vec(), "broken"),
        (empty(), "exports no function"),
        (
            exporting("wasi:cli/run@0.2.0", "(export \"run\" (func (result (result))))"),
            "only exports wasi:cli/run@0.2.0",
        ),
        (exporting("a:b/c", ""), "exports no function"),
        (
            component("(component (type $w (component (export \"a:b/w\" (component)))) (export \"w\" (type $w)))"),
            "WIT package",
        ),
        (vec![0; (64 << 20) + 1], "the maximum is 67108864"),
    ] {
        let error = describe(&bytes, "").unwrap_err().to_string();
        assert!(error.contains(expected), "{error}, expected {expected}");
    }
}

#[test]
fn broken_components_are_refused_quickly() {
    let whole = with_docs();
    for end in 0..whole.len() {
        // A cut between two sections may leave a valid component.
        if let Ok(described) = describe(&whole[..end], "") {
            assert!(!described.functions.is_empty(), "{end}");
        }
    }
    let mut random = Random(3);
    let (started, mut refused) = (Instant::now(), 0);
    for _ in 0..4_000 {
        let mut bytes = whole.clone();
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len());
            bytes[at] ^= 1 << random.below(8);
        }
        refused += usize::from(describe(&bytes, "").is_err());
    }
    assert!(refused > 1_000, "{refused}");
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

/// The description and the compiler accept the same components.
#[test]
fn the_reader_and_the_compiler_want_the_same() {
    let f = "(core module $m (func (export \"f\"))) (core instance $c (instantiate $m))
        (func $f (canon lift (core func $c \"f\"))) (export \"g\" (func $f))";
    for (text, good) in [
        (format!("(component {f} (core module (memory 1)))"), true),
        (format!("(component {f} (core module (memory i64 1)))"), false),
        (format!("(component {f} (core module (memory 1 1 shared)))"), false),
        (format!("(component {f} (core module (memory 1) (memory 1)))"), true),
        (format!("(component {f} (core module (func (result v128) (v128.const i64x2 0 0))))"), true),
        (format!("(component {f} (core module (func (result externref) (ref.null extern))))"), true),
        (format!("(component {f} (core module (tag)))"), true),
        (format!("(component {f} (core module (type (struct (field i32)))))"), true),
        (format!("(component {f} (core module (memory 1 (pagesize 1))))"), false),
        (format!("(component {f} (type (map string u8)))"), false),
        (format!("(component {f} (type (list u8 4)))"), false),
        (format!("(component {f} (type (stream u8)))"), false),
        (format!("(component {f} (type (future u8)))"), false),
        (format!("(component {f} (import \"a\" (func async)))"), false),
    ] {
        let bytes = component(&text);
        assert_eq!(ENGINE.precompile_component(&bytes).is_ok(), good, "the compiler: {text}");
        assert_eq!(describe(&bytes, "").is_ok(), good, "the reader: {text}: {:?}", describe(&bytes, "").err());
    }
}

#[test]
fn a_component_that_describes_itself_is_found_out() {
    let text = r#"(component
        (import "x:y/z" (instance $i (export "run" (func))))
        (import "x:y/d" (instance $d (export "describe" (func))))
        (export "a:b/c" (instance $i)) (export "cofferdam:tool/describe@0.1.0" (instance $d)))"#;
    let described = describe(&component(text), "").unwrap();
    assert_eq!(described.functions.len(), 1);
    let path = described.describe.unwrap();
    assert_eq!(
        (path.interface.as_deref(), path.function.as_str()),
        (Some("cofferdam:tool/describe@0.1.0"), "describe")
    );
}

/// The WIT that authors build against.
#[test]
fn our_own_wit_is_valid() {
    let mut resolve = Resolve::default();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../wit/tool/tool.wit");
    let package = resolve.push_source(path, &std::fs::read_to_string(path).unwrap()).unwrap();
    let world = resolve.select_world(&[package], Some("described")).unwrap();
    assert_eq!(resolve.worlds[world].exports.len(), 1);
}
