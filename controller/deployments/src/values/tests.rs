//! The lines that the API shows of a failed deployment.

use cofferdam_contract::OrganizationId;
use cofferdam_redact::{MARK, cases};

use super::*;
use crate::testing::row;

fn values<'a>(values: impl IntoIterator<Item = (&'a str, String)>) -> BTreeMap<String, Secret> {
    values.into_iter().map(|(name, value)| (name.to_owned(), Secret::new(value))).collect()
}

#[test]
fn last_lines_hide_what_every_redactor_hides() {
    for case in cases::all() {
        let names: Vec<String> = (0..case.values.len()).map(|number| format!("VALUE_{number}_KEY")).collect();
        let values = values(names.iter().map(String::as_str).zip(case.values.clone()));
        let shown = shown_lines(&redactor(&values, &row(1)).unwrap(), &case.lines);
        let from = case.shown.len().saturating_sub(MAX_LINES);
        assert_eq!(shown, &case.shown[from..], "{}", case.name);
        for hidden in &case.hidden {
            assert!(!shown.iter().any(|line| line.contains(hidden)), "{}: {hidden} in {shown:?}", case.name);
        }
    }
}

#[test]
fn a_secret_that_the_deployment_names_is_hidden_whatever_it_looks_like() {
    let mut row = row(1);
    let values = values([("COLOUR", "blue".to_owned()), ("MODE", "production".to_owned())]);
    let lines = ["a blue production".to_owned()];
    assert_eq!(shown_lines(&redactor(&values, &row).unwrap(), &lines), ["a blue production"]);
    row.spec.secrets = ["COLOUR".to_owned()].into();
    assert_eq!(shown_lines(&redactor(&values, &row).unwrap(), &lines), [format!("a {MARK} production")]);
}

#[test]
fn the_last_lines_are_bounded() {
    let lines: Vec<String> = (0..30).map(|number| format!("{number}\0 {}", "x ".repeat(2_000))).collect();
    let shown = shown_lines(&redactor(&BTreeMap::new(), &row(1)).unwrap(), &lines);
    assert_eq!(shown.len(), MAX_LINES);
    assert!(shown.iter().all(|line| line.chars().count() <= MAX_LINE && !line.contains('\0')));
    assert!(shown[0].starts_with("10"), "{}", shown[0]);
}

#[test]
fn no_line_is_shown_when_there_are_too_many_secrets() {
    let many = (0..40).map(|number| (format!("KEY_{number}"), format!("{number:02}{}", "x".repeat(30_000))));
    let many: Vec<(String, String)> = many.collect();
    let values = values(many.iter().map(|(name, value)| (name.as_str(), value.clone())));
    assert!(redactor(&values, &row(1)).is_err());
}

#[test]
fn a_container_learns_who_it_is_and_may_override_what_the_sdk_reads() {
    let mut all = values([("XPANDER_AGENT_ID", "other".to_owned()), ("COFFERDAM_AGENT_ID", "other".to_owned())]);
    add_identity(&mut all, &row(7));
    let text = |name: &str| all[name].expose();
    assert_eq!(text("COFFERDAM_AGENT_VERSION"), "7");
    assert_eq!(text("COFFERDAM_AGENT_ID"), "a", "names that start with COFFERDAM_ are ours");
    assert_eq!(text("XPANDER_AGENT_ID"), "other");
    assert_eq!(text("XPANDER_ORGANIZATION_ID"), OrganizationId::default_organization().as_str());
}
