//! An agent that dies and another that starts in its place: on the same disk, at the same server.

use std::time::Duration;

use super::server::Fault;
use super::{Bench, assert_failed_with, at};
use crate::agent::fence::Attempt;
use crate::agent::journal::{Begun, Fault as DiskFault, Record, Role};
use crate::clock::Clock;
use crate::device::Effect;
use crate::device::gpio::Level;
use crate::protocol::model::ProcessState::{Failed, Running, Successful};
use crate::protocol::{Kind, Time};

/// As a power cut or `kill -9`: nothing is said to anybody.
async fn crash(bench: &Bench, lane: tokio::task::JoinHandle<usize>) {
    bench.disk.cut();
    lane.abort();
    let _ = lane.await;
    bench.disk.restart();
    // Its devices let go of their lines.
    tokio::task::yield_now().await;
    bench
        .clock
        .sleep_until(bench.now() + Duration::from_millis(1))
        .await;
}

fn switched_on(bench: &Bench) -> usize {
    let edges = bench.lamp_edges();
    edges.iter().filter(|level| **level == Level::On).count()
}

#[tokio::test(start_paused = true)]
async fn a_once_verb_that_a_crash_cut_off_is_safe_closed_as_interrupted_and_never_begun_again() {
    let bench = Bench::new();
    let lane = bench.start();
    let id = bench.submit("lamp.pulse", &["30s"], 60, 3);
    bench.server.until_state(&id, Running).await;
    bench.clock.sleep_until(at(2.0)).await;
    crash(&bench, lane).await;
    bench.start();
    let ended = bench.server.until_state(&id, Failed).await;
    assert_failed_with(&ended, "interrupted");
    assert_eq!(ended.retries, 0, "closed while it was still ours");
    assert_eq!(switched_on(&bench), 1);
    assert_eq!(bench.lamp_edges().last(), Some(&Level::Off));
}

#[tokio::test(start_paused = true)]
async fn a_once_verb_of_a_former_life_is_refused_after_its_requeue() {
    let bench = Bench::new();
    let lane = bench.start();
    let id = bench.submit("lamp.pulse", &["30s"], 5, 3);
    bench.server.until_state(&id, Running).await;
    bench.clock.sleep_until(at(2.0)).await;
    crash(&bench, lane).await;
    // Off until the lease was over and the process put back.
    bench.server.until_requeued(&id).await;
    bench.start();
    let ended = bench.server.until_state(&id, Failed).await;
    assert!(
        ended
            .error_message
            .starts_with("already begun in attempt 1: failed: interrupted"),
        "{}",
        ended.error_message
    );
    assert_eq!(switched_on(&bench), 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_closed_as_lost_is_not_acted_on_by_the_next_life_either() {
    let mut bench = Bench::new();
    bench.settings.poll_time = Duration::from_secs(5);
    bench.server.fault(Kind::Assign, Fault::LostAfter);
    // Its close is on its way when the agent dies, and nobody knows when it will arrive.
    for _ in 0..20 {
        bench.server.fault(Kind::CloseFailed, Fault::LostBefore);
    }
    let lane = bench.start();
    bench.clock.sleep_until(at(2.0)).await;
    let id = bench.submit("lamp.pulse", &["30s"], 40, 3);
    while bench.server.asked(Kind::CloseFailed).is_empty() {
        assert_eq!(
            bench.server.process(&id).retries,
            0,
            "it is closed before it is put back"
        );
        bench
            .clock
            .sleep_until(bench.now() + Duration::from_secs(1))
            .await;
    }
    crash(&bench, lane).await;
    bench.server.clear_faults();
    bench.server.until_requeued(&id).await;
    bench.start();
    let ended = bench.server.until_state(&id, Failed).await;
    assert_eq!(
        ended.error_message,
        "attempt 1 was closed as failed because its assignment was lost, and that may take effect at any time: submit it again"
    );
    assert_eq!(switched_on(&bench), 0);
}

#[tokio::test(start_paused = true)]
async fn a_device_that_takes_long_to_be_safe_holds_up_its_own_work_and_nothing_else() {
    let mut bench = Bench::new();
    bench.settings.slots = 3;
    bench.odd_takes = Duration::from_secs(15);
    let lane = bench.start();
    let id = bench.submit("odd.once", &[], 600, 0);
    bench.server.until_state(&id, Running).await;
    bench.clock.sleep_until(at(2.0)).await;
    crash(&bench, lane).await;
    bench.start();
    let begun = bench.now();
    let other = bench.submit("lamp.on", &[], 60, 0);
    bench.server.until_state(&other, Successful).await;
    assert!(bench.now() < begun + Duration::from_secs(2), "not held up");
    let early = bench.submit("odd.once", &[], 60, 0);
    let refused = bench.server.until_state(&early, Failed).await;
    assert!(
        refused
            .error_message
            .contains("busy with being made safe after a crash"),
        "{}",
        refused.error_message
    );
    assert_eq!(
        bench.server.process(&id).state,
        Running,
        "not safe yet, so not closed yet"
    );
    let ended = bench.server.until_state(&id, Failed).await;
    assert_failed_with(&ended, "interrupted");
    // In this world the device of the former life still makes itself safe, too.
    let safe = bench.odd_log().safe;
    assert_eq!(safe.len(), 2);
    let closed = bench.server.asked(Kind::CloseFailed);
    assert!(closed.last() >= safe.last(), "{closed:?} {safe:?}");
    let later = bench.submit("odd.rescue", &[], 60, 0);
    bench.server.until_state(&later, Successful).await;
    assert_eq!(bench.odd_log().began.len(), 2, "the first and the last");
}

#[tokio::test(start_paused = true)]
async fn who_stops_the_agent_does_not_wait_for_what_a_crash_left() {
    let mut bench = Bench::new();
    bench.odd_takes = Duration::from_secs(60);
    let lane = bench.start();
    let id = bench.submit("odd.once", &[], 600, 0);
    bench.server.until_state(&id, Running).await;
    bench.clock.sleep_until(at(2.0)).await;
    crash(&bench, lane).await;
    let lane = bench.start();
    let begun = bench.now();
    bench.clock.sleep_until(begun + Duration::from_secs(1)).await;
    bench.stop.cancel("enough");
    lane.await.unwrap();
    let grace = bench.settings.grace_time;
    assert!(bench.now() <= begun + grace + Duration::from_secs(2));
    assert_eq!(bench.server.process(&id).state, Running, "left to the next life");
}

#[tokio::test(start_paused = true)]
async fn a_set_verb_is_begun_again_while_its_lease_runs_and_else_left_to_the_requeue() {
    for (off_for, again) in [(1.0, true), (20.0, false)] {
        let bench = Bench::new();
        let lane = bench.start();
        let id = bench.submit("odd.set", &[], 10, 1);
        bench.server.until_state(&id, Running).await;
        bench.clock.sleep_until(at(2.0)).await;
        crash(&bench, lane).await;
        bench.clock.sleep_until(at(2.0 + off_for)).await;
        bench.start();
        bench.clock.sleep_until(at(2.0 + off_for + 1.0)).await;
        let process = bench.server.process(&id);
        assert_eq!(process.state, Running, "again, or the second attempt");
        assert_eq!(process.retries, if again { 0 } else { 1 });
        assert_eq!(bench.odd_log().began.len(), 2);
        bench.server.until_state(&id, Failed).await;
        assert_eq!(bench.server.asked(Kind::CloseFailed), [], "never by the agent");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_agent_died_over_twice_is_not_run_a_third_time() {
    for func in ["odd.set", "odd.read"] {
        let bench = Bench::new();
        let lane = bench.start();
        let id = bench.submit(func, &[], 60, 3);
        bench.server.until_state(&id, Running).await;
        bench.clock.sleep_until(at(2.0)).await;
        crash(&bench, lane).await;
        let lane = bench.start();
        bench.clock.sleep_until(at(4.0)).await;
        assert_eq!(bench.odd_log().began.len(), 2, "{func}: run again");
        crash(&bench, lane).await;
        bench.start();
        let ended = bench.server.until_state(&id, Failed).await;
        let text = ended.error_message;
        assert!(text.starts_with("interrupted twice"), "{func}: {text}");
        assert_eq!(ended.retries, 0, "{func}: closed while it was still ours");
        assert_eq!(bench.odd_log().began.len(), 2, "{func}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_lease_nobody_would_put_it_back_so_it_is_closed() {
    let bench = Bench::new();
    let lane = bench.start();
    let id = bench.submit("odd.read", &[], -1, 3);
    bench.server.until_state(&id, Running).await;
    bench.clock.sleep_until(at(2.0)).await;
    crash(&bench, lane).await;
    bench.start();
    let ended = bench.server.until_state(&id, Failed).await;
    assert_failed_with(&ended, "interrupted");
}

#[tokio::test(start_paused = true)]
async fn a_result_that_was_not_delivered_is_delivered_by_the_next_life() {
    for fault in [Fault::Unreachable, Fault::LostAfter] {
        let bench = Bench::new();
        let lane = bench.start();
        bench.clock.sleep_until(at(1.0)).await;
        for kind in [Kind::AddAttribute, Kind::CloseSuccessful] {
            bench.server.fault(kind, fault.clone());
        }
        let id = bench.submit("lamp.toggle", &[], 600, 0);
        bench.server.until_state(&id, Running).await;
        bench.clock.sleep_until(at(1.5)).await;
        assert_eq!(bench.lamp_edges(), [Level::On]);
        crash(&bench, lane).await;
        bench.server.clear_faults();
        bench.start();
        bench.server.until_state(&id, Successful).await;
        assert_eq!(bench.server.out(&id, "state").as_deref(), Some("on"), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_lets_only_reading_through_until_there_is_room() {
    let bench = Bench::new();
    bench.start();
    bench.clock.sleep_until(at(1.0)).await;
    bench.disk.fail_after(0, DiskFault::Full);
    for func in ["lamp.on", "lamp.toggle"] {
        let id = bench.submit(func, &[], 600, 0);
        let refused = bench.server.until_state(&id, Failed).await;
        assert!(
            refused.error_message.contains("free some space"),
            "{}",
            refused.error_message
        );
    }
    assert!(bench.lamp_edges().is_empty());
    let id = bench.submit("lamp.state", &[], 600, 0);
    bench.server.until_state(&id, Successful).await;
    bench.disk.heal();
    let id = bench.submit("lamp.toggle", &[], 600, 0);
    bench.server.until_state(&id, Successful).await;
    assert_eq!(bench.lamp_edges(), [Level::On]);
}

/// Nothing new begins meanwhile that would have the journal tried again.
#[tokio::test(start_paused = true)]
async fn a_result_that_found_no_room_is_written_down_once_there_is_some() {
    let bench = Bench::new();
    let lane = bench.start();
    let id = bench.submit("lamp.pulse", &["3s"], 6000, 0);
    bench.server.until_state(&id, Running).await;
    bench.clock.sleep_until(at(1.0)).await;
    bench.server.set_down(true);
    bench.disk.fail_after(0, DiskFault::Full);
    bench.clock.sleep_until(at(10.0)).await;
    bench.disk.heal();
    bench.clock.sleep_until(at(600.0)).await;
    crash(&bench, lane).await;
    bench.server.set_down(false);
    bench.start();
    bench.server.until_state(&id, Successful).await;
    assert_eq!(bench.lamp_edges(), [Level::On, Level::Off]);
}

#[tokio::test(start_paused = true)]
async fn after_a_journal_was_lost_once_verbs_wait_for_the_owner() {
    let bench = Bench::new();
    let lane = bench.start();
    let id = bench.submit("lamp.toggle", &[], 600, 0);
    bench.server.until_state(&id, Successful).await;
    crash(&bench, lane).await;
    bench.disk.lose("journal");
    bench.start();
    let id = bench.submit("lamp.toggle", &[], 600, 0);
    let refused = bench.server.until_state(&id, Failed).await;
    assert!(
        refused.error_message.contains("outpost-agent journal accept"),
        "{}",
        refused.error_message
    );
    let id = bench.submit("lamp.on", &[], 600, 0);
    bench.server.until_state(&id, Successful).await;
}

/// The close of a refusal is not in the journal: nothing was done, so there is nothing to remember but the reason.
#[tokio::test(start_paused = true)]
async fn a_refusal_that_a_crash_kept_from_the_server_does_not_leave_its_process_waiting() {
    let bench = Bench::new();
    for _ in 0..20 {
        bench.server.fault(Kind::CloseFailed, Fault::LostBefore);
    }
    let lane = bench.start();
    let id = bench.submit("lamp.nonsense", &[], -1, 3);
    bench.server.until_state(&id, Running).await;
    bench.clock.sleep_until(at(2.0)).await;
    crash(&bench, lane).await;
    bench.server.clear_faults();
    bench.start();
    let ended = bench.server.until_state(&id, Failed).await;
    assert_eq!(ended.error_message, "assignment lost");
    assert!(bench.now() < at(4.0), "at the next start: {:?}", bench.now());
    assert!(bench.lamp_edges().is_empty());
}

#[tokio::test(start_paused = true)]
async fn marks_behind_those_that_never_become_final_are_asked_about_too() {
    let bench = Bench::new();
    let shared = bench.shared();
    let id = |number: usize| format!("{number:064x}");
    for number in 1..=9 {
        let begun = Begun {
            attempt: Attempt {
                process_id: id(number),
                retries: 0,
                start_time: Time::from_unix_nanos(1_660_000_000_000_000_123),
            },
            role: Role::Work,
            verb: "lamp.toggle".to_owned(),
            device: "lamp".to_owned(),
            effect: Effect::Once,
            repeat: false,
            at: shared.moment(),
            lease_end: None,
            beginning: 1,
        };
        let attempt = begun.attempt.clone();
        let begins = shared.durably(move |journal| journal.begin(begun)).await;
        begins.unwrap().unwrap();
        let reason = "its lease ended".to_owned();
        shared.note(Record::Moot { attempt, reason });
    }
    // These run elsewhere for ever; the server does not know the ninth any more.
    for number in 1..=8 {
        assert_eq!(bench.submit("lamp.toggle", &[], -1, -1), id(number));
        bench.server.change(&id(number), |process| {
            process.state = Running;
            process.assigned_runtime_id = "them".to_owned();
        });
    }
    let keeper = shared.keeper.clone();
    bench.start_with(shared);
    bench.clock.sleep_until(at(1000.0)).await;
    let open = keeper.with(|journal| journal.state().not_known_final("").collect::<Vec<_>>());
    assert_eq!(open.await.unwrap(), (1..=8).map(id).collect::<Vec<_>>());
}
