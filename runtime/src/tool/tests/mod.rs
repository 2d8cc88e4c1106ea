//! Components of the tests, in WebAssembly text. Most only re-export their imports: they have all the types and no
//! code.

mod check;
mod compiled;
mod described;
mod values;

use std::sync::LazyLock;

use wasmtime::Engine;
use wasmtime::component::Component;
use wasmtime::component::types::{ComponentFunc, ComponentItem};

use super::embed::append_section;
use super::{Signature, Unfit};
use crate::engine::tool_engine;

pub(super) static ENGINE: LazyLock<Engine> = LazyLock::new(|| tool_engine().unwrap());

/// A component from its text.
pub(super) fn component(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// A component that exports an interface with these declarations and no implementation, to be described.
pub(super) fn exporting(interface: &str, declarations: &str) -> Vec<u8> {
    component(&format!(
        "(component (import \"test:deps/source\" (instance $i {declarations})) (export \"{interface}\" (instance $i)))"
    ))
}

/// The signature of the function `f` of an interface with these declarations, as a compiled component has it.
pub(super) fn signature(declarations: &str) -> Result<Signature, Unfit> {
    let text = format!("(component (import \"test:deps/source\" (instance {declarations})))");
    let component = Component::new(&ENGINE, component(&text)).unwrap();
    let ty = component.component_type();
    Signature::of(&function(ty.get_import(&ENGINE, "test:deps/source").unwrap().ty, "f"))
}

/// A component with a custom section appended.
pub(super) fn with_section(mut component: Vec<u8>, name: &str, data: &[u8]) -> Vec<u8> {
    append_section(&mut component, name, data);
    component
}

/// A function that a compiled component exports.
pub(super) fn exported(component: &Component, interface: &str, name: &str) -> ComponentFunc {
    let ty = component.component_type();
    function(ty.get_export(&ENGINE, interface).unwrap().ty, name)
}

fn function(instance: ComponentItem, name: &str) -> ComponentFunc {
    let ComponentItem::ComponentInstance(instance) = instance else { panic!("{instance:?}") };
    match instance.get_export(&ENGINE, name).map(|e| e.ty) {
        Some(ComponentItem::ComponentFunc(func)) => func,
        other => panic!("{name}: {other:?}"),
    }
}

/// SplitMix64.
pub(super) struct Random(pub u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    pub(super) fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }
}
