//! A call's arguments: converts JSON to values along the function's types, in one pass. Errors name the place, the
//! expected type and the value found. Memory is bounded, even if a few bytes of JSON would expand to a lot.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use wasmtime::component::Val;

use super::shape::{Int, Kind, Part, Parts, Shape, Signature};
use super::words::{expected, known, quoted};
use super::{number, words};

/// The most memory for one call's arguments as values.
pub(super) const MAX_VALUE_BYTES: usize = 256 << 20;

/// An argument does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct ValueError {
    /// `arguments.options.excitement`, `arguments.items[3]`.
    pub path: String,
    pub message: String,
}

impl Signature {
    /// The values to call the function with, in parameter order.
    pub fn arguments(&self, json: &RawValue) -> Result<Vec<Val>, ValueError> {
        self.arguments_within(json, Box::new(|_| true))
    }

    /// Like [`Self::arguments`]. Asks `room` for memory, in pieces, before it uses any.
    pub fn arguments_within(&self, json: &RawValue, room: Room) -> Result<Vec<Val>, ValueError> {
        let mut context = Context { left: MAX_VALUE_BYTES, taken: 0, room, wrong: None, steps: Vec::new() };
        let mut deserializer = serde_json::Deserializer::from_str(json.get());
        match (Seed { shape: &self.params, context: &mut context }).deserialize(&mut deserializer) {
            Ok(Val::Record(fields)) => Ok(fields.into_iter().map(|(_, value)| value).collect()),
            Ok(_) => Ok(Vec::new()),
            Err(error) => {
                let message = context.wrong.unwrap_or_else(|| format!("this is not JSON: {error}"));
                let path = context.steps.iter().rev().fold("arguments".to_owned(), |path, step| path + step);
                Err(ValueError { path, message })
            }
        }
    }
}

/// Asked for more bytes; returns false if they are not available.
pub(super) type Room = Box<dyn FnMut(usize) -> bool>;

/// The piece to ask for, so that a few elements need no further question.
const ROOM_PIECE: usize = 256 << 10;

struct Context {
    /// Bytes left of the maximum.
    left: usize,
    /// Bytes granted and not used yet.
    taken: usize,
    room: Room,
    /// The message. Serde's own errors would name a line and column of a text that the caller never sees.
    wrong: Option<String>,
    /// The path to it, from the inside out.
    steps: Vec<String>,
}

impl Context {
    fn fail<E: Error>(&mut self, message: String) -> E {
        self.wrong = Some(message);
        E::custom("see the context")
    }

    fn charge<E: Error>(&mut self, bytes: usize) -> Result<(), E> {
        match self.left.checked_sub(bytes) {
            Some(left) => self.left = left,
            None => return Err(self.fail(format!("the values take more than {MAX_VALUE_BYTES} bytes of memory"))),
        }
        if self.taken < bytes {
            let more = (bytes - self.taken).max(ROOM_PIECE);
            if !(self.room)(more) {
                return Err(self.fail("there is no memory left for the values".to_owned()));
            }
            self.taken += more;
        }
        self.taken -= bytes;
        Ok(())
    }

    fn within<T, E>(&mut self, step: impl FnOnce() -> String, done: Result<T, E>) -> Result<T, E> {
        if done.is_err() {
            self.steps.push(step());
        }
        done
    }
}

struct Seed<'a> {
    shape: &'a Shape,
    context: &'a mut Context,
}

impl Seed<'_> {
    fn wrong<E: Error>(self, got: impl fmt::Display) -> E {
        self.context.fail(format!("expected {}, got {got}", expected(&self.shape.kind)))
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Val;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Val, D::Error> {
        self.context.charge(size_of::<Val>())?;
        match &self.shape.kind {
            // Numbers are parsed from their text, because a double would already have changed large ones.
            Kind::Int(_) | Kind::Float32 | Kind::Float64 => {
                let raw = <&RawValue>::deserialize(deserializer)?;
                number::read(&self.shape.kind, raw.get()).ok_or_else(|| self.wrong(words::found(raw.get())))
            }
            Kind::Option(_) => deserializer.deserialize_option(self),
            _ => deserializer.deserialize_any(self),
        }
    }
}

/// A payload that does not exist: only null fits.
struct Nothing<'a>(&'a mut Context);

impl<'de> DeserializeSeed<'de> for Nothing<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        match raw.get() {
            "null" => Ok(()),
            other => Err(self.0.fail(format!("expected null, got {}", words::found(other)))),
        }
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Val;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&expected(&self.shape.kind))
    }

    fn visit_unit<E: Error>(self) -> Result<Val, E> {
        match &self.shape.kind {
            Kind::Option(_) => Ok(Val::Option(None)),
            _ => Err(self.wrong("null")),
        }
    }

    fn visit_none<E: Error>(self) -> Result<Val, E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Val, D::Error> {
        match &self.shape.kind {
            Kind::Option(inner) => {
                let some = Seed { shape: inner, context: self.context }.deserialize(deserializer)?;
                Ok(Val::Option(Some(Box::new(some))))
            }
            _ => Err(self.wrong("a value")),
        }
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Val, E> {
        match &self.shape.kind {
            Kind::Bool => Ok(Val::Bool(value)),
            _ => Err(self.wrong(value)),
        }
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Val, E> {
        Err(self.wrong(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Val, E> {
        Err(self.wrong(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Val, E> {
        Err(self.wrong(value))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Val, E> {
        self.context.charge(text.len())?;
        let found = || quoted(&format!("{text:?}"));
        match &self.shape.kind {
            Kind::String => Ok(Val::String(text.to_owned())),
            Kind::Char => {
                let mut chars = text.chars();
                match (chars.next(), chars.next()) {
                    (Some(char), None) => Ok(Val::Char(char)),
                    _ => Err(self.wrong(found())),
                }
            }
            Kind::Bytes => {
                self.context.charge(text.len() / 4 * 3 * size_of::<Val>())?;
                let Ok(bytes) = STANDARD.decode(text) else { return Err(self.wrong(found())) };
                Ok(Val::List(bytes.into_iter().map(Val::U8).collect()))
            }
            Kind::Enum(cases) if cases.find(text).is_some() => Ok(Val::Enum(text.to_owned())),
            Kind::Variant(cases) => match cases.find(text) {
                Some((_, Part { shape: None, .. })) => Ok(Val::Variant(text.to_owned(), None)),
                Some((_, Part { shape: Some(payload), .. })) => {
                    let wanted = expected(&payload.kind);
                    Err(self.context.fail(format!("{text:?} needs a value: {{{text:?}: {wanted}}}")))
                }
                None => Err(self.wrong(found())),
            },
            _ => Err(self.wrong(found())),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Val, A::Error> {
        let Self { shape, context } = self;
        match &shape.kind {
            Kind::Bytes => {
                static BYTE: Shape = Shape { kind: Kind::Int(Int::U8), docs: String::new() };
                Ok(Val::List(items(seq, context, |_| Some(&BYTE))?))
            }
            Kind::List(element) => Ok(Val::List(items(seq, context, |_| Some(element))?)),
            Kind::Tuple(types) => {
                let values = items(seq, context, |at| types.get(at))?;
                if values.len() != types.len() {
                    return Err(Seed { shape, context }.wrong(format_args!("{} of them", values.len())));
                }
                Ok(Val::Tuple(values))
            }
            Kind::Flags(known) => flags(seq, context, known),
            _ => Err(Seed { shape, context }.wrong("an array")),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Val, A::Error> {
        let Self { shape, context } = self;
        match &shape.kind {
            Kind::Record(fields) => Ok(Val::Record(record(map, context, fields)?)),
            Kind::Wrapped(inner) => {
                single(map, context, &shape.kind, |name| (name == "some").then_some(Some(&**inner)))
                    .and_then(|(_, value)| value.map(|value| *value).ok_or_else(|| A::Error::custom("no value")))
            }
            Kind::Variant(cases) => {
                let (name, value) =
                    single(map, context, &shape.kind, |name| cases.find(name).map(|(_, case)| case.shape.as_ref()))?;
                Ok(Val::Variant(name, value))
            }
            Kind::Result { ok, err } => {
                let (name, value) = single(map, context, &shape.kind, |name| match name {
                    "ok" => Some(ok.as_deref()),
                    "err" => Some(err.as_deref()),
                    _ => None,
                })?;
                Ok(Val::Result(if name == "ok" { Ok(value) } else { Err(value) }))
            }
            _ => Err(Seed { shape, context }.wrong("an object")),
        }
    }
}

/// The elements of an array, one for each shape.
fn items<'de, 'a, A: SeqAccess<'de>>(
    mut seq: A,
    context: &mut Context,
    shape: impl Fn(usize) -> Option<&'a Shape>,
) -> Result<Vec<Val>, A::Error> {
    let mut values = Vec::new();
    while let Some(shape) = shape(values.len()) {
        let value = seq.next_element_seed(Seed { shape, context: &mut *context });
        match context.within(|| format!("[{}]", values.len()), value)? {
            Some(value) => values.push(value),
            None => return Ok(values),
        }
    }
    match seq.next_element::<&RawValue>()? {
        None => Ok(values),
        Some(_) => {
            let more = Err(context.fail(format!("there is no such element; there are {}", values.len())));
            context.within(|| format!("[{}]", values.len()), more)
        }
    }
}

/// The flags that are set, in the order of their type.
fn flags<'de, A: SeqAccess<'de>>(mut seq: A, context: &mut Context, all: &Parts) -> Result<Val, A::Error> {
    let mut set = vec![false; all.len()];
    let mut count = 0;
    while let Some(raw) = seq.next_element::<&RawValue>()? {
        let name = serde_json::from_str::<Cow<'_, str>>(raw.get()).ok();
        let flag = name.and_then(|name| set.get_mut(all.find(&name)?.0));
        if flag.is_none_or(|flag| std::mem::replace(flag, true)) {
            let (got, known) = (words::found(raw.get()), known(all));
            let odd = Err(context.fail(format!("expected a flag once, one of {known}; got {got}")));
            return context.within(|| format!("[{count}]"), odd);
        }
        count += 1;
    }
    let names = all.iter().zip(set).filter(|(_, set)| *set).map(|(flag, _)| flag.name.clone());
    Ok(Val::Flags(names.collect()))
}

/// The single property of an object that stands for a choice, as name and value. `choose` returns the shape of a case's
/// payload, for known names.
fn single<'de, 'a, A: MapAccess<'de>>(
    mut map: A,
    context: &mut Context,
    kind: &Kind,
    choose: impl Fn(&str) -> Option<Option<&'a Shape>>,
) -> Result<(String, Option<Box<Val>>), A::Error> {
    let wrong = |context: &mut Context, got: &str| context.fail(format!("expected {}, got {got}", expected(kind)));
    let Some(name) = map.next_key::<Cow<'de, str>>()? else { return Err(wrong(context, "an empty object")) };
    context.charge(name.len())?;
    let value = match choose(&name) {
        None => return Err(wrong(context, &format!("the property {}", quoted(&format!("{name:?}"))))),
        Some(None) => map.next_value_seed(Nothing(&mut *context)).map(|()| None),
        Some(Some(shape)) => {
            map.next_value_seed(Seed { shape, context: &mut *context }).map(|value| Some(Box::new(value)))
        }
    };
    let value = context.within(|| format!(".{name}"), value)?;
    match map.next_key::<Cow<'de, str>>()? {
        None => Ok((name.into_owned(), value)),
        Some(_) => Err(wrong(context, "an object with several properties")),
    }
}

/// An object with each field once. Nullable fields are optional.
fn record<'de, A: MapAccess<'de>>(
    mut map: A,
    context: &mut Context,
    fields: &Parts,
) -> Result<Vec<(String, Val)>, A::Error> {
    let names: usize = fields.iter().map(|field| field.name.len()).sum();
    context.charge(fields.len() * (size_of::<(String, Val)>() + size_of::<Option<Val>>()) + names)?;
    let mut found: Vec<Option<Val>> = vec![None; fields.len()];
    while let Some(name) = map.next_key::<Cow<'de, str>>()? {
        let step = || format!(".{}", quoted(&name));
        let Some((at, Part { shape: Some(shape), .. })) = fields.find(&name) else {
            let odd = Err(context.fail(format!("there is no such property; expected {}", known(fields))));
            return context.within(step, odd);
        };
        let value = map.next_value_seed(Seed { shape, context: &mut *context });
        let value = context.within(step, value)?;
        if found.get_mut(at).and_then(|slot| slot.replace(value)).is_some() {
            let twice = Err(context.fail("it is given twice".to_owned()));
            return context.within(step, twice);
        }
    }
    let mut values = Vec::with_capacity(fields.len());
    for (field, value) in fields.iter().zip(found) {
        let value = match (value, field.shape.as_ref().map(|shape| &shape.kind)) {
            (Some(value), _) => value,
            (None, Some(Kind::Option(_)) | None) => Val::Option(None),
            (None, Some(kind)) => {
                let missing = Err(context.fail(format!("it is missing; expected {}", expected(kind))));
                return context.within(|| format!(".{}", field.name), missing);
            }
        };
        values.push((field.name.clone(), value));
    }
    Ok(values)
}
