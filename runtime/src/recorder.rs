//! Records a run's output, results, error and exit code, under one budget of bytes.
//!
//! Everything here comes from the guest and is trusted only as far as its size. A listener also gets it as events while
//! it happens. Pending events are merged, so they never exceed the budget.

use std::sync::Arc;

use cofferdam_contract::run::{ResultChunk, TextChunk};
use cofferdam_contract::{Event, MimeBundle, RunError};
use serde::Deserialize;

use crate::events::EventQueue;

/// One of the two output streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// The run said more than `limits.output_bytes` allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverBudget;

/// The most results of one run. The last expression's value always has room.
const MAX_RESULTS: usize = 1_000;

/// A request through the kernel's door.
#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
enum DoorRequest {
    Result {
        #[serde(default)]
        main: bool,
        data: MimeBundle,
    },
    Error {
        name: String,
        message: String,
        #[serde(default)]
        traceback: String,
    },
    Exit {
        code: i32,
    },
}

/// The recording of one run so far.
#[derive(Debug, Default)]
pub struct Recorder {
    budget: u64,
    texts: [Text; 2],
    main_result: Option<MimeBundle>,
    results: Vec<MimeBundle>,
    /// Results that count as shown, including those that a listener took, and results that were dropped.
    shown: usize,
    main_shown: bool,
    dropped: u64,
    error: Option<RunError>,
    exit_code: Option<i32>,
    over_budget: bool,
    listener: Option<Arc<EventQueue>>,
}

/// Replaces unpaired surrogates (`\uD800` to `\uDFFF`) by U+FFFD. Interpreters have such texts, but Unicode does not
/// allow them.
fn mend_surrogates(json: &[u8]) -> Vec<u8> {
    let unit = |at: usize| -> Option<u16> {
        let hex = json.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u16::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()
    };
    let mut mended = Vec::with_capacity(json.len());
    let mut at = 0;
    while let Some(byte) = json.get(at) {
        let (kept, taken): (Option<usize>, usize) = match (byte, unit(at)) {
            (b'\\', Some(0xD800..=0xDBFF)) if matches!(unit(at + 6), Some(0xDC00..=0xDFFF)) => (Some(12), 12),
            (b'\\', Some(0xD800..=0xDFFF)) => (None, 6),
            (b'\\', Some(_)) => (Some(6), 6),
            (b'\\', None) => (Some(2), 2),
            _ => (Some(1), 1),
        };
        match kept {
            Some(len) => mended.extend_from_slice(json.get(at..at + len).unwrap_or_default()),
            None => mended.extend_from_slice(b"\\ufffd"),
        }
        at += taken;
    }
    mended
}

/// The text of one stream, and the bytes of an incomplete character.
#[derive(Debug, Default)]
struct Text {
    whole: String,
    partial: Vec<u8>,
}

impl Text {
    /// Adds bytes and returns the text that is complete now. Invalid UTF-8 becomes U+FFFD.
    fn push(&mut self, bytes: &[u8], last: bool) -> String {
        let mut all = std::mem::take(&mut self.partial);
        all.extend_from_slice(bytes);
        let mut text = String::with_capacity(all.len());
        let mut rest = all.as_slice();
        loop {
            match std::str::from_utf8(rest) {
                Ok(good) => {
                    text.push_str(good);
                    break;
                }
                Err(e) => {
                    let (good, after) = rest.split_at(e.valid_up_to());
                    text.push_str(&String::from_utf8_lossy(good));
                    match e.error_len() {
                        Some(len) => {
                            text.push(char::REPLACEMENT_CHARACTER);
                            rest = after.get(len..).unwrap_or_default();
                        }
                        None if last => {
                            text.push(char::REPLACEMENT_CHARACTER);
                            break;
                        }
                        None => {
                            self.partial = after.to_vec();
                            break;
                        }
                    }
                }
            }
        }
        text
    }
}

/// The finished recording of a run.
#[derive(Debug, Default)]
pub struct Record {
    pub stdout: String,
    pub stderr: String,
    pub results: Vec<MimeBundle>,
    pub error: Option<RunError>,
    pub exit_code: Option<i32>,
}

impl Recorder {
    pub fn new(budget: u64, listener: Option<Arc<EventQueue>>) -> Self {
        Self { budget, listener, ..Self::default() }
    }

    /// True if the run was cut off because it said too much.
    pub fn is_over_budget(&self) -> bool {
        self.over_budget
    }

    fn spend(&mut self, bytes: usize) -> Result<(), OverBudget> {
        match self.budget.checked_sub(bytes as u64) {
            Some(left) => {
                self.budget = left;
                Ok(())
            }
            None => {
                self.over_budget = true;
                Err(OverBudget)
            }
        }
    }

    /// Records output. Keeps the part that fits even if the whole does not.
    pub fn write(&mut self, stream: Stream, bytes: &[u8]) -> Result<(), OverBudget> {
        let fits = usize::try_from(self.budget).unwrap_or(usize::MAX).min(bytes.len());
        let (kept, _) = bytes.split_at(fits);
        self.text(stream, kept, false);
        self.budget -= fits as u64;
        self.spend(bytes.len() - fits)
    }

    fn text(&mut self, stream: Stream, bytes: &[u8], last: bool) {
        let [stdout, stderr] = &mut self.texts;
        let target = if stream == Stream::Stdout { stdout } else { stderr };
        let text = target.push(bytes, last);
        if text.is_empty() {
            return;
        }
        match &self.listener {
            Some(queue) => {
                let (bytes, chunk) = (text.len(), TextChunk { text });
                let event = if stream == Stream::Stdout { Event::Stdout(chunk) } else { Event::Stderr(chunk) };
                queue.push(event, bytes);
            }
            None => target.whole.push_str(&text),
        }
    }

    /// Answers a request through the door.
    pub fn door(&mut self, request: &[u8]) -> Result<Vec<u8>, String> {
        let bytes = request.len();
        self.spend(bytes).map_err(|OverBudget| "the output limit is reached".to_owned())?;
        let request: DoorRequest = serde_json::from_slice(request)
            .or_else(|e| serde_json::from_slice(&mend_surrogates(request)).map_err(|_| e))
            .map_err(|e| format!("the sandbox does not support this request: {e}"))?;
        match request {
            DoorRequest::Result { main, data } => self.result(main, data, bytes),
            DoorRequest::Error { name, message, traceback } => {
                self.error.get_or_insert(RunError { name, message, traceback });
            }
            DoorRequest::Exit { code } => {
                self.exit_code.get_or_insert(code);
            }
        }
        Ok(b"{}".to_vec())
    }

    /// Results beyond the bound are only counted, for the note at the end.
    fn result(&mut self, main: bool, data: MimeBundle, bytes: usize) {
        let first_main = main && !self.main_shown;
        self.main_shown |= main;
        if !first_main {
            if self.shown == MAX_RESULTS {
                self.dropped += 1;
                return;
            }
            self.shown += 1;
        }
        match &self.listener {
            Some(queue) => queue.push(Event::Result(ResultChunk { data, main: first_main }), bytes),
            None if first_main => self.main_result = Some(data),
            None => self.results.push(data),
        }
    }

    /// Ends the recording.
    pub fn finish(mut self) -> Record {
        self.text(Stream::Stdout, &[], true);
        self.text(Stream::Stderr, &[], true);
        if let dropped @ 1.. = self.dropped {
            let note = format!("[{dropped} results were dropped: a run shows {MAX_RESULTS} and the last value]\n");
            self.text(Stream::Stderr, note.as_bytes(), true);
        }
        let [stdout, stderr] = self.texts;
        Record {
            stdout: stdout.whole,
            stderr: stderr.whole,
            results: self.main_result.into_iter().chain(self.results).collect(),
            error: self.error,
            exit_code: self.exit_code,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_survives_being_cut_anywhere() {
        let text = "aä€😀\u{0}z".as_bytes();
        for cut in 0..=text.len() {
            let mut recorder = Recorder::new(1_000, None);
            recorder.write(Stream::Stdout, &text[..cut]).unwrap();
            recorder.write(Stream::Stdout, &text[cut..]).unwrap();
            assert_eq!(recorder.finish().stdout.as_bytes(), text, "cut at {cut}");
        }
        let mut recorder = Recorder::new(1_000, None);
        recorder.write(Stream::Stderr, b"a\xff\xe2\x82").unwrap();
        assert_eq!(recorder.finish().stderr, "a\u{fffd}\u{fffd}");
    }

    #[test]
    fn the_budget_counts_everything_that_is_said() {
        let mut recorder = Recorder::new(100, None);
        assert_eq!(recorder.write(Stream::Stdout, &[b'a'; 60]), Ok(()));
        assert!(recorder.door(br#"{"op":"exit","code":3}"#).is_ok());
        assert_eq!(recorder.write(Stream::Stderr, &[b'b'; 60]), Err(OverBudget));
        assert!(recorder.is_over_budget());
        let record = recorder.finish();
        assert_eq!((record.stdout.len(), record.stderr.len(), record.exit_code), (60, 18, Some(3)));
    }

    #[test]
    fn the_door_takes_what_it_knows() {
        for (request, good) in [
            (r#"{"op":"result","main":true,"data":{"text/plain":"1"}}"#, true),
            (r#"{"op":"error","name":"E","message":"m","traceback":"t"}"#, true),
            (r#"{"op":"exit","code":1}"#, true),
            (r#"{"op":"exit","code":1e99}"#, false),
            (r#"{"op":"secrets"}"#, false),
            (r#"{"op":"result","data":[]}"#, false),
            ("", false),
            ("\u{0}", false),
        ] {
            assert_eq!(Recorder::new(1_000, None).door(request.as_bytes()).is_ok(), good, "{request}");
        }
    }

    #[tokio::test]
    async fn results_beyond_their_number_are_counted_and_the_last_value_is_shown() {
        let say = |recorder: &mut Recorder, main: bool, n: usize| {
            let request = format!(r#"{{"op":"result","main":{main},"data":{{"text/plain":"{n}"}}}}"#);
            assert_eq!(recorder.door(request.as_bytes()), Ok(b"{}".to_vec()));
        };
        let queue = Arc::new(EventQueue::default());
        for listener in [None, Some(Arc::clone(&queue))] {
            let mut recorder = Recorder::new(1 << 20, listener.clone());
            for n in 0..MAX_RESULTS + 7 {
                say(&mut recorder, false, n);
            }
            say(&mut recorder, true, 42);
            say(&mut recorder, true, 43);
            let mut record = recorder.finish();
            if listener.is_some() {
                queue.close();
                while let Some(event) = queue.next().await {
                    match event {
                        Event::Result(result) if result.main => record.results.insert(0, result.data),
                        Event::Result(result) => record.results.push(result.data),
                        Event::Stderr(chunk) => record.stderr.push_str(&chunk.text),
                        other => panic!("{other:?}"),
                    }
                }
            }
            assert_eq!(record.results.len(), MAX_RESULTS + 1);
            assert_eq!(record.results[0]["text/plain"], "42");
            assert!(record.stderr.starts_with("[8 results were dropped: a run shows 1000"), "{}", record.stderr);
        }
    }

    #[test]
    fn lone_surrogates_are_mended_and_nothing_else() {
        for (json, expected) in [
            (r#""\ud83d\ude00""#, r#""\ud83d\ude00""#),
            (r#""\ud83dx""#, r#""\ufffdx""#),
            (r#""\udc00\ud800""#, r#""\ufffd\ufffd""#),
            (r#""\\ud800""#, r#""\\ud800""#),
            (r#""a\n\u0041""#, r#""a\n\u0041""#),
        ] {
            assert_eq!(mend_surrogates(json.as_bytes()), expected.as_bytes(), "{json}");
        }
        let mut recorder = Recorder::new(1_000, None);
        recorder.door(br#"{"op":"result","data":{"text/plain":"a\ud800"}}"#).unwrap();
        assert_eq!(recorder.finish().results[0]["text/plain"], "a\u{fffd}");
    }

    #[tokio::test]
    async fn waiting_text_is_folded() {
        let queue = Arc::new(EventQueue::default());
        let mut recorder = Recorder::new(1_000, Some(Arc::clone(&queue)));
        for _ in 0..100 {
            recorder.write(Stream::Stdout, b"x").unwrap();
        }
        recorder.write(Stream::Stderr, b"y").unwrap();
        recorder.finish();
        queue.close();
        assert_eq!(queue.next().await, Some(Event::Stdout(TextChunk { text: "x".repeat(100) })));
        assert_eq!(queue.next().await, Some(Event::Stderr(TextChunk { text: "y".into() })));
        assert_eq!(queue.next().await, None);
    }
}
