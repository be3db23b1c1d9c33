//! The ledger's time: deadlines in boot time, stamps that never go backwards.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::processes::seconds;
use super::{Change, Queue, Store, StoreError};
use crate::clock::{BootTime, SharedClock};
use crate::protocol::model::ProcessState;
use crate::protocol::time::Time;

/// Now, on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// What is written down and shown. Follows the wall clock forwards, never backwards.
    pub stamp: Time,
    /// What deadlines are counted in.
    pub boot: BootTime,
}

/// How far the clock had come: a moment and the boot it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// The moment.
    pub moment: Moment,
    /// The boot.
    pub boot_id: String,
}

/// The clock of one ledger.
///
/// A stamp is the later of the wall clock and the last stamp plus the boot time since. So a wall clock that is set back
/// leaves stamps running on at their own pace, and one that is set forward takes them along; deadlines notice neither.
pub struct LedgerClock {
    clock: SharedClock,
    boot_id: String,
    last: Mutex<Moment>,
}

impl LedgerClock {
    /// A clock that continues from where another one stopped.
    pub fn new(clock: SharedClock, from: Option<&Anchor>) -> Self {
        let boot_id = clock.boot_id();
        let boot = clock.now();
        let last = match from {
            // Stamps run on through a restart of the hub, but what happened between two boots nobody knows.
            Some(anchor) if same_boot(anchor, &boot_id, boot) => anchor.moment,
            Some(anchor) => Moment {
                stamp: anchor.moment.stamp,
                boot,
            },
            None => Moment {
                stamp: Time::from_unix_nanos(0),
                boot,
            },
        };
        LedgerClock {
            clock,
            boot_id,
            last: Mutex::new(last),
        }
    }

    /// Now.
    pub fn moment(&self) -> Moment {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // The wall first: a stamp then never lies after the moment that its deadline is counted from, and a client that
        // maps stamp + lease to its own clock errs on the early side.
        let wall = Time::from_unix_nanos(self.clock.wall_nanos());
        let boot = self.clock.now().max(last.boot);
        let running_on = last.stamp.plus(boot.saturating_since(last.boot));
        *last = Moment {
            stamp: wall.max(running_on),
            boot,
        };
        *last
    }

    /// Now, as it is stored.
    pub fn anchor(&self) -> Anchor {
        Anchor {
            moment: self.moment(),
            boot_id: self.boot_id.clone(),
        }
    }

    /// Done when boot time has reached `deadline`.
    pub fn sleep_until(&self, deadline: BootTime) -> crate::clock::Sleep<'_> {
        self.clock.sleep_until(deadline)
    }

    /// How far stamps run ahead of the wall clock, because that was set back.
    pub fn ahead_of_wall(&self) -> Duration {
        let stamp = self.moment().stamp;
        stamp
            .since(Time::from_unix_nanos(self.clock.wall_nanos()))
            .unwrap_or_default()
    }
}

fn same_boot(anchor: &Anchor, boot_id: &str, boot: BootTime) -> bool {
    anchor.boot_id == boot_id && boot >= anchor.moment.boot
}

/// Opens the clock of a store, and makes its deadlines those of this boot.
///
/// Within the same boot they are simply still valid. In another boot nobody knows how long the machine was off, least of
/// all its wall clock: running leases start again in full (requeued late, never early), and a wait lasts what was left of
/// it by the stamps, at most in full.
///
/// # Errors
/// Storage failed.
pub fn resume(store: &mut impl Store, clock: SharedClock) -> Result<LedgerClock, StoreError> {
    let anchor = store.anchor()?;
    let ledger_clock = LedgerClock::new(clock, anchor.as_ref());
    let now = ledger_clock.moment();
    let valid = anchor
        .as_ref()
        .is_some_and(|anchor| same_boot(anchor, &ledger_clock.boot_id, now.boot));
    if valid {
        return Ok(ledger_clock);
    }
    let records = store.with_deadlines()?;
    store.begin()?;
    for mut record in records {
        let spec = &record.process.spec;
        if record.process.state == ProcessState::Running && record.lease_due.is_some() {
            let lease = seconds(spec.max_exec_time);
            record.lease_due = Some(now.boot + lease);
            record.process.exec_deadline = now.stamp.plus(lease).rounded_to_micros();
        }
        if record.wait_due.is_some() {
            let left = record.process.wait_deadline.since(now.stamp).unwrap_or_default();
            record.wait_due = Some(now.boot + left.min(seconds(spec.max_wait_time)));
        }
        let change = Change::PutProcess {
            record: Box::new(record),
            queue: Queue::Stay,
        };
        if let Err(error) = store.write(&change) {
            store.rollback();
            return Err(error);
        }
    }
    store.commit(&ledger_clock.anchor())?;
    Ok(ledger_clock)
}
