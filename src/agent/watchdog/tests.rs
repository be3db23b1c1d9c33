use std::os::unix::net::UnixDatagram;

use async_trait::async_trait;

use super::*;
use crate::clock::{Clock, TestClock};
use crate::device::builtin::Sleep;
use crate::device::{
    Call, Context, Device, DeviceError, Effect, Live, Outcome, Urgency, Verb, VerbError, owner,
};

fn at(millis: u64) -> BootTime {
    BootTime::from_nanos(millis * 1_000_000)
}

#[test]
fn it_is_fed_when_all_answered_and_not_before() {
    let names = || ["lamp".to_owned(), "pump".to_owned()];
    let mut round = Round::new(names(), at(5000));
    assert_eq!(round.verdict(at(0)), Verdict::Wait);
    round.answered("pump", at(1));
    round.answered("pump", at(2));
    assert_eq!(round.verdict(at(4999)), Verdict::Wait);
    assert_eq!(round.verdict(at(5000)), Verdict::Starve(vec!["lamp".to_owned()]));
    round.answered("lamp", at(5000));
    assert_eq!(round.verdict(at(5000)), Verdict::Feed);

    let mut late = Round::new(names(), at(5000));
    late.answered("lamp", at(4000));
    late.answered("pump", at(5001));
    assert_eq!(late.verdict(at(5001)), Verdict::Starve(vec!["pump".to_owned()]));
    assert_eq!(
        Round::new([], at(0)).verdict(at(9)),
        Verdict::Feed,
        "nobody owes anything"
    );
}

/// Verbs that take long; and one whose drop stands still, as a driver that blocks would.
struct Odd {
    verbs: Vec<Verb>,
    safe_takes: Duration,
}

impl Odd {
    fn new(safe_takes: Duration) -> Self {
        let verb = |name: &'static str| Verb {
            name: name.into(),
            usage: "".into(),
            help: "".into(),
            effect: Effect::Set,
            urgency: Urgency::Work,
            max_time: Duration::from_secs(7200),
        };
        Odd {
            verbs: vec![verb("long"), verb("fail")],
            safe_takes,
        }
    }
}

#[async_trait]
impl Device for Odd {
    fn name(&self) -> &str {
        "odd"
    }

    fn kind(&self) -> &'static str {
        "odd"
    }

    fn verbs(&self) -> &[Verb] {
        &self.verbs
    }

    fn time_to_safe(&self) -> Duration {
        self.safe_takes
    }

    fn live(&self) -> Option<Arc<dyn Live>> {
        Some(Arc::new(Idle))
    }

    async fn perform(&mut self, call: &Call, _context: &Context) -> Result<Outcome, VerbError> {
        if call.verb == "long" {
            // Deaf to everything for twenty minutes.
            tokio::time::sleep(Duration::from_secs(1200)).await;
        }
        Err(VerbError::Cancelled {
            reason: "as told".to_owned(),
        })
    }

    async fn make_safe(&mut self) -> Result<(), DeviceError> {
        tokio::time::sleep(self.safe_takes).await;
        Ok(())
    }
}

/// What the odd device does by itself.
struct Idle;

impl Live for Idle {
    fn under_way(&self) -> Option<String> {
        Some("ticking over".to_owned())
    }
}

/// A watchdog under test: when it was fed, in seconds since the start.
struct Bench {
    clock: Arc<TestClock>,
    roster: Roster,
    health: Health,
    manager: UnixDatagram,
    task: tokio::task::JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Bench {
    fn start(limit: Option<Duration>, devices: Vec<DeviceHandle>, clock: Arc<TestClock>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_nonblocking(true).unwrap();
        let notifier = Notifier::to(Some(path.as_os_str())).unwrap();
        let (roster, health) = (Roster::default(), Health::new());
        roster.set(devices);
        let (roster2, health2, clock2) = (roster.clone(), health.clone(), clock.clone() as SharedClock);
        let task = tokio::spawn(async move {
            feed(limit, &roster2, &notifier, &health2, &clock2).await;
        });
        Bench {
            clock,
            roster,
            health,
            manager,
            task,
            _folder: folder,
        }
    }

    /// How often it is fed until then.
    async fn fed_until(&self, seconds: u64) -> usize {
        let mut count = 0;
        let mut buffer = [0; 64];
        while self.clock.now() < at(seconds * 1000) {
            // In small steps: a socket's queue is short.
            let step = self.clock.now() + Duration::from_secs(60);
            self.clock.sleep_until(step.min(at(seconds * 1000))).await;
            while let Ok(length) = self.manager.recv(&mut buffer) {
                assert_eq!(&buffer[..length], b"WATCHDOG=1");
                count += 1;
            }
        }
        count
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.task.abort();
    }
}

const MINUTE: Option<Duration> = Some(Duration::from_secs(60));

#[tokio::test(start_paused = true)]
async fn it_is_fed_at_half_the_limit_and_never_without_one() {
    let clock = TestClock::new(0);
    let sleep = owner::spawn(Box::new(Sleep::new("sleep")), clock.clone());
    let bench = Bench::start(MINUTE, vec![sleep.clone()], clock.clone());
    assert_eq!(bench.fed_until(1).await, 1);
    assert_eq!(bench.fed_until(29).await, 0);
    assert_eq!(bench.fed_until(31).await, 1);
    assert_eq!(bench.fed_until(631).await, 20);
    drop(bench);

    let none = Bench::start(None, vec![sleep], clock);
    assert_eq!(none.fed_until(86_400).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_verb_of_twenty_minutes_and_a_slow_way_to_safety_do_not_trip_it() {
    let clock = TestClock::new(0);
    let odd = owner::spawn(Box::new(Odd::new(Duration::from_secs(600))), clock.clone());
    let bench = Bench::start(MINUTE, vec![odd.clone()], clock.clone());
    let (working, ends) = (odd.clone(), clock.clone());
    let context = Context::new(clock.clone());
    let verb = tokio::spawn(async move {
        let ended = working.perform(Call::new("long"), context).await;
        (ended, ends.now())
    });
    assert_eq!(bench.fed_until(1199).await, 40);
    let line = bench.health.line();
    assert!(line.ends_with("; odd is ticking over"), "{line}");
    assert!(odd.is_busy());
    assert_eq!(bench.fed_until(1801).await, 21);
    // The device was made safe after it, which took ten minutes more.
    let (ended, at_the_end) = verb.await.unwrap();
    assert!(ended.is_err());
    assert_eq!(at_the_end, at(1_800_000));
}

#[tokio::test(start_paused = true)]
async fn a_task_that_has_ended_starves_it_until_it_is_off_the_roster() {
    let clock = TestClock::new(0);
    let sleep = owner::spawn(Box::new(Sleep::new("sleep")), clock.clone());
    let odd = owner::unowned(Box::new(Odd::new(Duration::ZERO)), clock.clone());
    let bench = Bench::start(MINUTE, vec![sleep.clone(), odd], clock);
    assert_eq!(bench.fed_until(61).await, 0);
    assert!(
        bench.health.line().contains("no sign of life from odd"),
        "{}",
        bench.health.line()
    );
    bench.roster.set(vec![sleep]);
    assert_eq!(bench.fed_until(66).await, 1, "the next round comes soon");
    assert!(!bench.health.line().contains("odd"));
}

/// A device whose task is held up by something that does not return: nobody polls it.
#[tokio::test(start_paused = true)]
async fn a_frozen_task_starves_it_and_a_slow_one_only_delays_it() {
    let clock = TestClock::new(0);
    let (frozen, task) = owner::paused(Box::new(Odd::new(Duration::ZERO)), clock.clone());
    let bench = Bench::start(MINUTE, vec![frozen], clock);
    assert_eq!(bench.fed_until(40).await, 0);
    // It comes to itself before the limit is over.
    tokio::spawn(task);
    assert_eq!(bench.fed_until(41).await, 1);
    assert_eq!(bench.fed_until(71).await, 1);
}
