//! Devices that look after themselves between verbs.

use super::*;

/// A device that looks after itself whenever the bell rings; the word says how.
struct Tended {
    bell: Arc<tokio::sync::Notify>,
    word: Safe,
    safe: Safe,
    /// Times that it was tended to the end, and made safe.
    counts: Arc<(AtomicUsize, AtomicUsize)>,
    verbs: Vec<Verb>,
}

#[async_trait::async_trait]
impl Device for Tended {
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
        Duration::ZERO
    }

    async fn tend(&mut self) -> Result<(), DeviceError> {
        self.bell.notified().await;
        let word = *self.word.0.lock().unwrap();
        if word == Some("fail") {
            return Err(DeviceError::Gone { device: "dut".into() });
        }
        assert!(word.is_none(), "{word:?}");
        self.counts.0.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    async fn perform(&mut self, _call: &Call, context: &Context) -> Result<Outcome, VerbError> {
        context.sleep(Duration::from_secs(10)).await?;
        Ok(Outcome::new())
    }

    async fn make_safe(&mut self) -> Result<(), DeviceError> {
        self.counts.1.fetch_add(1, Ordering::SeqCst);
        match *self.safe.0.lock().unwrap() {
            None => Ok(()),
            Some(_) => Err(DeviceError::Gone { device: "dut".into() }),
        }
    }
}

impl Tended {
    fn new() -> Self {
        Tended {
            bell: Arc::default(),
            word: Safe::default(),
            safe: Safe::default(),
            counts: Arc::default(),
            verbs: verbs(),
        }
    }
}

async fn a_while() {
    tokio::time::sleep(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_device_is_tended_between_verbs_and_never_beside_one() {
    let clock = TestClock::new(0);
    let device = Tended::new();
    let (bell, counts) = (device.bell.clone(), device.counts.clone());
    let handle = spawn(Box::new(device), clock.clone());
    bell.notify_one();
    a_while().await;
    assert_eq!(counts.0.load(Ordering::SeqCst), 1);
    let verb = handle.perform(Call::new("wait"), Context::new(clock.clone()));
    let (outcome, ()) = tokio::join!(verb, async {
        bell.notify_one();
        a_while().await;
        assert_eq!(counts.0.load(Ordering::SeqCst), 1, "a verb runs");
    });
    outcome.unwrap();
    a_while().await;
    assert_eq!(counts.0.load(Ordering::SeqCst), 2);
    assert_eq!(counts.1.load(Ordering::SeqCst), 0, "nothing was owed");
}

#[tokio::test(start_paused = true)]
async fn a_faulted_device_is_made_safe_when_tending_says_that_it_is_worth_it() {
    let clock = TestClock::new(0);
    let device = Tended::new();
    let (bell, counts, safe) = (device.bell.clone(), device.counts.clone(), device.safe.clone());
    let handle = spawn(Box::new(device), clock.clone());
    *safe.0.lock().unwrap() = Some("no");
    assert!(handle.make_safe().await.is_err());
    a_while().await;
    assert_eq!(counts.1.load(Ordering::SeqCst), 1, "not by itself");
    bell.notify_one();
    a_while().await;
    assert_eq!(counts.1.load(Ordering::SeqCst), 2);
    assert!(handle.fault().borrow().is_some());
    *safe.0.lock().unwrap() = None;
    bell.notify_one();
    a_while().await;
    assert_eq!(*handle.fault().borrow(), None);
    bell.notify_one();
    a_while().await;
    assert_eq!(counts.1.load(Ordering::SeqCst), 3, "safe is safe");
}

#[tokio::test(start_paused = true)]
async fn what_goes_wrong_by_the_devices_own_rules_makes_it_safe() {
    let clock = TestClock::new(0);
    let device = Tended::new();
    let (bell, counts, safe) = (device.bell.clone(), device.counts.clone(), device.safe.clone());
    *device.word.0.lock().unwrap() = Some("fail");
    let handle = spawn(Box::new(device), clock.clone());
    bell.notify_one();
    a_while().await;
    assert_eq!(counts.1.load(Ordering::SeqCst), 1);
    assert!(!handle.is_unsafe() && handle.fault().borrow().is_none());
    *safe.0.lock().unwrap() = Some("no");
    bell.notify_one();
    a_while().await;
    assert_eq!(counts.1.load(Ordering::SeqCst), 2);
    assert!(handle.is_unsafe() && handle.fault().borrow().is_some());
}
