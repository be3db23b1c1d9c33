//! Something that is on or off: what every device on an output line shares, whatever it switches (docs/outputs.md).
//!
//! [`policy`] decides and does nothing; [`Output`] does what was decided: on behalf of a verb, during a verb, between
//! verbs, and when nobody may drive it. Deciding, driving and noting it are one step without an await, so whoever
//! waits on an [`Output`] may be dropped at any moment; what is left open then is only whether the line and its contact
//! followed, and that is looked at next time.

pub mod check;
mod driver;
mod error;
pub mod interlock;
mod memory;
pub mod policy;
pub mod settings;
mod wire;

use std::sync::Arc;
use std::time::Duration;

pub use check::{BadOutputs, check_outputs};
pub use driver::{Drive, DriveError, Driver, Reading};
pub use error::OutputError;
pub use interlock::Interlocks;
pub use settings::{OutputSettings, OutputTable};
pub use wire::Wire;

use self::interlock::Member;
use self::memory::Memory;
use self::policy::{Decision, Hold, Policy, Standing, Wish};
use self::settings::{OnStart, OnStop};
use self::wire::Feedback;
use super::contact::Contact;
use super::duration::format_duration;
use super::gpio::Level;
use super::pwm::Percent;
use super::{Context, DeviceError, Hardware, VerbError};
use crate::clock::{BootTime, SharedClock};

/// The verb by which every output is switched off: it may always be done.
pub const OFF: &str = "off";
/// Between attempts to make an output safe whose line refuses.
const SAFE_AGAIN: Duration = Duration::from_secs(5);
/// How long the level for the stop may be put off by an interlock: with the longest feedback it is within what an owner
/// task waits for it ([`super::owner::SAFE_ALLOWANCE`]).
const STOP_WAIT: Duration = Duration::from_millis(2_500);

/// One output line that is ours, with everything that its settings ask for.
pub struct Output {
    device: String,
    wire: Arc<Wire>,
    feedback: Option<Feedback>,
    policy: Policy,
    on_stop: OnStop,
    group: Option<Member>,
    contact: Contact,
    memory: Option<Memory>,
    clock: SharedClock,
    /// How strong it is while it is on, as far as that can be told.
    strength: Percent,
    /// Whether it can be told.
    dims: bool,
    /// What was last asked for with [`Output::dim`]: for whoever then only switches on.
    dimmed: Percent,
    /// The line was driven and nobody has looked yet whether it followed.
    unverified: bool,
    /// The feedback once differed; stays until the agent starts again.
    latched: Option<String>,
    /// Making it safe failed; worth another attempt then.
    safe_again_at: Option<BootTime>,
    /// What the last decision was made on.
    seen: Seen,
}

/// What surrounds an output at a moment.
#[derive(Debug, Clone, Copy)]
struct Seen {
    now: BootTime,
    heard: BootTime,
    standing: Standing,
}

impl Output {
    /// Takes the line, with the level of its start from the first moment on, and the line of its feedback.
    ///
    /// # Errors
    /// No GPIO backend, or a line that cannot be had or read.
    pub fn open(
        device: &str,
        kind: &'static str,
        settings: &OutputSettings,
        hardware: &Hardware,
    ) -> Result<Self, DeviceError> {
        let clock = hardware.clock.clone();
        let memory = match (settings.on_start, &hardware.state_dir) {
            (OnStart::Last, Some(folder)) => Memory::open(folder, device, clock.boot_id())
                .inspect_err(|error| tracing::warn!(device, %error, "its last level can't be kept"))
                .ok(),
            _ => None,
        };
        let last = memory.as_ref().and_then(Memory::last);
        let (start, mut strength) = match settings.on_start {
            OnStart::Safe => (Wish::Safe, Percent::FULL),
            OnStart::On => (Wish::Be(Level::On), Percent::FULL),
            OnStart::Off => (Wish::Be(Level::Off), Percent::FULL),
            OnStart::Last => last.map_or((Wish::Safe, Percent::FULL), |(level, strength)| {
                (Wish::Be(level), strength)
            }),
        };
        let feedback = settings.feedback.as_ref();
        let feedback = feedback
            .map(|feedback| Feedback::open(device, kind, feedback, hardware))
            .transpose()?;
        let now = clock.now();
        let mut policy = Policy::new(settings.rules(), start, now);
        // Whoever has a group begins off: the others may be on still.
        let standing = match settings.interlock {
            Some(_) => Standing::Held,
            None => Standing::Free,
        };
        let seen = Seen {
            now,
            heard: hardware.contact.last(),
            standing,
        };
        let level = policy.decide(now, seen.heard, standing).level;
        policy.driven(level, now);
        if policy.is_lost() {
            strength = Percent::FULL;
        }
        let driver = hardware.drive(device, kind, &settings.drive, level, strength)?;
        let backend = hardware.backend_of(&settings.drive);
        tracing::info!(device, line = driver.describe(), %level, backend, "{kind} opened");
        let wire = Arc::new(Wire::new(device, kind, driver));
        // A line that cannot be read is found out now rather than at the first command. One that reads
        // differently may only be slow, and so may its contact; tending it will tell.
        let followed =
            wire.read()?.is(level, strength) && feedback.as_ref().is_none_or(|feedback| feedback.is(level));
        let group = hardware.interlocks.join(device, settings);
        if let Some(group) = group.as_ref().filter(|_| followed) {
            group.release(clock.now());
        }
        Ok(Output {
            device: device.to_owned(),
            wire,
            feedback,
            policy,
            on_stop: settings.on_stop,
            group,
            contact: hardware.contact.clone(),
            memory,
            clock,
            strength,
            dims: settings.drive.pwm().is_some(),
            dimmed: strength,
            unverified: !followed,
            latched: None,
            safe_again_at: None,
            seen,
        })
    }

    /// The line, for who only reads it.
    pub fn wire(&self) -> &Arc<Wire> {
        &self.wire
    }

    /// The feedback differed once, so no verb may switch it until the agent starts again: why.
    pub fn latched(&self) -> Option<String> {
        self.latched.clone()
    }

    /// Switches on behalf of a verb, if the verb and the output's own rules let it; waits for `min_off` and the dead
    /// time of its group. The moment from which on the level was there.
    ///
    /// # Errors
    /// The verb has to stop, the rules say otherwise ([`VerbError::Overruled`]), or the line does not follow.
    pub async fn switch(&mut self, level: Level, context: &Context) -> Result<BootTime, VerbError> {
        self.switch_to(level, self.dimmed, context).await
    }

    /// The same, with how strong it is from now on while a verb has it on; 0 is off.
    ///
    /// # Errors
    /// As [`Output::switch`].
    pub async fn dim(&mut self, percent: Percent, context: &Context) -> Result<(), VerbError> {
        if percent == Percent::NONE {
            return self.switch(Level::Off, context).await.map(drop);
        }
        self.switch_to(Level::On, percent, context).await?;
        self.dimmed = percent;
        Ok(())
    }

    /// How strong it was driven, off being 0; `None` where there is nothing between off and on.
    pub fn driven(&self) -> Option<Percent> {
        self.dims
            .then(|| driver::share(self.policy.level(), self.strength))
    }

    async fn switch_to(
        &mut self,
        level: Level,
        strength: Percent,
        context: &Context,
    ) -> Result<BootTime, VerbError> {
        context.check()?;
        self.step(false)?;
        if self.unverified {
            self.verified(context).await?;
        }
        if self.policy.is_lost() {
            return Err(self.lost());
        }
        let before = (self.policy.wish(), self.strength);
        self.policy.ask(Wish::Be(level));
        self.strength = strength;
        loop {
            let decision = self.step(true)?;
            let at = self.seen.now;
            if self.policy.is_lost() {
                return Err(self.lost());
            }
            if self.policy.level() == level {
                self.verified(context).await?;
                return Ok(at);
            }
            if decision.hold != Some(Hold::Time) {
                self.policy.ask(before.0);
                self.strength = before.1;
                return Err(self.overruled(self.held_by()));
            }
            self.wait(&decision, None, context).await?;
            // It has not been driven: whoever let it begin is asked again.
            if let Err(late) = context.check_beginning() {
                self.policy.ask(before.0);
                self.strength = before.1;
                return Err(late);
            }
        }
    }

    /// Waits until `deadline` while the output is on; its own rules go on meanwhile.
    ///
    /// # Errors
    /// The verb has to stop, or the rules have switched it off ([`VerbError::Overruled`]).
    pub async fn stay_on(&mut self, deadline: BootTime, context: &Context) -> Result<(), VerbError> {
        loop {
            context.check()?;
            if self.clock.now() >= deadline {
                return Ok(());
            }
            let decision = self.step(false)?;
            if self.policy.is_lost() {
                self.verified(context).await?;
                return Err(self.lost());
            }
            if self.policy.level() == Level::Off {
                self.verified(context).await?;
                let max_on = self.policy.rules().max_on.unwrap_or_default();
                let reason = format!(
                    "it was on for {}, the longest it may (max_on of this device)",
                    format_duration(max_on)
                );
                return Err(self.overruled(reason));
            }
            self.wait(&decision, Some(deadline), context).await?;
        }
    }

    /// Follows its own rules until something else comes. Returns when making it safe is worth another attempt.
    ///
    /// # Errors
    /// The line or its contact does not follow.
    pub async fn tend(&mut self) -> Result<(), DeviceError> {
        if let Some(at) = self.safe_again_at {
            self.clock.sleep_until(at).await;
            self.safe_again_at = None;
            return Ok(());
        }
        loop {
            let decision = self.step(false)?;
            if self.unverified {
                self.verify().await?;
                continue;
            }
            self.until(&decision, None).await;
        }
    }

    /// Drives the safe level, as far as its interlock lets it, and looks whether it is there.
    ///
    /// # Errors
    /// It is not there.
    pub async fn make_safe(&mut self) -> Result<(), DeviceError> {
        self.policy.ask(Wish::Safe);
        self.strength = Percent::FULL;
        self.safe_again_at = Some(self.clock.now() + SAFE_AGAIN);
        self.step(true)?;
        self.verify().await?;
        self.safe_again_at = None;
        Ok(())
    }

    /// Drives the level for the stop of the agent.
    ///
    /// # Errors
    /// It is not there.
    pub async fn stop(&mut self) -> Result<(), DeviceError> {
        // What it was while the agent ran is what the next start may ask for.
        self.memory = None;
        let level = match self.on_stop {
            OnStop::Safe => return self.make_safe().await,
            OnStop::Hold => return self.verify().await,
            OnStop::On => Level::On,
            OnStop::Off => Level::Off,
        };
        self.policy.ask(Wish::Be(level));
        self.strength = Percent::FULL;
        let deadline = self.clock.now() + STOP_WAIT;
        loop {
            let decision = self.step(true)?;
            if self.policy.level() == level || self.clock.now() >= deadline {
                self.verify().await?;
                break;
            }
            self.until(&decision, Some(deadline)).await;
        }
        if self.policy.level() == level {
            return Ok(());
        }
        Err(self.failed(OutputError::StopHeld {
            reason: self.held_by(),
        }))
    }

    /// Does what the rules say now; `again` drives the line also if it should have that level already. Decided, driven
    /// and noted without an await: nobody can be dropped half way.
    fn step(&mut self, again: bool) -> Result<Decision, DeviceError> {
        let mut again = again;
        loop {
            let now = self.clock.now();
            let standing = self
                .group
                .as_ref()
                .map_or(Standing::Free, |group| group.standing(now));
            let heard = self.contact.last();
            self.seen = Seen { now, heard, standing };
            let was_lost = self.policy.is_lost();
            let decision = self.policy.decide(now, heard, standing);
            if self.policy.is_lost() && !was_lost && self.strength != Percent::FULL {
                // What the loss asks for is on or off, and no dimmer than that.
                self.strength = Percent::FULL;
                again = true;
            }
            if decision.level == self.policy.level() && !again {
                return Ok(decision);
            }
            again = false;
            if decision.level == Level::On {
                if self.group.as_ref().is_some_and(|group| !group.claim(now)) {
                    // Another one was faster; the next look sees it.
                    continue;
                }
                self.policy.driven(Level::On, now);
            }
            self.unverified = true;
            self.wire.set(decision.level, self.strength)?;
            if decision.level == Level::Off {
                self.policy.driven(Level::Off, self.clock.now());
            }
            self.remember();
        }
    }

    fn remember(&mut self) {
        let (level, strength) = (self.policy.level(), self.strength);
        let noted = self.memory.as_mut();
        let noted = noted.map_or(Ok(()), |memory| memory.note(level, strength));
        if let Err(error) = noted {
            tracing::warn!(device = self.device, %error, "its last level can't be kept any more");
            self.memory = None;
        }
    }

    /// Looks whether the line and its contact are what was driven. What is surely off gives its group back.
    async fn verify(&mut self) -> Result<(), DeviceError> {
        let level = self.policy.level();
        self.wire.verify(level, self.strength, &self.clock).await?;
        if let Some(feedback) = &self.feedback
            && let Err(error) = feedback.verify(level, &*self.clock).await
        {
            let error = self.failed(error);
            self.latched.get_or_insert_with(|| error.to_string());
            self.unverified = false;
            return Err(error);
        }
        self.unverified = false;
        if let Some(group) = self.group.as_ref().filter(|_| level == Level::Off) {
            group.release(self.clock.now());
        }
        Ok(())
    }

    /// The same for a verb, which may have to stop meanwhile.
    async fn verified(&mut self, context: &Context) -> Result<(), VerbError> {
        tokio::select! {
            biased;
            result = self.verify() => Ok(result?),
            reason = context.cancellation().cancelled() => Err(VerbError::Cancelled { reason: reason.to_string() }),
        }
    }

    /// Waits until the rules are worth another look, at most until `deadline`.
    async fn until(&self, decision: &Decision, deadline: Option<BootTime>) {
        let wake = match (decision.wake, deadline) {
            (Some(wake), Some(deadline)) => Some(wake.min(deadline)),
            (wake, deadline) => wake.or(deadline),
        };
        let alarm = async {
            match wake {
                Some(wake) => self.clock.sleep_until(wake).await,
                None => std::future::pending().await,
            }
        };
        let group = async {
            match &self.group {
                // Only who waits for it needs to know.
                Some(group) if decision.hold.is_some() => {
                    group.changed_from(self.seen.standing, self.seen.now).await;
                }
                _ => std::future::pending().await,
            }
        };
        let word = async {
            if self.policy.is_lost() {
                self.contact.heard_since(self.seen.heard).await;
            } else {
                std::future::pending().await
            }
        };
        tokio::select! {
            biased;
            () = alarm => {}
            () = group => {}
            () = word => {}
        }
    }

    /// The same for a verb, which may have to stop meanwhile.
    async fn wait(
        &self,
        decision: &Decision,
        deadline: Option<BootTime>,
        context: &Context,
    ) -> Result<(), VerbError> {
        let end = context.end().map(|(at, _)| at);
        let deadline = match (deadline, end) {
            (Some(deadline), Some(end)) => Some(deadline.min(end)),
            (deadline, end) => deadline.or(end),
        };
        tokio::select! {
            biased;
            _ = context.cancellation().cancelled() => {}
            () = self.until(decision, deadline) => {}
        }
        context.check()
    }

    fn failed(&self, cause: OutputError) -> DeviceError {
        DeviceError::Output {
            device: self.device.clone(),
            cause,
        }
    }

    fn overruled(&self, reason: String) -> VerbError {
        VerbError::Overruled {
            device: self.device.clone(),
            reason,
        }
    }

    fn lost(&self) -> VerbError {
        let after = self
            .policy
            .rules()
            .lost
            .map_or(Duration::ZERO, |(_, after)| after);
        self.overruled(format!(
            "the server was not heard from for {}, so it is {} (on_lost_server of this device)",
            format_duration(after),
            self.policy.level()
        ))
    }

    fn held_by(&self) -> String {
        match self.group.as_ref().and_then(Member::other) {
            Some(other) => format!(
                "{other} is on or not surely off, and of their interlock at most one may be on: switch that off first"
            ),
            None => "min_off or the dead time of its interlock is not over".to_owned(),
        }
    }
}
