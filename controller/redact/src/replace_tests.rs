//! Every way to cut a stream has to give what the whole text gives.

use super::*;

fn replacer(pairs: &[(&str, &str)]) -> impl Fn() -> Replacer + use<> {
    let texts = pairs.iter().map(|(text, _)| text.as_bytes().to_vec()).collect();
    let with: Vec<Replacement> = pairs.iter().map(|(_, with)| Ok(Zeroizing::new(with.as_bytes().to_vec()))).collect();
    let (finder, with) = (Arc::new(Finder::new(texts).unwrap()), Arc::new(with));
    move || Replacer::new(Arc::clone(&finder), Arc::clone(&with), MAX_INSERTED_BYTES)
}

fn run(mut replacer: Replacer, pieces: &[&[u8]]) -> String {
    let mut output = Vec::new();
    for piece in pieces {
        output.extend_from_slice(&replacer.push(Bytes::copy_from_slice(piece)).unwrap());
    }
    output.extend_from_slice(&replacer.finish().unwrap());
    String::from_utf8(output).unwrap()
}

#[test]
fn a_text_is_found_however_the_stream_is_cut() {
    for (pairs, text, expected) in [
        (&[("secret", "X")][..], "a secret, secrets, secre", "a X, Xs, secre"),
        (&[("secret", "X")], "sesecretsecretse", "seXXse"),
        (&[("aab", "X")], "aaaaaabaab", "aaaaXX"),
        (&[("ab", "1"), ("abcd", "2"), ("bc", "3")], "abcdabcxabxbcd", "2" /* longest */),
        (&[("abc", "1"), ("cde", "2")], "abcdecde", "1de2"),
        (&[("x", "")], "xxaxx", "a"),
        (&[("\u{e9}t\u{e9}", "summer")], "l'\u{e9}t\u{e9}!", "l'summer!"),
        (&[("aa", "aa")], "aaa", "aaa"),
    ] {
        let make = replacer(pairs);
        let whole = run(make(), &[text.as_bytes()]);
        assert!(whole == expected || (expected == "2" && whole == "21cx1x3d"), "{whole}");
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let bytes = text.as_bytes();
                let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                assert_eq!(run(make(), &pieces), whole, "{text} cut at {first}, {second}");
            }
        }
        let single: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        assert_eq!(run(make(), &single), whole);
    }
}

#[test]
fn only_what_could_become_a_text_is_held_back() {
    let make = replacer(&[("secret", "X")]);
    let mut replacer = make();
    let piece = Bytes::from_static(b"nothing to see");
    let passed = replacer.push(piece.clone()).unwrap();
    assert_eq!(passed.as_ptr(), piece.as_ptr(), "a piece without a text is not copied");
    assert_eq!(replacer.push(Bytes::from_static(b"data: se")).unwrap(), "data: ");
    assert_eq!(replacer.push(Bytes::from_static(b"ven")).unwrap(), "seven");
    assert_eq!(replacer.push(Bytes::from_static(b"secre")).unwrap(), "");
    assert_eq!(replacer.finish().unwrap(), "secre");
}

#[test]
fn a_forbidden_text_ends_the_stream_and_insertions_are_bounded() {
    let finder = Arc::new(Finder::new(vec![b"bad".to_vec(), b"big".to_vec()]).unwrap());
    let with = Arc::new(vec![Err("not here".to_owned()), Ok(Zeroizing::new(vec![b'x'; 100]))]);
    let mut replacer = Replacer::new(Arc::clone(&finder), Arc::clone(&with), 250);
    assert_eq!(replacer.push(Bytes::from_static(b"b")).unwrap(), "");
    assert_eq!(replacer.push(Bytes::from_static(b"ad")), Err(Forbidden("not here".into())));
    let mut replacer = Replacer::new(Arc::clone(&finder), with, 250);
    assert!(replacer.push(Bytes::from_static(b"big big")).is_ok());
    assert!(replacer.push(Bytes::from_static(b"big")).is_err());
    assert_eq!(finder.replace_all(&[], b"nothing"), Ok(None));
}

#[test]
fn long_texts_that_resemble_themselves_cost_little() {
    let started = std::time::Instant::now();
    let texts = vec![vec![b'v'; 16 << 10], b"dnZ2".repeat(4 << 10), b"%76".repeat(16 << 10)];
    let finder = Arc::new(Finder::new(texts).unwrap());
    let with: Vec<Replacement> = (0..3).map(|_| Ok(Zeroizing::new(b"X".to_vec()))).collect();
    let mut replacer = Replacer::new(finder, Arc::new(with), usize::MAX);
    let mut output = 0;
    for _ in 0..64 {
        output += replacer.push(Bytes::from([vec![b'v'; 8 << 10], vec![b'w']].concat())).unwrap().len();
        output += replacer.push(Bytes::from_static(b"vv")).unwrap().len();
    }
    output += replacer.finish().unwrap().len();
    assert_eq!(output, 64 * ((8 << 10) + 3));
    assert!(started.elapsed() < std::time::Duration::from_secs(2), "{:?}", started.elapsed());
}
