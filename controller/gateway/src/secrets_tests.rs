//! Values become placeholders again, in every form and however the answer is cut.

use bytes::Bytes;
use cofferdam_policy::HostPattern;
use cofferdam_redact::{MARK, cases};

use super::*;

fn held(values: &[String]) -> Arc<Held> {
    let entry = |(number, value): (usize, &String)| Entry {
        name: format!("S{number}"),
        placeholder: "cofferdam-secret-0".to_owned(),
        secret: Some(Arc::new(OpenedSecret {
            value: Zeroizing::new(value.clone()),
            hosts: vec![HostPattern::parse("a.example").unwrap()],
        })),
    };
    Held::new(values.iter().enumerate().map(entry).collect()).ok().unwrap()
}

fn scrub(held: &Held, text: &str, piece: usize) -> String {
    let mut scrubber = held.scrubber();
    let mut bytes = Vec::new();
    for piece in text.as_bytes().chunks(piece) {
        bytes.extend_from_slice(&scrubber.push(Bytes::copy_from_slice(piece)).unwrap());
    }
    bytes.extend_from_slice(&scrubber.finish().unwrap());
    String::from_utf8(bytes).unwrap()
}

#[test]
fn the_attack_cases_of_redaction_hold_for_answers() {
    // Answers are bytes: they are not cleaned of terminal commands or split into lines.
    let is_whole = |case: &cases::Case| {
        let cleaned = case.lines.iter().any(|line| line.contains('\u{1b}'));
        !cleaned && case.values.iter().all(|value| !value.trim().contains('\n') && value.trim() == value)
    };
    let cases: Vec<_> = cases::all().into_iter().filter(|case| !case.values.is_empty() && is_whole(case)).collect();
    assert!(cases.len() > 10, "{}", cases.len());
    for case in cases {
        let held = held(&case.values);
        let shown = case.shown.join("\n").replace(MARK, "cofferdam-secret-0");
        for piece in [1, 2, 3, 7, 64 << 10] {
            assert_eq!(scrub(&held, &case.lines.join("\n"), piece), shown, "{} in pieces of {piece}", case.name);
        }
    }
}

#[test]
fn a_placeholder_becomes_its_value_for_its_host_only() {
    let held = held(&["hunter22".to_owned()]);
    let header = HeaderValue::from_static("Bearer cofferdam-secret-0");
    let to = |url: &str, plain_http: bool| held.outgoing(&Target::parse(url).unwrap(), plain_http).header(&header);
    let sent = to("https://a.example/", false).unwrap().unwrap();
    assert_eq!((sent.to_str().unwrap(), sent.is_sensitive()), ("Bearer hunter22", true));
    for (url, part) in [("https://b.example/", "is not bound to"), ("http://a.example/", "https only")] {
        let why = to(url, false).unwrap_err();
        assert!(why.0.contains(part) && !why.0.contains("hunter22"), "{why}");
    }
    assert!(to("http://a.example/", true).is_ok());
    let url = held.outgoing(&Target::parse("https://a.example/").unwrap(), false).url("/x?k=cofferdam-secret-0");
    assert_eq!(url.unwrap().unwrap().as_str(), "/x?k=hunter22");
}

#[test]
fn headers_show_no_value_in_names_or_values() {
    let held = held(&["Hunter22-correct".to_owned()]);
    let mut given = http::HeaderMap::new();
    for (name, value) in [
        ("x-ok", "1"),
        ("x-hunter22-correct", "1"),
        ("x-48756e74657232322d636f7272656374", "1"),
        ("hunter22%2dcorrect", "1"),
        ("x-plain", "Hunter22-correct"),
        ("x-escaped", "a \\u0048unter22%2Dcorrec&#116; b"),
    ] {
        given.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    let headers = crate::headers::to_guest(&given, Some(&held), true).unwrap();
    let names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
    assert_eq!(names, ["x-ok", "x-plain", "x-escaped"]);
    assert_eq!(headers["x-plain"], "cofferdam-secret-0");
    assert_eq!(headers["x-escaped"], "a cofferdam-secret-0 b");
}
