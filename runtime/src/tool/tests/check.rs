//! Validates a value against a schema. Supports the part of JSON Schema that our schemas use, and panics on anything
//! else.

use serde_json::Value;

pub(super) fn fits(value: &Value, schema: &Value) -> Result<(), String> {
    let object = schema.as_object().unwrap_or_else(|| panic!("no schema: {schema}"));
    let fail = |why: &str| Err(format!("{why}: {value} against {schema}"));
    for (key, rule) in object {
        let good = match key.as_str() {
            "description" | "contentEncoding" | "required" => true,
            "type" => match rule {
                Value::String(name) => is(value, name),
                names => names.as_array().unwrap().iter().any(|name| is(value, name.as_str().unwrap())),
            },
            "enum" => rule.as_array().unwrap().contains(value),
            "const" => rule == value,
            "anyOf" => rule.as_array().unwrap().iter().any(|schema| fits(value, schema).is_ok()),
            "minimum" => number(value, |v| rule.as_i64().is_some_and(|least| v >= i128::from(least))),
            "maximum" => number(value, |v| rule.as_u64().is_some_and(|most| v <= i128::from(most))),
            "minLength" => text(value, |t| t.chars().count() as u64 >= rule.as_u64().unwrap()),
            "maxLength" => text(value, |t| t.chars().count() as u64 <= rule.as_u64().unwrap()),
            "pattern" => text(value, |t| match rule.as_str().unwrap() {
                "^[0-9]+$" => t.bytes().all(|b| b.is_ascii_digit()),
                "^-?[0-9]+$" => t.strip_prefix('-').unwrap_or(t).bytes().all(|b| b.is_ascii_digit()),
                "^(NaN|-?Infinity)$" => matches!(t, "NaN" | "Infinity" | "-Infinity"),
                other => panic!("{other}"),
            }),
            "items" if rule == &Value::Bool(false) => true,
            "items" => list(value, |items| items.iter().all(|item| fits(item, rule).is_ok())),
            "prefixItems" => {
                let rules = rule.as_array().unwrap();
                list(value, |items| items.iter().zip(rules).all(|(item, rule)| fits(item, rule).is_ok()))
            }
            "minItems" => list(value, |items| items.len() as u64 >= rule.as_u64().unwrap()),
            "maxItems" => list(value, |items| items.len() as u64 <= rule.as_u64().unwrap()),
            "uniqueItems" => list(value, |items| (1..items.len()).all(|n| !items[..n].contains(&items[n]))),
            "properties" => {
                let properties = rule.as_object().unwrap();
                let required: Vec<&Value> =
                    object.get("required").and_then(Value::as_array).into_iter().flatten().collect();
                value.as_object().is_none_or(|map| {
                    map.iter().all(|(name, value)| properties.get(name).is_some_and(|rule| fits(value, rule).is_ok()))
                        && required.iter().all(|name| map.contains_key(name.as_str().unwrap()))
                })
            }
            "additionalProperties" => rule == &Value::Bool(false),
            other => panic!("the schema has {other}"),
        };
        if !good {
            return fail(key);
        }
    }
    Ok(())
}

fn is(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{other}"),
    }
}

fn number(value: &Value, rule: impl Fn(i128) -> bool) -> bool {
    let exact = value.as_i64().map(i128::from).or(value.as_u64().map(i128::from));
    exact.is_none_or(rule)
}

fn text(value: &Value, rule: impl Fn(&str) -> bool) -> bool {
    value.as_str().is_none_or(rule)
}

fn list(value: &Value, rule: impl Fn(&[Value]) -> bool) -> bool {
    value.as_array().is_none_or(|items| rule(items))
}
