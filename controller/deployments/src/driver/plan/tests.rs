//! The plans for rows.

use cofferdam_contract::{AgentId, OrganizationId};

use super::*;
use crate::testing;

fn agent(wanted: Wanted, serving: u64) -> AgentRow {
    AgentRow {
        organization: OrganizationId::default_organization(),
        id: AgentId::parse("a").unwrap(),
        name: "a".into(),
        environment: "local".into(),
        serverless: false,
        wanted,
        last_number: 9,
        last_turn: 9,
        serving,
        active: true,
        dirty: 0,
        lease_owner: String::new(),
        lease_until_ms: 0,
        created_at: 0,
        updated_at: 0,
    }
}

fn row(number: u64, state: State, turn: u64) -> DeploymentRow {
    let row = testing::row(number);
    DeploymentRow {
        turn,
        state,
        image: if state == State::Uploading { String::new() } else { row.image.clone() },
        placed: !matches!(state, State::Uploading | State::Pushing | State::Applying),
        ..row
    }
}

#[test]
fn the_one_asked_for_last_comes_up_beside_the_one_that_serves() {
    let rows = [row(1, State::Up, 1), row(2, State::Starting, 2), row(3, State::Applying, 3)];
    let planned = plan(&agent(Wanted::Run, 1), &rows);
    assert_eq!(planned, [(1, Action::Watch), (2, Action::Supersede { by: 3 }), (3, Action::Apply)]);
    // Asked for earlier under a later number.
    let rows = [row(1, State::Up, 3), row(2, State::Applying, 2)];
    assert_eq!(plan(&agent(Wanted::Run, 1), &rows), [(1, Action::Watch), (2, Action::Supersede { by: 1 })]);
    // A version whose image has not arrived replaces no other.
    let rows = [row(1, State::Up, 1), row(2, State::Starting, 2), row(3, State::Uploading, 3)];
    let planned = plan(&agent(Wanted::Run, 1), &rows);
    assert_eq!(planned, [(1, Action::Watch), (2, Action::Look), (3, Action::Carry)]);
}

#[test]
fn an_upload_that_nobody_asked_to_run_waits() {
    let rows = [row(1, State::Uploading, 0), row(2, State::Pushing, 0)];
    assert_eq!(plan(&agent(Wanted::Run, 0), &rows), []);
    assert_eq!(plan(&agent(Wanted::Stop, 0), &rows), [], "stopping what runs does not touch it");
    let ends = [(1, Action::WindDown), (2, Action::WindDown)];
    assert_eq!(plan(&agent(Wanted::Delete, 0), &rows), ends);
}

#[test]
fn what_is_over_is_taken_away_whatever_is_wanted() {
    let mut failed = row(1, State::Failed, 1);
    for wanted in [Wanted::Run, Wanted::Stop, Wanted::Delete] {
        failed.placed = true;
        assert_eq!(plan(&agent(wanted, 0), std::slice::from_ref(&failed)), [(1, Action::Remove)]);
        failed.placed = false;
        assert_eq!(plan(&agent(wanted, 0), std::slice::from_ref(&failed)), []);
    }
    // By force: it is given up after one attempt.
    failed.placed = true;
    assert_eq!(plan(&agent(Wanted::Abandon, 0), std::slice::from_ref(&failed)), [(1, Action::Abandon)]);
    assert_eq!(plan(&agent(Wanted::Abandon, 1), &[row(1, State::Stopping, 1)]), [(1, Action::Abandon)]);
    assert_eq!(plan(&agent(Wanted::Abandon, 1), &[row(1, State::Up, 1)]), [(1, Action::WindDown)]);
    assert_eq!(plan(&agent(Wanted::Run, 1), &[row(1, State::Stopping, 1)]), [(1, Action::Remove)]);
    assert_eq!(plan(&agent(Wanted::Stop, 1), &[row(1, State::Up, 1)]), [(1, Action::WindDown)]);
}

#[test]
fn what_crashed_is_made_again_unless_another_comes() {
    let crashed = row(1, State::CrashLoop, 1);
    assert_eq!(plan(&agent(Wanted::Run, 1), std::slice::from_ref(&crashed)), [(1, Action::Recover)]);
    let rows = [crashed, row(2, State::Starting, 2)];
    assert_eq!(plan(&agent(Wanted::Run, 1), &rows), [(2, Action::Look)]);
}
