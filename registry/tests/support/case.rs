//! A file in `tests/attack/images`: the description of an archive, and the expected result.

use std::io::{Cursor, Read, Seek, Write};
use std::time::{Duration, Instant};

use cofferdam_registry::{Allow, Archive, ArchiveError, ArchiveLimits, ArchiveSource, Rules, read_archive};
use serde::Deserialize;

use super::archive::{Built, Description};
use super::sink::Checking;
use super::tar::Compress;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub about: String,
    /// The name of a case in a table, and the public report that it was made after.
    #[serde(default)]
    pub id: String,
    #[serde(default)]
    pub source: String,
    /// The answer of skopeo 1.9.3 to the same archive.
    pub skopeo: Option<Judge>,
    #[serde(default)]
    pub archive: Description,
    #[serde(default)]
    pub limits: Lowered,
    #[serde(default)]
    pub rules: Asked,
    pub expect: Expect,
}

/// The words of another program.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Judge {
    /// The transport: `docker-archive` or `oci-archive`.
    pub from: String,
    /// The part after the path.
    #[serde(default)]
    pub name: String,
    /// `ok`, or a part of its refusal.
    pub says: String,
}

/// Limits that differ from the defaults.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Lowered {
    layers: Option<usize>,
    layer_bytes: Option<u64>,
    image_bytes: Option<u64>,
    archive_bytes: Option<u64>,
    archive_entries: Option<usize>,
    layer_entries: Option<u64>,
    json_bytes: Option<usize>,
    json_total_bytes: Option<usize>,
    manifests: Option<usize>,
    path_bytes: Option<usize>,
    ratio_after: Option<u64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Asked {
    platform: Option<String>,
    name: Option<String>,
    allow_secrets: Vec<String>,
    allow_devices: bool,
    no_entry_point: bool,
    /// As `image inspect` reads it.
    inspecting: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Expect {
    /// Parts of the error. `|` separates alternatives. Empty: the archive is good.
    pub error: Vec<String>,
    /// `archive`, `limit`, `transfer`.
    pub fault: Option<String>,
    /// Parts that the error must not contain.
    pub lacks: Vec<String>,
    pub layers: Option<usize>,
    pub images: Option<usize>,
    pub skipped: Option<usize>,
    pub unreferenced: Option<usize>,
    /// Parts of the notes.
    pub notes: Vec<String>,
    pub platforms: Vec<String>,
    /// Names of all images.
    pub names: Vec<String>,
    /// The archive's own index is pushed, with this many artifacts beside the images. -1: it is made anew.
    pub index: Option<isize>,
    /// Every shorter prefix of the archive must be refused.
    pub cut_anywhere: bool,
}

/// Every refusal contains one of these, because it must say what to do.
const ADVICE: [&str; 13] = [
    "save ",
    "send ",
    "build ",
    "compress it",
    "add one",
    "raise the limit",
    "leave it out",
    "leave them out",
    "pack the archive",
    "name the one",
    "make the",
    "is wanted",
    "only ",
];
const DEFAULT_MAX_TIME: Duration = Duration::from_secs(5);

impl Case {
    pub(crate) fn limits(&self) -> ArchiveLimits {
        let (usual, own) = (ArchiveLimits::default(), &self.limits);
        ArchiveLimits {
            layers: own.layers.unwrap_or(usual.layers),
            layer_bytes: own.layer_bytes.unwrap_or(usual.layer_bytes),
            image_bytes: own.image_bytes.unwrap_or(usual.image_bytes),
            archive_bytes: own.archive_bytes.unwrap_or(usual.archive_bytes),
            archive_entries: own.archive_entries.unwrap_or(usual.archive_entries),
            layer_entries: own.layer_entries.unwrap_or(usual.layer_entries),
            json_bytes: own.json_bytes.unwrap_or(usual.json_bytes),
            json_total_bytes: own.json_total_bytes.unwrap_or(usual.json_total_bytes),
            manifests: own.manifests.unwrap_or(usual.manifests),
            path_bytes: own.path_bytes.unwrap_or(usual.path_bytes),
            ratio_after: own.ratio_after.unwrap_or(usual.ratio_after),
            ..usual
        }
    }

    pub(crate) fn rules(&self) -> Result<Rules, String> {
        let platform = self.rules.platform.as_ref().map(|text| text.parse().map_err(|e| format!("{e}"))).transpose()?;
        let allow = Allow { secrets: self.rules.allow_secrets.clone(), devices: self.rules.allow_devices };
        let (name, entry_point) = (self.rules.name.clone(), !self.rules.no_entry_point);
        if self.rules.inspecting {
            return Ok(Rules::inspecting(name));
        }
        Ok(Rules { platform, name, entry_point, allow, ..Rules::default() })
    }

    /// Reads it from a stream, from a stream in small pieces, and from a file.
    pub(crate) fn play(&self) -> Result<(), String> {
        let built = self.archive.build()?;
        let (limits, rules) = (self.limits(), self.rules()?);
        let small = built.bytes.len() < 1 << 20;
        let mut first: Option<String> = None;
        for kind in ["stream", "pieces", "file"] {
            if kind == "pieces" && !small {
                continue;
            }
            let started = Instant::now();
            let mut sink = Checking::default();
            let source = source(kind, &built.bytes)?;
            let result = read_archive(source, &limits, &rules, &mut sink);
            if started.elapsed() > DEFAULT_MAX_TIME {
                return Err(format!("{kind}: it takes {:?}", started.elapsed()));
            }
            self.judge(&result).map_err(|error| format!("{kind}: {error}"))?;
            // A file is the same image as a pipe.
            let seen = result.as_ref().map(seen).unwrap_or_default();
            if *first.get_or_insert_with(|| seen.clone()) != seen {
                return Err(format!("{kind}: it is {seen}, and was {first:?}"));
            }
        }
        if self.expect.cut_anywhere {
            self.cut(&built, &limits, &rules)?;
        }
        Ok(())
    }

    fn judge(&self, result: &Result<Archive, ArchiveError>) -> Result<(), String> {
        let expect = &self.expect;
        match result {
            Ok(archive) if expect.error.is_empty() => {
                let layers = archive.images.iter().map(|image| image.layers.len()).sum::<usize>();
                for (what, expected, found) in [
                    ("images", expect.images, archive.images.len()),
                    ("layers", expect.layers, layers),
                    ("skipped", expect.skipped, archive.skipped.len()),
                    ("unreferenced", expect.unreferenced, archive.unreferenced.len()),
                ] {
                    if expected.is_some_and(|expected| expected != found) {
                        return Err(format!("{found} {what}, expected {expected:?}: {archive:?}"));
                    }
                }
                let notes = archive.notes().join("\n");
                if let Some(note) = expect.notes.iter().find(|note| !notes.contains(*note)) {
                    return Err(format!("{note:?} is not noted: {notes}"));
                }
                let platforms: Vec<_> = archive.images.iter().map(|image| image.platform.to_string()).collect();
                let names: Vec<_> = archive.images.iter().flat_map(|image| image.names.clone()).collect();
                let index = archive.index.as_ref().map_or(-1, |index| index.beside.len() as isize);
                if !expect.platforms.is_empty() && expect.platforms != platforms
                    || !expect.names.is_empty() && expect.names != names
                    || expect.index.is_some_and(|expected| expected != index)
                {
                    return Err(format!("it is {platforms:?}, {names:?}, index {index}"));
                }
                Ok(())
            }
            Ok(archive) => Err(format!("it is taken: {archive:?}")),
            Err(error) if expect.error.is_empty() => Err(format!("it is refused: {error}")),
            Err(error) => {
                let (text, fault) = (error.to_string(), format!("{:?}", error.fault()).to_lowercase());
                if let Some(part) = expect.error.iter().find(|part| !part.split('|').any(|one| text.contains(one))) {
                    return Err(format!("{part:?} is not said: {text}"));
                }
                if let Some(part) = expect.lacks.iter().find(|part| text.contains(part.as_str())) {
                    return Err(format!("{part:?} is said: {text}"));
                }
                if expect.fault.as_ref().is_some_and(|expected| *expected != fault) {
                    return Err(format!("it is the fault of the {fault}: {text}"));
                }
                if !ADVICE.iter().any(|advice| text.contains(advice)) || text.len() > 5_000 {
                    return Err(format!("it does not say what to do: {text}"));
                }
                Ok(())
            }
        }
    }

    fn cut(&self, built: &Built, limits: &ArchiveLimits, rules: &Rules) -> Result<(), String> {
        // Half of the end marker makes it complete.
        let complete = if self.archive.compress == Compress::None { built.end + 512 } else { built.bytes.len() };
        for length in 0..complete {
            for kind in ["stream", "file"] {
                let source = source(kind, &built.bytes[..length])?;
                let error = match read_archive(source, limits, rules, &mut Checking::default()) {
                    Ok(_) => return Err(format!("{kind}: {length} bytes of {complete} are taken")),
                    Err(error) => error.to_string(),
                };
                if !ADVICE.iter().any(|advice| error.contains(advice)) {
                    return Err(format!("{kind}: {length} bytes: it does not say what to do: {error}"));
                }
            }
        }
        Ok(())
    }
}

/// Everything about an archive that does not depend on how it was read.
fn seen(archive: &Archive) -> String {
    let image = |image: &cofferdam_registry::Image| {
        let layers: Vec<_> = image.layers.iter().map(|layer| (layer.diff_id, layer.blob, layer.size)).collect();
        format!("{} {} {:?} {layers:?}", image.config_digest, image.platform, image.names)
    };
    let images: Vec<_> = archive.images.iter().map(image).collect();
    format!("{images:?} {:?} {:?}", archive.skipped, archive.remarks)
}

fn source(kind: &str, bytes: &[u8]) -> Result<ArchiveSource, String> {
    Ok(match kind {
        "stream" => ArchiveSource::Stream(Box::new(Cursor::new(bytes.to_vec()))),
        "pieces" => ArchiveSource::Stream(Box::new(Small(Cursor::new(bytes.to_vec())))),
        _ => {
            let mut file = tempfile::tempfile().map_err(|e| e.to_string())?;
            file.write_all(bytes).and_then(|()| file.rewind()).map_err(|e| e.to_string())?;
            ArchiveSource::File(file)
        }
    })
}

/// A few bytes at a time, as from a slow connection.
struct Small<R>(R);

impl<R: Read> Read for Small<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let most = buffer.len().min(7);
        self.0.read(&mut buffer[..most])
    }
}
