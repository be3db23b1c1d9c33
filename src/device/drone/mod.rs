//! A drone behind an autopilot (ArduPilot or PX4) that speaks MAVLink 2 over a serial port, TCP or UDP.
//!
//! The mission runs in the autopilot, which keeps its own failsafes; nothing is steered from here. What flies is decided
//! before arming: the plan is read, checked against the limits, uploaded, read back and compared.
//!
//! ```text
//! a process's args and env --plan--> Plan --flight (pure: frame or time in, frames out)--> wire --link--> autopilot
//! ```
//!
//! | part | what it is |
//! | --- | --- |
//! | [`geo`] | positions, distances, polygons |
//! | [`plan`] | what is asked for, read and checked; what it will cost |
//! | [`wire`] | what is said and heard, in plain types and SI units |
//! | [`link`] | bytes, frames, signatures, ports |
//! | [`flight`] | one flight as a pure state machine |
//! | `cockpit` | link, vehicle and flight together, kept going by whoever waits |
//! | `panel` | what everybody may see, and how a flight is told to come home |
//!
//! The flight lives in the device and not in the verb: a verb that is stopped leaves behind a drone in the air. Making safe
//! tells it to come home and waits until the autopilot says that it does; the rest of the way it is tended. What each verb
//! does: docs/drone.md.

mod cockpit;
pub mod error;
pub mod flight;
pub mod geo;
pub mod link;
mod note;
mod panel;
pub mod plan;
pub mod settings;
mod verbs;
pub mod wire;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use self::cockpit::{Cockpit, Next};
pub use self::error::DroneError;
use self::flight::{End, Flight, Order, Setup, Summary};
use self::link::{Dial, Ends, Link, Signing, SigningKey, SystemDial};
use self::note::Note;
use self::panel::{Panel, order, status};
use self::plan::Plan;
pub use self::settings::DroneSettings;
use self::verbs::{DISPATCH, PREFLIGHT, STATUS, TIME_TO_SAFE};
use super::{
    Call, Confirmed, Context, Device, DeviceError, Hardware, Helm, Limit, Live, Outcome, Probe, Verb,
    VerbError,
};

/// Within the state directory: timestamps of MAVLink's signatures.
const SIGNING: &str = "mavlink";

/// A drone. See the module.
pub struct Drone {
    name: String,
    settings: Arc<DroneSettings>,
    verbs: Vec<Verb>,
    cockpit: Cockpit,
    panel: Arc<Panel>,
}

impl Drone {
    /// Takes up what a former life left in the air; the port is opened, and opened again, by itself.
    ///
    /// # Errors
    /// A signing key that can't be used, or whose timestamps can't be kept.
    pub fn open(name: &str, settings: &DroneSettings, hardware: &Hardware) -> Result<Self, DeviceError> {
        let failed = |cause: DroneError| DeviceError::Drone {
            device: name.to_owned(),
            cause: Box::new(cause),
        };
        let clock = hardware.clock.clone();
        let signing = signing(name, settings, hardware).map_err(failed)?;
        let settings = Arc::new(settings.clone());
        let dial: Arc<dyn Dial> = match &hardware.dial {
            Some(dial) => dial.clone(),
            None => Arc::new(SystemDial::new(clock.clone())),
        };
        let ends = Ends {
            us: settings.us,
            vehicle: settings.vehicle,
        };
        // Links of one machine need not be out of step with anybody.
        let link = Link::new(settings.address.clone(), ends, dial, clock.clone(), signing, 0);
        let note = hardware
            .state_dir
            .as_ref()
            .map(|folder| Note::of(folder, name, clock.boot_id()));
        let verbs = verbs::verbs(&settings);
        let panel = Panel::new(name, &verbs);
        let cockpit = Cockpit::new(name, settings.clone(), link, hardware, note, panel.clone());
        Ok(Drone {
            name: name.to_owned(),
            settings,
            verbs,
            cockpit,
            panel,
        })
    }

    /// Flies a plan, or tries whether it could be flown.
    async fn fly(&mut self, verb: &Verb, call: &Call, context: &Context) -> Result<Outcome, VerbError> {
        let plan = Plan::of(call).map_err(|error| verb.usage_error(&self.name, error.to_string()))?;
        if self.cockpit.is_busy() {
            return Err(self.overruled("a flight is still under way; look at its status".to_owned()));
        }
        if let Some(why) = self.forbidden(context).or_else(|| self.cockpit.missing()) {
            return Err(self.overruled(why));
        }
        let now = context.now();
        let setup = Setup {
            process: context.process().unwrap_or_default().to_owned(),
            plan,
            drone: (*self.settings).clone(),
            // A dry run's own longest time says nothing about a flight.
            end: context
                .end()
                .and_then(|(end, limit)| (limit == Limit::Lease).then_some(end)),
        };
        let flight = match &*verb.name {
            DISPATCH => Flight::dispatch(setup, now),
            _ => Flight::preflight(setup, now),
        };
        self.cockpit.begin(flight, context.clone());
        let mut told = 0;
        let mut asking: Option<Pin<Box<dyn Future<Output = Confirmed> + Send + '_>>> = None;
        let end = loop {
            let next = tokio::select! {
                biased;
                reason = context.cancellation().cancelled() => {
                    // It goes on without the verb: on its way home.
                    self.cockpit.order(Order::Stop(reason.to_string()));
                    return Err(VerbError::Cancelled { reason: reason.to_string() });
                }
                confirmed = answered(&mut asking) => {
                    self.cockpit.confirmed(confirmed);
                    continue;
                }
                // The server may take as long as a network does; the link is kept going meanwhile.
                next = self.cockpit.next() => next,
            };
            match next {
                Next::Confirm => asking = Some(Box::pin(context.confirm())),
                Next::Progress(text) => {
                    told += 1;
                    context.progress(&format!("progress.{told}"), &text);
                }
                Next::Over(end) => break end,
                Next::Obeyed => {}
            }
        };
        self.noted(&end);
        self.ended(end)
    }

    /// Why nothing may be flown just now, by the configuration alone.
    fn forbidden(&self, context: &Context) -> Option<String> {
        let hours = self.settings.allowed_hours.as_ref()?;
        let clock = context.clock();
        if !clock.is_synchronised() {
            return Some(
                "allowed_hours can't be kept to while this machine's clock is not synchronised; wait for its time service"
                    .to_owned(),
            );
        }
        let allowed = hours.contains(clock.wall_nanos());
        (!allowed).then(|| format!("it is flown within allowed_hours = \"{hours}\" only"))
    }

    fn overruled(&self, reason: String) -> VerbError {
        VerbError::Overruled {
            device: self.name.clone(),
            reason,
        }
    }

    /// How a flight ended, for the log and for status.
    fn noted(&self, end: &End) {
        let text = match end {
            End::Ready(_) => return,
            End::Flown(flown) => format!("as planned: {}", flown.text()),
            End::Returned { why, .. } => format!("came back before its time: {why}"),
            End::NotFlown { why } => format!("not flown: {why}"),
            End::HandsOff { why, .. } => format!("hands off: {why}"),
        };
        tracing::info!(device = self.name, text, "flight over");
        self.panel.show(|view| view.last_flight = Some(text));
    }

    fn ended(&self, end: End) -> Result<Outcome, VerbError> {
        let error = match end {
            End::Ready(text) => return Ok(Outcome::new().with("preflight", text)),
            End::Flown(summary) => {
                let attributes = attributes(&summary);
                return Ok(Outcome { attributes });
            }
            End::Returned { why, summary } => DroneError::Returned {
                why,
                flown: attributes(&summary),
            },
            End::NotFlown { why } => DroneError::NotFlown(why),
            End::HandsOff { why, summary } => DroneError::HandsOff {
                why,
                flown: attributes(&summary),
            },
        };
        Err(self.panel.failed(error))
    }

    /// Returns or lands, if something of ours flies.
    async fn come_down(&mut self, call: &Call, context: &Context) -> Result<Outcome, VerbError> {
        let order = order(&call.verb, context).filter(|_| self.cockpit.is_busy());
        let Some(order) = order else {
            return Ok(status(&self.panel.view()).with("result", "nothing to do"));
        };
        let panel = self.panel.clone();
        let given = panel.give(order);
        let mut heeded = std::pin::pin!(panel.heeded(given, context));
        loop {
            tokio::select! {
                biased;
                outcome = &mut heeded => return outcome,
                next = self.cockpit.next() => self.unattended(next),
            }
        }
    }

    /// Until nobody has to wait for the vehicle any more.
    async fn settle(&mut self, why: &str) -> Result<(), DeviceError> {
        if self.cockpit.is_busy() {
            self.cockpit.order(Order::Stop(why.to_owned()));
        }
        while !self.cockpit.is_safe() {
            let next = self.cockpit.next().await;
            self.unattended(next);
        }
        Ok(())
    }

    /// What is done for a flight that no verb waits for.
    fn unattended(&mut self, next: Next) {
        match next {
            Next::Confirm => self
                .cockpit
                .confirmed(Confirmed::NotOurs("it was stopped".to_owned())),
            Next::Over(end) => self.noted(&end),
            Next::Progress(text) => tracing::info!(device = self.name, text, "flight"),
            Next::Obeyed => {}
        }
    }
}

/// Waits for an answer that is awaited, for ever if none is; none is awaited any more then.
async fn answered<T>(asking: &mut Option<Pin<Box<dyn Future<Output = T> + Send + '_>>>) -> T {
    match asking {
        Some(answer) => {
            let answer = answer.await;
            *asking = None;
            answer
        }
        None => std::future::pending().await,
    }
}

fn signing(name: &str, settings: &DroneSettings, hardware: &Hardware) -> Result<Option<Signing>, DroneError> {
    let Some(path) = &settings.signing_key else {
        return Ok(None);
    };
    let key = SigningKey::load(path)?;
    let folder = hardware.state_dir.as_ref().ok_or(DroneError::NoStateDir)?;
    let file = folder.join(SIGNING).join(name);
    let signing = Signing::open(key, settings.us.component, &file, hardware.clock.wall_nanos())?;
    Ok(Some(signing))
}

/// What was flown, as pairs of attributes.
fn attributes(summary: &Summary) -> Vec<(String, String)> {
    let mut pairs = vec![
        ("time_aloft_seconds", summary.time_aloft.as_secs().to_string()),
        ("distance_metres", format!("{:.0}", summary.distance)),
        ("farthest_metres", format!("{:.0}", summary.farthest)),
        ("highest_metres", format!("{:.0}", summary.highest)),
    ];
    pairs.extend(
        summary
            .battery_used
            .map(|percent| ("battery_used_percent", percent.to_string())),
    );
    pairs.push(("track", summary.to_geojson()));
    pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

#[async_trait]
impl Device for Drone {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "drone"
    }

    fn verbs(&self) -> &[Verb] {
        &self.verbs
    }

    fn time_to_safe(&self) -> Duration {
        TIME_TO_SAFE
    }

    fn probe(&self) -> Option<Arc<dyn Probe>> {
        Some(self.panel.clone())
    }

    fn helm(&self) -> Option<Arc<dyn Helm>> {
        Some(self.panel.clone())
    }

    fn live(&self) -> Option<Arc<dyn Live>> {
        Some(self.panel.clone())
    }

    async fn perform(&mut self, call: &Call, context: &Context) -> Result<Outcome, VerbError> {
        let Some(verb) = self.verbs.iter().find(|verb| verb.name == call.verb).cloned() else {
            let known = self.verbs.iter().map(|verb| verb.name.to_string()).collect();
            return Err(VerbError::UnknownVerb {
                device: self.name.clone(),
                verb: call.verb.clone(),
                known,
            });
        };
        match &*verb.name {
            DISPATCH | PREFLIGHT => self.fly(&verb, call, context).await,
            STATUS => self.panel.query(call, context).await,
            _ => {
                let [] = call.exactly::<0>(&self.name, &verb)?;
                self.come_down(call, context).await
            }
        }
    }

    /// Brings home what no verb waits for. Whoever could not make it safe may try again when it obeys, and when it is over.
    async fn tend(&mut self) -> Result<(), DeviceError> {
        loop {
            let next = self.cockpit.next().await;
            let worth_another = matches!(next, Next::Obeyed | Next::Over(_));
            self.unattended(next);
            if worth_another {
                return Ok(());
            }
        }
    }

    async fn make_safe(&mut self) -> Result<(), DeviceError> {
        self.settle("nobody may fly it any more").await
    }

    async fn stop(&mut self) -> Result<(), DeviceError> {
        self.settle("the agent is stopping").await
    }
}
