//! Translations as data: `tests/cases/KIND.FROM.TO.txt` holds cases of requests, answers and streams. A case begins with
//! `== NAME`; its parts begin with `-- PART`. With `COFFERDAM_WRITE_CASES` set, the expected parts are written anew, to be read
//! before they are kept.

use cofferdam_dialects::{Answer, Dialect, Failure, Request, StreamTranslator, Target, error_body, sse};
use serde_json::{Value, json};

use crate::support::{self, Case, File, same};

const MODEL: &str = "target-model";
const CREATED: u64 = 1_700_000_000;

fn target(case: &Case) -> Target<'_> {
    let mut target = Target::new(MODEL);
    for word in case.part("target").unwrap_or_default().split_whitespace() {
        match word {
            "no-reasoning" => target.reasons = false,
            "budgets" => target.budgets = true,
            "no-system-turns" => target.system_turns = false,
            "old-max-tokens" => target.old_max_tokens = true,
            "thinking-blocks" => target.thinking_blocks = true,
            "no-extras" => (target.extras, target.unsigned) = (false, false),
            "no-unsigned" => target.unsigned = false,
            "from-minimal" => target.efforts = &["minimal", "low", "medium", "high"],
            "from-low" => target.efforts = &["low", "medium", "high"],
            other => panic!("{other} is no word about a target"),
        }
    }
    target
}

/// The caller's request behind an answer or a stream.
fn caller(case: &Case, to: Dialect) -> Request {
    let messages = json!([{"role": "user", "content": "x"}]);
    let plain = match to {
        Dialect::Chat => {
            json!({"model": "m", "messages": messages, "stream": true, "stream_options": {"include_usage": true}})
        }
        Dialect::Responses => json!({"model": "m", "input": "x", "stream": true}),
        Dialect::Messages => json!({"model": "m", "max_tokens": 100, "messages": messages, "stream": true}),
    };
    let body = case.part("request").map_or_else(|| plain.to_string(), ToOwned::to_owned);
    Request::read(to, body.as_bytes()).unwrap_or_else(|refused| panic!("{}: {refused}", case.name))
}

#[test]
fn requests_are_translated() {
    support::each("request", |file, case| {
        let body = case.part("in").unwrap();
        let out = Request::read(file.from, body.as_bytes()).and_then(|request| request.write(file.to, &target(case)));
        match out {
            Ok(out) => case.expect("out", &support::pretty(&out), same),
            Err(refused) => case.expect("refused", &refused.to_string(), |one, two| one == two),
        }
    });
}

#[test]
fn requests_go_there_and_back() {
    support::each("round", |file, case| {
        let body = case.part("in").unwrap();
        let there = Request::read(file.from, body.as_bytes()).and_then(|request| request.write(file.to, &target(case)));
        let there = there.unwrap_or_else(|refused| panic!("{}: {refused}", case.name));
        let back = Request::read(file.to, &there).and_then(|request| request.write(file.from, &target(case)));
        let back = back.unwrap_or_else(|refused| panic!("{} on its way back: {refused}", case.name));
        let (one, two): (Value, Value) = (serde_json::from_str(body).unwrap(), serde_json::from_slice(&back).unwrap());
        assert_eq!(two, one, "{}\nby way of {}", case.name, support::pretty(&there));
    });
}

#[test]
fn answers_are_translated() {
    support::each("answer", |file, case| {
        let request = caller(case, file.to);
        let answer = Answer::read(file.from, case.part("in").unwrap().as_bytes());
        match answer.and_then(|answer| answer.write(file.to, &request, CREATED)) {
            Ok(out) => case.expect("out", &support::pretty(&out), same),
            Err(error) => case.expect("error", &format!("{error:?}"), |one, two| one == two),
        }
    });
}

#[test]
fn errors_are_translated() {
    support::each("error", |file, case| {
        let status: u16 = case.part("status").unwrap().trim().parse().unwrap();
        let failure = Failure::read(status, case.part("in").unwrap().as_bytes());
        let out = error_body(file.to, failure.kind, failure.message.as_deref().unwrap_or("none"), None);
        case.expect("out", &format!("{} {}", failure.kind.status(file.to), support::pretty(&out)), |one, two| {
            one == two
        });
    });
}

/// Translates a wire that comes in these pieces.
fn stream<'a>(file: &File, request: &Request, pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<u8>, StreamTranslator) {
    let mut reader = sse::Reader::default();
    let mut translator = StreamTranslator::new(file.from, file.to, request, CREATED);
    let mut out = Vec::new();
    for piece in pieces {
        if let Err(broken) = reader.push(piece, |event| translator.event(event, &mut out)) {
            translator.broken(broken, &mut out);
        }
    }
    translator.end(&mut out);
    assert!(translator.is_over());
    (out, translator)
}

#[test]
fn streams_are_translated() {
    support::each("stream", |file, case| {
        let request = caller(case, file.to);
        let wire = case.wire("in");
        let (out, translator) = stream(file, &request, [wire.as_slice()].into_iter());
        let end = format!("{:?} {:?} {}", translator.stop(), translator.usage(), translator.model());
        // Only Messages tells it.
        let end = end.replace(", cache_write_long: 0", "");
        let shown = format!("{}# {end}", String::from_utf8(out.clone()).unwrap());
        case.expect("out", &shown, |one, two| one.trim_end() == two.trim_end());
        // Wherever the wire is cut, the same comes out.
        for size in [1, 2, 3, 7, 64] {
            let (again, _) = stream(file, &request, wire.chunks(size));
            assert_eq!(again, out, "{} in pieces of {size}", case.name);
        }
        // A wire that ends early ends the caller's stream, with an end or an error in its protocol.
        for end in 0..wire.len() {
            let (early, _) = stream(file, &request, [&wire[..end]].into_iter());
            assert!(
                support::is_ended(file.to, &early),
                "{} cut at {end}: {}",
                case.name,
                String::from_utf8_lossy(&early)
            );
        }
    });
}

/// The tap sees in the upstream's wire what the translation sees.
#[test]
fn the_tap_sees_what_passes() {
    support::each("stream", |file, case| {
        let wire = case.wire("in");
        let (_, translator) = stream(file, &caller(case, file.to), [wire.as_slice()].into_iter());
        if translator.failure().is_some() {
            return;
        }
        let mut tap = cofferdam_dialects::Tap::new(file.from);
        wire.chunks(5).for_each(|piece| tap.push(piece));
        let seen = tap.seen();
        assert_eq!(seen.usage, translator.usage(), "{}", case.name);
        assert_eq!(seen.model.as_deref().unwrap_or_default(), translator.model(), "{}", case.name);
        assert_eq!(seen.failure, None, "{}", case.name);
    });
}
