//! Refuses a NUL character in the texts of a JSON body: PostgreSQL cannot store it, and no name has one. The refusal names
//! the field, never its value.
//!
//! A body without the escape `\u0000` costs one search; JSON has no other way to write a NUL.

use std::fmt;

use cofferdam_contract::Problem;
use serde::Deserializer as _;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

const ESCAPED: &str = "\\u0000";
/// Characters of a field's name that a client is shown.
const MAX_NAME: usize = 80;

/// Refuses a NUL in any text of a JSON object but those in the fields `free`.
///
/// # Errors
/// [`Problem::malformed`] that names the field.
pub fn refuse(text: &str, free: &[&str]) -> Result<(), Problem> {
    if !text.contains(ESCAPED) {
        return Ok(());
    }
    let mut path = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_str(text);
    // Only the search itself fails here: the body was read before.
    match deserializer.deserialize_any(Search { path: &mut path, free }) {
        Ok(()) => Ok(()),
        Err(_) => {
            Err(Problem::malformed(format!("`{}` has a NUL character, which no text here may have.", path.join("."))))
        }
    }
}

/// Fails at the first NUL, with the place in `path`.
struct Search<'a> {
    path: &'a mut Vec<String>,
    free: &'a [&'a str],
}

impl<'de> DeserializeSeed<'de> for Search<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// The name of a field without what would not be shown.
fn shown(name: &str) -> String {
    name.chars().take(MAX_NAME).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

impl<'de> Visitor<'de> for Search<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        if text.contains('\0') { Err(E::custom("NUL")) } else { Ok(()) }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let mut at = 0_usize;
        loop {
            self.path.push(at.to_string());
            if list.next_element_seed(Search { path: &mut *self.path, free: &[] })?.is_none() {
                break;
            }
            self.path.pop();
            at += 1;
        }
        self.path.pop();
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            if self.free.contains(&name.as_str()) {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            self.path.push(shown(&name));
            if name.contains('\0') {
                return Err(A::Error::custom("NUL"));
            }
            map.next_value_seed(Search { path: &mut *self.path, free: &[] })?;
            self.path.pop();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nul_is_refused_with_its_field() {
        for (body, field) in [
            (r#"{"name":"a\u0000"}"#, Some("`name`")),
            (r#"{"code":"a\u0000","grants":{"http":[{"host":"a"},{"host":"\u0000"}]}}"#, Some("`grants.http.1.host`")),
            (r#"{"x":[[],["a","\u0000"]]}"#, Some("`x.1.1`")),
            (r#"{"x":{"a\u0000b":1}}"#, Some("`x.a\u{fffd}b`")),
            (r#"{"code":"a\u0000"}"#, None),
            (r#"{"x":{"code":"a\u0000"}}"#, Some("`x.code`")),
            (r#"{"name":"a\\u0000","n":[1,-1,0.5,true,null,{}]}"#, None),
            (r#"{"code":"a\u0000","name":"b"}"#, None),
        ] {
            let refused = refuse(body, &["code"]).err();
            assert_eq!(refused.is_some(), field.is_some(), "{body}: {refused:?}");
            if let (Some(problem), Some(field)) = (refused, field) {
                assert!(problem.status == 400 && problem.detail.starts_with(field), "{body}: {}", problem.detail);
            }
        }
    }
}
