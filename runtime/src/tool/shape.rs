//! The types of tools' functions, as far as JSON can represent them. Shapes alone determine the JSON: schemas,
//! arguments and results all follow them. Bounded in depth and size, and free of resources, streams and futures.

use wasmtime::component::Type;
use wasmtime::component::types::ComponentFunc;

/// The deepest nesting of types. One of them takes at most four levels of JSON in a schema, and JSON parsers stop at
/// 128.
pub const MAX_DEPTH: usize = 24;
/// The most parts of one function's types, counting each use of a type.
pub const MAX_PARTS: usize = 4_096;
/// The most bytes of all names and texts in them.
pub const MAX_TEXT_BYTES: usize = 192 << 10;

/// The reason why a function cannot be a tool.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("it takes or returns a resource, which would have to outlive the call; pass its contents as a record")]
    Resource,
    #[error("it belongs to a resource, which would have to live between calls; make it a plain function")]
    OfResource,
    #[error("it takes or returns {0}, which JSON cannot represent")]
    NotJson(&'static str),
    #[error("it is asynchronous, which is not supported")]
    Async,
    #[error("its name would have more than {} bytes", super::names::MAX_NAME_BYTES)]
    LongName,
    #[error("its types nest deeper than {MAX_DEPTH} levels")]
    Deep,
    #[error("its types unfold to more than {MAX_PARTS} parts or {MAX_TEXT_BYTES} bytes of names and texts")]
    Large,
}

/// A type with its doc comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    pub kind: Kind,
    /// The type's doc comment; empty if there is none.
    pub docs: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Bool,
    Int(Int),
    Float32,
    Float64,
    Char,
    String,
    /// `list<u8>`.
    Bytes,
    List(Box<Shape>),
    Tuple(Vec<Shape>),
    Record(Parts),
    Variant(Parts),
    Enum(Parts),
    Flags(Parts),
    Option(Box<Shape>),
    /// An option inside an option: `{"some": value}`, because null would be ambiguous.
    Wrapped(Box<Shape>),
    Result {
        ok: Option<Box<Shape>>,
        err: Option<Box<Shape>>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Int {
    S8,
    U8,
    S16,
    U16,
    S32,
    U32,
    S64,
    U64,
}

impl Int {
    pub fn range(self) -> (i128, i128) {
        match self {
            Self::S8 => (i8::MIN.into(), i8::MAX.into()),
            Self::U8 => (0, u8::MAX.into()),
            Self::S16 => (i16::MIN.into(), i16::MAX.into()),
            Self::U16 => (0, u16::MAX.into()),
            Self::S32 => (i32::MIN.into(), i32::MAX.into()),
            Self::U32 => (0, u32::MAX.into()),
            Self::S64 => (i64::MIN.into(), i64::MAX.into()),
            Self::U64 => (0, u64::MAX.into()),
        }
    }

    /// True if doubles cannot represent all of its values.
    pub fn is_wide(self) -> bool {
        matches!(self, Self::S64 | Self::U64)
    }
}

/// A field of a record, a case of a variant or an enum, a flag, or a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub name: String,
    pub docs: String,
    /// `None` for a case without payload, or a flag.
    pub shape: Option<Shape>,
}

/// Ordered parts with a fast lookup by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parts {
    parts: Vec<Part>,
    by_name: Vec<usize>,
}

impl Parts {
    pub fn new(parts: Vec<Part>) -> Self {
        let mut by_name: Vec<usize> = (0..parts.len()).collect();
        by_name.sort_by_key(|at| parts.get(*at).map(|part| part.name.as_str()));
        Self { parts, by_name }
    }

    pub fn find(&self, name: &str) -> Option<(usize, &Part)> {
        let found = self.by_name.binary_search_by_key(&Some(name), |at| self.parts.get(*at).map(|p| p.name.as_str()));
        let at = *self.by_name.get(found.ok()?)?;
        Some((at, self.parts.get(at)?))
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Part> {
        self.parts.iter()
    }

    pub fn len(&self) -> usize {
        self.parts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }
}

/// The rest of a function's budget of parts and bytes.
#[derive(Debug)]
pub struct Budget {
    parts: usize,
    text: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { parts: MAX_PARTS, text: MAX_TEXT_BYTES }
    }
}

impl Budget {
    /// Takes one part with this many bytes of text.
    pub fn take(&mut self, text: usize) -> Result<(), Unfit> {
        self.parts = self.parts.checked_sub(1).ok_or(Unfit::Large)?;
        self.text = self.text.checked_sub(text).ok_or(Unfit::Large)?;
        Ok(())
    }
}

impl Kind {
    pub fn list(element: Shape) -> Self {
        if element.kind == Self::Int(Int::U8) { Self::Bytes } else { Self::List(Box::new(element)) }
    }

    /// The kind of an option of this shape.
    pub fn option(inner: Shape) -> Self {
        if matches!(inner.kind, Self::Option(_)) {
            let wrapped = Shape { kind: Self::Wrapped(Box::new(inner)), docs: String::new() };
            Self::Option(Box::new(wrapped))
        } else {
            Self::Option(Box::new(inner))
        }
    }
}

impl Shape {
    /// Recurses at most to the depth of a shape.
    fn has_lists(&self) -> bool {
        let one = |shape: &Option<Box<Shape>>| shape.as_ref().is_some_and(|shape| shape.has_lists());
        match &self.kind {
            Kind::Bytes | Kind::List(_) => true,
            Kind::Tuple(types) => types.iter().any(Self::has_lists),
            Kind::Record(parts) | Kind::Variant(parts) => {
                parts.iter().any(|part| part.shape.as_ref().is_some_and(Self::has_lists))
            }
            Kind::Option(inner) | Kind::Wrapped(inner) => inner.has_lists(),
            Kind::Result { ok, err } => one(ok) || one(err),
            _ => false,
        }
    }
}

/// A function's parameters, as the fields of a record, and its result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    pub params: Shape,
    pub result: Option<Shape>,
}

impl Signature {
    pub fn new(params: Vec<Part>, result: Option<Shape>) -> Self {
        Self { params: Shape { kind: Kind::Record(Parts::new(params)), docs: String::new() }, result }
    }

    /// True if the result contains lists, which take many times more memory as values than as JSON.
    pub fn returns_lists(&self) -> bool {
        self.result.as_ref().is_some_and(Shape::has_lists)
    }

    /// The signature of a compiled component's function, for calling it. Has no texts.
    pub fn of(func: &ComponentFunc) -> Result<Self, Unfit> {
        if func.async_() {
            return Err(Unfit::Async);
        }
        let mut budget = Budget::default();
        let mut params = Vec::new();
        for (name, ty) in func.params() {
            budget.take(name.len())?;
            params.push(part(name, Some(shape(&ty, 0, &mut budget)?)));
        }
        let result = func.results().next().map(|ty| shape(&ty, 0, &mut budget)).transpose()?;
        Ok(Self::new(params, result))
    }
}

fn part(name: &str, shape: Option<Shape>) -> Part {
    Part { name: name.to_owned(), docs: String::new(), shape }
}

fn shape(ty: &Type, depth: usize, budget: &mut Budget) -> Result<Shape, Unfit> {
    if depth >= MAX_DEPTH {
        return Err(Unfit::Deep);
    }
    budget.take(0)?;
    let mut inner = |ty: &Type| shape(ty, depth + 1, budget);
    let kind = match ty {
        Type::Bool => Kind::Bool,
        Type::S8 => Kind::Int(Int::S8),
        Type::U8 => Kind::Int(Int::U8),
        Type::S16 => Kind::Int(Int::S16),
        Type::U16 => Kind::Int(Int::U16),
        Type::S32 => Kind::Int(Int::S32),
        Type::U32 => Kind::Int(Int::U32),
        Type::S64 => Kind::Int(Int::S64),
        Type::U64 => Kind::Int(Int::U64),
        Type::Float32 => Kind::Float32,
        Type::Float64 => Kind::Float64,
        Type::Char => Kind::Char,
        Type::String => Kind::String,
        Type::List(list) => Kind::list(inner(&list.ty())?),
        Type::Record(record) => {
            let mut parts = Vec::new();
            for field in record.fields() {
                budget.take(field.name.len())?;
                parts.push(part(field.name, Some(shape(&field.ty, depth + 1, budget)?)));
            }
            Kind::Record(Parts::new(parts))
        }
        Type::Tuple(tuple) => Kind::Tuple(tuple.types().map(|ty| inner(&ty)).collect::<Result<_, _>>()?),
        Type::Variant(variant) => {
            let mut parts = Vec::new();
            for case in variant.cases() {
                budget.take(case.name.len())?;
                let payload = case.ty.map(|ty| shape(&ty, depth + 1, budget)).transpose()?;
                parts.push(part(case.name, payload));
            }
            Kind::Variant(Parts::new(parts))
        }
        Type::Enum(cases) => Kind::Enum(labels(cases.names(), budget)?),
        Type::Flags(flags) => Kind::Flags(labels(flags.names(), budget)?),
        Type::Option(option) => Kind::option(inner(&option.ty())?),
        Type::Result(result) => {
            let mut side = |ty: Option<Type>| ty.map(|ty| inner(&ty).map(Box::new)).transpose();
            Kind::Result { ok: side(result.ok())?, err: side(result.err())? }
        }
        Type::Own(_) | Type::Borrow(_) => return Err(Unfit::Resource),
        Type::Future(_) => return Err(Unfit::NotJson("a future")),
        Type::Stream(_) => return Err(Unfit::NotJson("a stream")),
        Type::ErrorContext => return Err(Unfit::NotJson("an error context")),
        Type::Map(_) => return Err(Unfit::NotJson("a map")),
        Type::FixedLengthList(_) => return Err(Unfit::NotJson("a list of fixed length")),
    };
    Ok(Shape { kind, docs: String::new() })
}

fn labels<'a>(names: impl Iterator<Item = &'a str>, budget: &mut Budget) -> Result<Parts, Unfit> {
    let mut parts = Vec::new();
    for name in names {
        budget.take(name.len())?;
        parts.push(part(name, None));
    }
    Ok(Parts::new(parts))
}
