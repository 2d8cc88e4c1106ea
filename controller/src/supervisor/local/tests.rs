//! Children that are shell scripts: what the supervisor does when they prepare, die, and are told to end.

use std::sync::Mutex;
use std::time::Instant;

use super::*;
use crate::metrics::RestartLabels;

fn script(prepare: &str, worker: &str) -> WorkerProgram {
    let args = |text: &str| vec!["-c".into(), text.into()];
    WorkerProgram {
        program: "/bin/sh".into(),
        prepare: args(prepare),
        worker: args(worker),
        env: vec![("ONLY".into(), "this".into())],
    }
}

fn supervision(lines: &Arc<Mutex<Vec<String>>>) -> (Supervision, CancellationToken, Arc<Metrics>) {
    let (stop, metrics, lines) = (CancellationToken::new(), Arc::new(Metrics::default()), Arc::clone(lines));
    let progress = Box::new(move |line: &str| lines.lock().unwrap().push(line.to_owned()));
    let grace = Duration::from_secs(5);
    (Supervision { metrics: Arc::clone(&metrics), progress, stop: stop.clone(), grace }, stop, metrics)
}

#[tokio::test]
async fn progress_is_passed_on_and_the_environment_is_scrubbed() {
    let lines = Arc::default();
    let (supervision, stop, _) = supervision(&lines);
    let program = script("echo compiling; echo \"${ONLY}-${HOME:-nothing}-${PATH_X:-nothing}\"", "exec sleep 30");
    let local = LocalWorker::bind(program).unwrap();
    let task = tokio::spawn(local.supervise(supervision));
    while lines.lock().unwrap().len() < 3 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(*lines.lock().unwrap(), ["compiling", "this-nothing-nothing", "starting the worker"]);
    let begin = Instant::now();
    stop.cancel();
    task.await.unwrap().unwrap();
    assert!(begin.elapsed() < Duration::from_secs(3), "SIGTERM ends it");
}

#[tokio::test]
async fn a_failed_preparation_is_an_error() {
    let (supervision, _stop, _) = supervision(&Arc::default());
    let error = LocalWorker::bind(script("exit 3", "exit 0")).unwrap().supervise(supervision).await.unwrap_err();
    assert!(matches!(&error, Error::Prepare(text) if text.contains('3')), "{error}");
}

#[tokio::test]
async fn a_dead_worker_is_started_again_and_quick_deaths_slow_down() {
    let (supervision, stop, metrics) = supervision(&Arc::default());
    let local = LocalWorker::bind(script("true", "exit 1")).unwrap();
    let task = tokio::spawn(local.supervise(supervision));
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    stop.cancel();
    task.await.unwrap().unwrap();
    let restarts = metrics.restarts.get_or_create(&RestartLabels { reason: "died" }).get();
    assert!((4..=8).contains(&restarts), "{restarts} restarts");
}
