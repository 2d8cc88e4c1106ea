//! Merges the descriptions that a component gives of its own functions (`cofferdam:tool/describe`) into those derived
//! from its types. The component is untrusted, so its texts are bounded, and an entry that matches no function becomes
//! a warning.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::tool::Component;

/// Bounds for one function.
const MAX_DESCRIPTION_BYTES: usize = 8 << 10;
const MAX_EXAMPLES: usize = 16;
const MAX_EXAMPLE_BYTES: usize = 4 << 10;

/// `function-info` of `wit/tool/tool.wit`, as its JSON.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct FunctionInfo {
    pub name: String,
    pub description: Option<String>,
    pub examples: Vec<String>,
    pub read_only: Option<bool>,
    pub destructive: Option<bool>,
    pub idempotent: Option<bool>,
}

impl Component {
    /// Applies the component's own descriptions. An unusable one becomes a warning.
    pub fn take_in(&mut self, said: Vec<FunctionInfo>) {
        for info in said {
            let named = |function: &&mut crate::ToolFunction| {
                function.name == info.name || function.export.function == info.name
            };
            let mut found: Vec<_> = self.functions.iter_mut().filter(named).collect();
            let [function] = found.as_mut_slice() else {
                let name: String = info.name.chars().take(64).collect();
                let why =
                    if found.is_empty() { "no function has that name" } else { "several functions have that name" };
                self.warnings.push(format!("the description of {name:?} was ignored: {why}"));
                continue;
            };
            if let Some(text) = info.description {
                let end = text.floor_char_boundary(MAX_DESCRIPTION_BYTES);
                function.description = text.get(..end).unwrap_or_default().trim().to_owned();
            }
            let good = |text: &String| {
                let value = (text.len() <= MAX_EXAMPLE_BYTES).then(|| serde_json::from_str::<Value>(text).ok());
                value.flatten().filter(Value::is_object)
            };
            let examples: Vec<Value> = info.examples.iter().take(MAX_EXAMPLES).filter_map(good).collect();
            if examples.len() < info.examples.len() {
                self.warnings.push(format!(
                    "some examples of {} were left out: each must be a JSON object of at most {MAX_EXAMPLE_BYTES} bytes, \
                     and at most {MAX_EXAMPLES} are kept",
                    function.name
                ));
            }
            function.examples = examples;
            function.read_only = info.read_only.or(function.read_only);
            function.destructive = info.destructive.or(function.destructive);
            function.idempotent = info.idempotent.or(function.idempotent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ExportPath, ToolFunction};

    fn function(name: &str, export: &str) -> ToolFunction {
        ToolFunction {
            name: name.into(),
            description: "as it was".into(),
            input_schema: Value::Null,
            output_schema: Value::Null,
            export: ExportPath { interface: None, function: export.into() },
            examples: Vec::new(),
            read_only: None,
            destructive: None,
            idempotent: None,
        }
    }

    #[test]
    fn what_a_component_says_is_laid_over_its_functions() {
        let mut component = Component {
            digest: String::new(),
            size_bytes: 0,
            functions: vec![function("a-b-one", "one"), function("a-b-two", "two"), function("c-d-two", "two")],
            imports: Vec::new(),
            warnings: Vec::new(),
            describe: None,
        };
        let said = r#"[
            {"name": "one", "description": " better ", "examples": ["{\"x\": 1}", "[]", "{"], "read-only": true},
            {"name": "two", "description": "which?"},
            {"name": "c-d-two", "idempotent": false, "examples": []},
            {"name": "three"}
        ]"#;
        component.take_in(serde_json::from_str(said).unwrap());
        let [one, two, other] = component.functions.as_slice() else { panic!() };
        assert_eq!((one.description.as_str(), one.read_only), ("better", Some(true)));
        assert_eq!(one.examples, [serde_json::json!({"x": 1})]);
        assert_eq!((two.description.as_str(), two.idempotent), ("as it was", None));
        assert_eq!((other.description.as_str(), other.idempotent), ("as it was", Some(false)));
        assert_eq!(component.warnings.len(), 3, "{:?}", component.warnings);
    }
}
