//! The service manager's watchdog: fed only when every device's owner task gave a sign of life within its deadline.
//!
//! A busy device answers as an idle one does, so a verb of twenty minutes is no reason to starve; a task that hangs, and a
//! loop that stands still, are. Half the manager's limit lies between two rounds. A round that failed is followed by the next
//! at once, so that who was only slow gets the rest of the limit.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::health::Health;
use crate::clock::{BootTime, SharedClock};
use crate::device::DeviceHandle;
use crate::notify::Notifier;

/// How long a task may take to answer. It has nothing else to do than to be scheduled.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// The devices that owe a sign of life now. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Roster {
    devices: Arc<Mutex<Vec<DeviceHandle>>>,
}

impl Roster {
    /// Replaces them all.
    pub fn set(&self, devices: Vec<DeviceHandle>) {
        *self.devices.lock().unwrap_or_else(PoisonError::into_inner) = devices;
    }

    /// All of them now.
    pub fn devices(&self) -> Vec<DeviceHandle> {
        self.devices
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// What a round says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Everybody answered.
    Feed,
    /// Somebody may still answer.
    Wait,
    /// The deadline is over, and these did not answer in time.
    Starve(Vec<String>),
}

/// One round of questions, as a pure account: who was asked, who answered, until when it counts.
#[derive(Debug, Clone)]
pub struct Round {
    silent: BTreeSet<String>,
    deadline: BootTime,
}

impl Round {
    /// All of `devices` were asked; answers count before `deadline`.
    pub fn new(devices: impl IntoIterator<Item = String>, deadline: BootTime) -> Self {
        Round {
            silent: devices.into_iter().collect(),
            deadline,
        }
    }

    /// One answered.
    pub fn answered(&mut self, device: &str, now: BootTime) {
        if now <= self.deadline {
            self.silent.remove(device);
        }
    }

    /// Whether to feed.
    pub fn verdict(&self, now: BootTime) -> Verdict {
        if self.silent.is_empty() {
            Verdict::Feed
        } else if now < self.deadline {
            Verdict::Wait
        } else {
            Verdict::Starve(self.silent.iter().cloned().collect())
        }
    }
}

/// Feeds a watchdog that bites after `limit` without food; `None`: there is none, and nothing ever wakes up for it.
pub async fn feed(
    limit: Option<Duration>,
    roster: &Roster,
    notifier: &Notifier,
    health: &Health,
    clock: &SharedClock,
) -> Infallible {
    let Some(limit) = limit else {
        return std::future::pending().await;
    };
    let pause = limit / 2;
    let patience = ANSWER_WITHIN.min(pause / 2);
    let mut starving = false;
    loop {
        let began = clock.now();
        let devices = roster.devices();
        let busy_alone = |device: &DeviceHandle| Some((device.name().to_owned(), device.under_way()?));
        health.under_way(devices.iter().filter_map(busy_alone));
        match round(&devices, began + patience, clock).await {
            Verdict::Starve(silent) => {
                if !starving {
                    tracing::error!(
                        ?silent,
                        "devices give no sign of life: the watchdog is not fed until they do"
                    );
                }
                starving = true;
                health.silent(silent);
                // One whose task has ended says so at once.
                clock.sleep_until(began + patience).await;
            }
            Verdict::Feed | Verdict::Wait => {
                if std::mem::take(&mut starving) {
                    tracing::info!("all devices give signs of life again");
                    health.silent(Vec::new());
                }
                notifier.alive();
                clock.sleep_until(began + pause).await;
            }
        }
    }
}

/// Asks all at once and waits for the answers until the deadline. Never [`Verdict::Wait`].
pub(super) async fn round(devices: &[DeviceHandle], deadline: BootTime, clock: &SharedClock) -> Verdict {
    let mut round = Round::new(devices.iter().map(|device| device.name().to_owned()), deadline);
    let mut answers: FuturesUnordered<_> = devices
        .iter()
        .map(|device| async move { (device.name(), device.tick().await) })
        .collect();
    let mut over = clock.sleep_until(deadline);
    loop {
        match round.verdict(clock.now()) {
            Verdict::Wait => {}
            done => return done,
        }
        tokio::select! {
            biased;
            answer = answers.next(), if !answers.is_empty() => match answer {
                Some((device, Ok(()))) => round.answered(device, clock.now()),
                // Its task has ended, which it never does by itself.
                Some((_, Err(_))) | None => {}
            },
            () = &mut over => {}
        }
    }
}

#[cfg(test)]
mod tests;
