//! The operator's command line.

use std::process::ExitCode;

use outpost::cli;
use outpost::console::Console;

fn main() -> ExitCode {
    let environment = |name: &str| std::env::var(name).ok();
    ExitCode::from(cli::run(
        std::env::args_os(),
        &environment,
        &mut Console::system(),
    ))
}
