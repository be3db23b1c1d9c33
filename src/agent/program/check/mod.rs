//! `check`: what can be told without doing anything.
//!
//! Each part gathers facts (no line, no port and no lock is taken, nothing is written, nothing is changed at the server) and
//! judges them; the judging is pure, so that it can be tested without hardware.

mod access;
mod finding;
mod gpio;
mod keys;
mod programs;
mod pwm;
mod serial;
mod server;
mod state;

use std::sync::Arc;

use self::access::User;
use self::finding::{Finding, Level};
use self::gpio::{GpioFacts, Wanted};
use self::keys::KeyFacts;
use self::programs::ProgramFacts;
use self::pwm::PwmFacts;
use self::serial::{PortFacts, port_of};
use self::server::ServerFacts;
use self::state::StateFacts;
use super::run::start_log;
use super::setup::Setup;
use super::{Command, CommandOption, DONE, FAILED, Invocation, USAGE};
use crate::agent::settings::LogLevel;
use crate::clock::{SharedClock, SystemClock};
use crate::console::Console;
use crate::device::DeviceSettings;
use crate::device::gpio::BackendChoice;
use crate::protocol::Time;

pub(super) const COMMAND: Command = Command {
    name: "check",
    operands: "",
    takes_operands: false,
    summary: "Says what works and what does not, each with the remedy.",
    text: "It looks at configuration, keys, state directory, GPIO lines, PWM chips, serial ports, programs and server, and\n\
           changes nothing: the service may be running. Run it as the service's user, `sudo -u outpost-agent outpost-agent check`.\n\
           It exits with 0 if there is no error (warnings are none), with 2 if the configuration can't be used, else with 1.",
    options: &[CommandOption {
        name: "--offline",
        value: None,
        help: "do not ask the server",
    }],
    run: |invocation, console| Box::pin(run(invocation, console)),
};

async fn run(invocation: Invocation, console: &mut Console) -> u8 {
    let Some(setup) = Setup::read_or_tell(&invocation, console) else {
        return USAGE;
    };
    // What the parts themselves warn of, such as a runtime that is registered with another type.
    // What it would add is not worth failing for.
    let _ = start_log(LogLevel::Warn);
    let (findings, lines) = look(&setup, invocation.has("--offline")).await;
    console.bytes(finding::listing(&findings).as_bytes());
    if let Some(lines) = lines {
        console.line(format_args!("\n{lines}"));
    }
    console.line(format_args!("\n{}", finding::summary(&findings)));
    if findings.iter().any(|finding| finding.level == Level::Error) {
        FAILED
    } else {
        DONE
    }
}

/// Everything that is found, and the table of GPIO lines.
async fn look(setup: &Setup, offline: bool) -> (Vec<Finding>, Option<String>) {
    let settings = &setup.settings;
    let clock: SharedClock = Arc::new(SystemClock);
    let user = User::current();
    let state = StateFacts::gather(
        &settings.agent.state_dir,
        Time::from_unix_nanos(clock.wall_nanos()),
    );

    let place = setup
        .file()
        .map_or_else(|| "the environment".to_owned(), |file| file.display().to_string());
    let mut findings = vec![
        Finding::ok("configuration", format!("{place} can be used")),
        access::judge_user(&user, state.owner),
    ];
    let (own, key) = KeyFacts::gather("runtime.key_file", &settings.key_file(), true);
    findings.push(keys::judge(&own, state.owner));
    if let Some(path) = &settings.colony.key_file {
        let (colony, _) = KeyFacts::gather("colony.key_file", path, false);
        findings.push(keys::judge(&colony, state.owner));
    }
    findings.extend(state::judge(&state));

    let (mut wanted, mut channels) = (Vec::new(), Vec::new());
    for (name, device) in settings.kinds() {
        let warnings = device.warnings().into_iter();
        findings.extend(warnings.map(|text| Finding::warning(format!("devices.{name}"), text)));
        let driven = device.output().and_then(|output| output.drive.line());
        let lines = device.lines().into_iter();
        wanted.extend(lines.map(|line| Wanted::of_device(name, line, driven == Some(line))));
        channels.extend(device.pwm().map(|channel| (name.clone(), channel.clone())));
        if let Some(port) = port_of(device) {
            findings.push(serial::judge(
                &PortFacts::gather(name, port, state.service),
                &user,
            ));
        }
        if let DeviceSettings::Drone(drone) = device {
            findings.extend(serial::judge_drone(name, drone));
        }
        findings.extend(ProgramFacts::gather(name, device).iter().map(programs::judge));
    }
    let heartbeat = &settings.safety.heartbeat_line;
    wanted.extend(heartbeat.iter().map(|line| Wanted::heartbeat(&line.0)));
    let mut lines = None;
    if !wanted.is_empty() {
        let gpio = GpioFacts::gather(settings.gpio.backend, wanted, state.service.is_some());
        findings.extend(gpio::judge(&gpio, &user));
        lines = gpio::lines(&gpio);
    }
    if !channels.is_empty() {
        let simulated = settings.gpio.backend == BackendChoice::Simulated;
        findings.extend(pwm::judge(&PwmFacts::gather(simulated, channels)));
    }

    if offline {
        findings.push(Finding::note("server", "not asked (--offline)"));
    } else {
        match ServerFacts::gather(settings, key, &clock).await {
            Ok(facts) => findings.extend(server::judge(&facts)),
            Err(problem) => findings.push(Finding::error("server", problem)),
        }
    }
    (findings, lines)
}
