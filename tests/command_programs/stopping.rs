//! Programs that are stopped: at a lease's end, by a caller, with the device; and what they leave behind.

use super::*;

#[tokio::test]
async fn cancelling_ends_the_whole_group_also_one_that_does_not_listen() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pids");
    let grace = Duration::from_millis(300);
    let device = shell(&stubborn(&file), json!({ "stop_grace": "300ms" }));
    let context = context();
    let token = context.cancellation().clone();
    let task = start(&device, context);
    let pids = wait_for_async("pids", || numbers(&file)).await;
    assert_eq!(pids.len(), 2);
    assert!(!pids.iter().any(|&pid| is_over(pid)));
    let cancelled = Instant::now();
    token.cancel("enough");
    let error = task.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "cancelled: enough");
    assert!(
        cancelled.elapsed() >= grace,
        "it had its grace before it was killed"
    );
    assert_eq!(state(pids[0]), None, "gone before the answer, and waited for");
    assert!(is_over(pids[1]), "its child as well");
    assert!(device.fault().borrow().is_none());
    assert!(device.time_to_safe() >= grace, "the lease leaves room for it");
}

#[tokio::test]
async fn a_program_that_listens_may_tidy_up() {
    let folder = tempfile::tempdir().unwrap();
    let (file, bye) = (folder.path().join("pids"), folder.path().join("bye"));
    let text = format!(
        "trap 'echo bye > {1}; exit 0' TERM; echo $$ > {0}; echo ready >> {0}; while :; do sleep 0.05; done",
        file.display(),
        bye.display()
    );
    let device = shell(&text, json!({ "stop_grace": "20s" }));
    let task = start(&device, context());
    wait_for_async("pids", || numbers(&file)).await;
    device.make_safe().await.unwrap();
    let error = task.await.unwrap().unwrap_err();
    assert!(matches!(error, VerbError::Cancelled { .. }), "{error}");
    assert_eq!(std::fs::read_to_string(&bye).unwrap(), "bye\n");
}

#[tokio::test]
async fn its_longest_time_its_lease_and_a_lost_caller_end_it() {
    let folder = tempfile::tempdir().unwrap();
    let cases = [
        ("max_time", "once"),
        ("lease", "set"),
        ("caller", "once"),
        ("lease", "read"),
    ];
    for (case, effect) in cases {
        let file = folder.path().join(format!("{case}-{effect}"));
        let text = format!("[ \"$1\" = again ] && exit; {}", stubborn(&file));
        let clock = Arc::new(JumpClock::default());
        let keys = json!({ "stop_grace": "0s", "effect": effect, "max_time": "2h" });
        let device = shell_on(clock.clone(), &text, keys);
        let hour = Duration::from_secs(3600);
        let lease = (case == "lease").then(|| clock.now() + hour);
        let task = start(&device, Context::new(clock.clone()).with_lease(lease));
        let pids = wait_for_async(case, || numbers(&file)).await;
        match case {
            "lease" => clock.put_ahead(hour),
            "max_time" => clock.put_ahead(2 * hour),
            _ => task.abort(),
        }
        match (case, task.await) {
            ("caller", ended) => assert!(ended.is_err()),
            ("lease", ended) => assert!(matches!(ended.unwrap(), Err(VerbError::LeaseOver))),
            (_, ended) => assert!(matches!(ended.unwrap(), Err(VerbError::Overran { .. }))),
        }
        for pid in pids {
            wait_for_async(case, || is_over(pid).then_some(())).await;
        }
        wait_for_async(case, || (!device.is_busy()).then_some(())).await;
        let again = device
            .perform(call(&["again"]), Context::new(clock.clone()))
            .await;
        again.expect("the device is as good as before");
    }
}

#[tokio::test]
async fn what_was_written_before_a_stop_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pids");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let context = context().with_progress(Arc::new({
        let seen = seen.clone();
        move |name: &str, value: &str| seen.lock().unwrap().push(format!("{name}={value}"))
    }));
    let text = format!(
        "echo so far; echo $$ > {0}; echo ready >> {0}; exec sleep 1000",
        file.display()
    );
    let device = shell(&text, json!({}));
    let task = start(&device, context);
    wait_for_async("pids", || numbers(&file)).await;
    device.make_safe().await.unwrap();
    assert!(matches!(task.await.unwrap(), Err(VerbError::Cancelled { .. })));
    assert_eq!(*seen.lock().unwrap(), ["output=so far\n"]);
}

#[tokio::test]
async fn shutting_down_leaves_nothing_behind_and_dropping_the_device_neither() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shutdown");
    let device = shell(&stubborn(&file), json!({ "stop_grace": "100ms" }));
    let task = start(&device, context());
    let pids = wait_for_async("pids", || numbers(&file)).await;
    device.shutdown().await.unwrap();
    assert!(task.await.unwrap().is_err());
    assert!(pids.iter().all(|&pid| is_over(pid)));

    // A runtime that goes away drops the device in the middle of its verb.
    let file = folder.path().join("dropped");
    let text = stubborn(&file);
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let device = shell(&text, json!({}));
            drop(start(&device, context()));
            wait_for_async("pids", || numbers(&file)).await
        })
    });
    let pids = tokio::task::spawn_blocking(move || thread.join().unwrap())
        .await
        .unwrap();
    for pid in pids {
        wait_for_async("dropped", || is_over(pid).then_some(())).await;
    }
}

#[tokio::test]
async fn what_holds_the_output_open_does_not_hold_up_the_verb() {
    // In its group: ended with it.
    let device = shell("sleep 1000 & echo $!", json!({}));
    let outcome = tokio::time::timeout(DEADLINE, run(&device, &[]))
        .await
        .unwrap()
        .unwrap();
    let pid: i32 = outcome.get("output").unwrap().trim().parse().unwrap();
    wait_for_async("the one in the group", || is_over(pid).then_some(())).await;
    // Without the output it would have been noticed by nobody; it is ended all the same.
    let device = shell("sleep 1000 > /dev/null 2>&1 & echo $!", json!({}));
    let outcome = run(&device, &[]).await.unwrap();
    let pid: i32 = outcome.get("output").unwrap().trim().parse().unwrap();
    wait_for_async("the silent one", || is_over(pid).then_some(())).await;
    // A session of its own: out of reach, but the verb ends.
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "setsid sh -c 'echo $$; touch {0}; exec sleep 1000' & while [ ! -e {0} ]; do sleep 0.01; done",
        folder.path().join("there").display()
    );
    let device = shell(&text, json!({}));
    let outcome = tokio::time::timeout(DEADLINE, run(&device, &[]))
        .await
        .unwrap()
        .unwrap();
    let pid: i32 = outcome.get("output").unwrap().trim().parse().unwrap();
    assert!(!is_over(pid), "as the page says");
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[tokio::test]
async fn nothing_is_started_after_its_lease() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("touched");
    let device = command(json!({ "program": "/usr/bin/touch", "args": [file] }));
    let late = context();
    let late = late.clone().with_lease(Some(late.now()));
    assert!(matches!(
        device.perform(call(&[]), late).await,
        Err(VerbError::LeaseOver)
    ));
    assert!(!file.exists());
}
