//! What the agent's lanes share: the clock, the journal, what is known of the server's clock, and which devices are free.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::answers::is_about_membership;
use super::journal::{Journal, Moment, Record};
use super::keeper::{Gone, Keeper};
use super::metrics::Metrics;
use super::server_clock::{Exchange, ServerClock, Stamp};
use crate::client::{ClientError, Stamps, Timed};
use crate::clock::{BootTime, SharedClock};
use crate::device::Contact;
use crate::watch::{Receiver, Watched};

/// How often the journal is told the server's time; it keeps about one a day.
const GOOD_TIME_EVERY: Duration = Duration::from_secs(3600);

/// What the lanes share.
pub struct Shared {
    /// The clock by which everything is decided.
    pub clock: SharedClock,
    /// The journal.
    pub keeper: Keeper,
    /// When the server last answered us.
    pub contact: Contact,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    boot_id: String,
    state: Mutex<State>,
    /// Rises whenever a lane lets a device go.
    freed: Watched<u64>,
}

struct State {
    server_clock: ServerClock,
    good_time_due: BootTime,
}

impl Shared {
    /// Nothing is known of the server yet.
    pub fn new(clock: SharedClock, keeper: Keeper, contact: Contact) -> Arc<Self> {
        Arc::new(Shared {
            boot_id: clock.boot_id(),
            state: Mutex::new(State {
                server_clock: ServerClock::new(),
                good_time_due: clock.now(),
            }),
            freed: Watched::new(0),
            clock,
            keeper,
            contact,
            metrics: Arc::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A holder never panics half way through a change that matters.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Now, in every clock.
    pub fn moment(&self) -> Moment {
        Moment::of(&*self.clock)
    }

    /// Whether a moment counts in the boot in which we run.
    pub fn is_this_boot(&self, moment: &Moment) -> bool {
        moment.boot_id == self.boot_id
    }

    /// Looks at or changes what is known of the server's clock.
    pub fn server_clock<T>(&self, f: impl FnOnce(&mut ServerClock) -> T) -> T {
        f(&mut self.state().server_clock)
    }

    /// Learns from the answer to a request that only members are answered: that the server is there for us, and what its
    /// clock shows.
    pub fn hear<T>(&self, answer: &Result<Timed<T>, ClientError>) -> Option<(Exchange, Stamp)> {
        let stamps = match answer {
            Ok(timed) => Some(timed.stamps),
            Err(error) if is_about_membership(error) => None,
            // Refused as one of us.
            Err(ClientError::Refused(refused)) => Some(refused.stamps),
            Err(ClientError::NothingToAssign(stamps)) => Some(*stamps),
            Err(_) => None,
        };
        if let Some(stamps) = stamps {
            self.contact.heard(stamps.sent_at);
        }
        self.observe(answer)
    }

    /// Learns from an answer what the server's clock shows, and says what that is.
    pub fn observe<T>(&self, answer: &Result<Timed<T>, ClientError>) -> Option<(Exchange, Stamp)> {
        let stamps = match answer {
            Ok(timed) => Some(timed.stamps),
            // A bad reply's clock may be anybody's.
            Err(ClientError::BadReply { .. }) => None,
            Err(error) => error.stamps(),
        };
        let stamps = stamps?;
        let (exchange, stamp) = (exchange(&stamps), stamp(&stamps)?);
        let now = self.clock.now();
        let mut state = self.state();
        let stepped = state.server_clock.observe(exchange, stamp);
        let due = now >= state.good_time_due;
        if due {
            state.good_time_due = now + GOOD_TIME_EVERY;
        }
        drop(state);
        if stepped {
            tracing::warn!("the server's clock was stepped");
        }
        if due {
            let wall = stamp.earliest();
            self.keeper.post(move |journal| {
                let _ = journal.good_time(wall);
            });
        }
        Some((exchange, stamp))
    }

    /// Does something to the journal that ends with a sync, and counts what that wrote.
    ///
    /// # Errors
    /// [`Gone`].
    pub async fn durably<T: Send + 'static>(
        &self,
        task: impl FnOnce(&mut Journal) -> T + Send + 'static,
    ) -> Result<T, Gone> {
        let metrics = self.metrics.clone();
        let counted = move |journal: &mut Journal| {
            let done = task(journal);
            metrics.journal_has_written(journal.bytes_written());
            done
        };
        self.keeper.with(counted).await
    }

    /// Notes something that need not be durable at once: it rides along with what must be.
    pub fn note(&self, record: Record) {
        self.keeper.post(move |journal| {
            if let Err(error) = journal.append(record) {
                tracing::warn!(%error, "not kept in the journal");
            }
        });
    }

    /// Says that a device was let go.
    pub fn freed(&self) {
        self.freed.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Hears whenever a device is let go.
    pub fn frees(&self) -> Receiver<u64> {
        self.freed.subscribe()
    }
}

/// Sending and receiving, of an answer's stamps.
pub(super) fn exchange(stamps: &Stamps) -> Exchange {
    Exchange {
        sent_at: stamps.sent_at,
        received_at: stamps.received_at,
    }
}

fn stamp(stamps: &Stamps) -> Option<Stamp> {
    stamps
        .outpost_time
        .map(Stamp::exact)
        .or_else(|| stamps.date.map(Stamp::whole_second))
}
