//! Told to stop: finish within the grace time, else be safe and say so.

use std::time::Duration;

use super::{Bench, at};
use crate::agent::journal::Fault as DiskFault;
use crate::clock::Clock;
use crate::device::Cancellation;
use crate::device::gpio::Level;
use crate::protocol::model::ProcessState::{Failed, Running, Successful};
use crate::protocol::{Kind, model::ProcessState};

async fn stop_during(bench: &Bench, func: &str, args: &[&str], max_exec_time: i64) -> (String, usize) {
    let lane = bench.start();
    let id = bench.submit(func, args, max_exec_time, 3);
    bench.server.until_state(&id, Running).await;
    bench.clock.sleep_until(at(1.0)).await;
    bench.stop.cancel("SIGTERM");
    let left = lane.await.unwrap();
    (id, left)
}

#[tokio::test(start_paused = true)]
async fn what_finishes_within_the_grace_time_is_closed_as_it_ended() {
    let bench = Bench::new();
    let (id, left) = stop_during(&bench, "lamp.pulse", &["4s"], 60).await;
    assert_eq!(left, 0);
    assert_eq!(bench.server.process(&id).state, Successful);
    assert!(bench.now() < at(5.0));
    assert_eq!(bench.lamp_edges(), [Level::On, Level::Off]);
}

#[tokio::test(start_paused = true)]
async fn a_once_verb_beyond_the_grace_time_is_safe_and_closed_as_failed_with_the_reason() {
    let bench = Bench::new();
    let (id, left) = stop_during(&bench, "lamp.pulse", &["60s"], 300).await;
    assert_eq!(left, 0);
    let process = bench.server.process(&id);
    assert_eq!(process.state, Failed);
    assert!(
        process.error_message.contains("SIGTERM") && process.error_message.contains("5s"),
        "{}",
        process.error_message
    );
    assert!(bench.now() >= at(6.0) && bench.now() < at(7.0));
    assert_eq!(bench.lamp_edges(), [Level::On, Level::Off]);
}

#[tokio::test(start_paused = true)]
async fn read_and_set_verbs_beyond_the_grace_time_are_left_to_the_requeue() {
    for func in ["odd.read", "odd.set"] {
        let bench = Bench::new();
        let (id, left) = stop_during(&bench, func, &[], 60).await;
        assert_eq!(left, 0);
        assert_eq!(bench.server.process(&id).state, Running);
        assert_eq!(bench.server.asked(Kind::CloseFailed), []);
        bench
            .server
            .until(&id, "requeued", |process| {
                process.state == ProcessState::Waiting && process.retries == 1
            })
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_lease_they_are_closed_since_nobody_would_put_them_back() {
    let bench = Bench::new();
    let (id, _) = stop_during(&bench, "odd.read", &[], -1).await;
    let process = bench.server.process(&id);
    assert_eq!(process.state, Failed);
    assert!(
        process.error_message.contains("the agent stops"),
        "{}",
        process.error_message
    );
}

#[tokio::test(start_paused = true)]
async fn results_that_can_t_be_delivered_don_t_hold_up_the_stop() {
    let bench = Bench::new();
    let lane = bench.start();
    let id = bench.submit("sleep", &["2"], 60, 0);
    bench.server.until_state(&id, Running).await;
    bench.clock.sleep_until(at(1.0)).await;
    bench.server.set_down(true);
    bench.stop.cancel("SIGTERM");
    assert_eq!(lane.await.unwrap(), 1);
    assert!(bench.now() < at(2.0) + Duration::from_secs(6));
}

#[tokio::test(start_paused = true)]
async fn it_stops_at_once_while_it_waits() {
    // In a poll, for its owner, and for a server that is not there.
    let polling = Bench::new();
    let waiting = Bench::stranger();
    let alone = Bench::new();
    alone.server.set_down(true);
    for bench in [polling, waiting, alone] {
        let lane = bench.start();
        let told = bench.now() + Duration::from_secs(10);
        bench.clock.sleep_until(told).await;
        bench.stop.cancel("SIGTERM");
        assert_eq!(lane.await.unwrap(), 0);
        assert_eq!(bench.now(), told);
    }
}

#[tokio::test(start_paused = true)]
async fn a_result_that_found_no_room_on_the_disk_is_written_down_at_the_stop() {
    let mut bench = Bench::new();
    let lane = bench.start();
    let id = bench.submit("lamp.pulse", &["3s"], 600, 0);
    bench.server.until_state(&id, Running).await;
    bench.clock.sleep_until(at(1.0)).await;
    bench.server.set_down(true);
    bench.disk.fail_after(0, DiskFault::Full);
    bench.clock.sleep_until(at(10.0)).await;
    bench.disk.heal();
    bench.stop.cancel("SIGTERM");
    assert_eq!(lane.await.unwrap(), 1);
    bench.server.set_down(false);
    bench.stop = Cancellation::new();
    bench.start();
    bench.server.until_state(&id, Successful).await;
    assert_eq!(bench.lamp_edges(), [Level::On, Level::Off]);
}
