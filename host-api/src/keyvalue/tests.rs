//! `wasi:keyvalue` over an in-memory gateway.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use cofferdam_contract::LimitName;
use http::Response;

use super::{
    atomics::{Host as _, HostCas},
    batch::Host as _,
    store::{Host as _, HostBucket},
    *,
};
use crate::{
    Interrupt, Interrupted, Stop,
    gateway::GatewayError,
    testing::{full, gateway, reading},
    wasi::tests::sandbox as bare,
};

type Stored = Arc<Mutex<BTreeMap<(String, String), String>>>;

fn answered(stored: &Stored, request: KeyValueRequest) -> KeyValueResponse {
    let mut stored = stored.lock().unwrap();
    let mut answer = KeyValueResponse::default();
    match request {
        KeyValueRequest::Get { bucket, key } => answer.value = stored.get(&(bucket, key)).cloned(),
        KeyValueRequest::Set { bucket, key, value } => drop(stored.insert((bucket, key), value)),
        KeyValueRequest::Delete { bucket, key } => drop(stored.remove(&(bucket, key))),
        KeyValueRequest::Exists { bucket, key } => answer.exists = Some(stored.contains_key(&(bucket, key))),
        KeyValueRequest::ListKeys { bucket, cursor } => {
            let after = cursor.unwrap_or_default();
            let keys = stored.keys().filter(|(b, key)| *b == bucket && *key > after).map(|(_, key)| key.clone());
            answer.keys = keys.take(2).collect();
            answer.cursor = answer.keys.get(1).cloned();
        }
        KeyValueRequest::Increment { bucket, key, delta } => {
            let old = stored
                .get(&(bucket.clone(), key.clone()))
                .map_or(0, |old| String::from_utf8(STANDARD.decode(old).unwrap()).unwrap().parse::<i64>().unwrap());
            stored.insert((bucket, key), STANDARD.encode((old + delta).to_string()));
            answer.number = Some(old + delta);
        }
        KeyValueRequest::CompareAndSwap { bucket, key, old, new } => {
            let place = (bucket, key);
            answer.swapped = Some(stored.get(&place) == old.as_ref());
            if answer.swapped == Some(true) {
                stored.insert(place, new);
            }
        }
    }
    answer
}

fn sandbox() -> (Sandbox, Stored) {
    let stored = Stored::default();
    let theirs = Arc::clone(&stored);
    let mut sandbox = bare();
    sandbox.set_gateway(reading(move |request| {
        assert_eq!((request.method().as_str(), request.uri().path()), ("POST", "/keyvalue"));
        let answer = answered(&theirs, serde_json::from_slice(request.body()).unwrap());
        Response::new(full(serde_json::to_vec(&answer).unwrap()))
    }));
    (sandbox, stored)
}

fn again<T: 'static>(resource: &Resource<T>) -> Resource<T> {
    Resource::new_borrow(resource.rep())
}

fn text<T>(result: Result<T, KeyValueFailure>) -> String {
    match result {
        Err(Failure::Guest(Error::Other(text))) => text,
        Err(Failure::Guest(error)) => format!("{error:?}"),
        Err(Failure::Trap(error)) => panic!("{error:?}"),
        Ok(_) => panic!("it went well"),
    }
}

#[test]
fn values_are_kept() {
    let (mut sandbox, stored) = sandbox();
    let bucket = sandbox.open("b".to_owned()).unwrap();
    let other = sandbox.open("other".to_owned()).unwrap();
    let key = |n: usize| format!("key {n}");
    assert_eq!(HostBucket::get(&mut sandbox, again(&bucket), key(1)).unwrap(), None);
    HostBucket::set(&mut sandbox, again(&bucket), key(1), vec![0, 255, 10]).unwrap();
    assert_eq!(HostBucket::get(&mut sandbox, again(&bucket), key(1)).unwrap(), Some(vec![0, 255, 10]));
    assert!(HostBucket::exists(&mut sandbox, again(&bucket), key(1)).unwrap());
    assert!(!HostBucket::exists(&mut sandbox, other, key(1)).unwrap());
    let pairs = (2..6).map(|n| (key(n), vec![n as u8])).collect();
    sandbox.set_many(again(&bucket), pairs).unwrap();
    let got = sandbox.get_many(again(&bucket), vec![key(3), key(9), key(5)]).unwrap();
    assert_eq!(got, [Some((key(3), vec![3])), None, Some((key(5), vec![5]))]);
    sandbox.delete_many(again(&bucket), vec![key(2), key(9)]).unwrap();
    let (mut keys, mut cursor) = (Vec::new(), None);
    loop {
        let page = sandbox.list_keys(again(&bucket), cursor).unwrap();
        keys.extend(page.keys);
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(keys, [1, 3, 4, 5].map(key));
    HostBucket::delete(&mut sandbox, again(&bucket), key(1)).unwrap();
    assert_eq!(stored.lock().unwrap().len(), 3);
}

#[test]
fn atomics_are_told_of_others() {
    let (mut sandbox, stored) = sandbox();
    let bucket = sandbox.open("b".to_owned()).unwrap();
    assert_eq!(sandbox.increment(again(&bucket), "n".to_owned(), 5).unwrap(), 5);
    assert_eq!(sandbox.increment(again(&bucket), "n".to_owned(), -7).unwrap(), -2);
    // A key that does not exist yet, and one that changes meanwhile.
    let cas = HostCas::new(&mut sandbox, again(&bucket), "c".to_owned()).unwrap();
    assert_eq!(HostCas::current(&mut sandbox, again(&cas)).unwrap(), None);
    sandbox.swap(cas, b"one".to_vec()).unwrap().unwrap();
    let cas = HostCas::new(&mut sandbox, again(&bucket), "c".to_owned()).unwrap();
    stored.lock().unwrap().insert(("b".to_owned(), "c".to_owned()), STANDARD.encode("theirs"));
    let Err(CasError::CasFailed(cas)) = sandbox.swap(cas, b"two".to_vec()).unwrap() else { panic!() };
    assert_eq!(HostCas::current(&mut sandbox, again(&cas)).unwrap(), Some(b"theirs".to_vec()));
    sandbox.swap(cas, b"two".to_vec()).unwrap().unwrap();
    assert_eq!(HostBucket::get(&mut sandbox, bucket, "c".to_owned()).unwrap(), Some(b"two".to_vec()));
}

#[test]
fn everything_is_bounded() {
    let (mut sandbox, _) = sandbox();
    assert_eq!(text(sandbox.open("b".repeat(2_000))), "Error::NoSuchStore");
    let bucket = sandbox.open("b".to_owned()).unwrap();
    let long = "k".repeat(MAX_KEY_BYTES + 1);
    for key in [long.as_str(), ""] {
        assert!(text(HostBucket::get(&mut sandbox, again(&bucket), key.to_owned())).contains("a key has"));
    }
    let key = "k".repeat(MAX_KEY_BYTES);
    let large = vec![1; MAX_VALUE_BYTES];
    HostBucket::set(&mut sandbox, again(&bucket), key.clone(), large.clone()).unwrap();
    let set = HostBucket::set(&mut sandbox, again(&bucket), key.clone(), vec![1; MAX_VALUE_BYTES + 1]);
    assert!(text(set).contains("a value has at most"));
    assert!(text(sandbox.get_many(again(&bucket), vec![key.clone(); 257])).contains("a batch has at most"));
    assert!(text(sandbox.get_many(again(&bucket), vec![key.clone(); 9])).contains("a batch reads at most"));
    assert!(text(sandbox.list_keys(again(&bucket), Some("c".repeat(5_000)))).contains("no such cursor"));
    let error = (0..).find_map(|_| HostCas::new(&mut sandbox, again(&bucket), key.clone()).err()).unwrap();
    let Failure::Trap(error) = error else { panic!("{error:?}") };
    assert_eq!(error.downcast_ref(), Some(&Stop(LimitName::HostMemory)));
}

#[test]
fn failures_are_told_apart() {
    let mut sandbox = bare();
    let bucket = sandbox.open("b".to_owned()).unwrap();
    let get = |sandbox: &mut Sandbox| HostBucket::get(sandbox, again(&bucket), "k".to_owned());
    assert_eq!(text(get(&mut sandbox)), "Error::AccessDenied");
    sandbox.set_gateway(gateway(|_| Box::pin(async { Err(GatewayError::Broken) })));
    assert_eq!(text(get(&mut sandbox)), "the connection to the gateway broke");
    let refusing = |by: Option<RefusedBy>| {
        reading(move |_| {
            let problem = serde_json::to_vec(&Problem::too_large("the namespace is full")).unwrap();
            let response = Response::builder().status(413);
            let response = match by {
                Some(by) => response.header(REFUSED_HEADER, by.as_str()),
                None => response,
            };
            response.body(full(problem)).unwrap()
        })
    };
    for by in [None, Some(RefusedBy::TooLarge), Some(RefusedBy::Internal)] {
        sandbox.set_gateway(refusing(by));
        assert_eq!(text(get(&mut sandbox)), "the namespace is full");
    }
    sandbox.set_gateway(refusing(Some(RefusedBy::Policy)));
    assert_eq!(text(get(&mut sandbox)), "Error::AccessDenied");
    sandbox.set_gateway(reading(|_| Response::new(full(vec![b' '; MAX_ANSWER + 1]))));
    assert_eq!(text(get(&mut sandbox)), "the answer is too long");
    sandbox.set_gateway(reading(|_| Response::new(full("{\"value\": \"not base64!\"}"))));
    assert!(!text(get(&mut sandbox)).is_empty());
    sandbox.set_gateway(reading(|_| Response::new(full("{}"))));
    assert!(text(HostBucket::exists(&mut sandbox, again(&bucket), "k".to_owned())).contains("lacks"));
    sandbox.set_gateway(gateway(|_| Box::pin(std::future::pending())));
    let started = Instant::now();
    sandbox.set_interrupt(Interrupt::new(Some(started + Duration::from_millis(50))));
    let Err(Failure::Trap(error)) = get(&mut sandbox) else { panic!() };
    assert_eq!(error.downcast_ref(), Some(&Interrupted::Deadline));
}
