//! What the agent counts, for an operator's own monitoring: Prometheus text on loopback. Off unless
//! `metrics.listen` is set; counting itself is a handful of atomics, wakes nobody and is always on.

mod readings;
mod server;

use std::fmt::Write as _;
use std::net::{AddrParseError, SocketAddr};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use serde::Deserialize;

use super::fence::{Close, Rejection, Verdict};
use super::journal;
pub use readings::Figures;
pub use server::{CONTENT_TYPE, serve};

/// Where the figures are served: an address of this machine's loopback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct MetricsAddress(SocketAddr);

impl MetricsAddress {
    /// The address; its port may be 0 (any).
    pub fn get(self) -> SocketAddr {
        self.0
    }
}

/// Why an address can't serve figures.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadMetricsAddress {
    /// No address and port.
    #[error("{text:?} is no address with a port ({cause}); write \"127.0.0.1:9464\"")]
    NoAddress {
        /// As written.
        text: String,
        /// What the parser says.
        cause: AddrParseError,
    },
    /// Others could read it.
    #[error(
        "{address} can be reached from outside, and the figures have neither password nor encryption; write \"127.0.0.1:{}\" or \"[::1]:{}\"", address.port(), address.port()
    )]
    NotLoopback {
        /// As written.
        address: SocketAddr,
    },
}

impl TryFrom<String> for MetricsAddress {
    type Error = BadMetricsAddress;

    fn try_from(text: String) -> Result<Self, BadMetricsAddress> {
        let address: SocketAddr = text
            .parse()
            .map_err(|cause| BadMetricsAddress::NoAddress { text, cause })?;
        if address.ip().is_loopback() {
            Ok(MetricsAddress(address))
        } else {
            Err(BadMetricsAddress::NotLoopback { address })
        }
    }
}

/// What became of an attempt that had begun (docs/fence.md, 5): one label each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// Closed as successful.
    Successful,
    /// Closed as failed: by itself, at the lease's end, at the agent's stop, after a crash.
    Failed,
    /// Left to the server's requeue.
    Left,
    /// The process was not ours any more.
    Lost,
}

impl AttemptOutcome {
    const LABELS: [&str; 4] = ["successful", "failed", "left", "lost"];

    /// What follows from its end says it.
    pub fn of(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Close(Close::Successful) | Verdict::CloseBefore(_, Close::Successful) => {
                AttemptOutcome::Successful
            }
            Verdict::Close(Close::Failed(_)) | Verdict::CloseBefore(_, Close::Failed(_)) => {
                AttemptOutcome::Failed
            }
            Verdict::Leave => AttemptOutcome::Left,
            Verdict::Drop(_) => AttemptOutcome::Lost,
        }
    }
}

/// Why assigned work was not begun: one label each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalReason {
    /// Older than `max_age`.
    Stale,
    /// Its time to wait was over.
    WaitOver,
    /// It had ended before it was assigned.
    EndedBefore,
    /// Its lease leaves no time, or was over before anything was begun.
    NoTime,
    /// No such function here, or arguments that it refuses.
    NotCallable,
    /// This attempt, or a *once* verb of its process, was begun already.
    Repeated,
    /// The device is busy, faulted or held by an interlock.
    Unavailable,
    /// The journal can't be written or trusted, or is full, so nothing may be begun that must not happen twice.
    NoJournal,
    /// A hazardous device, and the process could come back or reach another agent.
    Hazardous,
}

impl RefusalReason {
    const LABELS: [&str; 9] = [
        "stale",
        "wait_over",
        "ended_before",
        "no_time",
        "not_callable",
        "repeated",
        "unavailable",
        "no_journal",
        "hazardous",
    ];
}

impl From<&Rejection> for RefusalReason {
    fn from(rejection: &Rejection) -> Self {
        match rejection {
            Rejection::Stale { .. } => RefusalReason::Stale,
            Rejection::WaitOver => RefusalReason::WaitOver,
            Rejection::EndedBefore { .. } => RefusalReason::EndedBefore,
            Rejection::NoTime { .. } => RefusalReason::NoTime,
            Rejection::Retries | Rejection::NoEnd | Rejection::NotTargeted { .. } => RefusalReason::Hazardous,
        }
    }
}

impl From<&journal::Refusal> for RefusalReason {
    fn from(refusal: &journal::Refusal) -> Self {
        match refusal {
            journal::Refusal::AlreadyBegun(_) | journal::Refusal::Undelivered => RefusalReason::Repeated,
            journal::Refusal::NotWritable(_)
            | journal::Refusal::Distrusted(_)
            | journal::Refusal::MarksFull { .. }
            | journal::Refusal::OutboxFull
            | journal::Refusal::Unfit(_) => RefusalReason::NoJournal,
        }
    }
}

/// What became of an edge for which a process was to be submitted (docs/inputs.md): one label each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EdgeOutcome {
    /// The server took it.
    Submitted,
    /// It was not submitted: too late, too many, or refused.
    Dropped,
    /// Too soon after another.
    RateLimited,
    /// Nobody answered whether it was taken.
    Unknown,
}

impl EdgeOutcome {
    const LABELS: [&str; 4] = ["submitted", "dropped", "rate_limited", "unknown"];
}

/// Upper bounds of the lease margin's buckets, in milliseconds, and the same as labels in seconds.
const MARGIN_BOUNDS: [(u64, &str); 6] = [
    (100, "0.1"),
    (1_000, "1"),
    (5_000, "5"),
    (30_000, "30"),
    (120_000, "120"),
    (600_000, "600"),
];

/// The counters. Every method may be called from any thread and never blocks.
#[derive(Debug, Default)]
pub struct Metrics {
    attempts: [AtomicU64; AttemptOutcome::LABELS.len()],
    refusals: [AtomicU64; RefusalReason::LABELS.len()],
    /// One more than there are bounds: the last one is all that is longer. Not cumulative.
    margins: [AtomicU64; MARGIN_BOUNDS.len() + 1],
    margin_millis: AtomicU64,
    edges: [AtomicU64; EdgeOutcome::LABELS.len()],
    reconnects: AtomicU64,
    journal_bytes: AtomicU64,
    outbox: AtomicI64,
}

fn add(counter: &AtomicU64, more: u64) {
    // Nothing is ordered by these; a scrape between two of them may see one and not the other.
    counter.fetch_add(more, Ordering::Relaxed);
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl Metrics {
    /// An attempt ended.
    pub fn attempt(&self, outcome: AttemptOutcome) {
        add(&self.attempts[outcome as usize], 1);
    }

    /// Assigned work was not begun.
    pub fn refusal(&self, reason: RefusalReason) {
        add(&self.refusals[reason as usize], 1);
    }

    /// An edge was to submit a process.
    pub fn edge(&self, outcome: EdgeOutcome) {
        add(&self.edges[outcome as usize], 1);
    }

    /// So much of the lease was left when an attempt ended; nothing when it was cut off.
    pub fn lease_margin(&self, left: Duration) {
        let millis = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        let bucket = MARGIN_BOUNDS.iter().position(|(bound, _)| millis <= *bound);
        add(&self.margins[bucket.unwrap_or(MARGIN_BOUNDS.len())], 1);
        add(&self.margin_millis, millis);
    }

    /// The server answers again after it could not be reached.
    pub fn reconnect(&self) {
        add(&self.reconnects, 1);
    }

    /// The journal has written so many bytes since the start.
    pub fn journal_has_written(&self, bytes: u64) {
        self.journal_bytes.store(bytes, Ordering::Relaxed);
    }

    /// One more result waits for the server.
    pub fn outbox_took(&self) {
        self.outbox.fetch_add(1, Ordering::Relaxed);
    }

    /// A result waits no longer.
    pub fn outbox_gave(&self) {
        self.outbox.fetch_sub(1, Ordering::Relaxed);
    }

    /// All of it in Prometheus' text format, version 0.0.4.
    pub fn text(&self) -> String {
        let mut text = String::with_capacity(2048);
        family(
            &mut text,
            "attempts_total",
            "counter",
            "Attempts that ended, by outcome.",
        );
        labelled(
            &mut text,
            "attempts_total",
            "outcome",
            &AttemptOutcome::LABELS,
            &self.attempts,
        );
        family(
            &mut text,
            "refusals_total",
            "counter",
            "Assigned work that was not begun, by reason.",
        );
        labelled(
            &mut text,
            "refusals_total",
            "reason",
            &RefusalReason::LABELS,
            &self.refusals,
        );
        family(
            &mut text,
            "edges_total",
            "counter",
            "Edges of inputs that were to submit a process, by outcome.",
        );
        labelled(
            &mut text,
            "edges_total",
            "outcome",
            &EdgeOutcome::LABELS,
            &self.edges,
        );
        family(
            &mut text,
            "lease_margin_seconds",
            "histogram",
            "Left of the lease when an attempt ended.",
        );
        let mut so_far = 0;
        let bounds = MARGIN_BOUNDS.iter().map(|(_, label)| *label).chain(["+Inf"]);
        for (bound, count) in bounds.zip(&self.margins) {
            so_far += read(count);
            sample(&mut text, "lease_margin_seconds_bucket", &[("le", bound)], so_far);
        }
        let millis = read(&self.margin_millis);
        // Without floating point, which would cost more than all of this.
        let _ = writeln!(
            text,
            "outpost_agent_lease_margin_seconds_sum {}.{:03}",
            millis / 1000,
            millis % 1000
        );
        sample(&mut text, "lease_margin_seconds_count", &[], so_far);
        family(
            &mut text,
            "reconnects_total",
            "counter",
            "Times that the server answered again.",
        );
        sample(&mut text, "reconnects_total", &[], read(&self.reconnects));
        family(
            &mut text,
            "journal_written_bytes_total",
            "counter",
            "Bytes that the journal wrote.",
        );
        sample(
            &mut text,
            "journal_written_bytes_total",
            &[],
            read(&self.journal_bytes),
        );
        family(
            &mut text,
            "outbox_depth",
            "gauge",
            "Results that wait for the server.",
        );
        sample(
            &mut text,
            "outbox_depth",
            &[],
            self.outbox.load(Ordering::Relaxed),
        );
        text
    }
}

fn family(text: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a String can't fail; so below.
    let _ = writeln!(
        text,
        "# HELP outpost_agent_{name} {help}\n# TYPE outpost_agent_{name} {kind}"
    );
}

fn sample(text: &mut String, name: &str, label: &[(&str, &str)], value: impl Into<i128>) {
    let _ = write!(text, "outpost_agent_{name}");
    for (key, label) in label {
        let _ = write!(text, "{{{key}=\"{label}\"}}");
    }
    let _ = writeln!(text, " {}", value.into());
}

fn labelled(text: &mut String, name: &str, key: &str, labels: &[&str], counters: &[AtomicU64]) {
    for (label, counter) in labels.iter().zip(counters) {
        sample(text, name, &[(key, label)], read(counter));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str, series: &str) -> String {
        let series = format!("outpost_agent_{series} ");
        let mut found = text.lines().filter_map(|line| line.strip_prefix(&series));
        let value = found.next().unwrap_or_else(|| panic!("no {series}in\n{text}"));
        assert_eq!(found.next(), None, "{series}twice");
        value.to_owned()
    }

    #[test]
    fn what_was_counted_is_shown() {
        let metrics = Metrics::default();
        metrics.attempt(AttemptOutcome::Successful);
        metrics.attempt(AttemptOutcome::Successful);
        metrics.attempt(AttemptOutcome::Lost);
        metrics.refusal(RefusalReason::Stale);
        metrics.refusal(RefusalReason::NoJournal);
        metrics.edge(EdgeOutcome::Submitted);
        metrics.edge(EdgeOutcome::RateLimited);
        metrics.reconnect();
        metrics.journal_has_written(40);
        metrics.journal_has_written(42);
        for _ in 0..4 {
            metrics.outbox_took();
        }
        metrics.outbox_gave();
        let text = metrics.text();
        for (series, expected) in [
            ("attempts_total{outcome=\"successful\"}", "2"),
            ("attempts_total{outcome=\"failed\"}", "0"),
            ("attempts_total{outcome=\"lost\"}", "1"),
            ("refusals_total{reason=\"stale\"}", "1"),
            ("refusals_total{reason=\"no_journal\"}", "1"),
            ("edges_total{outcome=\"submitted\"}", "1"),
            ("edges_total{outcome=\"dropped\"}", "0"),
            ("edges_total{outcome=\"rate_limited\"}", "1"),
            ("reconnects_total", "1"),
            ("journal_written_bytes_total", "42"),
            ("outbox_depth", "3"),
        ] {
            assert_eq!(value(&text, series), expected, "{series}");
        }
    }

    #[test]
    fn margins_fall_into_cumulative_buckets() {
        let metrics = Metrics::default();
        for millis in [0, 100, 101, 600_000, 600_001] {
            metrics.lease_margin(Duration::from_millis(millis));
        }
        let text = metrics.text();
        for (bound, expected) in [
            ("0.1", "2"),
            ("1", "3"),
            ("120", "3"),
            ("600", "4"),
            ("+Inf", "5"),
        ] {
            let series = format!("lease_margin_seconds_bucket{{le=\"{bound}\"}}");
            assert_eq!(value(&text, &series), expected, "{bound}");
        }
        assert_eq!(value(&text, "lease_margin_seconds_count"), "5");
        assert_eq!(value(&text, "lease_margin_seconds_sum"), "1200.202");
    }

    #[test]
    fn every_series_has_its_type_once() {
        let text = Metrics::default().text();
        let types: Vec<_> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE "))
            .collect();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let of = types.iter().filter(|found| {
                let name = found.split(' ').next().unwrap();
                line.starts_with(name)
            });
            assert_eq!(of.count(), 1, "{line}");
        }
    }

    #[test]
    fn only_loopback_is_served() {
        let read = |text: &str| MetricsAddress::try_from(text.to_owned());
        for good in ["127.0.0.1:9464", "127.8.9.1:0", "[::1]:80"] {
            assert_eq!(read(good).unwrap().get().to_string(), good);
        }
        for (bad, remedy) in [
            ("0.0.0.0:9464", "127.0.0.1:9464"),
            ("[::]:9464", "[::1]:9464"),
            ("192.168.1.4:1", "127.0.0.1:1"),
            ("localhost:9464", "127.0.0.1:9464"),
            ("127.0.0.1", "127.0.0.1:9464"),
            ("", "127.0.0.1:9464"),
        ] {
            let error = read(bad).unwrap_err().to_string();
            assert!(error.contains(remedy), "{bad}: {error}");
        }
    }
}
