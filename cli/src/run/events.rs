//! Reads a run's events from their stream.

use anyhow::Context;
use cofferdam_contract::Event;
use sse_stream::Sse;

/// Reads an event of a run; `None` for one without a name or data.
pub(super) fn read(sent: &Sse) -> anyhow::Result<Option<Event>> {
    let (Some(name), Some(data)) = (&sent.event, &sent.data) else { return Ok(None) };
    // `Event` is tagged by the event's name beside the data.
    let name = serde_json::to_string(name).context("an event's name")?;
    let json = format!(r#"{{"event":{name},"data":{data}}}"#);
    serde_json::from_str(&json).context("an event could not be read")
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use cofferdam_contract::run::{RunError, TextChunk};
    use futures_util::{StreamExt, stream};
    use sse_stream::SseStream;

    #[tokio::test]
    async fn events_are_whole_however_they_are_cut() {
        let sent = [
            Event::Stdout(TextChunk { text: "a\n\nä".into() }),
            Event::Stderr(TextChunk { text: String::new() }),
            Event::Error(RunError { name: "E".into(), message: "m".into(), traceback: "t".into() }),
        ];
        let bytes = format!(": comment\n\n{}", sent.iter().map(Event::to_sse).collect::<String>()).into_bytes();
        for size in 1..=bytes.len() {
            let pieces = bytes.chunks(size).map(|piece| Ok::<_, std::io::Error>(Bytes::copy_from_slice(piece)));
            let frames = SseStream::from_bytes_stream(stream::iter(pieces)).map(|frame| read(&frame.unwrap()).unwrap());
            let got: Vec<Event> = frames.filter_map(std::future::ready).collect().await;
            assert_eq!(got, sent, "pieces of {size}");
        }
        assert_eq!(read(&Sse::default().data("{}")).unwrap(), None);
        assert!(read(&Sse::default().event("stdout").data("{")).is_err());
    }
}
