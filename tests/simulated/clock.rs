//! The world's time, and what each machine's clocks make of it.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use outpost::clock::{BootTime, Clock, Sleep};

/// A moment of the world, in nanoseconds since it began. No machine knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(pub u64);

impl Moment {
    /// So much later.
    pub fn after(self, span: Duration) -> Moment {
        Moment(self.0 + span.as_nanos() as u64)
    }

    /// How long after another; zero if it is not.
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl std::fmt::Display for Moment {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{:>11.6}", self.0 as f64 / 1e9)
    }
}

/// The world's time, seen by all machines' clocks.
#[derive(Debug, Clone, Default)]
pub struct WorldTime(Arc<AtomicU64>);

impl WorldTime {
    /// Now.
    pub fn now(&self) -> Moment {
        Moment(self.0.load(Ordering::Relaxed))
    }

    /// Goes on.
    pub fn set(&self, now: Moment) {
        self.0.store(now.0, Ordering::Relaxed);
    }
}

/// What the wall shows when the world begins: 2026-07-01T00:00:00Z.
const WALL: i128 = 1_782_864_000_000_000_000;

const MILLION: i128 = 1_000_000;

/// The clocks of one machine during one boot.
#[derive(Debug)]
pub struct SimulatedClock {
    world: WorldTime,
    booted: Moment,
    /// What boot time showed when the boot was noticed: firmware and kernel take a moment.
    shown_first: u64,
    /// How much faster than the world's this clock runs, in parts per million.
    ppm: i128,
    boot_id: String,
    /// By how much the wall clock is wrong.
    wall_error: AtomicI64,
    timers: Mutex<Timers>,
}

#[derive(Debug, Default)]
struct Timers {
    waiting: BTreeMap<(BootTime, u64), Waker>,
    made: u64,
}

impl SimulatedClock {
    /// A boot that begins now.
    pub fn boot(world: &WorldTime, shown_first: Duration, ppm: i64, boot_id: String) -> Arc<Self> {
        Arc::new(SimulatedClock {
            booted: world.now(),
            world: world.clone(),
            shown_first: shown_first.as_nanos() as u64,
            ppm: ppm.into(),
            boot_id,
            wall_error: AtomicI64::new(0),
            timers: Mutex::default(),
        })
    }

    /// Steps the wall clock, as NTP or a person would.
    pub fn step_wall(&self, seconds: i64) {
        self.wall_error
            .fetch_add(seconds * 1_000_000_000, Ordering::Relaxed);
    }

    /// The first moment of the world at which this clock shows `boot` or more.
    pub fn moment_of(&self, boot: BootTime) -> Moment {
        let shown = i128::from(boot.as_nanos().saturating_sub(self.shown_first));
        let scale = MILLION + self.ppm;
        let passed = (shown * MILLION + scale - 1).div_euclid(scale);
        let mut moment = Moment(self.booted.0 + u64::try_from(passed.max(0)).unwrap());
        while self.shows(moment) < boot {
            moment.0 += 1;
        }
        moment
    }

    fn shows(&self, moment: Moment) -> BootTime {
        let passed = i128::from(moment.0.saturating_sub(self.booted.0));
        let shown = passed + (passed * self.ppm).div_euclid(MILLION);
        BootTime::from_nanos(self.shown_first + u64::try_from(shown).unwrap())
    }

    /// When the first timer is due, if one waits.
    pub fn next_timer(&self) -> Option<Moment> {
        let first = self
            .timers
            .lock()
            .unwrap()
            .waiting
            .first_key_value()
            .map(|((at, _), _)| *at);
        first.map(|at| self.moment_of(at))
    }

    /// Wakes whoever's time has come.
    pub fn fire(&self) {
        let now = self.now();
        loop {
            let mut timers = self.timers.lock().unwrap();
            match timers.waiting.first_entry() {
                Some(first) if first.key().0 <= now => {
                    let waker = first.remove();
                    drop(timers);
                    waker.wake();
                }
                _ => return,
            }
        }
    }
}

impl Clock for SimulatedClock {
    fn now(&self) -> BootTime {
        self.shows(self.world.now())
    }

    fn wall_nanos(&self) -> i128 {
        WALL + i128::from(self.world.now().0) + i128::from(self.wall_error.load(Ordering::Relaxed))
    }

    fn boot_id(&self) -> String {
        self.boot_id.clone()
    }

    fn sleep_until(&self, deadline: BootTime) -> Sleep<'_> {
        Box::pin(Sleeping {
            clock: self,
            deadline,
            key: None,
        })
    }
}

struct Sleeping<'a> {
    clock: &'a SimulatedClock,
    deadline: BootTime,
    key: Option<u64>,
}

impl Future for Sleeping<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.clock.now() >= self.deadline {
            return Poll::Ready(());
        }
        let mut timers = self.clock.timers.lock().unwrap();
        let key = self.key.unwrap_or_else(|| {
            timers.made += 1;
            timers.made
        });
        timers
            .waiting
            .insert((self.deadline, key), context.waker().clone());
        drop(timers);
        self.key = Some(key);
        Poll::Pending
    }
}

impl Drop for Sleeping<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.clock
                .timers
                .lock()
                .unwrap()
                .waiting
                .remove(&(self.deadline, key));
        }
    }
}
