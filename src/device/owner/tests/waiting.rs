//! Who comes while a verb runs: refused, let wait, answered beside it.

use super::*;

#[tokio::test(start_paused = true)]
async fn work_for_a_busy_device_is_refused_with_the_process_that_holds_it() {
    let bench = bench();
    let task = bench.start("wait", bench.context().with_process("3f2a")).await;
    assert!(bench.handle.is_busy());
    assert_eq!(
        bench.handle.running(),
        Some(Running {
            verb: "wait".into(),
            process: Some("3f2a".into())
        })
    );
    let error = bench.run("set").await.unwrap_err().to_string();
    assert_eq!(
        error,
        "busy with 3f2a: dut does one thing at a time; submit again later"
    );
    assert!(task.await.unwrap().is_ok());
    assert_eq!(bench.handle.running(), None);
    assert_eq!(bench.log.entries(), ["0 wait"]);
}

#[tokio::test(start_paused = true)]
async fn work_may_wait_in_order_and_no_longer_than_it_may() {
    let bench = bench();
    let first = bench.start("wait", bench.context()).await;
    let patient = |seconds| bench.context().with_queue_wait(Duration::from_secs(seconds));
    let second = bench.start("wait", patient(60)).await;
    let third = bench.start("set", patient(60)).await;
    let error = bench
        .handle
        .perform(Call::new("set"), patient(5))
        .await
        .unwrap_err();
    assert!(matches!(error, VerbError::Busy { .. }), "{error}");
    assert_eq!(bench.clock.now(), bench.at(5_300));
    let leased = patient(60).with_lease(Some(bench.at(6_000)));
    assert!(matches!(
        bench.handle.perform(Call::new("set"), leased).await,
        Err(VerbError::LeaseOver)
    ));
    for task in [first, second, third] {
        assert!(task.await.unwrap().is_ok());
    }
    assert_eq!(bench.log.entries(), ["0 wait", "10000 wait", "20000 set"]);
}

#[tokio::test(start_paused = true)]
async fn the_number_of_those_who_wait_is_bounded() {
    let bench = bench();
    let first = bench.start("wait", bench.context()).await;
    let waiting: Vec<_> = (0..WAITING_MAX)
        .map(|_| {
            let (handle, context) = (bench.handle.clone(), bench.context().with_queue_wait(TOO_LONG));
            tokio::spawn(async move { handle.perform(Call::new("set"), context).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(10)).await;
    let one_more = bench
        .handle
        .perform(Call::new("set"), bench.context().with_queue_wait(TOO_LONG))
        .await;
    assert!(matches!(one_more, Err(VerbError::Busy { .. })));
    assert!(first.await.unwrap().is_ok());
    for task in waiting {
        assert!(task.await.unwrap().is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn queries_are_answered_beside_a_verb_and_bounded() {
    let bench = bench();
    let task = bench.start("stubborn", bench.context()).await;
    assert_eq!(bench.run("state").await.unwrap().get("state"), Some("fine"));
    assert_eq!(bench.clock.now(), bench.at(100));
    let short = bench.context().with_lease(Some(bench.at(2_000)));
    assert!(matches!(
        bench.handle.perform(Call::new("state-slow"), short).await,
        Err(VerbError::LeaseOver)
    ));
    assert!(matches!(
        bench.run("state-slow").await,
        Err(VerbError::Overran { max_time: TOO_LONG })
    ));
    assert!(task.await.unwrap().is_err());
}
