//! What `--help` says, and the same for docs/agent.md: both are made from [`super::COMMANDS`].

use std::fmt::Write as _;

use super::arguments::COMMON;
use super::{COMMANDS, Command, CommandOption};

const HEAD: &str = "\
Outpost agent: does the work of a Colonies server on this machine.

Usage: outpost-agent [COMMAND] [OPTIONS]
";

const FOOT: &str = "
configs/agent.toml explains every key of the configuration; the environment stands over it: OUTPOST_AGENT__SECTION__KEY,
for example OUTPOST_AGENT__SERVER__URL. Exit codes: 0 done, 1 not done, 2 usage or configuration.
";

/// The help about everything.
pub(super) fn overview(commands: &[Command]) -> String {
    let mut text = format!("{HEAD}\nCommands; without one it is `{}`:\n", commands[0].name);
    let rows: Vec<_> = commands
        .iter()
        .map(|command| (usage(command), command.summary))
        .collect();
    columns(&mut text, &rows);
    text.push_str("\nOptions:\n");
    let version = CommandOption {
        name: "--version",
        value: None,
        help: "the version",
    };
    options(&mut text, COMMON.iter().chain([&version]));
    text.push_str(FOOT);
    text
}

/// The help about one command.
pub(super) fn command(command: &Command) -> String {
    let mut text = format!(
        "{}\n\nUsage: outpost-agent {} [OPTIONS]\n",
        command.summary,
        usage(command)
    );
    if !command.text.is_empty() {
        let _ = writeln!(text, "\n{}", command.text);
    }
    text.push_str("\nOptions:\n");
    options(&mut text, command.options.iter().chain(COMMON));
    text
}

fn usage(command: &Command) -> String {
    format!("{} {}", command.name, command.operands)
        .trim_end()
        .to_owned()
}

fn options<'a>(text: &mut String, options: impl Iterator<Item = &'a CommandOption>) {
    let rows: Vec<_> = options
        .map(|option| (option_usage(option), option.help))
        .collect();
    columns(text, &rows);
}

fn option_usage(option: &CommandOption) -> String {
    match option.value {
        Some(value) => format!("{} {value}", option.name),
        None => option.name.to_owned(),
    }
}

fn columns(text: &mut String, rows: &[(String, &str)]) {
    let width = rows
        .iter()
        .map(|(left, _)| left.chars().count())
        .max()
        .unwrap_or(0);
    for (left, right) in rows {
        let _ = writeln!(text, "  {left:width$}  {right}");
    }
}

/// The help of every command as docs/agent.md shows it; a test compares.
pub fn markdown() -> String {
    let mut text = String::new();
    for each in COMMANDS {
        let _ = writeln!(text, "### {}\n\n```text\n{}```\n", each.name, command(each));
    }
    text
}
