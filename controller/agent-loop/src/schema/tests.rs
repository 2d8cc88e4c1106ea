use std::time::Instant;

use serde_json::json;

use super::*;

#[derive(serde::Deserialize)]
struct Case {
    schema: Value,
    good: Vec<Value>,
    bad: Vec<Value>,
}

#[test]
fn the_cases() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("cases.json")).unwrap();
    assert!(cases.len() > 25);
    for Case { schema, good, bad } in cases {
        let made = Schema::new(&schema).unwrap_or_else(|why| panic!("{schema}: {why}"));
        for value in good {
            assert_eq!(made.check(&value), [], "{value} fits {schema}");
        }
        for value in bad {
            assert!(!made.check(&value).is_empty(), "{value} does not fit {schema}");
        }
    }
}

#[test]
fn what_cannot_be_checked_is_refused() {
    let mut deep = json!({});
    for _ in 0..100 {
        deep = json!({ "items": deep });
    }
    let many: Vec<Value> = (0..100).map(|at| json!({ "pattern": format!("a{at}") })).collect();
    for (bad, place) in [
        (json!([]), "a schema is an object"),
        (json!({"type": "text"}), "#/type"),
        (json!({"properties": {"a": {"type": 5}}}), "#/properties/a/type"),
        (json!({"$ref": "https://evil.example/schema"}), "#/$ref"),
        (json!({"$ref": "#/$defs/none"}), "#/$ref"),
        (json!({"unevaluatedProperties": false}), "#/unevaluatedProperties"),
        (json!({"pattern": "("}), "#/pattern"),
        (json!({"pattern": "(?=a)b"}), "#/pattern"),
        (json!({"pattern": "(a{1000}){1000}"}), "#/pattern"),
        (json!({"allOf": many}), "#/allOf"),
        (json!({"anyOf": []}), "#/anyOf"),
        (json!({"description": "x".repeat(70_000)}), "at most"),
        (deep, "#/items"),
    ] {
        let why = Schema::new(&bad).unwrap_err();
        assert!(why.contains(place), "{why} for {}", bad.to_string().chars().take(80).collect::<String>());
    }
}

#[test]
fn faults_say_where_and_what() {
    let schema = json!({"type": "object", "required": ["name", "tags"], "additionalProperties": false,
        "properties": {"name": {"type": "string", "minLength": 1}, "tags": {"type": "array", "items": {"enum": ["a", "b"]}}}});
    let schema = Schema::new(&schema).unwrap();
    let said = |value: Value| schema.check(&value).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(said(json!("x")), ["expected object, got string"]);
    assert_eq!(
        said(json!({"name": "", "tags": ["a", "c"], "x/y": 1})),
        [
            "/name: expected at least 1 characters, got 0",
            "/tags/1: expected one of \"a\", \"b\"",
            "/x~1y: this field is not known"
        ]
    );
    assert_eq!(said(json!({"name": "n"})), ["the field \"tags\" is missing"]);
    let many: Vec<Value> = (0..1_000).map(|_| json!("c")).collect();
    assert_eq!(said(json!({"name": "n", "tags": many})).len(), 10);
}

/// Each of these takes a careless checker minutes or for ever.
#[test]
fn hostile_schemas_and_values_end_soon() {
    let began = Instant::now();
    let itself = Schema::new(&json!({"$ref": "#"})).unwrap();
    assert!(!itself.check(&json!(1)).is_empty());
    let grows = json!({"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/b"}, {"$ref": "#/$defs/b"}, false]},
        "b": {"anyOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}, false]}}, "$ref": "#/$defs/a"});
    assert!(!Schema::new(&grows).unwrap().check(&json!(1)).is_empty());
    let bomb = Schema::new(&json!({"pattern": "^(a+)+$"})).unwrap();
    assert!(!bomb.check(&json!(format!("{}b", "a".repeat(100_000)))).is_empty());
    let list = Schema::new(&json!({"items": {"type": "number"}, "uniqueItems": true})).unwrap();
    let long: Vec<Value> = (0..150_000).map(Value::from).collect();
    assert_eq!(list.check(&Value::Array(long)), []);
    let long: Vec<Value> = (0..300_000).map(Value::from).collect();
    assert_eq!(list.check(&Value::Array(long)).len(), 1, "beyond the bound nothing is valid");
    assert!(began.elapsed().as_secs() < 20);
}

#[test]
fn a_recursive_schema_of_a_tree_works() {
    let tree = json!({"$defs": {"node": {"type": "object", "required": ["v"], "properties": {
        "v": {"type": "integer"}, "kids": {"type": "array", "items": {"$ref": "#/$defs/node"}}}}}, "$ref": "#/$defs/node"});
    let tree = Schema::new(&tree).unwrap();
    assert_eq!(tree.check(&json!({"v": 1, "kids": [{"v": 2, "kids": [{"v": 3}]}]})), []);
    let faults = tree.check(&json!({"v": 1, "kids": [{"v": 2, "kids": [{"v": "3"}]}]}));
    assert_eq!(faults[0].to_string(), "/kids/0/kids/0/v: expected integer, got string");
}
