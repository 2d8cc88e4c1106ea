//! Refusals, and servers that are not API servers: each file of `attack/` has a request, the answer, and the expected
//! error.

use std::path::Path;
use std::time::{Duration, Instant};

use cofferdam_cluster::{ClusterError, PodName, workload_name};
use cofferdam_redact::Redactor;
use futures_util::StreamExt;
use serde::Deserialize;

use super::api::{Answer, Api, NAMESPACE, TOKEN, id, workload};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Attack {
    about: String,
    ask: String,
    #[serde(default)]
    answers: Vec<Answer>,
    expect: Expect,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    error: String,
    #[serde(default)]
    says: Vec<String>,
    #[serde(default)]
    never: Vec<String>,
    #[serde(default)]
    within_s: Option<u64>,
}

async fn ask(api: &Api, what: &str) -> Result<String, ClusterError> {
    let cluster = api.cluster();
    match what {
        "apply" => cluster.apply(&workload()).await.map(|()| "applied".to_owned()),
        "see" => cluster.see(&id()).await.map(|seen| format!("{seen:?}")),
        "remove" => cluster.remove(&id()).await.map(|()| "removed".to_owned()),
        "list" => cluster.list().await.map(|all| format!("{all:?}")),
        "pods" => cluster.pods(&id()).await.map(|all| format!("{all:?}")),
        "logs" => {
            let pod = PodName { workload: id(), pod: "a-pod".to_owned(), restarts: 0 };
            let mut lines = cluster.logs(&pod, None).await?;
            let mut number = 0;
            while let Some(line) = lines.next().await {
                line?;
                number += 1;
            }
            Ok(format!("{number} lines"))
        }
        other => panic!("ask = {other:?}"),
    }
}

/// An error as those show it who know the workload's secrets.
fn shown(error: &ClusterError) -> String {
    let workload = workload();
    let redactor = Redactor::for_env(&workload.env, &workload.secrets).unwrap();
    let name = workload_name(&workload.id);
    let public = [name.as_str(), NAMESPACE, workload.image.as_str()];
    error.words().shown(|said| redactor.text_beside(said, &public).into_owned())
}

async fn play(file: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(file).map_err(|e| e.to_string())?;
    let attack: Attack = toml::from_str(&text.replace("{token}", TOKEN)).map_err(|e| e.to_string())?;
    let api = Api::start().await;
    api.play(attack.answers);
    let started = Instant::now();
    let outcome = ask(&api, &attack.ask).await;
    let took = started.elapsed();
    let within = Duration::from_secs(attack.expect.within_s.unwrap_or(10));
    let (kind, said) = match &outcome {
        Ok(text) => ("none", text.clone()),
        Err(ClusterError::None(text)) => ("no cluster", text.clone()),
        Err(ClusterError::Settings(text)) => ("settings", text.clone()),
        Err(error) => (
            match error {
                ClusterError::Unreachable(_) => "unreachable",
                ClusterError::Refused(_) => "refused",
                _ => "conflict",
            },
            shown(error),
        ),
    };
    let about = attack.about;
    let everything = format!("{outcome:?}");
    let mut never = attack.expect.never.iter().map(String::as_str).chain([TOKEN]);
    if kind != attack.expect.error || took > within || said.len() > 3_000 || said.contains('\n') {
        return Err(format!("{about}\n  {kind} after {took:?}: {said}"));
    }
    if let Some(text) = attack.expect.says.iter().find(|text| !said.contains(text.as_str())) {
        return Err(format!("{about}\n  does not say {text:?}: {said}"));
    }
    if let Some(text) = never.find(|text| everything.contains(text)) {
        return Err(format!("{about}\n  says {text:?}: {said}"));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_become_words_that_say_what_to_do() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/attack");
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 25, "{} attacks in {}", files.len(), folder.display());
    let playing = files.iter().map(|file| async move { (file, play(file).await) });
    let outcomes = futures_util::future::join_all(playing).await;
    let wrong: Vec<String> = outcomes
        .into_iter()
        .filter_map(|(file, outcome)| Some(format!("{}: {}", file.file_name()?.to_string_lossy(), outcome.err()?)))
        .collect();
    println!("{} attacks", files.len());
    assert!(wrong.is_empty(), "{} of {} are wrong\n{}", wrong.len(), files.len(), wrong.join("\n"));
}
