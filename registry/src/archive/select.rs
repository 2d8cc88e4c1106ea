//! Selects the wanted images of an archive and checks that they can run and that their layers arrived.

use std::collections::{BTreeSet, HashMap};

use super::candidate::{Candidate, Listed};
use super::documents::Documents;
use super::layer::check;
use super::paths::Links;
use super::{ArchiveError, LayerEnd, Skipped};
use crate::compress::Encoding;
use crate::digest::Digest;
use crate::image::{Image, LayerRef, Platform};
use crate::limits::Rules;
use crate::reference::Reference;
use crate::shown::shown;

/// A layer that arrived, or that the sink vouches for.
#[derive(Debug, Clone)]
pub(super) struct Came {
    pub diff_id: Digest,
    /// `None`: it was not read, and nothing gives its stored digest.
    pub blob: Option<Digest>,
    pub size: u64,
    pub encoding: Encoding,
    pub end: Option<LayerEnd>,
}

/// The wanted images, each for a different platform, or all if the rules say so.
pub(super) fn select(
    mut candidates: Vec<Candidate>,
    rules: &Rules,
    skipped: &mut Vec<Skipped>,
) -> Result<Vec<Candidate>, ArchiveError> {
    if let Some(name) = &rules.name {
        candidates = called(candidates, name)?;
    }
    let there = list(candidates.iter().map(|candidate| candidate.platform.to_string()));
    candidates.retain(|candidate| {
        let wanted = rules.wants(&candidate.platform);
        if !wanted {
            let why = format!("it is for {}", candidate.platform);
            skipped.push(Skipped { what: candidate.config_digest.to_string(), why });
        }
        wanted
    });
    if candidates.is_empty() {
        let wanted = match &rules.platform {
            Some(wanted) => wanted.to_string(),
            None => list(rules.accepted.iter().map(Platform::to_string)),
        };
        return Err(ArchiveError::Bad(format!(
            "the image is for {there}, but {wanted} is required; build it with --platform for that"
        )));
    }
    let chosen = merge(candidates);
    if !rules.every {
        one_image(&chosen)?;
    }
    match chosen.iter().find(|candidate| rules.entry_point && candidate.is_idle()) {
        Some(idle) => Err(ArchiveError::Bad(format!(
            "the image for {} has neither ENTRYPOINT nor CMD, so nothing would run; add one to its Dockerfile",
            idle.platform
        ))),
        None => Ok(chosen),
    }
}

/// The refusal of an archive without any image. `skipped` says what is there instead.
pub(super) fn no_image(rules: &Rules, skipped: &[Skipped]) -> ArchiveError {
    let others = list(skipped.iter().map(|one| format!("{} ({})", one.what, one.why)));
    let wanted = rules.platform.as_ref().map(|wanted| format!(" for {wanted}")).unwrap_or_default();
    ArchiveError::Bad(match others.as_str() {
        "" => "the archive has no image; save one into it".to_owned(),
        others => format!("the archive has no image{wanted} that can be used, only {others}"),
    })
}

/// The images of that name: exactly that one, or the same for Docker, or one that ends so. The first rule that finds any
/// decides.
fn called(mut candidates: Vec<Candidate>, wanted: &str) -> Result<Vec<Candidate>, ArchiveError> {
    let reference = Reference::parse_familiar(wanted).ok();
    let digest = wanted.parse::<Digest>().ok().or(reference.as_ref().and_then(|one| one.digest().copied()));
    let by_name = digest.is_none();
    let full = reference.as_ref().map(full_name);
    let same = |name: &str| {
        let name = Reference::parse_familiar(name).ok().as_ref().map(full_name);
        name.is_some() && name == full
    };
    if let Some(digest) = digest.filter(|digest| candidates.iter().any(|one| one.has_digest(digest))) {
        candidates.retain(|one| one.has_digest(&digest));
        candidates.iter_mut().for_each(|one| one.keep_ways(|way| way.below.contains(&digest)));
        return Ok(candidates);
    }
    let rules: [&dyn Fn(&str) -> bool; 3] = [&|name| name == wanted, &same, &|name| is_called(name, wanted)];
    let has = |one: &Candidate, rule: &dyn Fn(&str) -> bool| one.names.iter().any(|name| rule(name));
    let rule = rules.iter().find(|rule| by_name && candidates.iter().any(|one| has(one, rule)));
    let Some(rule) = rule else {
        let each = |one: &Candidate| match one.names.as_slice() {
            [] => vec![one.config_digest.to_string()],
            names => names.to_vec(),
        };
        return Err(ArchiveError::Bad(format!(
            "the archive has no image {}, only: {}; request one of those, or save the image that you want",
            shown(wanted.as_bytes()),
            list(candidates.iter().flat_map(each))
        )));
    };
    candidates.retain(|one| has(one, rule));
    candidates.iter_mut().for_each(|one| one.keep_ways(|way| way.names.iter().any(|name| rule(name))));
    Ok(candidates)
}

/// True for two names of one image, as Docker completes them.
pub(super) fn is_same_name(one: &str, other: &str) -> bool {
    let full = |name: &str| Reference::parse_familiar(name).ok().as_ref().map(full_name);
    one == other || full(one).is_some_and(|one| Some(one) == full(other))
}

/// The name with registry and tag, as Docker completes it.
fn full_name(reference: &Reference) -> String {
    let which = reference.tag().unwrap_or("latest");
    format!("{}/{}:{which}", reference.registry(), reference.repository())
}

/// Drops platforms whose layers the archive does not have, if the same image is complete for another one.
pub(super) fn only_complete(
    chosen: Vec<Candidate>,
    documents: &mut dyn Documents,
    links: &Links,
    skipped: &mut Vec<Skipped>,
) -> Result<Vec<Candidate>, ArchiveError> {
    let mut complete = Vec::with_capacity(chosen.len());
    for candidate in &chosen {
        let mut all = true;
        for listed in &candidate.layers {
            all = all && documents.has(links.follow(&listed.path)?)?;
        }
        complete.push(all);
    }
    let names: Vec<Vec<String>> =
        chosen.iter().zip(&complete).filter(|(_, all)| **all).map(|(one, _)| one.names.clone()).collect();
    let mut left = Vec::with_capacity(chosen.len());
    for (candidate, all) in chosen.into_iter().zip(complete) {
        if all || !names.iter().any(|other| is_shared(other, &candidate.names)) {
            left.push(candidate);
        } else {
            let why = format!("its layers for {} are not in the archive", candidate.platform);
            skipped.push(Skipped { what: candidate.config_digest.to_string(), why });
        }
    }
    Ok(left)
}

/// Merges an image that has several names.
fn merge(candidates: Vec<Candidate>) -> Vec<Candidate> {
    let mut chosen: Vec<Candidate> = Vec::new();
    for candidate in candidates {
        let digest = |one: &Candidate| one.manifest.as_ref().map_or(one.config_digest, |manifest| manifest.digest);
        match chosen.iter_mut().find(|one| digest(one) == digest(&candidate)) {
            Some(same) => {
                let new = candidate.names.into_iter().filter(|name| !same.names.contains(name)).collect::<Vec<_>>();
                same.names.extend(new);
            }
            None => chosen.push(candidate),
        }
    }
    chosen
}

/// Different images must be one image for several platforms.
fn one_image(chosen: &[Candidate]) -> Result<(), ArchiveError> {
    let platforms: BTreeSet<_> = chosen.iter().map(|one| &one.platform).collect();
    let first = chosen.first().map(|first| first.names.as_slice()).unwrap_or_default();
    let shared = chosen.iter().all(|one| is_shared(first, &one.names));
    if platforms.len() == chosen.len() && shared {
        return Ok(());
    }
    let each = |one: &Candidate| match one.names.first() {
        Some(name) => format!("{} ({})", shown(name.as_bytes()), one.platform),
        None => format!("{} ({})", one.config_digest, one.platform),
    };
    Err(ArchiveError::Bad(format!(
        "the archive has {} different images: {}; name the one that you want (--image), or save it alone",
        chosen.len(),
        list(chosen.iter().map(each))
    )))
}

/// True for images of one name, or without any.
fn is_shared(one: &[String], other: &[String]) -> bool {
    one.is_empty() && other.is_empty() || one.iter().any(|name| other.contains(name))
}

/// `a/b:1` answers to `a/b:1`, `b:1` and `1`.
fn is_called(name: &str, wanted: &str) -> bool {
    let end = name.strip_suffix(wanted).filter(|_| !wanted.is_empty());
    end.is_some_and(|front| front.is_empty() || front.ends_with(['/', ':']))
}

fn list(items: impl Iterator<Item = String>) -> String {
    const MAX_LISTED: usize = 10;
    let items: BTreeSet<String> = items.collect();
    let mut text = items.iter().take(MAX_LISTED).cloned().collect::<Vec<_>>().join(", ");
    if items.len() > MAX_LISTED {
        text.push_str(&format!(" and {} more", items.len() - MAX_LISTED));
    }
    text
}

/// Assembles an image from the layers that arrived.
pub(super) fn assemble(
    candidate: Candidate,
    links: &Links,
    came: &HashMap<String, Came>,
    strange: &HashMap<String, &'static str>,
    remarks: &mut Vec<String>,
) -> Result<Image, ArchiveError> {
    let mut layers = Vec::with_capacity(candidate.layers.len());
    let mut manifest = candidate.manifest;
    for (number, (listed, &diff_id)) in candidate.layers.iter().zip(&candidate.diff_ids).enumerate() {
        let path = links.follow(&listed.path)?;
        let Some(layer) = came.get(path) else {
            let what = match strange.get(path) {
                Some(looks) => format!("{looks}, and has to be a tar archive, plain or compressed by gzip or zstd;"),
                None if listed.foreign => {
                    "may not be passed on by its owner's terms, and the archive has only its address: push it with a tool that \
                     keeps addresses (skopeo), or"
                        .to_owned()
                }
                None => "is missing from the archive;".to_owned(),
            };
            return Err(ArchiveError::Bad(format!(
                "layer {} ({}) {what} save the whole image again",
                number.saturating_add(1),
                shown(path.as_bytes())
            )));
        };
        layers.push(one(listed, path, diff_id, layer)?);
        if let Some(claimed) = listed.encoding.filter(|claimed| *claimed != layer.encoding) {
            // Its bytes are right, its media type is not: a runtime would not unpack it.
            manifest = None;
            remarks.push(format!(
                "the manifest says that the layer {} is stored as {claimed:?}, and it is stored as {:?}: the manifest is \
                 written anew with its true media type, so its digest is not the archive's and signatures do not match",
                shown(path.as_bytes()),
                layer.encoding
            ));
        }
    }
    Ok(Image {
        config: candidate.config,
        config_digest: candidate.config_digest,
        config_media_type: candidate.config_media_type,
        platform: candidate.platform,
        layers,
        names: candidate.names,
        manifest,
        annotations: candidate.annotations,
        entry_point: candidate.entry_point,
    })
}

fn one(listed: &Listed, path: &str, diff_id: Digest, layer: &Came) -> Result<LayerRef, ArchiveError> {
    if layer.end.is_some() {
        check(path, listed.blob, layer.blob.unwrap_or(layer.diff_id))?;
    }
    check(path, Some(diff_id), layer.diff_id)?;
    let blob = layer.blob.or(listed.blob).unwrap_or(layer.diff_id);
    let wrong = |what: String| {
        let path = shown(path.as_bytes());
        Err(ArchiveError::Bad(format!("the manifest says that the layer {path} {what}; save the image again")))
    };
    if let Some(size) = listed.size.filter(|&size| size != layer.size) {
        return wrong(format!("has {size} bytes, and it has {}", layer.size));
    }
    Ok(LayerRef { diff_id, blob, size: layer.size, encoding: layer.encoding })
}
