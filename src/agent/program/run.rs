//! `run`: the service.

use std::io::Write;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::setup::{Setup, complain};
use super::{Command, FAILED, Invocation, USAGE};
use crate::agent::backoff::system_random;
use crate::agent::keeper::Keeper;
use crate::agent::reload::Reloads;
use crate::agent::service::{Agent, Surroundings};
use crate::agent::settings::LogLevel;
use crate::clock::{SharedClock, SystemClock};
use crate::console::Console;
use crate::device::Cancellation;
use crate::device::gpio::SimulatedBoard;
use crate::notify::{Notifier, watchdog_limit};

pub(super) const COMMAND: Command = Command {
    name: "run",
    operands: "",
    takes_operands: false,
    summary: "Works until it is told to stop.",
    text: "It stops on SIGTERM or SIGINT: what runs may finish within agent.grace_time, then everything is made safe. On SIGHUP it\n\
           reads the configuration again (devices and functions). Exits with 3 when it ended itself because an output could not\n\
           be made safe. Standard output carries what machines read (`edge LINE on|off` of a simulated board), standard\n\
           error the log.",
    options: &[],
    run: |invocation, console| Box::pin(run(invocation, console)),
};

async fn run(invocation: Invocation, console: &mut Console) -> u8 {
    let Some(setup) = Setup::read_or_tell(&invocation, console) else {
        return USAGE;
    };
    if let Err(error) = start_log(setup.settings.agent.log) {
        console.note(format_args!("outpost-agent: no log: {error}"));
        return FAILED;
    }

    let clock: SharedClock = Arc::new(SystemClock);
    let board = SimulatedBoard::new(clock.clone());
    show_edges(&board, setup.settings.gpio.edge_times);
    let stop = Cancellation::new();
    // Before anything is driven: a signal from here on makes it safe.
    let reloads = match stop_on_signals(&stop).and_then(|()| reload_on_signal()) {
        Ok(reloads) => reloads,
        Err(error) => return complain(console, FAILED, format_args!("can't listen for signals: {error}")),
    };
    let notifier = match Notifier::from_env() {
        Ok(notifier) => notifier,
        Err(error) => return complain(console, FAILED, error),
    };
    let file = setup.file();
    match Agent::new(
        &setup.settings,
        file,
        clock,
        system_random(),
        &board,
        Keeper::threaded,
    ) {
        Ok(agent) => {
            let file = setup.file;
            let read = move || Setup::read_from(file.clone()).map(|setup| setup.settings);
            let surroundings = Surroundings {
                notifier,
                watchdog: watchdog_limit(),
                reloads: Reloads::new(reloads, read),
            };
            Box::pin(agent.run(stop, surroundings)).await
        }
        Err(error) => {
            console.note(format_args!("outpost-agent: {error}"));
            FAILED
        }
    }
}

/// The log goes to standard error.
pub(super) fn start_log(level: LogLevel) -> Result<(), impl std::fmt::Display> {
    crate::logging::start(level.as_tracing())
}

/// Writes the edges of a simulated board to standard output, `edge LINE on|off`, and when by the wall clock if `times`.
pub(super) fn show_edges(board: &SimulatedBoard, times: bool) {
    board.on_edge(move |edge| {
        let time = if times {
            format!(" {}", edge.wall_nanos)
        } else {
            String::new()
        };
        // Whoever read this may be gone; the lamp does not care.
        let _ = writeln!(std::io::stdout(), "edge {} {}{time}", edge.line, edge.level);
    });
}

/// Tells the agent to stop when the process is told to.
pub(super) fn stop_on_signals(stop: &Cancellation) -> std::io::Result<()> {
    for (kind, name) in [
        (SignalKind::terminate(), "SIGTERM"),
        (SignalKind::interrupt(), "SIGINT"),
    ] {
        let mut signals = signal(kind)?;
        let stop = stop.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                tracing::info!("{name}: stopping");
                stop.cancel(name);
            }
        });
    }
    Ok(())
}

/// Hands on every wish to read the configuration again; wishes that come while one waits are one.
fn reload_on_signal() -> std::io::Result<mpsc::Receiver<()>> {
    let mut signals = signal(SignalKind::hangup())?;
    let (wishes, reloads) = mpsc::channel(1);
    tokio::spawn(async move {
        while signals.recv().await.is_some() {
            tracing::info!("SIGHUP: reading the configuration again");
            let _ = wishes.try_send(());
        }
    });
    Ok(reloads)
}
