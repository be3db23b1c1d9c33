//! Bounds the server's clock against ours, so that a lease's end can be told in boot time (docs/fence.md, 2).
//!
//! Every answer carries the server's time: `Outpost-Time` to the nanosecond, or `Date` to the second. It was
//! made between sending the request and receiving the answer, so each exchange gives an interval for the offset
//! *server time − boot time*. Intervals are intersected; what was learnt gets wider with age, since both clocks
//! drift; and when nothing is left of the intersection, the server's clock was stepped and only the newest
//! exchange counts.
//!
//! A step may hide behind an answer that is late by as much or more: the answer then merely looks less late. So what is
//! known *before* a long poll says only when its lease **likely** ends; an exchange *after* it bounds that
//! ([`LeaseEnds::bounded_by`]). Until then only the sending of the assign counts.
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

    /// How much it leaves open.
    fn width(&self) -> Duration {
        self.latest.since(self.earliest).unwrap_or_default()
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
    // Rounded up: never less than what may have happened.
    (nanos(span) * DRIFT_PPM + 999_999) / 1_000_000
}

/// What is known of one server's clock.
#[derive(Debug, Default)]
pub struct ServerClock {
    bound: Option<Bound>,
    /// The last start time contradicted the stamps of the answers: a proxy's `Date`, or a server whose stored
    /// times are not those of its headers.
    contradicted: bool,
    /// When the answer was received that last showed a step.
    stepped_at: Option<BootTime>,
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
        if both.is_none() {
            self.stepped_at = Some(exchange.received_at);
        }
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

    /// When a lease that began at `start_time` (the server's) has run for `length`, in boot time.
    ///
    /// `exchange` is that of the assign request: the assignment was made within it, which bounds the offset once
    /// more, and wins where the stamps say otherwise. With nothing else known the lease counts from the moment the
    /// request was sent; so it does if the server's clock was seen to step since then, because nobody knows on which
    /// side of the step the lease began.
    pub fn lease_ends(&mut self, exchange: Exchange, start_time: Time, length: Duration) -> LeaseEnds {
        let surely = exchange.sent_at + length - whole(drift(length));
        let mut ends = LeaseEnds {
            surely,
            likely: surely,
            sent_at: exchange.sent_at,
            start_time,
            length,
            known: None,
        };
        if start_time.is_never() {
            return ends;
        }
        let own = Bound::from_exchange(exchange, Stamp::exact(start_time));
        let both = match self.bound {
            None => Some(own),
            Some(known) => known.and(own),
        };
        self.contradicted = both.is_none();
        let stepped = self.stepped_at.is_some_and(|at| at >= exchange.sent_at);
        if let Some(known) = both.filter(|_| !stepped) {
            ends.likely = ends.with_offset(known.high);
            ends.known = Some(known);
        }
        ends
    }

    /// The last start time contradicted the stamps.
    pub fn is_contradicted(&self) -> bool {
        self.contradicted
    }
}

/// When a lease ends, in boot time: the earliest instant at which the server could give the process to another runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseEnds {
    surely: BootTime,
    likely: BootTime,
    sent_at: BootTime,
    start_time: Time,
    length: Duration,
    /// The offset by which `likely` was told; `None`: nothing but the sending is known.
    known: Option<Bound>,
}

impl LeaseEnds {
    /// Not before this, whatever the server's clock did: at first counted from the sending of the assign.
    pub fn surely(&self) -> BootTime {
        self.surely
    }

    /// Not before this, if the server's clock was not stepped since it was last bounded by a quick exchange.
    /// Never before [`LeaseEnds::surely`].
    pub fn likely(&self) -> BootTime {
        self.likely
    }

    /// Whether there is more than a tenth of the lease between what is sure and what is likely.
    pub fn is_worth_bounding(&self) -> bool {
        self.likely.saturating_since(self.surely) > self.length / 10
    }

    /// Takes an exchange whose request was sent after the assign's answer had come.
    ///
    /// The assignment was made between what was known before and this exchange. If the server's clock was stepped at most
    /// once between those two, the offset at the assignment was the one or the other: the lease counts by whichever
    /// lets it end earlier. Where the two contradict each other a step is certain, and that it was the only one
    /// is not: the lease counts from the sending of the assign.
    ///
    /// A whole second, as of a `Date`, is allowed for in full where it is at most a tenth of the lease. Of shorter leases
    /// it would eat most, every time; there a step within that second may stay hidden.
    pub fn bounded_by(&mut self, after: Exchange, stamp: Stamp) {
        let Some(known) = self.known else {
            return;
        };
        let new = Bound::from_exchange(after, stamp);
        if known.and(new).is_none() {
            self.likely = self.surely;
            self.known = None;
            return;
        }
        let high = offset_before(new, stamp, self.sent_at, self.length);
        let bounded = self.with_offset(known.high.max(high));
        self.surely = self.surely.max(bounded);
    }

    /// The end if the offset at the assignment was at most so large.
    fn with_offset(&self, high: i128) -> BootTime {
        let began = u64::try_from(self.start_time.unix_nanos() - high).unwrap_or(0);
        // Sending is the earliest that it can have begun, whatever the stamps say.
        BootTime::from_nanos(began).max(self.sent_at) + self.length - whole(drift(self.length))
    }
}

/// When a lease ends by an exchange long after its assignment, as after a crash: what was known before that is in `likely`,
/// by which it was told to end. Whichever is earlier, for the same reason as in [`LeaseEnds::bounded_by`].
pub fn end_seen_later(
    likely: BootTime,
    start_time: Time,
    length: Duration,
    after: Exchange,
    stamp: Stamp,
) -> BootTime {
    let began = likely - length;
    let high = offset_before(Bound::from_exchange(after, stamp), stamp, began, length);
    let began = u64::try_from(start_time.unix_nanos() - high).unwrap_or(0);
    likely.min(BootTime::from_nanos(began) + length - whole(drift(length)))
}

/// How large the offset may have been at a moment since which the clock was not stepped.
fn offset_before(new: Bound, stamp: Stamp, moment: BootTime, length: Duration) -> i128 {
    let tolerated = match stamp.width() {
        width if width > length / 10 => width,
        _ => Duration::ZERO,
    };
    // Known later than it is needed: as much drift, backwards.
    new.high + drift(new.at.saturating_since(moment)) - nanos(tolerated)
}

fn nanos(span: Duration) -> i128 {
    i128::try_from(span.as_nanos()).unwrap_or(i128::MAX / 1_000_000)
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
        let end = clock
            .lease_ends(exchange(5 * SECOND, 25 * SECOND), server(77), seconds(10))
            .likely();
        assert!(end <= at(15 * SECOND));
        assert!(end >= at(15 * SECOND) - Duration::from_millis(7), "{end:?}");
        // A start time that is no time at all says as little.
        let end = clock
            .lease_ends(exchange(5 * SECOND, 25 * SECOND), Time::NEVER, seconds(10))
            .likely();
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
        let end = clock
            .lease_ends(poll, server(20_500_000_000), seconds(10))
            .likely();
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
        let end = clock
            .lease_ends(quick, server((-3599) * 1_000_000_000), seconds(10))
            .likely();
        assert!(!clock.is_contradicted());
        assert!(end <= at(12 * SECOND + 1_000) && end >= at(12 * SECOND) - Duration::from_millis(10));
    }

    #[test]
    fn the_start_time_wins_over_a_proxys_date() {
        let mut clock = ServerClock::new();
        clock.observe(exchange(0, 1_000), Stamp::whole_second(server(500_000_000_000)));
        let poll = exchange(SECOND, 3 * SECOND);
        let end = clock
            .lease_ends(poll, server(2_000_000_000), seconds(10))
            .likely();
        assert!(clock.is_contradicted());
        assert_eq!(clock.width(at(3 * SECOND)), None, "such stamps are of no use");
        assert!(end <= at(11 * SECOND) && end >= at(11 * SECOND) - Duration::from_millis(10));
        // Until a start time agrees again.
        let poll = exchange(4 * SECOND, 5 * SECOND);
        clock.lease_ends(poll, server(504_500_000_000), seconds(10));
        assert!(!clock.is_contradicted());
    }

    #[test]
    fn a_start_time_of_an_impossible_year_never_ends_before_the_sending() {
        let mut clock = ServerClock::new();
        clock.observe(exchange(0, 10), Stamp::exact(Time::LAST));
        let ends = clock.lease_ends(
            exchange(SECOND, 2 * SECOND),
            Time::from_unix_nanos(0),
            seconds(u64::from(u32::MAX)),
        );
        assert!(ends.surely() >= at(SECOND) && ends.likely() >= ends.surely());
    }

    /// A long poll from 1 s on whose process is assigned at 11 s, in a world where server time is boot time until the
    /// server's clock is stepped by `step` nanoseconds at `stepped_at`; its answer is `late` nanoseconds on its way. The
    /// clock's bounds and the true start in boot time.
    fn polled(step: i128, stepped_at: u64, late: u64, length: u64) -> (LeaseEnds, impl Fn(u64) -> Time) {
        let shown = move |boot: u64| server(i128::from(boot) + if boot >= stepped_at { step } else { 0 });
        let mut clock = ServerClock::new();
        clock.observe(exchange(0, 2_000_000), Stamp::exact(shown(1_000_000)));
        let assigned = 11 * SECOND;
        let poll = exchange(SECOND, assigned + late);
        clock.observe(poll, Stamp::exact(shown(assigned)));
        (clock.lease_ends(poll, shown(assigned), seconds(length)), shown)
    }

    #[test]
    fn a_step_behind_a_late_answer_is_found_by_an_exchange_after_it() {
        let late = 3 * SECOND;
        let (mut ends, shown) = polled(2 * 1_000_000_000, 5 * SECOND, late, 20);
        // Nothing shows yet that the server's clock is 2 s further: the lease from 11 s to 31 s seems to end at 33 s.
        assert!(ends.likely() > at(32 * SECOND), "{ends:?}");
        assert!(ends.surely() <= at(21 * SECOND), "from the sending: {ends:?}");
        assert!(ends.is_worth_bounding());
        let sent = 14 * SECOND;
        ends.bounded_by(
            exchange(sent, sent + 1_000_000),
            Stamp::exact(shown(sent + 500_000)),
        );
        assert!(
            ends.surely() <= at(31 * SECOND) && ends.likely() <= at(31 * SECOND),
            "{ends:?}"
        );
        // Back, as the originals' clocks may go, is no worse.
        let (mut ends, shown) = polled(-2 * 1_000_000_000, 5 * SECOND, late, 20);
        ends.bounded_by(
            exchange(sent, sent + 1_000_000),
            Stamp::exact(shown(sent + 500_000)),
        );
        assert!(
            ends.surely() <= at(31 * SECOND) && ends.likely() <= at(31 * SECOND),
            "{ends:?}"
        );
    }

    #[test]
    fn an_exchange_after_it_that_agrees_leaves_the_lease_as_long_as_it_is() {
        let (mut ends, shown) = polled(0, 0, 1_000_000, 101);
        assert!(!ends.is_worth_bounding(), "10 s of 101 s: {ends:?}");
        (ends, _) = polled(0, 0, 1_000_000, 20);
        let sent = 12 * SECOND;
        ends.bounded_by(
            exchange(sent, sent + 1_000_000),
            Stamp::exact(shown(sent + 500_000)),
        );
        assert!(ends.surely() <= at(31 * SECOND), "{ends:?}");
        assert!(
            ends.surely() + Duration::from_millis(30) >= at(31 * SECOND),
            "{ends:?}"
        );
        // A slow one hides as much as it is slow, so it counts as if there were such a step; a quicker one makes up for it.
        let (mut ends, shown) = polled(0, 0, 1_000_000, 20);
        ends.bounded_by(
            exchange(sent, sent + 3 * SECOND),
            Stamp::exact(shown(sent + 2_900_000_000)),
        );
        assert!(
            ends.surely() <= at(28_200_000_000) && ends.surely() >= at(28 * SECOND),
            "{ends:?}"
        );
        assert!(ends.likely() > at(30_900_000_000));
        let again = sent + 4 * SECOND;
        ends.bounded_by(
            exchange(again, again + 1_000_000),
            Stamp::exact(shown(again + 500_000)),
        );
        assert!(ends.surely() >= at(30_900_000_000), "{ends:?}");
    }

    #[test]
    fn a_date_s_second_is_allowed_for_where_the_lease_is_long() {
        let sent = 12 * SECOND;
        for (length, at_most) in [(20, 30 * SECOND + 100_000_000), (5, 16 * SECOND)] {
            let (mut ends, shown) = polled(0, 0, 1_000_000, length);
            let date = shown(sent).unix_nanos();
            ends.bounded_by(
                exchange(sent, sent + 1_000_000),
                Stamp::whole_second(Time::from_unix_nanos(date)),
            );
            assert!(ends.surely() <= at(at_most), "{length} s: {ends:?}");
            assert!(
                ends.surely() + Duration::from_millis(130) >= at(at_most),
                "{length} s: {ends:?}"
            );
        }
    }

    #[test]
    fn after_a_crash_a_lease_ends_by_what_was_known_before_or_by_what_is_seen_now() {
        let (before, shown) = polled(2 * 1_000_000_000, 5 * SECOND, 3 * SECOND, 20);
        let start = shown(11 * SECOND);
        let now = 16 * SECOND;
        let seen = exchange(now, now + 1_000_000);
        let end = end_seen_later(
            before.likely(),
            start,
            seconds(20),
            seen,
            Stamp::exact(shown(now)),
        );
        assert!(
            end <= at(31 * SECOND) && end >= at(31 * SECOND) - Duration::from_millis(30),
            "{end:?}"
        );
        // What was known before may be the earlier.
        let known = at(30 * SECOND);
        let end = end_seen_later(known, start, seconds(20), seen, Stamp::exact(shown(now)));
        assert_eq!(end, known);
    }

    #[test]
    fn a_step_that_was_seen_during_the_poll_leaves_the_sending_alone() {
        let mut clock = ServerClock::new();
        clock.observe(exchange(0, 2_000_000), Stamp::exact(server(1_000_000)));
        // Another lane sees the clock go back by 2 s, after the assignment.
        let other = exchange(12 * SECOND, 12 * SECOND + 1_000_000);
        assert!(clock.observe(other, Stamp::exact(server(10 * 1_000_000_000))));
        let ends = clock.lease_ends(
            exchange(SECOND, 14 * SECOND),
            server(11 * 1_000_000_000),
            seconds(20),
        );
        assert_eq!(ends.likely(), ends.surely());
        assert!(ends.surely() <= at(21 * SECOND));
    }

    proptest! {
        /// One step, anywhere, however late the answers are: what an exchange after the assign leaves is never too long.
        #[test]
        fn one_step_never_makes_a_lease_longer_than_it_is(
            step in -10_000_000_000_i128..10_000_000_000,
            stepped_at in 0_u64..20 * SECOND,
            late in 0_u64..10 * SECOND,
            pause in 0_u64..SECOND,
            (out, home) in (0_u64..3 * SECOND, 0_u64..3 * SECOND),
            length in 1_u64..60,
        ) {
            let (mut ends, shown) = polled(step, stepped_at, late, length);
            let sent = 11 * SECOND + late + pause;
            ends.bounded_by(exchange(sent, sent + out + home), Stamp::exact(shown(sent + out)));
            let truth = at((11 + length) * SECOND);
            prop_assert!(ends.surely() <= truth, "{ends:?}");
        }

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
            let mut ends = clock.lease_ends(poll, server_at(began), Duration::from_secs(length));
            let end = ends.likely();
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
            // An exchange after it agrees, and takes no more than its own width away.
            let sent = began + back;
            ends.bounded_by(exchange(sent, sent + 2_000_000), stamp(sent + 1_000_000));
            prop_assert!(ends.surely() <= end && ends.surely() >= poll.sent_at);
            let width = Duration::from_millis(if dates { 1002 } else { 2 });
            let slack = width + Duration::from_nanos((sent + 2_000_000 - now) / 500);
            prop_assert!(ends.surely() + slack >= end, "{:?} is much earlier than {end:?}", ends.surely());
        }
    }
}
