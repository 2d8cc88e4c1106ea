//! A YAML or JSON file as a tree that knows the lines of its values. Errors name the file and the line, and no library.

use std::fmt;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail};
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// The longest file of settings.
const MAX_BYTES: u64 = 1 << 20;

/// A value and the line on which it begins.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) line: u64,
    pub(crate) value: Content,
}

#[derive(Debug)]
pub(crate) enum Content {
    Null,
    Flag(bool),
    /// A number as it is written, as far as the parser keeps it.
    Number(serde_json::Number),
    Text(String),
    List(Vec<Node>),
    Object(Vec<Field>),
}

/// A field of an object. The line is the name's.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) line: u64,
    pub(crate) name: String,
    pub(crate) node: Node,
}

impl Content {
    /// The kind of the value, for a sentence.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Flag(_) => "true or false",
            Self::Number(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        }
    }
}

/// Reads a file. `name` is what errors call it.
///
/// # Errors
/// The file cannot be read, is too long, or is neither YAML nor JSON.
pub(crate) fn read(file: &Path, name: &str) -> anyhow::Result<Node> {
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(file).with_context(|| name.to_owned())?;
    opened.take(MAX_BYTES + 1).read_to_end(&mut bytes).with_context(|| name.to_owned())?;
    if bytes.len() as u64 > MAX_BYTES {
        bail!("{name}: longer than {MAX_BYTES} bytes");
    }
    let Ok(text) = std::str::from_utf8(&bytes) else { bail!("{name}: neither YAML nor JSON, because it is not text") };
    parse(text, name)
}

/// # Errors
/// As [`read`].
pub(crate) fn parse(text: &str, name: &str) -> anyhow::Result<Node> {
    if text.trim().is_empty() {
        bail!("{name}: the file is empty");
    }
    match serde_saphyr::from_str::<Node>(text) {
        Ok(node) => Ok(node),
        Err(error) => {
            let line = error.location().map(|place| format!(", line {}", place.line())).unwrap_or_default();
            // The parser's first line says what it met; the others draw the place.
            let why = error.without_snippet().to_string();
            let why = why.lines().next().and_then(|line| line.split(" at line ").next()).unwrap_or_default();
            match why {
                _ if why.contains("duplicate mapping key") => {
                    let key = why.split_once("key: ").and_then(|(_, rest)| rest.split_once(", set "));
                    let key = key.map(|(key, _)| format!("`{key}` ")).unwrap_or_default();
                    bail!("{name}{line}: {key}is set twice: leave one of the two out")
                }
                _ if why.contains("multiple") && why.contains("document") => {
                    bail!("{name}{line}: a second document begins (after `---`): the settings are one document")
                }
                // What follows is advice for programmers.
                why => {
                    let why = why.split([';', ',']).find(|part| !part.trim().is_empty()).unwrap_or_default();
                    bail!("{name}{line}: neither valid YAML nor JSON: {why}")
                }
            }
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Content>::deserialize(deserializer)?;
        Ok(Self { line: spanned.referenced.line(), value: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Content;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Content, E> {
        Ok(Content::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Content, E> {
        Ok(Content::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Content, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Content, E> {
        Ok(Content::Flag(flag))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Content, E> {
        Ok(Content::Number(number.into()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Content, E> {
        Ok(Content::Number(number.into()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Content, E> {
        let number = serde_json::Number::from_f64(number);
        number.map(Content::Number).ok_or_else(|| E::custom("a number that is none"))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Content, E> {
        Ok(Content::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Content, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Content::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Content, A::Error> {
        let mut object = Vec::new();
        while let Some((name, node)) = fields.next_entry::<Spanned<String>, Node>()? {
            object.push(Field { line: name.referenced.line(), name: name.value, node });
        }
        Ok(Content::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_know_their_lines() {
        for text in ["a: 1\nb:\n  c: [x, 2]\n", "{\"a\": 1,\n \"b\":\n {\"c\": [\"x\", 2]}}"] {
            let Content::Object(fields) = parse(text, "f").unwrap().value else { panic!("{text}") };
            let found: Vec<_> = fields.iter().map(|field| (field.name.as_str(), field.line)).collect();
            assert_eq!(found, [("a", 1), ("b", 2)], "{text}");
            let Content::Object(inner) = &fields[1].node.value else { panic!("{text}") };
            assert_eq!((inner[0].name.as_str(), inner[0].line, inner[0].node.value.kind()), ("c", 3, "a list"));
        }
    }

    #[test]
    fn what_is_no_yaml_is_told_with_its_line_and_no_library() {
        for (text, part) in [
            ("", "empty"),
            ("a: [1,\nb: }", "line "),
            ("a: 1\na: 2\n", "line 2: `a` is set twice"),
            ("a: 1\n---\nb: 2\n", "a second document"),
            ("a: 1\n\tb: 2", "line "),
        ] {
            let said = parse(text, "--spec f").unwrap_err().to_string();
            assert!(!said.contains("Options") && !said.contains("from_str"), "{said}");
            assert!(said.starts_with("--spec f") && said.contains(part), "{said}");
            assert!(!said.contains("serde") && !said.contains('\n') && !said.contains("saphyr"), "{said}");
        }
    }
}
