//! Documents that contain another one's fields, as one object each. An `allOf` of objects that are closed to further properties
//! would have no value at all: each part forbids the fields of the others.

use std::collections::{BTreeMap, BTreeSet};

use utoipa::openapi::schema::{AllOf, Schema};
use utoipa::openapi::{Object, OpenApi, RefOr};

/// The most levels of documents in documents.
const MAX_DEPTH: usize = 8;
const SCHEMAS: &str = "#/components/schemas/";

type Schemas = BTreeMap<String, RefOr<Schema>>;

/// Writes every `allOf` of objects among the named schemas as one object. That of a request is closed to further properties if one
/// of its parts is; an answer may get more fields in later versions.
pub(crate) fn flatten(document: &mut OpenApi) {
    let requests = requests(document);
    let Some(components) = &mut document.components else { return };
    let known: Schemas = components.schemas.iter().map(|(name, schema)| (name.clone(), schema.clone())).collect();
    for (name, schema) in &mut components.schemas {
        if let RefOr::T(Schema::AllOf(all)) = schema
            && let Some(mut whole) = whole(all, &known, MAX_DEPTH)
        {
            whole.additional_properties = whole.additional_properties.filter(|_| requests.contains(name));
            *schema = RefOr::T(Schema::Object(whole));
        }
    }
}

/// The names of the schemas of requests' bodies.
fn requests(document: &OpenApi) -> BTreeSet<String> {
    let operations = document.paths.paths.values().flat_map(|item| [&item.put, &item.post, &item.patch]);
    let contents = operations.flatten().filter_map(|operation| operation.request_body.as_ref());
    let schemas = contents.flat_map(|body| body.content.values()).filter_map(|content| content.schema.as_ref());
    let name = |schema: &RefOr<Schema>| match schema {
        RefOr::Ref(place) => place.ref_location.strip_prefix(SCHEMAS).map(str::to_owned),
        RefOr::T(_) => None,
    };
    schemas.filter_map(name).collect()
}

/// The parts in one object. None if one of them is no object.
fn whole(all: &AllOf, known: &Schemas, depth: usize) -> Option<Object> {
    let mut whole = Object::new();
    for part in &all.items {
        let part = object(part, known, depth.checked_sub(1)?)?;
        whole.properties.extend(part.properties);
        whole.required.extend(part.required);
        whole.additional_properties = whole.additional_properties.or(part.additional_properties);
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
        // A document that may be absent: all of its fields may be.
        RefOr::T(Schema::OneOf(either)) => {
            let depth = depth.checked_sub(1)?;
            let found = either.items.iter().filter_map(|part| object(part, known, depth));
            let mut found = found.filter(|part| !part.properties.is_empty());
            let mut only = found.next().filter(|_| found.next().is_none())?;
            only.required.clear();
            Some(only)
        }
        RefOr::Ref(part) => object(known.get(part.ref_location.strip_prefix(SCHEMAS)?)?, known, depth.checked_sub(1)?),
        RefOr::T(_) => None,
    }
}
