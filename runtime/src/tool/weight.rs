//! Estimates the host memory of a component's instance besides linear memories and tables, which are counted as they
//! grow. The engine keeps data for each function, global and import of each module, as often as the module is
//! instantiated. The estimate is an upper bound from the validated bytes alone, because a few bytes can stand for very
//! many instances.

use wasmparser::{
    ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind, ComponentTypeRef, Encoding,
    Instance, Parser, Payload, TypeRef,
};

use super::describe::Refusal;

/// The most that one instance of a component may use.
pub(super) const MAX_INSTANCE_BYTES: u64 = 32 << 20;

/// The engine's data for each, rounded up.
const INSTANCE: u64 = 2 << 10;
const FUNCTION: u64 = 32;
const IMPORT: u64 = 32;
const GLOBAL: u64 = 16;
const TAG: u64 = 16;
const SEGMENT: u64 = 48;
const TABLE: u64 = 256;
const MEMORY: u64 = 512;
/// A component's data for an import, an export, or a lifted or lowered function.
const ITEM: u64 = 128;

/// A component or module that is being read.
#[derive(Default)]
struct Frame {
    /// The weight of one instance.
    weight: u64,
    /// The weights of the modules and components in scope, by index.
    modules: Vec<u64>,
    /// `None`: provided from outside.
    components: Vec<Option<u64>>,
    is_module: bool,
}

/// The weight of an instance.
///
/// # Errors
/// [`Refusal::Heavy`] above [`MAX_INSTANCE_BYTES`], or the bytes cannot be read.
pub fn instance_weight(bytes: &[u8]) -> Result<u64, Refusal> {
    // A module of unknown origin counts as the heaviest of all.
    let (_, heaviest) = walk(bytes, 0)?;
    let (weight, _) = walk(bytes, heaviest)?;
    if weight > MAX_INSTANCE_BYTES { Err(Refusal::Heavy(weight)) } else { Ok(weight) }
}

fn invalid(error: impl std::fmt::Display) -> Refusal {
    Refusal::Invalid(error.to_string())
}

fn unknown() -> Refusal {
    Refusal::Invalid("it instantiates a component that it gets from outside, which is not supported".to_owned())
}

/// The weight of the whole, and of its heaviest module.
fn walk(bytes: &[u8], unknown_module: u64) -> Result<(u64, u64), Refusal> {
    let (mut frames, mut heaviest): (Vec<Frame>, u64) = (Vec::new(), 0);
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(invalid)?;
        match payload {
            Payload::Version { encoding, .. } => {
                let weight = if encoding == Encoding::Module { INSTANCE } else { 0 };
                frames.push(Frame { weight, is_module: encoding == Encoding::Module, ..Frame::default() });
            }
            Payload::End(_) => {
                let Some(done) = frames.pop() else { return Err(invalid("it ends twice")) };
                let Some(outer) = frames.last_mut() else { return Ok((done.weight, heaviest)) };
                if done.is_module {
                    heaviest = heaviest.max(done.weight);
                    outer.modules.push(done.weight);
                } else {
                    outer.components.push(Some(done.weight));
                }
            }
            payload => {
                // Taken out of the stack, so that the frames around it are accessible.
                let Some(mut frame) = frames.pop() else { return Err(invalid("it does not begin with a version")) };
                let read = if frame.is_module {
                    module(&mut frame, payload)
                } else {
                    component(&mut frame, &frames, payload, unknown_module)
                };
                read?;
                frames.push(frame);
            }
        }
    }
    Err(invalid("it has no end"))
}

fn module(frame: &mut Frame, payload: Payload<'_>) -> Result<(), Refusal> {
    let many = |count: u32, each: u64| u64::from(count).saturating_mul(each);
    let more = match payload {
        Payload::ImportSection(imports) => {
            let mut bytes = 0_u64;
            for import in imports.into_imports() {
                // A re-exported one has an additional reference.
                bytes += match import.map_err(invalid)?.ty {
                    TypeRef::Func(_) | TypeRef::FuncExact(_) => IMPORT + FUNCTION,
                    _ => IMPORT,
                };
            }
            bytes
        }
        Payload::FunctionSection(functions) => many(functions.count(), FUNCTION),
        Payload::GlobalSection(globals) => many(globals.count(), GLOBAL),
        Payload::TagSection(tags) => many(tags.count(), TAG),
        Payload::TableSection(tables) => many(tables.count(), TABLE),
        Payload::MemorySection(memories) => many(memories.count(), MEMORY),
        Payload::ElementSection(segments) => many(segments.count(), SEGMENT),
        Payload::DataSection(segments) => many(segments.count(), SEGMENT),
        _ => 0,
    };
    frame.weight = frame.weight.saturating_add(more);
    Ok(())
}

fn component(frame: &mut Frame, outer: &[Frame], payload: Payload<'_>, unknown_module: u64) -> Result<(), Refusal> {
    match payload {
        Payload::InstanceSection(instances) => {
            for instance in instances {
                if let Instance::Instantiate { module_index, .. } = instance.map_err(invalid)? {
                    let weight = frame.modules.get(module_index as usize).copied().unwrap_or(unknown_module);
                    frame.weight = frame.weight.saturating_add(weight);
                }
            }
        }
        Payload::ComponentInstanceSection(instances) => {
            for instance in instances {
                if let ComponentInstance::Instantiate { component_index, .. } = instance.map_err(invalid)? {
                    let weight = frame.components.get(component_index as usize).copied().flatten();
                    let weight = weight.ok_or_else(unknown)?;
                    frame.weight = frame.weight.saturating_add(weight).saturating_add(ITEM);
                }
            }
        }
        Payload::ComponentAliasSection(aliases) => {
            for alias in aliases {
                named(frame, outer, &alias.map_err(invalid)?, unknown_module)?;
            }
        }
        Payload::ComponentImportSection(imports) => {
            for import in imports {
                match import.map_err(invalid)?.ty {
                    ComponentTypeRef::Module(_) => frame.modules.push(unknown_module),
                    ComponentTypeRef::Component(_) => frame.components.push(None),
                    _ => {}
                }
                frame.weight = frame.weight.saturating_add(ITEM);
            }
        }
        Payload::ComponentExportSection(exports) => {
            for export in exports {
                let export = export.map_err(invalid)?;
                // An export has a new index in here.
                let index = export.index as usize;
                match export.kind {
                    ComponentExternalKind::Module => {
                        frame.modules.push(frame.modules.get(index).copied().unwrap_or(unknown_module));
                    }
                    ComponentExternalKind::Component => {
                        frame.components.push(frame.components.get(index).copied().flatten());
                    }
                    _ => {}
                }
                frame.weight = frame.weight.saturating_add(ITEM);
            }
        }
        Payload::ComponentCanonicalSection(functions) => {
            frame.weight = frame.weight.saturating_add(u64::from(functions.count()).saturating_mul(ITEM));
        }
        _ => {}
    }
    Ok(())
}

/// Names modules and components from outside.
fn named(frame: &mut Frame, outer: &[Frame], alias: &ComponentAlias<'_>, unknown_module: u64) -> Result<(), Refusal> {
    match *alias {
        ComponentAlias::Outer { kind, count, index } => {
            let (count, index) = (count as usize, index as usize);
            let from =
                if count == 0 { Some(&*frame) } else { outer.len().checked_sub(count).and_then(|at| outer.get(at)) };
            let from = from.ok_or_else(|| invalid("an alias refers outside the component"))?;
            match kind {
                ComponentOuterAliasKind::CoreModule => {
                    let weight = from.modules.get(index).copied().unwrap_or(unknown_module);
                    frame.modules.push(weight);
                }
                ComponentOuterAliasKind::Component => {
                    let weight = from.components.get(index).copied().flatten();
                    frame.components.push(weight);
                }
                ComponentOuterAliasKind::CoreType | ComponentOuterAliasKind::Type => {}
            }
        }
        ComponentAlias::InstanceExport { kind: ComponentExternalKind::Module, .. } => {
            frame.modules.push(unknown_module);
        }
        ComponentAlias::InstanceExport { kind: ComponentExternalKind::Component, .. } => {
            frame.components.push(None);
        }
        ComponentAlias::InstanceExport { .. } | ComponentAlias::CoreInstanceExport { .. } => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(text: &str) -> Result<u64, Refusal> {
        instance_weight(&wat::parse_str(text).unwrap())
    }

    fn module(functions: usize) -> String {
        format!("(core module $m {})", "(func)".repeat(functions))
    }

    #[test]
    fn instances_count_as_often_as_they_are_made() {
        let m = module(100);
        let one = INSTANCE + 100 * FUNCTION;
        let instances = "(core instance (instantiate $m))";
        assert_eq!(weight(&format!("(component {m})")).unwrap(), 0, "it is never instantiated");
        assert_eq!(weight(&format!("(component {m} {})", instances.repeat(3))).unwrap(), 3 * one);
        let nested = format!(
            "(component (component $c {m} {instances} {instances}) (instance (instantiate $c)) (instance (instantiate $c)))"
        );
        assert_eq!(weight(&nested).unwrap(), 4 * one + 2 * ITEM);
        let outer = format!(
            "(component $o {m} (component $c (alias outer $o $m (core module $n)) (core instance (instantiate $n))) (instance (instantiate $c)))"
        );
        assert_eq!(weight(&outer).unwrap(), one + ITEM);
        // A module of an instance: it counts as the heaviest.
        let exported = format!(
            "(component (component $c {m} (export \"m\" (core module $m))) (instance $i (instantiate $c)) (alias export $i \"m\" (core module $n)) (core instance (instantiate $n)))"
        );
        assert!(weight(&exported).unwrap() >= one);
        let imports = "(core module $m (import \"a\" \"b\" (func)) (import \"a\" \"g\" (global i32)) (memory 1) (table 3 funcref) (global i32 (i32.const 1)))";
        assert_eq!(weight(&format!("(component {imports} (core module $a (func (export \"b\")) (global (export \"g\") i32 (i32.const 0))) (core instance $x (instantiate $a)) (core instance (instantiate $m (with \"a\" (instance $x)))))")).unwrap(),
            2 * INSTANCE + 2 * IMPORT + 2 * FUNCTION + 2 * GLOBAL + MEMORY + TABLE);
    }

    #[test]
    fn few_bytes_cannot_stand_for_very_many() {
        let instances = "(core instance (instantiate $m))".repeat(500);
        let heavy = format!("(component {} {instances})", module(10_000));
        assert!(matches!(weight(&heavy), Err(Refusal::Heavy(bytes)) if bytes > 500 * 10_000 * FUNCTION));
        // Each level instantiates the one below it ten times.
        let mut text = format!("(component $c {} (core instance (instantiate $m)))", module(1));
        for _ in 0..20 {
            text = format!("(component $c {text} {})", "(instance (instantiate $c))".repeat(10));
        }
        assert!(matches!(weight(&text), Err(Refusal::Heavy(u64::MAX))));
        let given = "(component (component $c (import \"x\" (component $x)) (instance (instantiate $x))) (component $d) (instance (instantiate $c (with \"x\" (component $d)))))";
        assert!(matches!(weight(given), Err(Refusal::Invalid(_))));
        assert!(instance_weight(b"").is_err() && instance_weight(b"\0asm\x0d\0\x01\0\xff").is_err());
    }
}
