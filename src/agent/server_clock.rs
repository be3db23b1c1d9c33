//! Bounds the server's clock against ours, so that a lease's end can be told in boot time (docs/fence.md, 2).
//!
//! Every answer carries the server's time: `Outpost-Time` to the nanosecond, or `Date` to the second. It was
//! made between sending the request and receiving the answer, so each exchange gives an interval for the offset
//! *server time − boot time*. Intervals are intersected; what was learnt gets wider with age, since both clocks
//! drift; and when nothing is left of the intersection, the server's clock was stepped and only the newest
//! exchange counts.
//!
//! Pure: whoever asks tells the times.

use std::time::Duration;

use crate::clock::BootTime;
use crate::protocol::Time;

/// How far two clocks may run apart, in parts per million: a poor crystal (100) and NTP slewing (500).
const DRIFT_PPM: i128 = 600;

/// Below this the offset counts as known: a `Date` (one second wide) and a short round trip.
pub const NARROW: Duration = Duration::from_millis(1200);

/// When a request was sent and when its answer was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exchange {
    /// Before the first byte of the request went out.
    pub sent_at: BootTime,
    /// After the last byte of the answer came in.
    pub received_at: BootTime,
}

/// The server's time in an answer: it was made at some moment between the two, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    earliest: Time,
    latest: Time,
}

impl Stamp {
    /// To the nanosecond, as `Outpost-Time`.
    pub fn exact(time: Time) -> Self {
        Stamp {
            earliest: time,
            latest: time,
        }
    }

    /// To the second and rounded down, as HTTP's `Date`.
    pub fn whole_second(time: Time) -> Self {
        Stamp {
            earliest: time,
            latest: time.plus(Duration::from_secs(1)),
        }
    }

    /// A moment that the server's clock had surely reached.
    pub fn earliest(&self) -> Time {
        self.earliest
    }
}

/// Where the offset *server time − boot time* lies, in nanoseconds, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bound {
    low: i128,
    high: i128,
    at: BootTime,
}

impl Bound {
    fn from_exchange(exchange: Exchange, stamp: Stamp) -> Self {
        Bound {
            low: stamp.earliest.unix_nanos() - i128::from(exchange.received_at.as_nanos()),
            high: stamp.latest.unix_nanos() - i128::from(exchange.sent_at.as_nanos()),
            at: exchange.received_at,
        }
    }

    /// The same knowledge at another moment.
    fn aged(self, to: BootTime) -> Self {
        let drift = drift(to.saturating_since(self.at));
        Bound {
            low: self.low - drift,
            high: self.high + drift,
            at: self.at.max(to),
        }
    }

    /// What both allow, or `None` where they contradict each other.
    fn and(self, other: Bound) -> Option<Bound> {
        let at = self.at.max(other.at);
        let (a, b) = (self.aged(at), other.aged(at));
        let (low, high) = (a.low.max(b.low), a.high.min(b.high));
        (low <= high).then_some(Bound { low, high, at })
    }
}

fn drift(span: Duration) -> i128 {
    let nanos = i128::try_from(span.as_nanos()).unwrap_or(i128::MAX / 1_000_000);
    // Rounded up: never less than what may have happened.
    (nanos * DRIFT_PPM + 999_999) / 1_000_000
}

/// What is known of one server's clock.
#[derive(Debug, Default)]
pub struct ServerClock {
    bound: Option<Bound>,
    /// The last start time contradicted the stamps of the answers: a proxy's `Date`, or a server whose stored
    /// times are not those of its headers.
    contradicted: bool,
}

impl ServerClock {
    /// Nothing known yet.
    pub fn new() -> Self {
        ServerClock::default()
    }

    /// Takes the stamp of an answer. True if it contradicts what was known: the server's clock was stepped.
    pub fn observe(&mut self, exchange: Exchange, stamp: Stamp) -> bool {
        let new = Bound::from_exchange(exchange, stamp);
        let both = match self.bound {
            None => Some(new),
            Some(old) => old.and(new),
        };
        self.bound = both.or(Some(new));
        both.is_none()
    }

    /// How wide the interval of the offset is now; `None` while nothing useful is known.
    pub fn width(&self, now: BootTime) -> Option<Duration> {
        if self.contradicted {
            return None;
        }
        let bound = self.bound?.aged(now);
        Some(Duration::from_nanos(
            u64::try_from(bound.high - bound.low).unwrap_or(u64::MAX),
        ))
    }

    /// Known well enough for a long poll: what waits for an assignment must be able to tell when it began.
    pub fn is_narrow(&self, now: BootTime) -> bool {
        self.width(now).is_some_and(|width| width <= NARROW)
    }

    /// The earliest boot time at which a lease that began at `start_time` (the server's) has run for `length`.
    ///
    /// `exchange` is that of the assign request: the assignment was made within it, which bounds the offset once
    /// more, and wins where the stamps say otherwise. With nothing else known the lease counts from the moment the
    /// request was sent.
    pub fn lease_end(&mut self, exchange: Exchange, start_time: Time, length: Duration) -> BootTime {
        let from_sending = exchange.sent_at + length - whole(drift(length));
        if start_time.is_never() {
            return from_sending;
        }
        let own = Bound::from_exchange(exchange, Stamp::exact(start_time));
        let both = match self.bound {
            None => Some(own),
            Some(known) => known.and(own),
        };
        self.contradicted = both.is_none();
        let high = both.unwrap_or(own).high;
        let began = u64::try_from(start_time.unix_nanos() - high).unwrap_or(0);
        // Sending is the earliest that it can have begun, whatever the stamps say.
        BootTime::from_nanos(began).max(exchange.sent_at) + length - whole(drift(length))
    }

    /// The last start time contradicted the stamps.
    pub fn is_contradicted(&self) -> bool {
        self.contradicted
    }
}

fn whole(nanos: i128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn at(nanos: u64) -> BootTime {
        BootTime::from_nanos(nanos)
    }

    fn exchange(sent: u64, received: u64) -> Exchange {
        Exchange {
            sent_at: at(sent),
            received_at: at(received),
        }
    }

    fn server(nanos: i128) -> Time {
        Time::from_unix_nanos(1_660_000_000 * 1_000_000_000 + nanos)
    }

    fn seconds(span: u64) -> Duration {
        Duration::from_secs(span)
    }

    #[test]
    fn with_nothing_known_a_lease_counts_from_the_sending() {
        let mut clock = ServerClock::new();
        let end = clock.lease_end(exchange(5 * SECOND, 25 * SECOND), server(77), seconds(10));
        assert!(end <= at(15 * SECOND));
        assert!(end >= at(15 * SECOND) - Duration::from_millis(7), "{end:?}");
        // A start time that is no time at all says as little.
        let end = clock.lease_end(exchange(5 * SECOND, 25 * SECOND), Time::NEVER, seconds(10));
        assert!(end <= at(15 * SECOND));
    }

    #[test]
    fn a_quick_exchange_before_tells_when_a_long_poll_ended() {
        let mut clock = ServerClock::new();
        // Server time = boot time + 0 (from `server`'s zero on).
        clock.observe(exchange(0, 2_000_000), Stamp::exact(server(1_000_000)));
        // The poll waited 20 s; the process was assigned at 20.5 s.
        let poll = exchange(SECOND, 20 * SECOND + 501_000_000);
        clock.observe(poll, Stamp::exact(server(20_501_000_000)));
        let end = clock.lease_end(poll, server(20_500_000_000), seconds(10));
        assert!(end <= at(30_500_000_000), "{end:?} is after the true end");
        assert!(end >= at(30_450_000_000), "{end:?} is needlessly early");
    }

    #[test]
    fn a_date_alone_is_a_second_wide() {
        let mut clock = ServerClock::new();
        assert_eq!(clock.width(at(0)), None);
        clock.observe(exchange(0, 100_000_000), Stamp::whole_second(server(0)));
        let width = clock.width(at(100_000_000)).unwrap();
        assert_eq!(width, Duration::from_millis(1100));
        assert!(clock.is_narrow(at(100_000_000)));
        // It gets wider with age.
        assert!(!clock.is_narrow(at(200 * SECOND)));
    }

    #[test]
    fn a_step_of_the_servers_clock_leaves_only_the_newest_exchange() {
        let mut clock = ServerClock::new();
        assert!(!clock.observe(exchange(0, 1_000), Stamp::exact(server(0))));
        assert!(clock.observe(
            exchange(SECOND, SECOND + 1_000),
            Stamp::exact(server(-3600 * 1_000_000_000))
        ));
        let quick = exchange(2 * SECOND, 2 * SECOND + 1_000);
        let end = clock.lease_end(quick, server((-3599) * 1_000_000_000), seconds(10));
        assert!(!clock.is_contradicted());
        assert!(end <= at(12 * SECOND + 1_000) && end >= at(12 * SECOND) - Duration::from_millis(10));
    }

    #[test]
    fn the_start_time_wins_over_a_proxys_date() {
        let mut clock = ServerClock::new();
        clock.observe(exchange(0, 1_000), Stamp::whole_second(server(500_000_000_000)));
        let poll = exchange(SECOND, 3 * SECOND);
        let end = clock.lease_end(poll, server(2_000_000_000), seconds(10));
        assert!(clock.is_contradicted());
        assert_eq!(clock.width(at(3 * SECOND)), None, "such stamps are of no use");
        assert!(end <= at(11 * SECOND) && end >= at(11 * SECOND) - Duration::from_millis(10));
        // Until a start time agrees again.
        let poll = exchange(4 * SECOND, 5 * SECOND);
        clock.lease_end(poll, server(504_500_000_000), seconds(10));
        assert!(!clock.is_contradicted());
    }

    #[test]
    fn a_start_time_of_an_impossible_year_never_ends_before_the_sending() {
        let mut clock = ServerClock::new();
        clock.observe(exchange(0, 10), Stamp::exact(Time::LAST));
        let end = clock.lease_end(
            exchange(SECOND, 2 * SECOND),
            Time::from_unix_nanos(0),
            seconds(u64::from(u32::MAX)),
        );
        assert!(end >= at(SECOND));
    }

    proptest! {
        /// Whatever the offset, the round trips and the drift within the allowance: the end is never told too
        /// late, and not earlier than the knowledge allows.
        #[test]
        fn a_lease_never_ends_later_than_it_does(
            offset in -2_000_000_000_000_000_000_i128..2_000_000_000_000_000_000,
            ppm in -500_i128..500,
            dates in any::<bool>(),
            trips in proptest::collection::vec((0_u64..5 * SECOND, 0_u64..SECOND, 0_u64..SECOND), 0..8),
            wait in 0_u64..30 * SECOND,
            back in 0_u64..SECOND,
            length in 1_u64..4000,
        ) {
            // The server's clock at a boot time: `offset` ahead, running `ppm` faster.
            let server_at = |boot: u64| {
                let boot = i128::from(boot);
                Time::from_unix_nanos(offset + boot + boot * ppm / 1_000_000)
            };
            let stamp = |boot: u64| {
                let time = server_at(boot);
                if dates {
                    Stamp::whole_second(Time::from_unix_nanos(time.unix_nanos().div_euclid(1_000_000_000) * 1_000_000_000))
                } else {
                    Stamp::exact(time)
                }
            };
            let mut clock = ServerClock::new();
            let mut now = 1_000 * SECOND;
            for (pause, out, home) in trips {
                now += pause;
                let stepped = clock.observe(exchange(now, now + out + home), stamp(now + out));
                prop_assert!(!stepped);
                now += out + home;
            }
            let began = now + wait;
            let poll = exchange(now, began + back);
            let end = clock.lease_end(poll, server_at(began), Duration::from_secs(length));
            prop_assert!(!clock.is_contradicted());
            // When the server's clock shows start + length: no sooner than the drift allows.
            let nanos = length * SECOND;
            let truth = began + nanos - u64::try_from(ppm.max(0) * i128::from(nanos) / 1_000_000).unwrap();
            prop_assert!(end.as_nanos() <= truth + 1_000, "end {} is {} ns after the truth", end.as_nanos(), end.as_nanos() - truth);
            prop_assert!(end >= poll.sent_at);
            if let Some(width) = clock.width(poll.received_at) {
                let slack = width + Duration::from_nanos(nanos / 500);
                prop_assert!(end + slack + Duration::from_micros(1) >= at(truth), "too early by more than {slack:?}");
            }
        }
    }
}
