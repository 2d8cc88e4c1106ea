//! Describes a component from its bytes: functions with names, texts and schemas, and imports. The bytes are untrusted:
//! everything is bounded, and nothing in them is run or compiled. The compiler validates the code later.

use std::collections::HashMap;

use cofferdam_contract::tool::{MAX_COMPONENT_BYTES, MAX_FUNCTIONS};
use cofferdam_contract::{Component, ExportPath, Problem, ToolFunction};
use wasmparser::component_types::{ComponentAnyTypeId, ComponentEntityType, ComponentFuncTypeId};
use wasmparser::types::{Types, TypesRef};
use wasmparser::{Encoding, Parser, Payload, ValidPayload, Validator, WasmFeatures};

use super::docs::{self, Docs};
use super::names::{self, GOOD_NAME_BYTES, Interface, MAX_NAME_BYTES};
use super::read::{Named, Reader};
use super::schema;
use super::shape::Unfit;
use super::weight::MAX_INSTANCE_BYTES;
use super::words::shortened;
use crate::error::Error;

/// The features of `tool_engine`. A component that needs others is refused here, with a better message than the
/// compiler's.
pub const FEATURES: WasmFeatures = WasmFeatures::WASM3
    .union(WasmFeatures::COMPONENT_MODEL)
    .difference(WasmFeatures::MEMORY64.union(WasmFeatures::THREADS));

/// The most bytes of all schemas and texts of a component.
pub const MAX_DESCRIPTION_BYTES: usize = 1 << 20;
/// The most imports and exports to consider.
const MAX_EXTERNS: usize = 1_000;
/// The most names of one type.
const MAX_NAMES: usize = 8;
/// The most unusable functions to name individually.
const MAX_REFUSED: usize = 20;
const MAX_PLACE_CHARS: usize = 200;

const UNDESCRIBED: &str = "none of its functions has a description, so models do not know when to call them: put the \
                           doc comments of its WIT into it, or export cofferdam:tool/describe";

/// The reason why a component cannot become a tool, for its author.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("it is empty")]
    Empty,
    #[error("it has {0} bytes; the maximum is {MAX_COMPONENT_BYTES}")]
    TooLarge(usize),
    #[error("this is {0}, not a WebAssembly component")]
    NotWasm(&'static str),
    #[error(
        "this is a core WebAssembly module, not a component: build it for a component target (Rust: `--target \
         wasm32-wasip2`), or make a component of it with `wasm-tools component new`"
    )]
    CoreModule,
    #[error("this is a WIT package, which only describes interfaces: deploy a component that implements them")]
    WitPackage,
    #[error("the component is broken or needs a feature that this build does not have: {0}")]
    Invalid(String),
    #[error("it exports more than {MAX_FUNCTIONS} functions, or more than {MAX_EXTERNS} interfaces")]
    TooMany,
    #[error(
        "it exports no function: a tool is a function that the component's world exports, by itself or in an interface"
    )]
    Nothing,
    #[error(
        "it only exports {0}, which the host calls for purposes of its own; export a function or an interface of yours"
    )]
    OnlySystem(String),
    #[error("none of its functions can be a tool: {0}")]
    NoneFit(String),
    #[error("two functions would have the name `{name}`: {first} and {second}; rename an interface or a function")]
    Collision { name: String, first: String, second: String },
    #[error(
        "each of its instances would take {0} bytes beside its memory, by the number of its modules, functions and \
         globals; at most {MAX_INSTANCE_BYTES} are taken"
    )]
    Heavy(u64),
    #[error("its functions' schemas have more than {MAX_DESCRIPTION_BYTES} bytes together")]
    Wordy,
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::TooLarge(_) => Self::too_large(format!("the component: {refusal}")),
            other => Self::bad_component(other.to_string()),
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Problem::from(refusal).into()
    }
}

/// Describes a component. The caller has checked `digest`.
pub fn describe(bytes: &[u8], digest: &str) -> Result<Component, Refusal> {
    check_kind(bytes)?;
    let outline = outline(bytes)?;
    let found = Found::new(&outline)?;
    let imports: Vec<String> = outline.imports(outline.types.as_ref());
    let mut warnings = found.warnings;
    if imports.iter().any(|name| name.starts_with("wasi:sockets/")) {
        warnings.push(
            "it imports wasi:sockets: there are no sockets here, and calls of them answer access-denied (use wasi:http)"
                .to_owned(),
        );
    }
    if let Some(problem) = &outline.docs.problem {
        warnings.push(format!("its doc comments were left out: {problem}"));
    }
    Ok(Component {
        digest: digest.to_owned(),
        size_bytes: bytes.len() as u64,
        functions: found.functions,
        imports,
        warnings,
        describe: found.describe,
    })
}

fn check_kind(bytes: &[u8]) -> Result<(), Refusal> {
    if bytes.len() > MAX_COMPONENT_BYTES {
        return Err(Refusal::TooLarge(bytes.len()));
    }
    let what = match bytes {
        [] => return Err(Refusal::Empty),
        [b'\0', b'a', b's', b'm', 1, 0, 0, 0, ..] => return Err(Refusal::CoreModule),
        [b'\0', b'a', b's', b'm', ..] => return Ok(()),
        [0x1F, 0x8B, ..] => "gzip",
        [b'P', b'K', 3, 4, ..] => "a zip archive",
        [0x28, 0xB5, 0x2F, 0xFD, ..] => "zstd",
        [0x7F, b'E', b'L', b'F', ..] => "an ELF file, perhaps compiled ahead of time",
        _ if bytes.trim_ascii_start().starts_with(b"(") => "WebAssembly text (assemble it with `wasm-tools parse`)",
        _ if bytes.get(..512).unwrap_or(bytes).is_ascii() => "text",
        _ => "something else",
    };
    Err(Refusal::NotWasm(what))
}

/// The component's imports and exports, and all of its types.
struct Outline {
    types: Types,
    imports: Vec<String>,
    exports: Vec<String>,
    docs: Docs,
}

fn outline(bytes: &[u8]) -> Result<Outline, Refusal> {
    let invalid = |e: wasmparser::BinaryReaderError| Refusal::Invalid(e.to_string());
    let mut validator = Validator::new_with_features(FEATURES);
    let mut parser = Parser::new(0);
    parser.set_features(FEATURES);
    let (mut imports, mut exports, mut docs) = (Vec::new(), Vec::new(), Docs::default());
    // The nesting at the parser's position: components, or a core module.
    let mut open: Vec<Encoding> = Vec::new();
    for payload in parser.parse_all(bytes) {
        let payload = payload.map_err(invalid)?;
        let valid = validator.payload(&payload).map_err(invalid)?;
        match &payload {
            Payload::Version { encoding, .. } => open.push(*encoding),
            Payload::ComponentImportSection(section) if open.len() == 1 => {
                for import in section.clone() {
                    imports.push(import.map_err(invalid)?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if open.len() == 1 => {
                for export in section.clone() {
                    exports.push(export.map_err(invalid)?.name.name.to_owned());
                }
            }
            Payload::CustomSection(section)
                if section.name() == docs::SECTION && open.last() == Some(&Encoding::Component) =>
            {
                docs.add(section.data());
            }
            Payload::End(_) => {
                open.pop();
            }
            _ => {}
        }
        if imports.len() > MAX_EXTERNS || exports.len() > MAX_EXTERNS {
            return Err(Refusal::TooMany);
        }
        if let (ValidPayload::End(types), true) = (valid, open.is_empty()) {
            return Ok(Outline { types, imports, exports, docs });
        }
    }
    Err(Refusal::Invalid("it ends too early".to_owned()))
}

impl Outline {
    /// The imports that the host must provide. Types alone need no provider.
    fn imports(&self, types: TypesRef<'_>) -> Vec<String> {
        let needed = |name: &&String| {
            !types.component_item_for_import(name).is_some_and(|item| match item.ty {
                ComponentEntityType::Type { created, .. } => !matches!(created, ComponentAnyTypeId::Resource(_)),
                _ => false,
            })
        };
        self.imports.iter().filter(needed).cloned().collect()
    }

    /// The names of every named type, because doc comments go by names.
    #[expect(clippy::indexing_slicing, reason = "an id of these very types")]
    fn named(&self, types: TypesRef<'_>) -> Named {
        let mut named: Named = HashMap::new();
        let mut name = |id, label: Option<&String>, name: &String| {
            let names = named.entry(id).or_default();
            if names.len() < MAX_NAMES {
                names.push((label.cloned(), name.clone()));
            }
        };
        let imports = self.imports.iter().map(|name| (name, types.component_item_for_import(name)));
        let exports = self.exports.iter().map(|name| (name, types.component_item_for_export(name)));
        for (outer, item) in imports.chain(exports) {
            match item.map(|item| item.ty) {
                Some(ComponentEntityType::Type { created, .. }) => name(created, None, outer),
                Some(ComponentEntityType::Instance(id)) => {
                    let label = match names::interface(outer) {
                        Interface::Tools { label, .. } => label,
                        _ => continue,
                    };
                    for (inner, item) in &types[id].exports {
                        if let ComponentEntityType::Type { created, .. } = item.ty {
                            name(created, Some(&label), inner);
                        }
                    }
                }
                _ => {}
            }
        }
        named
    }
}

/// An exported function.
struct Candidate {
    name: String,
    path: ExportPath,
    label: Option<String>,
    id: ComponentFuncTypeId,
}

/// The tools found among the exports.
struct Found {
    functions: Vec<ToolFunction>,
    warnings: Vec<String>,
    describe: Option<ExportPath>,
}

impl Found {
    #[expect(clippy::indexing_slicing, reason = "an id of these very types")]
    fn new(outline: &Outline) -> Result<Self, Refusal> {
        let types = outline.types.as_ref();
        let (mut candidates, mut system, mut packages, mut describe) = (Vec::new(), Vec::new(), 0, None);
        for outer in &outline.exports {
            match types.component_item_for_export(outer).map(|item| item.ty) {
                Some(ComponentEntityType::Func(id)) => candidates.push(Candidate {
                    name: outer.clone(),
                    path: ExportPath { interface: None, function: outer.clone() },
                    label: None,
                    id,
                }),
                Some(ComponentEntityType::Instance(id)) => match names::interface(outer) {
                    Interface::Tools { prefix, label } => {
                        for (inner, item) in &types[id].exports {
                            let ComponentEntityType::Func(id) = item.ty else { continue };
                            let params = types[id].params.iter().map(|(name, _)| name.as_str());
                            if names::is_toolchains(outer, inner, params) {
                                continue;
                            }
                            candidates.push(Candidate {
                                name: format!("{prefix}-{inner}"),
                                path: ExportPath { interface: Some(outer.clone()), function: inner.clone() },
                                label: Some(label.clone()),
                                id,
                            });
                        }
                    }
                    Interface::System => system.push(outer.clone()),
                    Interface::Describe => {
                        let function = names::DESCRIBE_FUNCTION.to_owned();
                        describe = Some(ExportPath { interface: Some(outer.clone()), function });
                    }
                    Interface::Other => {}
                },
                Some(ComponentEntityType::Type { created: ComponentAnyTypeId::Component(_), .. }) => packages += 1,
                _ => {}
            }
            if candidates.len() > MAX_FUNCTIONS {
                return Err(Refusal::TooMany);
            }
        }
        match (candidates.is_empty(), system.is_empty()) {
            (true, true) if packages > 0 => return Err(Refusal::WitPackage),
            (true, true) => return Err(Refusal::Nothing),
            (true, false) => return Err(Refusal::OnlySystem(system.join(", "))),
            _ => {}
        }
        Self::of(outline, candidates, describe)
    }

    fn of(outline: &Outline, candidates: Vec<Candidate>, describe: Option<ExportPath>) -> Result<Self, Refusal> {
        let types = outline.types.as_ref();
        let named = outline.named(types);
        let mut found = Self { functions: Vec::new(), warnings: Vec::new(), describe };
        let mut refused = Vec::new();
        let mut bytes = 0;
        let mut taken: HashMap<String, String> = HashMap::new();
        for candidate in candidates {
            let place = candidate.place();
            let function = match candidate.function(types, &named, &outline.docs) {
                Ok(function) => function,
                Err(unfit) => {
                    refused.push(format!("{place}: {unfit}"));
                    continue;
                }
            };
            bytes += size(&function);
            if bytes > MAX_DESCRIPTION_BYTES {
                return Err(Refusal::Wordy);
            }
            if let Some(first) = taken.insert(function.name.clone(), place.clone()) {
                return Err(Refusal::Collision { name: function.name, first, second: place });
            }
            if function.name.len() > GOOD_NAME_BYTES {
                found.warnings.push(format!(
                    "the name {} has more than {GOOD_NAME_BYTES} characters, and some models reject longer ones",
                    function.name
                ));
            }
            found.functions.push(function);
        }
        let more = refused.len().saturating_sub(MAX_REFUSED);
        refused.truncate(MAX_REFUSED);
        if more > 0 {
            refused.push(format!("and {more} more"));
        }
        if found.functions.is_empty() {
            return Err(Refusal::NoneFit(refused.join("; ")));
        }
        found.warnings.extend(refused.into_iter().map(|refused| format!("not a tool: {refused}")));
        if found.functions.iter().all(|function| function.description.is_empty()) {
            found.warnings.push(UNDESCRIBED.to_owned());
        }
        Ok(found)
    }
}

impl Candidate {
    /// The location of a function in the component's own terms, for messages.
    fn place(&self) -> String {
        let ExportPath { interface, function } = &self.path;
        let text = interface.as_ref().map_or_else(|| function.clone(), |interface| format!("{interface}#{function}"));
        shortened(&text, MAX_PLACE_CHARS)
    }

    fn function(self, types: TypesRef<'_>, named: &Named, docs: &Docs) -> Result<ToolFunction, Unfit> {
        if !names::is_plain(&self.path.function) {
            return Err(Unfit::OfResource);
        }
        if self.name.len() > MAX_NAME_BYTES {
            return Err(Unfit::LongName);
        }
        let signature = Reader::new(types, named, docs).signature(self.id)?;
        let label = self.label.as_deref();
        let of_interface = || docs.interface(self.path.interface.as_deref()?, label?);
        let function = ToolFunction {
            description: docs.function(label, &self.path.function).or_else(of_interface).unwrap_or_default(),
            input_schema: signature.input_schema(),
            output_schema: signature.output_schema(),
            name: self.name,
            export: self.path,
            examples: Vec::new(),
            read_only: None,
            destructive: None,
            idempotent: None,
        };
        if size(&function) > schema::MAX_BYTES { Err(Unfit::Large) } else { Ok(function) }
    }
}

fn size(function: &ToolFunction) -> usize {
    let json = |value: &serde_json::Value| value.to_string().len();
    function.description.len() + json(&function.input_schema) + json(&function.output_schema)
}
