//! The link, what is known of the vehicle, and the flight that is on: kept going by whoever waits for [`Cockpit::next`], be
//! it a verb, making safe, or tending between verbs. While nobody does, our heartbeat stops.

use std::sync::Arc;
use std::time::Duration;

use super::flight::{Acquaintance, Act, End, Flight, Order, Phase, Record, Vehicle};
use super::link::{Event, Link, LinkError};
use super::note::Note;
use super::panel::{Panel, Stage};
use super::settings::{DroneSettings, OnLostServer};
use super::wire::Said;
use super::wire::number::{CMD_COMPONENT_ARM_DISARM, CMD_MISSION_START};
use crate::clock::{BootTime, SharedClock};
use crate::device::duration::format_duration;
use crate::device::gpio::Level;
use crate::device::input::Inputs;
use crate::device::{Confirmed, Contact, Context, Hardware};

/// How often it is looked at what is known, however much is heard meanwhile.
const LOOK: Duration = Duration::from_millis(200);

/// What whoever waits has to do.
pub(super) enum Next {
    /// Ask the server, and give [`Cockpit::confirmed`] the answer.
    Confirm,
    /// Tell whoever waits for the process.
    Progress(String),
    /// The flight is over, and was put away.
    Over(End),
    /// It was told to come down, and does.
    Obeyed,
}

/// See the module.
pub(super) struct Cockpit {
    device: String,
    settings: Arc<DroneSettings>,
    clock: SharedClock,
    contact: Contact,
    inputs: Inputs,
    link: Link,
    vehicle: Vehicle,
    acquaintance: Acquaintance,
    flight: Option<Flight>,
    /// What arming and starting must still be allowed by.
    gate: Option<Context>,
    note: Option<Note>,
    panel: Arc<Panel>,
    /// When the flight began: whoever gave it was there.
    began: BootTime,
    /// It was told that the server is lost.
    lost_told: bool,
    /// It was logged that nobody is at the other end of the link.
    absence_told: bool,
    /// So many orders of the panel were passed on.
    orders: u64,
    obeyed: bool,
    /// When it is looked at what is known the next time.
    look: BootTime,
}

impl Cockpit {
    /// Nothing is known yet. What a former life of the agent left in the air is taken up.
    pub(super) fn new(
        device: &str,
        settings: Arc<DroneSettings>,
        link: Link,
        hardware: &Hardware,
        note: Option<Note>,
        panel: Arc<Panel>,
    ) -> Self {
        let clock = hardware.clock.clone();
        let now = clock.now();
        let left = note.as_ref().and_then(Note::read);
        if let Some(record) = &left {
            tracing::warn!(
                device,
                process = record.process,
                "a flight was on when the agent ended; it is taken up"
            );
        }
        let mut cockpit = Cockpit {
            device: device.to_owned(),
            vehicle: Vehicle::new(settings.vehicle, settings.us),
            acquaintance: Acquaintance::default(),
            flight: left.map(|record| Flight::resume(record, &settings, now)),
            settings,
            clock,
            contact: hardware.contact.clone(),
            inputs: hardware.inputs.clone(),
            link,
            gate: None,
            note,
            panel,
            began: now,
            lost_told: false,
            absence_told: false,
            orders: 0,
            obeyed: false,
            look: now,
        };
        cockpit.show();
        cockpit
    }

    /// Whether a flight is on, at whatever point.
    pub(super) fn is_busy(&self) -> bool {
        self.flight.is_some()
    }

    /// Whether nobody has to wait for the vehicle: no flight is on, or it comes down as it was told.
    pub(super) fn is_safe(&self) -> bool {
        self.flight.as_ref().is_none_or(Flight::obeyed)
    }

    /// What keeps a flight from beginning, of what must be so around it (`requires`).
    pub(super) fn missing(&self) -> Option<String> {
        let missing = self.settings.requires.iter().find_map(|name| {
            let level = self.inputs.level(name);
            (level != Some(Level::On)).then_some((name, level))
        });
        let (name, level) = missing?;
        let is = level.map_or_else(|| "not known".to_owned(), |level| level.to_string());
        Some(format!(
            "{name} is {is}, and must be on for a flight to begin (requires)"
        ))
    }

    /// A flight begins. `gate` is asked again right before it arms and before it starts.
    pub(super) fn begin(&mut self, flight: Flight, gate: Context) {
        self.flight = Some(flight);
        self.gate = Some(gate);
        self.began = self.clock.now();
        self.lost_told = false;
        self.obeyed = false;
        // Whatever was ordered was meant for an earlier one.
        (_, self.orders) = self.panel.take_orders();
        self.show();
    }

    /// The flight that is on is to come down, or not to begin; nothing may arm or start it any more.
    pub(super) fn order(&mut self, order: Order) {
        self.gate = None;
        if let Some(flight) = &mut self.flight {
            tracing::info!(device = self.device, ?order, "flight");
            flight.order(order);
            flight.tick(&self.vehicle, self.clock.now());
        }
    }

    /// The answer to [`Next::Confirm`].
    pub(super) fn confirmed(&mut self, confirmed: Confirmed) {
        if let Some(flight) = &mut self.flight {
            flight.confirmed(confirmed);
            flight.tick(&self.vehicle, self.clock.now());
        }
    }

    /// Keeps everything going until there is something to do for whoever waits. May be dropped at any time.
    pub(super) async fn next(&mut self) -> Next {
        loop {
            if let Some(next) = self.act() {
                self.show();
                return next;
            }
            self.show();
            let now = self.clock.now();
            if now >= self.look {
                self.tick();
                continue;
            }
            let wake = self.flight.as_ref().and_then(Flight::wake);
            let wake = wake.map_or(self.look, |wake| wake.min(self.look));
            let clock = self.clock.clone();
            let panel = self.panel.clone();
            tokio::select! {
                biased;
                () = panel.called(), if self.flight.is_some() => {
                    let (orders, given) = self.panel.take_orders();
                    for order in orders {
                        self.order(order);
                    }
                    self.orders = given;
                }
                event = self.link.pump() => self.on(event),
                () = clock.sleep_until(wake) => self.tick(),
            }
        }
    }

    fn on(&mut self, event: Event) {
        let now = self.clock.now();
        match event {
            Event::Opened => {
                self.absence_told = false;
                tracing::info!(device = self.device, port = %self.link.address(), "link to the autopilot opened");
            }
            Event::Lost(why) => self.on_lost(&why),
            Event::Frame(frame) => {
                self.vehicle.hear(&frame, now);
                if let Some(flight) = &mut self.flight {
                    flight.hear(&self.vehicle, &frame, now);
                }
            }
        }
    }

    /// That nobody is there is told once, until it is open again; whatever else keeps it from opening needs another remedy.
    fn on_lost(&mut self, why: &LinkError) {
        if why.is_absence() && std::mem::replace(&mut self.absence_told, true) {
            tracing::debug!(device = self.device, %why, "still no link to the autopilot");
        } else {
            tracing::warn!(device = self.device, %why, "no link to the autopilot; trying on");
        }
    }

    fn tick(&mut self) {
        let now = self.clock.now();
        self.look = now + LOOK;
        self.vehicle.note_signatures(self.link.signature_trouble());
        if let Some(said) = self.acquaintance.tick(&self.vehicle, now) {
            self.say(&said);
        }
        self.watch_server(now);
        if let Some(flight) = &mut self.flight {
            flight.tick(&self.vehicle, now);
        }
    }

    fn watch_server(&mut self, now: BootTime) {
        let after = self.settings.lost_after;
        if self.lost_told || self.flight.is_none() || now < self.began.max(self.contact.last()) + after {
            return;
        }
        self.lost_told = true;
        let why = format!("the server was not heard for {}", format_duration(after));
        match self.settings.on_lost_server {
            OnLostServer::Return => self.order(Order::Return(why)),
            OnLostServer::Land => self.order(Order::Land(why)),
            OnLostServer::Continue => {}
        }
    }

    /// Does what the flight wants done, until something is for whoever waits.
    fn act(&mut self) -> Option<Next> {
        while let Some(act) = self.flight.as_mut().and_then(Flight::next_act) {
            match act {
                Act::Send(said) => self.say_for_flight(&said),
                Act::Record(record) => self.keep(&record),
                Act::Confirm => return Some(Next::Confirm),
                Act::Progress(text) => return Some(Next::Progress(text)),
                Act::Over(end) => {
                    self.put_away();
                    return Some(Next::Over(end));
                }
            }
        }
        let obeyed = self.flight.as_ref().is_some_and(Flight::obeyed);
        let new = obeyed && !self.obeyed;
        self.obeyed = obeyed;
        new.then_some(Next::Obeyed)
    }

    /// What lets a motor turn is said only while whoever gave the work still may have it done.
    fn say_for_flight(&mut self, said: &Said) {
        if dangerous(said) {
            let stopped = match &self.gate {
                Some(gate) => gate.check().err().map(|error| error.to_string()),
                None => Some("it was stopped".to_owned()),
            };
            if let Some(why) = stopped.or_else(|| self.missing()) {
                self.order(Order::Stop(why));
                return;
            }
        }
        self.say(said);
    }

    fn say(&mut self, said: &Said) {
        if let Err(why) = self.link.say(said) {
            tracing::debug!(device = self.device, %why, "not said");
        }
    }

    fn keep(&mut self, record: &Record) {
        let written = match &self.note {
            Some(note) => note.write(Some(record)),
            None => Ok(()),
        };
        match (written, &mut self.flight) {
            (Ok(()), Some(flight)) => {
                flight.recorded();
                flight.tick(&self.vehicle, self.clock.now());
            }
            (Err(error), _) => {
                let why = super::error::DroneError::Note(error.to_string()).to_string();
                self.order(Order::Stop(why));
            }
            (Ok(()), None) => {}
        }
    }

    fn put_away(&mut self) {
        self.flight = None;
        self.gate = None;
        if let Some(Err(error)) = self.note.as_ref().map(|note| note.write(None)) {
            // At the next start of the agent it would be taken for a flight; that finds it disarmed, or not ours.
            tracing::warn!(device = self.device, %error, "the note of its flight can't be taken away");
        }
    }

    /// Puts what is known on the panel.
    fn show(&mut self) {
        let now = self.clock.now();
        let vehicle = &self.vehicle;
        let silent = match self.link.problem() {
            Some(problem) => Some(problem.to_string()),
            None if vehicle.alive(now) => None,
            None => {
                let why = self
                    .link
                    .signature_trouble()
                    .map(|trouble| format!(": {trouble}"));
                Some(format!(
                    "no heartbeat on {}{}",
                    self.link.address(),
                    why.unwrap_or_default()
                ))
            }
        };
        let fix = vehicle.fix(now);
        let phase = self.flight.as_ref().map(Flight::phase);
        let stage = match (&self.flight, phase) {
            (None, _) => Stage::None,
            (Some(flight), Some(Phase::Returning | Phase::Landing | Phase::StandingDown)) => Stage::Back {
                seen: flight.obeyed(),
            },
            (Some(flight), _) if flight.airborne() => Stage::Out,
            (Some(_), _) => Stage::Before,
        };
        self.panel.show(|view| {
            view.mode = vehicle.alive(now).then(|| vehicle.mode_name());
            view.armed = vehicle.armed();
            view.position = fix.map(|fix| fix.position);
            view.altitude = fix.map(|fix| fix.altitude);
            view.speed = fix.map(|fix| fix.speed);
            view.from_home = vehicle.from_home(now);
            view.battery = vehicle.battery();
            view.satellites = vehicle.gps(now).and_then(|(_, satellites)| satellites);
            view.phase = phase.map(|phase| phase.to_string());
            view.stage = stage;
            view.orders = self.orders;
            view.silent = silent;
        });
    }
}

/// Whether a motor may turn because of it.
fn dangerous(said: &Said) -> bool {
    match said {
        Said::CommandLong { command, params, .. } => match *command {
            CMD_COMPONENT_ARM_DISARM => params[0] != 0.0,
            CMD_MISSION_START => true,
            _ => false,
        },
        _ => false,
    }
}
