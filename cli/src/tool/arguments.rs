//! Reads a call's function and arguments from the words of the command line. The schema decides the types: `id=007` is text
//! if the tool wants text, and a number if it wants a number.

use anyhow::{Context, bail};
use cofferdam_contract::ToolFunction;
use serde_json::{Map, Value};

/// The function, and the words that are left for its arguments.
pub(super) fn function<'a, 'w>(
    functions: &'a [ToolFunction],
    words: &'w [String],
) -> anyhow::Result<(&'a ToolFunction, &'w [String])> {
    if let Some((first, rest)) = words.split_first() {
        let exact = functions.iter().find(|f| f.name == *first);
        let mut short = functions.iter().filter(|f| f.export.function == *first);
        let only = short.next().filter(|_| short.next().is_none());
        if let Some(function) = exact.or(only) {
            return Ok((function, rest));
        }
    }
    let names = || functions.iter().map(|f| f.name.as_str()).collect::<Vec<_>>().join(", ");
    match (functions, words.first()) {
        ([only], None) => Ok((only, words)),
        ([only], Some(word)) if is_argument(word) => Ok((only, words)),
        (_, Some(word)) if !is_argument(word) => bail!("there is no function {word:?}; the tool has {}", names()),
        _ => bail!("name a function: {}", names()),
    }
}

fn is_argument(word: &str) -> bool {
    word == "-" || word.contains('=') || word.trim_start().starts_with('{')
}

/// The arguments as a JSON object. `-` calls `stdin`.
pub(super) fn arguments(
    function: &ToolFunction,
    words: &[String],
    stdin: impl FnOnce() -> anyhow::Result<String>,
) -> anyhow::Result<Vec<u8>> {
    match words {
        [one] if one == "-" => Ok(stdin()?.into_bytes()),
        // Sent unchanged: numbers keep all their digits, and the server reports errors.
        [one] if one.trim_start().starts_with('{') => Ok(one.clone().into_bytes()),
        pairs => {
            let mut object = Map::new();
            for pair in pairs {
                let (name, text) = pair.split_once('=').with_context(|| format!("{pair:?} is not NAME=VALUE"))?;
                let schema = function.input_schema.pointer(&format!("/properties/{name}"));
                if object.insert(name.to_owned(), value(schema, text)).is_some() {
                    bail!("{name} is given twice");
                }
            }
            Ok(serde_json::to_vec(&object)?)
        }
    }
}

fn value(schema: Option<&Value>, text: &str) -> Value {
    let string = || Value::String(text.to_owned());
    match schema.and_then(|schema| schema["type"].as_str()) {
        Some("string") => string(),
        _ => serde_json::from_str(text).unwrap_or_else(|_| string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_contract::ExportPath;
    use serde_json::json;

    fn tool(name: &str, export: &str) -> ToolFunction {
        ToolFunction {
            name: name.into(),
            description: String::new(),
            input_schema: json!({"properties": {"id": {"type": "string"}, "n": {"type": "integer"}}}),
            output_schema: json!({}),
            export: ExportPath { interface: None, function: export.into() },
            examples: vec![],
            read_only: None,
            destructive: None,
            idempotent: None,
        }
    }

    fn words(text: &str) -> Vec<String> {
        text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }

    #[test]
    fn the_function_is_found_or_asked_for() {
        let one = [tool("add", "add")];
        let two = [tool("math-ops-add", "add"), tool("math-ops-sub", "sub")];
        let same = [tool("a-x-run", "run"), tool("a-y-run", "run")];
        for (functions, line, expected) in [
            (&one[..], "", Ok(("add", 0))),
            (&one, "n=1", Ok(("add", 1))),
            (&one, "add n=1", Ok(("add", 1))),
            (&one, "{}", Ok(("add", 1))),
            (&one, "-", Ok(("add", 1))),
            (&one, "sub", Err("no function \"sub\"")),
            (&two, "add n=1 id=2", Ok(("math-ops-add", 2))),
            (&two, "math-ops-sub", Ok(("math-ops-sub", 0))),
            (&two, "n=1", Err("name a function")),
            (&two, "", Err("name a function")),
            (&same, "run", Err("no function \"run\"")),
        ] {
            let words = words(line);
            match (function(functions, &words), expected) {
                (Ok((found, rest)), Ok((name, left))) => {
                    assert_eq!((found.name.as_str(), rest.len()), (name, left), "{line}");
                }
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{line}: {error}"),
                (got, _) => panic!("{line}: {:?}", got.map(|(f, _)| f.name.clone())),
            }
        }
    }

    #[test]
    fn values_have_the_types_of_the_schema() {
        let tool = tool("add", "add");
        let read = |line: &str| {
            let bytes = arguments(&tool, &words(line), || Ok("{\"n\":9}".into())).map_err(|e| e.to_string())?;
            serde_json::from_slice::<Value>(&bytes).map_err(|e| e.to_string())
        };
        assert_eq!(read("id=007 n=7"), Ok(json!({"id": "007", "n": 7})));
        assert_eq!(read("n=x other=[1] text=a=b"), Ok(json!({"n": "x", "other": [1], "text": "a=b"})));
        assert_eq!(read("-"), Ok(json!({"n": 9})));
        assert_eq!(read(r#"{"n":1}"#), Ok(json!({"n": 1})));
        assert_eq!(read(""), Ok(json!({})));
        assert!(read("n=1 n=2").is_err() && read("n=1 x").is_err());
    }
}
