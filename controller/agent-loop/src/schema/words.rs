//! The words of a schema: which are known, what their values have to be, and those that look at one value alone.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::faults::Faults;

/// Words whose value is a schema.
pub(super) const OF_ONE: [&str; 8] =
    ["items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames"];
/// Words whose value is a list of schemas.
pub(super) const OF_LISTS: [&str; 4] = ["allOf", "anyOf", "oneOf", "prefixItems"];
/// Words whose value is a schema for each name.
pub(super) const OF_NAMES: [&str; 4] = ["properties", "$defs", "definitions", "dependentSchemas"];
/// Words that change what is valid, and that are not supported.
const NOT_SUPPORTED: [&str; 9] = [
    "unevaluatedProperties",
    "unevaluatedItems",
    "$dynamicRef",
    "$recursiveRef",
    "dependencies",
    "additionalItems",
    "$anchor",
    "$dynamicAnchor",
    "$id",
];
const TYPES: [&str; 7] = ["object", "array", "string", "number", "integer", "boolean", "null"];

/// Checks a word and the kind of its value.
///
/// # Errors
/// A sentence.
pub(super) fn check(word: &str, value: &Value) -> Result<(), String> {
    if NOT_SUPPORTED.contains(&word) && !(word == "$id" && value.is_string()) {
        return Err("this word of JSON Schema is not supported".to_owned());
    }
    let good = match word {
        "type" => match value {
            Value::String(kind) => TYPES.contains(&kind.as_str()),
            Value::Array(kinds) => kinds.iter().all(|kind| kind.as_str().is_some_and(|kind| TYPES.contains(&kind))),
            _ => false,
        },
        "enum" => value.is_array(),
        "required" => value.as_array().is_some_and(|names| names.iter().all(Value::is_string)),
        "dependentRequired" => value.as_object().is_some_and(|map| map.values().all(Value::is_array)),
        "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" => value.is_number(),
        "multipleOf" => value.as_f64().is_some_and(|by| by > 0.0),
        "minLength" | "maxLength" | "minItems" | "maxItems" | "minProperties" | "maxProperties" | "minContains"
        | "maxContains" => value.as_u64().is_some() || value.as_f64().is_some_and(|n| n >= 0.0 && n.fract() == 0.0),
        "uniqueItems" => value.is_boolean(),
        "pattern" => value.is_string(),
        "$ref" => value.as_str().is_some_and(|to| to.starts_with('#')),
        "patternProperties" => value.is_object(),
        word if OF_NAMES.contains(&word) => value.is_object(),
        word if OF_LISTS.contains(&word) => value.as_array().is_some_and(|list| !list.is_empty()),
        word if OF_ONE.contains(&word) => value.is_object() || value.is_boolean(),
        _ => true,
    };
    if good { Ok(()) } else { Err("its value is not one that JSON Schema takes there".to_owned()) }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn is_of(kind_wanted: &str, value: &Value) -> bool {
    match kind_wanted {
        "integer" => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|n| n.fract() == 0.0),
        wanted => kind(value) == wanted,
    }
}

pub(super) fn check_kind(map: &Map<String, Value>, value: &Value, faults: &mut Faults) {
    let (good, wanted) = match map.get("type") {
        Some(Value::String(wanted)) => (is_of(wanted, value), wanted.clone()),
        Some(Value::Array(kinds)) => {
            let mut kinds = kinds.iter().filter_map(Value::as_str);
            let all: Vec<&str> = kinds.clone().collect();
            (kinds.any(|wanted| is_of(wanted, value)), all.join(" or "))
        }
        _ => return,
    };
    if !good {
        faults.add(format!("expected {wanted}, got {}", kind(value)));
    }
}

/// Compares two numbers: whole ones exactly.
pub(super) fn compare(one: &Value, two: &Value) -> Option<Ordering> {
    let whole = |value: &Value| value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from));
    match (whole(one), whole(two)) {
        (Some(one), Some(two)) => Some(one.cmp(&two)),
        _ => one.as_f64()?.partial_cmp(&two.as_f64()?),
    }
}

pub(super) fn check_number(map: &Map<String, Value>, value: &Value, faults: &mut Faults) {
    for (word, says, wrong) in [
        ("minimum", "at least", &[Ordering::Less][..]),
        ("maximum", "at most", &[Ordering::Greater]),
        ("exclusiveMinimum", "more than", &[Ordering::Less, Ordering::Equal]),
        ("exclusiveMaximum", "less than", &[Ordering::Greater, Ordering::Equal]),
    ] {
        if let Some(limit) = map.get(word)
            && compare(value, limit).is_some_and(|is| wrong.contains(&is))
        {
            faults.add(format!("expected {says} {limit}"));
        }
    }
    if let Some(by) = map.get("multipleOf").and_then(Value::as_f64)
        && let Some(number) = value.as_f64()
    {
        let times = number / by;
        if (times - times.round()).abs() > 1e-9 * times.abs().max(1.0) {
            faults.add(format!("expected a multiple of {by}"));
        }
    }
}

pub(super) fn check_count(
    map: &Map<String, Value>,
    least: &str,
    most: &str,
    count: usize,
    what: &str,
    faults: &mut Faults,
) {
    let limit = |word: &str| map.get(word).and_then(Value::as_f64);
    // Counts are far below the numbers that are not exact.
    let count_f = u32::try_from(count).map_or(f64::MAX, f64::from);
    if let Some(limit) = limit(least).filter(|limit| count_f < *limit) {
        faults.add(format!("expected at least {limit} {what}, got {count}"));
    }
    if let Some(limit) = limit(most).filter(|limit| count_f > *limit) {
        faults.add(format!("expected at most {limit} {what}, got {count}"));
    }
}
