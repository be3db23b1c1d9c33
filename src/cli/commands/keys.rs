//! `outpost keys …`

use super::object;
use crate::cli::args::KeysCommand;
use crate::cli::error::{CliError, DONE};
use crate::cli::keys;
use crate::console::Console;

/// `outpost keys …`; needs no server.
pub fn keys(command: KeysCommand, json: bool, console: &mut Console) -> Result<u8, CliError> {
    let id = match command {
        KeysCommand::New { file } => keys::make(&file)?.id(),
        KeysCommand::Id { file } => keys::read(&file)?.id(),
    };
    if json {
        console.line(object(&[("id", &id)]));
    } else {
        console.line(id);
    }
    Ok(DONE)
}
