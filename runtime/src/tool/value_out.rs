//! A call's result: converts values to JSON along the function's types, in a bounded number of bytes. Fails while
//! writing, as soon as the bound is exceeded.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;
use wasmtime::component::Val;

use super::number;
use super::shape::{Kind, Part, Parts, Shape, Signature};

/// Bytes of a `list<u8>` to encode at once. A multiple of three.
const PIECE: usize = 3 << 10;

/// A function's return value.
#[derive(Debug)]
pub enum Returned {
    /// The value, or the one inside `ok`; null if there is none.
    Value(Box<RawValue>),
    /// The error of its `result`: a string as it is, anything else as JSON.
    Error(String),
}

/// The result cannot be passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResultError {
    #[error("the result is larger than {0} bytes as JSON")]
    TooLarge(usize),
    #[error("the result is not of the function's type")]
    Mismatch,
}

impl Signature {
    /// The function's return value as JSON of at most `most` bytes.
    pub fn returned(&self, result: Option<&Val>, most: usize) -> Result<Returned, ResultError> {
        let value = |value: Option<&Val>, shape: Option<&Shape>| {
            let mut out = Out { text: String::new(), most };
            out.maybe(value, shape)?;
            Ok(out.text)
        };
        let raw = |text| RawValue::from_string(text).map_err(|_| ResultError::Mismatch).map(Returned::Value);
        match (&self.result, result) {
            (Some(Shape { kind: Kind::Result { ok, .. }, .. }), Some(Val::Result(Ok(inner)))) => {
                raw(value(inner.as_deref(), ok.as_deref())?)
            }
            (Some(Shape { kind: Kind::Result { err, .. }, .. }), Some(Val::Result(Err(inner)))) => {
                Ok(Returned::Error(match inner.as_deref() {
                    None => "the function failed without an error value".to_owned(),
                    Some(Val::String(text)) if text.len() > most => return Err(ResultError::TooLarge(most)),
                    Some(Val::String(text)) => text.clone(),
                    inner => value(inner, err.as_deref())?,
                }))
            }
            (shape, result) => raw(value(result, shape.as_ref())?),
        }
    }
}

struct Out {
    text: String,
    most: usize,
}

impl Out {
    fn push(&mut self, text: &str) -> Result<(), ResultError> {
        if self.text.len() + text.len() > self.most {
            return Err(ResultError::TooLarge(self.most));
        }
        self.text.push_str(text);
        Ok(())
    }

    fn string(&mut self, text: &str) -> Result<(), ResultError> {
        if text.len() > self.most {
            return Err(ResultError::TooLarge(self.most));
        }
        self.push(&serde_json::to_string(text).map_err(|_| ResultError::Mismatch)?)
    }

    /// Writes values in a row, each with `write`.
    fn row<T>(
        &mut self,
        [open, close]: [&str; 2],
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T) -> Result<(), ResultError>,
    ) -> Result<(), ResultError> {
        self.push(open)?;
        for (at, item) in items.into_iter().enumerate() {
            if at > 0 {
                self.push(",")?;
            }
            write(self, item)?;
        }
        self.push(close)
    }

    fn maybe(&mut self, value: Option<&Val>, shape: Option<&Shape>) -> Result<(), ResultError> {
        match (value, shape) {
            (Some(value), Some(shape)) => self.value(value, shape),
            (None, None) => self.push("null"),
            _ => Err(ResultError::Mismatch),
        }
    }

    fn property(&mut self, name: &str, value: Option<&Val>, shape: Option<&Shape>) -> Result<(), ResultError> {
        self.string(name)?;
        self.push(":")?;
        self.maybe(value, shape)
    }

    fn only(&mut self, name: &str, value: Option<&Val>, shape: Option<&Shape>) -> Result<(), ResultError> {
        self.push("{")?;
        self.property(name, value, shape)?;
        self.push("}")
    }

    fn value(&mut self, value: &Val, shape: &Shape) -> Result<(), ResultError> {
        match (&shape.kind, value) {
            (Kind::Bool, Val::Bool(value)) => self.push(if *value { "true" } else { "false" }),
            (Kind::Int(_) | Kind::Float32 | Kind::Float64, number) => {
                self.push(&number::write(number).ok_or(ResultError::Mismatch)?)
            }
            (Kind::Char, Val::Char(char)) => self.string(char.encode_utf8(&mut [0; 4])),
            (Kind::String, Val::String(text)) => self.string(text),
            (Kind::Bytes, Val::List(bytes)) => self.bytes(bytes),
            (Kind::List(element), Val::List(items)) => {
                self.row(["[", "]"], items, |out, item| out.value(item, element))
            }
            (Kind::Tuple(types), Val::Tuple(items)) if types.len() == items.len() => {
                self.row(["[", "]"], items.iter().zip(types), |out, (item, ty)| out.value(item, ty))
            }
            (Kind::Record(fields), Val::Record(values)) if fields.len() == values.len() => {
                self.row(["{", "}"], values.iter().zip(fields.iter()), |out, ((name, value), field)| {
                    out.property(name, Some(value), field.shape.as_ref())
                })
            }
            (Kind::Variant(cases), Val::Variant(name, payload)) => match (payload, part(cases, name)?) {
                (None, Part { shape: None, .. }) => self.string(name),
                (payload, case) => self.only(name, payload.as_deref(), case.shape.as_ref()),
            },
            (Kind::Enum(_), Val::Enum(name)) => self.string(name),
            (Kind::Flags(_), Val::Flags(names)) => self.row(["[", "]"], names, |out, name| out.string(name)),
            (Kind::Option(_), Val::Option(None)) => self.push("null"),
            (Kind::Option(inner), Val::Option(Some(value))) => self.value(value, inner),
            (Kind::Wrapped(inner), value) => self.only("some", Some(value), Some(inner)),
            (Kind::Result { ok, .. }, Val::Result(Ok(value))) => self.only("ok", value.as_deref(), ok.as_deref()),
            (Kind::Result { err, .. }, Val::Result(Err(value))) => self.only("err", value.as_deref(), err.as_deref()),
            _ => Err(ResultError::Mismatch),
        }
    }

    fn bytes(&mut self, values: &[Val]) -> Result<(), ResultError> {
        self.push("\"")?;
        for piece in values.chunks(PIECE) {
            let bytes: Option<Vec<u8>> =
                piece.iter().map(|value| if let Val::U8(byte) = value { Some(*byte) } else { None }).collect();
            self.push(&STANDARD.encode(bytes.ok_or(ResultError::Mismatch)?))?;
        }
        self.push("\"")
    }
}

fn part<'a>(parts: &'a Parts, name: &str) -> Result<&'a Part, ResultError> {
    parts.find(name).map(|(_, part)| part).ok_or(ResultError::Mismatch)
}
