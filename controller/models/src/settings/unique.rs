//! A JSON value in which no object has a field twice, on any level. Errors never show a value.

use std::fmt;

use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Number, Value};

/// The longest part of a field's name that an error shows, in characters.
const MAX_SHOWN_CHARS: usize = 64;

/// A value without a field that is there twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unique(pub Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any).map(Self)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut found = Vec::new();
        while let Some(Unique(item)) = list.next_element()? {
            found.push(item);
        }
        Ok(Value::Array(found))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut found = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            if found.contains_key(&name) {
                let shown: String = name.chars().take(MAX_SHOWN_CHARS).collect();
                return Err(A::Error::custom(format_args!("duplicate field `{shown}`")));
            }
            let Unique(value) = map.next_value()?;
            found.insert(name, value);
        }
        Ok(Value::Object(found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_is_there_twice_is_refused_on_every_level() {
        let read = |text: &str| serde_json::from_str::<Unique>(text).map(|Unique(value)| value);
        for same in [r#"{"a":[1,-1,0.5,null,true,"x",{"b":{}}],"b":1}"#, "7"] {
            assert_eq!(read(same).unwrap(), serde_json::from_str::<Value>(same).unwrap());
        }
        for twice in [r#"{"kind":"openai","kind":"azure"}"#, r#"{"m":[{"kind":1,"\u006bind":2}]}"#] {
            let said = read(twice).unwrap_err().to_string();
            assert!(said.contains("duplicate field `kind`"), "{said}");
        }
    }
}
