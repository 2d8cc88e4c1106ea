//! The headers that describe a body.

use super::*;

fn said(list: &[(&'static str, &str)], patch: bool) -> Result<(At, bool, Option<u64>, Option<u64>), String> {
    let mut headers = HeaderMap::new();
    list.iter().for_each(|(name, value)| drop(headers.insert(*name, value.parse().unwrap())));
    let body = Body::from_stream(futures_util::stream::empty::<Result<Bytes, std::io::Error>>());
    let sending = sending(&headers, &body, patch.then_some("say where"));
    sending.map(|s| (s.from, s.last, s.length, s.body_length)).map_err(|e| e.to_string())
}

#[test]
fn a_plain_put_is_the_whole() {
    assert_eq!(said(&[], false), Ok((At::Start, true, None, None)));
    assert_eq!(said(&[("content-length", "7")], false), Ok((At::Start, true, None, Some(7))));
    assert_eq!(said(&[("content-encoding", "gzip")], false), Ok((At::Start, true, None, None)));
    assert_eq!(said(&[("upload-offset", "0")], false), Ok((At::Start, true, None, None)));
    assert_eq!(said(&[("upload-offset", "0")], true), Ok((At::Offset(0), true, None, None)));
}

#[test]
fn a_part_says_where_it_goes_and_whether_it_is_the_last() {
    assert_eq!(said(&[("upload-offset", "5")], true), Ok((At::Offset(5), true, None, None)));
    let part = [("upload-offset", "5"), ("upload-complete", "?0"), ("upload-length", "90"), ("content-length", "2")];
    assert_eq!(said(&part, true), Ok((At::Offset(5), false, Some(90), Some(2))));
    assert_eq!(said(&[("content-range", "bytes 0-9/30")], false), Ok((At::Start, false, Some(30), None)));
    assert_eq!(said(&[("content-range", "bytes 10-19/30")], false), Ok((At::Offset(10), false, Some(30), None)));
    assert_eq!(said(&[("content-range", "bytes 20-29/30")], false), Ok((At::Offset(20), true, Some(30), None)));
    assert_eq!(said(&[("content-range", "bytes 20-29/*")], false), Ok((At::Offset(20), true, None, None)));
}

#[test]
fn what_contradicts_itself_is_refused() {
    for (headers, part) in [
        (&[("upload-offset", "-1")][..], "upload-offset"),
        (&[("upload-offset", "+1")], "upload-offset"),
        (&[("upload-offset", "1.0")], "upload-offset"),
        (&[("upload-offset", "99999999999999999999999")], "upload-offset"),
        (&[("upload-complete", "true")], "Upload-Complete"),
        (&[("upload-length", "x")], "upload-length"),
        (&[("content-range", "bytes 5-4/9")], "Content-Range"),
        (&[("content-range", "bytes 0-9/9")], "Content-Range"),
        (&[("content-range", "bytes */9")], "Content-Range"),
        (&[("content-range", "bytes 0-18446744073709551615/*")], "Content-Range"),
        (&[("content-range", "bytes 0-9/30"), ("content-length", "7")], "Content-Range announces 10"),
        (&[("content-range", "bytes 5-9/30"), ("upload-offset", "4")], "differ"),
        (&[("content-encoding", "br")], "Content-Encoding"),
    ] {
        let error = said(headers, false).unwrap_err();
        assert!(error.contains(part), "{headers:?}: {error}");
    }
    assert_eq!(said(&[], true).unwrap_err(), "say where");
}
