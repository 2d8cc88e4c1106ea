//! The tool names of a component's functions, and the exports that are not tools.

use wasmparser::names::{ComponentName, ComponentNameKind};

/// The interface that describes a component's functions. It is called for that, and is not a tool.
pub(super) const DESCRIBE: &str = "cofferdam:tool/describe";
pub(super) const DESCRIBE_FUNCTION: &str = "describe";
/// Most model providers limit names to 64 characters.
pub(super) const GOOD_NAME_BYTES: usize = 64;
pub(super) const MAX_NAME_BYTES: usize = 128;

/// The meaning of an exported instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Interface {
    /// Its functions are tools, with this name prefix.
    Tools { prefix: String, label: String },
    /// `cofferdam:tool/describe`.
    Describe,
    /// A WASI interface, which the host calls for its own purposes.
    System,
    /// A name that is not valid for a WIT interface.
    Other,
}

pub(super) fn interface(name: &str) -> Interface {
    let Ok(parsed) = ComponentName::new(name, 0) else { return Interface::Other };
    match parsed.kind() {
        ComponentNameKind::Interface(id) => {
            let bare = name.split('@').next().unwrap_or(name);
            match id.namespace().as_str() {
                "wasi" => Interface::System,
                _ if bare == DESCRIBE => Interface::Describe,
                _ => {
                    let label = id.interface().as_str().to_owned();
                    Interface::Tools { prefix: format!("{}-{label}", id.package().as_str()), label }
                }
            }
        }
        ComponentNameKind::Label(label) => {
            Interface::Tools { prefix: label.as_str().to_owned(), label: label.as_str().to_owned() }
        }
        _ => Interface::Other,
    }
}

/// True if the function does not belong to a resource.
pub(super) fn is_plain(function: &str) -> bool {
    ComponentName::new(function, 0).is_ok_and(|name| matches!(name.kind(), ComponentNameKind::Label(_)))
}

/// True for the toolchain's own function: componentize-py calls it while it builds the component, and leaves it
/// exported.
pub(super) fn is_toolchains<'a>(interface: &str, function: &str, mut params: impl Iterator<Item = &'a str>) -> bool {
    interface == "exports"
        && function == "init"
        && params.next() == Some("app-name")
        && params.next() == Some("symbols")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_of_package_and_interface() {
        let tools = |prefix: &str, label: &str| Interface::Tools { prefix: prefix.into(), label: label.into() };
        for (name, expected) in [
            ("example:hello/greeting@0.1.0", tools("hello-greeting", "greeting")),
            ("a:b-c/d-e", tools("b-c-d-e", "d-e")),
            ("inline", tools("inline", "inline")),
            ("wasi:cli/run@0.2.0", Interface::System),
            ("wasi:http/incoming-handler@0.2.3", Interface::System),
            ("cofferdam:tool/describe@0.1.0", Interface::Describe),
            ("cofferdam:tool/other", tools("tool-other", "other")),
            ("url=<https://example.com>", Interface::Other),
        ] {
            assert_eq!(interface(name), expected, "{name}");
        }
        assert!(is_toolchains("exports", "init", ["app-name", "symbols", "stub-wasi"].into_iter()));
        assert!(!is_toolchains("exports", "init", ["app-name"].into_iter()));
        assert!(!is_toolchains("a:b/exports", "init", ["app-name", "symbols"].into_iter()));
        for (name, plain) in [("greet", true), ("[method]cat.meow", false), ("[constructor]cat", false)] {
            assert_eq!(is_plain(name), plain, "{name}");
        }
    }
}
