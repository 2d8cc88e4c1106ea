//! The memory of streams at rest, both sides of each connection together. Alone in its process, because it looks at all of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, dead_code)]

#[path = "suite/server.rs"]
mod server;

use http_body_util::BodyExt;

use server::{Server, Step, chat, chunk, json, openai, stream_head, whole};

const STREAMS: usize = 400;
/// This side and the server of the test, which has buffers of its own.
const MAX_BYTES_EACH: usize = 48 << 10;
const CALLS: usize = 2_000;

fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4_096
}

async fn streams(upstream: &std::sync::Arc<cofferdam_upstreams::Upstream>) -> Vec<cofferdam_upstreams::Sent> {
    let mut open = Vec::with_capacity(STREAMS);
    for _ in 0..STREAMS {
        let mut sent = chat(upstream).await.unwrap();
        sent.body.frame().await.unwrap().unwrap();
        open.push(sent);
    }
    open
}

#[tokio::test]
async fn a_stream_at_rest_holds_little_and_calls_leave_nothing() {
    let server = Server::start(|_| {
        let event = format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{}\"}}}}]}}\n\n", "x".repeat(100));
        vec![Step::Write([stream_head("text/event-stream"), chunk(event)].concat()), Step::Hang]
    })
    .await;
    let upstream = openai(&server);
    let before = resident();
    let open = streams(&upstream).await;
    let each = resident().saturating_sub(before) / STREAMS;
    eprintln!("{each} bytes a stream");
    assert!(each <= MAX_BYTES_EACH, "{each}");
    drop(open);

    let quick = Server::always(json(200, "{\"choices\":[]}")).await;
    let upstream = openai(&quick);
    for _ in 0..200 {
        whole(chat(&upstream).await.unwrap()).await.1.unwrap();
    }
    let (before, began) = (resident(), std::time::Instant::now());
    for _ in 0..CALLS {
        whole(chat(&upstream).await.unwrap()).await.1.unwrap();
    }
    eprintln!("{:?} a call", began.elapsed() / u32::try_from(CALLS).unwrap());
    // The server of the test remembers every request: about 700 bytes each.
    let grown = resident().saturating_sub(before);
    assert!(grown < CALLS * 2_048, "{grown}");
}
