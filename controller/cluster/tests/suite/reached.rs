//! The way to a cluster: kubeconfigs, TLS, credentials, addresses, time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cofferdam_cluster::{Access, ClusterError, KubernetesClusters, Options, decode_kubeconfig};
use cofferdam_policy::Cidr;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::api::{Api, Settings, TOKEN, id, serving_with, settings};
use super::raw;

async fn seen(api: &Api, change: impl FnOnce(&mut Value)) -> Result<(), ClusterError> {
    let mut kubeconfig = api.kubeconfig();
    change(&mut kubeconfig);
    let outcome = match settings(&kubeconfig).connect(&api.clusters) {
        Ok(cluster) => cluster.see(&id()).await.map(drop),
        Err(error) => Err(error),
    };
    assert!(!format!("{outcome:?}").contains(TOKEN), "{outcome:?}");
    outcome
}

#[track_caller]
fn says(outcome: Result<(), ClusterError>, kind: &str, words: &[&str]) {
    let error = outcome.expect_err("an error");
    let is = match error {
        ClusterError::None(_) => "none",
        ClusterError::Settings(_) => "settings",
        ClusterError::Unreachable(_) => "unreachable",
        ClusterError::Refused(_) => "refused",
        ClusterError::Conflict(_) => "conflict",
    };
    assert_eq!(is, kind, "{error}");
    for word in words {
        assert!(error.to_string().contains(word), "no {word:?} in: {error}");
    }
}

#[tokio::test]
async fn certificates_and_credentials_are_what_they_have_to_be() {
    let (api, other) = (Api::start().await, Api::start().await);
    seen(&api, |_| ()).await.unwrap();
    let cluster = "/clusters/0/cluster";
    let set = |kubeconfig: &mut Value, at: &str, key: &str, value: Value| {
        kubeconfig.pointer_mut(at).unwrap()[key] = value;
    };

    let foreign = other.kubeconfig()["clusters"][0]["cluster"]["certificate-authority-data"].clone();
    let outcome = seen(&api, |k| set(k, cluster, "certificate-authority-data", foreign)).await;
    says(outcome, "refused", &["authority", "certificate-authority-data"]);
    let outcome = seen(&api, |k| {
        k.pointer_mut(cluster).unwrap().as_object_mut().unwrap().remove("certificate-authority-data");
    });
    says(outcome.await, "refused", &["authority"]);
    let outcome = seen(&api, |k| set(k, cluster, "tls-server-name", "another.example".into())).await;
    says(outcome, "refused", &["another name", "tls-server-name"]);
    seen(&api, |k| set(k, cluster, "tls-server-name", "kubernetes.default".into())).await.unwrap();

    let outcome = seen(&api, |k| set(k, "/users/0/user", "token", "another-token".into())).await;
    says(outcome, "refused", &["401", "expired"]);
    let outcome = seen(&api, |k| set(k, "/users/0/user", "token", "with\na line".into())).await;
    says(outcome, "settings", &["token"]);
}

/// A self-signed certificate that is its own authority, as kubectl takes it: exactly the one of the kubeconfig, for its own
/// names, in its time.
#[tokio::test]
async fn a_servers_own_certificate_may_be_the_kubeconfigs_authority() {
    let own = |names: &[&str], until: i32| {
        let mut params =
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        (certificate.pem(), serving_with(&certificate, &key))
    };
    let answer = |_, mut stream| async move {
        raw::write(&mut stream, &raw::whole("404 No", "", br#"{"status":"Failure"}"#)).await;
    };
    let (other, _) = own(&["127.0.0.1"], 4_000);
    for (names, until, pins, kind, words) in [
        (["127.0.0.1"].as_slice(), 4_000, true, "(404)", None),
        (&["kubernetes.default"], 4_000, true, "another name", None),
        (&["127.0.0.1"], 2_020, true, "expired", None),
        (&["127.0.0.1"], 4_000, false, "not trusted", Some(&other)),
    ] {
        let (pem, config) = own(names, until);
        let api = raw::Raw::with(if pins { pem } else { words.cloned().unwrap() }, config, answer).await;
        let error = api.see().await.unwrap_err();
        assert!(error.to_string().contains(kind), "{names:?} {until} {pins}: {error}");
        assert_eq!(api.heads().is_empty(), kind != "(404)", "no credentials go to a server that is not trusted");
    }
}

#[tokio::test]
async fn servers_that_are_none_are_said_to_be_none() {
    let api = Api::start().await;
    let server = |port: u16| {
        move |k: &mut Value| k["clusters"][0]["cluster"]["server"] = format!("https://127.0.0.1:{port}").into()
    };

    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    says(seen(&api, server(port)).await, "unreachable", &["Nothing listens", &port.to_string()]);

    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = plain.local_addr().unwrap().port();
    let answering = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut kept = Vec::new();
        while let Ok((mut stream, _)) = plain.accept().await {
            let _ = stream.read(&mut [0; 4_096]).await;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            kept.push(stream);
        }
    });
    says(seen(&api, server(port)).await, "refused", &["does not speak TLS"]);
    answering.abort();

    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let started = Instant::now();
    let outcome = seen(&api, server(silent.local_addr().unwrap().port())).await;
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    says(outcome, "unreachable", &["within 5 s"]);

    let outcome = seen(&api, |k| k["clusters"][0]["cluster"]["server"] = "https://cluster.invalid:6443".into()).await;
    says(outcome, "unreachable", &["cluster.invalid:6443", "not known"]);
}

/// A caller's kubeconfig cannot reach addresses that only this machine can.
#[tokio::test]
async fn addresses_of_this_machine_are_the_operators_to_allow() {
    let api = Api::start().await;
    let strict = KubernetesClusters::new(Options::default());
    let at = |server: String| {
        let mut kubeconfig = api.kubeconfig();
        kubeconfig["clusters"][0]["cluster"]["server"] = server.into();
        settings(&kubeconfig)
    };
    for host in
        ["127.0.0.1", "[::1]", "169.254.169.254", "0.0.0.0", "[::ffff:127.0.0.1]", "[fe80::1]", "100.100.100.200"]
    {
        let error = at(format!("https://{host}:{}", api.port)).connect(&strict).map(drop).unwrap_err();
        assert!(matches!(&error, ClusterError::Settings(text) if text.contains("network.private")), "{host}: {error}");
    }
    // Names, and addresses in clothes that only a resolver takes off.
    for host in ["localhost", "127.1", "2130706433", "0x7f.1", "0177.0.0.1"] {
        let outcome = match at(format!("https://{host}:{}", api.port)).connect(&strict) {
            Ok(cluster) => cluster.see(&id()).await.map(drop),
            Err(error) => Err(error),
        };
        let error = outcome.expect_err(host);
        let refused = matches!(&error, ClusterError::Settings(text) if text.contains("network.private"));
        // TLS refuses some of them as names, before a resolver sees them.
        let unknown = ["not known", "could not be made"].iter().any(|words| error.to_string().contains(words));
        assert!(refused || (unknown && host != "localhost"), "{host}: {error}");
    }
    assert!(api.asked().is_empty());
    let options = Options { private: vec![Cidr::parse("127.0.0.0/8").unwrap()], ..Options::default() };
    let clusters = KubernetesClusters::new(options);
    at(format!("https://127.0.0.1:{}", api.port)).connect(&clusters).unwrap().see(&id()).await.unwrap();
}

#[tokio::test]
async fn the_operators_own_kubeconfig_may_name_files_and_programs() {
    let api = Api::start().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ca.pem"), &api.authority).unwrap();
    std::fs::write(folder.path().join("token"), TOKEN).unwrap();
    let program = folder.path().join("credentials");
    let credential =
        json!({"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1", "status": {"token": TOKEN}});
    std::fs::write(&program, format!("#!/bin/sh\necho '{credential}'\n")).unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut kubeconfig = api.kubeconfig();
    kubeconfig["clusters"][0]["cluster"]["certificate-authority"] = "ca.pem".into();
    kubeconfig["clusters"][0]["cluster"].as_object_mut().unwrap().remove("certificate-authority-data");
    let path = folder.path().join("config");
    let exec = json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": program, "interactiveMode": "Never"}});
    let failing = json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "/bin/false", "interactiveMode": "Never"}});
    for (user, works) in [(json!({"tokenFile": "token"}), true), (exec, true), (failing, false)] {
        kubeconfig["users"][0]["user"] = user.clone();
        std::fs::write(&path, kubeconfig.to_string()).unwrap();
        let own = Settings {
            access: Access::Operator { path: path.clone(), context: Some("tests".to_owned()) },
            ..settings(&kubeconfig)
        };
        let outcome = own.connect(&KubernetesClusters::new(Options::default())).unwrap().see(&id()).await;
        assert_eq!(outcome.is_ok(), works, "{user}: {outcome:?}");
        // The same, handed over.
        let error = settings(&kubeconfig).connect(&api.clusters).map(drop).unwrap_err();
        assert!(matches!(error, ClusterError::Settings(_)), "{error:?}");
    }
    std::fs::remove_file(&path).unwrap();
    let own = Settings { access: Access::Operator { path, context: None }, ..settings(&kubeconfig) };
    let error = own.connect(&KubernetesClusters::new(Options::default())).unwrap().see(&id()).await.unwrap_err();
    assert!(matches!(&error, ClusterError::Settings(text) if text.contains("KUBECONFIG")), "{error:?}");
}

#[tokio::test]
async fn environments_with_the_same_settings_share_a_client() {
    let api = Api::start().await;
    let first = api.cluster();
    assert!(Arc::ptr_eq(&first, &api.cluster()));
    let mut other = settings(&api.kubeconfig());
    other.namespace = "others".to_owned();
    assert!(!Arc::ptr_eq(&first, &other.connect(&api.clusters).unwrap()));
    other.namespace = "../kube-system".to_owned();
    let error = other.connect(&api.clusters).map(drop).unwrap_err();
    assert!(matches!(error, ClusterError::Settings(_)), "{error:?}");
    // Many clusters at once: the oldest of the clients goes.
    for number in 0..200 {
        let mut one = settings(&api.kubeconfig());
        one.namespace = format!("n{number}");
        one.connect(&api.clusters).unwrap();
    }
    assert!(!Arc::ptr_eq(&first, &api.cluster()));
}

#[tokio::test]
async fn without_a_cluster_it_says_so() {
    let mut nowhere = settings(&Value::Null);
    nowhere.access = Access::None("KUBECONFIG is not set and this is no pod.".to_owned());
    let cluster = nowhere.connect(&KubernetesClusters::new(Options::default())).unwrap();
    let error = cluster.apply(&super::api::workload()).await.unwrap_err();
    let says = error.to_string();
    assert!(matches!(error, ClusterError::None(_)), "{says}");
    assert!(says.contains("KUBECONFIG is not set") && says.contains("cofferdam environment create"), "{says}");
    assert!(matches!(cluster.see(&id()).await, Err(ClusterError::None(_))));
    cluster.remove(&id()).await.unwrap();
}

#[test]
fn base64_of_a_kubeconfig_is_read_with_its_line_breaks() {
    assert_eq!(decode_kubeconfig("YXBp\nVmVyc2lvbjogdjE=\n").unwrap(), "apiVersion: v1");
    for bad in ["%%%", "YXBpVmVyc2lvbjogdjE", "//79", &"A".repeat(1_000_000)] {
        let error = decode_kubeconfig(bad).unwrap_err();
        assert!(matches!(&error, ClusterError::Settings(text) if text.contains("base64 -w0")), "{error:?}");
    }
}
