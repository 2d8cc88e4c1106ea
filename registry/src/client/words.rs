//! A registry's own words in a refusal: its code and its sentence, whichever form they have. Pure. The caller cleans and
//! cuts them before anybody sees them.

use serde_json::Value;

/// Errors of one answer that are repeated.
const MAX_ERRORS: usize = 3;
const MAX_CODE: usize = 64;

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Words {
    /// The code of the first error, such as `MANIFEST_INVALID`.
    pub code: Option<String>,
    pub text: Option<String>,
}

/// Reads the distribution specification's errors, the JSON of registries and proxies that do not follow it, and text.
pub(super) fn words(body: &[u8]) -> Words {
    if let Ok(document) = serde_json::from_slice::<Value>(body) {
        return json(&document);
    }
    let text = String::from_utf8_lossy(body);
    let text = text.trim_start_matches('\u{feff}').trim();
    // Cut JSON and bytes that are no text say nothing.
    if text.starts_with(['{', '[']) || text.contains(['\0', '\u{fffd}']) {
        return Words::default();
    }
    Words { code: None, text: some(if text.starts_with('<') { page(text) } else { text.to_owned() }) }
}

fn json(document: &Value) -> Words {
    let errors = document.get("errors").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if errors.is_empty() {
        return Words { code: None, text: sentence(document) };
    }
    let code = errors.iter().find_map(|error| error.get("code")?.as_str()).filter(|code| is_code(code));
    let one = |error: &Value| {
        let code = error.get("code").and_then(Value::as_str).unwrap_or_default();
        let parts = [some(code.to_owned()), sentence(error)];
        some(parts.into_iter().flatten().collect::<Vec<_>>().join(": "))
    };
    let all: Vec<String> = errors.iter().take(MAX_ERRORS).filter_map(one).collect();
    Words { code: code.map(str::to_owned), text: some(all.join("; ")) }
}

/// The sentence of one error: a text, or an object with one, and its details if they are a text too.
fn sentence(error: &Value) -> Option<String> {
    let text = |value: &Value| value.as_str().map(str::to_owned).and_then(some);
    let field = |name: &str| error.get(name).and_then(text);
    let nested = || error.get("error").and_then(|inner| inner.get("message")).and_then(text);
    let names = ["message", "error_message", "error_description", "error", "title"];
    let message = text(error).or_else(|| names.iter().find_map(|name| field(name))).or_else(nested);
    match (message, field("detail")) {
        (Some(message), Some(detail)) if !message.contains(&detail) => Some(format!("{message}: {detail}")),
        (message, detail) => message.or(detail),
    }
}

fn is_code(code: &str) -> bool {
    (1..=MAX_CODE).contains(&code.len())
        && code.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

/// The title of an HTML page, else its text.
fn page(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let title = lower.find("<title>").map(|at| at + "<title>".len()).and_then(|start| {
        let end = lower.get(start..)?.find('<')? + start;
        text.get(start..end).map(str::trim).filter(|title| !title.is_empty())
    });
    if let Some(title) = title {
        return title.to_owned();
    }
    let mut plain = String::new();
    let mut inside = false;
    for c in text.chars() {
        match c {
            '<' => inside = true,
            '>' if inside => {
                inside = false;
                plain.push(' ');
            }
            c if !inside => plain.push(c),
            _ => {}
        }
    }
    plain
}

fn some(text: String) -> Option<String> {
    (!text.trim().is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_that_registries_and_proxies_use() {
        let limit = "the request body is too large and exceeds the maximum permissible limit of 4.00MiB";
        for (body, code, text) in [
            (r#"{"errors":[{"code":"DENIED","message":"no"}]}"#, Some("DENIED"), "DENIED: no"),
            (r#"{"errors":[{"code":"A","message":"b","detail":"c"},{"code":"D"}]}"#, Some("A"), "A: b: c; D"),
            (r#"{"errors":[{"code":"A","message":"b","detail":{"x":1}}]}"#, Some("A"), "A: b"),
            (r#"{"errors":[{"code":null,"message":"b"}]}"#, None, "b"),
            (r#"{"errors":[{"status":403,"message":"Forbidden for you"}]}"#, None, "Forbidden for you"),
            (r#"{"errors":["plain"]}"#, None, "plain"),
            (r#"{"errors":null,"message":"later"}"#, None, "later"),
            (r#"{"message":"m","detail":"d"}"#, None, "m: d"),
            (r#"{"error":{"message":"inner"}}"#, None, "inner"),
            (r#"{"error_message":"quay","title":"t"}"#, None, "quay"),
            (r#""only a text""#, None, "only a text"),
            (limit, None, limit),
            (
                "<html><head><TITLE>413 Request Entity Too Large</TITLE></head><body>x</body>",
                None,
                "413 Request Entity Too Large",
            ),
            ("<h1>Bad</h1><p>gateway", None, " Bad  gateway"),
        ] {
            let found = words(body.as_bytes());
            assert_eq!((found.code.as_deref(), found.text.as_deref()), (code, Some(text)), "{body}");
        }
    }

    #[test]
    fn what_says_nothing_is_nothing() {
        for body in [
            &b""[..],
            b"  \n",
            b"{}",
            b"[]",
            b"{\"errors\":[]}",
            b"{\"errors\":[{}]}",
            b"{\"mess",
            b"\x00\x01",
            b"\xff\xfe",
            b"17",
            b"<>",
        ] {
            assert_eq!(words(body), Words::default(), "{body:?}");
        }
        let odd = words(br#"{"errors":[{"code":"not a code","message":"m"}]}"#);
        assert_eq!((odd.code, odd.text.as_deref()), (None, Some("not a code: m")));
    }
}
