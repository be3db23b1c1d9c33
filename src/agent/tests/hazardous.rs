//! Devices that can hurt somebody, long verbs under the server's eye, and the control lane.

use std::time::Duration;

use super::server::Fault;
use super::{Bench, at, spec};
use crate::agent::journal::{Fault as DiskFault, Role};
use crate::clock::Clock;
use crate::device::gpio::Level;
use crate::device::{CONFIRM_MAX_AGE, Confirmed};
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
async fn what_a_device_has_to_wait_for_is_waited_for_before_the_confirmation_that_counts() {
    for deleted in [false, true] {
        let mut bench = dangerous();
        bench.min_off = Duration::from_secs(4);
        bench.start();
        let id = bench.server.submit(targeted(&bench, "lamp.toggle", 60));
        bench.server.until_state(&id, Running).await;
        // Between two looks at a verb that takes long.
        bench.clock.sleep_until(at(3.0)).await;
        assert_eq!(bench.server.asked(Kind::GetProcess).len(), 1);
        if deleted {
            bench.server.delete_process(&id);
        } else {
            bench.server.until_state(&id, Successful).await;
        }
        bench.clock.sleep_until(at(30.0)).await;
        let asked = bench.server.asked(Kind::GetProcess);
        assert!(asked[1] >= at(4.0) && asked[1] < at(4.1), "{asked:?}");
        let edges: &[Level] = if deleted { &[] } else { &[Level::On] };
        assert_eq!(bench.lamp_edges(), edges);
    }
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
async fn a_verb_asks_in_its_middle_whether_it_is_still_wanted() {
    let bench = Bench::new();
    bench.start();
    bench.clock.sleep_until(at(1.0)).await;
    let id = bench.submit("odd.steps", &[], 60, 0);
    bench.server.until_state(&id, Successful).await;
    let asked = bench.server.asked(Kind::GetProcess);
    assert_eq!(asked.len(), 1, "by the verb itself");
    // It holds for a second from the moment at which it was sent, which a question takes a moment to arrive after.
    let confirmed = bench.odd_log().confirmed;
    let until = asked[0] + CONFIRM_MAX_AGE;
    assert!(
        matches!(confirmed[..], [Confirmed::Until(moment)] if moment <= until && moment >= at(4.0)),
        "{confirmed:?} {asked:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_verb_that_hears_that_it_is_not_ours_any_more_ends_itself_and_nobody_is_told() {
    let bench = Bench::new();
    bench.start();
    bench.clock.sleep_until(at(1.0)).await;
    let id = bench.submit("odd.steps", &[], 60, 0);
    bench.server.until_state(&id, Running).await;
    bench.server.delete_process(&id);
    bench.clock.sleep_until(at(10.0)).await;
    let log = bench.odd_log();
    let told =
        matches!(&log.confirmed[..], [Confirmed::NotOurs(reason)] if reason.contains("no such process"));
    assert!(told, "{log:?}");
    assert_eq!(log.safe.len(), 1, "as after any verb that failed");
    assert!(log.safe[0] < at(3.5), "at once: {log:?}");
    assert_eq!(bench.server.asked(Kind::GetProcess).len(), 1);
    assert_eq!(bench.server.asked(Kind::CloseFailed), []);
    let next = bench.submit("echo", &[], 60, 0);
    bench.server.until_state(&next, Successful).await;
}

#[tokio::test(start_paused = true)]
async fn an_unclear_answer_is_no_yes_and_its_failure_is_told() {
    let bench = Bench::new();
    bench.start();
    bench.clock.sleep_until(at(1.0)).await;
    bench.server.fault(Kind::GetProcess, Fault::Empty);
    let id = bench.submit("odd.steps", &[], 60, 0);
    bench.server.until_state(&id, Failed).await;
    assert_eq!(bench.odd_log().confirmed, [Confirmed::Unclear]);
}

#[tokio::test(start_paused = true)]
async fn what_stops_a_hazardous_device_is_never_too_late_and_needs_no_journal() {
    let mut bench = dangerous();
    // Longer than the leases of those who stop it.
    bench.odd_takes = Duration::from_secs(180);
    bench.start();
    bench.clock.sleep_until(at(1.0)).await;
    let rescue = bench.submit("odd.rescue", &[], 10, 0);
    bench.server.until_state(&rescue, Successful).await;
    bench.disk.fail_after(0, DiskFault::Full);
    let rescue = bench.submit("odd.rescue", &[], 10, 0);
    bench.server.until_state(&rescue, Successful).await;
    assert_eq!(bench.odd_log().began.len(), 2);
    let steps = bench.server.submit(targeted(&bench, "odd.steps", 600));
    let refused = bench.server.until_state(&steps, Failed).await;
    assert!(
        refused.error_message.contains("journal"),
        "{}",
        refused.error_message
    );
    assert_eq!(bench.odd_log().began.len(), 2);
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
