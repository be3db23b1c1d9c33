//! Verbs that stop what runs.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_preempting_verb_stops_what_runs_and_turns_away_what_waits() {
    let bench = bench();
    let running = bench.start("wait", bench.context()).await;
    let waiting = bench
        .start("set", bench.context().with_queue_wait(TOO_LONG))
        .await;
    assert!(bench.run("stop").await.is_ok());
    assert_eq!(bench.clock.now(), bench.at(200), "at once");
    assert_eq!(
        running.await.unwrap().unwrap_err().to_string(),
        "cancelled: stopped by dut.stop"
    );
    assert_eq!(
        waiting.await.unwrap().unwrap_err().to_string(),
        "cancelled: dut was stopped while this call waited for it"
    );
    assert_eq!(
        bench.log.entries(),
        ["0 wait", "200 stop"],
        "the preempting verb decides the level"
    );
    assert!(!bench.handle.is_busy());
    assert!(bench.run("set").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_preempting_verb_that_fails_leaves_the_device_safe() {
    let bench = bench();
    let running = bench.start("wait", bench.context()).await;
    assert!(bench.run("stop-fail").await.is_err());
    assert!(running.await.unwrap().is_err());
    assert_eq!(bench.log.entries(), ["0 wait", "100 stop-fail", "100 SAFE"]);
}

#[tokio::test(start_paused = true)]
async fn the_device_stays_busy_while_a_preempting_verb_runs_and_that_can_be_preempted_too() {
    let bench = bench();
    let running = bench.start("wait", bench.context()).await;
    let slow = bench.start("stop-slow", bench.context()).await;
    assert!(matches!(bench.run("set").await, Err(VerbError::Busy { .. })));
    assert!(bench.run("stop").await.is_ok());
    assert!(running.await.unwrap().is_err());
    assert_eq!(
        slow.await.unwrap().unwrap_err().to_string(),
        "cancelled: stopped by dut.stop"
    );
    assert_eq!(bench.log.entries(), ["0 wait", "100 stop-slow", "200 stop"]);
    assert!(!bench.handle.is_busy());
}

#[tokio::test(start_paused = true)]
async fn two_preempting_verbs_at_once_are_both_heard_and_the_last_one_counts() {
    let bench = bench();
    let running = bench.start("stubborn", bench.context()).await;
    // Both arrive while the stubborn verb has its grace time.
    let slow = bench.handle.perform(Call::new("stop-slow"), bench.context());
    let last = bench.handle.perform(Call::new("stop"), bench.context());
    let (slow, last) = tokio::join!(slow, last);
    assert!(running.await.unwrap().is_err());
    assert_eq!(slow.unwrap_err().to_string(), "cancelled: stopped by dut.stop");
    assert!(last.is_ok());
    assert_eq!(bench.log.entries(), ["0 stubborn", "150 stop-slow", "150 stop"]);
}

#[tokio::test(start_paused = true)]
async fn a_preempting_verb_that_may_not_act_stops_nothing() {
    let bench = bench();
    let running = bench.start("wait", bench.context()).await;
    let late = bench.context().with_lease(Some(bench.at(50)));
    assert!(matches!(
        bench.handle.perform(Call::new("stop"), late).await,
        Err(VerbError::LeaseOver)
    ));
    assert!(running.await.unwrap().is_ok());
}
