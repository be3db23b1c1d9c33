//! The worker on the device.

use std::process::ExitCode;

use outpost::agent::program;
use outpost::console::{self, Console};

fn main() -> ExitCode {
    console::abort_on_panic();
    ExitCode::from(program::main(std::env::args_os().skip(1), &mut Console::system()))
}
