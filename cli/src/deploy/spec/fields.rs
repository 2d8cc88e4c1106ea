//! The fields that a file may set, of a deployment (`--spec FILE`) or of an environment (`--settings FILE`), and what each of
//! them takes. A wrong one is told with its line, its path, what was expected, and the known name that is closest.

use serde_json::{Map, Value, json};

use super::node::{Content, Field, Node};

/// Findings of one file that are told.
const MAX_FINDINGS: usize = 8;
/// Changes of letters by which a name may differ from the one that is proposed.
const MAX_CHANGES: usize = 3;

/// The kinds of values.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Text,
    /// An amount of CPU or memory: a text, or a number without a unit.
    Quantity,
    Flag,
    /// A whole number that is not negative.
    Number,
    OneOf(&'static [&'static str]),
    List(&'static Kind),
    /// Names of the user's choice, each with a text.
    Texts,
    Object(&'static [(&'static str, Kind)]),
}

use Kind::{Flag, List, Number, Object, OneOf, Quantity, Text, Texts};

const PROBE: Kind = Object(&[
    ("http", Object(&[("port", Number), ("path", Text)])),
    ("tcp", Object(&[("port", Number)])),
    ("exec", Object(&[("command", List(&Text))])),
    ("none", Flag),
    ("period_s", Number),
    ("timeout_s", Number),
    ("failures", Number),
]);
const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];
const SPEC: Kind = Object(&[
    ("env", Texts),
    ("secrets", List(&Text)),
    ("resources", Object(&[("cpu", Quantity), ("memory", Quantity), ("ephemeral_storage", Quantity)])),
    (
        "pod",
        Object(&[
            ("labels", Texts),
            ("annotations", Texts),
            ("tolerations", List(&Object(&[("key", Text), ("value", Text), ("effect", OneOf(EFFECTS))]))),
            ("priority_class", Text),
            (
                "volumes",
                List(&Object(&[
                    ("name", Text),
                    ("mount_path", Text),
                    ("claim", Text),
                    ("size", Quantity),
                    ("read_only", Flag),
                ])),
            ),
            ("replicas", Number),
        ]),
    ),
    ("health", Object(&[("readiness", PROBE), ("liveness", PROBE), ("min_ready_s", Number), ("start_s", Number)])),
]);

/// The settings of an environment.
pub(crate) const ENVIRONMENT: Kind = Object(&[
    ("kind", OneOf(&["self_deployed", "cloud"])),
    ("images", Text),
    ("images_pull", Text),
    ("plain_http", Flag),
    ("ca", Text),
    ("username", Text),
    ("password", Text),
    ("kubeconfig", Text),
    ("context", Text),
    ("namespace", Text),
    ("architecture", OneOf(&["amd64", "arm64"])),
    ("runtime_class", Text),
    ("image_pull_secrets", List(&Text)),
    ("allow_in_images", List(&Text)),
    ("compression", OneOf(&["auto", "gzip", "zstd", "none"])),
    ("resources", Object(&[("cpu", Quantity), ("memory", Quantity), ("ephemeral_storage", Quantity)])),
    (
        "pods",
        Object(&[
            ("labels", List(&Text)),
            ("annotations", List(&Text)),
            ("tolerations", List(&Text)),
            ("priority_classes", List(&Text)),
            ("claims", List(&Text)),
            ("max_replicas", Number),
        ]),
    ),
    ("env", Texts),
    ("bucket", Text),
    ("bucket_prefix", Text),
    ("region", Text),
    ("endpoint", Text),
    ("access_key_id", Text),
    ("secret_access_key", Text),
    ("ecr", Flag),
]);

/// The settings of a deployment's file.
///
/// # Errors
/// As [`checked`].
pub(super) fn settings(file: &Node, name: &str) -> Result<Map<String, Value>, Vec<String>> {
    checked(file, name, SPEC)
}

/// The settings of a file, each of the kind that it has to have.
///
/// # Errors
/// The findings, a sentence each, with the file's name and the line.
pub(crate) fn checked(file: &Node, name: &str, kind: Kind) -> Result<Map<String, Value>, Vec<String>> {
    let mut reading = Reading { findings: Vec::new(), name };
    match reading.value(file, kind, "") {
        Some(Value::Object(settings)) if reading.findings.is_empty() => Ok(settings),
        _ => Err(reading.findings),
    }
}

/// The line of a path such as `pod.volumes`, or of the last part of it that is there.
pub(super) fn line_of(file: &Node, path: &str) -> u64 {
    let (mut node, mut line) = (file, file.line);
    for part in path.split('.') {
        let Content::Object(fields) = &node.value else { break };
        let Some(field) = fields.iter().find(|field| field.name == part) else { break };
        (node, line) = (&field.node, field.line);
    }
    line
}

struct Reading<'a> {
    findings: Vec<String>,
    name: &'a str,
}

impl Reading<'_> {
    fn found(&mut self, line: u64, path: &str, what: &str) {
        if self.findings.len() < MAX_FINDINGS {
            let path = if path.is_empty() { String::new() } else { format!("{path}: ") };
            self.findings.push(format!("{}, line {line}: {path}{what}", self.name));
        }
    }

    /// The value as the API takes it; `None` for one that is wrong or not given.
    fn value(&mut self, node: &Node, kind: Kind, path: &str) -> Option<Value> {
        Some(match (kind, &node.value) {
            (_, Content::Null) if !path.is_empty() => return None,
            (Text | Quantity, Content::Text(text)) => json!(text),
            (Quantity, Content::Number(number)) => json!(quantity(number)),
            (Flag, Content::Flag(flag)) => json!(flag),
            (Number, Content::Number(number)) if number.as_u64().is_some_and(|number| number <= u32::MAX.into()) => {
                json!(number)
            }
            (OneOf(names), Content::Text(text)) if names.contains(&text.as_str()) => json!(text),
            (List(kind), Content::List(items)) => {
                let each = items.iter().enumerate();
                json!(
                    each.filter_map(|(at, item)| self.value(item, *kind, &format!("{path}[{at}]"))).collect::<Vec<_>>()
                )
            }
            (Texts, Content::Object(fields)) => {
                let each = fields.iter().filter_map(|field| self.text(field, path)).collect::<Map<_, _>>();
                Value::Object(each)
            }
            (Object(known), Content::Object(fields)) => {
                let each = fields.iter().filter_map(|field| self.field(field, known, path)).collect::<Map<_, _>>();
                Value::Object(each)
            }
            (kind, content) => {
                self.found(node.line, path, &expected(kind, content));
                return None;
            }
        })
    }

    fn text(&mut self, field: &Field, path: &str) -> Option<(String, Value)> {
        let path = format!("{path}.{}", field.name);
        // Without the value: it may be a secret.
        Some((field.name.clone(), self.value(&field.node, Text, &path)?))
    }

    fn field(&mut self, field: &Field, known: &'static [(&str, Kind)], path: &str) -> Option<(String, Value)> {
        let at = if path.is_empty() { field.name.clone() } else { format!("{path}.{}", field.name) };
        let Some((_, kind)) = known.iter().find(|(name, _)| *name == field.name) else {
            let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
            let meant = closest(&field.name, &names).map(|name| format!("; did you mean `{name}`?"));
            let meant = meant.unwrap_or_else(|| ".".to_owned());
            self.found(field.line, &at, &format!("there is no such field{meant} There are: {}", names.join(", ")));
            return None;
        };
        Some((field.name.clone(), self.value(&field.node, *kind, &at)?))
    }
}

/// A number as a Kubernetes quantity.
fn quantity(number: &serde_json::Number) -> String {
    match (number.as_u64(), number.as_f64()) {
        (None, Some(float)) => float.to_string(),
        _ => number.to_string(),
    }
}

fn expected(kind: Kind, content: &Content) -> String {
    let wanted = match kind {
        Text if matches!(content, Content::Number(_) | Content::Flag(_)) => {
            return format!("expected a text, and this is {}: write it in quotes", content.kind());
        }
        Text => "a text".to_owned(),
        Quantity => "an amount, such as 500m or 512Mi".to_owned(),
        Flag => "true or false".to_owned(),
        Number => "a whole number".to_owned(),
        OneOf(names) => names.join(", "),
        List(_) => "a list".to_owned(),
        Texts => "an object of NAME: VALUE".to_owned(),
        Object(known) => {
            format!("an object with {}", known.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "))
        }
    };
    match (kind, content) {
        (OneOf(_), Content::Text(text)) => format!("expected one of {wanted}, and this is {text:?}"),
        _ => format!("expected {wanted}, and this is {}", content.kind()),
    }
}

/// The known name that differs least.
fn closest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let all = known.iter().map(|known| (changes(&name.to_lowercase(), known), *known));
    let (fewest, closest) = all.min_by_key(|(changes, _)| *changes)?;
    (fewest <= MAX_CHANGES && fewest < closest.len()).then_some(closest)
}

/// The letters to change, add or take away (Levenshtein).
fn changes(one: &str, two: &str) -> usize {
    let two: Vec<char> = two.chars().collect();
    let mut row: Vec<usize> = (0..=two.len()).collect();
    for (at, left) in one.chars().enumerate() {
        let mut diagonal = at;
        let mut before = at + 1;
        for (place, right) in row.iter_mut().skip(1).zip(&two) {
            let changed = (diagonal + usize::from(left != *right)).min(before + 1).min(*place + 1);
            diagonal = std::mem::replace(place, changed);
            before = changed;
        }
        if let Some(first) = row.first_mut() {
            *first = at + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use cofferdam_contract::{
        ExecProbe, Health, HttpProbe, PodSettings, Probe, Resources, TaintEffect, TcpProbe, Toleration, Volume,
    };

    use super::super::node::parse;
    use super::*;

    fn read(text: &str) -> Result<Value, String> {
        settings(&parse(text, "f.yaml").unwrap(), "f.yaml").map(Value::Object).map_err(|all| all.join("\n"))
    }

    #[test]
    fn amounts_may_be_numbers() {
        for (text, right) in [
            ("resources: {cpu: 1}", json!({"resources": {"cpu": "1"}})),
            ("resources: {cpu: 0.5, memory: 536870912}", json!({"resources": {"cpu": "0.5", "memory": "536870912"}})),
            ("{\"resources\": {\"cpu\": \"500m\"}}", json!({"resources": {"cpu": "500m"}})),
            ("env:\nsecrets: [A]\n", json!({"secrets": ["A"]})),
            ("pod: {labels: {team: \"007\"}}", json!({"pod": {"labels": {"team": "007"}}})),
        ] {
            assert_eq!(read(text), Ok(right), "{text}");
        }
    }

    #[test]
    fn a_wrong_field_is_told_with_line_path_and_the_closest_name() {
        for (text, said) in [
            (
                "resource: {cpu: 1}",
                "f.yaml, line 1: resource: there is no such field; did you mean `resources`? There are: env, ",
            ),
            (
                "resources:\n  cpus: 1",
                "f.yaml, line 2: resources.cpus: there is no such field; did you mean `cpu`? There are: cpu, ",
            ),
            ("pod:\n  replicas: two", "f.yaml, line 2: pod.replicas: expected a whole number, and this is a text"),
            ("pod: {replicas: -1}", "pod.replicas: expected a whole number"),
            ("pod: {labels: {team: 7}}", "pod.labels.team: expected a text, and this is a number: write it in quotes"),
            ("env: [A=1]", "f.yaml, line 1: env: expected an object of NAME: VALUE, and this is a list"),
            (
                "pod:\n  tolerations:\n    - key: a\n      effect: Never",
                "line 4: pod.tolerations[0].effect: expected one of NoSchedule",
            ),
            ("health: {readiness: {http: 8080}}", "health.readiness.http: expected an object with port, path"),
            ("image: x", "image: there is no such field. There are:"),
            ("[1]", "f.yaml, line 1: expected an object with env, secrets, resources, pod, health, and this is a list"),
        ] {
            let found = read(text).unwrap_err();
            assert!(found.contains(said), "{text}: {found}");
        }
        let both = read("env: 1\npod: 2").unwrap_err();
        assert_eq!(both.lines().count(), 2, "{both}");
        let secret = read("env: {TOKEN: [hush]}").unwrap_err();
        assert!(!secret.contains("hush"), "{secret}");
    }

    #[test]
    fn lines_are_found_by_path() {
        let file = parse("resources:\n  cpu: 1\npod:\n  volumes:\n    - name: a\n", "f").unwrap();
        assert_eq!(
            [line_of(&file, "resources.cpu"), line_of(&file, "pod.volumes"), line_of(&file, "pod.none")],
            [2, 4, 3]
        );
    }

    #[test]
    fn every_field_of_the_contract_is_known() {
        // Without `..`: a field that is added there does not compile until it stands here, and is refused until it is known.
        let text = || Some("1".to_owned());
        let probe = || {
            Some(Probe {
                http: Some(HttpProbe { port: 1, path: text() }),
                tcp: Some(TcpProbe { port: 1 }),
                exec: Some(ExecProbe { command: vec!["a".to_owned()] }),
                none: true,
                period_s: Some(1),
                timeout_s: Some(1),
                failures: Some(1),
            })
        };
        let health = Health { readiness: probe(), liveness: probe(), min_ready_s: Some(1), start_s: Some(1) };
        let resources = Resources { cpu: text(), memory: text(), ephemeral_storage: text() };
        let keys = || BTreeMap::from([("a".to_owned(), "b".to_owned())]);
        let effect = Some(TaintEffect::NoExecute);
        let pod = PodSettings {
            labels: keys(),
            annotations: keys(),
            tolerations: vec![Toleration { key: "a".to_owned(), value: text(), effect }],
            priority_class: text(),
            volumes: vec![Volume {
                name: "a".to_owned(),
                mount_path: "/a".to_owned(),
                claim: text(),
                size: text(),
                read_only: true,
            }],
            replicas: Some(1),
        };
        let whole = json!({"env": {"A": "1"}, "secrets": ["S"], "resources": resources, "pod": pod, "health": health});
        assert_eq!(read(&whole.to_string()), Ok(whole));
    }
}
