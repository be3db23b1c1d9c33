//! Whatever is asked, whenever: what must hold all the same.

use proptest::prelude::*;

use super::*;

/// A verb, when it comes (milliseconds after the one before), how long its lease lasts, whether it waits.
type Asked = (usize, u64, Option<u64>, bool);

fn schedule() -> impl Strategy<Value = Vec<Asked>> {
    let verb = 0..verbs().len();
    let lease = proptest::option::of(0_u64..12_000);
    proptest::collection::vec((verb, 0_u64..3_000, lease, any::<bool>()), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever comes when: every call is answered, the owner survives, and at the end no verb is left half
    /// way without the device having been made safe, or a preempting verb having ended well, after it.
    #[test]
    fn every_call_is_answered_and_nothing_is_left_half_way(schedule in schedule()) {
        check(schedule);
    }
}

#[test]
fn what_waited_does_not_begin_between_a_preempted_verb_and_the_one_that_preempts_it() {
    // fail, stop-slow, a patient wait, stop: all at once.
    check(vec![
        (2, 0, None, false),
        (9, 0, None, false),
        (0, 0, None, true),
        (7, 1, None, false),
    ]);
}

fn check(schedule: Vec<Asked>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let bench = bench();
        let mut tasks = Vec::new();
        for (verb, delay, lease, patient) in schedule {
            tokio::time::sleep(Duration::from_millis(delay)).await;
            let wait = if patient {
                Duration::from_secs(20)
            } else {
                Duration::ZERO
            };
            let lease = lease.map(|millis| bench.clock.now() + Duration::from_millis(millis));
            let context = bench.context().with_queue_wait(wait).with_lease(lease);
            let (handle, call) = (bench.handle.clone(), Call::new(verbs()[verb].name.clone()));
            tasks.push(tokio::spawn(async move { handle.perform(call, context).await }));
        }
        for task in tasks {
            // Ends within the longest times, or the paused clock runs dry and this hangs for ever.
            let _ = tokio::time::timeout(TOO_LONG * 15, task)
                .await
                .expect("answered")
                .unwrap();
        }
        assert!(!bench.handle.is_busy());
        assert_eq!(bench.handle.running(), None);
        let half_way = ["wait", "stubborn", "fail", "stop-fail", "stop-slow"];
        let entries = bench.log.entries();
        let last = entries
            .last()
            .map_or("", |entry| entry.split_once(' ').unwrap().1);
        // A verb that waits may also have ended well, as the last.
        if ["stubborn", "fail", "stop-fail"].contains(&last) {
            panic!("left half way: {entries:?}");
        }
        for pair in entries.windows(2) {
            let (before, after) = (pair[0].split_once(' ').unwrap(), pair[1].split_once(' ').unwrap());
            let took = after.0.parse::<u64>().unwrap() - before.0.parse::<u64>().unwrap();
            let ended_well = ["wait", "stop-slow"].contains(&before.1) && took >= 10_000;
            if half_way.contains(&before.1) && !ended_well {
                assert!(
                    after.1 == "SAFE" || after.1.starts_with("stop"),
                    "{pair:?} in {entries:?}"
                );
            }
        }
        bench.handle.shutdown().await.unwrap();
    });
}
