//! Reads JSON as the programs that write it read it, and those are written in Go: `null` is the same as absent, and a
//! text stands for a list of one word. Knows no document.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

/// `null` as the type's default. For fields that are no `Option`; the attribute `default` covers absent ones.
///
/// # Errors
/// The value is neither `null` nor of the type.
pub fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// Labels and annotations: `null` for all of them or for a value.
///
/// # Errors
/// The value is neither `null` nor an object of texts.
pub fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let all = Option::<BTreeMap<String, Option<String>>>::deserialize(deserializer)?.unwrap_or_default();
    Ok(all.into_iter().map(|(key, value)| (key, value.unwrap_or_default())).collect())
}

/// A list of words: an entry point, a command, variables. Docker takes a text for a list of one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words {
    pub list: Vec<String>,
    /// It was a text.
    pub text: bool,
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Text(String),
            List(Vec<Option<String>>),
        }
        Ok(match Option::<Written>::deserialize(deserializer)? {
            None => Self::default(),
            Some(Written::Text(text)) => Self { list: vec![text], text: true },
            Some(Written::List(list)) => {
                Self { list: list.into_iter().map(Option::unwrap_or_default).collect(), text: false }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Document {
        #[serde(deserialize_with = "or_default")]
        list: Vec<u8>,
        #[serde(deserialize_with = "or_default")]
        name: String,
        #[serde(deserialize_with = "texts")]
        labels: BTreeMap<String, String>,
        words: Words,
    }

    #[test]
    fn null_is_the_same_as_absent() {
        let read = |text: &str| serde_json::from_str::<Document>(text).unwrap();
        assert_eq!(read(r#"{"list":null,"name":null,"labels":null,"words":null}"#), read("{}"));
        assert_eq!(read(r#"{"labels":{"a":null,"b":"c"}}"#).labels["a"], "");
        assert_eq!(read(r#"{"words":["a",null]}"#).words, Words { list: vec!["a".into(), String::new()], text: false });
        assert_eq!(read(r#"{"words":"a b"}"#).words, Words { list: vec!["a b".into()], text: true });
        for bad in [r#"{"list":{}}"#, r#"{"name":1}"#, r#"{"labels":{"a":1}}"#, r#"{"words":1}"#, r#"{"words":[1]}"#] {
            assert!(serde_json::from_str::<Document>(bad).is_err(), "{bad}");
        }
    }
}
