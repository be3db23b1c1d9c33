//! The operator's command line as a library: `src/bin/outpost.rs` only hands over arguments, environment and outputs.
//!
//! - [`args`]: what may stand on the command line
//! - [`settings`], [`mod@file`], [`keys`]: where the server is and who asks
//! - [`commands`]: what each command does
//! - [`submission`], [`watch`]: submitting once, waiting for the end
//! - [`demo`]: the other two programs as they really are, with a simulated lamp
//! - [`show`]: what people see (with [`crate::console`])

pub mod args;
pub mod commands;
pub mod demo;
mod environment;
pub mod error;
pub mod file;
pub mod keys;
pub mod settings;
pub mod show;
pub mod submission;
pub mod watch;

use std::ffi::OsString;

use clap::Parser;

use crate::console::Console;
use args::{Cli, Command};
use commands::Context;
use error::{CliError, DONE, REFUSED};
use settings::{Environment, Settings};

/// Does what the command line says, and tells the exit code.
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    environment: Environment<'_>,
    console: &mut Console,
) -> u8 {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers, not errors.
            let text = error.render().to_string();
            if error.use_stderr() {
                console.note(text.trim_end());
            } else {
                console.line(text.trim_end());
            }
            return u8::try_from(error.exit_code()).unwrap_or(error::USAGE);
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            console.note(format!(
                "outpost: the system gives no means to wait for input and output: {error}"
            ));
            return REFUSED;
        }
    };
    match runtime.block_on(Box::pin(perform(cli, environment, console))) {
        Ok(code) => code,
        Err(error) => {
            console.note(format!(
                "outpost: {}",
                crate::console::printable(&error.to_string())
            ));
            error.code()
        }
    }
}

async fn perform(cli: Cli, environment: Environment<'_>, console: &mut Console) -> Result<u8, CliError> {
    // What needs no settings works without them, and with broken ones.
    match cli.command {
        Command::Keys(command) => return commands::keys(command, cli.global.json, console),
        Command::Completions { shell } => {
            commands::completions(shell, console);
            return Ok(DONE);
        }
        Command::Demo(demo) => return demo::run(demo, console).await,
        Command::Vehicle(vehicle) => return commands::vehicle(*vehicle, cli.global.json, console).await,
        _ => {}
    }
    let settings = Settings::resolve(&cli.global, environment)?;
    let mut context = Context {
        settings,
        json: cli.global.json,
        user: environment("USER").unwrap_or_default(),
        console,
    };
    match cli.command {
        Command::Operator(command) => commands::operator(command, &mut context).await,
        Command::Colony(command) => commands::colony(command, &mut context).await,
        Command::Runtime(command) => commands::runtime(command, &mut context).await,
        Command::Submit(submit) => commands::submit(submit, &mut context).await,
        Command::Run(run) => commands::run(run, &mut context).await,
        Command::Get(get) => commands::get(get, &mut context).await,
        Command::Ps(ps) => commands::ps(ps, &mut context).await,
        Command::Keys(_) | Command::Completions { .. } | Command::Demo(_) | Command::Vehicle(_) => Ok(DONE),
    }
}
