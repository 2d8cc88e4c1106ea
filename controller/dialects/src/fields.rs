//! Reads one level of a JSON object: every field by name, nested values as they are written, so that schemas, numbers and
//! arguments keep their bytes. Strict for requests (a field that nobody took is refused with its path, a field twice too),
//! tolerant for what upstreams send (what has another type is as if it were absent).

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::chars::Chars;
use crate::error::Refused;

/// Most fields of one object, and most items of one list. Bounds the memory that a body of commas takes.
const MAX_FIELDS: usize = 1_024;
pub(crate) const MAX_ITEMS: usize = 65_536;

/// The fields of an object that nobody took yet, and its path.
pub(crate) struct Fields<'a> {
    at: String,
    entries: Vec<Entry<'a>>,
}

struct Entry<'a> {
    key: Cow<'a, str>,
    value: Option<&'a RawValue>,
}

/// An item of a list, with its path.
pub(crate) struct Item<'a> {
    pub(crate) at: String,
    pub(crate) raw: &'a RawValue,
}

#[derive(Deserialize)]
pub(crate) struct Key<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

struct Entries<'a>(Vec<Entry<'a>>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Entries<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<'de>, A::Error> {
                let mut entries = Vec::with_capacity(8);
                while let Some(Key(key)) = map.next_key::<Key<'de>>()? {
                    let value: &'de RawValue = map.next_value()?;
                    if entries.len() == MAX_FIELDS {
                        return Err(A::Error::custom("too many fields"));
                    }
                    entries.push(Entry { key, value: Some(value) });
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Visit)
    }
}

struct Items<'a>(Vec<&'a RawValue>);

impl<'de> Deserialize<'de> for Items<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Items<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Items<'de>, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    if items.len() == MAX_ITEMS {
                        return Err(A::Error::custom("too many items"));
                    }
                    items.push(item);
                }
                Ok(Items(items))
            }
        }
        deserializer.deserialize_seq(Visit)
    }
}

/// A text at a path.
pub(crate) fn text_at<'a>(at: &str, raw: &'a RawValue) -> Result<Cow<'a, str>, Refused> {
    text_of(raw).ok_or_else(|| Refused::new(at, "has to be a text"))
}

fn text_of(raw: &RawValue) -> Option<Cow<'_, str>> {
    serde_json::from_str::<Key<'_>>(raw.get()).ok().map(|key| key.0)
}

pub(crate) fn is_string(raw: &RawValue) -> bool {
    raw.get().starts_with('"')
}

/// Strict reading.
impl<'a> Fields<'a> {
    /// Reads a whole body.
    pub(crate) fn body(body: &'a [u8]) -> Result<Self, Refused> {
        let raw: &RawValue =
            serde_json::from_slice(body).map_err(|error| Refused::new("body", format!("is no JSON: {error}")))?;
        Self::read(String::new(), raw)
    }

    pub(crate) fn read(at: String, raw: &'a RawValue) -> Result<Self, Refused> {
        let shown = |at: &str| if at.is_empty() { "body".to_owned() } else { at.to_owned() };
        let entries = match serde_json::from_str::<Entries<'a>>(raw.get()) {
            Ok(Entries(entries)) => entries,
            Err(_) if raw.get().starts_with('{') => return Err(Refused::new(shown(&at), "has too many fields")),
            Err(_) => return Err(Refused::new(shown(&at), "has to be an object")),
        };
        let fields = Self { at, entries };
        let mut keys: Vec<&str> = fields.entries.iter().map(|entry| entry.key.as_ref()).collect();
        keys.sort_unstable();
        if let Some(twice) = keys.windows(2).find(|pair| pair.first() == pair.last()).and_then(|pair| pair.first()) {
            return Err(Refused::new(fields.path(twice), "is there twice"));
        }
        Ok(fields)
    }

    /// The path of one of its fields.
    pub(crate) fn path(&self, key: &str) -> String {
        if self.at.is_empty() { key.to_owned() } else { format!("{}.{key}", self.at) }
    }

    pub(crate) fn at(&self) -> &str {
        &self.at
    }

    /// The names of all fields.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.key.as_ref())
    }

    /// All fields that nobody took, in order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.entries.iter().filter_map(|entry| Some((entry.key.as_ref(), entry.value?)))
    }

    /// Takes a field's value; null is absent.
    pub(crate) fn take(&mut self, key: &str) -> Option<&'a RawValue> {
        let value = self.entries.iter_mut().find(|entry| entry.key == key)?.value.take()?;
        (value.get() != "null").then_some(value)
    }

    fn typed<T: Deserialize<'a>>(&mut self, key: &str, what: &str) -> Result<Option<T>, Refused> {
        let Some(raw) = self.take(key) else { return Ok(None) };
        serde_json::from_str(raw.get()).map(Some).map_err(|_| Refused::new(self.path(key), format!("has to be {what}")))
    }

    pub(crate) fn string(&mut self, key: &str) -> Result<Option<Cow<'a, str>>, Refused> {
        Ok(self.typed::<Key<'a>>(key, "a text")?.map(|key| key.0))
    }

    pub(crate) fn need_string(&mut self, key: &str) -> Result<Cow<'a, str>, Refused> {
        self.string(key)?.ok_or_else(|| Refused::new(self.path(key), "is missing"))
    }

    pub(crate) fn bool(&mut self, key: &str) -> Result<Option<bool>, Refused> {
        self.typed(key, "true or false")
    }

    pub(crate) fn number(&mut self, key: &str) -> Result<Option<u64>, Refused> {
        self.typed(key, "a whole number that is not negative")
    }

    /// A number that keeps its digits.
    pub(crate) fn decimal(&mut self, key: &str) -> Result<Option<&'a RawValue>, Refused> {
        let Some(raw) = self.take(key) else { return Ok(None) };
        match serde_json::from_str::<f64>(raw.get()) {
            Ok(_) => Ok(Some(raw)),
            Err(_) => Err(Refused::new(self.path(key), "has to be a number")),
        }
    }

    /// An object that is passed on as it is written, such as a JSON schema.
    pub(crate) fn raw_object(&mut self, key: &str) -> Result<Option<&'a RawValue>, Refused> {
        match self.take(key) {
            Some(raw) if raw.get().starts_with('{') => Ok(Some(raw)),
            Some(_) => Err(Refused::new(self.path(key), "has to be an object")),
            None => Ok(None),
        }
    }

    pub(crate) fn object(&mut self, key: &str) -> Result<Option<Fields<'a>>, Refused> {
        let Some(raw) = self.take(key) else { return Ok(None) };
        Fields::read(self.path(key), raw).map(Some)
    }

    pub(crate) fn need_object(&mut self, key: &str) -> Result<Fields<'a>, Refused> {
        self.object(key)?.ok_or_else(|| Refused::new(self.path(key), "is missing"))
    }

    pub(crate) fn list(&mut self, key: &str) -> Result<Option<Vec<Item<'a>>>, Refused> {
        let Some(raw) = self.take(key) else { return Ok(None) };
        list_at(&self.path(key), raw).map(Some)
    }

    /// Takes fields that change nothing in an answer; which, and why, is written where this is called.
    pub(crate) fn leave_out(&mut self, keys: &[&str]) {
        for key in keys {
            self.take(key);
        }
    }

    /// Takes a field that may only have this value, as JSON.
    pub(crate) fn only(&mut self, key: &str, allowed: &[&str], why: &str) -> Result<(), Refused> {
        match self.take(key) {
            Some(raw) if !allowed.contains(&raw.get()) => Err(Refused::new(self.path(key), why)),
            _ => Ok(()),
        }
    }

    /// Refuses what nobody took: all of it, by path.
    pub(crate) fn finish(self) -> Result<(), Refused> {
        let left = |entry: &&Entry<'a>| entry.value.is_some_and(|raw| raw.get() != "null");
        let names: Vec<String> = self.entries.iter().filter(left).take(8).map(|entry| self.path(&entry.key)).collect();
        match names.is_empty() {
            true => Ok(()),
            false => Err(Refused::new(names.join(", "), "cannot be translated for this model")),
        }
    }
}

pub(crate) fn list_at<'a>(at: &str, raw: &'a RawValue) -> Result<Vec<Item<'a>>, Refused> {
    match serde_json::from_str::<Items<'a>>(raw.get()) {
        Ok(Items(items)) => {
            Ok(items.into_iter().enumerate().map(|(index, raw)| Item { at: format!("{at}[{index}]"), raw }).collect())
        }
        Err(_) if raw.get().starts_with('[') => Err(Refused::new(at, "has too many items")),
        Err(_) => Err(Refused::new(at, "has to be a list")),
    }
}

/// The items of a list. Of anything else there are none.
pub(crate) fn items_of(raw: &RawValue) -> Vec<&RawValue> {
    serde_json::from_str::<Items<'_>>(raw.get()).map(|items| items.0).unwrap_or_default()
}

/// Tolerant reading.
impl<'a> Fields<'a> {
    pub(crate) fn tolerant(json: &'a [u8]) -> Option<Self> {
        let entries = serde_json::from_slice::<Entries<'a>>(json).ok()?.0;
        Some(Self { at: String::new(), entries })
    }

    pub(crate) fn of(raw: &'a RawValue) -> Option<Self> {
        Self::tolerant(raw.get().as_bytes())
    }

    /// A text; half a character in it becomes U+FFFD.
    pub(crate) fn text(&mut self, key: &str) -> Option<Cow<'a, str>> {
        self.chars(key).map(Chars::whole)
    }

    /// A piece of a text, which another one may follow.
    pub(crate) fn chars(&mut self, key: &str) -> Option<Chars<'a>> {
        Chars::of(self.look(key)?)
    }

    pub(crate) fn count(&mut self, key: &str) -> Option<u64> {
        let raw = self.look(key)?.get();
        // Some servers write whole numbers as `12.0`.
        raw.parse().ok().or_else(|| raw.strip_suffix(".0").and_then(|whole| whole.parse().ok()))
    }

    pub(crate) fn child(&mut self, key: &str) -> Option<Fields<'a>> {
        Fields::of(self.look(key).filter(|raw| raw.get().starts_with('{'))?)
    }

    pub(crate) fn items(&mut self, key: &str) -> Vec<&'a RawValue> {
        let Some(raw) = self.look(key) else { return Vec::new() };
        serde_json::from_str::<Items<'a>>(raw.get()).map(|items| items.0).unwrap_or_default()
    }

    /// The last value of a field, without taking it; null is absent.
    pub(crate) fn look(&self, key: &str) -> Option<&'a RawValue> {
        self.written(key).filter(|value| value.get() != "null")
    }

    /// The last value of a field, also null, without taking it.
    pub(crate) fn written(&self, key: &str) -> Option<&'a RawValue> {
        self.entries.iter().rev().find(|entry| entry.key == key)?.value
    }
}
