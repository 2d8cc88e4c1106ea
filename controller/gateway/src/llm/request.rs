//! Checks a guest's request to a model: the path, the model, the number of tokens. Pure.
//!
//! The gateway and the upstream must read a request in the same way, or a grant is bypassed: with a second `model`, or
//! with a `Model` (which some parsers take for it). Top-level names are therefore plain and appear once; checked values
//! are written anew, and the other values are passed on unchanged.

use std::fmt;

use cofferdam_contract::grants::LlmGrant;
use http::Method;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::refusal::{Refusal, short};
use crate::target::Target;

const MAX_FIELDS: usize = 128;
const MAX_FIELD_NAME: usize = 64;
/// Models shown in a refusal.
const MAX_SHOWN_MODELS: usize = 16;
/// Characters shown of a model's name that a guest wrote.
const MAX_SHOWN_NAME_CHARS: usize = 128;

/// The parts of OpenAI's API that are passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Chat,
    Embeddings,
    Models,
}

impl Service {
    /// The path below the base URL.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Chat => "/chat/completions",
            Self::Embeddings => "/embeddings",
            Self::Models => "/models",
        }
    }
}

/// The service that a request is for.
///
/// # Errors
/// Any other request.
pub(crate) fn service(method: &Method, target: &Target) -> Result<Service, Refusal> {
    if target.port != if target.https { 443 } else { 80 } {
        return Err(Refusal::policy("Models are at http://llm.cofferdam.internal/v1, on no other port."));
    }
    let path = target.path_and_query();
    let known = [(Method::POST, Service::Chat), (Method::POST, Service::Embeddings), (Method::GET, Service::Models)];
    let asked =
        known.into_iter().find(|(of, service)| of == method && path.strip_prefix("/v1") == Some(service.path()));
    asked.map(|(_, service)| service).ok_or_else(|| {
        Refusal::policy(
            "Models have POST /v1/chat/completions, POST /v1/embeddings and GET /v1/models, without a query.",
        )
    })
}

/// True when the grant covers the model.
pub(crate) fn granted(grant: &LlmGrant, model: &str) -> bool {
    grant.models.iter().any(|name| name == "*" || name == model)
}

/// Top-level names, each with its value unchanged.
struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields: Vec<(String, &'de RawValue)> = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
                    if name.is_empty() || name.len() > MAX_FIELD_NAME || !name.bytes().all(plain) {
                        let shown: String = name.chars().take(MAX_FIELD_NAME).collect();
                        return Err(A::Error::custom(format!("{shown:?}: names have only a-z, 0-9 and `_`")));
                    }
                    if fields.iter().any(|(other, _)| *other == name) {
                        return Err(A::Error::custom(format!("{name:?} appears twice")));
                    }
                    if fields.len() >= MAX_FIELDS {
                        return Err(A::Error::custom(format!("at most {MAX_FIELDS} fields")));
                    }
                    fields.push((name, map.next_value()?));
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

impl Fields<'_> {
    fn of<T: for<'b> Deserialize<'b>>(&self, name: &str) -> Result<Option<T>, Refusal> {
        let found = self.0.iter().find(|(field, _)| field == name);
        let read = |(_, raw): &(String, &RawValue)| serde_json::from_str::<Option<T>>(raw.get());
        let read = found.map(read).transpose().map(Option::flatten);
        read.map_err(|e| Refusal::malformed(format!("{name}: {}", short(&e))))
    }

    /// The body for the upstream: `checked` in the place of the guest's values of these names.
    fn written(&self, checked: &[(&str, String)]) -> Vec<u8> {
        let replaced = |name: &str| checked.iter().any(|(other, _)| *other == name);
        let others = self.0.iter().filter(|(name, _)| !replaced(name)).map(|(name, raw)| (name.as_str(), raw.get()));
        let checked = checked.iter().map(|(name, value)| (*name, value.as_str()));
        let fields: Vec<String> = checked.chain(others).map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}", fields.join(",")).into_bytes()
    }
}

/// The body as it goes to the upstream.
///
/// # Errors
/// An invalid request, or a model or a number of tokens that is not granted.
pub(crate) fn check(service: Service, body: &[u8], grant: &LlmGrant) -> Result<Vec<u8>, Refusal> {
    let fields: Fields<'_> = serde_json::from_slice(body)
        .map_err(|e| Refusal::malformed(format!("The request to a model is refused: {}.", short(&e))))?;
    let model: String = fields.of("model")?.ok_or_else(|| Refusal::malformed("model: name one."))?;
    if !granted(grant, &model) {
        let shown: String = model.chars().take(MAX_SHOWN_NAME_CHARS).collect();
        let has = grant.models.iter().take(MAX_SHOWN_MODELS).cloned().collect::<Vec<_>>().join(", ");
        return Err(Refusal::policy(format!("No grant covers the model {shown:?}; grants.llm.models has [{has}].")));
    }
    let mut checked = vec![("model", serde_json::Value::String(model).to_string())];
    if service == Service::Chat {
        tokens(&fields, grant, &mut checked)?;
    }
    Ok(fields.written(&checked))
}

/// Checks the number of tokens, under either of its names. Without one, the grant's is set.
fn tokens(fields: &Fields<'_>, grant: &LlmGrant, checked: &mut Vec<(&str, String)>) -> Result<(), Refusal> {
    const NAMES: [&str; 2] = ["max_completion_tokens", "max_tokens"];
    let asked: Option<u64> = fields.of("n")?;
    let choices = asked.unwrap_or(1);
    let mut given = false;
    for name in NAMES {
        let Some(asked) = fields.of::<u64>(name)? else { continue };
        let all = asked.checked_mul(choices.max(1)).filter(|all| *all <= grant.max_tokens);
        if all.is_none() {
            return Err(Refusal::policy(format!(
                "{name}: {asked} for each of {choices} choices; {} are granted for one request (grants.llm.max_tokens).",
                grant.max_tokens
            )));
        }
        given = true;
        checked.push((name, asked.to_string()));
    }
    if choices == 0 || choices > grant.max_tokens {
        let most = grant.max_tokens;
        return Err(Refusal::policy(format!("n: {choices} choices; {most} tokens are granted for one request.")));
    }
    checked.extend(asked.map(|n| ("n", n.to_string())));
    if !given {
        checked.push(("max_tokens", (grant.max_tokens / choices).to_string()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant() -> LlmGrant {
        LlmGrant { models: vec!["small".into(), "org/model:1".into()], max_tokens: 100, max_requests: 5 }
    }

    fn chat(body: &str) -> Result<String, String> {
        let checked = check(Service::Chat, body.as_bytes(), &grant());
        checked.map(|bytes| String::from_utf8(bytes).unwrap()).map_err(|refusal| refusal.problem.detail)
    }

    #[test]
    fn checked_values_are_the_ones_that_go_out() {
        for (body, sent) in [
            (r#"{"model":"small","messages":[]}"#, r#"{"model":"small","max_tokens":100,"messages":[]}"#),
            (
                r#"{"messages": [ 1.50 ], "model":"sm\u0061ll"}"#,
                r#"{"model":"small","max_tokens":100,"messages":[ 1.50 ]}"#,
            ),
            (r#"{"model":"small","max_tokens":7}"#, r#"{"model":"small","max_tokens":7}"#),
            (
                r#"{"model":"small","max_completion_tokens":50,"n":2}"#,
                r#"{"model":"small","max_completion_tokens":50,"n":2}"#,
            ),
            (r#"{"model":"small","n":3,"max_tokens":null}"#, r#"{"model":"small","n":3,"max_tokens":33}"#),
            (r#"{"m\u006fdel":"org/model:1","n":null}"#, r#"{"model":"org/model:1","max_tokens":100,"n":null}"#),
        ] {
            assert_eq!(chat(body).as_deref(), Ok(sent), "{body}");
        }
        // The order of a schema's properties is the order in which a model fills them.
        let schema = r#"{"model":"small","response_format":{"z":1,"a":2,"z":3},"max_tokens":1}"#;
        assert!(chat(schema).unwrap().ends_with(r#""response_format":{"z":1,"a":2,"z":3}}"#));
        let embeddings = check(Service::Embeddings, br#"{"model":"small","input":"x"}"#, &grant()).unwrap();
        assert_eq!(embeddings, br#"{"model":"small","input":"x"}"#);
    }

    #[test]
    fn ungranted_and_ambiguous_requests_are_refused() {
        let many: String = (0..200).map(|n| format!(r#","f{n}":1"#)).collect();
        for (body, part) in [
            (r#"{"model":"large"}"#, "No grant covers the model \"large\"; grants.llm.models has [small, org/model:1]"),
            (r#"{"model":"Small"}"#, "No grant"),
            (r#"{"model":"small "}"#, "No grant"),
            (r#"{"model":"*"}"#, "No grant"),
            (r#"{"messages":[]}"#, "model: name one"),
            (r#"{"model":null}"#, "model: name one"),
            (r#"{"model":["small"]}"#, "model: invalid type"),
            (r#"{"model":"\ud800"}"#, "model: "),
            (r#"{"model":"small","model":"large"}"#, "\"model\" appears twice"),
            (r#"{"model":"small","m\u006fdel":"large"}"#, "\"model\" appears twice"),
            (r#"{"model":"small","Model":"large"}"#, "names have only a-z"),
            ("{\"model\":\"small\",\"max_to\u{212a}ens\":9999}", "names have only a-z"),
            (r#"{"model":"small","max_tokens":101}"#, "100 are granted"),
            (r#"{"model":"small","max_tokens":1,"max_completion_tokens":101}"#, "100 are granted"),
            (r#"{"model":"small","max_tokens":51,"n":2}"#, "100 are granted"),
            (r#"{"model":"small","max_tokens":-1}"#, "max_tokens: invalid value"),
            (r#"{"model":"small","max_tokens":1.5}"#, "max_tokens: invalid type"),
            (r#"{"model":"small","max_tokens":"1"}"#, "max_tokens: invalid type"),
            (r#"{"model":"small","n":0}"#, "0 choices"),
            (r#"{"model":"small","n":18446744073709551615,"max_tokens":2}"#, "100 are granted"),
            (r#"{"model":"small","n":101}"#, "101 choices"),
            (r#"["small"]"#, "expected an object"),
            (r#"{"model":"small"} {"model":"large"}"#, "trailing characters"),
            (r#"{"model":"small""#, "EOF"),
            ("", "EOF"),
            (&format!(r#"{{"model":"small"{many}}}"#), "at most 128 fields"),
        ] {
            let why = chat(body).unwrap_err();
            assert!(why.contains(part), "{body}: {why}");
        }
        assert!(check(Service::Embeddings, br#"{"model":"large","input":"x"}"#, &grant()).is_err());
        assert!(check(Service::Chat, b"{\"model\":\"\xff\"}", &grant()).is_err());
    }

    #[test]
    fn three_paths_and_no_more() {
        for (method, url, expected) in [
            ("POST", "http://llm.cofferdam.internal/v1/chat/completions", Some(Service::Chat)),
            ("POST", "https://llm.cofferdam.internal/v1/embeddings", Some(Service::Embeddings)),
            ("GET", "http://LLM.cofferdam.internal./v1/models", Some(Service::Models)),
            ("POST", "http://llm.cofferdam.internal/v1/x/../chat/completions", Some(Service::Chat)),
            ("GET", "http://llm.cofferdam.internal/v1/chat/completions", None),
            ("POST", "http://llm.cofferdam.internal/v1/models", None),
            ("DELETE", "http://llm.cofferdam.internal/v1/models", None),
            ("GET", "http://llm.cofferdam.internal/v1/models/small", None),
            ("GET", "http://llm.cofferdam.internal/v1/models?x", None),
            ("GET", "http://llm.cofferdam.internal/v1/files", None),
            ("POST", "http://llm.cofferdam.internal/v1/chat/completions/", None),
            ("POST", "http://llm.cofferdam.internal/v1/chat%2fcompletions", None),
            ("POST", "http://llm.cofferdam.internal/v1/%63hat/completions", None),
            ("POST", "http://llm.cofferdam.internal/chat/completions", None),
            ("POST", "http://llm.cofferdam.internal:8080/v1/chat/completions", None),
            ("POST", "http://llm.cofferdam.internal:443/v1/chat/completions", None),
        ] {
            let found = service(&method.parse().unwrap(), &Target::parse(url).unwrap());
            assert_eq!(found.ok(), expected, "{method} {url}");
        }
    }
}
