//! Server-sent events: an incremental reader with a bound, and a writer. Takes any split of bytes, LF, CR and CRLF, comments,
//! data of several lines and a byte order mark. Never waits, and never holds more than one event.
//!
//! The grammar is the HTML standard's, section "Server-sent events"; `id` and `retry` are read over, because no model's
//! protocol uses them.

/// Longest event that is read unless the caller says otherwise: bytes of its data and name.
pub const MAX_EVENT_BYTES: usize = 16 << 20;

/// Bytes that a reader holds between events, once it has read a longer one.
const MAX_IDLE_BYTES: usize = 16 << 10;

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The text of `event:`, empty if there was none.
    pub name: &'a str,
    /// The lines of `data:`, joined by line feeds.
    pub data: &'a str,
}

impl Event<'_> {
    /// OpenAI's end marker.
    pub fn is_done(&self) -> bool {
        self.data.trim_ascii() == "[DONE]"
    }
}

/// A stream that is no stream of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// An event or line is longer than the reader's bound.
    #[error("an event of the stream is longer than {0} bytes")]
    TooLong(usize),
    /// A line is not UTF-8.
    #[error("the stream is not valid UTF-8")]
    NotUtf8,
}

/// Reads events from pieces of a stream.
#[derive(Debug)]
pub struct Reader {
    max: usize,
    /// The line that has not ended yet.
    line: Vec<u8>,
    data: Vec<u8>,
    name: Vec<u8>,
    has_data: bool,
    /// The last byte was a CR that ended a line; an LF after it belongs to it.
    after_cr: bool,
    started: bool,
    broken: Option<Broken>,
}

impl Default for Reader {
    fn default() -> Self {
        Self::new(MAX_EVENT_BYTES)
    }
}

impl Reader {
    /// A reader of events of at most `max` bytes.
    pub fn new(max: usize) -> Self {
        Self {
            max,
            line: Vec::new(),
            data: Vec::new(),
            name: Vec::new(),
            has_data: false,
            after_cr: false,
            started: false,
            broken: None,
        }
    }

    /// Reads a piece, and gives each event that it completes to `each`. After an error the reader stays broken.
    pub fn push(&mut self, piece: &[u8], mut each: impl FnMut(Event<'_>)) -> Result<(), Broken> {
        if let Some(broken) = self.broken {
            return Err(broken);
        }
        let result = self.read(piece, &mut each);
        self.broken = result.err();
        result
    }

    fn read(&mut self, mut rest: &[u8], each: &mut impl FnMut(Event<'_>)) -> Result<(), Broken> {
        if std::mem::take(&mut self.after_cr) {
            match rest.split_first() {
                Some((b'\n', after)) => rest = after,
                Some(_) => {}
                None => self.after_cr = true,
            }
        }
        while let Some(end) = memchr::memchr2(b'\n', b'\r', rest) {
            let (head, tail) = rest.split_at(end);
            let (crlf, cr) = (tail.starts_with(b"\r\n"), tail == b"\r");
            self.after_cr = cr;
            rest = tail.get(if crlf { 2 } else { 1 }..).unwrap_or_default();
            if self.line.is_empty() {
                self.line_ends(head, each)?;
            } else {
                self.keep(head)?;
                let line = std::mem::take(&mut self.line);
                self.line_ends(&line, each)?;
                // The buffer is used again for the next line.
                self.line = line;
                self.line.clear();
            }
        }
        self.keep(rest)
    }

    fn keep(&mut self, piece: &[u8]) -> Result<(), Broken> {
        if self.line.len() + self.data.len() + piece.len() > self.max {
            return Err(Broken::TooLong(self.max));
        }
        self.line.extend_from_slice(piece);
        Ok(())
    }

    fn line_ends(&mut self, mut line: &[u8], each: &mut impl FnMut(Event<'_>)) -> Result<(), Broken> {
        if !std::mem::replace(&mut self.started, true) {
            line = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line);
        }
        if line.is_empty() {
            return self.event_ends(each);
        }
        let colon = memchr::memchr(b':', line).unwrap_or(line.len());
        let (field, value) = line.split_at(colon);
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => {
                if self.data.len() + value.len() + self.name.len() + 1 > self.max {
                    return Err(Broken::TooLong(self.max));
                }
                if std::mem::replace(&mut self.has_data, true) {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(value);
            }
            b"event" => {
                self.name.clear();
                self.name.extend_from_slice(value);
            }
            _ => {}
        }
        Ok(())
    }

    fn event_ends(&mut self, each: &mut impl FnMut(Event<'_>)) -> Result<(), Broken> {
        if std::mem::take(&mut self.has_data) {
            let (Ok(name), Ok(data)) = (std::str::from_utf8(&self.name), std::str::from_utf8(&self.data)) else {
                return Err(Broken::NotUtf8);
            };
            each(Event { name, data });
        }
        self.data.clear();
        self.name.clear();
        // One long event does not make a long stream expensive.
        if self.data.capacity() > MAX_IDLE_BYTES {
            self.data.shrink_to(MAX_IDLE_BYTES);
            self.line.shrink_to(MAX_IDLE_BYTES);
        }
        Ok(())
    }

    /// The bytes that it holds, for those who count memory.
    pub fn held(&self) -> usize {
        self.line.capacity() + self.data.capacity() + self.name.capacity()
    }
}

/// Writes an event. `data` must hold no line feed outside JSON's escapes, as everything that is written as JSON.
pub fn write(out: &mut Vec<u8>, name: &str, data: &[u8]) {
    begin(out, name);
    out.extend_from_slice(data);
    end(out);
}

pub(crate) fn begin(out: &mut Vec<u8>, name: &str) {
    if !name.is_empty() {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(name.as_bytes());
        out.push(b'\n');
    }
    out.extend_from_slice(b"data: ");
}

pub(crate) fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\n\n");
}
