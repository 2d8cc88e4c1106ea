//! Children that are shell scripts: they prepare, die, and are told to end.

use std::time::Instant;

use parking_lot::Mutex;

use super::*;
use crate::metrics::RestartLabels;
use crate::supervisor::UNPREPARED;

fn script(prepare: &str, worker: &str) -> WorkerProgram {
    let args = |text: &str| vec!["-c".into(), text.into()];
    WorkerProgram {
        program: "/bin/sh".into(),
        prepare: args(prepare),
        worker: args(worker),
        env: vec![("ONLY".into(), "this".into())],
    }
}

fn supervision(lines: &Arc<Mutex<Vec<String>>>) -> (Supervision, CancellationToken, RestartMetrics) {
    let (stop, metrics, lines) = (CancellationToken::new(), RestartMetrics::default(), Arc::clone(lines));
    let progress = Box::new(move |line: &str| lines.lock().push(line.to_owned()));
    let grace = Duration::from_secs(5);
    (Supervision { metrics: metrics.clone(), progress, stop: stop.clone(), grace }, stop, metrics)
}

#[tokio::test]
async fn progress_is_passed_on_and_the_environment_is_scrubbed() {
    let lines = Arc::default();
    let (supervision, stop, _) = supervision(&lines);
    let program = script("echo compiling; echo \"${ONLY}-${HOME:-nothing}-${PATH_X:-nothing}\"", "exec sleep 30");
    let folder = tempfile::tempdir().unwrap();
    let local = LocalWorker::bind(program, folder.path()).unwrap();
    let task = tokio::spawn(local.supervise(supervision));
    while lines.lock().len() < 3 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(*lines.lock(), ["compiling", "this-nothing-nothing", "starting the worker"]);
    let begin = Instant::now();
    stop.cancel();
    task.await.unwrap().unwrap();
    assert!(begin.elapsed() < Duration::from_secs(3), "SIGTERM ends it");
}

#[tokio::test]
async fn a_failed_preparation_is_an_error() {
    let (supervision, _stop, _) = supervision(&Arc::default());
    let folder = tempfile::tempdir().unwrap();
    let local = LocalWorker::bind(script("exit 3", "exit 0"), folder.path()).unwrap();
    let error = local.supervise(supervision).await.unwrap_err();
    assert!(matches!(&error, Error::Prepare(status) if status.code() == Some(3)), "{error}");
}

#[tokio::test]
async fn a_dead_worker_is_started_again_and_quick_deaths_slow_down() {
    let (supervision, stop, metrics) = supervision(&Arc::default());
    let folder = tempfile::tempdir().unwrap();
    let local = LocalWorker::bind(script("true", "exit 1"), folder.path()).unwrap();
    let task = tokio::spawn(local.supervise(supervision));
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    stop.cancel();
    task.await.unwrap().unwrap();
    let restarts = metrics.worker.get_or_create(&RestartLabels { reason: "died" }).get();
    assert!((4..=8).contains(&restarts), "{restarts} restarts");
}

/// Waits until the file has so many lines.
async fn lines(path: &std::path::Path, count: usize) {
    while std::fs::read_to_string(path).unwrap_or_default().lines().count() < count {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_worker_that_finds_its_kernels_changed_has_them_prepared_again() {
    let (supervision, stop, metrics) = supervision(&Arc::default());
    let (folder, notes) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (prepared, started) = (notes.path().join("prepared"), notes.path().join("started"));
    let (p, s) = (prepared.display(), started.display());
    let worker = format!("echo x >> {s}; test $(wc -l < {p}) -ge 2 && exec sleep 30; exit {UNPREPARED}");
    let local = LocalWorker::bind(script(&format!("echo x >> {p}"), &worker), folder.path()).unwrap();
    let task = tokio::spawn(local.supervise(supervision));
    lines(&started, 2).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.cancel();
    task.await.unwrap().unwrap();
    let count = |path| std::fs::read_to_string(path).unwrap().lines().count();
    assert_eq!((count(&prepared), count(&started)), (2, 2));
    assert_eq!(metrics.worker.get_or_create(&RestartLabels { reason: "unprepared" }).get(), 1);
}

#[tokio::test]
async fn kernels_that_cannot_be_prepared_again_are_waited_for_and_said() {
    let shown = Arc::default();
    let (supervision, stop, _) = supervision(&shown);
    let (folder, notes) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let prepared = notes.path().join("prepared");
    let p = prepared.display();
    let prepare = format!("echo x >> {p}; test $(wc -l < {p}) -eq 1");
    let local = LocalWorker::bind(script(&prepare, &format!("exit {UNPREPARED}")), folder.path()).unwrap();
    let task = tokio::spawn(local.supervise(supervision));
    lines(&prepared, 2).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(shown.lock().iter().any(|line| line.contains("cannot be prepared")), "{shown:?}");
    assert!(std::fs::read_to_string(&prepared).unwrap().lines().count() == 2, "not again and again");
    let begin = Instant::now();
    stop.cancel();
    task.await.unwrap().unwrap();
    assert!(begin.elapsed() < Duration::from_secs(3), "it ends while it waits");
}
