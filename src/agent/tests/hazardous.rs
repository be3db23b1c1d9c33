//! Devices that can hurt somebody, long verbs under the server's eye, and the control lane.

use std::time::Duration;

use super::server::Fault;
use super::{Bench, at, spec};
use crate::agent::journal::Role;
use crate::clock::Clock;
use crate::device::gpio::Level;
use crate::protocol::Kind;
use crate::protocol::model::ProcessSpec;
use crate::protocol::model::ProcessState::{Failed, Running, Successful};
use crate::protocol::model::RuntimeState;

fn dangerous() -> Bench {
    let mut bench = Bench::new();
    bench.rules.hazardous = true;
    bench
}

/// Work that names exactly our runtime.
fn targeted(bench: &Bench, func: &str, max_exec_time: i64) -> ProcessSpec {
    let mut spec = spec(func, &[], max_exec_time, 0);
    spec.conditions.runtime_ids = vec![bench.key.id()];
    spec
}

#[tokio::test(start_paused = true)]
async fn a_hazardous_device_acts_only_on_work_that_was_confirmed_right_before() {
    let bench = dangerous();
    bench.start();
    let id = bench.server.submit(targeted(&bench, "lamp.toggle", 60));
    bench.server.until_state(&id, Successful).await;
    assert_eq!(bench.server.asked(Kind::GetProcess).len(), 1);
    assert_eq!(bench.lamp_edges(), [Level::On]);
    let untargeted = bench.submit("lamp.toggle", &[], 60, 0);
    let refused = bench.server.until_state(&untargeted, Failed).await;
    assert!(
        refused.error_message.contains("runtimeids"),
        "{}",
        refused.error_message
    );
    // Reading and stopping need none of it.
    for func in ["lamp.state", "lamp.off"] {
        let id = bench.submit(func, &[], 60, 0);
        bench.server.until_state(&id, Successful).await;
    }
    assert_eq!(bench.server.asked(Kind::GetProcess).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_was_deleted_before_the_confirmation_is_not_done() {
    let bench = dangerous();
    bench.start();
    bench.clock.sleep_until(at(1.0)).await;
    bench.server.fault(Kind::GetProcess, Fault::Unreachable);
    let id = bench.server.submit(targeted(&bench, "lamp.toggle", 60));
    bench.server.until_state(&id, Running).await;
    bench.clock.sleep_until(at(1.5)).await;
    bench.server.delete_process(&id);
    bench.clock.sleep_until(at(10.0)).await;
    assert_eq!(
        bench.server.asked(Kind::GetProcess).len(),
        2,
        "asked again, and told"
    );
    assert!(bench.lamp_edges().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_took_a_second_confirms_nothing() {
    let bench = dangerous();
    bench.start();
    bench.clock.sleep_until(at(1.0)).await;
    bench
        .server
        .fault(Kind::GetProcess, Fault::Slow(Duration::from_secs(1)));
    let id = bench.server.submit(targeted(&bench, "lamp.toggle", 60));
    bench.server.until_state(&id, Successful).await;
    assert_eq!(bench.server.asked(Kind::GetProcess).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn without_a_confirmation_nothing_is_done_and_the_process_is_closed_before_its_end() {
    let bench = dangerous();
    bench.start();
    bench.clock.sleep_until(at(1.0)).await;
    for _ in 0..100 {
        bench.server.fault(Kind::GetProcess, Fault::Empty);
    }
    let id = bench.server.submit(targeted(&bench, "lamp.toggle", 10));
    let ended = bench.server.until_state(&id, Failed).await;
    assert!(
        ended.error_message.contains("not begun again"),
        "{}",
        ended.error_message
    );
    assert!(ended.end_time < ended.exec_deadline);
    assert!(bench.lamp_edges().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_long_verb_is_stopped_when_its_process_is_gone() {
    let bench = Bench::new();
    bench.start();
    let id = bench.submit("odd.set", &[], 600, 0);
    bench.server.until_state(&id, Running).await;
    bench.clock.sleep_until(at(12.0)).await;
    assert_eq!(
        bench.server.asked(Kind::GetProcess).len(),
        2,
        "every five seconds"
    );
    assert!(bench.odd_log().safe.is_empty());
    bench.server.delete_process(&id);
    bench.clock.sleep_until(at(17.0)).await;
    assert_eq!(bench.odd_log().safe.len(), 1);
    let next = bench.submit("echo", &[], 60, 0);
    bench.server.until_state(&next, Successful).await;
    assert_eq!(
        bench.server.asked(Kind::CloseFailed),
        [],
        "there is nobody to tell"
    );
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_busy_device_is_looked_after_like_a_long_verb() {
    let mut bench = Bench::new();
    bench.settings.slots = 2;
    bench.rules.queue_wait = Duration::from_secs(60);
    bench.start();
    let pulse = bench.submit("lamp.pulse", &["30s"], 600, 0);
    bench.server.until_state(&pulse, Running).await;
    let waits = bench.submit("lamp.on", &[], 600, 0);
    bench.server.until_state(&waits, Running).await;
    bench.clock.sleep_until(at(8.0)).await;
    assert_eq!(bench.server.asked(Kind::GetProcess).len(), 2, "about both");
    bench.server.delete_process(&waits);
    bench.server.until_state(&pulse, Successful).await;
    bench.clock.sleep_until(at(60.0)).await;
    assert_eq!(
        bench.lamp_edges(),
        [Level::On, Level::Off],
        "nobody wanted it any more"
    );
}

#[tokio::test(start_paused = true)]
async fn not_being_approved_any_more_is_no_word_about_the_process() {
    let bench = Bench::new();
    bench.start();
    let id = bench.submit("odd.set", &[], 60, 0);
    bench.server.until_state(&id, Running).await;
    bench.server.set_runtime(&bench.key.id(), RuntimeState::Rejected);
    bench.clock.sleep_until(at(30.0)).await;
    assert!(bench.odd_log().safe.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_control_lane_takes_only_what_answers_or_stops_at_once() {
    let mut bench = Bench::new();
    bench.role = Role::Control;
    bench.start();
    let work = bench.submit("lamp.on", &[], 60, 0);
    let refused = bench.server.until_state(&work, Failed).await;
    assert!(
        refused.error_message.contains("lamp.on is work"),
        "{}",
        refused.error_message
    );
    for func in ["lamp.state", "lamp.off"] {
        let id = bench.submit(func, &[], 60, 0);
        bench.server.until_state(&id, Successful).await;
    }
}
