//! Stop, pause, resume, replay, forks and deletion, also when they come at the same time as the end.

use std::sync::Arc;
use std::time::Duration;

use cofferdam_contract::TaskId;
use cofferdam_contract::work::{TaskStatus, Why};
use cofferdam_core::Failure as _;
use cofferdam_store::{Asked, OrganizationDeleted, OrganizationRow, Turn, Written};
use cofferdam_tasks::{Error, MessagesOf, TaskFilter};
use cofferdam_testkit::database::On;

use crate::rig::{Rig, caller, caller_of, ends, new_task, next_task};

fn status(error: &Error) -> u16 {
    error.refused().map_or(500, |problem| problem.status)
}

#[tokio::test]
async fn what_waits_is_stopped_and_paused_at_once() {
    for on in On::all() {
        let rig = Rig::new(on).await;
        let (stopped, paused) = (new_task("x"), new_task("y"));
        rig.add(&stopped).await;
        rig.add(&paused).await;
        let shown = rig.tasks.stop(&caller(), &stopped.task.id).await.unwrap();
        assert_eq!((shown.status, shown.internal_status), (TaskStatus::Stopped, Some(Why::AskedToStop)));
        // Said twice is said once; anything else about it is refused.
        assert_eq!(rig.tasks.stop(&caller(), &stopped.task.id).await.unwrap().status, TaskStatus::Stopped);
        for refused in [
            rig.tasks.pause(&caller(), &stopped.task.id).await,
            rig.tasks.resume(&caller(), &stopped.task.id).await,
            rig.tasks.replay(&caller(), &stopped.task.id).await,
            rig.tasks.resume(&caller(), &paused.task.id).await,
        ] {
            assert_eq!(status(&refused.unwrap_err()), 409);
        }
        let shown = rig.tasks.pause(&caller(), &paused.task.id).await.unwrap();
        assert_eq!((shown.status, shown.internal_status), (TaskStatus::Paused, Some(Why::AskedToPause)));
        assert_eq!(rig.tasks.resume(&caller(), &paused.task.id).await.unwrap().status, TaskStatus::Pending);
        let worker = rig.tasks.worker().unwrap();
        assert_eq!(rig.next(&worker).await.task.id, paused.task.id);
    }
}

#[tokio::test]
async fn a_running_task_hears_what_is_asked_in_any_process() {
    for on in On::all() {
        let rig = Rig::new(on).await;
        let other = rig.deaf_twin();
        let worker = rig.tasks.worker().unwrap();
        for (from, asked) in [(&rig, Asked::Stop), (&other, Asked::Stop), (&rig, Asked::Pause)] {
            let handed = rig.running(&worker).await;
            let mut watch = rig.tasks.asked(&handed.task.id);
            assert_eq!(watch.now(), None);
            match asked {
                Asked::Stop => from.tasks.stop(&caller(), &handed.task.id).await.unwrap(),
                Asked::Pause => from.tasks.pause(&caller(), &handed.task.id).await.unwrap(),
            };
            let heard = tokio::time::timeout(Duration::from_secs(3), watch.wait()).await.unwrap();
            assert_eq!(heard, asked);
            // A step that goes on says it as well.
            let Written::Done { asked: said, .. } = rig.step(&handed, Turn::Goes).await else { panic!() };
            assert_eq!(said, Some(asked));
            let turn = Turn::Again { why: None, detail: String::new(), at_ms: None };
            rig.step(&handed, turn).await;
            let expected = if asked == Asked::Stop { TaskStatus::Stopped } else { TaskStatus::Paused };
            assert_eq!(rig.row(&handed.task.id).await.status, expected, "on {on:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_that_meets_the_end_leaves_one_of_both() {
    for on in On::all() {
        let rig = Rig::new(on).await;
        let worker = rig.tasks.worker().unwrap();
        for pauses in [false, true] {
            for number in 0..15_u64 {
                let handed = rig.running(&worker).await;
                let (tasks, task) = (Arc::clone(&rig.tasks), handed.task.id.clone());
                let asks = tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_micros(number * 150)).await;
                    match pauses {
                        true => tasks.pause(&caller(), &task).await,
                        false => tasks.stop(&caller(), &task).await,
                    }
                });
                let written = rig.step(&handed, ends(TaskStatus::Completed)).await;
                let asked = asks.await.unwrap();
                let row = rig.row(&handed.task.id).await;
                assert!(row.status.is_final(), "{row:?}");
                assert!(matches!(written, Written::Done { .. }), "{written:?}");
                if let Err(error) = asked {
                    assert_eq!(status(&error), 409);
                }
                let thread = rig.tasks.thread_row(&caller(), &handed.task.thread).await.unwrap();
                assert_eq!(thread.active, None);
            }
        }
    }
}

#[tokio::test]
async fn dead_letters_are_listed_and_replayed() {
    for on in On::all() {
        let rig = Rig::new(on).await;
        let worker = rig.tasks.worker().unwrap();
        let mut dead = Vec::new();
        for _ in 0..3 {
            let handed = rig.running(&worker).await;
            rig.step(&handed, ends(TaskStatus::Error)).await;
            dead.push(handed.task.id);
        }
        let letters = TaskFilter { status: Some(TaskStatus::Error), limit: 2, ..TaskFilter::default() };
        let page = rig.tasks.list(&caller(), &letters).await.unwrap();
        assert_eq!(page.tasks.len(), 2);
        let rest = TaskFilter { after: page.next, ..letters.clone() };
        assert_eq!(rig.tasks.list(&caller(), &rest).await.unwrap().tasks.len(), 1);
        assert_eq!(rig.tasks.list(&caller_of("other"), &letters).await.unwrap().tasks, []);

        assert_eq!(rig.tasks.replay(&caller(), &dead[0]).await.unwrap().status, TaskStatus::Pending);
        let handed = rig.next(&worker).await;
        assert_eq!((&handed.task.id, handed.task.retries), (&dead[0], 0));
        let after = rig.tasks.thread(&caller(), &handed.task.thread).await.unwrap().last_event;
        let follow = rig.tasks.follow_task(&caller(), &dead[0], 0).await.unwrap();
        rig.step(&handed, ends(TaskStatus::Completed)).await;
        // The end of its first life does not end the stream.
        let events: Vec<_> = futures_util::StreamExt::collect(follow.into_stream()).await;
        assert!(events.last().unwrap().as_ref().unwrap().id > after);

        let mut replayed = rig.tasks.replay_of_agent(&caller(), &handed.task.agent).await.unwrap();
        replayed.sort();
        let mut expected: Vec<TaskId> = dead[1..].to_vec();
        expected.sort();
        assert_eq!(replayed, expected);
        assert!(rig.tasks.replay_of_agent(&caller(), &handed.task.agent).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_thread_is_forked_and_deleted() {
    for on in On::all() {
        let rig = Rig::new(on).await;
        let worker = rig.tasks.worker().unwrap();
        let handed = rig.running(&worker).await;
        let thread = handed.task.thread.clone();
        assert_eq!(status(&rig.tasks.delete_thread(&caller(), &thread).await.unwrap_err()), 409);
        rig.step(&handed, ends(TaskStatus::Completed)).await;
        rig.add(&next_task(&thread, "third")).await;
        assert_eq!(status(&rig.tasks.fork_thread(&caller(), &thread, Some(9)).await.unwrap_err()), 422);
        assert_eq!(status(&rig.tasks.fork_thread(&caller_of("other"), &thread, None).await.unwrap_err()), 404);
        let fork = rig.tasks.fork_thread(&caller(), &thread, Some(2)).await.unwrap();
        assert_eq!((fork.forked_from.as_ref(), fork.messages), (Some(&thread), 2));
        let page = rig.tasks.messages(&caller(), &fork.id, MessagesOf::After(0), 10).await.unwrap();
        assert_eq!(page.messages.len(), 2);
        let handed = rig.next(&worker).await;
        rig.step(&handed, ends(TaskStatus::Completed)).await;
        assert_eq!(status(&rig.tasks.delete_thread(&caller_of("other"), &thread).await.unwrap_err()), 404);
        rig.tasks.delete_thread(&caller(), &thread).await.unwrap();
        assert_eq!(status(&rig.tasks.get(&caller(), &handed.task.id).await.unwrap_err()), 404);
        assert_eq!(rig.tasks.thread(&caller(), &fork.id).await.unwrap().messages, 2);
    }
}

#[tokio::test]
async fn messages_are_found_within_the_organization() {
    for on in On::all() {
        let rig = Rig::new(on).await;
        rig.add(&new_task("the quick brown fox")).await;
        let mut page = rig.tasks.search(&caller(), "brown quick", (None, None), None, 10).await.unwrap();
        for _ in 0..100 {
            if !page.messages.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            page = rig.tasks.search(&caller(), "brown quick", (None, None), None, 10).await.unwrap();
        }
        assert_eq!(page.messages.len(), 1, "on {on:?}");
        let others = rig.tasks.search(&caller_of("other"), "brown", (None, None), None, 10).await.unwrap();
        assert!(others.messages.is_empty());
        assert_eq!(status(&rig.tasks.search(&caller(), " ", (None, None), None, 10).await.unwrap_err()), 422);
    }
}

#[tokio::test]
async fn tasks_of_a_closed_organization_pause_or_stop() {
    for on in On::all() {
        let rig = Rig::new(on).await;
        let (worker, own) = (rig.tasks.worker().unwrap(), caller().organization);
        let (running, waiting) = (rig.running(&worker).await, new_task("waits"));
        rig.add(&waiting).await;
        let mut watch = rig.tasks.asked(&running.task.id);
        let open = rig.store.organization(&own).await.unwrap().unwrap();
        let disabled = OrganizationRow { disabled_at: Some(1), ..open.clone() };
        assert!(rig.store.change_organization(&disabled).await.unwrap());
        let paused = rig.until(&waiting.task.id, TaskStatus::Paused).await;
        assert!(paused.detail.contains("disabled"), "{paused:?}");
        let heard = tokio::time::timeout(Duration::from_secs(10), watch.wait()).await.unwrap();
        assert_eq!(heard, Asked::Pause);
        // It is a pause like any other once the organization is back.
        assert!(rig.store.change_organization(&open).await.unwrap());
        let resumed = rig.tasks.resume(&caller(), &waiting.task.id).await.unwrap();
        assert_eq!(resumed.status, TaskStatus::Pending);
        rig.tasks.pause(&caller(), &waiting.task.id).await.unwrap();
        // Deleted, also what is paused ends, and nothing is left with a word that nobody hears.
        let deleted = rig.store.delete_organization(&own, true).await.unwrap();
        assert_eq!(deleted, OrganizationDeleted::Done);
        let stopped = rig.until(&waiting.task.id, TaskStatus::Stopped).await;
        assert_eq!((stopped.why, stopped.asked), (Some(Why::AskedToStop), None));
        let mut watch = rig.tasks.asked(&running.task.id);
        while watch.now() != Some(Asked::Stop) {
            tokio::time::timeout(Duration::from_secs(10), watch.wait()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
