//! Tests of the redactor alone, and with the attack cases that all crates share.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::*;
use crate::cases;
use crate::key_block::MAX_KEY_LINES;

fn redact(values: &[&str], line: &str) -> String {
    Redactor::new(values.iter().copied()).unwrap().line(line).into_owned()
}

fn env<const N: usize>(variables: [(&str, &str); N]) -> BTreeMap<String, Secret> {
    variables.map(|(name, value)| (name.to_owned(), Secret::new(value))).into()
}

fn owned(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

#[test]
fn the_attack_cases_hold() {
    for case in cases::all() {
        let redactor = Redactor::new(case.values.iter().map(String::as_str)).unwrap();
        let shown = redactor.lines(&case.lines);
        assert_eq!(shown, case.shown, "{}", case.name);
        for hidden in &case.hidden {
            assert!(!shown.concat().contains(hidden), "{}: {hidden}", case.name);
        }
    }
}

#[test]
fn the_attack_cases_hold_for_a_stream_and_for_an_environment() {
    for case in cases::all().into_iter().filter(|case| !case.is_cut) {
        let env = case.values.iter().enumerate().map(|(n, value)| (format!("V{n}"), Secret::new(value.as_str())));
        let names: Vec<String> = (0..case.values.len()).map(|n| format!("V{n}")).collect();
        let redactor = Redactor::for_env(&env.collect(), &names).unwrap();
        let mut key = KeyBlock::default();
        let shown: Vec<String> = case.lines.iter().map(|line| key.line(&redactor, line)).collect();
        assert_eq!(shown, case.shown, "{}", case.name);
    }
}

#[test]
fn values_are_found_in_every_form() {
    let value = "pa/ss wörd\"1";
    let encoded = BASE64_STANDARD.encode(format!("user:{value}"));
    for line in [
        format!("a {value} b"),
        "a pa%2Fss%20w%C3%B6rd%221 b".to_owned(),
        serde_json::to_string(value).unwrap(),
        format!("Basic {encoded}"),
    ] {
        let shown = redact(&[value], &line);
        assert!(shown.contains(MARK) && !shown.contains("rd"), "{line} -> {shown}");
    }
    assert_eq!(redact(&["abc"], "abc"), "abc", "too short to look for");
    assert_eq!(redact(&["hunter22", "hunter22-long"], "hunter22-long"), MARK);
    assert_eq!(redact(&["trailing-newline\n"], "a trailing-newline b"), "a [redacted] b");
    assert_eq!(redact(&["hunter22"], "hun\u{1b}[0mter22"), MARK, "colours do not hide it");
    assert_eq!(redact(&["bell\u{7}inside"], "a bell\u{7}inside b"), "a [redacted] b");
}

#[test]
fn a_public_name_stays_whole_and_nothing_else_does() {
    let redactor = Redactor::for_env(&env([("DB", "prod")]), &["DB".to_owned()]).unwrap();
    let public = ["cofferdam-prod-0a1b-v3", "prod-agents"];
    for (text, shown) in [
        ("pods \"cofferdam-prod-0a1b-v3-x2x7k\" is forbidden", "pods \"cofferdam-prod-0a1b-v3-x2x7k\" is forbidden"),
        ("in namespace prod-agents: prod", "in namespace prod-agents: [redacted]"),
        ("cofferdam-prod-0a1b-v4", "cofferdam-[redacted]-0a1b-v4"),
        ("said prodprod-agents", "said [redacted]prod-agents"),
    ] {
        assert_eq!(redactor.text_beside(text, &public), shown);
    }
    let wider = Redactor::new(["v3-and-more"]).unwrap();
    assert_eq!(wider.text_beside("cofferdam-prod-0a1b-v3-and-more", &public), "cofferdam-prod-0a1b-[redacted]");
    assert_eq!(wider.text_beside("-----BEGIN PRIVATE KEY----- prod-agents", &public), MARK);
    assert_eq!(wider.text_beside("nothing", &["", "nothing"]), "nothing");
}

#[test]
fn private_keys_and_values_of_several_lines_are_not_shown() {
    let key = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nabcd\n-----END RSA PRIVATE KEY-----";
    let redactor = Redactor::new([]).unwrap();
    let lines: Vec<String> = format!("before\n{key}\nafter").lines().map(str::to_owned).collect();
    assert_eq!(redactor.lines(&lines), ["before", MARK, MARK, MARK, MARK, "after"]);
    assert_eq!(redactor.lines(&lines[3..]), [MARK, MARK, "after"], "cut at its start");
    let one = format!("key: {} then", key.replace('\n', "\\n"));
    assert_eq!(redactor.lines(&[one, "after".into()]), [MARK, "after"]);
    let endless: Vec<String> = std::iter::once("-----BEGIN PRIVATE KEY-----".to_owned())
        .chain((0..300).map(|n| format!("line {n}")))
        .collect();
    let hidden = redactor.lines(&endless).iter().filter(|line| *line == MARK).count();
    assert_eq!(hidden, 1 + MAX_KEY_LINES as usize);
    let redactor = Redactor::new(["{\n  \"private\": \"0123456789\"\n}"]).unwrap();
    assert_eq!(redactor.line("  \"private\": \"0123456789\""), "  [redacted]");
}

#[test]
fn a_long_line_is_cut_after_it_is_redacted() {
    let before = "x".repeat((16 << 10) - 5);
    let shown = redact(&["hunter22-correct-horse"], &format!("{before}hunter22-correct-horse"));
    assert_eq!(shown, format!("{before}[reda... [cut: 5 bytes more]"));
}

#[test]
fn everyday_values_stay_readable() {
    let env = env([
        ("PORT", "8080"),
        ("MODE", "production"),
        ("BASE_URL", "https://api.example.com/v1"),
        ("HOME", "/home/agent"),
        ("PASSWORD", "password"),
        ("DATABASE", "postgres://u:p4ssw0rd@db/x"),
        ("OTHER", "x7Gh29fKq1"),
        ("AUTH_ENABLED", "true"),
        ("COFFERDAM_AGENT_ID", "3f2504e0-4f89-11d3"),
        ("XPANDER_API_KEY", "xp-0123456789"),
    ]);
    let redactor = Redactor::for_env(&env, &[]).unwrap();
    let line = "8080 production true https://api.example.com/v1 /home/agent 3f2504e0-4f89-11d3";
    assert_eq!(redactor.line(line), line);
    let line = "password x7Gh29fKq1 postgres://u:p4ssw0rd@db/x";
    assert_eq!(redactor.line(line), "[redacted] [redacted] [redacted]");
    assert_eq!(redactor.line("xp-0123456789"), MARK);
    assert!(!format!("{redactor:?}").contains("p4ss"));
}

#[test]
fn the_last_lines_of_a_deployment_have_no_secrets() {
    let env = env([("TOKEN", "hush-hush"), ("LEVEL", "yes"), ("PIN_KEY", "a1b2"), ("COFFERDAM_AGENT_ID", "hello")]);
    let redactor = Redactor::for_env(&env, &[]).unwrap();
    let lines = owned(&["a hush-hush b hello yes", "aHVzaC1odXNo", "pin a1b2"]);
    assert_eq!(redactor.lines(&lines), ["a [redacted] b hello yes", MARK, "pin [redacted]"]);
    assert_eq!(Redactor::for_env(&BTreeMap::new(), &[]).unwrap().line("x"), "x");
}

#[test]
fn a_named_secret_is_hidden_whatever_it_looks_like() {
    let env = env([("GREETING", "sesame"), ("MODE", "sesame-street"), ("CODE", "1234")]);
    let line = "open sesame, code 1234";
    assert_eq!(Redactor::for_env(&env, &[]).unwrap().line(line), line);
    let redactor = Redactor::for_env(&env, &owned(&["GREETING", "CODE"])).unwrap();
    assert_eq!(redactor.line(line), "open [redacted], code [redacted]");
}

#[test]
fn too_much_to_look_for_is_refused() {
    let values: Vec<String> = (0..40).map(|n| format!("{n:02}{}", "x".repeat(30_000))).collect();
    assert_eq!(Redactor::new(values.iter().map(String::as_str)).unwrap_err(), TooManySecrets);
    let some = Redactor::new(values.iter().take(20).map(String::as_str)).unwrap();
    assert_eq!(some.redact(values[19].as_str().into()), MARK);
}

#[test]
fn a_value_inside_a_credential_does_not_hide_its_shape() {
    for (values, line, shown) in [
        (&["123456"][..], "token xoxb-123456789012-abcdefghij end", "token xoxb-[redacted] end"),
        (&["abcdefghij"], "token xoxb-123456789012-abcdefghij end", "token xoxb-[redacted] end"),
        (&["xoxb-123456"], "token xoxb-123456789012-abcdefghij end", "token [redacted] end"),
        (&["0123456789ab", "EFGHIJ"], "ghp_0123456789abcdefghijklmnopqrstuvEFGHIJ", "ghp_[redacted]"),
        (&["s3cr3t"], "postgres://app:xs3cr3ty@db/x", "postgres://app:[redacted]@db/x"),
        (&["klmnopqrstuvwxyz!"], "ghp_0123456789abcdefghijklmnopqrstuvwxyz! x", "ghp_[redacted] x"),
        (&["hunter22"], "hunter22hunter22", "[redacted][redacted]"),
    ] {
        assert_eq!(redact(values, line), shown, "{line}");
    }
}

#[test]
fn values_are_found_in_every_spelling() {
    let value = "pa/ss wörd\"1";
    for line in [
        r"a pa\/ss w\u00f6rd\u00221 b",
        "a %70%61%2f%73%73+w%C3%B6rd%221 b",
        "a pa&#47;ss w&ouml;rd pa/ss w&#246;rd&quot;1 b",
        "a 70612F737320 w 70612f73732077c3b672642231 b",
    ] {
        let shown = redact(&[value], line);
        assert!(shown.ends_with(" [redacted] b"), "{line} -> {shown}");
    }
    // More values than are looked for in every spelling are looked for as they are.
    let many: Vec<String> = (0..400).map(|n| format!("value-{n:04}-of-many")).collect();
    let redactor = Redactor::new(many.iter().map(String::as_str)).unwrap();
    for value in &many {
        assert_eq!(redactor.line(&format!("a {value} b")), "a [redacted] b");
    }
    assert_eq!(redactor.line("value%2D0000%2Dof%2Dmany"), MARK);
}
