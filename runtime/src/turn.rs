//! One run in a guest: its input, its output, and the party at fault for its end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use cofferdam_contract::run::INLINE_FILES_BYTES;
use cofferdam_contract::{
    FileEntry, Language, LimitName, Limits, Outcome, Problem, RunError, RunId, RunRequest, SessionId, Status, Usage,
};
use cofferdam_host_api::gateway::GatewayHandle;
use cofferdam_host_api::{FsError, Interrupt, Quota, Stdio, Stop, Vfs};
use parking_lot::Mutex;
use serde::Serialize;

use crate::events::EventQueue;
use crate::guest::{Bounds, Guest, TurnEnd, TurnUsage};
use crate::kernel::Kernel;
use crate::outbound;
use crate::recorder::{OverBudget, Record, Recorder, Stream};

/// An admitted run.
pub struct Job {
    pub id: RunId,
    pub request: RunRequest,
    pub language: Language,
    pub limits: Limits,
    pub open_files: u64,
    pub interrupt: Interrupt,
    pub session: Option<SessionId>,
    /// The gateway, if anything is granted.
    pub gateway: Option<GatewayHandle>,
    pub listener: Option<Arc<EventQueue>>,
}

impl Job {
    pub fn quota(&self) -> Quota {
        quota(&self.limits, self.open_files)
    }
}

pub fn quota(limits: &Limits, open_files: u64) -> Quota {
    Quota { disk_bytes: limits.disk_bytes, files: limits.files, open_files }
}

/// The turn spec for the kernel: see `guests/README.md`.
#[derive(Serialize)]
struct Spec<'a> {
    code: &'a str,
    language: Language,
    filename: &'static str,
    args: &'a [String],
    env: BTreeMap<&'a str, &'a str>,
    birth: Option<String>,
    svg: bool,
}

/// The result of a run.
pub struct Finished {
    pub outcome: Outcome,
    /// True if the guest can take another turn.
    pub sound: bool,
}

/// Runs a job in a guest on this thread. `newborn`: the guest's first turn since it was started, resumed or forked.
pub fn run(kernel: &Kernel, guest: &mut Guest, job: Job, newborn: bool) -> Result<Finished, Problem> {
    let image = kernel.image().len() as u64;
    if job.limits.memory_bytes < image {
        return Err(Problem::invalid(format!(
            "limits.memory_bytes is {}; the {} interpreter alone takes {image}",
            job.limits.memory_bytes,
            kernel.name()
        )));
    }
    let vfs = guest.sandbox().vfs();
    vfs.set_quota(job.quota());
    bring_files(vfs, &job.request)?;
    vfs.mark();
    let recorder = Arc::new(Mutex::new(Recorder::new(job.limits.output_bytes, job.listener.clone())));
    connect(guest, &recorder, &job);
    let text = turn_text(kernel, &job, newborn)?;
    let bounds = Bounds {
        interrupt: job.interrupt.clone(),
        cpu: Duration::from_millis(job.limits.cpu_ms),
        memory_bytes: job.limits.memory_bytes,
    };
    let (end, usage) = guest.turn(&text, bounds);
    let sandbox = guest.sandbox();
    drop(sandbox.take_output());
    drop(sandbox.take_door());
    let recorder = std::mem::take(&mut *recorder.lock());
    let over_budget = recorder.is_over_budget();
    let sound = matches!(end, TurnEnd::Returned(_));
    let verdict = judge(end, recorder.finish(), over_budget, &usage, guest.sandbox().vfs().exceeded(), &job);
    let files = left_files(guest.sandbox().vfs());
    Ok(Finished { outcome: verdict.into_outcome(job, files, &usage), sound })
}

fn bring_files(vfs: &Vfs, request: &RunRequest) -> Result<(), Problem> {
    for (path, bytes) in request.files.decode().map_err(Problem::invalid)? {
        vfs.write_file(&path, &bytes).map_err(|e| {
            let limit = match e {
                FsError::NoSpace => " (limits.disk_bytes)",
                FsError::Quota => " (limits.files)",
                _ => "",
            };
            Problem::invalid(format!("files: {path:?}: {e}{limit}"))
        })?;
    }
    Ok(())
}

/// Points the guest's streams and door at the run's recorder.
fn connect(guest: &mut Guest, recorder: &Arc<Mutex<Recorder>>, job: &Job) {
    let sandbox = guest.sandbox();
    sandbox.set_stdin(job.request.stdin.clone().into());
    let output = Arc::clone(recorder);
    sandbox.set_output(Box::new(move |stream: Stdio, bytes: &[u8]| -> Result<(), Stop> {
        let stream = if stream == Stdio::Stdout { Stream::Stdout } else { Stream::Stderr };
        let mut recorder = output.lock();
        recorder.write(stream, bytes).map_err(|OverBudget| Stop(LimitName::OutputBytes))
    }));
    let door = Arc::clone(recorder);
    let (gateway, interrupt) = (job.gateway.clone(), job.interrupt.clone());
    sandbox.set_door(Box::new(move |request: &[u8]| -> Result<Vec<u8>, String> {
        if outbound::is_meant(request) {
            return outbound::answer(gateway.as_ref(), &interrupt, request);
        }
        door.lock().door(request)
    }));
}

fn turn_text(kernel: &Kernel, job: &Job, newborn: bool) -> Result<String, Problem> {
    let spec = Spec {
        code: &job.request.code,
        language: job.language,
        filename: match job.language {
            Language::Python => "main.py",
            Language::JavaScript => "main.js",
            Language::TypeScript => "main.ts",
        },
        args: &job.request.args,
        env: kernel.env().iter().chain(&job.request.env).map(|(k, v)| (k.as_str(), v.as_str())).collect(),
        birth: if newborn { Some(seed()?) } else { None },
        svg: job.request.svg,
    };
    let spec = serde_json::to_string(&spec).map_err(|e| Problem::internal(e.to_string()))?;
    Ok(kernel.turn_text(&spec))
}

/// 256 random bits in hex, unique to this start.
fn seed() -> Result<String, Problem> {
    let mut bits = [0_u8; 32];
    getrandom::fill(&mut bits).map_err(|_| Problem::internal("no randomness"))?;
    Ok(hex::encode(bits))
}

/// The end of a run, before it becomes an outcome.
struct Verdict {
    status: Status,
    exit_code: Option<i32>,
    error: Option<RunError>,
    record: Record,
}

fn judge(
    end: TurnEnd,
    mut record: Record,
    over_budget: bool,
    usage: &TurnUsage,
    exceeded: Option<LimitName>,
    job: &Job,
) -> Verdict {
    let error = record.error.take();
    let asked = record.exit_code.take();
    if over_budget {
        return Verdict::limit(LimitName::OutputBytes, job, error, record);
    }
    match end {
        TurnEnd::TimedOut => Verdict::limit(LimitName::WallMs, job, error, record),
        TurnEnd::Stopped(limit) => Verdict::limit(limit, job, error, record),
        TurnEnd::Cancelled => Verdict {
            status: Status::Cancelled,
            exit_code: None,
            error: Some(RunError {
                name: "cancelled".to_owned(),
                message: "the caller disconnected or cancelled".to_owned(),
                traceback: String::new(),
            }),
            record,
        },
        TurnEnd::Exited(code) => Verdict::exit(code, error, record),
        TurnEnd::Crashed(_) if usage.memory_denied => Verdict::limit(LimitName::MemoryBytes, job, error, record),
        TurnEnd::Crashed(reason) => {
            tracing::info!(run = %job.id, reason, "an interpreter crashed");
            let message = format!("the interpreter crashed: {reason}");
            let error = error.unwrap_or(RunError { name: "Crash".to_owned(), message, traceback: String::new() });
            Verdict { status: Status::Error, exit_code: Some(134), error: Some(error), record }
        }
        TurnEnd::Returned(status) => match (error, asked) {
            (Some(error), _) => match limit_behind(&error, usage, exceeded) {
                Some(limit) => Verdict::limit(limit, job, Some(error), record),
                None => Verdict { status: Status::Error, exit_code: Some(1), error: Some(error), record },
            },
            (None, Some(code)) => Verdict::exit(code, None, record),
            // The kernel reports that something ended the code, but the door got no reason.
            (None, None) if status != 0 => Verdict::exit(1, None, record),
            (None, None) => Verdict { status: Status::Ok, exit_code: Some(0), error: None, record },
        },
    }
}

/// A limit that the guest saw as an exception and did not handle.
fn limit_behind(error: &RunError, usage: &TurnUsage, exceeded: Option<LimitName>) -> Option<LimitName> {
    let text = format!("{} {}", error.name, error.message).to_lowercase();
    // A bare MemoryError also comes from requests beyond 32 bits, for which the limit was not even tried.
    let bare = error.name == "MemoryError" && error.message.is_empty();
    if bare || (usage.memory_denied && text.contains("memory")) {
        return Some(LimitName::MemoryBytes);
    }
    let of_files = ["oserror", "space", "quota", "too many", "enospc", "edquot", "emfile", "memory"];
    exceeded.filter(|_| of_files.iter().any(|word| text.contains(word)))
}

impl Verdict {
    fn exit(code: i32, error: Option<RunError>, record: Record) -> Self {
        if code == 0 && error.is_none() {
            return Self { status: Status::Ok, exit_code: Some(0), error: None, record };
        }
        let error = error.unwrap_or_else(|| RunError {
            name: "SystemExit".to_owned(),
            message: format!("the code exited with code {code}"),
            traceback: String::new(),
        });
        Self { status: Status::Error, exit_code: Some(code), error: Some(error), record }
    }

    fn limit(limit: LimitName, job: &Job, error: Option<RunError>, record: Record) -> Self {
        let limits = &job.limits;
        let bound = match limit {
            LimitName::WallMs => format!("{} ms", limits.wall_ms),
            LimitName::CpuMs => format!("{} ms", limits.cpu_ms),
            LimitName::MemoryBytes => format!("{} bytes", limits.memory_bytes),
            LimitName::OutputBytes => format!("{} bytes", limits.output_bytes),
            LimitName::DiskBytes => format!("{} bytes", limits.disk_bytes),
            LimitName::Files => limits.files.to_string(),
            LimitName::OpenFiles => job.open_files.to_string(),
            LimitName::Stack | LimitName::HostMemory => "fixed".to_owned(),
        };
        let message = format!("stopped by the limit {limit} ({bound})");
        let traceback = error.map(|e| e.traceback).unwrap_or_default();
        let status = if limit == LimitName::WallMs { Status::Timeout } else { Status::Limit };
        let error = RunError { name: limit.as_str().to_owned(), message, traceback };
        Self { status, exit_code: None, error: Some(error), record }
    }

    fn into_outcome(self, job: Job, files: Vec<FileEntry>, usage: &TurnUsage) -> Outcome {
        Outcome {
            id: job.id,
            status: self.status,
            exit_code: self.exit_code,
            stdout: self.record.stdout,
            stderr: self.record.stderr,
            results: self.record.results,
            error: self.error,
            files,
            usage: Usage { wall_ms: usage.wall, cpu_ms: usage.cpu, memory_peak_bytes: usage.memory_peak as u64 },
            session: job.session,
        }
    }
}

/// The files that the run created or changed, with their content if all of them fit into the answer.
pub fn left_files(vfs: &Vfs) -> Vec<FileEntry> {
    let changed: Vec<_> = vfs.list().into_iter().filter(|file| file.changed).collect();
    let inline = changed.iter().map(|file| file.size).sum::<u64>() <= INLINE_FILES_BYTES;
    changed
        .into_iter()
        .map(|file| {
            let content = if inline { vfs.read_file(&file.path).ok() } else { None };
            FileEntry { content_base64: content.map(|c| BASE64_STANDARD.encode(c)), path: file.path, size: file.size }
        })
        .collect()
}
