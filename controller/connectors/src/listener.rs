//! Listens to what a server says unasked, mostly that its tools have changed. A convenience: without it a list is a few minutes
//! old at most. Never keeps a link alive, and bounded over all connectors together.

use std::sync::{Arc, Weak};
use std::time::Duration;

use cofferdam_core::backoff;
use http::header;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use crate::exchange::{reply, tell};
use crate::http::{Body, Bounds};
use crate::link::{Link, Session};
use crate::rpc::{Message, messages};
use crate::sse::Reader;
use crate::wire::{Fault, Head};

/// Streams of all connectors together. Others do without.
const MAX_LISTENERS: usize = 256;
/// The most bytes of one stream; a longer one is begun anew.
const MAX_STREAM_BYTES: usize = 1 << 20;
/// A silent stream is begun anew after this time, which also finds out that nobody uses the link any more.
const MAX_SILENCE: Duration = Duration::from_secs(120);
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Streams in a row that could not be opened.
const MAX_FAILURES: u32 = 10;
/// Requests of a server that are answered on one stream.
const MAX_ASKED: usize = 100;

static PLACES: Semaphore = Semaphore::const_new(MAX_LISTENERS);

/// Listens while the link is used and has this session.
pub(crate) fn start(link: &Arc<Link>, session: &Arc<Session>, head: Head) {
    let Ok(place) = PLACES.try_acquire() else { return };
    let (link, session) = (Arc::downgrade(link), Arc::downgrade(session));
    tokio::spawn(async move {
        let _place = place;
        listen(&link, &session, &head).await;
    });
}

async fn listen(link: &Weak<Link>, session: &Weak<Session>, head: &Head) {
    let (mut failures, mut last) = (0, None::<String>);
    loop {
        // The link and its session are held only while a stream is opened.
        let opened = {
            let (Some(link), Some(_)) = (link.upgrade(), session.upgrade()) else { return };
            let bounds = Bounds {
                max_bytes: MAX_STREAM_BYTES,
                idle: MAX_SILENCE,
                deadline: Instant::now() + Duration::from_secs(86_400),
            };
            link.wire.listen(head, last.as_deref(), bounds).await
        };
        match opened {
            Ok(answer) => {
                let kind = answer.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
                if !kind.is_some_and(|kind| kind.starts_with("text/event-stream")) {
                    return;
                }
                failures = 0;
                last = hear(link, head, answer.body, last).await;
            }
            Err(Fault::NotSent(..) | Fault::Unknown(_)) if failures < MAX_FAILURES => failures += 1,
            // It offers none, or does not let us in any more.
            Err(_) => return,
        }
        sleep(backoff(FIRST_WAIT, LONGEST_WAIT, failures)).await;
    }
}

/// Hears a stream to its end. Gives the id of its last event.
async fn hear(link: &Weak<Link>, head: &Head, mut body: Body, last: Option<String>) -> Option<String> {
    let mut reader = last.map_or_else(Reader::default, |last| Reader::after(&last, None));
    let mut asked = 0;
    while let Ok(Some(piece)) = body.piece().await {
        // A server that only drips comments must not keep its place when nobody uses the link any more.
        if link.strong_count() == 0 {
            return None;
        }
        for event in reader.push(&piece) {
            let link = link.upgrade()?;
            for message in messages(&event.data).unwrap_or_default() {
                match message {
                    Message::Notification { method, .. } if method == "notifications/tools/list_changed" => {
                        link.tools_changed();
                    }
                    Message::Request { id, method } if asked < MAX_ASKED => {
                        asked += 1;
                        if let Some(word) = reply(id, &method) {
                            tell(&link, head, &word, false);
                        }
                    }
                    _ => {}
                }
            }
        }
    }
    reader.last_id().map(str::to_owned)
}
