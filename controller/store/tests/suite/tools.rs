//! Tools, their versions and their folders.

use cofferdam_contract::grants::{Grants, HttpGrant};
use cofferdam_contract::{Component, LimitsRequest};
use cofferdam_store::{KEPT_VERSIONS, Store, Switched, ToolHead, ToolVersionRow};

use super::{on_each, organization, stranger};

pub(crate) fn row(tool: &str, digest: &str) -> ToolVersionRow {
    ToolVersionRow {
        organization: organization(),
        tool: tool.to_owned(),
        number: 0,
        component: Component {
            digest: digest.to_owned(),
            size_bytes: 5,
            functions: vec![],
            imports: vec!["wasi:io/streams@0.2.6".into()],
            warnings: vec!["a 'quoted' warning".into()],
            describe: None,
        },
        grants: Grants {
            http: vec![HttpGrant { host: "naïve.example".into(), ..HttpGrant::default() }],
            ..Grants::default()
        },
        limits: LimitsRequest { wall_ms: Some(7), ..LimitsRequest::default() },
        warnings: vec![],
        source: "r.example/t@sha256:x".into(),
        created_at: 9,
        current: false,
        made: 0,
    }
}

async fn deploy(store: &Store, tool: &str, digest: &str, names: &[&str]) -> Switched {
    store.deploy_tool(&row(tool, digest), &owned(names), 10).await.unwrap()
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn made(number: i64) -> Switched {
    Switched::Done { number, made: true }
}

fn switched(number: i64) -> Switched {
    Switched::Done { number, made: false }
}

async fn current(store: &Store, tool: &str) -> i64 {
    let versions = store.tool_versions(&organization(), tool).await.unwrap();
    versions.iter().find(|version| version.current).unwrap().number
}

#[tokio::test]
async fn a_switch_happens_whole_or_not_at_all() {
    on_each(async |_, store| {
        let organization = organization();
        let before = store.tools_revision(&organization).await.unwrap();
        assert_eq!(deploy(store, "a", "sha256:1", &["a-x", "a-y"]).await, made(1));
        let kept = store.tool_version(&organization, "a", 1).await.unwrap().unwrap();
        assert_eq!(kept, ToolVersionRow { number: 1, current: true, made: before + 1, ..row("a", "sha256:1") });
        assert_eq!(store.tools_revision(&organization).await.unwrap(), before + 1);

        // A name that another tool has: nothing of the deployment is left.
        let collision = |tool: &str| Switched::Collision { name: "a-x".into(), tool: tool.to_owned() };
        assert_eq!(deploy(store, "b", "sha256:2", &["a-x"]).await, collision("a"));
        assert!(store.tool_versions(&organization, "b").await.unwrap().is_empty());
        assert!(!store.tool_heads(&organization).await.unwrap().iter().any(|head| head.tool == "b"));
        // The same tool may keep its names, and give one up for others to take.
        assert_eq!(deploy(store, "a", "sha256:3", &["a-y"]).await, switched(2));
        assert_eq!(deploy(store, "b", "sha256:2", &["a-x"]).await, made(1));
        // Going back needs the name that is gone.
        let refused = store.switch_tool(&organization, "a", 1, &owned(&["a-x", "a-y"])).await.unwrap();
        assert_eq!(refused, collision("b"));
        assert_eq!(current(store, "a").await, 2, "the refused switch has changed nothing");
        assert_eq!(store.switch_tool(&organization, "a", 1, &owned(&["a"])).await.unwrap(), switched(1));
        assert_eq!(current(store, "a").await, 1);
        assert_eq!(store.switch_tool(&organization, "a", 77, &[]).await.unwrap(), Switched::Missing);
        assert_eq!(store.switch_tool(&organization, "none", 1, &[]).await.unwrap(), Switched::Missing);
    })
    .await;
}

#[tokio::test]
async fn versions_are_numbered_on_and_the_oldest_are_deleted() {
    on_each(async |_, store| {
        let organization = organization();
        deploy(store, "a", "sha256:1", &["a"]).await;
        deploy(store, "a", "sha256:3", &["a"]).await;
        store.switch_tool(&organization, "a", 1, &owned(&["a"])).await.unwrap();
        for _ in 0..KEPT_VERSIONS {
            deploy(store, "a", "sha256:4", &["a"]).await;
        }
        let versions = store.tool_versions(&organization, "a").await.unwrap();
        let numbers: Vec<i64> = versions.iter().map(|version| version.number).collect();
        assert_eq!(numbers, (3..=2 + KEPT_VERSIONS).rev().collect::<Vec<_>>());
        assert!(versions[0].current && versions.iter().filter(|version| version.current).count() == 1);

        // Two at once: each gets a number of its own.
        deploy(store, "b", "sha256:2", &["b"]).await;
        let digests = store.tool_digests().await.unwrap();
        assert!(digests.contains(&"sha256:4".to_owned()) && digests.contains(&"sha256:2".to_owned()));
        let (one, two) = tokio::join!(deploy(store, "b", "sha256:5", &["b"]), deploy(store, "b", "sha256:6", &["b"]));
        let mut numbers = vec![one, two];
        numbers.sort_by_key(|done| format!("{done:?}"));
        assert_eq!(numbers, [switched(2), switched(3)]);
        assert!(store.tools(&stranger()).await.unwrap().is_empty());
        assert!(store.delete_tool(&organization, "a").await.unwrap());
        assert!(!store.delete_tool(&organization, "a").await.unwrap());
        assert!(store.tool_versions(&organization, "a").await.unwrap().is_empty());
        let serving = store.tools(&organization).await.unwrap();
        assert!(serving.iter().any(|tool| tool.tool == "b" && tool.current && tool.number == 3));
    })
    .await;
}

/// A tool that is created again counts from 1, and still differs from the deleted one.
#[tokio::test]
async fn a_tool_that_is_created_again_is_another_one() {
    on_each(async |_, store| {
        let create = async |digest: &str| -> ToolHead {
            deploy(store, "b", digest, &["b"]).await;
            store.tool_heads(&organization()).await.unwrap().remove(0)
        };
        let first = create("sha256:7").await;
        assert!(store.delete_tool(&organization(), "b").await.unwrap());
        let second = create("sha256:8").await;
        assert_eq!((first.number, second.number), (1, 1));
        assert!(first.made < second.made, "{first:?} {second:?}");
    })
    .await;
}

/// A tool's folder is created on first access and replaced by a writer that knows its version.
#[tokio::test]
async fn a_folder_is_replaced_by_whoever_knows_its_version() {
    on_each(async |_, store| {
        let organization = organization();
        deploy(store, "a", "sha256:1", &["a"]).await;
        assert_eq!(store.folder_size(&organization, "a").await.unwrap(), None);
        let begun = store.load_folder(&organization, "a").await.unwrap().unwrap();
        assert!(begun.archive.is_empty() && begun.version >= 0);
        let archive: Vec<u8> = (0..(2 << 20) + 7_u32).map(|n| (n % 253) as u8).collect();
        assert!(store.save_folder(&organization, "a", begun.version, &archive).await.unwrap());
        assert!(!store.save_folder(&organization, "a", begun.version, b"late").await.unwrap());
        let kept = store.load_folder(&organization, "a").await.unwrap().unwrap();
        assert!(kept.archive == archive && kept.version == begun.version + 1);
        assert_eq!(store.load_folder(&stranger(), "a").await.unwrap(), None);
        assert!(!store.save_folder(&stranger(), "a", kept.version, b"x").await.unwrap());
        assert!(store.save_folder(&organization, "a", kept.version, b"").await.unwrap());
        assert!(store.load_folder(&organization, "a").await.unwrap().unwrap().archive.is_empty());
        assert_eq!(store.folder_size(&organization, "a").await.unwrap().unwrap().bytes, 0);
        assert!(store.delete_tool(&organization, "a").await.unwrap());
        assert_eq!(store.load_folder(&organization, "a").await.unwrap(), None);
    })
    .await;
}
