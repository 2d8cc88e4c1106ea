//! Deserializes structs from JSON objects only. Serde also accepts a list of the fields in order, which no client means
//! to send.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

/// For `#[serde(deserialize_with)]`: reads a struct from an object and nothing else.
pub fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_map(Only(PhantomData))
}

/// For `#[serde(deserialize_with)]`: reads a list of objects.
pub fn objects<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let list = Vec::<Object<T>>::deserialize(deserializer)?;
    Ok(list.into_iter().map(|Object(value)| value).collect())
}

/// A value that was read from an object.
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        object(deserializer).map(Self)
    }
}

struct Only<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Only<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object: {...}")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ForkRequest, RunRequest, SessionRequest};

    fn refusal<T: serde::de::DeserializeOwned>(json: &str) -> Option<String> {
        serde_json::from_str::<Object<T>>(json).err().map(|e| e.to_string())
    }

    #[test]
    fn a_list_is_no_struct_at_any_depth() {
        let python = |more: &str| format!(r#"{{"language":"python","code":"1"{more}}}"#);
        for (body, part) in [
            (r#"["python","1"]"#.to_owned(), "invalid type: sequence, expected an object"),
            ("[]".to_owned(), "expected an object"),
            ("null".to_owned(), "expected an object"),
            (python(r#","limits":[1,2]"#), "expected an object: {...} at line 1 column"),
            (python(r#","grants":[[]]"#), "expected an object"),
            (python(r#","grants":{"http":[["example.com"]]}"#), "expected an object"),
            (python(r#","files":[["a.txt","x"]]"#), "expected an object"),
        ] {
            let text = refusal::<RunRequest>(&body).unwrap_or_default();
            assert!(text.contains(part), "{body}: {text}");
        }
        assert!(refusal::<SessionRequest>(r#"["python"]"#).is_some());
        assert!(refusal::<SessionRequest>(r#"{"language":"python","limits":[5]}"#).is_some());
        assert!(refusal::<ForkRequest>("[3]").is_some());
        assert_eq!(refusal::<RunRequest>(&python(r#","limits":{"wall_ms":5},"grants":{"http":[]}"#)), None);
    }

    #[test]
    fn what_is_wrong_inside_is_still_said() {
        let text = refusal::<RunRequest>("{\"language\":\"python\",\n\"cod\":1}").unwrap_or_default();
        assert!(text.contains("unknown field `cod`") && text.contains("line 2"), "{text}");
    }
}
