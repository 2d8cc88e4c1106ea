//! Compilers that are shell scripts.

use std::time::Instant;

use super::*;

/// `$0` is the digest.
fn compiler(script: &str) -> Components {
    Components::new(ToolProgram {
        program: "/bin/sh".into(),
        worker: vec![],
        compile: vec!["-c".into(), script.into()],
        env: vec![("PATH".into(), std::env::var_os("PATH").unwrap_or_default())],
    })
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

const GOOD: &str = r#"printf '{"digest":"%s","size_bytes":'"$(wc -c)"',"functions":[],"imports":["a:b/c"]}\n' "$0""#;

#[tokio::test]
async fn a_component_is_handed_over_and_described() {
    let bytes = Bytes::from(vec![7; 1 << 20]);
    let component = compiler(GOOD).ensure(&digest(&bytes), bytes.clone()).await.unwrap();
    assert_eq!((component.size_bytes, component.imports), (1 << 20, vec!["a:b/c".to_owned()]));
    let wrong = compiler(GOOD).ensure(&digest(b"other"), bytes).await.unwrap_err();
    assert!(wrong.kind() == "invalid-request" && wrong.detail.contains("digest"), "{wrong:?}");
}

#[tokio::test]
async fn what_the_compiler_cannot_do_is_said() {
    let problem = serde_json::to_string(&Problem::bad_component("no component")).unwrap();
    for (script, kind) in [
        // It has not read its input: the pipe breaks.
        (format!("echo '{problem}'; exit 1"), "bad-component"),
        ("kill -9 $$".to_owned(), "bad-component"),
        ("exit 3".to_owned(), "internal"),
        ("echo nonsense".to_owned(), "internal"),
        (format!("{GOOD}; exit 1"), "internal"),
        (GOOD.replace("\"$0\"", "sha256:0"), "internal"),
        // Neither of them stops it: what is too much is let go.
        ("head -c 1000000 /dev/zero >&2; exit 1".to_owned(), "internal"),
    ] {
        let bytes = Bytes::from(vec![1; 4 << 20]);
        let refused = compiler(&script).ensure(&digest(&bytes), bytes).await.unwrap_err();
        assert_eq!(refused.kind(), kind, "{script}: {refused:?}");
    }
    let large = Bytes::from(vec![0; MAX_COMPONENT_BYTES + 1]);
    assert_eq!(compiler(GOOD).ensure("sha256:0", large).await.unwrap_err().kind(), "too-large");
}

#[tokio::test]
async fn the_same_component_is_compiled_once_for_all_who_wait_and_nobody_waits_for_a_child_that_is_not_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let (count, pid) = (folder.path().join("count"), folder.path().join("pid"));
    let components = Arc::new(compiler(&format!("echo x >> {}; sleep 0.3; {GOOD}", count.display())));
    let bytes = Bytes::from_static(b"component");
    let all: Vec<_> = (0..5)
        .map(|_| {
            let (components, bytes) = (Arc::clone(&components), bytes.clone());
            tokio::spawn(async move { components.ensure(&digest(&bytes), bytes.clone()).await })
        })
        .collect();
    for one in all {
        one.await.unwrap().unwrap();
    }
    assert_eq!(std::fs::read_to_string(&count).unwrap(), "x\n");
    components.ensure(&digest(&bytes), bytes.clone()).await.unwrap();
    assert_eq!(std::fs::read_to_string(&count).unwrap(), "x\nx\n", "nothing is remembered here");

    let components = compiler(&format!("echo $$ > {}; exec sleep 60", pid.display()));
    let given_up = tokio::time::timeout(Duration::from_millis(500), components.ensure(&digest(&bytes), bytes)).await;
    assert!(given_up.is_err());
    let pid = std::fs::read_to_string(pid).unwrap();
    let since = Instant::now();
    while std::fs::read(format!("/proc/{}/cmdline", pid.trim())).is_ok_and(|line| !line.is_empty()) {
        assert!(since.elapsed() < Duration::from_secs(5), "the child is still there");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
