//! `safe`: every output to its safe level, for after the agent ended.

use std::io::Write;

use super::{Command, CommandOption, Invocation};
use crate::agent::safe;
use crate::console::Console;

pub(super) const COMMAND: Command = Command {
    name: "safe",
    operands: "",
    takes_operands: false,
    summary: "Drives every output to its safe level, whatever became of the agent.",
    text: "From the list that the last good start left in the state directory, so that it works when the configuration can't be read\n\
           any more. The service runs it after the agent ended (ExecStopPost=); after a stop that was asked for it drives the\n\
           levels of on_stop. Exits with 1 if an output is not as it is to be.",
    options: &[CommandOption {
        name: STATE_DIR,
        value: Some("DIR"),
        help: "where that list is; without it as the environment says, else /var/lib/outpost-agent",
    }],
    run: |invocation, console| Box::pin(run(invocation, console)),
};

const STATE_DIR: &str = "--state-dir";

async fn run(invocation: Invocation, console: &mut Console) -> u8 {
    let named = invocation.value(STATE_DIR).map(Into::into);
    // Whoever read this may be gone; the outputs do not care.
    let edge = &mut |line: &str| drop(writeln!(std::io::stdout(), "{line}"));
    let say = &mut |line: &str| console.note(line);
    safe::run(named, |name| std::env::var_os(name), edge, say).await
}
