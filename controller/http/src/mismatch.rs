//! The kind of a JSON body's first error. serde_json keeps an error's text only, so a body that was refused is read again
//! with an error type that keeps the kind. Pure; only refused bodies come here.

use std::cell::Cell;
use std::fmt::{self, Display};

use serde::de::value::{MapAccessDeserializer, MapDeserializer, SeqDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Error, Expected, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor,
};
use serde::{Deserializer, forward_to_deserialize_any};

/// The kind of an error in a body that is JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mismatch {
    /// A value of another type, a field that is missing or unknown.
    Shape,
    /// A text that is not valid here: a malformed id, an unknown name.
    Value,
}

/// Values in a body that is read again. Of a body with more, every error is a [`Mismatch::Shape`].
const MAX_VALUES: u32 = 10_000;

/// The kind of the first error that reading a `T` meets.
pub(crate) fn of<T: DeserializeOwned>(text: &str) -> Mismatch {
    let left = Cell::new(MAX_VALUES);
    let read = Reader(&left).deserialize(&mut serde_json::Deserializer::from_str(text));
    // A body that stops being JSON later had another error before.
    read.ok().and_then(|value| T::deserialize(value).err()).unwrap_or(Mismatch::Shape)
}

impl Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shape => "the wrong shape",
            Self::Value => "an invalid value",
        })
    }
}

impl std::error::Error for Mismatch {}

impl Error for Mismatch {
    fn custom<T: Display>(_: T) -> Self {
        Self::Shape
    }

    fn invalid_value(found: Unexpected<'_>, _: &dyn Expected) -> Self {
        // A number out of range is of a narrower type than JSON's.
        match found {
            Unexpected::Str(_) => Self::Value,
            _ => Self::Shape,
        }
    }

    fn unknown_variant(_: &str, _: &'static [&'static str]) -> Self {
        Self::Value
    }
}

/// A parsed value, its fields in the order of the text and each as often as it is there.
enum Read {
    Null,
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Text(String),
    List(Vec<Read>),
    Object(Vec<(String, Read)>),
}

/// Reads a value while some are left.
struct Reader<'a>(&'a Cell<u32>);

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Read;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Read, D::Error> {
        self.0.set(self.0.get().checked_sub(1).ok_or_else(|| D::Error::custom("too many values"))?);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Read;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Read, E> {
        Ok(Read::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Read, E> {
        Ok(Read::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Read, E> {
        Ok(Read::Signed(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Read, E> {
        Ok(Read::Unsigned(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Read, E> {
        Ok(Read::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Read, E> {
        Ok(Read::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Read, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(Reader(self.0))? {
            items.push(item);
        }
        Ok(Read::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Read, A::Error> {
        let mut fields = Vec::new();
        while let Some(name) = map.next_key()? {
            fields.push((name, map.next_value_seed(Reader(self.0))?));
        }
        Ok(Read::Object(fields))
    }
}

impl IntoDeserializer<'_, Mismatch> for Read {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Read {
    type Error = Mismatch;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self {
            Self::Null => visitor.visit_unit(),
            Self::Bool(value) => visitor.visit_bool(value),
            Self::Signed(value) => visitor.visit_i64(value),
            Self::Unsigned(value) => visitor.visit_u64(value),
            Self::Float(value) => visitor.visit_f64(value),
            Self::Text(value) => visitor.visit_string(value),
            Self::List(items) => visitor.visit_seq(SeqDeserializer::new(items.into_iter())),
            Self::Object(fields) => visitor.visit_map(MapDeserializer::new(fields.into_iter())),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self {
            Self::Null => visitor.visit_none(),
            value => visitor.visit_some(value),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        match self {
            Self::Text(name) => visitor.visit_enum(name.into_deserializer()),
            Self::Object(fields) => {
                visitor.visit_enum(MapAccessDeserializer::new(MapDeserializer::new(fields.into_iter())))
            }
            _ => Err(Mismatch::Shape),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read")]
    struct Body {
        #[serde(default)]
        kind: Option<Kind>,
        #[serde(default)]
        small: Vec<u8>,
        #[serde(default)]
        agent: Option<cofferdam_contract::AgentId>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        One,
        Two(#[expect(dead_code, reason = "only read")] u8),
    }

    #[test]
    fn an_error_has_its_kind() {
        for (text, kind) in [
            (r#"{"kind":"three"}"#, Mismatch::Value),
            (r#"{"kind":5}"#, Mismatch::Shape),
            (r#"{"kind":{"two":"x"}}"#, Mismatch::Shape),
            (r#"{"agent":"-"}"#, Mismatch::Value),
            (r#"{"agent":null,"small":[1,300]}"#, Mismatch::Shape),
            (r#"{"agent":["-"]}"#, Mismatch::Shape),
            (r#"{"agent":"a","more":1}"#, Mismatch::Shape),
            (r#"{"more":1,"agent":"-"}"#, Mismatch::Shape),
            (r#"{"agent":"-","more":1}"#, Mismatch::Value),
            (r#"{"agent":"a","agent":"-"}"#, Mismatch::Shape),
            (r#"{"agent":"-""#, Mismatch::Shape),
            ("", Mismatch::Shape),
        ] {
            assert_eq!(of::<Body>(text), kind, "{text}");
        }
    }

    #[test]
    fn a_body_of_many_values_is_not_kept() {
        for deep in [format!("{{\"more\":[{}", "0,".repeat(1 << 20)), format!("{{\"more\":{}", "[".repeat(1 << 20))] {
            assert_eq!(of::<Body>(&deep), Mismatch::Shape);
        }
    }
}
