//! The worker on the device: parses arguments, reads settings, runs [`outpost::agent::service::Agent`].
//!
//! Standard output carries what machines read (`edge LINE on|off` of the simulated board, with the time if
//! `gpio.edge_times`), standard error the log.

#![allow(clippy::print_stdout, clippy::print_stderr)] // a program prints

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use outpost::agent::backoff::system_random;
use outpost::agent::service::{self, Agent};
use outpost::agent::settings::{ENVIRONMENT, LogLevel, Settings};
use outpost::clock::{SharedClock, SystemClock};
use outpost::device::Cancellation;
use outpost::device::gpio::SimulatedBoard;
use tokio::signal::unix::{SignalKind, signal};

const HELP: &str = "\
Outpost agent: does the work of a Colonies server on this machine.

Usage: outpost-agent [--config FILE] [--check]

  --config FILE   the configuration (configs/agent.toml explains every key); the environment stands over it:
                  OUTPOST_AGENT__SECTION__KEY, for example OUTPOST_AGENT__SERVER__URL
  --check         say whether the configuration can be used, and exit: 0 yes, 2 no
  --help          this text
  --version       the version

It stops on SIGTERM or SIGINT: what runs may finish within agent.grace_time, then everything is made safe. Exit
codes: 0 stopped as told, 1 it could not start, 2 usage or configuration.
";

/// What the command line asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Arguments {
    config: Option<PathBuf>,
    check: bool,
    help: bool,
    version: bool,
}

impl Arguments {
    fn parse(words: impl Iterator<Item = OsString>) -> Result<Self, String> {
        let mut arguments = Arguments::default();
        let mut words = words;
        while let Some(word) = words.next() {
            match word.to_str() {
                Some("--config" | "-c") => {
                    let file = words.next().ok_or("--config needs the name of a file")?;
                    arguments.config = Some(file.into());
                }
                Some("--check") => arguments.check = true,
                Some("--help" | "-h") => arguments.help = true,
                Some("--version" | "-V") => arguments.version = true,
                Some(text) if text.starts_with("--config=") => {
                    arguments.config = Some(text["--config=".len()..].into());
                }
                _ => return Err(format!("unknown argument {word:?}")),
            }
        }
        Ok(arguments)
    }
}

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args_os().skip(1)) {
        Ok(arguments) => arguments,
        Err(problem) => {
            eprintln!("outpost-agent: {problem}; `outpost-agent --help` tells what there is");
            return ExitCode::from(2);
        }
    };
    if arguments.help {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    if arguments.version {
        println!("outpost-agent {}", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    }
    // One thread is enough: it waits most of the time.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(run(arguments)),
        Err(error) => {
            eprintln!("outpost-agent: can't start: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> ExitCode {
    let file = arguments.config.as_deref();
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let settings: Settings = match outpost::config::load(file, ENVIRONMENT, environment) {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("outpost-agent: {error}");
            return ExitCode::from(2);
        }
    };
    if let Err(error) = service::check(&settings, file) {
        let hint = match file {
            Some(_) => "",
            None => "; no configuration was named: outpost-agent --config FILE",
        };
        eprintln!("outpost-agent: {error}{hint}");
        return ExitCode::from(2);
    }
    if arguments.check {
        println!("the configuration can be used");
        return ExitCode::SUCCESS;
    }
    start_log(settings.agent.log);

    let clock: SharedClock = Arc::new(SystemClock);
    let board = SimulatedBoard::new(clock.clone());
    let times = settings.gpio.edge_times;
    board.on_edge(move |edge| {
        let time = if times {
            format!(" {}", edge.wall_nanos)
        } else {
            String::new()
        };
        // Whoever read this may be gone; the lamp does not care.
        let _ = writeln!(std::io::stdout(), "edge {} {}{time}", edge.line, edge.level);
    });
    let stop = Cancellation::new();
    // Before anything is driven: a signal from here on makes it safe.
    if let Err(error) = stop_on_signals(&stop) {
        eprintln!("outpost-agent: can't listen for signals: {error}");
        return ExitCode::FAILURE;
    }
    match Agent::new(&settings, file, clock, system_random(), &board) {
        Ok(agent) => {
            Box::pin(agent.run(stop)).await;
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("outpost-agent: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start_log(level: LogLevel) {
    tracing_subscriber::fmt()
        .with_max_level(level.as_tracing())
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}

/// Tells the agent to stop when the process is told to.
fn stop_on_signals(stop: &Cancellation) -> std::io::Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Arguments, String> {
        Arguments::parse(words.iter().map(OsString::from))
    }

    #[test]
    fn arguments_are_read_and_strange_ones_refused() {
        assert_eq!(parse(&[]), Ok(Arguments::default()));
        for words in [
            &["--config", "a b.toml", "--check"][..],
            &["--check", "--config=a b.toml"],
        ] {
            let arguments = parse(words).unwrap();
            assert_eq!(arguments.config, Some(PathBuf::from("a b.toml")));
            assert!(arguments.check);
        }
        assert!(parse(&["--config"]).unwrap_err().contains("name of a file"));
        assert!(parse(&["--conf", "x"]).unwrap_err().contains("--conf"));
        assert!(parse(&["agent.toml"]).is_err());
    }
}
