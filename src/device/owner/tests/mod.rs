//! Owner tasks by hand: a device that logs what happens to it, under a clock that is paused.

mod preempting;
mod tended;
mod waiting;
mod whatever_comes;

use std::sync::atomic::Ordering;

use super::*;
use crate::clock::{Clock, TestClock};
use crate::device::Probe;

/// A device that logs what happens to it, each entry with the milliseconds since the start.
struct Probed {
    clock: SharedClock,
    log: Log,
    verbs: Vec<Verb>,
    safe: Safe,
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn add(&self, clock: &SharedClock, entry: &str) {
        self.0
            .lock()
            .unwrap()
            .push(format!("{} {entry}", clock.now().as_nanos() / 1_000_000));
    }

    fn entries(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// How making safe goes.
#[derive(Clone, Default)]
struct Safe(Arc<Mutex<Option<&'static str>>>);

const TOO_LONG: Duration = Duration::from_secs(100);

fn verbs() -> Vec<Verb> {
    let verb = |name: &'static str, effect, urgency| Verb {
        name: name.into(),
        usage: "".into(),
        help: "".into(),
        effect,
        urgency,
        max_time: TOO_LONG,
    };
    vec![
        verb("wait", Effect::Once, Urgency::Work),
        verb("stubborn", Effect::Once, Urgency::Work),
        verb("fail", Effect::Set, Urgency::Work),
        verb("usage", Effect::Set, Urgency::Work),
        verb("set", Effect::Set, Urgency::Work),
        verb("read-fail", Effect::Read, Urgency::Work),
        verb("read-wait", Effect::Read, Urgency::Work),
        verb("stop", Effect::Set, Urgency::Preempt),
        verb("stop-fail", Effect::Set, Urgency::Preempt),
        verb("stop-slow", Effect::Set, Urgency::Preempt),
        verb("state", Effect::Read, Urgency::Query),
        verb("state-slow", Effect::Read, Urgency::Query),
    ]
}

#[async_trait::async_trait]
impl Device for Probed {
    fn name(&self) -> &str {
        "dut"
    }

    fn kind(&self) -> &'static str {
        "test"
    }

    fn verbs(&self) -> &[Verb] {
        &self.verbs
    }

    fn time_to_safe(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn probe(&self) -> Option<Arc<dyn Probe>> {
        Some(Arc::new(TestProbe))
    }

    async fn perform(&mut self, call: &Call, context: &Context) -> Result<Outcome, VerbError> {
        self.log.add(&self.clock, &call.verb);
        let failed = || {
            Err(DeviceError::SafeTimedOut {
                device: "dut".into(),
                waited: Duration::from_secs(7),
            }
            .into())
        };
        match call.verb.as_str() {
            "wait" | "read-wait" | "stop-slow" => {
                context.progress("phase", "waiting");
                context.sleep(Duration::from_secs(10)).await?;
            }
            "stubborn" => std::future::pending::<()>().await,
            "fail" | "read-fail" | "stop-fail" => return failed(),
            "usage" => return Err(self.verbs[3].usage_error("dut", "never good enough")),
            _ => {}
        }
        Ok(Outcome::new().with("did", &call.verb))
    }

    async fn make_safe(&mut self) -> Result<(), DeviceError> {
        self.log.add(&self.clock, "SAFE");
        let how = *self.safe.0.lock().unwrap();
        match how {
            Some("hang") => std::future::pending().await,
            Some(_) => Err(DeviceError::SafeTimedOut {
                device: "dut".into(),
                waited: Duration::from_secs(3),
            }),
            None => Ok(()),
        }
    }
}

impl Drop for Probed {
    fn drop(&mut self) {
        self.log.add(&self.clock, "DROPPED");
    }
}

struct TestProbe;

#[async_trait::async_trait]
impl Probe for TestProbe {
    async fn query(&self, call: &Call, _context: &Context) -> Result<Outcome, VerbError> {
        match call.verb.as_str() {
            "state-slow" => std::future::pending().await,
            _ => Ok(Outcome::new().with("state", "fine")),
        }
    }
}

struct Bench {
    clock: Arc<TestClock>,
    log: Log,
    safe: Safe,
    handle: DeviceHandle,
}

fn bench() -> Bench {
    let clock = TestClock::new(0);
    let (log, safe) = (Log::default(), Safe::default());
    let device = Probed {
        clock: clock.clone(),
        log: log.clone(),
        verbs: verbs(),
        safe: safe.clone(),
    };
    let handle = spawn(Box::new(device), clock.clone());
    Bench {
        clock,
        log,
        safe,
        handle,
    }
}

impl Bench {
    fn context(&self) -> Context {
        Context::new(self.clock.clone())
    }

    async fn run(&self, verb: &str) -> Result<Outcome, VerbError> {
        self.handle.perform(Call::new(verb), self.context()).await
    }

    /// Starts a verb in the background and gives it 100 ms.
    async fn start(
        &self,
        verb: &str,
        context: Context,
    ) -> tokio::task::JoinHandle<Result<Outcome, VerbError>> {
        let handle = self.handle.clone();
        let call = Call::new(verb);
        let task = tokio::spawn(async move { handle.perform(call, context).await });
        tokio::time::sleep(Duration::from_millis(100)).await;
        task
    }

    fn at(&self, millis: u64) -> BootTime {
        BootTime::from_nanos(millis * 1_000_000)
    }
}

#[tokio::test(start_paused = true)]
async fn a_verb_that_ends_well_leaves_its_level() {
    let bench = bench();
    assert_eq!(bench.run("set").await.unwrap().get("did"), Some("set"));
    assert_eq!(bench.log.entries(), ["0 set"]);
    assert!(!bench.handle.is_busy());
}

#[tokio::test(start_paused = true)]
async fn what_each_bad_end_does_to_the_device() {
    for (verb, made_safe) in [("fail", true), ("usage", false), ("read-fail", false)] {
        let bench = bench();
        assert!(bench.run(verb).await.is_err());
        let expected = if made_safe {
            vec![format!("0 {verb}"), "0 SAFE".into()]
        } else {
            vec![format!("0 {verb}")]
        };
        assert_eq!(bench.log.entries(), expected, "{verb}");
        assert!(bench.run("set").await.is_ok(), "{verb}: the owner goes on");
    }
}

#[tokio::test(start_paused = true)]
async fn the_lease_end_stops_a_verb_then_and_not_before() {
    let bench = bench();
    let whole = bench.context().with_lease(Some(bench.at(10_001)));
    assert!(bench.handle.perform(Call::new("wait"), whole).await.is_ok());
    let short = bench.context().with_lease(Some(bench.at(15_000)));
    let error = bench.handle.perform(Call::new("wait"), short).await.unwrap_err();
    assert!(matches!(error, VerbError::LeaseOver), "{error}");
    assert_eq!(bench.log.entries(), ["0 wait", "10000 wait", "15000 SAFE"]);
}

#[tokio::test(start_paused = true)]
async fn a_verb_that_does_not_listen_is_dropped_after_the_grace_time() {
    let bench = bench();
    let context = bench.context().with_lease(Some(bench.at(1_000)));
    let error = bench
        .handle
        .perform(Call::new("stubborn"), context)
        .await
        .unwrap_err();
    assert!(matches!(error, VerbError::LeaseOver), "{error}");
    assert_eq!(bench.log.entries(), ["0 stubborn", "1050 SAFE"]);
    assert!(bench.run("set").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn without_a_lease_the_longest_time_counts() {
    let bench = bench();
    let error = bench.run("stubborn").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "not done within 100s, the longest this verb may take"
    );
    assert_eq!(bench.log.entries(), ["0 stubborn", "100050 SAFE"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_begins_after_its_lease_or_its_cancellation() {
    let bench = bench();
    tokio::time::advance(Duration::from_secs(1)).await;
    let late = bench.context().with_lease(Some(bench.at(1_000)));
    assert!(matches!(
        bench.handle.perform(Call::new("set"), late).await,
        Err(VerbError::LeaseOver)
    ));
    let context = bench.context();
    context.cancellation().cancel("no longer wanted");
    let error = bench.handle.perform(Call::new("set"), context).await.unwrap_err();
    assert_eq!(error.to_string(), "cancelled: no longer wanted");
    assert_eq!(
        bench.log.entries(),
        Vec::<String>::new(),
        "and the device is not touched, not even made safe"
    );
}

#[tokio::test(start_paused = true)]
async fn cancelling_and_dropping_both_stop_the_verb() {
    let bench = bench();
    let context = bench.context();
    let token = context.cancellation().clone();
    let task = bench.start("wait", context).await;
    token.cancel("server says so");
    assert_eq!(
        task.await.unwrap().unwrap_err().to_string(),
        "cancelled: server says so"
    );

    let task = bench.start("wait", bench.context()).await;
    task.abort();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(
        bench.log.entries(),
        ["0 wait", "100 SAFE", "100 wait", "200 SAFE"]
    );
    assert!(!bench.handle.is_busy());
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_read_leaves_the_device_alone() {
    let bench = bench();
    let context = bench.context();
    let token = context.cancellation().clone();
    let task = bench.start("read-wait", context).await;
    token.cancel("enough");
    assert!(task.await.unwrap().is_err());
    assert_eq!(bench.log.entries(), ["0 read-wait"]);
}

#[tokio::test(start_paused = true)]
async fn make_safe_stops_what_runs() {
    let bench = bench();
    let running = bench.start("wait", bench.context()).await;
    bench.handle.make_safe().await.unwrap();
    assert_eq!(
        running.await.unwrap().unwrap_err().to_string(),
        "cancelled: the device was made safe"
    );
    assert_eq!(bench.log.entries(), ["0 wait", "100 SAFE", "100 SAFE"]);
}

#[tokio::test(start_paused = true)]
async fn a_device_that_cannot_be_made_safe_is_faulted_until_it_can() {
    for (how, text, at) in [
        ("error", "was not safe after 3s", 0),
        ("hang", "was not safe after 6s", 6_000),
    ] {
        let bench = bench();
        *bench.safe.0.lock().unwrap() = Some(how);
        let fault = bench.handle.fault();
        let error = bench.run("fail").await.unwrap_err();
        assert!(matches!(error, VerbError::NotSafe { .. }), "{error}");
        assert!(
            error.to_string().contains("was not safe after 7s"),
            "{how}: how the verb ended: {error}"
        );
        assert!(
            error.to_string().contains(text),
            "{how}: why it is not safe: {error}"
        );
        assert_eq!(
            bench.clock.now(),
            bench.at(at),
            "{how}: bounded by time_to_safe and the allowance"
        );
        assert!(fault.borrow().as_ref().unwrap().text.contains(text));
        let refused = bench.run("set").await.unwrap_err();
        assert!(matches!(refused, VerbError::Faulted { .. }), "{refused}");
        assert!(
            bench.run("stop").await.is_ok(),
            "{how}: stopping is never refused"
        );
        assert!(bench.run("state").await.is_ok() && bench.run("read-wait").await.is_ok());
        assert!(
            bench.run("set").await.is_err(),
            "{how}: none of these clears the fault"
        );
        *bench.safe.0.lock().unwrap() = None;
        bench.handle.make_safe().await.unwrap();
        assert_eq!(*fault.borrow(), None);
        assert!(bench.run("set").await.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn shutdown_stops_makes_safe_and_drops_before_it_answers() {
    let bench = bench();
    let running = bench.start("wait", bench.context()).await;
    let waiting = bench
        .start("set", bench.context().with_queue_wait(TOO_LONG))
        .await;
    bench.handle.shutdown().await.unwrap();
    assert_eq!(
        bench.log.entries(),
        ["0 wait", "200 SAFE", "200 SAFE", "200 DROPPED"]
    );
    assert_eq!(
        running.await.unwrap().unwrap_err().to_string(),
        "cancelled: the agent is stopping"
    );
    assert!(waiting.await.unwrap().is_err());
    for verb in ["set", "stop"] {
        assert!(
            matches!(bench.run(verb).await, Err(VerbError::Gone { .. })),
            "{verb}"
        );
    }
    assert!(matches!(
        bench.handle.make_safe().await,
        Err(DeviceError::Gone { .. })
    ));
    assert!(matches!(
        bench.handle.shutdown().await,
        Err(DeviceError::Gone { .. })
    ));
}

#[tokio::test(start_paused = true)]
async fn when_the_last_handle_goes_the_device_is_made_safe() {
    let bench = bench();
    bench.run("set").await.unwrap();
    let log = bench.log.clone();
    drop(bench);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(log.entries(), ["0 set", "0 SAFE", "0 DROPPED"]);
}

#[tokio::test(start_paused = true)]
async fn progress_reaches_the_sink() {
    let bench = bench();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let sink = heard.clone();
    let context = bench
        .context()
        .with_progress(Arc::new(move |name: &str, value: &str| {
            sink.lock().unwrap().push(format!("{name}={value}"));
        }));
    bench.handle.perform(Call::new("wait"), context).await.unwrap();
    assert_eq!(*heard.lock().unwrap(), ["phase=waiting"]);
}

#[tokio::test(start_paused = true)]
async fn devices_work_side_by_side() {
    let (one, two) = (bench(), bench());
    let (first, second) = tokio::join!(one.run("wait"), two.run("wait"));
    assert!(first.is_ok() && second.is_ok());
    assert_eq!(one.clock.now(), one.at(10_000));
}

#[tokio::test(start_paused = true)]
async fn a_tick_is_answered_at_once_whatever_the_task_is_doing() {
    let bench = bench();
    assert!(bench.handle.tick().await.is_ok(), "idle");
    let verb = bench.start("stubborn", bench.context()).await;
    // More than may lie before the task; ticks have a way of their own.
    for _ in 0..(2 * QUEUE + 2) {
        let handle = bench.handle.clone();
        let context = bench.context();
        tokio::spawn(async move { handle.perform(Call::new("stop"), context).await });
    }
    assert!(bench.handle.tick().await.is_ok(), "busy");
    assert_eq!(bench.clock.now(), bench.at(100), "no time has passed");
    verb.abort();

    let bench = self::bench();
    *bench.safe.0.lock().unwrap() = Some("hang");
    let handle = bench.handle.clone();
    let safe = tokio::spawn(async move { handle.make_safe().await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(bench.handle.tick().await.is_ok(), "while it is made safe");
    assert_eq!(bench.clock.now(), bench.at(1000));
    assert!(safe.await.unwrap().is_err());
    let _ = bench.handle.shutdown().await;
    assert!(matches!(bench.handle.tick().await, Err(DeviceError::Gone { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_reserved_device_takes_no_work_and_can_be_stopped() {
    let bench = bench();
    let reservation = bench.handle.reserve("a reload").unwrap();
    let error = bench.run("set").await.unwrap_err().to_string();
    assert!(error.starts_with("busy with a reload: dut"), "{error}");
    assert!(bench.handle.reserve("another").is_err());
    assert_eq!(bench.run("state").await.unwrap().get("state"), Some("fine"));
    bench.handle.make_safe().await.unwrap();
    drop(reservation);
    assert!(bench.run("set").await.is_ok());
    assert_eq!(bench.log.entries(), ["0 SAFE", "0 set"]);

    let verb = bench.start("wait", bench.context().with_process("abc")).await;
    let busy = bench.handle.reserve("a reload").err().unwrap().to_string();
    assert!(busy.starts_with("busy with abc"), "{busy}");
    assert!(verb.await.unwrap().is_ok(), "and what runs is left alone");
    bench.handle.shutdown().await.unwrap();
    assert!(matches!(bench.handle.reserve("x"), Err(VerbError::Gone { .. })));
}

#[tokio::test(start_paused = true)]
async fn an_unowned_device_is_only_looked_at() {
    let (clock, log) = (TestClock::new(0), Log::default());
    let device = Probed {
        clock: clock.clone(),
        log: log.clone(),
        verbs: verbs(),
        safe: Safe::default(),
    };
    let handle = unowned(Box::new(device), clock.clone());
    assert_eq!(handle.name(), "dut");
    assert!(handle.verb("set").is_ok());
    let error = handle.perform(Call::new("set"), Context::new(clock)).await;
    assert!(matches!(error, Err(VerbError::Gone { .. })));
    assert!(matches!(handle.tick().await, Err(DeviceError::Gone { .. })));
    drop(handle);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(log.entries(), ["0 DROPPED"], "never made safe");
}
