//! Takeovers, resumption and backpressure.

use super::*;

#[tokio::test(start_paused = true)]
async fn what_is_sent_arrives_and_is_recorded_before_it_is_told() {
    let rig = rig(100, None);
    let hold = rig.hold(1, At::Start).await.unwrap();
    assert_eq!(rig.live.count(), 1);
    receive(&hold, &mut body(&["ab", "", "cd", "e"]), &limits()).await.unwrap();
    hold.complete().unwrap();
    let ended = hold.ended().await;
    assert_eq!(ended.as_ref().as_ref().unwrap().image.size_bytes, 5);
    assert_eq!(rig.recorded().len(), 1);
    assert_eq!(rig.got(), "abcde");
    assert_eq!((rig.live.count(), rig.collect.alive.load(Ordering::SeqCst)), (0, 0));
    drop(hold);
    // Who lost the answer asks again, with nothing left to send.
    let again = rig.hold(1, At::Offset(5)).await.unwrap();
    receive(&again, &mut Body::empty(), &limits()).await.unwrap();
    assert!(again.ended().await.is_ok());
    drop(again);
    let refused = rig.hold(1, At::Offset(3)).await.err();
    assert_eq!(refused, Some(Refused::Mismatch(Progress { offset: 5, length: None, complete: true })));
    assert_eq!(rig.recorded().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_connection_is_gone_on_with_where_it_broke() {
    let rig = rig(100, None);
    let hold = rig.hold(1, At::Start).await.unwrap();
    let broke = receive(&hold, &mut broken(&["ab", "cd"]), &limits()).await.unwrap_err();
    assert!(matches!(broke, Stopped::Broke(_)));
    drop(hold);
    let (progress, ended) = rig.live.look(&DeploymentId::from_random(1));
    assert_eq!((progress.offset, ended), (4, None));
    for wrong in [0, 3, 5, u64::MAX] {
        assert_eq!(rig.hold(1, At::Offset(wrong)).await.err(), Some(Refused::Mismatch(progress)), "{wrong}");
    }
    tokio::time::sleep(Duration::from_secs(500)).await;
    let hold = rig.hold(1, At::Offset(4)).await.unwrap();
    receive(&hold, &mut body(&["ef"]), &limits()).await.unwrap();
    hold.complete().unwrap();
    assert!(hold.ended().await.is_ok());
    assert_eq!(rig.got(), "abcdef");
    assert_eq!(
        rig.hold(2, At::Offset(7)).await.err().map(|r| matches!(r, Refused::Mismatch(p) if p.offset == 0)),
        Some(true)
    );
    assert!(rig.hold(2, At::Offset(0)).await.is_ok(), "at 0 it begins");
}

#[tokio::test(start_paused = true)]
async fn a_new_start_throws_away_what_came() {
    let rig = rig(100, None);
    let hold = rig.hold(1, At::Start).await.unwrap();
    receive(&hold, &mut broken(&["wrong"]), &limits()).await.unwrap_err();
    drop(hold);
    let hold = rig.hold(1, At::Start).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!((rig.live.count(), rig.collect.alive.load(Ordering::SeqCst)), (1, 1), "the first pipeline is gone");
    receive(&hold, &mut body(&["right"]), &limits()).await.unwrap();
    hold.complete().unwrap();
    assert!(hold.ended().await.is_ok());
    assert_eq!(rig.got(), "right");
    assert_eq!(rig.recorded().len(), 1, "a thrown away start is no end");
}

#[tokio::test(start_paused = true)]
async fn of_two_clients_one_sends_and_a_silent_one_gives_way() {
    let rig = rig(100, None);
    let first = rig.hold(1, At::Start).await.unwrap();
    assert_eq!(rig.hold(1, At::Start).await.err(), Some(Refused::Busy));
    assert_eq!(rig.hold(1, At::Offset(0)).await.err(), Some(Refused::Busy));
    let (sender, mut slow) = open();
    sender.send("ab").unwrap();
    let sending = tokio::spawn(async move {
        let stopped = receive(&first, &mut slow, &limits()).await;
        (stopped, first)
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.hold(1, At::Offset(2)).await.err(), Some(Refused::Busy));
    sender.send("cd").unwrap();
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(rig.hold(1, At::Offset(4)).await.err(), Some(Refused::Busy), "it has sent since");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let second = rig.hold(1, At::Offset(4)).await.unwrap();
    let (stopped, first) = sending.await.unwrap();
    assert_eq!(stopped, Err(Stopped::Replaced));
    sender.send("xx").ok();
    assert!(first.complete().is_err(), "who was replaced ends nothing");
    drop(first);
    assert_eq!(rig.hold(1, At::Offset(4)).await.err(), Some(Refused::Busy), "the second still holds it");
    receive(&second, &mut body(&["ef"]), &limits()).await.unwrap();
    second.complete().unwrap();
    assert!(second.ended().await.is_ok());
    assert_eq!(rig.got(), "abcdef");
}

#[tokio::test(start_paused = true)]
async fn a_slow_pipeline_makes_the_client_wait_and_keeps_it() {
    let rig = rig(0, None);
    let hold = rig.hold(1, At::Start).await.unwrap();
    let read = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&read);
    let endless = stream::repeat_with(move || {
        counter.fetch_add(1, Ordering::SeqCst);
        Ok::<_, std::io::Error>(Bytes::from_static(b"x"))
    });
    let mut endless = Body::from_stream(endless.take(50));
    let receiving = tokio::spawn(async move { (receive(&hold, &mut endless, &limits()).await, hold) });
    tokio::time::sleep(Duration::from_secs(200)).await;
    assert!(read.load(Ordering::SeqCst) <= 9, "no more is read than there is room for: {read:?}");
    assert_eq!(rig.hold(1, At::Start).await.err(), Some(Refused::Busy), "it is not the client's silence");
    rig.collect.gate.add_permits(100);
    let (received, hold) = receiving.await.unwrap();
    received.unwrap();
    hold.complete().unwrap();
    assert!(hold.ended().await.is_ok());
    assert_eq!(rig.got().len(), 50);
}
