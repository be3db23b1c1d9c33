//! `devices`: what can be called, from the configuration alone.

use std::sync::Arc;

use super::setup::{Setup, complain};
use super::{Command, DONE, Invocation, USAGE};
use crate::agent::registry::{Function, Registry};
use crate::agent::settings::Settings;
use crate::clock::{SharedClock, SystemClock};
use crate::console::Console;
use crate::console::table::table;
use crate::device::duration::format_duration;
use crate::device::{Effect, Urgency};

pub(super) const COMMAND: Command = Command {
    name: "devices",
    operands: "",
    takes_operands: false,
    summary: "Lists what processes may call: every verb of every device.",
    text: "Read from the configuration; no hardware is touched.\n\
           \n\
           EFFECT   read: changes nothing; set: doing it twice is as good as once; once: begun at most once per process\n\
           URGENCY  work: waits for the device; query: answered beside whatever runs; preempt: stops what runs\n\
           AT MOST  the longest it may take, whatever the process allows",
    options: &[],
    run: |invocation, console| Box::pin(run(invocation, console)),
};

async fn run(invocation: Invocation, console: &mut Console) -> u8 {
    let Some(setup) = Setup::read_or_tell(&invocation, console) else {
        return USAGE;
    };
    match registry(&setup.settings) {
        Ok(registry) => {
            console.line(listing(&setup.settings, &registry));
            DONE
        }
        Err(error) => complain(console, USAGE, error),
    }
}

/// The functions that the agent would have, on a simulated board.
pub(super) fn registry(settings: &Settings) -> Result<Registry, String> {
    let clock: SharedClock = Arc::new(SystemClock);
    crate::agent::devices::rehearse(settings, &clock).map_err(|error| error.to_string())
}

fn listing(settings: &Settings, registry: &Registry) -> String {
    let of = |name: &str| registry.find(name).ok();
    let (aliases, functions): (Vec<&Function>, Vec<&Function>) = registry
        .names()
        .filter_map(of)
        .partition(|function| settings.functions.contains_key(&function.name));
    let mut rows: Vec<[String; 6]> = functions
        .iter()
        .map(|function| {
            let named = format!("{} {}", function.name, function.verb.usage);
            row(named.trim_end().to_owned(), function)
        })
        .collect();
    // Last, as it is asked last.
    rows.extend(
        registry
            .catch_all()
            .map(|function| row("any other".to_owned(), function)),
    );
    let mut text = table(
        ["FUNCTION", "KIND", "EFFECT", "URGENCY", "AT MOST", "HELP"],
        &rows,
    );
    if !aliases.is_empty() {
        let rows: Vec<[String; 2]> = aliases
            .iter()
            .map(|function| {
                let stands_for = format!("{} {}", own_name(function), function.default_args.join(" "));
                [function.name.clone(), stands_for.trim_end().to_owned()]
            })
            .collect();
        text = format!("{text}\n\n{}", table(["FURTHER NAME", "STANDS FOR"], &rows));
    }
    text
}

fn row(called: String, function: &Function) -> [String; 6] {
    [
        called,
        function.device.kind().to_owned(),
        effect(function).to_owned(),
        urgency(function.verb.urgency).to_owned(),
        format_duration(function.verb.max_time),
        function.verb.help.to_string(),
    ]
}

/// What the function is called where it has no further name.
fn own_name(function: &Function) -> String {
    let (device, verb) = (function.device.name(), &function.verb.name);
    // The builtin ones are called by their verb alone.
    if device == verb {
        device.to_owned()
    } else {
        format!("{device}.{verb}")
    }
}

fn effect(function: &Function) -> &'static str {
    match function.verb.effect {
        Effect::Read => "read",
        Effect::Set => "set",
        Effect::Once if function.rules.repeat => "once, may repeat",
        Effect::Once => "once",
    }
}

fn urgency(urgency: Urgency) -> &'static str {
    match urgency {
        Urgency::Work => "work",
        Urgency::Query => "query",
        Urgency::Preempt => "preempt",
    }
}
