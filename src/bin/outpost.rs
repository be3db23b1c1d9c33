//! The operator's command line.

use std::process::ExitCode;

use outpost::cli;
use outpost::console::{self, Console};

fn main() -> ExitCode {
    console::abort_on_panic();
    let environment = |name: &str| std::env::var(name).ok();
    ExitCode::from(cli::run(
        std::env::args_os(),
        &environment,
        &mut Console::system(),
    ))
}
