//! Limits under races: 64 requests at once for five places take five, on either database, and what is deleted can be
//! added again.

use std::sync::Arc;
use std::time::Duration;

use cofferdam_contract::{AgentId, DeploymentState, SessionId};
use cofferdam_store::{
    Added, AgentRow, EnvironmentRow, Inserted, InsertedSessions, MaxSessions, Put, SecretRow, SessionRow, SnapshotRow,
    Store, Switched, VariableRow,
};
use tokio::sync::Barrier;

use super::agents::{agent, deployment};
use super::records::{key, session};
use super::{on_each, organization};

const PLACES: u64 = 5;
const REQUESTS: usize = 64;

/// Makes all requests at the same time, and returns how many were granted.
async fn race<F>(store: &Store, request: impl Fn(Store, usize) -> F) -> usize
where
    F: Future<Output = bool> + Send + 'static,
{
    let start = Arc::new(Barrier::new(REQUESTS));
    let begin = |number| {
        let (start, request) = (Arc::clone(&start), request(store.clone(), number));
        tokio::spawn(async move {
            start.wait().await;
            request.await
        })
    };
    let requests: Vec<_> = (0..REQUESTS).map(begin).collect();
    let mut granted = 0;
    for request in requests {
        granted += usize::from(request.await.unwrap());
    }
    granted
}

fn of_race(number: usize) -> SessionRow {
    session(&format!("race{number}"), 100, 1_000)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sessions() {
    on_each(async |_, store| {
        for id in ["key_a", "key_b"] {
            store.put_key(&key(id, id)).await.unwrap();
        }
        let max = MaxSessions { every: 8, own: PLACES };
        let insert = move |store: Store, number: usize| async move {
            store.insert_sessions(&[of_race(number)], max).await.unwrap() == InsertedSessions::Done
        };
        for round in 0..2 {
            assert_eq!(race(store, insert).await, 5, "round {round}");
            let own = store.sessions(&organization(), "key_a", "", 100).await.unwrap();
            assert_eq!(own.len(), 5);
            store.delete_sessions(&own.into_iter().map(|row| row.id).collect::<Vec<_>>()).await.unwrap();
        }
        // Three copies at once for each of two keys: all of them or none, and eight in all.
        let forks = move |store: Store, number: usize| async move {
            let api_key = if number.is_multiple_of(2) { "key_a" } else { "key_b" };
            let copy = |n: usize| SessionRow { api_key: api_key.into(), ..of_race(number * 3 + n) };
            store.insert_sessions(&[copy(0), copy(1), copy(2)], max).await.unwrap() == InsertedSessions::Done
        };
        assert_eq!(race(store, forks).await, 2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_request_that_breaks_off_holds_no_place() {
    on_each(async |_, store| {
        store.put_key(&key("key_a", "h")).await.unwrap();
        let max = MaxSessions { every: PLACES, own: PLACES };
        for wait_us in [0, 200, 1_000, 5_000, 20_000] {
            let begin = |number| {
                let store = store.clone();
                tokio::spawn(async move { store.insert_sessions(&[of_race(number)], max).await })
            };
            let requests: Vec<_> = (0..REQUESTS).map(begin).collect();
            tokio::time::sleep(Duration::from_micros(wait_us)).await;
            requests.iter().for_each(tokio::task::JoinHandle::abort);
            for request in requests {
                let _ = request.await;
            }
            let there = store.sessions(&organization(), "key_a", "", 100).await.unwrap();
            assert!(there.len() <= 5, "{}", there.len());
            store.delete_sessions(&there.into_iter().map(|row| row.id).collect::<Vec<_>>()).await.unwrap();
        }
        let rows: Vec<SessionRow> = (0..5).map(of_race).collect();
        assert_eq!(store.insert_sessions(&rows, max).await.unwrap(), InsertedSessions::Done);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keys_and_snapshots() {
    on_each(async |_, store| {
        let add = |store: Store, number: usize| async move {
            let row = key(&format!("key_{number}"), &format!("h{number}"));
            store.add_key(&row, PLACES).await.unwrap() == Added::Done
        };
        assert_eq!(race(store, add).await, 5);
        let keys = store.keys(&organization()).await.unwrap();
        assert_eq!(keys.len(), 5);
        for revoked in keys.iter().take(2) {
            assert!(store.revoke_key(&organization(), &revoked.id).await.unwrap());
        }
        let again = |store: Store, number: usize| async move {
            let row = key(&format!("key_again_{number}"), &format!("again{number}"));
            store.add_key(&row, PLACES).await.unwrap() == Added::Done
        };
        assert_eq!(race(store, again).await, 2, "revoked keys do not count");

        let owner = keys[4].id.clone();
        let snapshot = move |store: Store, number: usize| {
            let row = SnapshotRow {
                organization: organization(),
                api_key: owner.clone(),
                name: format!("s{}", number / 2),
                worker_key: format!("snap_{number}"),
                language: cofferdam_contract::Language::Python,
                worker: "local".into(),
                kernel: "python 3.15".into(),
                size_bytes: 0,
                created_at: 7,
            };
            async move { store.insert_snapshot(&row, PLACES).await.unwrap() == Added::Done }
        };
        assert_eq!(race(store, snapshot).await, 5);
        assert_eq!(store.orphaned_snapshots(9).await.unwrap(), []);
        assert!(store.revoke_key(&organization(), &keys[4].id).await.unwrap());
        assert_eq!(store.orphaned_snapshots(9).await.unwrap().len(), 5);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn secrets_environments_and_variables() {
    on_each(async |_, store| {
        let secret = |store: Store, number: usize| async move {
            let row = SecretRow {
                organization: organization(),
                name: format!("s{}", number % 32),
                hosts: "[]".into(),
                sealed: "v1.x.y".into(),
                created_at: 5,
                updated_at: 5,
            };
            store.put_secret(&row, PLACES).await.unwrap() == Put::Added
        };
        assert_eq!(race(store, secret).await, 5);
        assert_eq!(store.secrets(&organization(), 100).await.unwrap().len(), 5);

        let environment = |store: Store, number: usize| async move {
            let row = EnvironmentRow {
                id: format!("env_{number}"),
                organization: organization(),
                name: format!("e{}", number % 32),
                settings: "{}".into(),
                sealed: "v1.x.y".into(),
                created_at: 5,
                updated_at: 5,
            };
            store.put_environment(&row, PLACES).await.unwrap() == Some(Put::Added)
        };
        // There is `local` already.
        assert_eq!(race(store, environment).await, 4);
        for row in store.environments(&organization()).await.unwrap() {
            let number: usize = row.id.trim_start_matches("env_").parse().unwrap_or_default();
            assert!(row.name == "local" || row.name == format!("e{}", number % 32));
        }

        let variables = |store: Store, number: usize| async move {
            let row = |n| VariableRow { name: format!("V{number}_{n}"), sealed: "v1.x.y".into(), updated_at: 5 };
            store.sync_variables(&organization(), &[row(0), row(1)], &[], PLACES).await.unwrap()
        };
        assert_eq!(race(store, variables).await, 2);
        assert_eq!(store.variables(&organization()).await.unwrap().len(), 4);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn agents_deployments_and_tools() {
    on_each(async |_, store| {
        let id = |number: usize| AgentId::parse(&format!("agent-{number}")).unwrap();
        let add = move |store: Store, number: usize| async move {
            let row = AgentRow { id: id(number), ..agent() };
            store.insert_agent(&row, None, PLACES).await.unwrap() == Inserted::Done
        };
        assert_eq!(race(store, add).await, 5);
        let agents = store.agents(&organization(), "", 100).await.unwrap();
        assert_eq!(agents.len(), 5);

        // Deployments of different agents, so that no agent's row makes them take turns.
        let ids: Vec<AgentId> = agents.into_iter().map(|agent| agent.id).collect();
        let deploy = move |store: Store, number: usize| {
            let id = ids[number % ids.len()].clone();
            async move {
                let mut change = store.change_agent(&organization(), &id, None).await.unwrap().unwrap();
                if change.count_unsettled().await.unwrap() >= PLACES {
                    change.abandon().await.unwrap();
                    return false;
                }
                let mut row = deployment(&format!("dep_race{number}"));
                row.agent = id;
                // A link under which nothing was sent does not count.
                (row.state, row.turn) = (DeploymentState::Applying, 1);
                change.insert(&mut row, None).await.unwrap();
                change.commit().await.unwrap();
                true
            }
        };
        assert_eq!(race(store, deploy).await, 5);
        assert_eq!(store.count_unsettled(&organization()).await.unwrap(), 5);

        let tool = |store: Store, number: usize| async move {
            let name = format!("tool-{number}");
            let row = super::tools::row(&name, "sha256:1");
            matches!(store.deploy_tool(&row, &[name], PLACES).await.unwrap(), Switched::Done { .. })
        };
        assert_eq!(race(store, tool).await, 5);
        assert_eq!(store.tools(&organization()).await.unwrap().len(), 5);
    })
    .await;
}

/// No agent is left in an environment that is deleted at the same time.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_environment_is_deleted_or_has_agents() {
    on_each(async |_, store| {
        for round in 0..10 {
            let name = format!("e{round}");
            let row = EnvironmentRow {
                id: format!("env_{round}"),
                organization: organization(),
                name: name.clone(),
                settings: "{}".into(),
                sealed: "v1.x.y".into(),
                created_at: 5,
                updated_at: 5,
            };
            assert_eq!(store.put_environment(&row, 100).await.unwrap(), Some(Put::Added));
            let both = |store: Store, number: usize| {
                let name = name.clone();
                async move {
                    if number.is_multiple_of(2) {
                        return store.delete_environment(&organization(), &name).await.unwrap();
                    }
                    let id = AgentId::parse(&format!("agent-{round}-{number}")).unwrap();
                    let row = AgentRow { id, environment: name, ..agent() };
                    let inserted = store.insert_agent(&row, None, 1_000).await.unwrap();
                    assert!(matches!(inserted, Inserted::Done | Inserted::NoEnvironment));
                    false
                }
            };
            let deleted = race(store, both).await == 1;
            let agents = store.agents(&organization(), "", 1_000).await.unwrap();
            let inside = agents.iter().filter(|agent| agent.environment == format!("e{round}")).count();
            assert_eq!(deleted, inside == 0, "{inside} agents");
        }
    })
    .await;
}

#[tokio::test]
async fn an_id_that_is_taken_holds_no_place() {
    on_each(async |_, store| {
        store.put_key(&key("key_a", "h")).await.unwrap();
        let max = MaxSessions { every: 2, own: 2 };
        let (one, two) = (of_race(1), of_race(2));
        store.insert_sessions(std::slice::from_ref(&one), max).await.unwrap();
        assert!(store.insert_sessions(std::slice::from_ref(&one), max).await.is_err());
        assert_eq!(store.insert_sessions(&[two], max).await.unwrap(), InsertedSessions::Done);
        store.delete_sessions(&[SessionId::parse("ses_none").unwrap(), one.id]).await.unwrap();
        assert_eq!(store.insert_sessions(&[of_race(3)], max).await.unwrap(), InsertedSessions::Done);
    })
    .await;
}
