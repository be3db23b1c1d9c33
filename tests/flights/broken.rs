//! The precautions as they are, and broken on purpose: the judge must notice each.
//!
//! Nothing of this is in the product. Each break is made around the real agent and the real device, which then do what
//! others would do that lacked the precaution.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use outpost::device::{Call, Context, Device, DeviceError, Helm, Live, Outcome, Probe, Verb, VerbError};

use super::stage::Stage;

/// A precaution that is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Broken {
    /// Nothing is remembered over a restart.
    NoJournal,
    /// It is armed and started without asking whether it is still ours.
    NoConfirm,
    /// Orders to come down are answered and not followed.
    DeafHelm,
    /// The way home is not counted: it flies as if the lease never ended.
    EndlessLease,
}

impl Broken {
    /// All of them.
    pub const ALL: [Broken; 4] = [
        Broken::NoJournal,
        Broken::NoConfirm,
        Broken::DeafHelm,
        Broken::EndlessLease,
    ];
}

/// A real device, watched from outside: which verb of which process is begun. And broken, where that is wanted.
pub struct Watched<D> {
    pub device: D,
    pub dock: usize,
    pub stage: Stage,
    pub broken: Option<Broken>,
}

/// Says that it is done.
struct Deaf;

#[async_trait]
impl Helm for Deaf {
    async fn steer(&self, _: &Call, _: &Context) -> Option<Result<Outcome, VerbError>> {
        Some(Ok(Outcome::new()))
    }
}

#[async_trait]
impl<D: Device> Device for Watched<D> {
    fn name(&self) -> &str {
        self.device.name()
    }

    fn kind(&self) -> &'static str {
        self.device.kind()
    }

    fn verbs(&self) -> &[Verb] {
        self.device.verbs()
    }

    fn time_to_safe(&self) -> Duration {
        self.device.time_to_safe()
    }

    fn probe(&self) -> Option<Arc<dyn Probe>> {
        self.device.probe()
    }

    fn helm(&self) -> Option<Arc<dyn Helm>> {
        match self.broken {
            Some(Broken::DeafHelm) => Some(Arc::new(Deaf)),
            _ => self.device.helm(),
        }
    }

    fn live(&self) -> Option<Arc<dyn Live>> {
        self.device.live()
    }

    async fn perform(&mut self, call: &Call, context: &Context) -> Result<Outcome, VerbError> {
        if call.verb == "dispatch" {
            self.stage.began(self.dock, context.process().unwrap_or_default());
        }
        if self.broken == Some(Broken::EndlessLease) {
            let never = context.now() + Duration::from_secs(3600);
            let context = context.clone().with_lease(Some(never));
            return self.device.perform(call, &context).await;
        }
        self.device.perform(call, context).await
    }

    async fn tend(&mut self) -> Result<(), DeviceError> {
        self.device.tend().await
    }

    fn latched(&self) -> Option<String> {
        self.device.latched()
    }

    fn is_local_output(&self) -> bool {
        self.device.is_local_output()
    }

    async fn make_safe(&mut self) -> Result<(), DeviceError> {
        self.device.make_safe().await
    }

    async fn stop(&mut self) -> Result<(), DeviceError> {
        self.device.stop().await
    }
}
