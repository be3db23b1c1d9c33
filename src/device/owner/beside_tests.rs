//! What goes on beside the owner task: steering, and what a device tells of itself at any time.

use std::sync::atomic::Ordering;

use super::*;
use crate::clock::{Clock, TestClock};
use crate::device::{Helm, Live, READINGS_MAX, Reading};
use crate::watch::Watched;

/// How far from safe the craft is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Where {
    Ground,
    Out,
    /// Ordered home while a verb flies it.
    Ordered,
    /// On its way home, with no verb.
    Coming,
}

/// A craft that flies for a minute, is home five seconds after it was told to, and takes twenty to be made safe.
struct Craft {
    place: Watched<Where>,
    made_safe: Arc<AtomicUsize>,
    verbs: Vec<Verb>,
}

/// What the craft's other sides see.
struct Sight(Watched<Where>);

impl Sight {
    fn place(&self) -> Where {
        *self.0.borrow()
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[async_trait::async_trait]
impl Device for Craft {
    fn name(&self) -> &str {
        "craft"
    }

    fn kind(&self) -> &'static str {
        "test"
    }

    fn verbs(&self) -> &[Verb] {
        &self.verbs
    }

    fn time_to_safe(&self) -> Duration {
        match *self.place.borrow() {
            Where::Ground => Duration::ZERO,
            _ => seconds(30),
        }
    }

    fn helm(&self) -> Option<Arc<dyn Helm>> {
        Some(Arc::new(Sight(self.place.clone())))
    }

    fn live(&self) -> Option<Arc<dyn Live>> {
        Some(Arc::new(Sight(self.place.clone())))
    }

    async fn tend(&mut self) -> Result<(), DeviceError> {
        self.place.wait_for(|place| *place == Where::Coming).await;
        tokio::time::sleep(seconds(60)).await;
        self.place.send_replace(Where::Ground);
        Ok(())
    }

    async fn perform(&mut self, call: &Call, context: &Context) -> Result<Outcome, VerbError> {
        if call.verb != "fly" {
            return Ok(Outcome::new().with("said", "nothing to do"));
        }
        self.place.send_replace(Where::Out);
        tokio::select! {
            flown = context.sleep(seconds(60)) => flown?,
            () = self.place.wait_for(|place| *place == Where::Ordered) => context.sleep(seconds(5)).await?,
        }
        let ordered = *self.place.borrow() == Where::Ordered;
        self.place.send_replace(Where::Ground);
        Ok(Outcome::new().with("flown", if ordered { "half" } else { "all" }))
    }

    async fn make_safe(&mut self) -> Result<(), DeviceError> {
        self.made_safe.fetch_add(1, Ordering::SeqCst);
        if *self.place.borrow() != Where::Ground {
            tokio::time::sleep(seconds(20)).await;
            self.place.send_replace(Where::Coming);
        }
        Ok(())
    }
}

#[async_trait::async_trait]
impl Helm for Sight {
    /// `land` waits for ever: nothing ever confirms it.
    async fn steer(&self, call: &Call, context: &Context) -> Option<Result<Outcome, VerbError>> {
        if self.place() != Where::Out {
            return None;
        }
        if call.verb == "land" {
            std::future::pending::<()>().await;
        }
        self.0.send_replace(Where::Ordered);
        if let Err(error) = context.sleep(seconds(1)).await {
            return Some(Err(error));
        }
        Some(Ok(Outcome::new().with("said", "it comes home")))
    }
}

impl Live for Sight {
    fn time_to_safe(&self) -> Option<Duration> {
        Some(match self.place() {
            Where::Ground => Duration::ZERO,
            _ => seconds(30),
        })
    }

    fn under_way(&self) -> Option<String> {
        (self.place() == Where::Coming).then(|| "coming home".to_owned())
    }

    fn readings(&self) -> Vec<Reading> {
        let broken = Reading {
            name: "broken_metres",
            value: f64::NAN,
        };
        let many = (0..READINGS_MAX + 10).map(|count| Reading {
            name: "height_metres",
            value: count as f64,
        });
        std::iter::once(broken).chain(many).collect()
    }
}

struct Bench {
    clock: Arc<TestClock>,
    made_safe: Arc<AtomicUsize>,
    handle: DeviceHandle,
}

type Answer = tokio::task::JoinHandle<Result<Outcome, VerbError>>;

fn bench() -> Bench {
    let clock = TestClock::new(0);
    let verb = |name: &'static str, effect, urgency| Verb {
        name: name.into(),
        usage: "".into(),
        help: "".into(),
        effect,
        urgency,
        max_time: seconds(300),
    };
    let craft = Craft {
        place: Watched::new(Where::Ground),
        made_safe: Arc::default(),
        verbs: vec![
            verb("fly", Effect::Once, Urgency::Work),
            verb("abort", Effect::Set, Urgency::Preempt),
            verb("land", Effect::Set, Urgency::Preempt),
        ],
    };
    Bench {
        made_safe: craft.made_safe.clone(),
        handle: spawn(Box::new(craft), clock.clone()),
        clock,
    }
}

impl Bench {
    fn context(&self) -> Context {
        Context::new(self.clock.clone())
    }

    /// Starts a verb and gives it a second.
    async fn start(&self, verb: &str, context: Context) -> Answer {
        let handle = self.handle.clone();
        let call = Call::new(verb);
        let task = tokio::spawn(async move { handle.perform(call, context).await });
        tokio::time::sleep(seconds(1)).await;
        task
    }

    async fn run(&self, verb: &str) -> Result<Outcome, VerbError> {
        self.handle.perform(Call::new(verb), self.context()).await
    }

    fn now(&self) -> u64 {
        self.clock.now().as_nanos() / 1_000_000_000
    }

    fn made_safe(&self) -> usize {
        self.made_safe.load(Ordering::SeqCst)
    }
}

#[tokio::test(start_paused = true)]
async fn a_preempting_verb_steers_what_runs_and_that_tells_its_own_end() {
    let bench = bench();
    let flight = bench.start("fly", bench.context()).await;
    let patient = bench.context().with_queue_wait(seconds(100));
    let waiter = bench.start("fly", patient).await;
    assert_eq!(
        bench.run("abort").await.unwrap().get("said"),
        Some("it comes home")
    );
    assert_eq!(
        bench.now(),
        3,
        "answered when it was heeded, not when it was over"
    );
    assert!(bench.handle.is_busy(), "it still flies");
    assert!(matches!(bench.run("fly").await, Err(VerbError::Busy { .. })));
    let turned_away = waiter.await.unwrap().unwrap_err().to_string();
    assert!(
        turned_away.contains("was stopped while this call waited"),
        "{turned_away}"
    );
    assert_eq!(flight.await.unwrap().unwrap().get("flown"), Some("half"));
    assert_eq!((bench.now(), bench.made_safe()), (7, 0));
    assert!(!bench.handle.is_busy());
}

#[tokio::test(start_paused = true)]
async fn what_the_helm_does_not_take_goes_to_the_owner() {
    let bench = bench();
    assert_eq!(
        bench.run("abort").await.unwrap().get("said"),
        Some("nothing to do")
    );
    // Ordered home already: not steered again, so the second one stops the verb and takes its place.
    let flight = bench.start("fly", bench.context()).await;
    bench.run("abort").await.unwrap();
    assert_eq!(
        bench.run("abort").await.unwrap().get("said"),
        Some("nothing to do")
    );
    let stopped = flight.await.unwrap().unwrap_err().to_string();
    assert!(stopped.contains("stopped by craft.abort"), "{stopped}");
}

#[tokio::test(start_paused = true)]
async fn steering_is_bound_by_its_own_call_and_never_costs_the_verb() {
    let bench = bench();
    let flight = bench.start("fly", bench.context()).await;
    let leased = bench
        .context()
        .with_lease(Some(BootTime::from_nanos(4_000_000_000)));
    let landing = bench.start("land", leased).await;
    let cancelled = bench.context();
    let token = cancelled.cancellation().clone();
    let other = bench.start("land", cancelled).await;
    token.cancel("enough");
    assert_eq!(other.await.unwrap().unwrap_err().to_string(), "cancelled: enough");
    assert!(matches!(landing.await.unwrap(), Err(VerbError::LeaseOver)));
    assert_eq!(bench.now(), 4);
    assert_eq!(flight.await.unwrap().unwrap().get("flown"), Some("all"));
    assert_eq!(bench.made_safe(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_the_device_is_like_is_told_as_of_now() {
    let bench = bench();
    let handle = &bench.handle;
    assert_eq!(handle.time_to_safe(), Duration::ZERO);
    let token = Cancellation::new();
    let flight = bench
        .start("fly", bench.context().with_cancellation(token.clone()))
        .await;
    assert_eq!(handle.time_to_safe(), seconds(30), "in the middle of the verb");
    assert_eq!(handle.under_way(), None);
    token.cancel("enough");
    // Making safe takes longer than a craft on the ground would have been given.
    assert!(matches!(flight.await.unwrap(), Err(VerbError::Cancelled { .. })));
    assert_eq!((bench.now(), bench.made_safe()), (21, 1));
    assert!(!handle.is_unsafe());
    assert_eq!(handle.under_way().as_deref(), Some("coming home"));
    assert_eq!(handle.time_to_safe(), seconds(30));
    tokio::time::sleep(seconds(61)).await;
    assert_eq!(
        (handle.under_way(), handle.time_to_safe()),
        (None, Duration::ZERO)
    );

    let readings = handle.readings();
    assert_eq!(readings.len(), READINGS_MAX);
    assert_eq!((readings[0].name, readings[0].value), ("height_metres", 0.0));
    handle.shutdown().await.unwrap();
    assert_eq!(handle.readings(), [], "nothing holds on to the device");
}
