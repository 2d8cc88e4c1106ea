//! The settings of a deployment from `--spec FILE` and flags: variables, secrets, resources and what it asks of its pod.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail};
use cofferdam_contract::{PodSettings, Resources, TaintEffect, Toleration, Volume};
use serde_json::{Map, Value, json};

use super::args::Args;
use crate::assignments;

/// The longest file of settings.
const MAX_SPEC_BYTES: u64 = 1 << 20;
/// The fields of a deployment that a file may set.
const FIELDS: [&str; 5] = ["env", "secrets", "resources", "pod", "health"];

/// Everything but the image. Flags add to the file's lists and override its values.
pub(super) fn spec(args: &Args) -> anyhow::Result<Map<String, Value>> {
    let mut spec = match &args.spec {
        Some(file) => read(file).with_context(|| format!("--spec {}", file.display()))?,
        None => Map::new(),
    };
    let variables = assignments::read(args.env_file.as_deref(), "--env", &args.variables)?;
    merge(&mut spec, "env", variables)?;
    let mut secrets: Vec<String> = take(&mut spec, "secrets")?;
    secrets.extend(args.secrets.iter().cloned());
    if !secrets.is_empty() {
        spec.insert("secrets".to_owned(), json!(secrets));
    }
    let given: Resources = take(&mut spec, "resources")?;
    let resources = Resources {
        cpu: args.cpu.clone().or(given.cpu),
        memory: args.memory.clone().or(given.memory),
        ephemeral_storage: given.ephemeral_storage,
    };
    // The server checks the same, but after the upload.
    resources.check().map_err(anyhow::Error::msg)?;
    if resources != Resources::default() {
        spec.insert("resources".to_owned(), json!(resources));
    }
    let pod = pod(args, take(&mut spec, "pod")?)?;
    pod.check().map_err(anyhow::Error::msg)?;
    if !pod.is_empty() {
        spec.insert("pod".to_owned(), json!(pod));
    }
    Ok(spec)
}

fn read(file: &Path) -> anyhow::Result<Map<String, Value>> {
    let mut bytes = Vec::new();
    std::fs::File::open(file)?.take(MAX_SPEC_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_SPEC_BYTES {
        bail!("longer than {MAX_SPEC_BYTES} bytes");
    }
    let text = std::str::from_utf8(&bytes).context("expected YAML or JSON")?;
    let spec: Map<String, Value> = serde_saphyr::from_str(text).context("expected an object in YAML or JSON")?;
    match spec.keys().find(|name| !FIELDS.contains(&name.as_str())) {
        Some(name) => bail!("unknown field `{name}`: expected {}", FIELDS.join(", ")),
        None => Ok(spec),
    }
}

/// Takes a field out of the file's settings.
fn take<T: serde::de::DeserializeOwned + Default>(spec: &mut Map<String, Value>, name: &str) -> anyhow::Result<T> {
    match spec.remove(name) {
        Some(value) => serde_json::from_value(value).with_context(|| format!("--spec: `{name}`")),
        None => Ok(T::default()),
    }
}

fn merge(spec: &mut Map<String, Value>, name: &str, values: Map<String, Value>) -> anyhow::Result<()> {
    if values.is_empty() {
        return Ok(());
    }
    let object = spec.entry(name).or_insert_with(|| json!({}));
    let Some(object) = object.as_object_mut() else { bail!("--spec: `{name}` must be an object") };
    object.extend(values);
    Ok(())
}

fn pod(args: &Args, mut pod: PodSettings) -> anyhow::Result<PodSettings> {
    for (flag, given, keys) in
        [("--label", &args.labels, &mut pod.labels), ("--annotation", &args.annotations, &mut pod.annotations)]
    {
        for text in given {
            let Some((key, value)) = text.split_once('=') else { bail!("{flag} {text}: expected KEY=VALUE") };
            keys.insert(key.to_owned(), value.to_owned());
        }
    }
    let tolerations = args.tolerations.iter().map(|text| toleration(text));
    pod.tolerations.extend(tolerations.collect::<anyhow::Result<Vec<_>>>()?);
    pod.priority_class = args.priority_class.clone().or(pod.priority_class);
    pod.replicas = args.replicas.or(pod.replicas);
    let claims = args.volumes.iter().map(|text| volume("--volume", text));
    pod.volumes.extend(claims.collect::<anyhow::Result<Vec<_>>>()?);
    let scratch = args.scratch.iter().map(|text| volume("--scratch", text));
    pod.volumes.extend(scratch.collect::<anyhow::Result<Vec<_>>>()?);
    Ok(pod)
}

/// Reads `KEY[=VALUE][:EFFECT]`.
fn toleration(text: &str) -> anyhow::Result<Toleration> {
    let (taint, effect) = match text.split_once(':') {
        Some((taint, effect)) => {
            let all = [TaintEffect::NoSchedule, TaintEffect::PreferNoSchedule, TaintEffect::NoExecute];
            let Some(effect) = all.into_iter().find(|known| known.name() == effect) else {
                bail!("--toleration {text}: the effect is NoSchedule, PreferNoSchedule or NoExecute");
            };
            (taint, Some(effect))
        }
        None => (text, None),
    };
    let (key, value) = match taint.split_once('=') {
        Some((key, value)) => (key, Some(value.to_owned())),
        None => (taint, None),
    };
    Ok(Toleration { key: key.to_owned(), value, effect })
}

/// Reads `CLAIM:PATH[:ro]` or `SIZE:PATH`. The volume's name is made of its path.
fn volume(flag: &str, text: &str) -> anyhow::Result<Volume> {
    let scratch = flag == "--scratch";
    let (rest, read_only) = match text.strip_suffix(":ro") {
        Some(rest) if !scratch => (rest, true),
        _ => (text, false),
    };
    let Some((what, path)) = rest.split_once(':').filter(|(what, path)| !what.is_empty() && path.starts_with('/'))
    else {
        bail!("{flag} {text}: expected {}:/PATH", if scratch { "SIZE" } else { "CLAIM" });
    };
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = path.chars().map(plain).collect();
    let name: String = name.trim_matches('-').chars().take(63).collect();
    Ok(Volume {
        name: name.trim_matches('-').to_owned(),
        mount_path: path.to_owned(),
        claim: (!scratch).then(|| what.to_owned()),
        size: scratch.then(|| what.to_owned()),
        read_only,
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn of(args: &[&str]) -> anyhow::Result<Value> {
        let line = ["deploy", "r.example/a:1", "--agent", "a"].iter().chain(args);
        spec(&Line::try_parse_from(line)?.args).map(Value::Object)
    }

    #[test]
    fn flags_add_to_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("spec.json");
        let whole = json!({"env": {"A": "1", "B": "2"}, "secrets": ["ONE"], "resources": {"cpu": "1", "memory": "1Gi"},
            "pod": {"labels": {"team": "x"}}, "health": {"min_ready_s": 9}});
        std::fs::write(&file, whole.to_string()).unwrap();
        let made = of(&[
            "--spec",
            file.to_str().unwrap(),
            "--env",
            "B=3",
            "--secret",
            "TWO",
            "--memory",
            "2Gi",
            "--label",
            "a/b=c",
            "--annotation",
            "note=x=y",
            "--toleration",
            "gpu=yes:NoSchedule",
            "--toleration",
            "spot",
            "--priority-class",
            "low",
            "--replicas",
            "2",
            "--volume",
            "agent-data:/data:ro",
            "--scratch",
            "1Gi:/var/Cache",
        ]);
        assert_eq!(
            made.unwrap(),
            json!({
                "env": {"A": "1", "B": "3"}, "secrets": ["ONE", "TWO"], "resources": {"cpu": "1", "memory": "2Gi"},
                "health": {"min_ready_s": 9},
                "pod": {
                    "labels": {"team": "x", "a/b": "c"}, "annotations": {"note": "x=y"},
                    "tolerations": [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}, {"key": "spot"}],
                    "priority_class": "low", "replicas": 2,
                    "volumes": [{"name": "data", "mount_path": "/data", "claim": "agent-data", "read_only": true},
                        {"name": "var-cache", "mount_path": "/var/Cache", "size": "1Gi"}],
                },
            })
        );
        assert_eq!(of(&[]).unwrap(), json!({}));
        std::fs::write(&file, "pod:\n  labels:\n    team: \"007\"\n").unwrap();
        assert_eq!(of(&["--spec", file.to_str().unwrap()]).unwrap(), json!({"pod": {"labels": {"team": "007"}}}));
        std::fs::write(&file, r#"{"image": "x"}"#).unwrap();
        let said = format!("{:#}", of(&["--spec", file.to_str().unwrap()]).unwrap_err());
        assert!(said.contains("`image`") && said.contains("health"), "{said}");
    }

    #[test]
    fn what_cannot_be_is_refused_before_the_upload() {
        for (args, part) in [
            (["--label", "team"], "KEY=VALUE"),
            (["--label", "cofferdam.dev/agent=other"], "reserved"),
            (["--toleration", "gpu:Maybe"], "NoSchedule"),
            (["--volume", "data"], "CLAIM:/PATH"),
            (["--volume", "data:/a/../b"], "mount_path"),
            (["--volume", "data:/"], "pod.volumes"),
            (["--scratch", "much:/a"], "size"),
            (["--scratch", "1Gi:/a:ro"], "mount_path"),
            (["--memory", "lots"], "memory"),
        ] {
            let said = format!("{:#}", of(&args).unwrap_err());
            assert!(said.contains(part), "{args:?}: {said}");
        }
    }
}
