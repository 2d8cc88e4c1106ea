//! Round trips between values and JSON over random types, and values that do not fit. Description and compiled code
//! must agree on every type, and every value must match the schema.

use cofferdam_contract::tool::{MAX_ARGUMENTS_BYTES, MAX_RESULT_BYTES};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use wasmtime::component::Val;

use super::check::fits;
use super::{Random, exporting, signature};
use crate::tool::describe::describe;
use crate::tool::shape::{Int, Kind, MAX_DEPTH, Shape, Signature};
use crate::tool::value_out::{ResultError, Returned};

const INTERFACE: &str = "test:values/all";

/// Writes random types, as declarations of an interface.
struct Types {
    random: Random,
    declarations: String,
    count: usize,
}

impl Types {
    fn any(&mut self, depth: usize) -> String {
        const PLAIN: [&str; 14] =
            ["bool", "s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64", "f32", "f64", "char", "string", "(list u8)"];
        if depth == 0 || self.random.below(4) == 0 {
            return self.random.one(&PLAIN).to_owned();
        }
        let some = 1 + self.random.below(4);
        match self.random.below(9) {
            0 => format!("(list {})", self.any(depth - 1)),
            1 | 2 => format!("(option {})", self.any(depth - 1)),
            3 => {
                let types: Vec<String> = (0..some).map(|_| self.any(depth - 1)).collect();
                format!("(tuple {})", types.join(" "))
            }
            4 => match self.random.below(4) {
                0 => "(result)".to_owned(),
                1 => format!("(result {})", self.any(depth - 1)),
                2 => format!("(result (error {}))", self.any(depth - 1)),
                _ => format!("(result {} (error {}))", self.any(depth - 1), self.any(depth - 1)),
            },
            5 => {
                let fields: Vec<String> =
                    (0..some).map(|n| format!("(field \"f{n}-x\" {})", self.any(depth - 1))).collect();
                self.named(&format!("(record {})", fields.join(" ")))
            }
            6 => {
                let cases: Vec<String> = (0..some)
                    .map(|n| match self.random.below(3) {
                        0 => format!("(case \"c{n}\")"),
                        _ => format!("(case \"c{n}\" {})", self.any(depth - 1)),
                    })
                    .collect();
                self.named(&format!("(variant {})", cases.join(" ")))
            }
            7 => self.named(&format!("(enum {})", (0..some).map(|n| format!("\"e{n}\" ")).collect::<String>())),
            _ => self.named(&format!("(flags {})", (0..some * 8).map(|n| format!("\"l{n}\" ")).collect::<String>())),
        }
    }

    fn named(&mut self, ty: &str) -> String {
        let n = self.count;
        self.count += 1;
        self.declarations += &format!("(type $d{n} {ty}) (export \"t{n}\" (type $t{n} (eq $d{n})))\n");
        format!("$t{n}")
    }
}

fn value(shape: &Shape, random: &mut Random) -> Val {
    let few = random.below(4);
    let boxed = |shape: &Option<Box<Shape>>, random: &mut Random| shape.as_ref().map(|s| Box::new(value(s, random)));
    match &shape.kind {
        Kind::Bool => Val::Bool(random.below(2) == 0),
        Kind::Int(int) => integer(*int, random),
        Kind::Float32 => Val::Float32(match random.below(8) {
            0 => random
                .one(&[&f32::NAN, &f32::INFINITY, &f32::NEG_INFINITY, &-0.0, &f32::MAX, &f32::MIN_POSITIVE])
                .to_owned(),
            _ => f32::from_bits(random.next() as u32),
        }),
        Kind::Float64 => Val::Float64(match random.below(8) {
            0 => random.one(&[&f64::NAN, &f64::INFINITY, &f64::NEG_INFINITY, &-0.0, &f64::MAX, &5e-324]).to_owned(),
            _ => f64::from_bits(random.next()),
        }),
        Kind::Char => Val::Char(char::from_u32(random.next() as u32 % 0x11_0000).unwrap_or('\0')),
        Kind::String => Val::String(text(random)),
        Kind::Bytes => {
            let length = random.one(&[&0, &1, &2, &3, &4, &7_000]).to_owned();
            Val::List((0..length).map(|_| Val::U8(random.next() as u8)).collect())
        }
        Kind::List(element) => Val::List((0..few).map(|_| value(element, random)).collect()),
        Kind::Tuple(types) => Val::Tuple(types.iter().map(|ty| value(ty, random)).collect()),
        Kind::Record(fields) => Val::Record(
            fields.iter().map(|field| (field.name.clone(), value(field.shape.as_ref().unwrap(), random))).collect(),
        ),
        Kind::Variant(cases) => {
            let case = cases.iter().nth(random.below(cases.len())).unwrap();
            Val::Variant(case.name.clone(), case.shape.as_ref().map(|shape| Box::new(value(shape, random))))
        }
        Kind::Enum(cases) => Val::Enum(cases.iter().nth(random.below(cases.len())).unwrap().name.clone()),
        Kind::Flags(flags) => {
            Val::Flags(flags.iter().filter(|_| random.below(3) == 0).map(|flag| flag.name.clone()).collect())
        }
        Kind::Option(_) if few == 0 => Val::Option(None),
        Kind::Option(inner) => Val::Option(Some(Box::new(value(inner, random)))),
        Kind::Wrapped(inner) => value(inner, random),
        Kind::Result { ok, err } => Val::Result(if few > 1 { Ok(boxed(ok, random)) } else { Err(boxed(err, random)) }),
    }
}

fn integer(int: Int, random: &mut Random) -> Val {
    let (least, most) = int.range();
    let value = match random.below(4) {
        0 => least,
        1 => most,
        2 => least + (i128::from(random.next()) % (most - least + 1)),
        _ => (random.below(100) as i128).clamp(least, most),
    };
    match int {
        Int::S8 => Val::S8(value as i8),
        Int::U8 => Val::U8(value as u8),
        Int::S16 => Val::S16(value as i16),
        Int::U16 => Val::U16(value as u16),
        Int::S32 => Val::S32(value as i32),
        Int::U32 => Val::U32(value as u32),
        Int::S64 => Val::S64(value as i64),
        Int::U64 => Val::U64(value as u64),
    }
}

fn text(random: &mut Random) -> String {
    let parts = ["", "a", "\"", "\\", "\n", "\0", "é", "€", "😀", "null", "\u{2028}", "{\"x\":1}"];
    (0..random.below(5)).map(|_| random.one(&parts)).collect()
}

fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn json_of(signature: &Signature, value: Val) -> Result<String, ResultError> {
    match signature.returned(Some(&Val::Tuple(vec![value])), MAX_RESULT_BYTES)? {
        Returned::Value(json) => Ok(json.get().to_owned()),
        Returned::Error(error) => panic!("{error}"),
    }
}

#[test]
fn every_value_survives_json_and_is_what_its_schema_says() {
    let mut random = Random(7);
    let (mut mutants, mut taken) = (0, 0);
    for seed in 0..120 {
        let mut types = Types { random: Random(seed), declarations: String::new(), count: 0 };
        let ty = types.any(5);
        let declarations =
            format!("{} (export \"f\" (func (param \"x\" {ty}) (result (tuple {ty}))))", types.declarations);
        let bytes = exporting(INTERFACE, &declarations);
        let described = describe(&bytes, "").unwrap_or_else(|e| panic!("{e}: {declarations}"));
        let signature = signature(&declarations).unwrap();
        let [about] = described.functions.as_slice() else { panic!("{described:?}") };
        assert_eq!(about.input_schema, signature.input_schema(), "{ty}");
        assert_eq!(about.output_schema, signature.output_schema(), "{ty}");
        let Kind::Record(params) = &signature.params.kind else { panic!() };
        let shape = params.find("x").unwrap().1.shape.clone().unwrap();
        for _ in 0..20 {
            let value = value(&shape, &mut random);
            let json = json_of(&signature, value.clone()).unwrap();
            let parsed: Value = serde_json::from_str(&json).unwrap();
            fits(&parsed, &about.output_schema).unwrap();
            let arguments = json!({"x": parsed[0]});
            if !json.contains("NaN\"") && !json.contains("Infinity\"") {
                fits(&arguments, &about.input_schema).unwrap();
            }
            // Not through a `Value`, which would round doubles.
            let arguments = raw(&format!("{{\"x\":{}}}", &json[1..json.len() - 1]));
            let again = signature.arguments(&arguments).unwrap_or_else(|e| panic!("{e}: {arguments} for {ty}"));
            assert_eq!(again, [value], "{arguments} for {ty}");
            // Anything read from a mutated text can be written, and reads back the same.
            let Some(bent) = bend(arguments.get(), &mut random) else { continue };
            mutants += 1;
            match signature.arguments(&bent) {
                Ok(values) => {
                    taken += 1;
                    let json = json_of(&signature, values[0].clone()).unwrap();
                    let arguments = raw(&format!("{{\"x\":{}}}", &json[1..json.len() - 1]));
                    assert_eq!(signature.arguments(&arguments).unwrap(), values, "{bent} for {ty}");
                }
                Err(error) => assert!(error.path.starts_with("arguments") && !error.message.is_empty(), "{error}"),
            }
        }
    }
    assert!(mutants > 500 && taken > 20 && taken < mutants, "{taken} of {mutants}");
}

/// Mutates a text, and returns it if it is still JSON.
fn bend(json: &str, random: &mut Random) -> Option<Box<RawValue>> {
    for _ in 0..20 {
        let mut bytes = json.as_bytes().to_vec();
        let at = random.below(bytes.len());
        let to = (at + random.below(6)).min(bytes.len());
        let pieces = ["", "0", "-1", "1e400", "256", "null", "true", "[]", "{}", "\"\"", "\"x\"", ",", "\"some\":"];
        bytes.splice(at..to, random.one(&pieces).bytes());
        if let Some(bent) = String::from_utf8(bytes).ok().and_then(|text| RawValue::from_string(text).ok()) {
            return Some(bent);
        }
    }
    None
}

const OPTIONS: &str = r#"
    (type $c (enum "red" "green")) (export "color" (type $color (eq $c)))
    (type $o (record (field "excitement" u8) (field "language" (option string)) (field "color" (option $color))))
    (export "options" (type $options (eq $o)))
    (type $s (variant (case "none") (case "circle" f64) (case "box" (tuple u32 u32))))
    (export "shape" (type $shape (eq $s)))
    (type $m (flags "read" "write")) (export "mode" (type $mode (eq $m)))
    (export "f" (func (param "name" string) (param "options" (option $options)) (param "shapes" (list $shape))
        (param "mode" $mode) (param "data" (list u8)) (param "id" u64) (param "deep" (option (option bool)))
        (param "done" (result (error string))) (result (result (list u8) (error $options)))))
"#;

fn greet() -> Signature {
    signature(OPTIONS).unwrap()
}

#[test]
fn what_does_not_fit_is_said_with_its_place() {
    let signature = greet();
    let good = json!({
        "name": "Ada", "options": {"excitement": 2}, "shapes": ["none", {"circle": 1}, {"box": [1, 2]}],
        "mode": ["write"], "data": "AAE=", "id": "18446744073709551615", "done": {"ok": null}
    });
    let values = signature.arguments(&raw(&good.to_string())).unwrap();
    assert_eq!(values[4], Val::List(vec![Val::U8(0), Val::U8(1)]));
    assert_eq!((&values[5], &values[6]), (&Val::U64(u64::MAX), &Val::Option(None)));
    for (pointer, bad, expected) in [
        ("", json!(null), "arguments: expected an object with \"name\", \"options\", \"shapes\""),
        ("", json!([1]), "arguments: expected an object with \"name\""),
        ("/name", json!(7), "arguments.name: expected a string, got 7"),
        ("/name", json!(null), "arguments.name: expected a string, got null"),
        (
            "/options",
            json!("x"),
            "arguments.options: expected an object with \"excitement\", \"language\", \"color\", got \"x\"",
        ),
        ("/options", json!({}), "arguments.options.excitement: it is missing; expected an integer from 0 to 255"),
        ("/options/excitement", json!(300), "arguments.options.excitement: expected an integer from 0 to 255, got 300"),
        ("/options/excitement", json!(-1), "arguments.options.excitement: expected an integer from 0 to 255, got -1"),
        ("/options/excitement", json!(1.5), "arguments.options.excitement: expected an integer from 0 to 255, got 1.5"),
        (
            "/options/excitement",
            json!([]),
            "arguments.options.excitement: expected an integer from 0 to 255, got an array",
        ),
        ("/options/loud", json!(1), "arguments.options.loud: there is no such property; expected \"excitement\""),
        ("/options/color", json!("blue"), "arguments.options.color: expected one of \"red\", \"green\", got \"blue\""),
        ("/shapes/1", json!("circle"), "arguments.shapes[1]: \"circle\" needs a value: {\"circle\": a number}"),
        ("/shapes/1", json!({"circle": "x"}), "arguments.shapes[1].circle: expected a number, got \"x\""),
        ("/shapes/1", json!({"none": 1}), "arguments.shapes[1].none: expected null, got 1"),
        ("/shapes/1", json!({"circle": 1, "none": null}), "arguments.shapes[1]: expected one of \"none\""),
        ("/shapes/1", json!({"oval": 1}), "got the property \"oval\""),
        ("/shapes/1", json!({}), "got an empty object"),
        ("/shapes/2/box", json!([1]), "arguments.shapes[2].box: expected an array of 2, got 1 of them"),
        ("/shapes/2/box", json!([1, 2, 3]), "arguments.shapes[2].box[2]: there is no such element; there are 2"),
        (
            "/shapes/2/box",
            json!([1, true]),
            "arguments.shapes[2].box[1]: expected an integer from 0 to 4294967295, got true",
        ),
        ("/mode", json!(["write", "write"]), "arguments.mode[1]: expected a flag once, one of \"read\", \"write\""),
        ("/mode", json!([0]), "arguments.mode[0]: expected a flag once"),
        ("/data", json!("?"), "arguments.data: expected bytes: a string in base64, or an array"),
        ("/data", json!([1, 256]), "arguments.data[1]: expected an integer from 0 to 255, got 256"),
        ("/id", json!("-1"), "arguments.id: expected an integer from 0 to 18446744073709551615, got \"-1\""),
        ("/deep", json!(true), "arguments.deep: expected {\"some\": value}, got true"),
        ("/deep", json!({"some": 1}), "arguments.deep.some: expected true or false, got 1"),
        ("/done", json!({"err": null}), "arguments.done.err: expected a string, got null"),
    ] {
        let mut arguments = good.clone();
        match pointer.rsplit_once('/') {
            None => arguments = bad.clone(),
            Some((parent, last)) => match arguments.pointer_mut(parent).unwrap() {
                Value::Object(map) => _ = map.insert(last.to_owned(), bad.clone()),
                other => other[last.parse::<usize>().unwrap()] = bad.clone(),
            },
        }
        let error = signature.arguments(&raw(&arguments.to_string())).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}\nexpected {expected}");
    }
    let twice = raw(r#"{"name": "a", "name": "b"}"#);
    assert_eq!(signature.arguments(&twice).unwrap_err().to_string(), "arguments.name: it is given twice");
    let long = raw(&json!({"name": [1], "x".repeat(100_000): 1}).to_string());
    assert!(signature.arguments(&long).unwrap_err().to_string().len() < 400);
}

#[test]
fn nested_options_keep_their_nulls_apart() {
    let signature = greet();
    let some = |inner| Val::Option(Some(Box::new(inner)));
    for (json, expected) in [
        ("null", Val::Option(None)),
        (r#"{"some": null}"#, some(Val::Option(None))),
        (r#"{"some": true}"#, some(some(Val::Bool(true)))),
    ] {
        let arguments =
            format!(r#"{{"name":"","shapes":[],"mode":[],"data":[],"id":0,"done":{{"err":"x"}},"deep":{json}}}"#);
        assert_eq!(signature.arguments(&raw(&arguments)).unwrap()[6], expected, "{json}");
    }
}

#[test]
fn results_are_unwrapped_and_bounded() {
    let signature = greet();
    let bytes = |count: usize| Val::Result(Ok(Some(Box::new(Val::List(vec![Val::U8(255); count])))));
    let returned = |value: &Val, most| signature.returned(Some(value), most);
    assert!(matches!(returned(&bytes(3), 100), Ok(Returned::Value(json)) if json.get() == "\"////\""));
    assert!(matches!(returned(&bytes(1_000_000), 1_000), Err(ResultError::TooLarge(1_000))));
    let options = Val::Record(vec![
        ("excitement".into(), Val::U8(1)),
        ("language".into(), Val::Option(None)),
        ("color".into(), Val::Option(None)),
    ]);
    let failed = Val::Result(Err(Some(Box::new(options))));
    let Ok(Returned::Error(error)) = returned(&failed, 100) else { panic!() };
    assert_eq!(error, r#"{"excitement":1,"language":null,"color":null}"#);
    assert!(matches!(returned(&Val::Bool(true), 100), Err(ResultError::Mismatch)));
}

#[test]
fn few_bytes_of_json_cannot_take_much_memory() {
    let fields: String = (0..1_000).map(|n| format!("(field \"f{n}\" (option bool)) ")).collect();
    let declarations = format!(
        "(type $r (record {fields})) (export \"r\" (type $t (eq $r))) (export \"f\" (func (param \"x\" (list $t))))"
    );
    let signature = signature(&declarations).unwrap();
    let arguments = raw(&format!("{{\"x\":[{}{{}}]}}", "{},".repeat(100_000)));
    let error = signature.arguments(&arguments).unwrap_err();
    assert!(error.message.contains("bytes of memory"), "{error}");
}

#[test]
fn as_many_bytes_are_taken_as_arguments_may_have() {
    let signature = signature("(export \"f\" (func (param \"x\" (list u8))))").unwrap();
    let arguments = raw(&format!("{{\"x\":\"{}\"}}", "A".repeat((MAX_ARGUMENTS_BYTES - 16) & !3)));
    let Val::List(bytes) = &signature.arguments(&arguments).unwrap()[0] else { panic!() };
    assert!(bytes.len() > 6_000_000);
}

#[test]
fn types_that_nest_without_end_are_refused_on_both_sides() {
    for (depth, good) in [(MAX_DEPTH - 1, true), (MAX_DEPTH, false), (60, false)] {
        let ty = format!("{}u16{}", "(list ".repeat(depth), ")".repeat(depth));
        let declarations = format!("(export \"f\" (func (param \"x\" {ty})))");
        assert_eq!(describe(&exporting(INTERFACE, &declarations), "").is_ok(), good, "{depth}");
        assert_eq!(signature(&declarations).is_ok(), good, "{depth}");
    }
}
