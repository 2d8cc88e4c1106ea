//! Parsers of untrusted bytes, each as a function of bytes, for the fuzzer and for the smoke test in `make test`. A target
//! must return without a panic or a hang, and pass the assertions here.

use std::fmt::Write as _;
use std::io::Write;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use cofferdam_contract::{RunRequest, normalize_path};
use cofferdam_host_api::{Base, Budget, Mounts, Quota, SystemClock, Vfs};
use cofferdam_policy::{HostPattern, OperatorPolicy, ToolPolicy, check_grants, effective};
use cofferdam_redact::{Forbidden, Matcher, Replacer};
use cofferdam_runtime::kernel::manifest::Manifest;
use cofferdam_runtime::memory::Delta;
use cofferdam_runtime::recorder::{Recorder, Stream};
use cofferdam_runtime::tool::shape::{Int, Kind, Part, Parts, Shape, Signature};
use cofferdam_runtime::tool::{Returned, describe, instance_weight};
use serde_json::value::RawValue;

pub(crate) type Target = fn(&[u8]);

pub(crate) const TARGETS: [(&str, Target); 11] = [
    ("run_request", run_request),
    ("path", path),
    ("delta", delta),
    ("archive", archive),
    ("manifest", manifest),
    ("door", door),
    ("component", component),
    ("arguments", arguments),
    ("policy", policy),
    ("url", url),
    ("redact", redact),
];

/// The body of `POST /v1/runs`.
pub(crate) fn run_request(bytes: &[u8]) {
    let Ok(request) = serde_json::from_slice::<RunRequest>(bytes) else { return };
    let _ = request.check();
    for (path, _) in request.files.decode().unwrap_or_default() {
        stays_inside(&path);
    }
    let text = serde_json::to_string(&request).expect("a request is JSON again");
    let again: RunRequest = serde_json::from_str(&text).expect("and reads as itself");
    // Compared as JSON, because an empty list and an empty map of files are equal there.
    assert_eq!(serde_json::to_string(&again).ok(), Some(text));
}

/// A path of a file.
pub(crate) fn path(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(path) = normalize_path(text) {
        stays_inside(&path);
        assert_eq!(normalize_path(&path).as_deref(), Ok(path.as_str()), "normal twice is normal once");
    }
}

fn stays_inside(path: &str) {
    assert!(!path.is_empty() && !path.starts_with('/') && !path.ends_with('/') && !path.contains("//"), "{path:?}");
    assert!(path.split('/').all(|name| !matches!(name, "" | "." | "..")) && !path.contains(['\0', '\\']), "{path:?}");
}

/// The memory of a suspended session.
pub(crate) fn delta(bytes: &[u8]) {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(bytes).expect("written");
    let _ = Delta::open(file);
}

/// The files of a suspended session.
pub(crate) fn archive(bytes: &[u8]) {
    let budget = Budget::new(8 << 20);
    let quota = Quota { disk_bytes: 1 << 20, files: 200, open_files: 8 };
    let base = Base { mounts: Arc::new(Mounts::new()), budget: Arc::clone(&budget), clock: Arc::new(SystemClock) };
    if let Ok(vfs) = Vfs::from_archive(Arc::new(base), quota, bytes) {
        let usage = vfs.usage();
        assert!(usage.bytes <= quota.disk_bytes && usage.files <= quota.files, "{usage:?}");
        let mut copy = Vec::new();
        vfs.to_archive(&mut copy).expect("what was read can be written");
        for file in vfs.list() {
            let _ = vfs.read_file(&file.path);
        }
    }
    assert_eq!(budget.used(), 0, "memory for files is given back");
}

/// `kernel.toml`.
pub(crate) fn manifest(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = toml::from_str::<Manifest>(text);
    }
}

/// A guest's door requests and output, separated by NUL bytes.
pub(crate) fn door(bytes: &[u8]) {
    const BUDGET: u64 = 4_096;
    let mut recorder = Recorder::new(BUDGET, None);
    for (number, request) in bytes.split(|b| *b == 0).enumerate() {
        let _ = recorder.door(request);
        let _ = recorder.write(if number % 2 == 0 { Stream::Stdout } else { Stream::Stderr }, request);
    }
    let record = recorder.finish();
    // An invalid UTF-8 byte becomes three.
    assert!((record.stdout.len() + record.stderr.len()) as u64 <= 3 * BUDGET);
}

/// A component: its types, names, doc comments, and the resulting schemas.
pub(crate) fn component(bytes: &[u8]) {
    // Also on its own; its result for broken bytes does not matter.
    let _ = instance_weight(bytes);
    let Ok(component) = describe(bytes, "") else { return };
    assert!(!component.functions.is_empty() && component.functions.len() <= 256);
    let text = serde_json::to_string(&component).expect("a description is JSON");
    assert!(text.len() < 4 << 20, "{} bytes", text.len());
    let again: cofferdam_contract::Component = serde_json::from_str(&text).expect("no deeper than readers of JSON go");
    assert_eq!(again, component);
}

/// A function that takes a value of every type, and returns it.
static EVERYTHING: LazyLock<Signature> = LazyLock::new(|| {
    let shape = |kind| Shape { kind, docs: String::new() };
    let part = |name: &str, kind: Option<Kind>| Part { name: name.into(), docs: String::new(), shape: kind.map(shape) };
    let boxed = |kind| Some(Box::new(shape(kind)));
    let labels = || Parts::new(vec![part("red", None), part("green", None)]);
    let cases = vec![part("none", None), part("some", Some(Kind::Float32)), part("more", Some(Kind::Bytes))];
    let all = || {
        Kind::Record(Parts::new(vec![
            part("bool", Some(Kind::Bool)),
            part("u8", Some(Kind::Int(Int::U8))),
            part("s64", Some(Kind::Int(Int::S64))),
            part("float", Some(Kind::Float64)),
            part("char", Some(Kind::Char)),
            part("bytes", Some(Kind::Bytes)),
            part("texts", Some(Kind::list(shape(Kind::String)))),
            part("tuple", Some(Kind::Tuple(vec![shape(Kind::Char), shape(Kind::Int(Int::U64))]))),
            part("variant", Some(Kind::Variant(Parts::new(cases.clone())))),
            part("enum", Some(Kind::Enum(labels()))),
            part("flags", Some(Kind::Flags(labels()))),
            part("option", Some(Kind::option(shape(Kind::option(shape(Kind::Bool)))))),
            part("result", Some(Kind::Result { ok: None, err: boxed(Kind::String) })),
        ]))
    };
    Signature::new(vec![part("x", Some(all()))], Some(shape(all())))
});

/// A call's arguments.
pub(crate) fn arguments(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(json) = RawValue::from_string(text.to_owned()) else { return };
    match EVERYTHING.arguments(&json) {
        Ok(values) => {
            let Ok(Returned::Value(json)) = EVERYTHING.returned(values.first(), 1 << 20) else { panic!("{text}") };
            let json = RawValue::from_string(format!("{{\"x\":{}}}", json.get())).expect("JSON");
            assert_eq!(EVERYTHING.arguments(&json).as_ref(), Ok(&values), "{text}");
        }
        Err(error) => assert!(error.path.starts_with("arguments") && error.to_string().len() < 4 << 10, "{error}"),
    }
}

/// A tool's and an operator's policy from the same text, and the effective grants.
pub(crate) fn policy(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(pattern) = HostPattern::parse(text) {
        let shown = pattern.to_string();
        assert_eq!(HostPattern::parse(&shown).as_ref(), Ok(&pattern), "{shown} is read as what it was");
    }
    let operator = OperatorPolicy::parse(text);
    let Ok(tool) = ToolPolicy::parse(text) else { return };
    check_grants(&tool.grants).expect("a policy that was read is checked");
    let (left, _) = effective(&tool.grants, &operator.unwrap_or_default());
    check_grants(&left).expect("what is left can be granted");
    let (again, _) = effective(&left, &OperatorPolicy::default());
    assert_eq!(again, left, "what is allowed is allowed once more");
}

/// A sandbox's URL as the gateway parses it. Its canonical form must parse to the same target.
pub(crate) fn url(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(target) = cofferdam_gateway::Target::parse(text) else { return };
    let scheme = if target.https { "https" } else { "http" };
    let form = format!("{scheme}://{}{}", target.authority(), target.path_and_query());
    let again = cofferdam_gateway::Target::parse(&form);
    assert_eq!(again.as_ref(), Ok(&target), "{form} is read as what it was");
    assert!(form.bytes().all(|byte| byte.is_ascii_graphic()), "{form} can stand in a request");
    assert!(!target.path.split('/').any(|segment| segment == ".."), "{form} does not climb");
}

/// A secret's value between other bytes, as one of many encoders writes it. The first bytes choose the encoder, the lengths
/// of the value and of what stands before it, and the pieces. However the stream is cut, the same goes on, without the value.
pub(crate) fn redact(bytes: &[u8]) {
    let Some((&[encoder, length, before, first, piece], rest)) = bytes.split_first_chunk() else { return };
    let (value, rest) = rest.split_at(rest.len().min(8 + usize::from(length) % 40));
    let value: String = String::from_utf8_lossy(value).chars().filter(|c| *c != MARK).collect();
    if value.len() < 8 {
        return;
    }
    let encoded = encoded(&value, encoder);
    let (before, after) = rest.split_at(rest.len().min(before.into()));
    let text = [before, encoded.as_bytes(), after].concat();
    let matcher = Arc::new(Matcher::new([value.as_bytes()]).expect("one value fits"));
    let with = Arc::new(vec![Ok(MARK.to_string().into_bytes().into())]);
    let run = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut replacer = Replacer::new(Arc::clone(&matcher), Arc::clone(&with), usize::MAX);
        let mut output = Vec::new();
        for piece in pieces {
            output.extend_from_slice(&replacer.push(Bytes::copy_from_slice(piece))?);
        }
        output.extend_from_slice(&replacer.finish()?);
        Ok::<_, Forbidden>(output)
    };
    let (Ok(whole), Ok(two)) = (run(&mut [text.as_slice()].into_iter()), {
        let (one, other) = text.split_at(text.len().min(first.into()));
        run(&mut [one, other].into_iter())
    }) else {
        return;
    };
    assert_eq!(two, whole, "{value:?} in two pieces");
    if let Ok(many) = run(&mut text.chunks(1 + usize::from(piece) % 64)) {
        assert_eq!(many, whole, "{value:?} in many pieces");
    }
    let shows = whole.windows(encoded.len()).any(|window| window == encoded.as_bytes());
    assert!(!shows, "{value:?} by encoder {encoder} is shown as {encoded:?}");
}

/// Stands in the place of the value, which does not hold it.
const MARK: char = '\u{1}';

fn encoded(value: &str, encoder: u8) -> String {
    let bytes = |encode: fn(&mut String, u8)| {
        value.bytes().fold(String::new(), |mut text, byte| {
            encode(&mut text, byte);
            text
        })
    };
    let chars = |encode: fn(char) -> String| value.chars().map(encode).collect::<String>();
    let utf16 = |c: char| c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect::<String>();
    let json = |value: &str| {
        let json = serde_json::to_string(value).expect("a text is JSON");
        json[1..json.len() - 1].to_owned()
    };
    match encoder % 12 {
        0 => value.to_owned(),
        1 => json(value),
        2 => json(&json(value)),
        3 => value.chars().map(utf16).collect(),
        4 => bytes(|text, byte| write!(text, "%{byte:02X}").expect("a text grows")),
        5 => bytes(|text, byte| write!(text, "%25{byte:02x}").expect("a text grows")),
        6 => bytes(|text, byte| write!(text, "\\x{byte:02x}").expect("a text grows")),
        7 => bytes(|text, byte| write!(text, "{byte:02x}").expect("a text grows")),
        8 => bytes(|text, byte| match byte {
            byte if byte.is_ascii_alphanumeric() => text.push(char::from(byte)),
            b' ' => text.push('+'),
            byte => write!(text, "%{byte:02X}").expect("a text grows"),
        }),
        9 => chars(|c| format!("&#{};", u32::from(c))),
        10 => json(value)
            .replace('/', "\\/")
            .chars()
            .map(|c| if c.is_ascii() { c.to_string() } else { utf16(c) })
            .collect(),
        _ => chars(|c| match c {
            '&' => "&amp;".to_owned(),
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            '"' => "&quot;".to_owned(),
            '\'' => "&#x27;".to_owned(),
            c => c.to_string(),
        }),
    }
}
