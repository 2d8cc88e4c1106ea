//! The reader of events: the standard's grammar, any cut, the bound.

use cofferdam_dialects::sse::{Broken, MAX_EVENT_BYTES, Reader, write};

fn events(max: usize, pieces: &[&[u8]]) -> Result<Vec<(String, String)>, Broken> {
    let mut reader = Reader::new(max);
    let mut events = Vec::new();
    for piece in pieces {
        reader.push(piece, |event| events.push((event.name.to_owned(), event.data.to_owned())))?;
    }
    Ok(events)
}

fn check(wire: &str, expected: &[(&str, &str)]) {
    let expected: Vec<(String, String)> =
        expected.iter().map(|(name, data)| ((*name).into(), (*data).into())).collect();
    let bytes = wire.as_bytes();
    assert_eq!(events(MAX_EVENT_BYTES, &[bytes]).unwrap(), expected, "{wire:?}");
    for first in 0..=bytes.len() {
        for second in first..=bytes.len() {
            let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
            assert_eq!(events(MAX_EVENT_BYTES, &pieces).unwrap(), expected, "{wire:?} cut at {first} and {second}");
        }
    }
}

#[test]
fn the_standards_grammar() {
    check("data: a\n\n", &[("", "a")]);
    check("data: a\r\n\r\ndata:b\r\rdata:  c\n\n", &[("", "a"), ("", "b"), ("", " c")]);
    check("event: x\ndata: a\ndata: b\n\n", &[("x", "a\nb")]);
    check("event: x\nevent: y\ndata: a\n\ndata: b\n\n", &[("y", "a"), ("", "b")]);
    check("\u{feff}data: a\n\n", &[("", "a")]);
    check(": comment\nid: 1\nretry: 2\nunknown: 3\ndata: a\n\n", &[("", "a")]);
    check("data\n\ndata:\n\n", &[("", ""), ("", "")]);
    check("event: x\n\ndata: a\n\n", &[("", "a")]);
    check("\n\n\r\n\r\r", &[]);
    check("data: a\n", &[]);
    check("data: ö€😀\n\n", &[("", "ö€😀")]);
}

#[test]
fn an_event_is_bounded() {
    let long = [b"data: ".as_slice(), &[b'x'; 100], b"\n\n"].concat();
    assert_eq!(events(100, &[&long]), Err(Broken::TooLong(100)));
    assert!(events(200, &[&long]).is_ok());
    // Also in many lines, in one line that does not end, and in a comment.
    let lines = b"data: 0123456789\n".repeat(20);
    assert_eq!(events(100, &[&lines]), Err(Broken::TooLong(100)));
    assert_eq!(events(100, &[&[b':'; 101]]), Err(Broken::TooLong(100)));
    let mut reader = Reader::new(100);
    assert!(reader.push(&[b'x'; 200], |_| {}).is_err());
    assert_eq!(reader.push(b"data: a\n\n", |_| panic!("it stays broken")), Err(Broken::TooLong(100)));
}

#[test]
fn a_long_event_does_not_make_a_long_stream_expensive() {
    let mut reader = Reader::default();
    let long = [b"data: ".as_slice(), &vec![b'x'; 8 << 20], b"\n\n"].concat();
    long.chunks(1_000).for_each(|piece| reader.push(piece, |_| {}).unwrap());
    reader.push(b"data: a\n\n", |_| {}).unwrap();
    assert!(reader.held() < 64 << 10, "{}", reader.held());
}

#[test]
fn what_is_no_utf8_is_an_error() {
    assert_eq!(events(100, &[b"data: \xff\n\n"]), Err(Broken::NotUtf8));
    assert_eq!(events(100, &[b"event: \xc3\ndata: a\n\n"]), Err(Broken::NotUtf8));
}

#[test]
fn what_is_written_is_read() {
    let mut wire = Vec::new();
    write(&mut wire, "x", b"{\"a\":\"\\n\"}");
    write(&mut wire, "", b"[DONE]");
    let read = events(100, &[&wire]).unwrap();
    assert_eq!(read, [("x".to_owned(), "{\"a\":\"\\n\"}".to_owned()), (String::new(), "[DONE]".to_owned())]);
}
