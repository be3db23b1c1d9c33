//! `try`: one verb, here and now, without a server.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use super::devices::registry;
use super::run::{show_edges, start_log, stop_on_signals};
use super::setup::{Setup, as_owner_of, complain, explain_lock};
use super::{Command, CommandOption, DONE, FAILED, Invocation, USAGE};
use crate::agent::journal::Lock;
use crate::agent::registry::Function;
use crate::agent::settings::{LogLevel, Settings};
use crate::clock::{SharedClock, SystemClock};
use crate::console::Console;
use crate::console::table::list;
use crate::device::duration::parse_duration;
use crate::device::gpio::{SimulatedBoard, open_backend};
use crate::device::{
    self, Call, Cancellation, Context, DeviceHandle, DeviceSettings, Effect, Hardware, VerbError, owner, pwm,
};

pub(super) const COMMAND: Command = Command {
    name: "try",
    operands: "FUNCTION [ARGS…]",
    takes_operands: true,
    summary: "Does one verb here and now, without a server: `try lamp.on`.",
    text: "The service must be stopped: only one may drive a device. That device alone is opened, and what the verb tells is shown.\n\
           Ctrl-C stops the verb. At the end the device is made safe, as when the service stops; what the verb has set lasts until\n\
           then: as long as --hold says; without it until Enter or Ctrl-C on a terminal, else not at all. `--` goes before arguments\n\
           that begin with a dash.",
    options: &[CommandOption {
        name: "--hold",
        value: Some("DURATION"),
        help: "how long what the verb has set lasts, for example 5s; 0 for not at all",
    }],
    run: |invocation, console| Box::pin(run(invocation, console)),
};

/// How long what was set lasts.
enum Hold {
    For(Duration),
    UntilEnter,
}

async fn run(invocation: Invocation, console: &mut Console) -> u8 {
    let hold = match invocation.value("--hold").map(parse_duration) {
        Some(Ok(span)) => Hold::For(span),
        Some(Err(error)) => return complain(console, USAGE, format_args!("--hold: {error}")),
        None if std::io::stdin().is_terminal() => Hold::UntilEnter,
        None => Hold::For(Duration::ZERO),
    };
    let Some((name, args)) = invocation.operands.split_first() else {
        return complain(
            console,
            USAGE,
            "try: which function? `outpost-agent devices` lists them",
        );
    };
    let Some(setup) = Setup::read_or_tell(&invocation, console) else {
        return USAGE;
    };
    // What it would add is not worth failing for.
    let _ = start_log(LogLevel::Warn);
    let settings = &setup.settings;
    let functions = match registry(settings) {
        Ok(functions) => functions,
        Err(error) => return complain(console, USAGE, error),
    };
    let function = match functions.find(name) {
        Ok(function) => function,
        Err(error) => return complain(console, USAGE, format_args!("try: {error}")),
    };
    let lock = match lock_if_there(settings, name) {
        Ok(lock) => lock,
        Err(problem) => return complain(console, FAILED, problem),
    };
    let code = try_it(
        settings,
        function,
        function.local_call(name, args),
        &hold,
        console,
    )
    .await;
    drop(lock);
    code
}

/// Nobody can work in a state directory that is not there; one that is there must be ours.
fn lock_if_there(settings: &Settings, name: &str) -> Result<Option<Lock>, String> {
    let folder = &settings.agent.state_dir;
    if !folder.is_dir() {
        return Ok(None);
    }
    as_owner_of(folder, &format!("try {name}"))?;
    Lock::take(folder).map(Some).map_err(|error| explain_lock(&error))
}

async fn try_it(
    settings: &Settings,
    function: &Function,
    call: Call,
    hold: &Hold,
    console: &mut Console,
) -> u8 {
    let stop = Cancellation::new();
    // Before anything is driven: a signal from here on makes it safe.
    if let Err(error) = stop_on_signals(&stop) {
        return complain(console, FAILED, format_args!("can't listen for signals: {error}"));
    }
    let clock: SharedClock = Arc::new(SystemClock);
    let device = match open(settings, function.device.name(), &clock) {
        Ok(device) => device,
        Err(problem) => return complain(console, FAILED, problem),
    };
    let context = Context::new(clock.clone()).with_cancellation(stop.clone());
    let mut code = match device.perform(call, context).await {
        Ok(outcome) => {
            let attributes = outcome.attributes.iter();
            let rows: Vec<(&str, String)> = attributes
                .map(|(name, value)| (name.as_str(), value.clone()))
                .collect();
            console.line(if rows.is_empty() {
                "done".to_owned()
            } else {
                list(&rows)
            });
            if function.verb.effect != Effect::Read {
                wait(hold, &clock, &stop, console).await;
            }
            DONE
        }
        Err(error) => {
            let code = match error {
                VerbError::Usage { .. } => USAGE,
                _ => FAILED,
            };
            complain(console, code, function.explain(&error))
        }
    };
    if let Err(error) = device.shutdown().await {
        code = complain(console, FAILED, format_args!("not safe: {error}"));
    }
    code
}

/// Opens one device, as the service would.
fn open(settings: &Settings, name: &str, clock: &SharedClock) -> Result<DeviceHandle, String> {
    let Some(table) = settings.devices.get(name) else {
        // What is always there is not configured.
        return builtin(name, clock).ok_or_else(|| format!("there is no device {name:?}"));
    };
    let device = &table.settings;
    let board = SimulatedBoard::new(clock.clone());
    show_edges(&board, settings.gpio.edge_times);
    let gpio = device
        .needs_gpio()
        .then(|| open_backend(settings.gpio.backend, &board))
        .transpose()
        .map_err(|error| format!("gpio.backend: {error}"))?;
    // A drone keeps there what must outlive whoever flies it: signatures' timestamps, and that it flies. It is locked, if it is there.
    let folder = &settings.agent.state_dir;
    let keeps = matches!(device, DeviceSettings::Drone(_)) && folder.is_dir();
    let hardware = Hardware {
        gpio,
        pwm: Some(pwm::open_backend(settings.gpio.backend, &board)),
        state_dir: keeps.then(|| folder.clone()),
        ..Hardware::new(clock.clone())
    };
    let device = device::open(name, device, &hardware).map_err(|error| format!("devices.{error}"))?;
    Ok(owner::spawn(device, clock.clone()))
}

fn builtin(name: &str, clock: &SharedClock) -> Option<DeviceHandle> {
    crate::agent::devices::builtins()
        .into_iter()
        .find(|device| device.name() == name)
        .map(|device| owner::spawn(device, clock.clone()))
}

/// Leaves the device as the verb has set it, for a while.
async fn wait(hold: &Hold, clock: &SharedClock, stop: &Cancellation, console: &mut Console) {
    let over = async {
        match hold {
            Hold::For(span) => clock.sleep_until(clock.now() + *span).await,
            Hold::UntilEnter => enter().await,
        }
    };
    if matches!(hold, Hold::UntilEnter) {
        console.note("it stays so until you press Enter (or Ctrl-C); then the device is made safe");
    }
    tokio::select! {
        biased;
        _ = stop.cancelled() => {}
        () = over => {}
    }
}

/// Waits for a line on standard input, or its end. The thread that reads can't be stopped and is left to the end of the process.
async fn enter() {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let read = std::io::stdin().read_line(&mut String::new());
        // Nobody may be waiting any more.
        let _ = sender.send(read.is_ok());
    });
    let _ = receiver.await;
}
