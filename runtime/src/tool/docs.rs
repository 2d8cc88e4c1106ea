//! Doc comments from a component's `package-docs` section, as `wit-parser` writes it: a version byte and JSON. The
//! bytes are untrusted: texts that cannot be read or assigned are left out, and are no reason to refuse the component.

use std::collections::BTreeMap;

use serde::Deserialize;

pub(super) const SECTION: &str = "package-docs";
/// The most bytes of all such sections of a component.
pub(super) const MAX_BYTES: usize = 1 << 20;

/// The longest text of a function, and of anything else.
const MAX_FUNCTION_DOCS: usize = 4 << 10;
const MAX_PART_DOCS: usize = 1 << 10;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Package {
    worlds: BTreeMap<String, World>,
    interfaces: BTreeMap<String, Interface>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct World {
    interfaces: BTreeMap<String, Interface>,
    interface_exports: BTreeMap<String, Interface>,
    interface_export_docs: BTreeMap<String, String>,
    types: BTreeMap<String, Type>,
    funcs: BTreeMap<String, Function>,
    func_exports: BTreeMap<String, Function>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Interface {
    docs: Option<String>,
    funcs: BTreeMap<String, Function>,
    types: BTreeMap<String, Type>,
}

/// The format's first version has only the text.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Function {
    Text(String),
    Docs { docs: Option<String> },
}

impl Function {
    fn text(&self) -> Option<&String> {
        match self {
            Self::Text(text) => Some(text),
            Self::Docs { docs } => docs.as_ref(),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Type {
    docs: Option<String>,
    /// For fields, cases and flags.
    items: BTreeMap<String, String>,
}

/// All texts of a component. If two sections have one for the same item, the first wins.
#[derive(Debug, Default)]
pub(super) struct Docs {
    packages: Vec<Package>,
    bytes: usize,
    /// The reason why a section was left out.
    pub problem: Option<String>,
}

impl Docs {
    /// Reads a section.
    pub(super) fn add(&mut self, section: &[u8]) {
        self.bytes = self.bytes.saturating_add(section.len());
        let read = match section.split_first() {
            _ if self.bytes > MAX_BYTES => Err(format!("there are more than {MAX_BYTES} bytes of them")),
            Some((0 | 1, json)) => serde_json::from_slice(json).map_err(|e| e.to_string()),
            _ => Err("they are in a format of another version".to_owned()),
        };
        match read {
            Ok(package) => self.packages.push(package),
            Err(problem) => self.problem = Some(problem),
        }
    }

    fn worlds(&self) -> impl Iterator<Item = &World> {
        self.packages.iter().flat_map(|package| package.worlds.values())
    }

    /// The interfaces with that label, including those inside a world.
    fn interfaces<'a>(&'a self, label: &'a str) -> impl Iterator<Item = &'a Interface> {
        let named = self.packages.iter().filter_map(move |package| package.interfaces.get(label));
        let inline = self
            .worlds()
            .filter_map(move |world| world.interface_exports.get(label).or_else(|| world.interfaces.get(label)));
        named.chain(inline)
    }

    /// The text of an exported interface, by full name and label.
    pub(super) fn interface(&self, name: &str, label: &str) -> Option<String> {
        let exported = self.worlds().filter_map(|world| world.interface_export_docs.get(name));
        let text = self.interfaces(label).filter_map(|i| i.docs.as_ref()).chain(exported).next()?;
        Some(clean(text, MAX_FUNCTION_DOCS))
    }

    /// The text of a function of an interface, or of one that the world itself exports.
    pub(super) fn function(&self, interface: Option<&str>, name: &str) -> Option<String> {
        let text = match interface {
            Some(label) => self.interfaces(label).find_map(|i| i.funcs.get(name)?.text()),
            None => {
                self.worlds().find_map(|world| world.func_exports.get(name).or_else(|| world.funcs.get(name))?.text())
            }
        };
        Some(clean(text?, MAX_FUNCTION_DOCS))
    }

    /// The texts of a type that an interface or the world defines.
    pub(super) fn of_type(&self, interface: Option<&str>, name: &str) -> Option<TypeDocs<'_>> {
        let found = match interface {
            Some(label) => self.packages.iter().find_map(|package| {
                let inline = || package.worlds.values().find_map(|w| w.interface_exports.get(label)?.types.get(name));
                package.interfaces.get(label).and_then(|i| i.types.get(name)).or_else(inline)
            }),
            None => self.worlds().find_map(|world| world.types.get(name)),
        };
        found.map(TypeDocs)
    }
}

/// The texts of one type.
#[derive(Debug, Clone, Copy)]
pub(super) struct TypeDocs<'a>(&'a Type);

impl TypeDocs<'_> {
    pub(super) fn text(&self) -> String {
        self.0.docs.as_ref().map(|text| clean(text, MAX_PART_DOCS)).unwrap_or_default()
    }

    pub(super) fn item(&self, name: &str) -> String {
        self.0.items.get(name).map(|text| clean(text, MAX_PART_DOCS)).unwrap_or_default()
    }
}

/// Trims the text, removes control characters, and cuts it to `most` bytes.
fn clean(text: &str, most: usize) -> String {
    let mut out: String =
        text.trim().chars().take(most).filter(|c| matches!(c, '\n' | '\t') || !c.is_control()).collect();
    if out.len() > most {
        out.truncate(out.floor_char_boundary(most));
    }
    out
}
