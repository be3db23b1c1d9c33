//! `rekey`: another identity for a machine whose card was cloned.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::setup::{Setup, as_owner_of, complain, explain_lock};
use super::{Command, CommandOption, DONE, FAILED, Invocation, USAGE};
use crate::agent::enrolment::add_command;
use crate::agent::journal::{self, FolderStorage};
use crate::agent::service::describe;
use crate::agent::settings::Settings;
use crate::console::Console;
use crate::keyfile;
use crate::protocol::model::Runtime;

pub(super) const COMMAND: Command = Command {
    name: "rekey",
    operands: "",
    takes_operands: false,
    summary: "Makes this machine another runtime: a new key, a new journal.",
    text: "For a card that was cloned or moved: two machines with one key would take each other's work. The old keys and the old\n\
           journal are kept, renamed to *.old. The service must be stopped, and the colony's owner has to let the new runtime in.",
    options: &[CommandOption {
        name: "--yes",
        value: None,
        help: "do it; without it nothing is changed",
    }],
    run: |invocation, console| Box::pin(run(invocation, console)),
};

async fn run(invocation: Invocation, console: &mut Console) -> u8 {
    let Some(setup) = Setup::read_or_tell(&invocation, console) else {
        return USAGE;
    };
    let settings = &setup.settings;
    if !invocation.has("--yes") {
        let key = settings.key_file();
        console.line(format_args!(
            "this would put {} and the journal in {} aside and make new ones, so that this machine is a new runtime; do it with \
             `outpost-agent rekey --yes`",
            key.display(),
            settings.agent.state_dir.display()
        ));
        return FAILED;
    }
    match rekey(settings) {
        Ok(ids) => {
            let mut runtime = describe(settings);
            let mut control = None;
            for (file, id) in ids {
                console.line(format_args!("new key {}: id {id}", file.display()));
                match file == settings.key_file() {
                    true => runtime.id = id,
                    false => control = Some(id),
                }
            }
            tell_what_is_left(settings, &runtime, control.as_deref(), console);
            DONE
        }
        Err(problem) => complain(console, FAILED, problem),
    }
}

fn tell_what_is_left(settings: &Settings, runtime: &Runtime, control: Option<&str>, console: &mut Console) {
    if settings.colony.key_file.is_some() {
        console.line("the agent adds itself at its next start, with [colony] key_file");
    } else {
        console.line(format_args!(
            "the colony's owner lets it in with: {}",
            add_command(runtime, control)
        ));
    }
    console.line("then start the service: sudo systemctl start outpost-agent");
}

/// Puts aside what was, and makes what is new; tells the new ids, the agent's own first.
fn rekey(settings: &Settings) -> Result<Vec<(PathBuf, String)>, String> {
    let folder = &settings.agent.state_dir;
    as_owner_of(folder, "rekey --yes")?;
    let mut storage = FolderStorage::lock(folder).map_err(|error| explain_lock(&error))?;
    let key = settings.key_file();
    let mut files = vec![key.clone()];
    files.extend(Some(settings.control_key_file()).filter(|control| control.exists()));
    let made: Result<Vec<_>, String> = files
        .into_iter()
        .map(|file| {
            put_aside(&file).map_err(|error| format!("can't put {} aside: {error}", file.display()))?;
            let key = keyfile::load_or_create(&file).map_err(|error| error.to_string())?;
            Ok((file, key.id()))
        })
        .collect();
    let made = made?;
    // Last: until then the journal is another machine's, and a rekey that was cut off can't be taken for a whole one.
    journal::start_over(&mut storage)
        .map_err(|error| format!("can't put the journal in {} aside: {error}", folder.display()))?;
    Ok(made)
}

/// Renames `x` to `x.old`; what was there before goes. None there is as good.
fn put_aside(file: &Path) -> io::Result<()> {
    let mut old = file.as_os_str().to_owned();
    old.push(".old");
    match fs::rename(file, PathBuf::from(old)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
