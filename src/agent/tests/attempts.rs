//! From assignment to close: functions, arguments, leases.

use std::time::Duration;

use super::server::{Fault, Shows};
use super::{Bench, assert_failed_with, at, spec};
use crate::clock::Clock;
use crate::device::gpio::Level;
use crate::protocol::Kind;
use crate::protocol::model::ProcessState::{Failed, Running, Successful};
use crate::protocol::model::SUBMISSION_ID;

fn seconds(span: f64) -> Duration {
    Duration::from_secs_f64(span)
}

#[tokio::test(start_paused = true)]
async fn a_submitted_spec_turns_the_lamp_on_and_reports_what_was_read_back() {
    let bench = Bench::new();
    bench.start();
    let id = bench.submit("lamp.on", &[], 60, 0);
    let process = bench.server.until_state(&id, Successful).await;
    assert_eq!(bench.lamp_edges(), [Level::On]);
    assert_eq!(bench.server.out(&id, "state").as_deref(), Some("on"));
    let out = process
        .attributes
        .iter()
        .find(|attribute| attribute.key == "state")
        .unwrap();
    assert_eq!(out.target_colony_id, bench.server.colony_id());
}

#[tokio::test(start_paused = true)]
async fn functions_have_other_names_arguments_of_their_own_and_the_environment() {
    let bench = Bench::new();
    bench.start();
    let renamed = bench.submit("turn_on_lamp", &[], 60, 0);
    bench.server.until_state(&renamed, Successful).await;
    let default = bench.submit("flash", &[], 60, 0);
    bench.server.until_state(&default, Successful).await;
    assert_eq!(bench.server.out(&default, "on_seconds").as_deref(), Some("3.000"));
    let given = bench.submit("flash", &["1s"], 60, 0);
    bench.server.until_state(&given, Successful).await;
    assert_eq!(bench.server.out(&given, "on_seconds").as_deref(), Some("1.000"));

    let mut say = spec("say", &["a", "b"], 60, 0);
    say.env.insert("TEST".to_owned(), "testenv".to_owned());
    say.env.insert(SUBMISSION_ID.to_owned(), "once".to_owned());
    let say = bench.server.submit(say);
    bench.server.until_state(&say, Successful).await;
    assert_eq!(bench.server.out(&say, "output").as_deref(), Some("a b"));
    assert_eq!(bench.server.out(&say, "env.TEST").as_deref(), Some("testenv"));
    let private = format!("env.{SUBMISSION_ID}");
    assert_eq!(
        bench.server.out(&say, &private),
        None,
        "nobody's business but the submitter's"
    );
}

#[tokio::test(start_paused = true)]
async fn unknown_functions_and_malformed_arguments_fail_with_what_helps() {
    let bench = Bench::new();
    bench.start();
    let unknown = bench.submit("lamp.onn", &[], 60, 3);
    let text = bench.server.until_state(&unknown, Failed).await.error_message;
    assert!(text.starts_with("unknown function \"lamp.onn\""), "{text}");
    for known in ["echo", "lamp.on", "lamp.pulse", "sleep", "turn_on_lamp"] {
        assert!(text.contains(known), "{known} is missing in: {text}");
    }
    let args = bench.submit("lamp.pulse", &["soon"], 60, 3);
    let text = bench.server.until_state(&args, Failed).await.error_message;
    assert!(text.ends_with("usage: lamp.pulse <duration>"), "{text}");
    let named = bench.submit("flash", &["soon"], 60, 3);
    let text = bench.server.until_state(&named, Failed).await.error_message;
    assert!(text.ends_with("usage: flash <duration>"), "{text}");
    let none = bench.submit("sleep", &[], 60, 3);
    let text = bench.server.until_state(&none, Failed).await.error_message;
    assert!(text.ends_with("usage: sleep <seconds>"), "{text}");
    assert!(bench.lamp_edges().is_empty());
}

#[tokio::test(start_paused = true)]
async fn read_verbs_that_overrun_are_left_to_the_requeue_and_counted_by_the_server() {
    let bench = Bench::new();
    bench.start();
    let id = bench.submit("sleep", &["3"], 1, 3);
    let process = bench.server.until_state(&id, Failed).await;
    assert_eq!(process.retries, 3);
    assert_eq!(process.error_message, "Maximum execution time limit exceeded");
    assert_eq!(bench.server.asked(Kind::CloseFailed), [], "never by the agent");
    assert_eq!(bench.server.asked(Kind::CloseSuccessful), []);
    // The runtime is free again and goes on.
    let next = bench.submit("echo", &["next"], 60, 0);
    bench.server.until_state(&next, Successful).await;
}

#[tokio::test(start_paused = true)]
async fn a_set_verb_is_stopped_and_safe_before_the_lease_ends() {
    let bench = Bench::new();
    bench.start();
    let id = bench.submit("odd.set", &[], 5, 0);
    let running = bench.server.until_state(&id, Running).await;
    let ended = bench.server.until_state(&id, Failed).await;
    assert_eq!(ended.error_message, "Maximum execution time limit exceeded");
    let log = bench.odd_log();
    assert_eq!((log.began.len(), log.safe.len()), (1, 1));
    let deadline = running.exec_deadline;
    assert!(
        bench.server.time_at(log.safe[0]) < deadline,
        "safe before the deadline"
    );
    // Not needlessly early either: margin 250 ms, half a second to be safe, and what the clocks leave open.
    let spare = deadline.since(bench.server.time_at(log.safe[0])).unwrap();
    assert!(spare < seconds(0.5), "{spare:?}");
}

#[tokio::test(start_paused = true)]
async fn a_once_verb_at_its_leases_end_is_safe_and_closed_as_failed_in_time() {
    let bench = Bench::new();
    bench.start();
    let id = bench.submit("lamp.pulse", &["60s"], 5, 3);
    let ended = bench.server.until_state(&id, Failed).await;
    assert!(
        ended.error_message.contains("lease ended"),
        "{}",
        ended.error_message
    );
    assert_eq!(ended.retries, 0);
    assert!(ended.end_time < ended.exec_deadline);
    assert_eq!(bench.lamp_edges(), [Level::On, Level::Off]);
}

#[tokio::test(start_paused = true)]
async fn a_once_verb_that_could_not_be_closed_in_time_is_not_begun_again() {
    let bench = Bench::new();
    bench.start();
    let id = bench.submit("lamp.pulse", &["60s"], 5, 3);
    bench.server.until_state(&id, Running).await;
    // Nobody hears the agent until the lease is over.
    for _ in 0..20 {
        bench.server.fault(Kind::CloseFailed, Fault::Unreachable);
    }
    bench.server.until_requeued(&id).await;
    bench.server.clear_faults();
    let ended = bench.server.until_state(&id, Failed).await;
    assert_eq!(bench.lamp_edges(), [Level::On, Level::Off], "one pulse, not two");
    assert_failed_with(&ended, "already begun in attempt 1");
}

#[tokio::test(start_paused = true)]
async fn with_repeat_a_once_verb_begins_again() {
    let mut bench = Bench::new();
    bench.rules.repeat = true;
    bench.start();
    let id = bench.submit("lamp.pulse", &["60s"], 5, 1);
    bench.server.until_state(&id, Running).await;
    for _ in 0..20 {
        bench.server.fault(Kind::CloseFailed, Fault::Unreachable);
    }
    bench.server.until_requeued(&id).await;
    bench.server.clear_faults();
    bench.server.until_state(&id, Failed).await;
    let twice = [Level::On, Level::Off, Level::On, Level::Off];
    assert_eq!(bench.lamp_edges(), twice);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_began_late_in_a_long_poll_is_used_in_full() {
    let bench = Bench::new();
    bench.start();
    bench.clock.sleep_until(at(20.0)).await;
    let id = bench.submit("sleep", &["4.5"], 5, 0);
    let process = bench.server.until_state(&id, Successful).await;
    assert_eq!(process.retries, 0);
}

#[tokio::test(start_paused = true)]
async fn a_servers_date_alone_costs_at_most_what_it_is_wide() {
    let bench = Bench::new();
    bench.server.shows(Shows::Date);
    bench.start();
    bench.clock.sleep_until(at(20.3)).await;
    let id = bench.submit("sleep", &["3.3"], 5, 0);
    bench.server.until_state(&id, Successful).await;
    let polls = bench.server.asked(Kind::Assign).len();
    assert!(polls <= 3, "{polls} polls in 20 s: they are long");
}

#[tokio::test(start_paused = true)]
async fn without_any_time_from_the_server_polls_are_short_and_leases_count_from_asking() {
    let bench = Bench::new();
    bench.server.shows(Shows::Nothing);
    bench.start();
    bench.clock.sleep_until(at(20.5)).await;
    let polls = bench.server.asked(Kind::Assign);
    assert!(polls.len() >= 15, "{} polls", polls.len());
    let id = bench.submit("odd.set", &[], 5, 0);
    let running = bench.server.until_state(&id, Running).await;
    bench.server.until_state(&id, Failed).await;
    let safe = bench.server.time_at(bench.odd_log().safe[0]);
    assert!(safe < running.exec_deadline);
    let spare = running.exec_deadline.since(safe).unwrap();
    assert!(spare < seconds(1.6), "{spare:?}: a poll's second, and the margin");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_long_under_way_shortens_the_lease_or_leaves_nothing_of_it() {
    for (length, begins) in [(2, false), (8, true)] {
        let bench = Bench::new();
        bench.start();
        bench.clock.sleep_until(at(1.0)).await;
        // Of the next poll; one is under way already.
        bench.server.fault(Kind::Assign, Fault::Slow(seconds(3.0)));
        bench.clock.sleep_until(at(33.0)).await;
        let id = bench.submit("odd.set", &[], length, 0);
        let running = bench.server.until_state(&id, Running).await;
        let ended = bench.server.until_state(&id, Failed).await;
        assert_eq!(ended.error_message, "Maximum execution time limit exceeded");
        bench.clock.sleep_until(at(60.0)).await;
        let log = bench.odd_log();
        assert_eq!(log.began.len(), usize::from(begins), "{log:?}");
        for safe in log.safe {
            assert!(bench.server.time_at(safe) < running.exec_deadline);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_lease_the_verbs_own_longest_time_ends_it() {
    let bench = Bench::new();
    bench.start();
    let id = bench.submit("odd.set", &[], -1, 0);
    let ended = bench.server.until_state(&id, Failed).await;
    assert!(
        ended.error_message.contains("longest this verb may take"),
        "{}",
        ended.error_message
    );
    let log = bench.odd_log();
    assert!(log.safe[0].saturating_since(log.began[0]) <= seconds(601.0));
}

#[tokio::test(start_paused = true)]
async fn stale_work_and_work_without_time_is_refused_before_anything_is_done() {
    let bench = Bench::new();
    let stale = bench.submit("lamp.on", &[], 60, 3);
    let fresh_enough = bench.submit("echo", &["old is fine"], 60, 3);
    bench.clock.sleep_until(at(61.0)).await;
    bench.start();
    let text = bench.server.until_state(&stale, Failed).await.error_message;
    assert!(text.starts_with("stale: "), "{text}");
    bench.server.until_state(&fresh_enough, Successful).await;
    let no_time = bench.submit("lamp.toggle", &[], 0, 0);
    let text = bench.server.until_state(&no_time, Failed).await.error_message;
    assert!(text.contains("maxexectime 0"), "{text}");
    assert!(bench.lamp_edges().is_empty());
}

#[tokio::test(start_paused = true)]
async fn work_comes_one_at_a_time_and_in_the_order_of_submission() {
    let bench = Bench::new();
    let ids: Vec<String> = (0..10)
        .map(|n| bench.submit("sleep", &[&format!("0.{n}")], 60, 0))
        .collect();
    bench.start();
    let mut last_end = bench.server.time_at(bench.now());
    for id in &ids {
        let process = bench.server.until_state(id, Successful).await;
        assert!(process.start_time >= last_end, "one after the other");
        last_end = process.end_time;
    }
}
