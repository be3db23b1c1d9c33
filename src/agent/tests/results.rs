//! Lost replies, refused closes, and what the server believes wrongly.

use std::time::Duration;

use super::server::Fault;
use super::{Bench, at};
use crate::clock::Clock;
use crate::device::gpio::Level;
use crate::protocol::model::ProcessState::{Failed, Running, Successful, Waiting};
use crate::protocol::model::RuntimeState;
use crate::protocol::{Kind, Time};

#[tokio::test(start_paused = true)]
async fn what_runs_on_us_and_is_not_held_is_closed_as_lost_and_never_acted_on() {
    let bench = Bench::new();
    let id = bench.submit("lamp.on", &[], -1, 3);
    let other = bench.submit("lamp.on", &[], -1, 3);
    let theirs = bench.submit("lamp.on", &[], -1, 3);
    for (id, runtime) in [(&id, bench.key.id()), (&theirs, "them".to_owned())] {
        bench.server.change(id, |process| {
            process.state = Running;
            process.is_assigned = true;
            process.assigned_runtime_id = runtime;
            process.start_time = Time::from_unix_nanos(1_660_000_000_000_000_123);
        });
    }
    bench.server.change(&other, |process| process.state = Waiting);
    bench.start();
    let lost = bench.server.until_state(&id, Failed).await;
    assert_eq!(lost.error_message, "assignment lost");
    bench.server.until_state(&other, Successful).await;
    assert_eq!(bench.server.process(&theirs).state, Running);
    assert_eq!(bench.lamp_edges(), [Level::On]);
}

#[tokio::test(start_paused = true)]
async fn an_assignment_whose_reply_was_lost_is_found_once_its_poll_time_has_passed() {
    for fault in [Fault::LostAfter, Fault::TimedOut, Fault::Empty, Fault::Html] {
        let bench = Bench::new();
        bench.server.fault(Kind::Assign, fault.clone());
        bench.start();
        bench.clock.sleep_until(at(5.0)).await;
        let id = bench.submit("lamp.toggle", &[], -1, 0);
        let lost = bench.server.until_state(&id, Failed).await;
        assert_eq!(lost.error_message, "assignment lost", "{fault:?}");
        assert!(bench.lamp_edges().is_empty(), "{fault:?}");
        let next = bench.submit("lamp.toggle", &[], -1, 0);
        bench.server.until_state(&next, Successful).await;
        assert_eq!(bench.lamp_edges(), [Level::On], "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_server_has_forgotten_the_end_of_is_closed_as_it_ended() {
    let bench = Bench::new();
    bench.start();
    let done = bench.submit("lamp.toggle", &[], 3600, 3);
    let failed = bench.submit("lamp.pulse", &["long"], 3600, 3);
    let mut before = Vec::new();
    for (id, state) in [(&done, Successful), (&failed, Failed)] {
        before.push(bench.server.until_state(id, state).await);
    }
    assert_eq!(bench.lamp_edges(), [Level::On]);
    // Its ledger comes back from a backup that was made while they ran.
    for id in [&done, &failed] {
        bench.server.change(id, |process| {
            process.state = Running;
            process.end_time = Time::NEVER;
            process.error_message.clear();
        });
    }
    for then in before {
        let now = bench.server.until_state(&then.id, then.state).await;
        assert_eq!(now.error_message, then.error_message);
    }
    assert_eq!(bench.lamp_edges(), [Level::On], "and nothing is done again");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_left_to_the_requeue_is_not_closed_as_lost() {
    let mut bench = Bench::new();
    bench.settings.backoff_min = Duration::from_millis(50);
    bench.settings.backoff_max = Duration::from_millis(50);
    bench.start();
    bench.clock.sleep_until(at(1.0)).await;
    let id = bench.submit("odd.set", &[], 5, 1);
    bench.server.until_state(&id, Running).await;
    // Enrolling again makes it reconcile: let that be between the lease's end here and its end there.
    bench.clock.sleep_until(at(4.0)).await;
    bench.server.set_runtime(&bench.key.id(), RuntimeState::Rejected);
    bench.clock.sleep_until(at(5.8)).await;
    assert_eq!(bench.odd_log().safe.len(), 1, "stopped");
    bench.server.set_runtime(&bench.key.id(), RuntimeState::Approved);
    bench.server.until_requeued(&id).await;
    let looked = bench.server.asked(Kind::GetHistory);
    assert!(
        looked.iter().any(|when| *when > at(5.8) && *when < at(6.0)),
        "{looked:?}"
    );
    let ended = bench.server.until_state(&id, Failed).await;
    assert_eq!(ended.error_message, "Maximum execution time limit exceeded");
    assert_eq!(bench.odd_log().began.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn lost_answers_to_attributes_and_closes_are_sent_again_until_taken() {
    let bench = Bench::new();
    bench.start();
    for fault in [
        Fault::LostBefore,
        Fault::LostAfter,
        Fault::TimedOut,
        Fault::Empty,
        Fault::Html,
        Fault::Unreachable,
    ] {
        bench.server.fault(Kind::AddAttribute, fault.clone());
        bench.server.fault(Kind::CloseSuccessful, fault.clone());
        bench.server.fault(Kind::GetProcess, fault.clone());
        let id = bench.submit("lamp.toggle", &[], 600, 0);
        let done = bench.server.until_state(&id, Successful).await;
        assert!(
            bench.server.out(&id, "state").is_some(),
            "{fault:?}: {:?}",
            done.attributes
        );
        // What was taken stays taken.
        bench
            .clock
            .sleep_until(bench.now() + Duration::from_secs(120))
            .await;
        assert_eq!(bench.server.process(&id).state, Successful, "{fault:?}");
    }
    assert_eq!(bench.lamp_edges().len(), 6, "each was done once");
}

#[tokio::test(start_paused = true)]
async fn a_refused_close_is_moot_and_the_agent_goes_on() {
    for (status, text) in [
        (400, "Tried to set failed process as completed"),
        (
            400,
            "Tried to set waiting process as completed without being running",
        ),
        (
            403,
            "Failed to close process as successful, not allowed to close process",
        ),
        (500, "Failed to close process as successful, process is nil"),
    ] {
        let bench = Bench::new();
        bench.start();
        bench
            .server
            .fault(Kind::CloseSuccessful, Fault::Refuse(status, text));
        let id = bench.submit("echo", &[], 600, 0);
        bench.server.until_state(&id, Running).await;
        let next = bench.submit("echo", &[], 600, 0);
        bench.server.until_state(&next, Successful).await;
        assert_eq!(
            bench.server.asked(Kind::CloseSuccessful).len(),
            2,
            "{text}: not sent again"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_deleted_while_it_ran_is_dropped() {
    let bench = Bench::new();
    bench.start();
    let id = bench.submit("sleep", &["2"], 600, 0);
    bench.server.until_state(&id, Running).await;
    bench.server.delete_process(&id);
    let next = bench.submit("echo", &[], 600, 0);
    bench.server.until_state(&next, Successful).await;
}

#[tokio::test(start_paused = true)]
async fn while_a_result_waits_its_process_is_never_acted_on_again() {
    for func in ["lamp.toggle", "odd.fail"] {
        let bench = Bench::new();
        bench.start();
        // Refused in words that may pass, for longer than all leases.
        for kind in [
            Kind::AddAttribute,
            Kind::CloseSuccessful,
            Kind::CloseFailed,
            Kind::GetProcess,
        ] {
            for _ in 0..1000 {
                bench
                    .server
                    .fault(kind, Fault::Refuse(500, "the database is away"));
            }
        }
        let id = bench.submit(func, &[], 5, 3);
        let ended = bench.server.until_state(&id, Failed).await;
        assert_eq!(ended.retries, 3, "the work of others goes on meanwhile");
        assert_eq!(ended.error_message, "Maximum execution time limit exceeded");
        let done = bench.lamp_edges().len() + bench.odd_log().began.len();
        assert_eq!(done, 1, "{func}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_result_is_not_put_on_a_later_attempt() {
    let bench = Bench::new();
    bench.start();
    let id = bench.submit("sleep", &["3"], 5, 3);
    bench.server.until_state(&id, Running).await;
    // The server is away from before the end of the verb until after the requeue; then the process is in another
    // attempt, and it is ours again: nothing but the start time tells them apart.
    bench.clock.sleep_until(at(2.0)).await;
    bench.server.set_down(true);
    bench.clock.sleep_until(at(8.0)).await;
    let us = bench.key.id();
    let now = bench.server.time_at(bench.now());
    bench.server.change(&id, |process| {
        assert_eq!(process.retries, 1);
        process.state = Running;
        process.is_assigned = true;
        process.assigned_runtime_id = us;
        process.start_time = now;
        process.exec_deadline = Time::LAST;
    });
    bench.server.set_down(false);
    let process = bench
        .server
        .until(&id, "ended", |process| process.state.is_final())
        .await;
    assert_eq!(process.error_message, "assignment lost");
    assert!(bench.server.out(&id, "slept").is_none());
}
