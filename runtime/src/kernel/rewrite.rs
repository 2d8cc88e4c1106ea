//! Turns an interpreter's core module into a component of the world `cofferdam:kernel/kernel`, at build time.
//!
//! Removes data segments (they go into the first image) and custom sections, adds `cabi_realloc` over the module's own
//! allocator, redirects `proc_exit` to our door (for the exit code), gives `init`, `boot` and `turn` the types that the
//! world requires, and encodes the result with the preview1 reactor adapter and our door. Does not change the
//! interpreter's code.

use wasm_encoder::{
    CodeSection, EntityType, ExportKind, ExportSection, Function, FunctionSection, ImportSection, Instruction,
    RawSection, TypeSection, ValType,
};
use wasmparser::{
    CompositeInnerType, DataKind, ExternalKind, FuncType, Operator, Parser, Payload, TypeRef, ValType as ParsedType,
};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use super::manifest::Exports;
use crate::error::KernelError;

const KERNEL_WIT: &str = include_str!("../../../wit/kernel.wit");
const DOOR_WAT: &str = include_str!("door.wat");

/// A kernel as a component, and the parts removed from it for the first image.
pub struct Rewritten {
    pub component: Vec<u8>,
    pub segments: Vec<Segment>,
    /// The memory's minimum in WebAssembly pages, by which the engine recognizes it.
    pub memory_pages: u64,
}

/// Bytes to write into the memory before `init`.
pub struct Segment {
    pub offset: usize,
    pub bytes: Vec<u8>,
}

fn bad(reason: impl std::fmt::Display) -> KernelError {
    KernelError::Module(reason.to_string())
}

/// The facts about a module that the rewrite needs.
#[derive(Default)]
struct Survey {
    types: Vec<Option<FuncType>>,
    /// Type index of every function, imports first.
    functions: Vec<u32>,
    /// Module, name and type index of every imported function.
    imports: Vec<(String, String, u32)>,
    exports: Vec<(String, ExternalKind, u32)>,
    memory_pages: Option<u64>,
    segments: Vec<Segment>,
}

impl Survey {
    fn of(module: &[u8]) -> Result<Self, KernelError> {
        let mut survey = Self::default();
        for payload in Parser::new(0).parse_all(module) {
            match payload.map_err(bad)? {
                Payload::TypeSection(section) => {
                    for group in section {
                        for ty in group.map_err(bad)?.into_types() {
                            survey.types.push(match ty.composite_type.inner {
                                CompositeInnerType::Func(func) => Some(func),
                                _ => None,
                            });
                        }
                    }
                }
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let import = import.map_err(bad)?;
                        match import.ty {
                            TypeRef::Func(ty) => {
                                survey.functions.push(ty);
                                survey.imports.push((import.module.to_owned(), import.name.to_owned(), ty));
                            }
                            _ => return Err(bad("only functions may be imported")),
                        }
                    }
                }
                Payload::FunctionSection(section) => {
                    for ty in section {
                        survey.functions.push(ty.map_err(bad)?);
                    }
                }
                Payload::MemorySection(section) => {
                    for memory in section {
                        let memory = memory.map_err(bad)?;
                        if memory.memory64 || memory.shared || survey.memory_pages.replace(memory.initial).is_some() {
                            return Err(bad("exactly one 32-bit unshared memory is required"));
                        }
                    }
                }
                Payload::ExportSection(section) => {
                    for export in section {
                        let export = export.map_err(bad)?;
                        survey.exports.push((export.name.to_owned(), export.kind, export.index));
                    }
                }
                Payload::StartSection { .. } => return Err(bad("a start function would run at every birth")),
                Payload::DataSection(section) => {
                    for data in section {
                        let data = data.map_err(bad)?;
                        let DataKind::Active { memory_index: 0, offset_expr } = data.kind else {
                            return Err(bad("passive data segments cannot be moved into an image"));
                        };
                        let offset = match offset_expr.get_operators_reader().read().map_err(bad)? {
                            Operator::I32Const { value } => value as u32 as usize,
                            _ => return Err(bad("a data segment's offset is not a constant")),
                        };
                        survey.segments.push(Segment { offset, bytes: data.data.to_vec() });
                    }
                }
                _ => {}
            }
        }
        Ok(survey)
    }

    fn function(&self, name: &str) -> Result<(u32, &FuncType), KernelError> {
        let found = self.exports.iter().find(|(n, kind, _)| n == name && *kind == ExternalKind::Func);
        let index = found.ok_or_else(|| bad(format!("no exported function {name:?}")))?.2;
        let ty = self.functions.get(index as usize).and_then(|ty| self.types.get(*ty as usize));
        Ok((index, ty.and_then(Option::as_ref).ok_or_else(|| bad(format!("{name:?} has no type")))?))
    }
}

/// A function to append: name, type and body.
struct Appended {
    name: &'static str,
    params: Vec<ValType>,
    results: Vec<ValType>,
    body: Vec<Instruction<'static>>,
}

/// Calls `name` with `params`, and returns 0 if the world requires a number and the module returns none.
fn adapted(
    survey: &Survey,
    name: &'static str,
    export: &str,
    params: usize,
    wants_result: bool,
) -> Result<Appended, KernelError> {
    let (index, ty) = survey.function(export)?;
    if ty.params().len() != params || ty.params().iter().any(|p| *p != ParsedType::I32) {
        return Err(bad(format!("{export:?} must take {params} i32 parameters")));
    }
    let mut body: Vec<_> = (0..params as u32).map(Instruction::LocalGet).collect();
    body.push(Instruction::Call(index));
    match (ty.results().len(), wants_result) {
        (0, true) => body.push(Instruction::I32Const(0)),
        (1, false) => body.push(Instruction::Drop),
        (0, false) | (1, true) => {}
        _ => return Err(bad(format!("{export:?} has more than one result"))),
    }
    let results = if wants_result { vec![ValType::I32] } else { vec![] };
    Ok(Appended { name, params: vec![ValType::I32; params], results, body })
}

/// Rewrites a core module into a component.
pub fn rewrite(module: &[u8], exports: &Exports) -> Result<Rewritten, KernelError> {
    let survey = Survey::of(module)?;
    let (alloc, _) = survey.function(&exports.alloc)?;
    let appended = [
        Appended {
            name: "cabi_realloc",
            params: vec![ValType::I32; 4],
            results: vec![ValType::I32],
            body: vec![Instruction::LocalGet(3), Instruction::Call(alloc)],
        },
        adapted(&survey, "init", &exports.init, 0, false)?,
        adapted(&survey, "boot", &exports.boot, 0, true)?,
        adapted(&survey, "turn", &exports.turn, 2, true)?,
    ];
    let (door_module, door_name) =
        exports.door.split_once('.').ok_or_else(|| bad("`door` is \"module.name\" of an import"))?;
    let mut core = assemble(module, &survey, &appended, door_module)?;

    let mut resolve = Resolve::default();
    let package = resolve.push_str("kernel.wit", KERNEL_WIT).map_err(|e| bad(format!("{e:#}")))?;
    let world = resolve.select_world(&[package], Some("kernel")).map_err(|e| bad(format!("{e:#}")))?;
    embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8).map_err(|e| bad(format!("{e:#}")))?;

    let door = door_adapter(&resolve, door_name)?;
    let component = ComponentEncoder::default()
        .validate(false)
        .module(&core)
        .and_then(|encoder| {
            encoder.adapter(
                "wasi_snapshot_preview1",
                wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
            )
        })
        .and_then(|encoder| encoder.adapter(door_module, &door))
        .and_then(|mut encoder| encoder.encode())
        .map_err(|e| bad(format!("{e:#}")))?;
    let memory_pages = survey.memory_pages.ok_or_else(|| bad("no memory"))?;
    Ok(Rewritten { component, segments: survey.segments, memory_pages })
}

fn door_adapter(resolve: &Resolve, name: &str) -> Result<Vec<u8>, KernelError> {
    let text = DOOR_WAT.replace("(export \"call\")", &format!("(export {name:?})"));
    let mut module = wat::parse_str(&text).map_err(bad)?;
    let mut resolve = resolve.clone();
    let package = resolve
        .push_str(
            "door.wit",
            "package cofferdam:door-adapter;\nworld door-adapter { import cofferdam:kernel/door@0.1.0; }",
        )
        .map_err(|e| bad(format!("{e:#}")))?;
    let world = resolve.select_world(&[package], Some("door-adapter")).map_err(|e| bad(format!("{e:#}")))?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).map_err(|e| bad(format!("{e:#}")))?;
    Ok(module)
}

/// Rewrites the module section by section, with the appended functions and without data and custom sections.
fn assemble(module: &[u8], survey: &Survey, appended: &[Appended], door_module: &str) -> Result<Vec<u8>, KernelError> {
    let mut out = wasm_encoder::Module::new();
    let first_type = survey.types.len() as u32;
    let first_function = survey.functions.len() as u32;
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload.map_err(bad)?;
        match &payload {
            Payload::CustomSection(_) | Payload::DataSection(_) | Payload::DataCountSection { .. } => continue,
            Payload::CodeSectionEntry(_) => continue,
            _ => {}
        }
        let Some((id, range)) = payload.as_section() else { continue };
        let bytes = module.get(range).ok_or_else(|| bad("a section lies outside the module"))?;
        match id {
            1 => append(&mut out, id, bytes, appended.len(), |buffer| {
                let mut types = TypeSection::new();
                for function in appended {
                    types.ty().function(function.params.clone(), function.results.clone());
                }
                buffer.extend(entries(&types));
            })?,
            3 => append(&mut out, id, bytes, appended.len(), |buffer| {
                let mut functions = FunctionSection::new();
                for i in 0..appended.len() as u32 {
                    functions.function(first_type + i);
                }
                buffer.extend(entries(&functions));
            })?,
            2 => {
                let mut imports = ImportSection::new();
                for (module, name, ty) in &survey.imports {
                    let module = if name == "proc_exit" { door_module } else { module.as_str() };
                    imports.import(module, name, EntityType::Function(*ty));
                }
                out.section(&imports);
            }
            7 => {
                let mut exports = ExportSection::new();
                for (name, kind, index) in &survey.exports {
                    if name == "memory" && *kind == ExternalKind::Memory {
                        exports.export(name, ExportKind::Memory, *index);
                    }
                }
                for (i, function) in appended.iter().enumerate() {
                    exports.export(function.name, ExportKind::Func, first_function + i as u32);
                }
                out.section(&exports);
            }
            10 => append(&mut out, id, bytes, appended.len(), |buffer| {
                let mut code = CodeSection::new();
                for function in appended {
                    let mut body = Function::new([]);
                    for instruction in &function.body {
                        body.instruction(instruction);
                    }
                    body.instruction(&Instruction::End);
                    code.function(&body);
                }
                buffer.extend(entries(&code));
            })?,
            _ => {
                out.section(&RawSection { id, data: bytes });
            }
        }
    }
    Ok(out.finish())
}

/// The entries of a section, without its size and count.
fn entries(section: &impl wasm_encoder::Encode) -> Vec<u8> {
    let mut bytes = Vec::new();
    section.encode(&mut bytes);
    let (_, size_len) = leb(&bytes);
    let rest = bytes.split_off(size_len);
    let (_, count_len) = leb(&rest);
    rest.get(count_len..).unwrap_or_default().to_vec()
}

fn leb(bytes: &[u8]) -> (u32, usize) {
    let mut value = 0_u32;
    for (i, byte) in bytes.iter().enumerate().take(5) {
        value |= u32::from(byte & 0x7f) << (7 * i as u32);
        if byte & 0x80 == 0 {
            return (value, i + 1);
        }
    }
    (value, 5)
}

/// Writes a vector section with `more` entries after its own.
fn append(
    out: &mut wasm_encoder::Module,
    id: u8,
    bytes: &[u8],
    more: usize,
    write: impl FnOnce(&mut Vec<u8>),
) -> Result<(), KernelError> {
    let (count, len) = leb(bytes);
    let mut data = Vec::with_capacity(bytes.len() + 256);
    wasm_encoder::Encode::encode(&(count + more as u32), &mut data);
    data.extend_from_slice(bytes.get(len..).ok_or_else(|| bad("a section is cut short"))?);
    write(&mut data);
    out.section(&RawSection { id, data: &data });
    Ok(())
}
