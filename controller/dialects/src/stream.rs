//! Translates a stream, event by event: what an upstream sends becomes the caller's events at once. A reader of each dialect
//! makes neutral deltas of events, a writer of each dialect makes events of deltas; any pair is a translation.
//!
//! Nothing here waits or grows without a bound. A stream that breaks ends with an error in the caller's protocol.

use crate::answer::{Stop, Usage};
use crate::chars::{self, UNKNOWN};
use crate::dialect::Dialect;
use crate::error::{Failure, Kind};
use crate::request::{Request, Seal};
use crate::sse::{Broken, Event};
use crate::{chat, messages, responses};

/// Most blocks (texts, thoughts, calls) of one answer.
pub(crate) const MAX_BLOCKS: u32 = 1_024;
/// Most bytes of an answer that a translation keeps: whole answers for Responses, arguments of calls for Messages.
pub const MAX_KEPT_BYTES: usize = 16 << 20;

/// A change of the answer. Blocks have numbers that the reader gives.
#[derive(Debug)]
pub(crate) enum Delta<'a> {
    Start {
        id: &'a str,
        model: &'a str,
    },
    Open {
        block: u32,
        kind: Block<'a>,
    },
    Piece {
        block: u32,
        text: &'a str,
    },
    /// The second half of a character, which a piece begins with.
    Low {
        block: u32,
        unit: u16,
    },
    /// The first half of a character, which a piece ends with.
    High {
        block: u32,
        unit: u16,
    },
    /// The proof of a thinking block, before its end.
    Seal {
        block: u32,
        seal: Seal,
    },
    Close {
        block: u32,
    },
    Usage(Usage),
    /// A reason to stop. Servers say it more than once, and go on after it; the answer is over at the end.
    Stop {
        stop: Stop,
        sequence: Option<&'a str>,
    },
    End,
    Failed(Failure),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Block<'a> {
    Text,
    Refusal,
    Thinking,
    /// Anthropic's redacted thinking, whole.
    Redacted(&'a str),
    Call {
        id: &'a str,
        name: &'a str,
    },
}

/// Reason for which a translation cannot go on.
#[derive(Debug)]
pub(crate) struct Fault(pub(crate) Kind, pub(crate) &'static str);

pub(crate) const TOO_MUCH: Fault = Fault(Kind::Api, "The model's answer is too long to be translated.");
const EARLY: &str = "The upstream's stream ended before the answer was complete.";

#[derive(Debug)]
enum Source {
    Chat(chat::stream_in::Reader),
    Responses(responses::stream_in::Reader),
    Messages(messages::stream_in::Reader),
}

#[derive(Debug)]
enum Sink {
    Chat(chat::stream_out::Writer),
    Responses(Box<responses::stream_out::Writer>),
    Messages(messages::stream_out::Writer),
}

/// Translates one stream.
#[derive(Debug)]
pub struct StreamTranslator {
    source: Source,
    flow: Flow,
}

/// Caller's side of a stream, and what came of it so far.
#[derive(Debug)]
struct Flow {
    sink: Sink,
    started: bool,
    over: bool,
    blocks: u32,
    /// Bytes of names, ids and proofs, which the writers keep.
    held: usize,
    calls: bool,
    stop: Option<Stop>,
    sequence: Option<String>,
    /// First halves of characters, at the ends of blocks: one a block at most.
    halves: Vec<(u32, u16)>,
    usage: Option<Usage>,
    model: String,
    failure: Option<Failure>,
}

impl StreamTranslator {
    /// A translation of an upstream's stream in `from` for a caller who speaks `to`. `created` is a Unix time in seconds.
    pub fn new(from: Dialect, to: Dialect, request: &Request, created: u64) -> Self {
        let source = match from {
            Dialect::Chat => Source::Chat(chat::stream_in::Reader::default()),
            Dialect::Responses => Source::Responses(responses::stream_in::Reader::default()),
            Dialect::Messages => Source::Messages(messages::stream_in::Reader::default()),
        };
        let sink = match to {
            Dialect::Chat => Sink::Chat(chat::stream_out::Writer::new(request, created)),
            Dialect::Responses => Sink::Responses(Box::new(responses::stream_out::Writer::new(request, created))),
            Dialect::Messages => Sink::Messages(messages::stream_out::Writer::default()),
        };
        let flow = Flow {
            sink,
            started: false,
            over: false,
            blocks: 0,
            held: 0,
            calls: false,
            stop: None,
            sequence: None,
            halves: Vec::new(),
            usage: None,
            model: String::new(),
            failure: None,
        };
        Self { source, flow }
    }

    /// Takes one event of the upstream, and appends the caller's events to `out`.
    pub fn event(&mut self, event: Event<'_>, out: &mut Vec<u8>) {
        let flow = &mut self.flow;
        if flow.over {
            return;
        }
        let each = &mut |delta: Delta<'_>| flow.take(delta, out);
        let result = match &mut self.source {
            Source::Chat(reader) => reader.event(event, each),
            Source::Responses(reader) => reader.event(event, each),
            Source::Messages(reader) => reader.event(event, each),
        };
        if let Err(Fault(kind, message)) = result {
            flow.fail(kind, message, out);
        }
    }

    /// Ends the stream: the upstream sends no more. An answer that is not complete ends with an error.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        if self.flow.over {
            return;
        }
        // Some servers leave the end marker away; the reason to stop is enough.
        let flow = &mut self.flow;
        if flow.stop.is_none() {
            return flow.fail(Kind::Api, EARLY, out);
        }
        let each = &mut |delta: Delta<'_>| flow.take(delta, out);
        let result = match &mut self.source {
            Source::Chat(reader) => reader.end(each),
            Source::Responses(reader) => reader.end(each),
            Source::Messages(reader) => reader.end(each),
        };
        if let Err(Fault(kind, message)) = result {
            flow.fail(kind, message, out);
        }
    }

    /// Ends the stream with an error of ours, such as a time-out.
    pub fn fail(&mut self, kind: Kind, message: &str, out: &mut Vec<u8>) {
        self.flow.fail(kind, message, out);
    }

    /// Ends the stream because the upstream's bytes are no events.
    pub fn broken(&mut self, broken: Broken, out: &mut Vec<u8>) {
        self.fail(Kind::Api, &format!("The upstream's stream is broken: {broken}."), out);
    }

    /// Bytes that are kept until their block or the answer is whole.
    pub fn held(&self) -> usize {
        let kept = match &self.flow.sink {
            Sink::Chat(writer) => writer.kept(),
            Sink::Responses(writer) => writer.kept(),
            Sink::Messages(writer) => writer.kept(),
        };
        kept.saturating_add(self.flow.held)
    }

    /// The caller has the last event.
    pub fn is_over(&self) -> bool {
        self.flow.over
    }

    /// Tokens used, as far as the upstream said.
    pub fn usage(&self) -> Option<Usage> {
        self.flow.usage
    }

    /// Reason for which the answer ended.
    pub fn stop(&self) -> Option<Stop> {
        self.flow.stop
    }

    /// The model that answered, as the upstream says.
    pub fn model(&self) -> &str {
        &self.flow.model
    }

    /// The failure that ended the stream. An upstream's message is not shown to the caller.
    pub fn failure(&self) -> Option<&Failure> {
        self.flow.failure.as_ref()
    }
}

impl Flow {
    fn take(&mut self, delta: Delta<'_>, out: &mut Vec<u8>) {
        if self.over {
            return;
        }
        if let Err(Fault(kind, message)) = self.pass(delta, out) {
            self.fail(kind, message, out);
        }
    }

    fn pass(&mut self, delta: Delta<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
        match delta {
            Delta::Start { id, model } => {
                if !std::mem::replace(&mut self.started, true) {
                    model.clone_into(&mut self.model);
                    self.sink.start(id, model, self.usage.unwrap_or_default(), out);
                }
                return Ok(());
            }
            Delta::Failed(failure) => {
                let message = match failure.kind {
                    Kind::Context => "The request and its answer are longer than the model's context.",
                    _ => "The model's provider reported an error while it answered.",
                };
                self.fail(failure.kind, message, out);
                self.failure = Some(failure);
                return Ok(());
            }
            Delta::Usage(usage) => {
                self.usage.get_or_insert_default().merge(usage);
                return Ok(());
            }
            Delta::Stop { stop, sequence } => {
                // A general word does not hide one that says more.
                if stop != Stop::End || self.stop.is_none() {
                    self.stop = Some(stop);
                    self.sequence = sequence.map(ToOwned::to_owned);
                }
                return Ok(());
            }
            Delta::Open { kind, .. } => {
                self.blocks += 1;
                self.held += match kind {
                    Block::Call { id, name } => id.len() + name.len(),
                    Block::Redacted(data) => data.len(),
                    Block::Text | Block::Refusal | Block::Thinking => 0,
                };
                self.calls |= matches!(kind, Block::Call { .. });
                if self.blocks > MAX_BLOCKS || self.held > MAX_KEPT_BYTES {
                    return Err(TOO_MUCH);
                }
            }
            Delta::Seal { ref seal, .. } => {
                self.held += seal.encrypted().map_or(0, |text| text.len());
                if self.held > MAX_KEPT_BYTES {
                    return Err(TOO_MUCH);
                }
            }
            _ => {}
        }
        self.start_at_last(out);
        match delta {
            Delta::Low { block, unit } => {
                let whole = self.half(block).and_then(|high| chars::join(high, unit));
                let mut buffer = [0; 4];
                let text = match whole {
                    Some(c) => &*c.encode_utf8(&mut buffer),
                    None => UNKNOWN,
                };
                return self.sink.delta(Delta::Piece { block, text }, out);
            }
            Delta::High { block, unit } => {
                self.lone(block, out)?;
                self.halves.push((block, unit));
                return Ok(());
            }
            Delta::Piece { block, .. } | Delta::Seal { block, .. } | Delta::Close { block } => self.lone(block, out)?,
            Delta::End => {
                while let Some(&(block, _)) = self.halves.last() {
                    self.lone(block, out)?;
                }
                // The end may come without a reason.
                let stop = self.stop.unwrap_or(if self.calls { Stop::Tools } else { Stop::End });
                self.stop = Some(stop);
                self.sink.delta(Delta::Stop { stop, sequence: self.sequence.as_deref() }, out)?;
                self.sink.end(self.usage, out)?;
                self.over = true;
                return Ok(());
            }
            _ => {}
        }
        self.sink.delta(delta, out)
    }

    /// Takes the half that a block ends with.
    fn half(&mut self, block: u32) -> Option<u16> {
        let at = self.halves.iter().position(|half| half.0 == block)?;
        Some(self.halves.swap_remove(at).1)
    }

    /// Gives on a half whose other half does not come.
    fn lone(&mut self, block: u32, out: &mut Vec<u8>) -> Result<(), Fault> {
        match self.half(block) {
            Some(_) => self.sink.delta(Delta::Piece { block, text: UNKNOWN }, out),
            None => Ok(()),
        }
    }

    /// Begins the caller's stream where the upstream forgot its own beginning.
    fn start_at_last(&mut self, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.started, true) {
            self.sink.start("", "", self.usage.unwrap_or_default(), out);
        }
    }

    /// Ends the caller's stream with an error, once.
    fn fail(&mut self, kind: Kind, message: &str, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        self.failure = Some(Failure { kind, message: Some(message.to_owned()) });
        self.sink.fail(kind, message, self.started, self.usage, out);
    }
}

impl Sink {
    fn start(&mut self, id: &str, model: &str, usage: Usage, out: &mut Vec<u8>) {
        match self {
            Self::Chat(writer) => writer.start(id, model, out),
            Self::Responses(writer) => writer.start(id, model, out),
            Self::Messages(writer) => writer.start(id, model, usage, out),
        }
    }

    fn delta(&mut self, delta: Delta<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
        match self {
            Self::Chat(writer) => writer.delta(delta, out),
            Self::Responses(writer) => writer.delta(delta, out),
            Self::Messages(writer) => writer.delta(delta, out),
        }
    }

    fn end(&mut self, usage: Option<Usage>, out: &mut Vec<u8>) -> Result<(), Fault> {
        match self {
            Self::Chat(writer) => {
                writer.end(usage, out);
                Ok(())
            }
            Self::Responses(writer) => writer.end(usage, out),
            Self::Messages(writer) => writer.end(usage, out),
        }
    }

    fn fail(&mut self, kind: Kind, message: &str, started: bool, usage: Option<Usage>, out: &mut Vec<u8>) {
        match self {
            Self::Chat(_) => chat::stream_out::fail(kind, message, out),
            Self::Responses(writer) => writer.fail(kind, message, started, usage, out),
            Self::Messages(_) => messages::stream_out::fail(kind, message, out),
        }
    }
}
