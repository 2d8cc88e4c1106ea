//! The services over a real store, with clusters that only check kubeconfigs.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use cofferdam_cluster::{Access, AnyCluster, ClusterError, Clusters, Place, Workload};
use cofferdam_contract::OrganizationId;
use cofferdam_core::{Caller, Failure as _, Scope, Scopes, Vault};
use cofferdam_policy::RegistriesConfig;
use cofferdam_store::{DatabaseConfig, Store};
use serde_json::json;
use tempfile::TempDir;

use super::*;

/// Takes every kubeconfig with the word `clusters`, and connects to nothing.
struct NoClusters;

impl Clusters for NoClusters {
    fn connect(&self, place: &Place<'_>) -> Result<AnyCluster, ClusterError> {
        Err(ClusterError::None(format!("no cluster with namespace {}", place.namespace)))
    }

    fn manifests(&self, _: &str, _: &Workload) -> Result<Vec<serde_json::Value>, ClusterError> {
        Ok(Vec::new())
    }

    fn check_kubeconfig(&self, yaml: &str, _: Option<&str>) -> Result<(), ClusterError> {
        if yaml.contains("clusters") { Ok(()) } else { Err(ClusterError::Settings("names no clusters".to_owned())) }
    }
}

struct Services {
    store: Store,
    environments: Environments,
    variables: Variables,
    caller: Caller,
    _folder: TempDir,
}

fn caller(organization: &str) -> Caller {
    Caller::new("key_test", OrganizationId::parse(organization).unwrap(), Scopes::new(vec![Scope::Admin]))
}

async fn services() -> Services {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&DatabaseConfig::sqlite(&folder.path().join("test.db"))).await.unwrap();
    let vault = Arc::new(Vault::open(None, folder.path()).unwrap());
    let registries = RegistriesConfig::new([].into(), Duration::from_secs(1));
    let local = LocalEnvironment::default();
    let environments = Environments::new(store.clone(), Arc::clone(&vault), Arc::new(NoClusters), local, &registries);
    let variables = Variables::new(store.clone(), vault);
    Services { store, environments, variables, caller: caller("default"), _folder: folder }
}

fn request() -> EnvironmentRequest {
    let kubeconfig = BASE64_STANDARD.encode("apiVersion: v1\nclusters: [hush-hush-cluster]\n");
    serde_json::from_value(json!({
        "images": "far.test/x", "images_pull": "near.test:5000/x/", "username": "robot", "password": "hush-hush-word",
        "kubeconfig": kubeconfig, "namespace": "agents", "compression": "zstd", "env": {"REGION": "hush-hush-north"},
    }))
    .unwrap()
}

/// The status and detail of a refusal.
fn refused<T: std::fmt::Debug>(outcome: Result<T, Error>) -> (u16, String) {
    let error = outcome.unwrap_err();
    let problem = error.refused().unwrap();
    (problem.status, problem.detail.clone())
}

#[tokio::test]
async fn secrets_are_sealed_and_not_shown() {
    let Services { store, environments, caller: us, .. } = &services().await;
    let (info, new) = environments.put(us, "far", request()).await.unwrap();
    assert!(new && info.has_cluster && info.has_password);
    let shown = serde_json::to_string(&info).unwrap();
    assert!(!shown.contains("hush") && shown.contains("REGION"), "{shown}");
    let row = store.environment(&us.organization, "far").await.unwrap().unwrap();
    assert!(!format!("{row:?}").contains("hush"), "{row:?}");

    let open = environments.find(&us.organization, "far").await.unwrap();
    assert!(!format!("{open:?}").contains("hush"), "{open:?}");
    let Access::Kubeconfig { yaml, .. } = &open.cluster else { panic!("{open:?}") };
    assert!(yaml.expose().contains("hush-hush-cluster"));
    assert_eq!(open.images.credentials.as_ref().unwrap().1.expose(), "hush-hush-word");
    assert_eq!(open.env["REGION"].expose(), "hush-hush-north");
    assert_eq!((info.settings.compression, open.images.compression), (ImageCompression::Zstd, ImageCompression::Zstd));
    let error = environments.connect(&open).map(drop).unwrap_err();
    assert!(error.to_string().contains("namespace agents"), "{error}");

    let (_, new) = environments.put(us, "far", EnvironmentRequest::default()).await.unwrap();
    assert!(!new);
    let open = environments.find(&us.organization, "far").await.unwrap();
    assert!(open.images.credentials.is_none() && matches!(open.cluster, Access::None(_)), "all of it is replaced");
    assert_eq!(open.images.compression, ImageCompression::Auto);
    environments.delete(us, "far").await.unwrap();
    assert_eq!(refused(environments.delete(us, "far").await).0, 404);
}

#[tokio::test]
async fn a_row_whose_settings_changed_does_not_open() {
    let Services { store, environments, caller: us, .. } = &services().await;
    environments.put(us, "far", request()).await.unwrap();
    let mut row = store.environment(&us.organization, "far").await.unwrap().unwrap();
    row.settings = row.settings.replace("far.test", "elsewhere.test");
    store.put_environment(&row, 10).await.unwrap();
    let error = environments.find(&us.organization, "far").await.unwrap_err();
    assert!(matches!(error, Error::Vault(_)), "{error:?}");
}

#[tokio::test]
async fn one_that_does_not_open_hides_no_other_one() {
    let Services { store, environments, caller: us, .. } = &services().await;
    for name in ["a", "b", "c", "d"] {
        environments.put(us, name, request()).await.unwrap();
    }
    // One was sealed with another key, and another release wrote the settings of a third.
    let another = tempfile::tempdir().unwrap();
    let another = Environments::new(
        store.clone(),
        Arc::new(Vault::open(None, another.path()).unwrap()),
        Arc::new(NoClusters),
        LocalEnvironment::default(),
        &RegistriesConfig::new([].into(), Duration::from_secs(1)),
    );
    another.put(us, "b", request()).await.unwrap();
    let mut row = store.environment(&us.organization, "c").await.unwrap().unwrap();
    row.settings = r#"{"kind":"of-the-future"}"#.to_owned();
    store.put_environment(&row, 10).await.unwrap();

    let all = environments.list(us).await.unwrap();
    let states: Vec<_> = all.iter().map(|info| (info.name.as_str(), info.state)).collect();
    use EnvironmentState::{Sealed, Unreadable, Usable};
    assert_eq!(states, [("local", Usable), ("a", Usable), ("b", Sealed), ("c", Unreadable), ("d", Usable)]);
    let shown = serde_json::to_value(environments.show(us, "b").await.unwrap()).unwrap();
    assert_eq!(
        (&shown["state"], &shown["has_cluster"], &shown["images"]),
        (&"sealed".into(), &false.into(), &"far.test/x".into())
    );
    assert!(environments.find(&us.organization, "b").await.is_err(), "nothing is deployed into it");
    // It is put again, or deleted.
    let (info, new) = environments.put(us, "b", request()).await.unwrap();
    assert!(!new && info.state == Usable && environments.find(&us.organization, "b").await.is_ok());
    environments.delete(us, "c").await.unwrap();
}

#[tokio::test]
async fn organizations_share_local_and_nothing_else() {
    let Services { environments, caller: us, .. } = &services().await;
    environments.put(us, "far", request()).await.unwrap();
    let stranger = caller("stranger");
    assert_eq!(refused(environments.show(&stranger, "far").await).0, 404);
    let names: Vec<String> = environments.list(us).await.unwrap().into_iter().map(|info| info.name).collect();
    assert_eq!(names, ["local", "far"]);
    let seen = environments.list(&stranger).await.unwrap();
    assert!(seen.len() == 1 && seen[0].built_in && !seen[0].has_cluster, "{seen:?}");
    assert_eq!(refused(environments.put(us, "local", request()).await).0, 409);
    assert_eq!(refused(environments.delete(us, "local").await).0, 409);
}

#[tokio::test]
async fn the_invalid_field_is_named() {
    let Services { environments, caller: us, .. } = &services().await;
    for (body, part) in [
        (json!({"images": "https://x"}), "images"),
        (json!({"namespace": "No_Such"}), "namespace"),
        (json!({"username": "a"}), "username"),
        (json!({"kubeconfig": "***"}), "kubeconfig"),
        (json!({"kubeconfig": BASE64_STANDARD.encode("hush")}), "kubeconfig: names no clusters"),
        (json!({"kind": "cloud", "images": "x.test"}), "bucket"),
        (json!({"env": {"A=B": "hush"}}), "A=B"),
        (json!({"resources": {"cpu": "5x"}}), "resources.cpu"),
    ] {
        let request: EnvironmentRequest = serde_json::from_value(body.clone()).unwrap();
        let (status, detail) = refused(environments.put(us, "e", request).await);
        assert!(status == 422 && detail.contains(part) && !detail.contains("hush"), "{body}: {status} {detail}");
    }
    assert_eq!(refused(environments.put(us, "../x", EnvironmentRequest::default()).await).0, 422);
}

#[tokio::test]
async fn variables_are_set_and_deleted_together() {
    let Services { variables, caller: us, .. } = &services().await;
    let changes = |all: &[(&str, Option<&str>)]| {
        all.iter().map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned))).collect()
    };
    let names = variables.sync(us, &changes(&[("PIN", Some("007")), ("REGION", Some("south"))])).await.unwrap();
    assert_eq!(names, ["PIN", "REGION"]);
    assert_eq!(refused(variables.sync(us, &changes(&[("PIN", None), ("1A", Some("x"))])).await).0, 422);
    assert_eq!(variables.open(&us.organization).await.unwrap()["PIN"].expose(), "007");
    assert_eq!(variables.sync(us, &changes(&[("PIN", None)])).await.unwrap(), ["REGION"]);
    assert!(variables.names(&caller("stranger")).await.unwrap().is_empty());
}
