//! What everybody may see of the drone at any time, and how a flight is told to come home from outside of its owner task.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;

use super::error::DroneError;
use super::flight::Order;
use super::geo::Position;
use super::verbs::{ABORT, LAND, STEERING, TIME_TO_SAFE};
use crate::device::duration::format_duration;
use crate::device::{Call, Context, DeviceError, Helm, Live, Outcome, Probe, Reading, Verb, VerbError, lock};
use crate::watch::Watched;

/// How far a flight is, for those who look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Stage {
    /// None is on.
    #[default]
    None,
    /// It has not begun.
    Before,
    /// It is flown as planned.
    Out,
    /// It comes down before its time; `seen`: the autopilot says so.
    Back {
        /// Whether a heartbeat has shown the mode.
        seen: bool,
    },
}

/// What is known of the drone.
#[derive(Debug, Clone, Default)]
pub(super) struct View {
    /// Why nothing is heard of it, if so.
    pub silent: Option<String>,
    /// The autopilot's mode, by its own name.
    pub mode: Option<String>,
    /// Whether the motors may turn.
    pub armed: bool,
    /// Where it is.
    pub position: Option<Position>,
    /// Metres above home.
    pub altitude: Option<f64>,
    /// Metres from home.
    pub from_home: Option<f64>,
    /// Metres a second over ground.
    pub speed: Option<f64>,
    /// Percent.
    pub battery: Option<u8>,
    /// Satellites that are seen.
    pub satellites: Option<u8>,
    /// What the flight does now, if one is on.
    pub phase: Option<String>,
    /// How far it is.
    pub stage: Stage,
    /// So many orders were given to flights by now, and followed as far as the rest of this shows.
    pub orders: u64,
    /// How the last flight ended.
    pub last_flight: Option<String>,
}

/// Orders on their way to the flight.
#[derive(Default)]
struct Orders {
    waiting: VecDeque<Order>,
    /// So many were given, those that wait among them.
    given: u64,
}

/// The panel: written by the owner task, read by everybody.
pub(super) struct Panel {
    device: String,
    view: Watched<View>,
    orders: Mutex<Orders>,
    called: Notify,
    verbs: Vec<Verb>,
}

impl Panel {
    /// Nothing is known yet.
    pub(super) fn new(device: &str, verbs: &[Verb]) -> Arc<Self> {
        Arc::new(Panel {
            device: device.to_owned(),
            view: Watched::new(View::default()),
            orders: Mutex::default(),
            called: Notify::new(),
            verbs: verbs.to_vec(),
        })
    }

    /// Shows something new.
    pub(super) fn show(&self, change: impl FnOnce(&mut View)) {
        self.view.send_modify(change);
    }

    /// What is shown.
    pub(super) fn view(&self) -> View {
        self.view.borrow().clone()
    }

    /// The orders that wait, and how many were given by now.
    pub(super) fn take_orders(&self) -> (Vec<Order>, u64) {
        let mut orders = lock(&self.orders);
        (orders.waiting.drain(..).collect(), orders.given)
    }

    /// Waits for an order. Safe to drop and to call again.
    pub(super) async fn called(&self) {
        let waiting = self.called.notified();
        if lock(&self.orders).waiting.is_empty() {
            waiting.await;
        }
    }

    /// Gives an order to the flight that is on. Its number, for [`Panel::heeded`].
    pub(super) fn give(&self, order: Order) -> u64 {
        let mut orders = lock(&self.orders);
        orders.waiting.push_back(order);
        orders.given += 1;
        self.called.notify_one();
        orders.given
    }

    /// Waits until the flight follows the order of that number, or is over; no longer than [`STEERING`].
    pub(super) async fn heeded(&self, order: u64, context: &Context) -> Result<Outcome, VerbError> {
        let deadline = context.now() + STEERING;
        let heeded = self.view.wait_for(|view| match view.stage {
            Stage::None => true,
            Stage::Back { seen } => seen && view.orders >= order,
            Stage::Before | Stage::Out => false,
        });
        let late = tokio::select! {
            biased;
            () = heeded => false,
            reason = context.cancellation().cancelled() => {
                return Err(VerbError::Cancelled { reason: reason.to_string() });
            }
            () = context.clock().sleep_until(deadline) => true,
        };
        let view = self.view();
        if late {
            let problem = match &view.silent {
                Some(why) => format!("it was told to, but is not heard: {why}"),
                None => format!(
                    "it was told to, but its mode is still {} after {}",
                    view.mode.as_deref().unwrap_or("unknown"),
                    format_duration(STEERING)
                ),
            };
            return Err(self.failed(DroneError::NotHeeded(problem)));
        }
        Ok(status(&view))
    }

    pub(super) fn failed(&self, error: DroneError) -> VerbError {
        VerbError::Failed(DeviceError::Drone {
            device: self.device.clone(),
            cause: Box::new(error),
        })
    }

    fn verb(&self, call: &Call) -> Option<&Verb> {
        self.verbs.iter().find(|verb| verb.name == call.verb)
    }
}

/// What a view tells, as attributes.
pub(super) fn status(view: &View) -> Outcome {
    let state = match (view.stage, &view.silent) {
        (_, Some(_)) => "silent",
        (Stage::Before, _) => "preparing",
        (Stage::Out, _) => "flying",
        (Stage::Back { .. }, _) => "returning",
        (Stage::None, _) if view.armed => "armed",
        (Stage::None, _) => "disarmed",
    };
    let mut outcome = Outcome::new().with("state", state);
    let texts = [
        ("problem", view.silent.clone()),
        ("phase", view.phase.clone()),
        ("mode", view.mode.clone()),
        ("position", view.position.map(|position| position.to_string())),
        (
            "altitude_metres",
            view.altitude.map(|metres| format!("{metres:.1}")),
        ),
        (
            "from_home_metres",
            view.from_home.map(|metres| format!("{metres:.0}")),
        ),
        (
            "speed_metres_per_second",
            view.speed.map(|speed| format!("{speed:.1}")),
        ),
        ("battery_percent", view.battery.map(|percent| percent.to_string())),
        ("satellites", view.satellites.map(|count| count.to_string())),
        ("last_flight", view.last_flight.clone()),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            outcome = outcome.with(name, text);
        }
    }
    outcome
}

/// What an order of a verb is, and why.
pub(super) fn order(verb: &str, context: &Context) -> Option<Order> {
    let by = match context.process() {
        Some(process) => format!("told to {verb} by process {process}"),
        None => format!("told to {verb}"),
    };
    match verb {
        ABORT => Some(Order::Return(by)),
        LAND => Some(Order::Land(by)),
        _ => None,
    }
}

#[async_trait]
impl Probe for Panel {
    async fn query(&self, call: &Call, _context: &Context) -> Result<Outcome, VerbError> {
        if let Some(verb) = self.verb(call) {
            let [] = call.exactly::<0>(&self.device, verb)?;
        }
        Ok(status(&self.view()))
    }
}

#[async_trait]
impl Helm for Panel {
    async fn steer(&self, call: &Call, context: &Context) -> Option<Result<Outcome, VerbError>> {
        if self.view.borrow().stage == Stage::None {
            return None;
        }
        if let Some(Err(error)) = self.verb(call).map(|verb| call.exactly::<0>(&self.device, verb)) {
            return Some(Err(error));
        }
        let given = self.give(order(&call.verb, context)?);
        Some(self.heeded(given, context).await)
    }
}

impl Live for Panel {
    fn time_to_safe(&self) -> Option<Duration> {
        Some(TIME_TO_SAFE)
    }

    fn under_way(&self) -> Option<String> {
        let on = self.view.borrow().stage != Stage::None;
        on.then(|| "a flight".to_owned())
    }

    fn became(&self) -> Option<String> {
        self.view.borrow().last_flight.clone()
    }

    fn readings(&self) -> Vec<Reading> {
        let view = self.view.borrow();
        let position = |of: fn(Position) -> f64| view.position.map(of);
        let figures = [
            ("connected", Some(f64::from(u8::from(view.silent.is_none())))),
            ("armed", Some(f64::from(u8::from(view.armed)))),
            ("in_flight", Some(f64::from(u8::from(view.stage != Stage::None)))),
            ("latitude_degrees", position(|at| at.latitude)),
            ("longitude_degrees", position(|at| at.longitude)),
            ("altitude_metres", view.altitude),
            ("from_home_metres", view.from_home),
            ("speed_metres_per_second", view.speed),
            ("battery_percent", view.battery.map(f64::from)),
            ("satellites", view.satellites.map(f64::from)),
        ];
        figures
            .into_iter()
            .filter_map(|(name, value)| Some(Reading { name, value: value? }))
            .collect()
    }
}
