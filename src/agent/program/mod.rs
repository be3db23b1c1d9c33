//! The program `outpost-agent`: its command line, and what each of its commands does.
//!
//! One file per command; each has a [`Command`] that says everything about it (what it takes, its help, what runs it), and
//! [`COMMANDS`] lists them. `src/bin/outpost-agent.rs` only hands over the words and the outputs.
//!
//! Exit codes of all of them: [`DONE`], [`FAILED`], [`USAGE`].

mod accounts;
mod arguments;
mod attempt;
mod check;
mod devices;
mod help;
mod history;
mod journal;
mod rekey;
mod run;
mod safe;
mod setup;

use std::ffi::OsString;
use std::future::Future;
use std::pin::Pin;

use crate::console::Console;

pub use arguments::{BadArguments, Invocation};
pub use help::markdown;

/// It was done.
pub const DONE: u8 = 0;
/// It was not done, or was done badly.
pub const FAILED: u8 = 1;
/// The command line or the configuration can't be used.
pub const USAGE: u8 = 2;

/// Something that a command line can ask for.
#[derive(Clone, Copy)]
pub struct Command {
    /// The word that asks for it.
    pub name: &'static str,
    /// What follows the word, as a usage line shows it: `FUNCTION [ARGS…]`.
    pub operands: &'static str,
    /// Whether there may be operands; else they are refused by the parser.
    pub takes_operands: bool,
    /// One line: what it does.
    pub summary: &'static str,
    /// The rest of what people should know, in lines.
    pub text: &'static str,
    /// What it takes beside `--config` and `--help`.
    pub options: &'static [CommandOption],
    /// Does it, and tells the exit code.
    pub run: for<'a> fn(Invocation, &'a mut Console) -> Running<'a>,
}

/// A command at work.
pub type Running<'a> = Pin<Box<dyn Future<Output = u8> + 'a>>;

/// `--name [VALUE]`
#[derive(Debug, Clone, Copy)]
pub struct CommandOption {
    /// With its dashes.
    pub name: &'static str,
    /// What follows it, if something does.
    pub value: Option<&'static str>,
    /// One line: what it does.
    pub help: &'static str,
}

/// All commands, in the order in which the help shows them. The first is meant where none is named.
pub const COMMANDS: &[Command] = &[
    run::COMMAND,
    check::COMMAND,
    devices::COMMAND,
    attempt::COMMAND,
    history::COMMAND,
    journal::COMMAND,
    rekey::COMMAND,
    safe::COMMAND,
];

/// Does what the command line says, and tells the exit code.
pub fn main(words: impl Iterator<Item = OsString>, console: &mut Console) -> u8 {
    let invocation = match arguments::parse(COMMANDS, words) {
        Ok(arguments::Asked::Help(None)) => {
            console.bytes(help::overview(COMMANDS).as_bytes());
            return DONE;
        }
        Ok(arguments::Asked::Help(Some(command))) => {
            console.bytes(help::command(command).as_bytes());
            return DONE;
        }
        Ok(arguments::Asked::Version) => {
            console.line(format_args!("outpost-agent {}", env!("CARGO_PKG_VERSION")));
            return DONE;
        }
        Ok(arguments::Asked::Run(invocation)) => invocation,
        Err(problem) => {
            console.note(format_args!("outpost-agent: {problem}"));
            return USAGE;
        }
    };
    // One thread is enough: it waits most of the time.
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on((invocation.command.run)(invocation, console)),
        Err(error) => {
            console.note(format_args!("outpost-agent: can't start: {error}"));
            FAILED
        }
    }
}
