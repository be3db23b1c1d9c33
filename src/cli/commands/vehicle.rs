//! `outpost vehicle`: a simulated drone, and a line for whatever happens to it.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use crate::cli::args::{Switch, Vehicle, VehicleFamily};
use crate::cli::error::{CliError, DONE};
use crate::console::{Console, printable};
use crate::vehicle::{Cause, Config, Event, Family, Pty, PtyError, Server, Signing, Simulation, Truth, Wind};

/// How often the vehicle is asked what happened.
const LOOK: Duration = Duration::from_millis(100);
/// From which moment on signing counts its time: 2015-01-01, in seconds since 1970.
const SIGNING_EPOCH: u64 = 1_420_070_400;

/// `outpost vehicle`; needs no server.
pub async fn vehicle(options: Vehicle, json: bool, console: &mut Console) -> Result<u8, CliError> {
    let config = config(&options)?;
    let mut terminated = signal(SignalKind::terminate())
        .map_err(|error| CliError::usage(format!("cannot listen for signals: {error}")))?;
    let port = match options.tcp {
        Some(address) => Port::Tcp(TcpListener::bind(address).await.map_err(|error| {
            CliError::usage(format!(
                "cannot listen at {address}: {error}; choose another address with --tcp"
            ))
        })?),
        None => Port::Terminal(Pty::open(options.link).map_err(unusable)?),
    };
    let mut told = Teller { json, console };
    told.at(Duration::ZERO, &format!("the vehicle is at {}", port.name()));
    let server = Server::new(
        Simulation::new(config, options.faults, options.seed),
        options.speed,
    );
    let served = async {
        match port {
            Port::Tcp(listener) => server
                .listen(&listener)
                .await
                .map_err(|error| CliError::usage(format!("the port is gone: {error}"))),
            Port::Terminal(mut terminal) => match terminal.serve(&server).await {
                Ok(never) => match never {},
                Err(error) => Err(unusable(error)),
            },
        }
    };
    let watched = async {
        loop {
            let (events, truth) =
                server.with(|simulation| (simulation.take_events(), simulation.truth().clone()));
            for (at, event) in events {
                told.at(at, &vehicle_event(&event, &truth));
            }
            sleep(LOOK).await;
        }
    };
    tokio::select! {
        result = served => result.map(|()| DONE),
        () = watched => Ok(DONE),
        _ = tokio::signal::ctrl_c() => Ok(DONE),
        _ = terminated.recv() => Ok(DONE),
    }
}

enum Port {
    Tcp(TcpListener),
    Terminal(Pty),
}

impl Port {
    /// As the agent's configuration has it.
    fn name(&self) -> String {
        match self {
            Port::Tcp(listener) => listener
                .local_addr()
                .map_or_else(|_| "tcp".to_owned(), |address| format!("tcp:{address}")),
            Port::Terminal(terminal) => terminal
                .path()
                .map(|path| path.display().to_string())
                .unwrap_or_default(),
        }
    }
}

fn unusable(error: PtyError) -> CliError {
    CliError::usage(error.to_string())
}

fn config(options: &Vehicle) -> Result<Config, CliError> {
    let mut config = Config::new(match options.family {
        VehicleFamily::Ardupilot => Family::ArduPilot,
        VehicleFamily::Px4 => Family::Px4,
    });
    if options.ready {
        config = config.settled();
    }
    if let Some((latitude, longitude)) = options.home {
        (config.home.0, config.home.1) = (latitude, longitude);
    }
    config.failsafes = options.failsafes == Switch::On;
    config.battery = options.battery;
    let (speed, from) = options.wind;
    config.wind = Wind {
        speed,
        from,
        turbulence: 0.15,
    };
    if let Some(file) = &options.sign_key {
        let since_1970 = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let since_2015 = since_1970.saturating_sub(Duration::from_secs(SIGNING_EPOCH));
        config.signing = Some(Signing {
            key: signing_key(file)?,
            accept_unsigned: false,
            timestamp: (since_2015.as_micros() / 10) as u64,
        });
    }
    Ok(config)
}

fn signing_key(file: &Path) -> Result<[u8; 32], CliError> {
    let bytes = fs::read(file)
        .map_err(|error| CliError::usage(format!("cannot read the key {}: {error}", file.display())))?;
    let text = String::from_utf8_lossy(&bytes);
    let decoded = hex::decode(text.trim()).unwrap_or_else(|_| bytes.clone());
    decoded.try_into().map_err(|_| {
        CliError::usage(format!(
            "{} holds no signing key: it wants 32 bytes, or 64 hexadecimal digits such as `openssl rand -hex 32` prints",
            file.display()
        ))
    })
}

struct Teller<'a> {
    json: bool,
    console: &'a mut Console,
}

impl Teller<'_> {
    fn at(&mut self, moment: Duration, text: &str) {
        let seconds = moment.as_secs_f64();
        if self.json {
            let line = serde_json::json!({ "seconds": seconds, "event": text });
            self.console.line(line);
        } else {
            self.console.line(format!("{seconds:8.2}  {}", printable(text)));
        }
    }
}

/// An event as people read it.
pub fn vehicle_event(event: &Event, truth: &Truth) -> String {
    let place = format!(
        "at {:.6},{:.6}, {:.1} m, battery {:.0} %",
        truth.latitude, truth.longitude, truth.altitude, truth.battery
    );
    match event {
        Event::Booted => "booted".to_owned(),
        Event::PositionKnown => format!("knows its position {place}"),
        Event::Armed => format!("armed {place}"),
        Event::Disarmed => format!("disarmed {place}"),
        Event::Mode(mode, cause) => match cause {
            Cause::Command(system, component) => format!("mode {mode}, by {system}/{component}"),
            Cause::Pilot => format!("mode {mode}, by the pilot"),
            Cause::Failsafe => format!("mode {mode}, by a failsafe"),
            Cause::Vehicle => format!("mode {mode}"),
        },
        Event::TakeOff => "took off".to_owned(),
        Event::Reached(item) => format!("reached item {item} {place}"),
        Event::Landed => format!("landed {place}"),
        Event::Crashed => format!("crashed {place}"),
        Event::Uploaded(list, count) => format!("took a {list} of {count} items"),
        Event::Outside => format!("is outside the fence {place}"),
        Event::Failsafe(cause) => format!("failsafe: {cause}"),
        Event::Says(severity, text) => format!("says ({severity}): {text}"),
        Event::Trouble(act) => format!("fault: {act}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_bytes_or_digits_and_anything_else_is_refused_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        fs::write(&file, format!("{}\n", "0a".repeat(32))).unwrap();
        assert_eq!(signing_key(&file).unwrap(), [10; 32]);
        fs::write(&file, [200; 32]).unwrap();
        assert_eq!(signing_key(&file).unwrap(), [200; 32]);
        fs::write(&file, "secret").unwrap();
        assert!(
            signing_key(&file)
                .unwrap_err()
                .to_string()
                .contains("openssl rand")
        );
        let missing = signing_key(&folder.path().join("none")).unwrap_err();
        assert!(missing.to_string().contains("cannot read"), "{missing}");
    }
}
