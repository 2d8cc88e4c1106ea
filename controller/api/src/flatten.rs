//! Documents that contain another one's fields, as one object each. An `allOf` of objects that are closed to further properties
//! would have no value at all: each part forbids the fields of the others.

use std::collections::BTreeMap;

use utoipa::openapi::schema::{AllOf, Schema};
use utoipa::openapi::{Object, OpenApi, RefOr};

/// The most levels of documents in documents.
const MAX_DEPTH: usize = 8;
const SCHEMAS: &str = "#/components/schemas/";

type Schemas = BTreeMap<String, RefOr<Schema>>;

/// Writes every `allOf` of objects among the named schemas as one object. It is open to further properties where the document's
/// own part is.
pub(crate) fn flatten(document: &mut OpenApi) {
    let Some(components) = &mut document.components else { return };
    let known: Schemas = components.schemas.iter().map(|(name, schema)| (name.clone(), schema.clone())).collect();
    for schema in components.schemas.values_mut() {
        if let RefOr::T(Schema::AllOf(all)) = schema
            && let Some(whole) = whole(all, &known, MAX_DEPTH)
        {
            *schema = RefOr::T(Schema::Object(whole));
        }
    }
}

/// The parts in one object. None if one of them is no object.
fn whole(all: &AllOf, known: &Schemas, depth: usize) -> Option<Object> {
    let mut whole = Object::new();
    for part in &all.items {
        let part = object(part, known, depth.checked_sub(1)?)?;
        whole.properties.extend(part.properties);
        whole.required.extend(part.required);
        // The document's own part is the last one.
        whole.additional_properties = part.additional_properties;
    }
    whole.description.clone_from(&all.description);
    whole.required.sort();
    whole.required.dedup();
    Some(whole)
}

fn object(part: &RefOr<Schema>, known: &Schemas, depth: usize) -> Option<Object> {
    match part {
        RefOr::T(Schema::Object(object)) => Some(object.clone()),
        RefOr::T(Schema::AllOf(all)) => whole(all, known, depth),
        RefOr::Ref(part) => object(known.get(part.ref_location.strip_prefix(SCHEMAS)?)?, known, depth.checked_sub(1)?),
        RefOr::T(_) => None,
    }
}
