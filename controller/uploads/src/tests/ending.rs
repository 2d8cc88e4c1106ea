//! Failures, limits and abandoned uploads.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_pipeline_that_takes_nothing_is_given_up() {
    let rig = rig(0, None);
    let hold = rig.hold(1, At::Start).await.unwrap();
    let mut endless = Body::from_stream(stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(b"x"))));
    assert_eq!(receive(&hold, &mut endless, &limits()).await, Err(Stopped::Ended));
    let ended = hold.ended().await;
    assert_eq!(ended.as_ref().as_ref().unwrap_err().reason, FailureReason::Registry);
    assert_eq!((rig.live.count(), rig.collect.alive.load(Ordering::SeqCst)), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_bad_archive_is_answered_at_once() {
    let rig = rig(100, Some(b'!'));
    let hold = rig.hold(1, At::Start).await.unwrap();
    let (sender, mut slow) = open();
    sender.send("ab").unwrap();
    sender.send("!").unwrap();
    let start = tokio::time::Instant::now();
    assert_eq!(receive(&hold, &mut slow, &limits()).await, Err(Stopped::Ended), "the client is not done");
    assert_eq!(hold.ended().await.as_ref().as_ref().unwrap_err().detail, "poison");
    assert!(start.elapsed() < Duration::from_secs(1));
    assert_eq!(rig.recorded(), [Err(PushFailure::new(FailureReason::BadImage, "poison"))]);
    drop(hold);
    let late = rig.hold(1, At::Offset(3)).await.unwrap();
    assert_eq!(receive(&late, &mut body(&["more"]), &limits()).await, Err(Stopped::Ended));
    assert!(late.ended().await.is_err(), "who comes late learns it too");
}

#[tokio::test(start_paused = true)]
async fn who_never_comes_back_is_given_up_and_all_is_released() {
    let rig = rig(100, None);
    let hold = rig.hold(1, At::Start).await.unwrap();
    receive(&hold, &mut broken(&["ab"]), &limits()).await.unwrap_err();
    drop(hold);
    tokio::time::sleep(Duration::from_secs(590)).await;
    assert!(rig.live.is_under_way(&DeploymentId::from_random(1)));
    tokio::time::sleep(Duration::from_secs(80)).await;
    let [Err(failure)] = &rig.recorded()[..] else { panic!("{:?}", rig.recorded()) };
    assert_eq!(failure.reason, FailureReason::UploadLost);
    assert!(failure.detail.contains("after 2 bytes"), "{}", failure.detail);
    assert_eq!((rig.live.count(), rig.collect.alive.load(Ordering::SeqCst)), (0, 0));
    assert!(!rig.live.is_under_way(&DeploymentId::from_random(1)));
}

#[tokio::test(start_paused = true)]
async fn who_can_send_only_once_is_given_up_as_soon_as_it_is_gone() {
    let rig = rig(100, None);
    let mut hold = rig.hold(1, At::Start).await.unwrap();
    hold.only_once();
    receive(&hold, &mut broken(&["ab"]), &limits()).await.unwrap_err();
    drop(hold);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let [Err(failure)] = &rig.recorded()[..] else { panic!("{:?}", rig.recorded()) };
    assert_eq!((failure.reason, failure.retryable), (FailureReason::UploadLost, false));
    assert!(failure.detail.contains("after 2 bytes"), "{}", failure.detail);
    assert_eq!((rig.live.count(), rig.collect.alive.load(Ordering::SeqCst)), (0, 0));
    // An archive that is complete no longer needs its client.
    let mut hold = rig.hold(2, At::Start).await.unwrap();
    hold.only_once();
    receive(&hold, &mut body(&["ab"]), &limits()).await.unwrap();
    hold.complete().unwrap();
    drop(hold);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(matches!(rig.recorded()[..], [_, Ok(_)]), "{:?}", rig.recorded());
}

#[tokio::test(start_paused = true)]
async fn silence_in_the_middle_and_endless_dripping_both_end() {
    let rig = rig(10_000, None);
    let hold = rig.hold(1, At::Start).await.unwrap();
    let (_sender, mut silent) = open();
    let start = tokio::time::Instant::now();
    assert_eq!(receive(&hold, &mut silent, &limits()).await, Err(Stopped::Silent));
    assert_eq!(start.elapsed(), limits().idle);
    drop(hold);
    let hold = rig.hold(2, At::Start).await.unwrap();
    let drip = stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_secs(50)).await;
        Some((Ok::<_, std::io::Error>(Bytes::from_static(b"x")), ()))
    });
    let mut drip = Body::from_stream(Box::pin(drip));
    assert_eq!(receive(&hold, &mut drip, &limits()).await, Err(Stopped::Ended));
    assert_eq!(hold.ended().await.as_ref().as_ref().unwrap_err().reason, FailureReason::UploadLost);
    assert!(start.elapsed() < limits().whole + Duration::from_secs(200));
}

#[tokio::test(start_paused = true)]
async fn no_more_is_taken_than_allowed_or_announced() {
    let rig = rig(10_000, None);
    let hold = rig.hold(1, At::Start).await.unwrap();
    let many = vec!["0123456789"; 100];
    receive(&hold, &mut body(&many), &limits()).await.unwrap();
    assert_eq!(receive(&hold, &mut body(&["x"]), &limits()).await, Err(Stopped::TooLarge));
    assert_eq!(hold.progress().offset, 1_000);
    let hold = rig.hold(2, At::Start).await.unwrap();
    assert!(hold.announce(5) && hold.announce(5) && !hold.announce(6));
    assert_eq!(receive(&hold, &mut body(&["abc", "def"]), &limits()).await, Err(Stopped::TooMuch));
}

#[tokio::test(start_paused = true)]
async fn uploads_at_once_are_bounded() {
    let rig = rig(100, None);
    let _a = rig.hold(1, At::Start).await.unwrap();
    let b = rig.hold(2, At::Start).await.unwrap();
    assert_eq!(rig.hold(3, At::Start).await.err(), Some(Refused::Full(Full::Organization)));
    let other = OrganizationId::parse("other").unwrap();
    let id = |n| DeploymentId::from_random(n);
    let _c = rig.live.hold(&other, &id(4), At::Start, &rig.work).await.unwrap();
    let full = rig.live.hold(&other, &id(5), At::Start, &rig.work).await.err();
    assert_eq!(full, Some(Refused::Full(Full::All)));
    b.give_up(PushFailure::new(FailureReason::UploadLost, "enough"));
    assert_eq!(b.ended().await.as_ref().as_ref().unwrap_err().detail, "enough");
    assert!(rig.hold(3, At::Start).await.is_ok());
    rig.live.remove(&id(1)).await;
    assert!(rig.hold(6, At::Start).await.is_ok(), "what was removed has given back its place");
}

#[tokio::test(start_paused = true)]
async fn what_may_come_right_is_told_at_once_and_written_down_when_nobody_tries_again() {
    let rig = rig(100, Some(b'?'));
    let hold = rig.hold(1, At::Start).await.unwrap();
    let (sender, mut slow) = open();
    sender.send("?").unwrap();
    assert_eq!(receive(&hold, &mut slow, &limits()).await, Err(Stopped::Ended));
    assert!(hold.ended().await.as_ref().as_ref().unwrap_err().retryable);
    assert!(rig.recorded().is_empty() && rig.live.count() == 0);
    drop(hold);
    tokio::time::sleep(Duration::from_secs(100)).await;
    let hold = rig.hold(1, At::Start).await.unwrap();
    receive(&hold, &mut body(&["good"]), &limits()).await.unwrap();
    hold.complete().unwrap();
    assert!(hold.ended().await.is_ok());
    tokio::time::sleep(Duration::from_secs(1_000)).await;
    assert!(matches!(rig.recorded()[..], [Ok(_)]), "the failure before it is forgotten");
    let hold = rig.hold(2, At::Start).await.unwrap();
    let (sender, mut slow) = open();
    sender.send("?").unwrap();
    assert_eq!(receive(&hold, &mut slow, &limits()).await, Err(Stopped::Ended));
    drop(hold);
    tokio::time::sleep(Duration::from_secs(130)).await;
    assert!(matches!(rig.recorded()[..], [Ok(_), Err(_)]));
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_nobody_wants_any_more_ends() {
    let rig = rig(100, None);
    let hold = rig.hold(1, At::Start).await.unwrap();
    let (_sender, mut silent) = open();
    rig.collect.unwanted.store(true, Ordering::SeqCst);
    assert_eq!(receive(&hold, &mut silent, &limits()).await, Err(Stopped::Ended));
    assert_eq!(hold.ended().await.as_ref().as_ref().unwrap_err().reason, FailureReason::Superseded);
}
