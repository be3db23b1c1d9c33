//! `run`: the service.

use std::io::Write;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use super::setup::Setup;
use super::{Command, DONE, FAILED, Invocation, USAGE};
use crate::agent::backoff::system_random;
use crate::agent::service::Agent;
use crate::agent::settings::LogLevel;
use crate::clock::{SharedClock, SystemClock};
use crate::console::Console;
use crate::device::Cancellation;
use crate::device::gpio::SimulatedBoard;

pub(super) const COMMAND: Command = Command {
    name: "run",
    operands: "",
    takes_operands: false,
    summary: "Works until it is told to stop.",
    text: "It stops on SIGTERM or SIGINT: what runs may finish within agent.grace_time, then everything is made safe. Standard\n\
           output carries what machines read (`edge LINE on|off` of a simulated board), standard error the log.",
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
    show_edges(&board);
    let stop = Cancellation::new();
    // Before anything is driven: a signal from here on makes it safe.
    if let Err(error) = stop_on_signals(&stop) {
        console.note(format_args!("outpost-agent: can't listen for signals: {error}"));
        return FAILED;
    }
    match Agent::new(&setup.settings, setup.file(), clock, system_random(), &board) {
        Ok(agent) => {
            Box::pin(agent.run(stop)).await;
            DONE
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

/// Writes the edges of a simulated board to standard output, `edge LINE on|off`.
pub(super) fn show_edges(board: &SimulatedBoard) {
    board.on_edge(|edge| {
        // Whoever read this may be gone; the lamp does not care.
        let _ = writeln!(std::io::stdout(), "edge {} {}", edge.line, edge.level);
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
