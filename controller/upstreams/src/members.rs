//! Takes members out of a JSON object and puts some in, byte for byte otherwise: order, white space and forms of numbers of
//! all others stay. Never writes JSON anew. Pure.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

/// The most members of an object, which bounds the memory for their places.
const MAX_MEMBERS: usize = 1_024;

/// One member of an object, by its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member<'a> {
    pub(crate) name: Cow<'a, str>,
    /// From its name's quote to its value's end.
    start: usize,
    end: usize,
    pub(crate) value: &'a [u8],
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The members of an object, in order.
///
/// # Errors
/// The bytes are no object, or have too many members.
pub(crate) fn members(body: &[u8]) -> Result<Vec<Member<'_>>, &'static str> {
    const NONE: &str = "the body is no JSON object";
    let space = |mut at: usize| {
        while body.get(at).is_some_and(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')) {
            at += 1;
        }
        at
    };
    // The whole of it is JSON, or places in it would mean nothing.
    let _: &RawValue = serde_json::from_slice(body).map_err(|_| NONE)?;
    let mut at = space(0);
    if body.get(at) != Some(&b'{') {
        return Err(NONE);
    }
    at = space(at + 1);
    let mut found = Vec::new();
    while body.get(at) == Some(&b'"') {
        if found.len() == MAX_MEMBERS {
            return Err("the body has too many fields");
        }
        let start = at;
        let (name, name_bytes) = next::<Text<'_>>(body, start).ok_or(NONE)?;
        let colon = space(start + name_bytes);
        let from = space(colon + 1);
        let (_, value_bytes) = next::<IgnoredAny>(body, from).ok_or(NONE)?;
        let end = from + value_bytes;
        found.push(Member { name: name.0, start, end, value: body.get(from..end).unwrap_or_default() });
        at = space(end);
        if body.get(at) == Some(&b',') {
            at = space(at + 1);
        }
    }
    Ok(found)
}

/// The JSON value at a place, and its length.
fn next<'a, T: Deserialize<'a>>(body: &'a [u8], at: usize) -> Option<(T, usize)> {
    let mut values = serde_json::Deserializer::from_slice(body.get(at..)?).into_iter::<T>();
    let value = values.next()?.ok()?;
    Some((value, values.byte_offset()))
}

/// The body without the members for which `gone` is true, and with `added` (members as they are written, without commas
/// around them) at its start.
pub(crate) fn changed(body: &[u8], members: &[Member<'_>], gone: impl Fn(&str) -> bool, added: &[String]) -> Vec<u8> {
    let open = body.iter().position(|byte| *byte == b'{').map_or(0, |at| at + 1);
    let first = members.first().map_or(open, |member| member.start);
    let last = members.last().map_or(open, |member| member.end);
    let mut out = Vec::with_capacity(body.len() + 128);
    out.extend_from_slice(body.get(..first).unwrap_or_default());
    out.extend_from_slice(added.join(",").as_bytes());
    let (mut before, mut any, mut kept) = (first, !added.is_empty(), false);
    for member in members {
        if !gone(&member.name) {
            // The comma and the white space before it, if one of the body's own stands before.
            match (kept, any) {
                (true, _) => out.extend_from_slice(body.get(before..member.start).unwrap_or_default()),
                (false, true) => out.push(b','),
                (false, false) => {}
            }
            out.extend_from_slice(body.get(member.start..member.end).unwrap_or_default());
            (kept, any) = (true, true);
        }
        before = member.end;
    }
    out.extend_from_slice(body.get(last..).unwrap_or_default());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_other_bytes_stay() {
        for (body, added, expected) in [
            (r#"{"model":"m","a":1e5,"stream":true}"#, &["\"v\":1"][..], r#"{"v":1,"a":1e5}"#),
            (
                "{ \"a\" : [ {\"model\":1} ] ,\n \"model\":\"m\" ,\t\"b\": 1.0 }",
                &[],
                "{ \"a\" : [ {\"model\":1} ] ,\t\"b\": 1.0 }",
            ),
            (r#"{"\u006dodel":"m","model":"n","a":"\"}{,"}"#, &["\"v\":1"], r#"{"v":1,"a":"\"}{,"}"#),
            (r#" {"model":"m"} "#, &["\"v\":1"], r#" {"v":1} "#),
            (r#"{"model":"m"}"#, &[], "{}"),
            ("{}", &["\"v\":1", "\"w\":2"], r#"{"v":1,"w":2}"#),
            (r#"{"a":1,"b":2}"#, &[], r#"{"a":1,"b":2}"#),
            (r#"{"a":-0.0,"stream":null,"stream":false,"c":3}"#, &[], r#"{"a":-0.0,"c":3}"#),
        ] {
            let found = members(body.as_bytes()).unwrap();
            let added: Vec<String> = added.iter().map(|text| (*text).to_owned()).collect();
            let out = changed(body.as_bytes(), &found, |name| matches!(name, "model" | "stream"), &added);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{body}");
        }
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for body in ["", "[]", "{", "{\"a\":}", "{\"a\":1,}", "{\"a\":1}x", "1", "{\"a\" 1}", "{a:1}"] {
            assert!(members(body.as_bytes()).is_err(), "{body}");
        }
        let many: Vec<String> = (0..=MAX_MEMBERS).map(|n| format!("\"{n}\":0")).collect();
        assert!(members(format!("{{{}}}", many.join(",")).as_bytes()).is_err());
    }
}
