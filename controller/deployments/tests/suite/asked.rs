//! Valid and invalid requests, permissions, limits.

use cofferdam_contract::{AgentId, DeploymentState as State, FailureReason};
use cofferdam_deployments::{CreateAgent, DeployRequest, DeploymentsConfig, Once};
use cofferdam_uploads::PushedImage;
use serde_json::json;

use crate::rig::{On, PLACE, Rig, Settings, caller, fast, image, problem};

fn by_reference(reference: &str) -> DeployRequest {
    DeployRequest { image: Some(reference.to_owned()), ..DeployRequest::default() }
}

fn pushed(tag: &str) -> PushedImage {
    let reference = image(tag);
    let digest = reference.split_once('@').unwrap().1.to_owned();
    PushedImage { reference, digest, architecture: "amd64".into(), run_as: None, size_bytes: 9 }
}

#[tokio::test]
async fn an_upload_is_deployed_when_it_has_come_and_was_asked_for() {
    for on in On::all() {
        let mut rig = Rig::new(on).await;
        rig.start();
        let (app, caller, id) = (rig.app.clone(), rig.caller.clone(), rig.agent.clone());
        let nothing = rig.deploy_with(DeployRequest::default()).await;
        assert!(problem(nothing).1.contains("Nothing was uploaded"));
        // Uploaded, then deployed.
        let one = app.deployments.begin_upload(&caller, &id, &Once::none()).await.unwrap();
        assert_eq!((one.state, one.requested), (State::Uploading, false));
        app.deployments.pushing(&one.id).await.unwrap();
        app.deployments.pushing(&one.id).await.unwrap();
        assert!(app.deployments.upload_progress(&one.id, 1 << 33).await.unwrap());
        app.deployments.image_arrived(&one.id, pushed("one")).await.unwrap();
        let waits = app.deployments.image_arrived(&one.id, pushed("one")).await.unwrap();
        assert_eq!((waits.state, waits.received_bytes), (State::Pushing, 1 << 33));
        assert!(app.deployments.image_arrived(&one.id, pushed("other")).await.is_err());
        tokio::time::sleep(std::time::Duration::from_millis(60)).await;
        assert_eq!(rig.cluster.calls("apply"), 0, "it was not requested to run");
        rig.deploy_with(DeployRequest::default()).await.unwrap();
        rig.until(1, State::Up).await;
        assert_eq!(
            rig.states(1).await,
            [State::Uploading, State::Pushing, State::Applying, State::Starting, State::Up]
        );
        let same = rig.deploy_with(DeployRequest::default()).await.unwrap();
        assert_eq!(same.number, 1, "what runs is what is asked for");
        // Deployed, then uploaded.
        let two = app.deployments.begin_upload(&caller, &id, &Once::none()).await.unwrap();
        let by_id = DeployRequest { deployment_id: Some(two.id.clone()), ..DeployRequest::default() };
        assert_eq!(rig.deploy_with(by_id.clone()).await.unwrap().state, State::Uploading);
        app.deployments.image_arrived(&two.id, pushed("two")).await.unwrap();
        rig.until(2, State::Up).await;
        // One that never comes leaves what serves alone.
        let three = app.deployments.begin_upload(&caller, &id, &Once::none()).await.unwrap();
        app.deployments.upload_failed(&three.id, FailureReason::BadImage, "Not an archive.").await.unwrap();
        assert!(!app.deployments.upload_progress(&three.id, 5).await.unwrap());
        let by_id = DeployRequest { deployment_id: Some(three.id), ..DeployRequest::default() };
        assert!(problem(rig.deploy_with(by_id).await).1.contains("Not an archive"));
        assert_eq!(rig.show().await.serving.unwrap().number, 2);
        let gone = cofferdam_contract::DeploymentId::parse("dep_none").unwrap();
        assert_eq!(problem(app.deployments.image_arrived(&gone, pushed("x")).await).0, 404);
    }
}

#[tokio::test]
async fn an_upload_that_could_not_be_deployed_is_refused_before_anything_is_sent() {
    let rig = Rig::new(On::Sqlite).await;
    let upload = |how: DeployRequest| {
        let (app, caller, id) = (rig.app.clone(), rig.caller.clone(), rig.agent.clone());
        async move { app.deployments.begin_upload_of(&caller, &id, None, &how, &Once::none()).await }
    };
    let pod = |text: &str| DeployRequest { pod: serde_json::from_str(text).unwrap(), ..DeployRequest::default() };
    let env = |name: &str, bytes: usize| DeployRequest {
        env: [(name.to_owned(), "x".repeat(bytes))].into(),
        ..DeployRequest::default()
    };
    let secret = DeployRequest { secrets: ["NONE".to_owned()].into(), ..DeployRequest::default() };
    for (how, status, says) in [
        (pod(r#"{"replicas": 3}"#), 403, "replicas"),
        (pod(r#"{"labels": {"team": "search"}}"#), 403, "team"),
        (pod(r#"{"replicas": 0}"#), 422, "replicas"),
        (env("A=B", 1), 422, "A=B"),
        (env("A", 800 << 10), 413, "bytes together"),
        (secret, 422, "NONE"),
    ] {
        let (got, detail) = problem(upload(how.clone()).await);
        assert!(got == status && detail.contains(says), "{how:?}: {got} {detail}");
        // The same as `deploy` says.
        let (late, _) =
            problem(rig.deploy_with(DeployRequest { image: Some(format!("{PLACE}/default/hello:x")), ..how }).await);
        assert_eq!(late, status);
    }
    assert!(rig.show().await.latest.is_none(), "nothing was begun");
    assert_eq!(upload(env("A", 1)).await.unwrap().number, 1);
}

#[tokio::test]
async fn images_that_nobody_deploys_are_no_obstacle_and_few_are_kept() {
    let deployments = DeploymentsConfig { timing: fast(), max_unsettled: 2, ..DeploymentsConfig::default() };
    let mut rig = Rig::with(On::Sqlite, &Settings { deployments, ..Settings::default() }).await;
    rig.start();
    for number in 1..=8_u64 {
        let one = rig.app.deployments.begin_upload(&rig.caller, &rig.agent, &Once::none()).await.unwrap();
        assert_eq!(one.number, number);
        rig.app.deployments.pushing(&one.id).await.unwrap();
        rig.app.deployments.image_arrived(&one.id, pushed(&number.to_string())).await.unwrap();
    }
    for number in 1..=8 {
        let info = rig.version(number).await;
        let given_up = number <= 3;
        assert_eq!(info.state, if given_up { State::Failed } else { State::Pushing }, "{info:?}");
        assert_eq!(info.reason, given_up.then_some(FailureReason::UploadLost));
    }
    rig.deploy("other").await;
    rig.until(9, State::Up).await;
    // Those that are kept can still be deployed.
    let by_id = DeployRequest { deployment_id: Some(rig.version(5).await.id), ..DeployRequest::default() };
    rig.deploy_with(by_id).await.unwrap();
    rig.until(5, State::Up).await;
}

#[tokio::test]
async fn images_that_may_stay_do_not_keep_lost_uploads_from_being_found() {
    let rig = Rig::new(On::Sqlite).await;
    let begin = async || rig.app.deployments.begin_upload(&rig.caller, &rig.agent, &Once::none()).await.unwrap();
    for number in 1..=3 {
        let unused = begin().await;
        rig.app.deployments.image_arrived(&unused.id, pushed(&number.to_string())).await.unwrap();
    }
    begin().await;
    let later = cofferdam_core::now() + 60;
    let found = |unused, limit| {
        let store = rig.app.store.clone();
        async move {
            let rows = store.silent_uploads(later, unused, limit).await.unwrap();
            rows.iter().map(|row| row.number).collect::<Vec<_>>()
        }
    };
    assert_eq!(found(later - 86_400, 1).await, [4]);
    let mut all = found(later, 10).await;
    all.sort_unstable();
    assert_eq!(all, [1, 2, 3, 4]);
}

#[tokio::test]
async fn only_what_happens_after_an_action_is_asked_for() {
    let mut rig = Rig::new(On::Sqlite).await;
    rig.start();
    rig.deploy("one").await;
    let up = rig.until(1, State::Up).await;
    assert_eq!(up.last_event, 3, "{}", rig.story().await);
    let stopping = rig.app.deployments.stop(&rig.caller, &rig.agent).await.unwrap().unwrap();
    rig.until(1, State::Stopped).await;
    let events =
        rig.app.deployments.events_after(&rig.caller, &rig.agent, 1, stopping.last_event, 100).await.unwrap().0;
    assert_eq!(events.iter().map(|event| event.state).collect::<Vec<_>>(), [State::Stopped]);
}

#[tokio::test]
async fn a_version_that_never_was_is_said() {
    let rig = Rig::new(On::Sqlite).await;
    let (status, detail) = problem(rig.show().await.check_version(1).map_err(cofferdam_deployments::Error::from));
    assert!(status == 404 && detail.contains("nothing was deployed"), "{detail}");
    rig.deploy("one").await;
    let (_, detail) = problem(rig.show().await.check_version(0).map_err(cofferdam_deployments::Error::from));
    assert!(detail.contains("has no version 0: it has version 1 only."), "{detail}");
    rig.deploy("two").await;
    let agent = rig.show().await;
    let (_, detail) = problem(agent.check_version(99).map_err(cofferdam_deployments::Error::from));
    assert!(detail.contains("has no version 99: its versions are 1 to 2."), "{detail}");
    assert!(agent.check_version(1).is_ok() && agent.check_version(2).is_ok());
}

#[tokio::test]
async fn the_same_request_under_the_same_key_is_carried_out_once() {
    for on in On::all() {
        let rig = Rig::new(on).await;
        let (app, caller, id) = (&rig.app, &rig.caller, &rig.agent);
        let request = by_reference(&format!("{PLACE}/default/hello:one"));
        let once = |key: &str, what: &str| Once::new(Some(key), &json!({"action": what, "request": &request})).unwrap();
        let first = app.deployments.deploy(caller, id, &request, &once("k1", "deploy")).await.unwrap();
        let second = app.deployments.deploy(caller, id, &request, &once("k1", "deploy")).await.unwrap();
        assert_eq!((first.number, second.number, &first.id), (1, 1, &second.id));
        let other = app.deployments.deploy(caller, id, &request, &once("k1", "restart")).await;
        assert_eq!(problem(other).0, 409);
        // At the same time.
        let at_once = (0..6).map(|_| {
            let (app, caller, id, request, once) =
                (app.clone(), caller.clone(), id.clone(), request.clone(), once("k2", "deploy"));
            tokio::spawn(async move { app.deployments.deploy(&caller, &id, &request, &once).await })
        });
        for task in at_once.collect::<Vec<_>>() {
            assert_eq!(task.await.unwrap().unwrap().number, 2);
        }
        assert_eq!(app.deployments.deployments(caller, id, None, 100).await.unwrap().len(), 2);
        // Making an agent, as well.
        let make = || CreateAgent { name: Some("x".into()), ..CreateAgent::default() };
        let a = app.deployments.create(caller, make(), &once("k3", "create")).await.unwrap();
        let b = app.deployments.create(caller, make(), &once("k3", "create")).await.unwrap();
        assert_eq!(a.id, b.id);
        // Another organization's keys are others.
        assert!(app.store.once(&crate::rig::caller("stranger").organization, "k1").await.unwrap().is_none());
        app.store.forget_once(i64::MAX).await.unwrap();
        assert!(app.store.once(&caller.organization, "k1").await.unwrap().is_none());
        for bad in ["", "é", &"x".repeat(256)] {
            assert!(Once::new(Some(bad), &json!({})).is_err());
        }
    }
}

#[tokio::test]
async fn what_a_key_may_not_see_is_not_there() {
    let rig = Rig::new(On::Sqlite).await;
    rig.deploy("one").await;
    let (app, stranger, id) = (&rig.app, caller("stranger"), &rig.agent);
    let none = Once::none();
    assert_eq!(problem(app.deployments.show(&stranger, id).await).0, 404);
    assert_eq!(problem(app.deployments.delete(&stranger, id, false).await).0, 404);
    assert_eq!(problem(app.deployments.stop(&stranger, id).await).0, 404);
    assert_eq!(problem(app.deployments.start(&stranger, id, &none).await).0, 404);
    assert_eq!(problem(app.deployments.rollback(&stranger, id, None, &none).await).0, 404);
    assert_eq!(problem(app.deployments.begin_upload(&stranger, id, &none).await).0, 404);
    assert_eq!(problem(app.deployments.deploy(&stranger, id, &DeployRequest::default(), &none).await).0, 404);
    assert_eq!(problem(app.deployments.deployment(&stranger, id, 1).await).0, 404);
    assert_eq!(problem(app.deployments.deployments(&stranger, id, None, 9).await).0, 404);
    assert_eq!(problem(app.deployments.events_after(&stranger, id, 1, 0, 9).await).0, 404);
    assert!(app.deployments.list(&stranger, "", 10).await.unwrap().0.is_empty());
    assert_eq!(app.deployments.list(&rig.caller, "", 10).await.unwrap().0.len(), 1);
}

#[tokio::test]
async fn there_are_only_so_many() {
    let deployments = DeploymentsConfig { max_agents: 2, max_unsettled: 3, timing: fast() };
    let rig = Rig::with(On::Sqlite, &Settings { deployments, ..Settings::default() }).await;
    let make = |id: &str| CreateAgent { id: Some(AgentId::parse(id).unwrap()), ..CreateAgent::default() };
    assert_eq!(problem(rig.app.deployments.create(&rig.caller, make("hello"), &Once::none()).await).0, 409);
    rig.app.deployments.create(&rig.caller, make("b"), &Once::none()).await.unwrap();
    assert_eq!(problem(rig.app.deployments.create(&rig.caller, make("c"), &Once::none()).await).0, 429);
    for n in 0..3 {
        rig.deploy(&format!("n{n}")).await;
    }
    let more = rig.deploy_with(by_reference(&format!("{PLACE}/default/hello:n9"))).await;
    assert_eq!(problem(more).0, 429);
    let upload = rig.app.deployments.begin_upload(&rig.caller, &rig.agent, &Once::none()).await;
    assert_eq!(problem(upload).0, 429);
}

#[tokio::test]
async fn links_that_nobody_uses_are_no_obstacle_and_few_are_kept() {
    for on in On::all() {
        let deployments = DeploymentsConfig { timing: fast(), max_unsettled: 3, ..DeploymentsConfig::default() };
        let rig = Rig::with(on, &Settings { deployments, ..Settings::default() }).await;
        let begin = async || rig.app.deployments.begin_upload(&rig.caller, &rig.agent, &Once::none()).await;
        for _ in 1..=20 {
            begin().await.unwrap();
        }
        for number in 1..=20 {
            let info = rig.version(number).await;
            let given_up = number <= 15;
            assert_eq!(info.state, if given_up { State::Failed } else { State::Uploading }, "{info:?}");
            assert_eq!(info.reason, given_up.then_some(FailureReason::UploadLost));
        }
        // Another agent is not kept from anything.
        let make = CreateAgent { id: Some(AgentId::parse("other").unwrap()), ..CreateAgent::default() };
        let other = rig.app.deployments.create(&rig.caller, make, &Once::none()).await.unwrap().id;
        let request = by_reference(&format!("{PLACE}/default/other:1"));
        rig.app.deployments.deploy(&rig.caller, &other, &request, &Once::none()).await.unwrap();
        // Those that receive something count, and are not given up.
        for number in 16..=17 {
            assert!(rig.app.deployments.upload_progress(&rig.version(number).await.id, 1).await.unwrap());
        }
        assert_eq!(problem(begin().await).0, 429);
        assert_eq!(rig.version(16).await.state, State::Uploading);
    }
}

/// A deployment that is asked for again and again brings no older image back.
#[tokio::test]
async fn an_upload_older_than_what_was_deployed_runs_only_if_it_is_named() {
    let mut rig = Rig::new(On::Sqlite).await;
    rig.start();
    let begin = async || rig.app.deployments.begin_upload(&rig.caller, &rig.agent, &Once::none()).await.unwrap();
    let upload = async |tag: &str| {
        let one = begin().await;
        rig.app.deployments.image_arrived(&one.id, pushed(tag)).await.unwrap();
        one
    };
    let first = upload("one").await;
    upload("two").await;
    for _ in 0..3 {
        assert_eq!(rig.deploy_with(DeployRequest::default()).await.unwrap().number, 2);
    }
    rig.until(2, State::Up).await;
    assert_eq!(rig.deploy_with(DeployRequest::default()).await.unwrap().number, 2);
    assert_eq!(rig.version(1).await.state, State::Pushing);
    // A link that was asked to run and waits for its image is the newest one as well.
    let third = begin().await;
    for _ in 0..2 {
        assert_eq!(rig.deploy_with(DeployRequest::default()).await.unwrap().number, 3);
    }
    rig.app.deployments.image_arrived(&third.id, pushed("three")).await.unwrap();
    rig.until(3, State::Up).await;
    let by_id = DeployRequest { deployment_id: Some(first.id), ..DeployRequest::default() };
    assert_eq!(rig.deploy_with(by_id).await.unwrap().number, 1);
    rig.until(1, State::Up).await;
    // A newer one runs, also behind a copy of an older version.
    upload("four").await;
    rig.app.deployments.rollback(&rig.caller, &rig.agent, Some(2), &Once::none()).await.unwrap();
    rig.until(5, State::Up).await;
    assert_eq!(rig.deploy_with(DeployRequest::default()).await.unwrap().number, 4);
}

#[tokio::test]
async fn only_registries_that_are_named_are_asked() {
    let rig = Rig::with(On::Sqlite, &Settings { registries: &["named.test"], ..Settings::default() }).await;
    rig.deploy_with(by_reference("named.test/anything:1")).await.unwrap();
    rig.deploy_with(by_reference(&format!("{PLACE}/default/other:1"))).await.unwrap();
    for (reference, status) in [
        ("elsewhere.test/x:1", 403),
        ("hello:1", 422),
        ("library/hello:1", 422),
        ("", 422),
        ("named.test/a b:1", 422),
        ("registry.test:5000/agents/stranger/hello:1", 404),
        ("registry.test:5000/elsewhere/hello:1", 403),
    ] {
        let (got, detail) = problem(rig.deploy_with(by_reference(reference)).await);
        assert_eq!(got, status, "{reference}: {detail}");
    }
    for (request, part) in [
        (json!({"image": "named.test/a:1", "deployment_id": "dep_1"}), "not both"),
        (json!({"env": {"1A": "x"}}), "1A"),
        (json!({"env": {"A": "x\u{0}"}}), "A"),
        (json!({"resources": {"memory": "lots"}}), "resources.memory"),
    ] {
        let request: DeployRequest = serde_json::from_value(request).unwrap();
        let (status, detail) = problem(rig.deploy_with(request).await);
        assert!(status == 422 && detail.contains(part), "{detail}");
    }
    let unknown = serde_json::from_value::<DeployRequest>(json!({"imgae": "x"}));
    assert!(unknown.is_err());
}

#[tokio::test]
async fn an_upload_that_nothing_is_heard_of_is_given_up() {
    let timing = cofferdam_deployments::Timing { upload: std::time::Duration::ZERO, ..fast() };
    let mut rig = Rig::with(On::Sqlite, &Settings::timing(timing)).await;
    rig.app.deployments.begin_upload(&rig.caller, &rig.agent, &Once::none()).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    rig.start();
    let failed = rig.until(1, State::Failed).await;
    assert_eq!(failed.reason, Some(FailureReason::UploadLost));
}

#[tokio::test]
async fn an_upload_whose_process_is_gone_is_waited_for_no_longer_than_its_client() {
    for on in On::all() {
        let mut rig = Rig::with(on, &Settings::timing(fast())).await;
        let begin = async || rig.app.deployments.begin_upload(&rig.caller, &rig.agent, &Once::none()).await.unwrap();
        let heard = async |id, absent| {
            let absent = std::time::Duration::from_secs(absent);
            assert!(rig.app.deployments.upload_heard(id, 4, absent).await.unwrap());
        };
        let [lost, recent, idle] = [begin().await, begin().await, begin().await];
        for one in [&lost, &recent] {
            rig.app.deployments.pushing(&one.id).await.unwrap();
        }
        // Under the third link nothing was sent yet: it is valid for an hour.
        for (one, absent) in [(&lost, 700), (&recent, 500), (&idle, 700)] {
            heard(&one.id, absent).await;
        }
        rig.start();
        let failed = rig.until(1, State::Failed).await;
        assert_eq!(failed.reason, Some(FailureReason::UploadLost));
        assert!(failed.detail.contains("after about 4 bytes"), "{}", failed.detail);
        assert_eq!((rig.version(2).await.state, rig.version(3).await.state), (State::Pushing, State::Uploading));
    }
}

#[tokio::test]
async fn without_a_registry_the_answer_says_how_to_name_one() {
    let rig = Rig::with(On::Sqlite, &Settings { images: None, ..Settings::default() }).await;
    let (status, detail) = problem(rig.app.deployments.begin_upload(&rig.caller, &rig.agent, &Once::none()).await);
    assert!(status == 409 && detail.contains("COFFERDAM_IMAGES"), "{detail}");
}
