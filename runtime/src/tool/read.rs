//! Reads the types of a component's functions into shapes, with their doc comments.

use std::collections::HashMap;

use wasmparser::PrimitiveValType;
use wasmparser::component_types::{
    ComponentAnyTypeId, ComponentDefinedType, ComponentDefinedTypeId, ComponentFuncTypeId, ComponentValType,
};
use wasmparser::types::TypesRef;

use super::docs::{Docs, TypeDocs};
use super::shape::{Budget, Int, Kind, MAX_DEPTH, Part, Parts, Shape, Signature, Unfit};

/// The names of types: the label of the defining interface (`None` for the world), and the name there.
pub(super) type Named = HashMap<ComponentAnyTypeId, Vec<(Option<String>, String)>>;

/// The most aliases to follow for a type.
const MAX_ALIASES: usize = 16;

pub(super) struct Reader<'a> {
    types: TypesRef<'a>,
    named: &'a Named,
    docs: &'a Docs,
    budget: Budget,
}

impl<'a> Reader<'a> {
    pub(super) fn new(types: TypesRef<'a>, named: &'a Named, docs: &'a Docs) -> Self {
        Self { types, named, docs, budget: Budget::default() }
    }

    #[expect(clippy::indexing_slicing, reason = "an id of these very types")]
    pub(super) fn signature(mut self, id: ComponentFuncTypeId) -> Result<Signature, Unfit> {
        let types = self.types;
        let func = &types[id];
        if func.async_ {
            return Err(Unfit::Async);
        }
        let mut params = Vec::new();
        for (name, ty) in &func.params {
            params.push(self.part(name.as_str(), String::new(), Some(ty), 0)?);
        }
        let result = func.result.as_ref().map(|ty| self.shape(ty, 0)).transpose()?;
        Ok(Signature::new(params, result))
    }

    fn part(&mut self, name: &str, docs: String, ty: Option<&ComponentValType>, depth: usize) -> Result<Part, Unfit> {
        self.budget.take(name.len() + docs.len())?;
        let shape = ty.map(|ty| self.shape(ty, depth)).transpose()?;
        Ok(Part { name: name.to_owned(), docs, shape })
    }

    /// The doc comments of a type, from the first of its names that has any.
    fn docs_of(&self, id: ComponentDefinedTypeId) -> Option<TypeDocs<'a>> {
        let mut id = ComponentAnyTypeId::Defined(id);
        for _ in 0..MAX_ALIASES {
            let names = self.named.get(&id).into_iter().flatten();
            let docs = names.filter_map(|(label, name)| self.docs.of_type(label.as_deref(), name)).next();
            if docs.is_some() {
                return docs;
            }
            id = self.types.peel_alias(id)?;
        }
        None
    }

    fn shape(&mut self, ty: &ComponentValType, depth: usize) -> Result<Shape, Unfit> {
        if depth >= MAX_DEPTH {
            return Err(Unfit::Deep);
        }
        match ty {
            ComponentValType::Primitive(ty) => {
                self.budget.take(0)?;
                Ok(Shape { kind: primitive(*ty)?, docs: String::new() })
            }
            ComponentValType::Type(id) => {
                let about = self.docs_of(*id);
                let docs = about.map(|docs| docs.text()).unwrap_or_default();
                self.budget.take(docs.len())?;
                let kind = self.kind(*id, about, depth + 1)?;
                Ok(Shape { kind, docs })
            }
        }
    }

    #[expect(clippy::indexing_slicing, reason = "an id of these very types")]
    fn kind(&mut self, id: ComponentDefinedTypeId, docs: Option<TypeDocs<'_>>, depth: usize) -> Result<Kind, Unfit> {
        let item = |name: &str| docs.map(|docs| docs.item(name)).unwrap_or_default();
        let types = self.types;
        Ok(match &types[id] {
            ComponentDefinedType::Primitive(ty) => primitive(*ty)?,
            ComponentDefinedType::List { element, .. } => Kind::list(self.shape(element, depth)?),
            ComponentDefinedType::Tuple(tuple) => {
                Kind::Tuple(tuple.types.iter().map(|ty| self.shape(ty, depth)).collect::<Result<_, _>>()?)
            }
            ComponentDefinedType::Record(record) => {
                let parts = record
                    .fields
                    .iter()
                    .map(|(name, ty)| self.part(name.as_str(), item(name.as_str()), Some(ty), depth));
                Kind::Record(Parts::new(parts.collect::<Result<_, _>>()?))
            }
            ComponentDefinedType::Variant(variant) => {
                let parts = variant
                    .cases
                    .iter()
                    .map(|(name, case)| self.part(name.as_str(), item(name.as_str()), case.ty.as_ref(), depth));
                Kind::Variant(Parts::new(parts.collect::<Result<_, _>>()?))
            }
            ComponentDefinedType::Enum(names) => {
                let parts = names.iter().map(|name| self.part(name.as_str(), item(name.as_str()), None, depth));
                Kind::Enum(Parts::new(parts.collect::<Result<_, _>>()?))
            }
            ComponentDefinedType::Flags(names) => {
                let parts = names.iter().map(|name| self.part(name.as_str(), item(name.as_str()), None, depth));
                Kind::Flags(Parts::new(parts.collect::<Result<_, _>>()?))
            }
            ComponentDefinedType::Option { ty, .. } => Kind::option(self.shape(ty, depth)?),
            ComponentDefinedType::Result { ok, err, .. } => {
                let mut side = |ty: &Option<ComponentValType>| {
                    ty.as_ref().map(|ty| self.shape(ty, depth).map(Box::new)).transpose()
                };
                Kind::Result { ok: side(ok)?, err: side(err)? }
            }
            ComponentDefinedType::Own(_) | ComponentDefinedType::Borrow(_) => return Err(Unfit::Resource),
            ComponentDefinedType::Future { .. } => return Err(Unfit::NotJson("a future")),
            ComponentDefinedType::Stream { .. } => return Err(Unfit::NotJson("a stream")),
            ComponentDefinedType::Map { .. } => return Err(Unfit::NotJson("a map")),
            ComponentDefinedType::FixedLengthList { .. } => return Err(Unfit::NotJson("a list of fixed length")),
        })
    }
}

fn primitive(ty: PrimitiveValType) -> Result<Kind, Unfit> {
    Ok(match ty {
        PrimitiveValType::Bool => Kind::Bool,
        PrimitiveValType::S8 => Kind::Int(Int::S8),
        PrimitiveValType::U8 => Kind::Int(Int::U8),
        PrimitiveValType::S16 => Kind::Int(Int::S16),
        PrimitiveValType::U16 => Kind::Int(Int::U16),
        PrimitiveValType::S32 => Kind::Int(Int::S32),
        PrimitiveValType::U32 => Kind::Int(Int::U32),
        PrimitiveValType::S64 => Kind::Int(Int::S64),
        PrimitiveValType::U64 => Kind::Int(Int::U64),
        PrimitiveValType::F32 => Kind::Float32,
        PrimitiveValType::F64 => Kind::Float64,
        PrimitiveValType::Char => Kind::Char,
        PrimitiveValType::String => Kind::String,
        PrimitiveValType::ErrorContext => return Err(Unfit::NotJson("an error context")),
    })
}
