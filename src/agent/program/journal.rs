//! `journal`: how the journal is, and the owner's word that it can be trusted again.

use super::history::seconds;
use super::setup::{Setup, as_owner_of, complain, explain_lock, open_journal};
use super::{Command, DONE, FAILED, Invocation, USAGE};
use crate::agent::journal::{self, FolderStorage, Health, Limits, Opening, State};
use crate::agent::service::this_machine;
use crate::agent::settings::Settings;
use crate::clock::{Clock, SystemClock};
use crate::console::Console;
use crate::console::table::list;
use crate::protocol::Time;

pub(super) const COMMAND: Command = Command {
    name: "journal",
    operands: "[accept]",
    takes_operands: true,
    summary: "Shows how the journal is; `accept` has it trusted again.",
    text: "The journal remembers what was begun, so that nothing is done twice. After damage or loss it can't know all, and verbs\n\
           that may be done once only are refused. `journal accept`, with the service stopped, says that this is all right: look at\n\
           `outpost-agent history` and at the devices first. It also forgets the last good time, which a server whose clock is\n\
           far ahead may have set.",
    options: &[],
    run: |invocation, console| Box::pin(run(invocation, console)),
};

async fn run(invocation: Invocation, console: &mut Console) -> u8 {
    let accept = match invocation.operands.as_slice() {
        [] => false,
        [word] if word == "accept" => true,
        _ => {
            return complain(
                console,
                USAGE,
                "journal: write `outpost-agent journal` or `outpost-agent journal accept`",
            );
        }
    };
    let Some(setup) = Setup::read_or_tell(&invocation, console) else {
        return USAGE;
    };
    let done = if accept {
        accept_journal(&setup.settings, console)
    } else {
        show(&setup.settings, console)
    };
    match done {
        Ok(()) => DONE,
        Err(problem) => complain(console, FAILED, problem),
    }
}

fn show(settings: &Settings, console: &mut Console) -> Result<(), String> {
    let folder = &settings.agent.state_dir;
    let (state, opening) = journal::peek(&mut FolderStorage::look(folder))
        .map_err(|error| format!("{error} ({}); try it with sudo", folder.display()))?;
    let size = std::fs::metadata(folder.join(journal::FILE)).map_or(0, |file| file.len());
    console.line(list(&facts(&state, &opening, size)));
    Ok(())
}

/// How it is, line by line.
fn facts(state: &State, opening: &Opening, size: u64) -> Vec<(&'static str, String)> {
    let limits = Limits::default();
    let opened = match state.opened() {
        _ if opening.fresh => "never: there is none yet".to_owned(),
        None => "unknown".to_owned(),
        Some(opened) if opened.machine == this_machine() => seconds(opened.at.wall),
        Some(opened) => format!(
            "{}, on another machine: `outpost-agent rekey` gives this one its own key and journal",
            seconds(opened.at.wall)
        ),
    };
    vec![
        ("first opened in its boot", opened),
        ("trusted", trust(state, opening)),
        ("size", format!("{size} bytes")),
        (
            "marks of once verbs",
            format!("{} of at most {}", state.marks(), limits.marks),
        ),
        (
            "waiting for the server",
            format!(
                "{} result(s), {} bytes; at most {} and {}",
                state.outbox().len(),
                state.outbox_bytes(),
                limits.waiting,
                limits.waiting_bytes
            ),
        ),
        ("begun and not ended", format!("{}", state.unfinished().len())),
        (
            "last good time",
            state
                .last_good_time()
                .map_or_else(|| "none yet".to_owned(), seconds),
        ),
        ("days seen", state.days().to_string()),
    ]
}

fn trust(state: &State, opening: &Opening) -> String {
    const REMEDY: &str = "verbs that may be done once only are refused; look at `outpost-agent history` and at the \
                          devices, then `outpost-agent journal accept`";
    // What the service has not opened yet tells nobody but us.
    let found = if opening.missing {
        Some("the journal is missing, though there was one".to_owned())
    } else if opening.damage.is_some() {
        Some("the journal is damaged".to_owned())
    } else {
        state.distrust().map(ToString::to_string)
    };
    found.map_or_else(|| "yes".to_owned(), |why| format!("no: {why}; {REMEDY}"))
}

fn accept_journal(settings: &Settings, console: &mut Console) -> Result<(), String> {
    let folder = &settings.agent.state_dir;
    if !folder.is_dir() {
        return Err(format!(
            "there is no {}: there is nothing to accept",
            folder.display()
        ));
    }
    as_owner_of(folder, "journal accept")?;
    let storage = FolderStorage::lock(folder).map_err(|error| explain_lock(&error))?;
    let clock = SystemClock;
    let (mut journal, _) = open_journal(Box::new(storage), &clock).map_err(|error| error.to_string())?;
    if let Health::Unreadable(error) | Health::WriteFailed(error) = journal.health() {
        return Err(error.to_string());
    }
    match journal.state().distrust() {
        None => console.line("the journal was trusted already"),
        Some(why) => console.line(format_args!("not trusted: {why}")),
    }
    if let Some(time) = journal.state().last_good_time() {
        console.line(format_args!("forgotten: the last good time, {}", seconds(time)));
    }
    journal
        .accept(Time::from_unix_nanos(clock.wall_nanos()))
        .map_err(|error| error.to_string())?;
    console
        .line("accepted: verbs that may be done once only can begin again; what the journal knows it keeps");
    Ok(())
}
