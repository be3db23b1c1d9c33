//! `slots = N`: several devices of one name, of which any does the next call.
//!
//! A device does one thing at a time; that stays so. N slots are N devices, each with its owner task
//! ([`super::super::owner`]), and this hands a call to one that is idle. A pool of one behaves as its device.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::super::{
    Call, Context, Device, DeviceError, DeviceHandle, Outcome, Running, Urgency, Verb, VerbError, lock, owner,
};
use crate::clock::SharedClock;

/// The way to all devices of one name: cheap to clone, usable from every task.
#[derive(Clone, Debug)]
pub struct Pool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    handles: Vec<DeviceHandle>,
    /// One permit for each handle.
    slots: Arc<Semaphore>,
    /// Handles that nobody holds a permit for.
    free: Mutex<Vec<usize>>,
}

/// The right to use one of the devices.
struct Slot {
    index: usize,
    shared: Arc<Shared>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Slot {
    fn drop(&mut self) {
        // Before the permit goes, so that whoever gets that finds a handle.
        lock(&self.shared.free).push(self.index);
    }
}

impl Pool {
    /// One device by itself.
    pub fn of_one(handle: DeviceHandle) -> Pool {
        Pool::of(vec![handle])
    }

    /// Several of one name, with the same verbs; at least one.
    pub fn of(handles: Vec<DeviceHandle>) -> Pool {
        let count = handles.len();
        Pool {
            shared: Arc::new(Shared {
                handles,
                slots: Arc::new(Semaphore::new(count)),
                free: Mutex::new((0..count).rev().collect()),
            }),
        }
    }

    /// Starts an owner task for each. They must be of one name and have the same verbs. `None`: there is none.
    pub fn spawn(devices: Vec<Box<dyn Device>>, clock: &SharedClock) -> Option<Pool> {
        let handles: Vec<DeviceHandle> = devices
            .into_iter()
            .map(|device| owner::spawn(device, clock.clone()))
            .collect();
        (!handles.is_empty()).then(|| Pool::of(handles))
    }

    /// Every device.
    pub fn handles(&self) -> &[DeviceHandle] {
        &self.shared.handles
    }

    /// The devices' name.
    pub fn name(&self) -> &str {
        self.shared.handles[0].name()
    }

    /// What the devices are.
    pub fn kind(&self) -> &'static str {
        self.shared.handles[0].kind()
    }

    /// What the devices can do.
    pub fn verbs(&self) -> &[Verb] {
        self.shared.handles[0].verbs()
    }

    /// Whether every device is busy.
    pub fn is_busy(&self) -> bool {
        self.shared.slots.available_permits() == 0 || self.shared.handles.iter().all(DeviceHandle::is_busy)
    }

    /// What runs now.
    pub fn running(&self) -> Vec<Running> {
        self.shared
            .handles
            .iter()
            .filter_map(DeviceHandle::running)
            .collect()
    }

    /// The longest that making one of them safe takes.
    pub fn time_to_safe(&self) -> Duration {
        let times = self.shared.handles.iter().map(DeviceHandle::time_to_safe);
        times.max().unwrap_or_default()
    }

    /// Performs a verb on a device that is idle, waiting for one at most [`Context::queue_wait`].
    ///
    /// # Errors
    /// Every [`VerbError`], as [`DeviceHandle::perform`].
    pub async fn perform(&self, call: Call, context: Context) -> Result<Outcome, VerbError> {
        let handles = &self.shared.handles;
        // One device says everything itself; queries and preempting verbs are not for one slot out of several.
        if handles.len() == 1 || handles[0].verb(&call.verb)?.urgency != Urgency::Work {
            return handles[0].perform(call, context).await;
        }
        context.check()?;
        let slot = self.slot(&context).await?;
        handles[slot.index].perform(call, context).await
    }

    async fn slot(&self, context: &Context) -> Result<Slot, VerbError> {
        let patience = context.now() + context.queue_wait();
        let permit = tokio::select! {
            biased;
            permit = self.shared.slots.clone().acquire_owned() => permit.ok(),
            reason = context.cancellation().cancelled() => {
                return Err(VerbError::Cancelled { reason: reason.to_string() });
            }
            limit = context.ended() => return Err(limit.error()),
            () = context.clock().sleep_until(patience) => None,
        };
        let busy = || {
            let running: Vec<String> = self.running().iter().map(ToString::to_string).collect();
            VerbError::Busy {
                device: self.name().to_owned(),
                running: match running.is_empty() {
                    true => "other processes".to_owned(),
                    false => running.join(", "),
                },
            }
        };
        let permit = permit.ok_or_else(busy)?;
        let index = {
            let mut free = lock(&self.shared.free);
            // One whose caller went away may still be stopping: rather another.
            let idle = free
                .iter()
                .rposition(|&index| !self.shared.handles[index].is_busy());
            match idle {
                Some(place) => free.swap_remove(place),
                None => free.pop().ok_or_else(busy)?,
            }
        };
        Ok(Slot {
            index,
            shared: self.shared.clone(),
            _permit: permit,
        })
    }

    /// Makes every device safe.
    ///
    /// # Errors
    /// The first that is not safe; the others are seen to all the same.
    pub async fn make_safe(&self) -> Result<(), DeviceError> {
        let all = self.shared.handles.iter().map(DeviceHandle::make_safe);
        futures_util::future::join_all(all).await.into_iter().collect()
    }

    /// Shuts every device down.
    ///
    /// # Errors
    /// As [`Pool::make_safe`].
    pub async fn shutdown(&self) -> Result<(), DeviceError> {
        let all = self.shared.handles.iter().map(DeviceHandle::shutdown);
        futures_util::future::join_all(all).await.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, TestClock};
    use crate::device::builtin::Sleep;

    fn pool(count: usize, clock: &Arc<TestClock>) -> Pool {
        let devices = (0..count).map(|_| Box::new(Sleep::new("sleep")) as Box<dyn Device>);
        let clock: SharedClock = clock.clone();
        Pool::spawn(devices.collect(), &clock).unwrap()
    }

    fn call(seconds: &str) -> Call {
        Call::new("sleep").arg(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn as_many_run_at_once_as_there_are_slots_and_one_more_is_refused() {
        let clock = TestClock::new(0);
        let pool = pool(2, &clock);
        let context = |process: &str| Context::new(clock.clone()).with_process(process);
        let (one, two, three) = tokio::join!(
            pool.perform(call("5"), context("p1")),
            pool.perform(call("5"), context("p2")),
            async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                assert!(pool.is_busy());
                pool.perform(call("5"), context("p3")).await
            }
        );
        assert!(one.is_ok() && two.is_ok());
        let text = three.unwrap_err().to_string();
        assert!(text.starts_with("busy with p1, p2"), "{text}");
        assert_eq!(clock.now().as_nanos(), 5_000_000_000, "side by side");
        assert!(!pool.is_busy());
    }

    #[tokio::test(start_paused = true)]
    async fn who_may_wait_gets_the_first_slot_that_is_free() {
        let clock = TestClock::new(0);
        let pool = pool(2, &clock);
        let context = || Context::new(clock.clone()).with_queue_wait(Duration::from_secs(60));
        let (one, two, three) = tokio::join!(
            pool.perform(call("5"), context()),
            pool.perform(call("2"), context()),
            pool.perform(call("2"), context()),
        );
        assert!(one.is_ok() && two.is_ok() && three.is_ok());
        assert_eq!(clock.now().as_nanos(), 5_000_000_000, "2 + 2 beside 5");
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_goes_away_gives_its_slot_back() {
        let clock = TestClock::new(0);
        let pool = pool(2, &clock);
        let context = || Context::new(clock.clone());
        for _ in 0..5 {
            let impatient = tokio::time::timeout(Duration::from_secs(1), pool.perform(call("60"), context()));
            assert!(impatient.await.is_err());
        }
        pool.perform(call("1"), context()).await.unwrap();
        assert_eq!(lock(&pool.shared.free).len(), 2);
        pool.shutdown().await.unwrap();
        assert!(matches!(
            pool.perform(call("1"), context()).await,
            Err(VerbError::Gone { .. })
        ));
    }
}
