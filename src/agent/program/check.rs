//! `check`: what can be told without doing anything.

use super::setup::Setup;
use super::{Command, DONE, Invocation, USAGE};
use crate::console::Console;

pub(super) const COMMAND: Command = Command {
    name: "check",
    operands: "",
    takes_operands: false,
    summary: "Says whether the configuration can be used.",
    text: "",
    options: &[],
    run: |invocation, console| Box::pin(run(invocation, console)),
};

async fn run(invocation: Invocation, console: &mut Console) -> u8 {
    match Setup::read_or_tell(&invocation, console) {
        Some(_) => {
            console.line("the configuration can be used");
            DONE
        }
        None => USAGE,
    }
}
