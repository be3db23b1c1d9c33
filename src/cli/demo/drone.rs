//! The demo's drone: the simulated vehicle on a pseudo-terminal of its own, and what it does, line by line.

use std::path::PathBuf;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::cli::commands::vehicle_event;
use crate::cli::error::CliError;
use crate::vehicle::{Config, Event, Family, Faults, Pty, Server, Simulation, Truth};

/// How many times as fast as ours its time runs. The agent's heartbeat beats once a second of ours, and the vehicle's own
/// failsafe gives up after some seconds of its time: much more would be too much.
pub const SPEED: f64 = 2.0;
/// Between two lines of its flight, in its own time.
const EVERY: Duration = Duration::from_secs(2);
/// A map's width in characters, and how many metres each is.
const MAP: usize = 16;
const METRES: f64 = 4.0;

/// The vehicle. Dropping it pulls its plug.
pub struct Drone {
    server: Server,
    serving: JoinHandle<()>,
    shown: Duration,
}

impl Drop for Drone {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Drone {
    /// A nimble one, so that nobody has to wait long: it climbs and sinks faster than a real one.
    pub fn start(port: PathBuf) -> Result<Self, CliError> {
        let mut config = Config::new(Family::ArduPilot).settled().with_failsafes();
        config.limits.climb = 4.0;
        config.limits.descent = 3.0;
        config.limits.landing = 1.0;
        config.limits.landing_below = 4.0;
        let server = Server::new(Simulation::new(config, Faults::default(), 1), SPEED);
        let mut terminal = Pty::open(Some(port)).map_err(|error| CliError::usage(error.to_string()))?;
        let serves = server.clone();
        let serving = tokio::spawn(async move {
            let Err(error) = terminal.serve(&serves).await;
            tracing::warn!(%error, "the drone's port is gone");
        });
        Ok(Drone {
            server,
            serving,
            shown: Duration::ZERO,
        })
    }

    /// What it did since the last call, and while it flies where it is.
    pub fn news(&mut self) -> Vec<String> {
        let (events, truth) = self
            .server
            .with(|simulation| (simulation.take_events(), simulation.truth().clone()));
        let mut lines: Vec<String> = events
            .iter()
            .filter(|(_, event)| is_told(event))
            .map(|(_, event)| format!("drone    {}", vehicle_event(event, &truth)))
            .collect();
        if truth.airborne() && truth.at >= self.shown + EVERY {
            self.shown = truth.at;
            lines.push(row(&truth));
        }
        lines
    }
}

fn is_told(event: &Event) -> bool {
    !matches!(event, Event::Says(..) | Event::Booted | Event::PositionKnown)
}

/// `drone    |H........o....|  12.0 m up,  35 m from home, 5.0 m/s, 98 %`
fn row(truth: &Truth) -> String {
    let away = truth
        .home
        .map_or(0.0, |home| metres(home, (truth.latitude, truth.longitude)));
    let at = ((away / METRES) as usize).min(MAP - 1);
    let map: String = (0..MAP)
        .map(|place| match place {
            _ if place == at => 'o',
            0 => 'H',
            _ => '.',
        })
        .collect();
    format!(
        "drone    |{map}|  {:4.1} m up, {away:3.0} m from home, {:4.1} m/s, battery {:.0} %",
        truth.altitude, truth.speed, truth.battery
    )
}

/// Between two places that are near each other.
fn metres(from: (f64, f64), to: (f64, f64)) -> f64 {
    const A_DEGREE: f64 = 111_195.0;
    let north = (to.0 - from.0) * A_DEGREE;
    let east = (to.1 - from.1) * A_DEGREE * from.0.to_radians().cos();
    north.hypot(east)
}
