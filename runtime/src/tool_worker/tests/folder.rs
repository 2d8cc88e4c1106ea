//! A tool's own folder, over an in-memory gateway that may misbehave.

use std::sync::Mutex;

use axum::http::{Request, Response, StatusCode};
use bytes::Bytes;
use cofferdam_contract::uplink::{REFUSED_HEADER, VERSION_HEADER};
use cofferdam_contract::{FilesGrant, Problem};
use cofferdam_host_api::gateway::{Gateway, GatewayBody, GatewayError, GatewayFuture, GatewayHandle};
use cofferdam_host_api::{Quota, Vfs};
use http_body_util::{BodyExt, Full};

use super::*;
use crate::tool::wrap::wrap;

/// Creates a folder in `/data` and returns the error number, or crashes after it.
const MAKER: &str = r#"(module
    (import "wasi_snapshot_preview1" "path_create_directory" (func $mkdir (param i32 i32 i32) (result i32)))
    (memory (export "memory") 16)
    (global $top (mut i32) (i32.const 65536))
    (data (i32.const 0) "new")
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
        (global.get $top)
        (global.set $top (i32.and (i32.add (i32.add (global.get $top) (local.get 3)) (i32.const 15)) (i32.const -16))))
    (func $make (export "make") (result i32) (call $mkdir (i32.const 4) (i32.const 0) (i32.const 3)))
    (func (export "nothing") (result i32) (i32.const 0))
    (func (export "break") (result i32) (drop (call $make)) unreachable))"#;

fn maker() -> String {
    static DIGEST: OnceLock<String> = OnceLock::new();
    let digest = DIGEST.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let wit = folder.path().join("w.wit");
        let functions = ["make", "nothing", "break"].map(|name| format!("export {name}: func() -> u32;")).concat();
        std::fs::write(&wit, format!("package t:t; world w {{ {functions} }}")).unwrap();
        deployed_bytes(&wrap(wat::parse_str(MAKER).unwrap(), &wit, None).unwrap())
    });
    digest.clone()
}

type Answered = Result<Response<GatewayBody>, GatewayError>;
type Does = fn() -> Answered;

/// The stored folder, the number of saves, and the answer to give instead.
#[derive(Default)]
struct Fake {
    archive: Mutex<Vec<u8>>,
    saved: Mutex<usize>,
    load: Option<Does>,
    save: Option<Does>,
}

fn response(status: u16, body: impl Into<Bytes>) -> Response<GatewayBody> {
    let body = Full::new(body.into()).map_err(|never| match never {}).boxed_unsync();
    Response::builder().status(status).header(VERSION_HEADER, "7").body(body).unwrap()
}

fn refusal(problem: &Problem) -> Answered {
    let mut answer = response(problem.status, serde_json::to_vec(problem).unwrap());
    answer.headers_mut().insert(REFUSED_HEADER, "internal".parse().unwrap());
    Ok(answer)
}

struct Shared(Arc<Fake>);

impl Gateway for Shared {
    fn send(&self, request: Request<GatewayBody>) -> GatewayFuture {
        let fake = Arc::clone(&self.0);
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            match head.uri.path() {
                "/files/load" => match fake.load {
                    Some(load) => load(),
                    None => Ok(response(200, fake.archive.lock().unwrap().clone())),
                },
                "/files/save" => {
                    assert_eq!(head.headers[VERSION_HEADER], "7");
                    if let Some(save) = fake.save {
                        return save();
                    }
                    *fake.saved.lock().unwrap() += 1;
                    *fake.archive.lock().unwrap() = body.to_vec();
                    Ok(response(200, ""))
                }
                other => panic!("{other}"),
            }
        })
    }
}

fn run(fake: &Arc<Fake>, function: &str, grant: FilesGrant) -> Result<ToolOutcome, Error> {
    let worker = &bench().worker;
    let mut call = to_call(&maker(), Some(function), "{}");
    call.grants.files = Some(grant);
    let loaded = worker.components.get(&call.digest, Capabilities::default()).unwrap();
    let quota = Quota { disk_bytes: 1 << 20, files: 100, open_files: 10 };
    let job = call::Job {
        call,
        interrupt: Interrupt::new(Some(std::time::Instant::now() + Duration::from_secs(5))),
        gateway: Some(GatewayHandle::new(Arc::new(Shared(Arc::clone(fake))), "0.0").unwrap()),
        vfs: Vfs::new(Arc::clone(&worker.base), quota).unwrap(),
        base: Arc::clone(&worker.base),
        open_files: 10,
        memory: Arc::clone(&worker.memory),
    };
    let work = bench().runtime.spawn_blocking(move || call::run(&loaded, job).map(|(outcome, _)| outcome));
    bench().runtime.block_on(work).unwrap()
}

fn answer(outcome: &ToolOutcome) -> &str {
    outcome.result.as_ref().unwrap_or_else(|| panic!("{outcome:?}")).get()
}

const EXISTS: &str = "20";
const READ_ONLY: &str = "69";
const QUOTA: &str = "19";

#[test]
fn it_is_fetched_and_kept() {
    let (fake, grant) = (Arc::new(Fake::default()), FilesGrant::default());
    assert_eq!(run(&fake, "break", grant).unwrap().status, Status::Error);
    assert_eq!(answer(&run(&fake, "nothing", grant).unwrap()), "0");
    assert_eq!(*fake.saved.lock().unwrap(), 0, "nothing has changed");
    assert_eq!(answer(&run(&fake, "make", grant).unwrap()), "0");
    assert_eq!(*fake.saved.lock().unwrap(), 1);
    assert_eq!(answer(&run(&fake, "make", grant).unwrap()), EXISTS);
    assert_eq!(*fake.saved.lock().unwrap(), 1, "nothing has changed since");
    // Contents within an earlier, larger grant are still there, but nothing can be added.
    let less = FilesGrant { max_bytes: 1, max_files: 1, ..grant };
    assert_eq!(answer(&run(&fake, "make", less).unwrap()), EXISTS);
    let fresh = Arc::new(Fake::default());
    assert_eq!(answer(&run(&fresh, "make", FilesGrant { max_files: 0, ..grant }).unwrap()), QUOTA);
    assert_eq!(answer(&run(&fresh, "make", FilesGrant { read_only: true, ..grant }).unwrap()), READ_ONLY);
    assert_eq!(*fresh.saved.lock().unwrap(), 0);
}

#[test]
fn what_cannot_be_had_or_kept_is_said() {
    let grant = FilesGrant::default();
    let loads: [(Does, &str); 5] = [
        (|| Ok(response(200, "no archive")), "internal"),
        (|| Ok(response(200, vec![b'x'; 80 << 20])), "unavailable"),
        (|| refusal(&Problem::not_found("The tool was deleted.")), "not-found"),
        (|| Ok(response(StatusCode::BAD_GATEWAY.as_u16(), "?")), "internal"),
        (|| Err(GatewayError::Unreachable), "unavailable"),
    ];
    for (load, kind) in loads {
        let fake = Arc::new(Fake { load: Some(load), ..Fake::default() });
        assert_eq!(run(&fake, "make", grant).unwrap_err().to_problem().kind(), kind);
    }
    let saves: [(Does, &str); 3] = [
        (|| refusal(&Problem::conflict("changed")), "conflict"),
        (|| refusal(&Problem::internal("x")), "files"),
        (|| Err(GatewayError::Broken), "files"),
    ];
    for (save, name) in saves {
        let fake = Arc::new(Fake { save: Some(save), ..Fake::default() });
        let outcome = run(&fake, "make", grant).unwrap();
        assert_eq!((outcome.status, error(&outcome).1, outcome.result.is_none()), (Status::Error, name, true));
    }
}
