//! Good and bad values of every field, from `cases.json`: each after Kubernetes' own rules (apimachinery's validation), or
//! stricter. `63:x` stands for a text of that many bytes, and no name may have a character that is not seen.

use serde::Deserialize;
use serde_json::Value;

use super::*;

/// Put at the beginning, into and at the end of each name: control characters, line ends, spaces of other scripts, marks of
/// direction, and characters without width.
const HIDDEN: [&str; 17] = [
    "\0", "\n", "\r", "\t", "\u{1b}", "\u{7f}", "\u{85}", "\u{a0}", "\u{ad}", "\u{200b}", "\u{200d}", "\u{200f}",
    "\u{202e}", "\u{2028}", "\u{2066}", "\u{3164}", "\u{feff}",
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    about: String,
    /// `$` stands for the value.
    settings: Value,
    /// A part of the refusal.
    says: String,
    good: Vec<Value>,
    bad: Vec<Value>,
    /// A text that may have line ends and spaces of any kind.
    #[serde(default)]
    lines: bool,
    #[serde(default)]
    numbers: bool,
}

/// The settings with the value in its place, as a key or as a value.
fn with(settings: &Value, value: &Value) -> Value {
    match settings {
        Value::String(text) if text == "$" => value.clone(),
        Value::Array(all) => all.iter().map(|one| with(one, value)).collect(),
        Value::Object(all) => {
            let key = |key: &String| match key.as_str() {
                "$" => value.as_str().unwrap().to_owned(),
                _ => key.clone(),
            };
            Value::Object(all.iter().map(|(name, one)| (key(name), with(one, value))).collect())
        }
        other => other.clone(),
    }
}

/// `63:x` is that many bytes: of one letter, of a domain's labels, or of a path's parts.
fn written(value: &Value) -> Value {
    let parts = value.as_str().and_then(|text| text.split_once(':'));
    let Some((length, rest)) = parts.and_then(|(length, rest)| Some((length.parse::<usize>().ok()?, rest))) else {
        return value.clone();
    };
    let of = |each: &str| each.repeat(length / each.len() + 1)[..length].to_owned();
    Value::String(match rest {
        "d/x" => format!("{}/x", of("abcdefg.").trim_end_matches('.')),
        "/" => of("/abcdefg"),
        one => one.repeat(length),
    })
}

fn checked(case: &Case, value: &Value) -> Result<(), String> {
    let settings = with(&case.settings, value);
    serde_json::from_value::<PodSettings>(settings).map_err(|e| e.to_string())?.check()
}

#[test]
fn every_field_takes_what_a_cluster_takes_and_nothing_that_it_does_not_show() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("cases.json")).unwrap();
    let mut wrong = Vec::new();
    for case in &cases {
        for value in case.good.iter().map(written) {
            if let Err(why) = checked(case, &value) {
                wrong.push(format!("{}: {value} is refused: {why}", case.about));
            }
        }
        for value in case.bad.iter().map(written) {
            match checked(case, &value) {
                Err(why) if why.contains(&case.says) => {}
                outcome => wrong.push(format!("{}: {value}: {outcome:?}", case.about)),
            }
        }
        if case.numbers {
            continue;
        }
        let good =
            case.good.iter().map(written).find(|value| value.as_str().is_some_and(|text| text.len() > 1)).unwrap();
        let good = good.as_str().unwrap();
        for hidden in HIDDEN {
            if case.lines && matches!(hidden, "\n" | "\t" | "\u{a0}") {
                continue;
            }
            for at in [0, 1, good.len()] {
                let value = format!("{}{hidden}{}", &good[..at], &good[at..]);
                if checked(case, &Value::String(value.clone())).is_ok() {
                    wrong.push(format!("{}: {value:?} is taken", case.about));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
}
