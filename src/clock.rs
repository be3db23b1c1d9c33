//! Boot time and wall time as parameters.
//!
//! Deadlines are counted in *boot time* (`CLOCK_BOOTTIME`), which runs through suspend and which nobody can
//! set; `Instant` (`CLOCK_MONOTONIC`) stops while the machine sleeps. Wall time is only ever shown, stamped
//! or compared with what a server says, never used to decide (docs/fence.md, section 2); but for rules that people make by
//! the wall clock, such as the hours at which something is allowed, and then only while [`Clock::is_synchronised`].

mod synchronised;

use std::future::Future;
use std::ops::{Add, Sub};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// A moment in boot time: nanoseconds since this boot. Meaningless across boots (compare the boot id).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct BootTime(u64);

impl BootTime {
    /// From nanoseconds since this boot.
    pub const fn from_nanos(nanos: u64) -> Self {
        BootTime(nanos)
    }

    /// Nanoseconds since this boot.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long `self` lies after `earlier`; zero if it does not.
    pub fn saturating_since(self, earlier: BootTime) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for BootTime {
    type Output = BootTime;
    /// Saturates at the end of time, about 584 years after the boot.
    fn add(self, span: Duration) -> BootTime {
        BootTime(
            self.0
                .saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

impl Sub<Duration> for BootTime {
    type Output = BootTime;
    /// Saturates at the boot.
    fn sub(self, span: Duration) -> BootTime {
        BootTime(
            self.0
                .saturating_sub(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

/// A future that is done when a clock has reached a moment.
pub type Sleep<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Where the time comes from. Timers only wake; whoever wakes decides by [`Clock::now`].
pub trait Clock: Send + Sync + 'static {
    /// Now, in boot time.
    fn now(&self) -> BootTime;

    /// Now as the machine's wall clock shows it: nanoseconds since 1970-01-01T00:00:00Z, perhaps wrong by decades.
    fn wall_nanos(&self) -> i128;

    /// Whether something keeps the wall clock right (NTP, a GPS receiver), so that [`Clock::wall_nanos`] may decide about
    /// rules that are made by it. What can't be told is no.
    fn is_synchronised(&self) -> bool {
        false
    }

    /// The id of this boot; another id means that every stored [`BootTime`] is void.
    fn boot_id(&self) -> String;

    /// Done when `now()` has reached `deadline`.
    fn sleep_until(&self, deadline: BootTime) -> Sleep<'_>;
}

/// A clock that several parts share.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's own clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

/// Timers run on `CLOCK_MONOTONIC`, which stands still during suspend: look at the real clock at least this often.
const LONGEST_NAP: Duration = Duration::from_secs(30);

impl Clock for SystemClock {
    fn now(&self) -> BootTime {
        let spec = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        BootTime(
            (spec.tv_sec as u64)
                .saturating_mul(1_000_000_000)
                .saturating_add(spec.tv_nsec as u64),
        )
    }

    fn wall_nanos(&self) -> i128 {
        let spec = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        i128::from(spec.tv_sec) * 1_000_000_000 + i128::from(spec.tv_nsec)
    }

    fn is_synchronised(&self) -> bool {
        synchronised::is_synchronised()
    }

    fn boot_id(&self) -> String {
        // proc(5), /proc/sys/kernel/random/boot_id. A kernel without it gets a fresh id: every lease counts as over.
        std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map_or_else(
            |_| format!("unknown-{}-{}", std::process::id(), self.wall_nanos()),
            |text| text.trim().to_owned(),
        )
    }

    fn sleep_until(&self, deadline: BootTime) -> Sleep<'_> {
        let clock = *self;
        Box::pin(async move {
            loop {
                let left = deadline.saturating_since(clock.now());
                if left.is_zero() {
                    return;
                }
                tokio::time::sleep(left.min(LONGEST_NAP)).await;
            }
        })
    }
}

/// A clock for tests: boot time follows tokio's (which tests pause and advance), wall time is set by hand.
#[derive(Debug)]
pub struct TestClock {
    started: tokio::time::Instant,
    wall_at_start: std::sync::atomic::AtomicI64,
    synchronised: std::sync::atomic::AtomicBool,
    boot_id: String,
}

impl TestClock {
    /// Boot time starts at zero now; the wall clock shows `wall_nanos` since 1970, runs with boot time and is synchronised.
    pub fn new(wall_nanos: i64) -> Arc<Self> {
        Arc::new(TestClock {
            started: tokio::time::Instant::now(),
            wall_at_start: wall_nanos.into(),
            synchronised: true.into(),
            boot_id: "test-boot".to_owned(),
        })
    }

    /// Whether the wall clock is kept right from now on.
    pub fn set_synchronised(&self, synchronised: bool) {
        self.synchronised
            .store(synchronised, std::sync::atomic::Ordering::SeqCst);
    }

    /// Steps the wall clock by `nanos`, as an operator or NTP would.
    pub fn step_wall(&self, nanos: i64) {
        self.wall_at_start
            .fetch_add(nanos, std::sync::atomic::Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> BootTime {
        BootTime(u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    fn wall_nanos(&self) -> i128 {
        i128::from(self.wall_at_start.load(std::sync::atomic::Ordering::SeqCst)) + i128::from(self.now().0)
    }

    fn is_synchronised(&self) -> bool {
        self.synchronised.load(std::sync::atomic::Ordering::SeqCst)
    }

    fn boot_id(&self) -> String {
        self.boot_id.clone()
    }

    fn sleep_until(&self, deadline: BootTime) -> Sleep<'_> {
        Box::pin(tokio::time::sleep_until(
            self.started + Duration::from_nanos(deadline.0),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_time_runs_forward_and_saturates() {
        let clock = SystemClock;
        let (a, b) = (clock.now(), clock.now());
        assert!(b >= a);
        assert_eq!(
            BootTime::from_nanos(5) - Duration::from_secs(1),
            BootTime::default()
        );
        assert_eq!(
            BootTime::from_nanos(u64::MAX) + Duration::from_secs(1),
            BootTime::from_nanos(u64::MAX)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_test_clock_follows_paused_time_and_steps_its_wall() {
        let clock = TestClock::new(1_000);
        let deadline = clock.now() + Duration::from_secs(3600);
        clock.sleep_until(deadline).await;
        assert!(clock.now() >= deadline);
        let wall = clock.wall_nanos();
        clock.step_wall(-500);
        assert_eq!(clock.wall_nanos(), wall - 500);
        assert!(clock.is_synchronised());
        clock.set_synchronised(false);
        assert!(!clock.is_synchronised());
    }
}
