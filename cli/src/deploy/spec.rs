//! The settings of a deployment from `--spec FILE` and flags: variables, secrets, resources, probes and what it asks of
//! its pod. Errors name file, line and field, or the flag, before anything is sent.

pub(crate) mod fields;
pub(crate) mod node;

use anyhow::bail;
use cofferdam_contract::{Health, PodSettings, Resources, TaintEffect, Toleration, Volume};
use serde_json::{Map, Value, json};

use super::args::Args;
use crate::advice::WrongLine;
use node::Node;

/// The flags that set the fields of these names.
const FLAGS: [(&str, &str); 12] = [
    ("resources.cpu", "--cpu"),
    ("resources.memory", "--memory"),
    ("pod.labels", "--label"),
    ("pod.annotations", "--annotation"),
    ("pod.tolerations", "--toleration"),
    ("pod.priority_class", "--priority-class"),
    ("pod.volumes", "--volume, --scratch"),
    ("pod.replicas", "--replicas"),
    ("health.readiness", "--readiness"),
    ("health.liveness", "--liveness"),
    ("health.min_ready_s", "--min-ready"),
    ("health.start_s", "--start-time"),
];

/// The settings of a file or of the flags, besides the variables.
#[derive(Default)]
struct Asked {
    secrets: Vec<String>,
    resources: Resources,
    pod: PodSettings,
    health: Health,
}

impl Asked {
    /// Takes its fields out of the file's settings, whose kinds have been checked.
    fn take(settings: &mut Map<String, Value>) -> Result<Self, String> {
        Ok(Self {
            secrets: take(settings, "secrets")?,
            resources: take(settings, "resources")?,
            pod: take(settings, "pod")?,
            health: take(settings, "health")?,
        })
    }

    /// The first invalid field, as `PATH: SENTENCE`. The server checks the same.
    fn check(&self) -> Result<(), String> {
        self.resources.check()?;
        self.pod.check()?;
        self.health.check()
    }
}

/// Everything but the image. Flags add to the file's lists and override its values.
pub(super) fn spec(args: &Args) -> anyhow::Result<Map<String, Value>> {
    let (mut spec, asked) = match &args.spec {
        Some(file) => {
            let name = format!("--spec {}", file.display());
            let tree = node::read(file, &name)?;
            let mut spec = fields::settings(&tree, &name).map_err(|found| anyhow::Error::msg(found.join("\n")))?;
            let checked = Asked::take(&mut spec).and_then(|asked| asked.check().map(|()| asked));
            let asked = checked.map_err(|why| anyhow::Error::msg(in_file(&tree, &name, &why)))?;
            (spec, asked)
        }
        None => (Map::new(), Asked::default()),
    };
    // The file is good by now: whatever is wrong is an option's value.
    let asked = with_flags(args, asked).map_err(|error| WrongLine::of(&error))?;
    asked.check().map_err(|why| WrongLine(of_flag(&why)))?;
    variables(args, &mut spec)?;
    let Asked { secrets, resources, pod, health } = asked;
    for (name, value, given) in [
        ("secrets", json!(secrets), !secrets.is_empty()),
        ("resources", json!(resources), resources != Resources::default()),
        ("pod", json!(pod), !pod.is_empty()),
        ("health", json!(health), !health.is_empty()),
    ] {
        if given {
            spec.insert(name.to_owned(), value);
        }
    }
    Ok(spec)
}

fn with_flags(args: &Args, file: Asked) -> anyhow::Result<Asked> {
    let Asked { mut secrets, resources, pod: of_file, health } = file;
    secrets.extend(args.secrets.iter().cloned());
    let resources = Resources {
        cpu: args.amounts.cpu.clone().or(resources.cpu),
        memory: args.amounts.memory.clone().or(resources.memory),
        ephemeral_storage: resources.ephemeral_storage,
    };
    let health = args.health.over(health).map_err(anyhow::Error::msg)?;
    Ok(Asked { secrets, resources, pod: pod(args, of_file)?, health })
}

/// Adds the variables of flags and of `--env-file` to the file's.
fn variables(args: &Args, spec: &mut Map<String, Value>) -> anyhow::Result<()> {
    let given = args.variables.read()?;
    if given.is_empty() {
        return Ok(());
    }
    // The file's are an object: its kinds have been checked.
    if let Some(all) = spec.entry("env").or_insert_with(|| json!({})).as_object_mut() {
        all.extend(given);
    }
    Ok(())
}

/// Takes a field out of the file's settings.
fn take<T: serde::de::DeserializeOwned + Default>(spec: &mut Map<String, Value>, name: &str) -> Result<T, String> {
    match spec.remove(name) {
        // A required field of an item is missing, such as a toleration's key.
        Some(value) => serde_json::from_value(value).map_err(|error| {
            let why = error.to_string();
            let field = why.split('`').nth(1).unwrap_or_default();
            if why.starts_with("missing field") {
                format!("{name}: an entry lacks the field `{field}`")
            } else {
                format!("{name}: not what this field takes")
            }
        }),
        None => Ok(T::default()),
    }
}

/// An error of a field, with the line where the file sets it.
fn in_file(tree: &Node, name: &str, why: &str) -> String {
    let path = why.split(':').next().unwrap_or_default();
    format!("{name}, line {}: {why}", fields::line_of(tree, path))
}

/// An error of a field, with the flag that sets it.
fn of_flag(why: &str) -> String {
    match FLAGS.iter().find(|(path, _)| why.starts_with(path)) {
        Some((_, flag)) => format!("{flag}: {why}"),
        None => why.to_owned(),
    }
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
    let (rest, read_only) = match (text.strip_suffix(":ro"), text.strip_suffix(":rw")) {
        (Some(_), _) if scratch => bail!("{flag} {text}: a new folder that is read-only stays empty: leave `:ro` out"),
        (Some(rest), _) => (rest, true),
        // As in `docker run`; it is the default.
        (None, Some(rest)) => (rest, false),
        (None, None) => (text, false),
    };
    let Some((what, path)) = rest.split_once(':').filter(|(what, path)| !what.is_empty() && path.starts_with('/'))
    else {
        bail!(
            "{flag} {text}: expected {}",
            if scratch { "SIZE:/PATH" } else { "CLAIM:/PATH, with `:ro` for read-only" }
        );
    };
    if let Some((_, mode)) = path.rsplit_once(':') {
        bail!("{flag} {text}: `:{mode}` is no mode: `:ro` mounts it read-only, and nothing or `:rw` also for writing");
    }
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
            "--readiness",
            "http:8080/ready",
            "--start-time",
            "2m",
        ]);
        assert_eq!(
            made.unwrap(),
            json!({
                "env": {"A": "1", "B": "3"}, "secrets": ["ONE", "TWO"], "resources": {"cpu": "1", "memory": "2Gi"},
                "health": {"min_ready_s": 9, "start_s": 120, "readiness": {"http": {"port": 8080, "path": "/ready"}}},
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
        assert!(said.contains("spec.json, line 1: image: ") && said.contains("health"), "{said}");
        let rw = of(&["--volume", "data:/data:rw"]).unwrap();
        assert_eq!(rw["pod"]["volumes"][0], json!({"name": "data", "mount_path": "/data", "claim": "data"}));
    }

    #[test]
    fn a_file_is_refused_with_line_and_field_and_no_library() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("agent.yaml");
        let name = file.to_str().unwrap();
        for (text, part) in [
            ("resources:\n  cpu: much\n", "agent.yaml, line 2: resources.cpu: must be a Kubernetes quantity"),
            ("pod:\n  replicas: 99\n", "line 2: pod.replicas: 1 to 16"),
            ("pod:\n  tolerations:\n    - effect: NoSchedule\n", "line 1: pod: an entry lacks the field `key`"),
            ("pod:\n  labels:\n    cofferdam.dev/agent: x\n", "line 2: pod.labels"),
            ("health: {min_ready_s: 60, start_s: 60}\n", "line 1: health.min_ready_s"),
            ("env: {A: 1}\n", "line 1: env.A: expected a text"),
            ("env: [\n", "neither valid YAML nor JSON"),
        ] {
            std::fs::write(&file, text).unwrap();
            let said = format!("{:#}", of(&["--spec", name]).unwrap_err());
            assert!(said.contains(part) && said.contains("agent.yaml"), "{text}: {said}");
            for library in ["serde", "invalid type", "expected struct", "at line", "saphyr"] {
                assert!(!said.contains(library), "{text}: {said}");
            }
        }
        std::fs::write(&file, "resources: {cpu: 1}\n").unwrap();
        assert_eq!(of(&["--spec", name]).unwrap(), json!({"resources": {"cpu": "1"}}));
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
            (["--scratch", "1Gi:/a:ro"], "leave `:ro` out"),
            (["--volume", "data:/a:rx"], "`:rx` is no mode"),
            (["--memory", "lots"], "--memory: resources.memory"),
            (["--replicas", "99"], "--replicas: pod.replicas: 1 to 16"),
            (["--min-ready", "2h"], "--min-ready: health.min_ready_s"),
            (["--liveness", "none"], "health.liveness"),
        ] {
            let said = format!("{:#}", of(&args).unwrap_err());
            assert!(said.contains(part), "{args:?}: {said}");
        }
    }
}
