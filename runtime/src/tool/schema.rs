//! JSON Schema (2020-12) of a function's parameters and result: exactly what `value_in` accepts and `value_out` writes.
//! Texts come from doc comments. Uses no references, because some clients do not resolve them.

use serde_json::{Map, Value, json};

use super::shape::{Kind, Part, Parts, Shape, Signature};

/// The most bytes of one function's two schemas.
pub(super) const MAX_BYTES: usize = 256 << 10;

/// The direction of a value. The schema of arguments omits some accepted forms, such as numbers as strings, because
/// models would read them as an invitation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    In,
    Out,
}

impl Signature {
    /// The schema of a call's arguments.
    pub fn input_schema(&self) -> Value {
        schema(&self.params, Way::In)
    }

    /// The schema of a call's `result`. For a function that returns a `result`, that of the value inside `ok`.
    pub fn output_schema(&self) -> Value {
        match &self.result {
            Some(Shape { kind: Kind::Result { ok, .. }, .. }) => maybe(ok.as_deref(), Way::Out),
            other => maybe(other.as_ref(), Way::Out),
        }
    }
}

fn schema(shape: &Shape, way: Way) -> Value {
    let value = match &shape.kind {
        Kind::Bool => json!({"type": "boolean"}),
        Kind::Int(int) => {
            let (least, most) = int.range();
            let mut value = json!({"type": "integer"});
            put(&mut value, "minimum", json!(i64::try_from(least).unwrap_or(i64::MIN)));
            put(&mut value, "maximum", json!(u64::try_from(most).unwrap_or(u64::MAX)));
            if int.is_wide() {
                // Beyond 2^53, readers that only have doubles need the digits.
                put(&mut value, "type", json!(["integer", "string"]));
                put(&mut value, "pattern", json!(if least < 0 { "^-?[0-9]+$" } else { "^[0-9]+$" }));
            }
            value
        }
        Kind::Float32 | Kind::Float64 => match way {
            Way::In => json!({"type": "number"}),
            Way::Out => json!({"type": ["number", "string"], "pattern": "^(NaN|-?Infinity)$"}),
        },
        Kind::Char => json!({"type": "string", "minLength": 1, "maxLength": 1}),
        Kind::String => json!({"type": "string"}),
        Kind::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
        Kind::List(element) => json!({"type": "array", "items": schema(element, way)}),
        Kind::Tuple(types) => {
            let parts: Vec<Value> = types.iter().map(|ty| schema(ty, way)).collect();
            let count = parts.len();
            json!({"type": "array", "prefixItems": parts, "items": false, "minItems": count, "maxItems": count})
        }
        Kind::Record(fields) => object(fields, way),
        Kind::Variant(cases) => {
            let cases: Vec<Value> = cases
                .iter()
                .map(|case| match &case.shape {
                    None => described(json!({"const": case.name}), &case.docs),
                    Some(payload) => described(one(&case.name, schema(payload, way)), &case.docs),
                })
                .collect();
            json!({"anyOf": cases})
        }
        Kind::Enum(cases) => labels(cases),
        Kind::Flags(flags) => json!({"type": "array", "items": labels(flags), "uniqueItems": true}),
        Kind::Wrapped(inner) => one("some", schema(inner, way)),
        Kind::Option(inner) => nullable(schema(inner, way)),
        Kind::Result { ok, err } => {
            json!({"anyOf": [one("ok", maybe(ok.as_deref(), way)), one("err", maybe(err.as_deref(), way))]})
        }
    };
    described(value, &shape.docs)
}

fn maybe(shape: Option<&Shape>, way: Way) -> Value {
    shape.map_or_else(|| json!({"type": "null"}), |shape| schema(shape, way))
}

/// An object with exactly these properties. Nullable ones are optional.
fn object(parts: &Parts, way: Way) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for Part { name, docs, shape } in parts.iter() {
        let Some(shape) = shape else { continue };
        properties.insert(name.clone(), described(schema(shape, way), docs));
        if !matches!(shape.kind, Kind::Option(_)) {
            required.push(json!(name));
        }
    }
    let mut value = json!({"type": "object", "properties": properties, "additionalProperties": false});
    if !required.is_empty() {
        put(&mut value, "required", Value::Array(required));
    }
    value
}

/// An object with exactly one property.
fn one(name: &str, value: Value) -> Value {
    let properties = Map::from_iter([(name.to_owned(), value)]);
    json!({"type": "object", "properties": properties, "required": [name], "additionalProperties": false})
}

/// One string out of a list. The meanings go into one description, if there are any.
fn labels(parts: &Parts) -> Value {
    let names: Vec<&str> = parts.iter().map(|part| part.name.as_str()).collect();
    let meanings: Vec<String> = parts
        .iter()
        .filter(|part| !part.docs.is_empty())
        .map(|part| format!("- {}: {}", part.name, part.docs))
        .collect();
    described(json!({"type": "string", "enum": names}), &meanings.join("\n"))
}

fn nullable(mut inner: Value) -> Value {
    let description = inner.as_object_mut().and_then(|map| map.remove("description"));
    let simple = match inner.get("type") {
        Some(Value::String(name)) => Some(json!([name, "null"])),
        Some(Value::Array(names)) => Some(names.iter().cloned().chain([json!("null")]).collect()),
        _ => None,
    };
    // Only `type` can be widened; an `enum` would still exclude null.
    let mut value = match simple {
        Some(types) if inner.get("enum").is_none() => {
            put(&mut inner, "type", types);
            inner
        }
        _ => json!({"anyOf": [inner, {"type": "null"}]}),
    };
    if let Some(description) = description {
        put(&mut value, "description", description);
    }
    value
}

/// Replaces a description by a more specific one, except where it explains an enum's values.
fn described(mut value: Value, docs: &str) -> Value {
    if docs.is_empty() {
        return value;
    }
    let labels = value.get("enum").or_else(|| value.pointer("/anyOf/0/enum"));
    let meanings = labels.and(value.get("description")).and_then(Value::as_str);
    let text = meanings.map_or_else(|| docs.to_owned(), |meanings| format!("{docs}\n{meanings}"));
    put(&mut value, "description", Value::String(text));
    value
}

fn put(value: &mut Value, key: &str, what: Value) {
    if let Some(map) = value.as_object_mut() {
        map.insert(key.to_owned(), what);
    }
}
