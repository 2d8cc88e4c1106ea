//! Tools and their versions.

use cofferdam_contract::grants::{Grants, HttpGrant};
use cofferdam_contract::{Component, LimitsRequest, OrganizationId};
use cofferdam_controller::store::{KEPT_VERSIONS, Store, Switched, ToolVersionRow};

pub fn row(tool: &str, digest: &str) -> ToolVersionRow {
    ToolVersionRow {
        organization: OrganizationId::default_organization(),
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

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

pub async fn suite(store: &Store, unique: &str) {
    let organization = OrganizationId::default_organization();
    let (a, b) = (format!("a-{unique}"), format!("b-{unique}"));
    let before = store.tools_revision(&organization).await.unwrap();

    let first = row(&a, "sha256:1");
    let done = store.deploy_tool(&first, &names(&[&format!("{a}-x"), &format!("{a}-y")])).await.unwrap();
    assert_eq!(done, Switched::Done { number: 1, made: true });
    let kept = store.tool_version(&organization, &a, 1).await.unwrap().unwrap();
    let made = before + 1;
    assert_eq!(kept, ToolVersionRow { number: 1, current: true, made, ..first.clone() });
    assert_eq!(store.tools_revision(&organization).await.unwrap(), made);

    // A name that another tool has: nothing of the deployment is left.
    let taken = store.deploy_tool(&row(&b, "sha256:2"), &names(&[&format!("{a}-x")])).await.unwrap();
    assert_eq!(taken, Switched::Collision { name: format!("{a}-x"), tool: a.clone() });
    assert!(store.tool_versions(&organization, &b).await.unwrap().is_empty());
    assert!(!store.tool_heads(&organization).await.unwrap().iter().any(|head| head.tool == b));
    // The same tool may keep its names, and give one up for others to take.
    let done = store.deploy_tool(&row(&a, "sha256:3"), &names(&[&format!("{a}-y")])).await.unwrap();
    assert_eq!(done, Switched::Done { number: 2, made: false });
    let done = store.deploy_tool(&row(&b, "sha256:2"), &names(&[&format!("{a}-x")])).await.unwrap();
    assert_eq!(done, Switched::Done { number: 1, made: true });
    // Going back needs the name that is gone.
    let back = names(&[&format!("{a}-x"), &format!("{a}-y")]);
    let refused = store.switch_tool(&organization, &a, 1, &back).await.unwrap();
    assert_eq!(refused, Switched::Collision { name: format!("{a}-x"), tool: b.clone() });
    assert_eq!(current(store, &organization, &a).await, 2, "the refused switch has changed nothing");
    let done = store.switch_tool(&organization, &a, 1, &names(&[&a])).await.unwrap();
    assert_eq!(done, Switched::Done { number: 1, made: false });
    assert_eq!(current(store, &organization, &a).await, 1);
    assert_eq!(store.switch_tool(&organization, &a, 77, &[]).await.unwrap(), Switched::Missing);
    assert_eq!(store.switch_tool(&organization, "none", 1, &[]).await.unwrap(), Switched::Missing);

    // Numbers go on after a rollback, and only so many versions are kept.
    for _ in 0..KEPT_VERSIONS {
        store.deploy_tool(&row(&a, "sha256:4"), &names(&[&a])).await.unwrap();
    }
    let versions = store.tool_versions(&organization, &a).await.unwrap();
    let numbers: Vec<i64> = versions.iter().map(|version| version.number).collect();
    assert_eq!(numbers, (3..=2 + KEPT_VERSIONS).rev().collect::<Vec<_>>());
    assert!(versions[0].current && versions.iter().filter(|version| version.current).count() == 1);
    let digests = store.tool_digests().await.unwrap();
    assert!(digests.contains(&"sha256:4".to_owned()) && digests.contains(&"sha256:2".to_owned()));

    // Two at once: each gets a number of its own.
    let (one, two) = (row(&b, "sha256:5"), row(&b, "sha256:6"));
    let taken = names(&[&b]);
    let (one, two) = tokio::join!(store.deploy_tool(&one, &taken), store.deploy_tool(&two, &taken));
    let mut numbers: Vec<Switched> = vec![one.unwrap(), two.unwrap()];
    numbers.sort_by_key(|done| format!("{done:?}"));
    let done = |number| Switched::Done { number, made: false };
    assert_eq!(numbers, [done(2), done(3)]);

    let stranger = OrganizationId::parse("stranger").unwrap();
    assert!(store.tools(&stranger).await.unwrap().is_empty());
    folders(store, &organization, &a).await;
    assert!(store.delete_tool(&organization, &a).await.unwrap());
    assert_eq!(store.load_folder(&organization, &a).await.unwrap(), None);
    assert!(!store.delete_tool(&organization, &a).await.unwrap());
    assert!(store.tool_versions(&organization, &a).await.unwrap().is_empty());
    let serving = store.tools(&organization).await.unwrap();
    assert!(serving.iter().any(|tool| tool.tool == b && tool.current && tool.number == 3));
    assert!(store.delete_tool(&organization, &b).await.unwrap());

    // Made again it counts from 1 again, and is told from the one before all the same.
    let head = async || {
        let heads = store.tool_heads(&organization).await.unwrap();
        heads.into_iter().find(|head| head.tool == b).unwrap()
    };
    store.deploy_tool(&row(&b, "sha256:7"), &taken).await.unwrap();
    let first = head().await;
    assert!(store.delete_tool(&organization, &b).await.unwrap());
    store.deploy_tool(&row(&b, "sha256:8"), &taken).await.unwrap();
    let second = head().await;
    assert_eq!((first.number, second.number), (1, 1));
    assert!(first.made < second.made, "{first:?} {second:?}");
    assert!(store.delete_tool(&organization, &b).await.unwrap());
}

async fn current(store: &Store, organization: &OrganizationId, tool: &str) -> i64 {
    let versions = store.tool_versions(organization, tool).await.unwrap();
    versions.iter().find(|version| version.current).unwrap().number
}

/// A tool's folder: begun at the first look, replaced by whoever knows its version.
async fn folders(store: &Store, organization: &OrganizationId, tool: &str) {
    assert_eq!(store.folder_size(organization, tool).await.unwrap(), None);
    let begun = store.load_folder(organization, tool).await.unwrap().unwrap();
    assert!(begun.archive.is_empty() && begun.version >= 0);
    let archive: Vec<u8> = (0..(2 << 20) + 7_u32).map(|n| (n % 253) as u8).collect();
    assert!(store.save_folder(organization, tool, begun.version, &archive).await.unwrap());
    assert!(!store.save_folder(organization, tool, begun.version, b"late").await.unwrap());
    let kept = store.load_folder(organization, tool).await.unwrap().unwrap();
    assert!(kept.archive == archive && kept.version == begun.version + 1);
    let stranger = OrganizationId::parse("stranger").unwrap();
    assert_eq!(store.load_folder(&stranger, tool).await.unwrap(), None);
    assert!(!store.save_folder(&stranger, tool, kept.version, b"x").await.unwrap());
    assert!(store.save_folder(organization, tool, kept.version, b"").await.unwrap());
    assert!(store.load_folder(organization, tool).await.unwrap().unwrap().archive.is_empty());
    assert_eq!(store.folder_size(organization, tool).await.unwrap().unwrap().bytes, 0);
}
