//! Estimates the tokens of a request before it is sent, to reserve them. Deliberately high, and cheap: counts bytes, and gives
//! pictures a fixed figure. The true number comes with the answer.

use memchr::memchr2_iter;

/// Bytes that count as one token. Ordinary text has three to four, source code about three, and hardly any text has fewer
/// than two in the providers' tokenizers.
const BYTES_PER_TOKEN: u64 = 2;
/// Tokens of one picture. The largest that providers charge for a picture of usual size (Anthropic: 4,784; OpenAI: below).
const TOKENS_PER_IMAGE: u64 = 5_000;
/// Encoded bytes of a PDF that count as one token: its pages are charged, not its bytes.
const PDF_BYTES_PER_TOKEN: u64 = 8;
/// Shortest text that may be a picture's or a document's bytes.
const MIN_ENCODED_BYTES: usize = 256;
/// Tokens of what surrounds the messages.
const TOKENS_PER_REQUEST: u64 = 64;

/// First letters of base64 of PNG, JPEG, GIF and WebP.
const IMAGES: [&[u8]; 4] = [b"iVBORw0K", b"/9j/", b"R0lGOD", b"UklGR"];
/// First letters of base64 of a PDF.
const PDF: &[u8] = b"JVBERi";

/// The tokens that a request's body may be charged for, as an upper figure.
pub fn input_tokens(body: &[u8]) -> u64 {
    let mut tokens = TOKENS_PER_REQUEST;
    let mut plain = body.len() as u64;
    for text in texts(body).filter(|text| text.len() >= MIN_ENCODED_BYTES) {
        let data = encoded(text);
        let bytes = data.len() as u64;
        if IMAGES.iter().any(|start| data.starts_with(start)) {
            plain = plain.saturating_sub(bytes);
            tokens = tokens.saturating_add(TOKENS_PER_IMAGE);
        } else if data.starts_with(PDF) {
            plain = plain.saturating_sub(bytes);
            tokens = tokens.saturating_add(bytes / PDF_BYTES_PER_TOKEN);
        }
    }
    tokens.saturating_add(plain.div_ceil(BYTES_PER_TOKEN))
}

/// The data of a `data:` URL, or the text itself. Only base64: a text that begins like a picture and goes on with words is
/// counted as words.
fn encoded(text: &[u8]) -> &[u8] {
    let data = match text.starts_with(b"data:") {
        true => memchr::memchr(b',', text).and_then(|comma| text.get(comma + 1..)).unwrap_or_default(),
        false => text,
    };
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'-' | b'_');
    if data.iter().all(is_base64) { data } else { b"" }
}

/// The texts of a JSON document, as they are written, without their quotes.
fn texts(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut start: Option<usize> = None;
    let mut skip = 0;
    memchr2_iter(b'"', b'\\', body).filter_map(move |at| {
        if at < skip {
            return None;
        }
        if body.get(at) == Some(&b'\\') {
            skip = at + 2;
            return None;
        }
        match start.take() {
            Some(from) => body.get(from..at),
            None => {
                start = Some(at + 1);
                None
            }
        }
    })
}
