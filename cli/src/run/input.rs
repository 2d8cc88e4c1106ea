//! Makes a run request from the arguments: source, language, files, limits.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail};
use cofferdam_contract::run::MAX_REQUEST_BYTES;
use cofferdam_contract::{
    FileInput, FilesInput, Grants, HttpGrant, Language, LimitsRequest, RunRequest, SessionId, normalize_path,
};

use super::args::Args;

/// The advice for a request that is too large.
pub(super) const TOO_MUCH: &str = "a run takes at most 32 MiB of source, input and files together (files that are not text \
    count for a third more). Compress it, or send it in parts: the runs of one session of a server (the REPL's :session names \
    it) share their files, so that each of several `cofferdam run --session ID --file FILE ...` can bring 32 MiB";

/// The request, without code for a REPL.
pub(super) fn request(args: &Args) -> anyhow::Result<RunRequest> {
    let code = match &args.source {
        Some(source) => text(source)?,
        None => String::new(),
    };
    let mut request = RunRequest::new(language(args)?, code);
    if let Some(id) = &args.session {
        request.session = Some(SessionId::parse(id)?);
        if args.lang.is_none() {
            // The session has one.
            request.language = None;
        }
    }
    if let Some(source) = &args.stdin {
        if source == "-" && args.source.as_deref() == Some("-") {
            bail!("standard input cannot be both the source and the code's input");
        }
        request.stdin = text(source)?;
    }
    request.files = FilesInput::List(args.files.iter().map(|file| input_file(file)).collect::<Result<_, _>>()?);
    request.env = args.variables.iter().cloned().collect();
    request.args.clone_from(&args.args);
    request.svg = args.svg;
    request.limits = LimitsRequest {
        wall_ms: args.timeout.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        memory_bytes: args.memory,
        ..LimitsRequest::default()
    };
    let grant = |host: &String| HttpGrant { host: host.clone(), ..HttpGrant::default() };
    request.grants = Grants { http: args.allow_http.iter().map(grant).collect(), ..Grants::default() };
    Ok(request)
}

fn language(args: &Args) -> anyhow::Result<Language> {
    if let Some(lang) = args.lang {
        return Ok(lang.into());
    }
    let Some(source) = args.source.as_deref().filter(|source| *source != "-") else { return Ok(Language::Python) };
    Ok(match Path::new(source).extension().and_then(|ending| ending.to_str()) {
        Some("py") | None => Language::Python,
        Some("js" | "mjs" | "cjs") => Language::JavaScript,
        Some("ts" | "mts") => Language::TypeScript,
        Some(other) => bail!("the extension .{other} does not tell the language; set --lang"),
    })
}

/// The text of a file, or of standard input for `-`.
fn text(source: &str) -> anyhow::Result<String> {
    let bytes = if source == "-" {
        all(std::io::stdin().lock(), "standard input")?
    } else {
        all(File::open(source).with_context(|| source.to_owned())?, source)?
    };
    String::from_utf8(bytes).with_context(|| format!("{source} is not UTF-8"))
}

/// Reads everything, up to the longest request: a device or a pipe may never end.
fn all(from: impl Read, name: &str) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let max = MAX_REQUEST_BYTES as u64;
    from.take(max + 1).read_to_end(&mut bytes).with_context(|| name.to_owned())?;
    if bytes.len() as u64 > max {
        bail!("{name} has more than {} MiB, and {TOO_MUCH}", max >> 20);
    }
    Ok(bytes)
}

fn input_file(argument: &str) -> anyhow::Result<FileInput> {
    let (name, path) = match argument.split_once('=') {
        Some((name, path)) if !Path::new(argument).exists() => (name.to_owned(), path),
        _ => {
            let name = Path::new(argument).file_name().with_context(|| format!("--file {argument}: no file name"))?;
            (name.to_string_lossy().into_owned(), argument)
        }
    };
    let name = normalize_path(&name).with_context(|| format!("--file {argument}"))?;
    let file = File::open(path).with_context(|| format!("--file {path}"))?;
    Ok(FileInput::new(name, all(file, &format!("--file {path}"))?))
}
