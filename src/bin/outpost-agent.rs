//! The worker on the device.

use std::process::ExitCode;

use outpost::agent::program;
use outpost::console::Console;

fn main() -> ExitCode {
    ExitCode::from(program::main(std::env::args_os().skip(1), &mut Console::system()))
}
