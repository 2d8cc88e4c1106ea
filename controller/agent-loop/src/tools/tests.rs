use cofferdam_contract::work::ToolOptions;
use serde_json::json;

use super::*;

fn found(wanted: &str, connector: Option<&str>) -> Found {
    Found {
        wanted: wanted.to_owned(),
        known_as: vec![wanted.to_owned()],
        description: format!("about {wanted}"),
        parameters: json!({"type": "object", "properties": {"a": {"type": "string"}}}),
        hints: Hints { claimed_by_server: connector.is_some(), destructive: true, ..Hints::default() },
        kind: Kind::Plan,
        given: vec![connector.map_or_else(|| wanted.to_owned(), |connector| format!("mcp:{connector}"))],
        claimed: connector.map(|_| wanted.to_owned()),
    }
}

fn names(toolbox: &Toolbox) -> Vec<&str> {
    toolbox.offered().iter().map(|tool| tool.name.as_str()).collect()
}

#[test]
fn names_are_unique_and_the_organizations_come_first() {
    let groups = vec![
        (None, vec![found("get", None)]),
        (None, vec![found("get", Some("a"))]),
        (None, vec![found("get", Some("b"))]),
    ];
    let toolbox = Toolbox::of(groups, Notes::default());
    let names = names(&toolbox);
    assert_eq!(names[0], "get");
    assert!(names[1].starts_with("get_") && names[2].starts_with("get_") && names[1] != names[2], "{names:?}");
    assert!(toolbox.find("get").unwrap().source.claimed.is_none());
    assert_eq!(toolbox.find(names[2]).unwrap().source.given, ["mcp:b"]);
    assert!(toolbox.find("put").is_none());
}

#[test]
fn options_choose_rename_and_vouch() {
    let options = ToolOptions {
        only: Some(vec!["get_*".to_owned()]),
        rename: [("get_x".to_owned(), "fetch".to_owned())].into(),
        repeatable: Some(true),
        sequential: Some(true),
        timeout_s: Some(7),
        ..ToolOptions::default()
    };
    let all = vec![found("get_x", Some("a")), found("get_y", Some("a")), found("put", Some("a"))];
    let toolbox = Toolbox::of(vec![(Some(options), all)], Notes::default());
    assert_eq!(names(&toolbox), ["fetch", "get_y"]);
    let tool = toolbox.find("fetch").unwrap();
    assert!(tool.hints.may_repeat() && tool.hints.sequential && tool.hints.destructive);
    assert_eq!((tool.source.timeout, tool.source.claimed.as_deref()), (Some(Duration::from_secs(7)), Some("get_x")));
    let forbids = ToolOptions { repeatable: Some(false), ..ToolOptions::default() };
    let mut reads = found("r", None);
    reads.hints = Hints { read_only: true, idempotent: true, ..Hints::default() };
    let toolbox = Toolbox::of(vec![(Some(forbids), vec![reads])], Notes::default());
    assert!(!toolbox.find("r").unwrap().hints.may_repeat());
}

#[test]
fn a_description_of_ones_own() {
    let own = || Some(ToolOptions { description: Some("own".to_owned()), ..ToolOptions::default() });
    let alone = Toolbox::of(vec![(own(), vec![found("a", None)])], Notes::default());
    assert_eq!(alone.offered()[0].description, "own");
    let several = Toolbox::of(vec![(own(), vec![found("a", None), found("b", None)])], Notes::default());
    assert_eq!(several.offered()[1].description, "own\nabout b");
}

#[test]
fn too_many_tools_are_cut_and_said() {
    let many: Vec<Found> = (0..200).map(|at| found(&format!("t{at}"), None)).collect();
    let toolbox = Toolbox::of(vec![(None, many)], Notes::default());
    assert_eq!(toolbox.offered().len(), MAX_OFFERED);
    assert!(toolbox.notes()[0].starts_with("72 further tools are left out"), "{:?}", toolbox.notes());
    let large: Vec<Found> = (0..100)
        .map(|at| {
            let mut tool = found(&format!("t{at}"), None);
            tool.parameters = json!({"type": "object", "properties": {"a": {"enum": [format!("{at:010000}")]}}});
            tool
        })
        .collect();
    let toolbox = Toolbox::of(vec![(None, large)], Notes::default());
    assert!(toolbox.offered().len() < 27, "{}", toolbox.offered().len());
}

#[test]
fn a_login_stands_for_tools_and_still_answers_afterwards() {
    let login = |description: &str| {
        let mut tool = found("gh-login", Some("gh"));
        (tool.kind, tool.description) = (Kind::Login { connector: "gh".to_owned() }, description.to_owned());
        tool.known_as = Vec::new();
        tool
    };
    let only = || Some(ToolOptions { only: Some(vec!["get".to_owned()]), ..ToolOptions::default() });
    let before = Toolbox::of(vec![(only(), vec![login("Log in.")])], Notes::default());
    assert_eq!(names(&before), ["gh-login"]);
    let after = Toolbox::of(vec![(only(), vec![found("get", Some("gh")), login("")])], Notes::default());
    assert_eq!(names(&after), ["get"]);
    assert!(after.find("gh-login").is_some());
}

#[test]
fn notes_are_bounded() {
    let mut notes = Notes::default();
    for at in 0..100 {
        notes.missing(&format!("tool-{at}-{}", "x".repeat(500)), "it is not there");
    }
    assert_eq!(notes.0.len(), MAX_NOTES);
    assert!(notes.0[0].len() < 200 && notes.0[0].ends_with("is not available now: it is not there."));
}
