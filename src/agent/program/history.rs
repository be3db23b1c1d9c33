//! `history`: what the journal remembers of what was done and of what was refused.

use super::setup::{Setup, complain};
use super::{Command, CommandOption, DONE, FAILED, Invocation, USAGE};
use crate::agent::journal::{self, Delivery, FolderStorage, HISTORY, Past};
use crate::console::Console;
use crate::console::table::table;
use crate::protocol::Time;

/// So many are shown where not all are asked for.
const SHOWN: usize = 20;

pub(super) const COMMAND: Command = Command {
    name: "history",
    operands: "",
    takes_operands: false,
    summary: "Tells what was done, for which process, and what was refused and why.",
    text: "The newest is last. It only reads the journal, beside a running service too. Times are what this machine's clock showed.",
    options: &[
        CommandOption {
            name: "--all",
            value: None,
            help: "everything that is kept, not only the last 20",
        },
        CommandOption {
            name: "--process",
            value: Some("ID"),
            help: "only of this process, by the first digits of its id; everything that is kept, with its whole id",
        },
        CommandOption {
            name: "--json",
            value: None,
            help: "for programs: an object in each line",
        },
    ],
    run: |invocation, console| Box::pin(run(invocation, console)),
};

async fn run(invocation: Invocation, console: &mut Console) -> u8 {
    let Some(setup) = Setup::read_or_tell(&invocation, console) else {
        return USAGE;
    };
    let folder = &setup.settings.agent.state_dir;
    let state = match journal::peek(&mut FolderStorage::look(folder)) {
        Ok((state, _)) => state,
        Err(error) => {
            return complain(
                console,
                FAILED,
                format_args!("{error} ({}); try it with sudo", folder.display()),
            );
        }
    };
    let process = invocation.value("--process");
    let all = invocation.has("--all") || process.is_some();
    let wanted: Vec<&Past> = state
        .history()
        .filter(|past| process.is_none_or(|id| past.attempt.process_id.starts_with(id)))
        .collect();
    let left_out = if all {
        0
    } else {
        wanted.len().saturating_sub(SHOWN)
    };
    let shown = &wanted[left_out..];
    if invocation.has("--json") {
        for past in shown {
            console.line(json(past));
        }
        return DONE;
    }
    if shown.is_empty() {
        console.line(match process {
            Some(id) => {
                format!("nothing is remembered of process {id} (of the last {HISTORY} attempts and refusals)")
            }
            None => "nothing yet".to_owned(),
        });
        return DONE;
    }
    let rows: Vec<[String; 5]> = shown.iter().map(|past| row(past, process.is_some())).collect();
    console.line(table(
        ["WHEN", "PROCESS", "ATTEMPT", "FUNCTION", "WHAT CAME OF IT"],
        &rows,
    ));
    if left_out > 0 {
        console.note(format_args!("{left_out} earlier ones: --all shows them"));
    }
    DONE
}

fn row(past: &Past, whole_id: bool) -> [String; 5] {
    let id = &past.attempt.process_id;
    let process = if whole_id {
        id.clone()
    } else {
        id.chars().take(12).collect()
    };
    let attempt = match past.refused {
        Some(_) => String::new(),
        None => past.attempt.number().to_string(),
    };
    [seconds(past.wall), process, attempt, function(past), result(past)]
}

fn function(past: &Past) -> String {
    let parts = [past.device.as_str(), past.verb.as_str()];
    let given: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    given.join(".")
}

fn result(past: &Past) -> String {
    if let Some(reason) = &past.refused {
        return format!("refused: {reason}");
    }
    match &past.delivery {
        Delivery::Nothing | Delivery::Taken => past.ended.to_string(),
        // That it was told is written with the next record only: until then nobody knows but the agent that runs.
        Delivery::Waiting => format!("{} (the server was perhaps not told yet)", past.ended),
        Delivery::Moot(reason) => format!("{} (the server was not told: {reason})", past.ended),
    }
}

fn json(past: &Past) -> serde_json::Value {
    serde_json::json!({
        "time": past.wall,
        "process": past.attempt.process_id,
        "attempt": past.refused.is_none().then(|| past.attempt.number()),
        "function": function(past),
        "refused": past.refused,
        "ended": past.refused.is_none().then(|| past.ended.to_string()),
        "server_knows": match past.delivery {
            Delivery::Taken => Some(true),
            Delivery::Moot(_) => Some(false),
            Delivery::Waiting | Delivery::Nothing => None,
        },
    })
}

/// Without the fraction, which would only make the table wide.
pub(super) fn seconds(moment: Time) -> String {
    let nanos = moment.unix_nanos();
    Time::from_unix_nanos(nanos - nanos.rem_euclid(1_000_000_000)).to_string()
}
