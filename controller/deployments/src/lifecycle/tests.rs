//! The version that is started, and the one that a rollback goes back to.

use cofferdam_contract::FailureReason;

use super::*;
use crate::testing;

fn row(number: u64, state: DeploymentState, up: bool) -> DeploymentRow {
    DeploymentRow { state, up_at_ms: i64::from(up), ..testing::row(number) }
}

fn again_of(number: u64, older: u64, because: Because) -> DeploymentRow {
    DeploymentRow { source: ImageSource::Version { number: older, because }, ..row(number, DeploymentState::Up, true) }
}

#[test]
fn going_back_goes_back_further_each_time_and_ends() {
    let mut rows: Vec<_> = (1..=3).map(|n| row(n, DeploymentState::Stopped, true)).collect();
    let number = |row: Option<&DeploymentRow>| row.map(|row| row.number);
    assert_eq!(number(version_before(&rows, rows.get(2))), Some(2));
    rows.push(again_of(4, 2, Because::Rollback));
    assert_eq!(number(version_before(&rows, rows.get(3))), Some(1), "not to 3, which was left");
    rows.push(again_of(5, 1, Because::Rollback));
    assert_eq!(number(version_before(&rows, rows.get(4))), None);
    // A restart is the same version again.
    rows.push(again_of(6, 3, Because::Restart));
    rows.push(again_of(7, 6, Because::Restart));
    assert_eq!(number(version_before(&rows, rows.get(6))), Some(2));
    // What crashed, or never served, is nothing to go back to.
    rows[1].crashes = 1;
    assert_eq!(number(version_before(&rows, rows.get(6))), Some(1));
    rows[0].up_at_ms = 0;
    assert_eq!(number(version_before(&rows, rows.get(6))), None);
    assert_eq!(number(version_before(&rows, None)), Some(7));
}

/// One row of a story: a version and the state that it is in when the rollback is asked for.
enum Is {
    /// Serves, or did so until it was stopped or replaced.
    Served(DeploymentState),
    /// Served, and crashed.
    Crashed(DeploymentState),
    /// Never served.
    Never(DeploymentState),
    /// An earlier version once more.
    Again(u64, Because, DeploymentState),
    /// The same, which never came up.
    AgainNever(u64, Because, DeploymentState),
}

fn story(of: &[Is]) -> Vec<DeploymentRow> {
    let rows = (1..).zip(of).map(|(number, is)| match is {
        Is::Served(state) => row(number, *state, true),
        Is::Crashed(state) => DeploymentRow { crashes: 1, ..row(number, *state, true) },
        Is::Never(state) => row(number, *state, false),
        Is::Again(older, because, state) => DeploymentRow { state: *state, ..again_of(number, *older, *because) },
        Is::AgainNever(older, because, state) => {
            DeploymentRow { state: *state, up_at_ms: 0, ..again_of(number, *older, *because) }
        }
    });
    rows.collect()
}

#[test]
fn a_rollback_leaves_the_version_that_served_last() {
    use DeploymentState::{Applying, CrashLoop, Failed, Starting, Stopped, Stopping, Up};
    use Is::{Again, AgainNever, Crashed, Never, Served};
    let table: &[(&str, &[Is], u64, Option<u64>)] = &[
        ("the serving one", &[Served(Stopped), Served(Up)], 2, Some(1)),
        ("stopped by hand", &[Served(Stopped), Served(Stopped)], 2, Some(1)),
        ("stopped, and nothing serves", &[Served(Stopped), Served(Stopped)], 0, Some(1)),
        ("being stopped", &[Served(Stopped), Served(Stopping)], 2, Some(1)),
        ("stopped, of three", &[Served(Stopped), Served(Stopped), Served(Stopped)], 3, Some(2)),
        ("the only one, stopped", &[Served(Stopped)], 1, None),
        ("stopped and started", &[Served(Stopped), Served(Stopped), Again(2, Because::Start, Up)], 3, Some(1)),
        (
            "stopped, and the start failed",
            &[Served(Stopped), Served(Stopped), AgainNever(2, Because::Start, Failed)],
            2,
            Some(1),
        ),
        (
            "stopped, started, stopped",
            &[Served(Stopped), Served(Stopped), Again(2, Because::Start, Stopped)],
            3,
            Some(1),
        ),
        ("a failed deploy, the old one serves", &[Served(Stopped), Served(Up), Never(Failed)], 2, Some(1)),
        ("a failed deploy after a stop", &[Served(Stopped), Served(Stopped), Never(Failed)], 2, Some(1)),
        ("one on its way up", &[Served(Stopped), Served(Up), Never(Starting)], 2, Some(2)),
        ("a superseded one between", &[Served(Stopped), Never(Failed), Served(Up)], 3, Some(1)),
        ("a superseded one between, stopped", &[Served(Stopped), Never(Failed), Served(Stopped)], 3, Some(1)),
        (
            "after a rollback",
            &[Served(Stopped), Served(Stopped), Served(Stopped), Again(2, Because::Rollback, Up)],
            4,
            Some(1),
        ),
        (
            "after a rollback and a stop",
            &[Served(Stopped), Served(Stopped), Served(Stopped), Again(2, Because::Rollback, Stopped)],
            4,
            Some(1),
        ),
        (
            "a rollback that failed",
            &[Served(Stopped), Served(Stopped), AgainNever(1, Because::Rollback, Failed)],
            2,
            Some(1),
        ),
        ("a rollback on its way", &[Served(Stopped), Served(Up), AgainNever(1, Because::Rollback, Applying)], 2, None),
        ("after an automatic rollback", &[Served(Stopped), Crashed(Failed), Again(1, Because::Crash, Up)], 3, None),
        (
            "after an automatic rollback and a stop",
            &[Served(Stopped), Crashed(Failed), Again(1, Because::Crash, Stopped)],
            3,
            None,
        ),
        (
            "an automatic rollback that failed",
            &[Served(Stopped), Crashed(Failed), AgainNever(1, Because::Crash, Failed)],
            2,
            Some(1),
        ),
        ("a crash without one", &[Served(Stopped), Crashed(CrashLoop)], 2, Some(1)),
        ("past one that crashed", &[Served(Stopped), Crashed(Stopped), Served(Stopped)], 3, Some(1)),
        ("only one that crashed", &[Crashed(Stopped), Served(Stopped)], 2, Some(1)),
        ("nothing has served", &[Never(Failed), Never(Failed)], 0, None),
    ];
    for (what, of, serving, wanted) in table {
        let rows = story(of);
        let to = back_to(&rows, *serving);
        assert_eq!(to.as_ref().ok().map(|row| row.number), *wanted, "{what}: {to:?}");
    }
}

#[test]
fn one_image_with_other_settings_is_another_version() {
    let number = |row: Option<&DeploymentRow>| row.map(|row| row.number);
    let mut rows = vec![row(1, DeploymentState::Stopped, true), again_of(2, 1, Because::Start)];
    assert_eq!(number(version_before(&rows, rows.get(1))), None);
    rows[1].spec.other_settings = true;
    assert_eq!(number(version_before(&rows, rows.get(1))), Some(1));
    // A restart of it is the same one again.
    rows.push(again_of(3, 2, Because::Restart));
    assert_eq!(number(version_before(&rows, rows.get(2))), Some(1));
}

#[test]
fn a_person_may_go_back_to_a_version_that_crashed_and_is_told_why_there_is_none() {
    let number = |row: Option<&DeploymentRow>| row.map(|row| row.number);
    let mut rows = vec![row(1, DeploymentState::Stopped, true), row(2, DeploymentState::Up, true)];
    rows[0].crashes = 1;
    assert_eq!(number(version_before(&rows, rows.get(1))), None, "never by itself");
    assert_eq!(number(crashed_before(&rows, rows.get(1))), Some(1));
    let rows =
        [row(1, DeploymentState::Stopped, true), row(2, DeploymentState::Failed, true), again_of(3, 1, Because::Crash)];
    assert_eq!(number(crashed_before(&rows, rows.get(2))), None);
    let said = nothing_before(&rows, rows.get(2));
    assert_eq!(
        said,
        "Version 3 is version 1 once more, and no version before version 1 has served. Name the one to go to (`version`); \
         these have served: 2, 1."
    );
    let said = nothing_before(&rows[..1], rows.first());
    assert!(said.starts_with("No version before version 1 has served.") && said.contains("`version`"), "{said}");
    assert!(said.contains("`start` runs version 1 again."), "{said}");
    assert!(nothing_before(&[row(1, DeploymentState::Failed, false)], None).starts_with("No version has served yet."));
}

#[test]
fn what_is_started_is_what_ran_last_or_failed_for_want_of_a_cluster() {
    let number = |row: Option<&DeploymentRow>| row.map(|row| row.number);
    let mut rows = vec![row(1, DeploymentState::Stopped, true), row(2, DeploymentState::Failed, false)];
    rows[1].reason = Some(FailureReason::Exited);
    assert_eq!(number(last_run(&rows, 0)), Some(1), "a version that failed by its own fault is not tried again");
    rows[1].reason = Some(FailureReason::NoCluster);
    assert_eq!(number(last_run(&rows, 0)), Some(2));
    assert_eq!(number(last_run(&rows, 1)), Some(1), "what serves");
    assert_eq!(number(last_run(&rows[1..], 0)), Some(2));
    let mut upload = row(3, DeploymentState::Pushing, false);
    upload.turn = 0;
    rows.push(upload.clone());
    assert_eq!(number(last_run(&rows, 0)), Some(2));
    assert_eq!(number(last_run(&[upload], 0)), Some(3), "better than nothing");
    assert_eq!(number(last_run(&[], 0)), None);
}

#[test]
fn what_is_on_its_way_runs() {
    let mut rows = vec![row(1, DeploymentState::Up, true), row(2, DeploymentState::Starting, false)];
    assert_eq!(running(&rows, 1).map(|row| row.number), Some(2));
    rows[1].state = DeploymentState::Failed;
    assert_eq!(running(&rows, 1).map(|row| row.number), Some(1));
    rows[0].state = DeploymentState::Stopping;
    assert_eq!(running(&rows, 1), None);
}
