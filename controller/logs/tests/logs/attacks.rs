//! Hostile agents, and followers that do not read: others are unaffected, memory stays bounded, nothing leaks.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use cofferdam_logs::{LogQuery, LogsConfig};
use cofferdam_redact::Redactor;

use super::{Event, Place, Reader, ask, history, in_order, watch};
use cofferdam_testkit::alone::alone;
use cofferdam_testkit::cluster::{FakeCluster, workload};

/// Private memory of this process in MiB.
fn memory() -> u64 {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = text.lines().find(|line| line.starts_with("Private_Dirty:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1_024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_of_any_kind_stay_lines() {
    let (place, (cluster, any)) = (Place::new(), FakeCluster::pair());
    let logs = place.logs().await;
    let id = workload("a", 1);
    let pod = cluster.pod(&id, "p", 0);
    watch(&logs, &id, &any);
    let all_bytes: String = (0..=0x2ff_u32).filter_map(char::from_u32).filter(|c| *c != '\n').collect();
    for text in [
        "\n\nevent: log\ndata: {\"seq\":1}\n\n",
        "id: 99999999\revent: end\r\rdata: x",
        &all_bytes,
        &"x".repeat(64 << 10),
        &"é".repeat(32 << 10),
        "",
        "\u{1b}[2J\u{1b}]0;pwned\u{7}visible",
        "{\"seq\":18446744073709551615,\"positions\":{\"containers\":[]}}",
        "{\"positions\":{\"containers\":[]}}",
    ] {
        pod.write(text);
    }
    pod.write("end");
    let mut reader = Reader::new(&logs, "a", ask(LogQuery::default()));
    let lines = reader.lines(10).await;
    assert_eq!(lines[9].line, "end");
    assert!(lines[3].line.starts_with("xxx") && lines[3].line.ends_with("[cut: 49152 bytes more]"));
    assert!(lines.iter().all(|line| line.line.len() < (16 << 10) + 64));
    assert!(lines.iter().all(|line| !line.line.chars().any(|c| c.is_control() && c != '\t')));
    assert_eq!(lines[6].line, "visible");
    in_order(&lines);
    logs.close().await;
    let again = place.logs().await;
    assert_eq!(history(&again, "a").await, lines, "the same from the store");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_gone_before_anything_is_stored_or_shown() {
    let (place, (cluster, any)) = (Place::new(), FakeCluster::pair());
    let logs = place.logs().await;
    let id = workload("a", 1);
    let pod = cluster.pod(&id, "p", 0);
    let secret = "s3cr3t/with+odd=chars&more";
    logs.watch(&id, &any, Arc::new(Redactor::new([secret, "shorter-secret"]).unwrap()));
    let encoded = "czNjcjN0L3dpdGgrb2RkPWNoYXJzJm1vcmU";
    for text in [
        format!("plain {secret}"),
        format!("json {{\"k\":\"{}\"}}", secret.replace('/', "\\/")),
        "url s3cr3t%2Fwith%2Bodd%3Dchars%26more".to_owned(),
        format!("base64 {encoded}"),
        "two shorter-secret and shorter-secret".to_owned(),
        format!("{}{secret}", "x".repeat((16 << 10) - 10)),
        "Authorization: Bearer abcdefghijklmnopqrstuvwxyz".to_owned(),
        "key sk-ant-api03-abcdefghijklmnopqrstuvwxyz0123".to_owned(),
        "-----BEGIN PRIVATE KEY-----".to_owned(),
        "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7".to_owned(),
        "-----END PRIVATE KEY-----".to_owned(),
    ] {
        pod.write(&text);
    }
    pod.write("end");
    let mut reader = Reader::new(&logs, "a", ask(LogQuery::default()));
    let shown = reader.lines(12).await;
    logs.close().await;
    let shown: String = shown.iter().map(|line| format!("{}\n", line.line)).collect();
    for text in [shown, place.stored().await] {
        for leak in ["s3cr3t", "with+odd", encoded, "shorter-secret", "abcdefghij", "MIIEvQ", "chars%26"] {
            assert!(!text.contains(leak), "{leak} in {text}");
        }
        assert!(text.matches("[redacted]").count() >= 11, "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_writes_too_fast_is_cut_down_and_said_so() {
    let (place, (cluster, any)) = (Place::new(), FakeCluster::pair());
    let limits = LogsConfig { rate: 200_000, ..LogsConfig::default() };
    let logs = place.logs_with(limits).await;
    let (noisy, calm) = (workload("noisy", 1), workload("calm", 1));
    let (loud, quiet) = (cluster.pod(&noisy, "p", 0), cluster.pod(&calm, "q", 0));
    watch(&logs, &noisy, &any);
    watch(&logs, &calm, &any);
    let mut reader = Reader::new(&logs, "noisy", ask(LogQuery::default()));
    let mut other = Reader::new(&logs, "calm", ask(LogQuery::default()));
    // Tiny lines and long ones: 30 MB.
    loud.write_all((0..100_000).map(|n| n.to_string()));
    loud.write_all((0..2_000).map(|_| "y".repeat(15_000)));
    for n in 0..20 {
        let written = Instant::now();
        quiet.write(&n.to_string());
        assert_eq!(other.line().await.line, n.to_string());
        assert!(written.elapsed() < Duration::from_millis(500), "{:?}", written.elapsed());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    loud.end();
    let (mut shown, mut left_out, mut bytes) = (0_u64, 0_u64, 0);
    while shown + left_out < 102_000 {
        let line = reader.line().await;
        bytes += line.line.len();
        match line.line.strip_prefix("[cofferdam: ") {
            Some(remark) => left_out += remark.split(' ').next().unwrap().parse::<u64>().unwrap(),
            None => shown += 1,
        }
    }
    assert_eq!(shown + left_out, 102_000, "every line is shown or counted");
    assert!(bytes < 15_000_000 && shown > 2_000, "{bytes} bytes, {shown} lines");
    logs.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_that_do_not_read_cost_nothing_and_lose_nothing() {
    if alone("attacks::followers_that_do_not_read_cost_nothing_and_lose_nothing") {
        return;
    }
    let (place, (cluster, any)) = (Place::new(), FakeCluster::pair());
    let logs = place.logs_with(LogsConfig { rate: 1 << 30, ..LogsConfig::default() }).await;
    let id = workload("a", 1);
    let pod = cluster.pod(&id, "p", 0);
    watch(&logs, &id, &any);
    pod.write("first");
    let mut stalled: Vec<_> = (0..1_000).map(|_| Reader::new(&logs, "a", ask(LogQuery::default()))).collect();
    for reader in &mut stalled {
        assert_eq!(reader.line().await.line, "first");
    }
    let mut live = Reader::new(&logs, "a", ask(LogQuery { tail: Some(0), ..LogQuery::default() })).begun().await;
    let before = memory();
    const LINES: usize = 60_000;
    let writer = tokio::spawn(async move {
        for n in 0..LINES / 500 {
            pod.write_all((0..500).map(|k| format!("{} {}", n * 500 + k, "z".repeat(80))));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let lines = live.lines(LINES).await;
    in_order(&lines);
    writer.await.unwrap();
    drop(lines);
    // The script itself keeps all lines: 60,000 of about 200 bytes. Lines kept for a thousand followers would be 100
    // times as much.
    let grown = memory().saturating_sub(before);
    assert!(grown < 256, "{grown} MiB more");
    for reader in stalled.iter_mut().take(2) {
        for n in 0..LINES {
            let line = reader.line().await;
            assert!(line.line.starts_with(&format!("{n} z")), "{n}: {}", line.line);
        }
    }
    logs.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_retention_removed_is_told_as_a_gap() {
    let (place, (cluster, any)) = (Place::new(), FakeCluster::pair());
    let logs = place.logs_with(LogsConfig { bytes: 100_000, rate: 1 << 30, ..LogsConfig::default() }).await;
    let id = workload("a", 1);
    let pod = cluster.pod(&id, "p", 0);
    watch(&logs, &id, &any);
    let mut reader = Reader::new(&logs, "a", ask(LogQuery::default()));
    pod.write("first");
    let first = reader.line().await;
    let mut random = 7_u64;
    let mut noise = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        format!("{random:016x}")
    };
    for _ in 0..40 {
        pod.write_all((0..1_000).map(|_| (0..8).map(|_| noise()).collect::<String>()));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    pod.write("last");
    logs.drain(&id).await;
    let (mut gap, mut last) = (None, first.seq);
    loop {
        match reader.event().await.unwrap() {
            Event::Gap(data) => {
                let data: serde_json::Value = serde_json::from_str(&data).unwrap();
                assert!(data["from"].as_u64().unwrap() > last, "{data}");
                gap = data["to"].as_u64();
            }
            Event::Line(line) => {
                assert!(line.seq > last && gap.is_none_or(|gap| line.seq > gap));
                last = line.seq;
                if line.line == "last" {
                    break;
                }
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(gap.is_some(), "lines are missing without a gap event");
    let files = std::fs::read_dir(place.folder.path().join("objects/logs/default/a")).unwrap();
    let size: u64 = files.map(|file| file.unwrap().metadata().unwrap().len()).sum();
    assert!(size < 1_000_000, "{size}");
    // Who comes back with an old id is told, too; who comes new is not.
    let query = LogQuery { follow: Some("false".into()), ..LogQuery::default() };
    let mut back = Reader::new(&logs, "a", query.understand(Some(&first.seq.to_string())).unwrap());
    assert!(matches!(back.event().await, Some(Event::Gap(_))));
    assert!(matches!(Reader::new(&logs, "a", ask(query)).event().await, Some(Event::Line(_))));
    logs.close().await;
}
