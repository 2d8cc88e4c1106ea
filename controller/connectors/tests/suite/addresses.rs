//! Addresses: names that lead inside, names that change, redirects elsewhere.

use std::net::IpAddr;

use cofferdam_connectors::CallError;
use cofferdam_testkit::database::On;
use cofferdam_testkit::mcp::{McpServer, answer};

use crate::rig::{Rig, spec};

#[tokio::test]
async fn a_name_that_leads_inside_is_not_dialled() {
    let server = McpServer::start(|_| None).await;
    let rig = Rig::on(On::Sqlite, &[]).await;
    let url = format!("https://a.example:{}/mcp", server.address.port());
    rig.put(spec(&url)).await;
    for inside in
        ["127.0.0.1", "169.254.169.254", "10.1.2.3", "::1", "::ffff:127.0.0.1", "fd00::1", "0.0.0.0", "100.64.0.1"]
    {
        rig.names.0.lock().insert("a.example".to_owned(), vec![inside.parse::<IpAddr>().unwrap()]);
        let error = rig.connectors.tools(&rig.caller.organization, "x", None).await.unwrap_err();
        assert!(matches!(&error, CallError::Refused(why) if why.contains("may have")), "{inside}: {error:?}");
    }
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn each_connection_is_judged_anew() {
    // The first look-up is good, the second one leads to the metadata service: rebinding.
    let server = McpServer::start(|asked| {
        let mut reply = answer(200, &[("connection", "close")], "");
        (asked.rpc() == "tools/call").then(|| std::mem::take(&mut reply))
    })
    .await;
    let rig = Rig::new().await;
    rig.names.0.lock().insert("a.example".to_owned(), vec!["127.0.0.1".parse().unwrap()]);
    rig.put(spec(&format!("http://a.example:{}/mcp", server.address.port()))).await;
    rig.connectors.tools(&rig.caller.organization, "x", None).await.unwrap();
    // The connection is closed by this answer.
    let _ = rig.call("a").await;
    rig.names.0.lock().insert("a.example".to_owned(), vec!["169.254.169.254".parse().unwrap()]);
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    let before = server.count("tools/call");
    let mut last = None;
    for _ in 0..3 {
        last = Some(rig.call("a").await.unwrap_err());
    }
    assert!(matches!(last, Some(CallError::Refused(_))), "{last:?}");
    assert!(server.count("tools/call") <= before + 1);
}

#[tokio::test]
async fn redirects_lead_nowhere_else() {
    let inner = McpServer::start(|_| None).await;
    let other = inner.url();
    for to in [
        "http://169.254.169.254/latest/meta-data",
        &other,
        "https://evil.example/mcp",
        "file:///etc/passwd",
        "//evil.example/",
    ] {
        for status in [301, 302, 303, 307, 308] {
            let target = to.to_owned();
            let server = McpServer::start(move |_| Some(answer(status, &[("location", &target)], ""))).await;
            let rig = Rig::new().await;
            rig.put(spec(&server.url())).await;
            let error = rig.connectors.tools(&rig.caller.organization, "x", None).await.unwrap_err();
            assert!(matches!(error, CallError::Answered(_)), "{to} {status}: {error:?}");
        }
    }
    assert!(inner.asked().is_empty());
    // Within the server, a slash at the end is often missing.
    let server =
        McpServer::start(|asked| (asked.path == "/mcp").then(|| answer(307, &[("location", "/mcp/")], ""))).await;
    let rig = Rig::new().await;
    rig.put(spec(&server.url())).await;
    assert!(rig.call("a").await.is_ok());
    let server = McpServer::start(|_| Some(answer(307, &[("location", "/mcp")], ""))).await;
    rig.put(spec(&server.url())).await;
    assert!(matches!(rig.call("a").await, Err(CallError::Answered(_))), "in circles");
}
