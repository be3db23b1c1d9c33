//! A new configuration while the agent runs: what changed is closed and opened again, everything else goes on.
//!
//! Only devices, functions and `agent.max_age` can change so; for the rest there is the restart. A reload happens as a
//! whole or not at all:
//!
//! 1. the new configuration is read and checked; one that can't be used changes nothing;
//! 2. every device that changes or goes is reserved; if one is busy, with a verb or by itself, the reload is refused;
//! 3. each of them goes safe on its *old* line, and only when all are safe are they released (docs/fence.md, 7);
//! 4. what is new or changed is opened; if one can't be, the old devices are opened again.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::mpsc;

use super::devices::{Devices, Opened};
use super::health::Health;
use super::safe::SafeList;
use super::service::StartError;
use super::settings::Settings;
use crate::device::{Cancellation, DeviceError, DeviceTable, VerbError};
use crate::notify::Notifier;

/// Why the old configuration stays.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The new one can't be used.
    #[error("{0}")]
    Unusable(String),
    /// Something changed that only a start reads.
    #[error("{} changed: restart for that (systemctl restart outpost-agent)", keys.join(", "))]
    Restart {
        /// Sections and keys.
        keys: Vec<&'static str>,
    },
    /// A device that changes has something to do.
    #[error("{device} changed and is busy with {running}: reload again when it is done")]
    Busy {
        /// The device.
        device: String,
        /// What runs.
        running: String,
    },
    /// A device that changes can't be made safe, so it keeps its line.
    #[error("{0}; it keeps its line. Other devices that changed were made safe, too")]
    NotSafe(#[source] DeviceError),
    /// A new device can't be opened.
    #[error("{cause}; the devices of before are open again{}", lost(closed))]
    Open {
        /// Why.
        cause: Box<StartError>,
        /// Devices of before that could not be opened again, with the reasons.
        closed: Vec<String>,
    },
}

fn lost(closed: &[String]) -> String {
    match closed {
        [] => String::new(),
        closed => format!(", except: {}", closed.join("; ")),
    }
}

/// What differs between two configurations.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// Devices to close, since they go or change.
    pub close: Vec<String>,
    /// Devices to open, since they are new or changed.
    pub open: BTreeMap<String, DeviceTable>,
}

impl Plan {
    /// From the configuration in force to a new one.
    ///
    /// # Errors
    /// [`ReloadError::Restart`]
    pub fn between(old: &Settings, new: &Settings) -> Result<Self, ReloadError> {
        // A new section has to say here what it wants.
        let Settings {
            server,
            colony,
            runtime,
            agent,
            gpio,
            safety,
            metrics,
            devices,
            functions: _,
            credentials,
        } = new;
        // Read for every function, so it may change.
        let mut agent = agent.clone();
        agent.max_age = old.agent.max_age;
        let keys: Vec<_> = [
            ("[server]", *server != old.server),
            ("[colony]", *colony != old.colony),
            ("[runtime]", *runtime != old.runtime),
            ("[agent] (other than max_age)", agent != old.agent),
            ("[gpio]", *gpio != old.gpio),
            ("[safety]", *safety != old.safety),
            ("[metrics]", *metrics != old.metrics),
            ("an interlock", interlocks(new) != interlocks(old)),
            ("the credentials directory", *credentials != old.credentials),
        ]
        .into_iter()
        .filter_map(|(key, changed)| changed.then_some(key))
        .collect();
        if !keys.is_empty() {
            return Err(ReloadError::Restart { keys });
        }
        let differs = |name: &String, device: &DeviceTable, other: &BTreeMap<String, DeviceTable>| {
            other.get(name) != Some(device)
        };
        let close = old.devices.iter();
        let open = devices.iter();
        Ok(Plan {
            close: close
                .filter(|(name, device)| differs(name, device, devices))
                .map(|(name, _)| name.clone())
                .collect(),
            open: open
                .filter(|(name, device)| differs(name, device, &old.devices))
                .map(|(name, device)| (name.clone(), device.clone()))
                .collect(),
        })
    }
}

/// Which outputs must not be on together, and how long from one to the next. Those that stay open keep to the groups of the
/// start.
fn interlocks(settings: &Settings) -> Vec<(&String, &String, Duration)> {
    let outputs = settings
        .kinds()
        .filter_map(|(name, kind)| Some((name, kind.output()?)));
    outputs
        .filter_map(|(name, output)| Some((name, output.interlock.as_ref()?, output.interlock_dead_time)))
        .collect()
}

/// Where reloads come from: somebody asks, and then the configuration is read again.
pub struct Reloads {
    requests: mpsc::Receiver<()>,
    read: Box<dyn FnMut() -> Result<Settings, String> + Send>,
}

impl Reloads {
    /// Every message in `requests` is one; `read` reads and checks the configuration.
    pub fn new(
        requests: mpsc::Receiver<()>,
        read: impl FnMut() -> Result<Settings, String> + Send + 'static,
    ) -> Self {
        Reloads {
            requests,
            read: Box::new(read),
        }
    }

    /// For an agent whose configuration stays.
    pub fn never() -> Self {
        let (_, requests) = mpsc::channel(1);
        Reloads::new(requests, || Err("there is nothing to read".to_owned()))
    }

    /// Reloads whenever it is asked to, until `stop`; a reload that has begun is finished.
    pub(super) async fn serve(
        &mut self,
        devices: &mut Devices,
        current: &mut Settings,
        notifier: &Notifier,
        health: &Health,
        stop: &Cancellation,
    ) {
        loop {
            tokio::select! {
                biased;
                _ = stop.cancelled() => return,
                request = self.requests.recv() => if request.is_none() {
                    stop.cancelled().await;
                    return;
                }
            }
            notifier.reloading();
            let read = (self.read)().map_err(ReloadError::Unusable);
            let outcome = match read {
                Ok(new) => devices.reload(current, new).await,
                Err(error) => Err(error),
            };
            let outcome = outcome.map_err(|error| error.to_string());
            if let Err(error) = &outcome {
                tracing::error!("the configuration stays as it was: {error}");
            }
            health.reloaded(outcome);
            notifier.ready();
        }
    }
}

impl Devices {
    /// Goes from the configuration in force to a checked new one, which is then in force.
    ///
    /// # Errors
    /// [`ReloadError`]: the one of before stays.
    pub async fn reload(&mut self, current: &mut Settings, new: Settings) -> Result<(), ReloadError> {
        let plan = Plan::between(current, &new)?;
        let mut reserved = Vec::new();
        for name in &plan.close {
            // One that an unlucky reload could not open again is not there.
            let Some(opened) = self.configured.get(name) else {
                continue;
            };
            for handle in opened.device.handles() {
                match handle.reserve("a reload of its configuration") {
                    Ok(reservation) => {
                        reserved.push(reservation);
                        // No verb, and yet not to be interrupted: an aircraft on its way home.
                        if let Some(running) = handle.under_way() {
                            let device = name.clone();
                            return Err(ReloadError::Busy { device, running });
                        }
                    }
                    Err(VerbError::Busy { device, running }) => {
                        return Err(ReloadError::Busy { device, running });
                    }
                    // Its task has ended: nothing of it is left to wait for.
                    Err(_) => {}
                }
            }
        }
        for name in &plan.close {
            if let Some(opened) = self.configured.get(name) {
                let safe = opened.device.make_safe().await;
                match safe {
                    Ok(()) | Err(DeviceError::Gone { .. }) => {}
                    Err(error) => return Err(ReloadError::NotSafe(error)),
                }
            }
        }
        let closed = self.close(plan.close.iter()).await;
        drop(reserved);
        match self.open_all(&plan.open, &new) {
            Ok(()) => {
                let opened: Vec<_> = plan.open.keys().collect();
                tracing::info!(closed = ?plan.close, ?opened, "the configuration was reloaded");
                *current = new;
                self.keep_safe_list(current);
                Ok(())
            }
            Err(cause) => Err(self.back(current, &plan, closed, cause).await),
        }
    }

    /// Keeps the list by which `outpost-agent safe` drives the outputs once the agent can't.
    pub(super) fn keep_safe_list(&self, settings: &Settings) {
        if let Err(error) = SafeList::of(settings).store(&settings.agent.state_dir) {
            tracing::error!(%error, "can't keep the list of outputs: `outpost-agent safe` can't make them safe after a crash");
        }
    }

    /// Closes devices; they are safe afterwards, as far as they can be. Gives back how they were configured.
    async fn close(&mut self, names: impl Iterator<Item = &String>) -> BTreeMap<String, DeviceTable> {
        let mut closed = BTreeMap::new();
        for name in names {
            let Some(Opened { device, table, .. }) = self.configured.remove(name) else {
                continue;
            };
            self.enrol();
            if let Err(error) = device.shutdown().await {
                tracing::error!(device = name, %error, "not safe");
            }
            closed.insert(name.clone(), table);
        }
        closed
    }

    fn open_all(
        &mut self,
        open: &BTreeMap<String, DeviceTable>,
        settings: &Settings,
    ) -> Result<(), StartError> {
        for (name, device) in open {
            let opened = self.opener.start(name, device)?;
            self.configured.insert(name.clone(), opened);
        }
        Ok(self.publish(settings)?)
    }

    /// Undoes a reload that could not open what it should.
    async fn back(
        &mut self,
        current: &Settings,
        plan: &Plan,
        before: BTreeMap<String, DeviceTable>,
        cause: StartError,
    ) -> ReloadError {
        self.close(plan.open.keys()).await;
        let mut closed = Vec::new();
        for (name, table) in before {
            match self.opener.start(&name, &table) {
                Ok(opened) => {
                    self.configured.insert(name, opened);
                }
                Err(error) => closed.push(format!("{name} ({error})")),
            }
        }
        let mut remaining = current.clone();
        // Names for what could not be opened again would stand for nothing.
        while let Err(error) = self.publish(&remaining) {
            let (super::registry::BadFunction::Taken { name }
            | super::registry::BadFunction::NoTarget { name, .. }) = &error;
            if remaining.functions.remove(name).is_none() {
                break;
            }
        }
        ReloadError::Open {
            cause: Box::new(cause),
            closed,
        }
    }
}

#[cfg(test)]
mod tests;
