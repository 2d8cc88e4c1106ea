//! Reads a request's files with errors that name the file, the field and the expected type.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::{FileInput, FilesInput};
use crate::object::Object;

const FIELDS: &[&str] = &["path", "content", "content_base64"];

/// Prefixes an error with its place: `place: error`.
fn at<E: Error>(place: impl fmt::Display) -> impl FnOnce(E) -> E {
    move |error| E::custom(format_args!("{place}: {error}"))
}

/// The path for an error message, cut to 80 characters.
fn quoted(path: &str) -> String {
    format!("files: {:?}", path.chars().take(80).collect::<String>())
}

impl<'de> Deserialize<'de> for FileInput {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_struct("FileInput", FIELDS, One)
    }
}

struct One;

impl<'de> Visitor<'de> for One {
    type Value = FileInput;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with `path` and `content` or `content_base64`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FileInput, A::Error> {
        let (mut path, mut content, mut content_base64) = (None, None, None);
        while let Some(field) = map.next_key::<String>()? {
            let (name, place): (_, &mut Option<Option<String>>) = match field.as_str() {
                "path" => {
                    let text = map.next_value::<String>().map_err(at("path"))?;
                    if path.replace(text).is_some() {
                        return Err(A::Error::duplicate_field("path"));
                    }
                    continue;
                }
                "content" => ("content", &mut content),
                "content_base64" => ("content_base64", &mut content_base64),
                other => return Err(A::Error::unknown_field(other, FIELDS)),
            };
            if place.replace(map.next_value().map_err(at(name))?).is_some() {
                return Err(A::Error::duplicate_field(name));
            }
        }
        let path = path.ok_or_else(|| A::Error::missing_field("path"))?;
        Ok(FileInput { path, content: content.flatten(), content_base64: content_base64.flatten() })
    }
}

impl<'de> Deserialize<'de> for FilesInput {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(All)
    }
}

struct All;

impl<'de> Visitor<'de> for All {
    type Value = FilesInput;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "files: a map from path to text, or a list of objects with `path` and `content` or `content_base64`",
        )
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FilesInput, A::Error> {
        let mut files = BTreeMap::new();
        while let Some(path) = map.next_key::<String>()? {
            let text: String = map.next_value().map_err(at(quoted(&path)))?;
            if files.contains_key(&path) {
                return Err(A::Error::custom(format_args!("{} is there twice", quoted(&path))));
            }
            files.insert(path, text);
        }
        Ok(FilesInput::Map(files))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<FilesInput, A::Error> {
        let mut files = Vec::new();
        while let Some(Object(file)) = seq.next_element().map_err(at(format_args!("files[{}]", files.len())))? {
            files.push(file);
        }
        Ok(FilesInput::List(files))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wrong_file_and_field_are_named() {
        for (json, expected) in [
            (r#"{"a.txt": 5}"#, "files: \"a.txt\": invalid type: integer `5`, expected a string at line 1 column"),
            (r#"{"a.txt": null}"#, "files: \"a.txt\": invalid type: null, expected a string"),
            (r#"{"a.txt": "x", "a.txt": "y"}"#, "files: \"a.txt\" is there twice"),
            (r#"[{"path": "a", "content": "x"}, {"path": "b", "content": 5}]"#, "files[1]: content: invalid type"),
            (r#"[{"path": 5}]"#, "files[0]: path: invalid type: integer `5`, expected a string"),
            (r#"[{"path": "a", "content_base64": []}]"#, "files[0]: content_base64: invalid type: sequence"),
            (r#"[{"content": "x"}]"#, "files[0]: missing field `path`"),
            (r#"[{"path": "a", "text": "x"}]"#, "files[0]: unknown field `text`, expected one of `path`, `content`"),
            (r#"[{"path": "a", "path": "b"}]"#, "files[0]: duplicate field `path`"),
            (r#"["a.txt"]"#, "files[0]: invalid type: string \"a.txt\", expected an object"),
            (r#"[["a.txt", "x"]]"#, "files[0]: invalid type: sequence, expected an object"),
            (r#""a.txt""#, "expected files: a map from path to text, or a list of objects with `path`"),
            ("5", "expected files: a map from path to text"),
        ] {
            let text = serde_json::from_str::<FilesInput>(json).unwrap_err().to_string();
            assert!(text.contains(expected), "{json}: {text}");
            assert!(!text.contains("Input"), "{json}: {text}");
        }
        let long = format!("{{\"{}\": 5}}", "x".repeat(5_000));
        assert!(serde_json::from_str::<FilesInput>(&long).unwrap_err().to_string().len() < 300);
        let nothing = r#"[{"path": "a", "content": null, "content_base64": "eA=="}]"#;
        assert_eq!(serde_json::from_str::<FilesInput>(nothing).unwrap().decode().unwrap()[0].1, b"x");
    }
}
