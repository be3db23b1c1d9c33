//! Reading the command line: `outpost-agent [COMMAND] [OPTIONS] [OPERANDS…]`.
//!
//! By hand, since what a parser library brings would be a tenth of this program.

use std::ffi::OsString;
use std::path::PathBuf;

use super::{Command, CommandOption};

/// What every command takes.
pub(super) const COMMON: &[CommandOption] = &[
    CommandOption {
        name: "--config",
        value: Some("FILE"),
        help: "the configuration; without it /etc/outpost/agent.toml, if that is there",
    },
    CommandOption {
        name: "--help",
        value: None,
        help: "what there is; after a command, what that takes",
    },
];

/// A command line that was understood.
pub enum Asked {
    /// Help about one command, or all.
    Help(Option<&'static Command>),
    /// Which version this is.
    Version,
    /// To do something.
    Run(Invocation),
}

/// A command with what stands behind it.
pub struct Invocation {
    /// The command.
    pub command: &'static Command,
    /// `--config`
    pub config: Option<PathBuf>,
    /// The options that were given, each with its value (empty if it has none).
    options: Vec<(&'static str, String)>,
    /// What is no option, in order.
    pub operands: Vec<String>,
}

impl Invocation {
    /// Whether the option was given.
    pub fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// The value of an option; the last one, if it was given more than once.
    pub fn value(&self, name: &str) -> Option<&str> {
        let of_that_name = |(option, _): &&(&str, String)| *option == name;
        self.options
            .iter()
            .rev()
            .find(of_that_name)
            .map(|(_, value)| value.as_str())
    }
}

/// A command line that can't be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadArguments {
    /// The first word is no command.
    #[error("there is no command {word:?}{}; `outpost-agent --help` tells what there is", meant(suggestion.as_deref()))]
    UnknownCommand {
        /// What stands there.
        word: String,
        /// What was perhaps meant.
        suggestion: Option<&'static str>,
    },
    /// An option that the command does not have.
    #[error(
        "{command}: unknown option {word:?}; `outpost-agent {command} --help` tells what there is (and `--` goes before \
         operands that begin with a dash)"
    )]
    UnknownOption {
        /// Of which command.
        command: &'static str,
        /// What stands there.
        word: String,
    },
    /// The value is missing.
    #[error("{option} needs a value: {option} {value}")]
    NoValue {
        /// The option.
        option: &'static str,
        /// What is needed.
        value: &'static str,
    },
    /// A value where none belongs.
    #[error("{option} takes no value")]
    Value {
        /// The option.
        option: &'static str,
    },
    /// A word where none belongs.
    #[error("{command}: unexpected {word:?}; `outpost-agent {command} --help` tells what there is")]
    Operand {
        /// The command.
        command: &'static str,
        /// What stands there.
        word: String,
    },
    /// No text.
    #[error("{0:?} is not UTF-8")]
    NoText(OsString),
}

fn meant(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

/// Understands a command line. Without a command the first of `commands` is meant.
///
/// # Errors
/// [`BadArguments`]
pub fn parse(
    commands: &'static [Command],
    words: impl Iterator<Item = OsString>,
) -> Result<Asked, BadArguments> {
    let mut words = words.peekable();
    let named = words
        .peek()
        .and_then(|word| word.to_str())
        .filter(|word| !word.starts_with('-'))
        .map(str::to_owned);
    let command = match &named {
        None => &commands[0],
        Some(word) => {
            words.next();
            commands
                .iter()
                .find(|command| command.name == word)
                .ok_or_else(|| unknown_command(commands, word))?
        }
    };
    let mut invocation = Invocation {
        command,
        config: None,
        options: Vec::new(),
        operands: Vec::new(),
    };
    let mut only_operands = false;
    while let Some(word) = words.next() {
        let (name, inline) = match word.to_str() {
            // The name of a file need not be text.
            None => return Err(BadArguments::NoText(word)),
            Some(text) if only_operands || !looks_like_option(text) => {
                if !command.takes_operands {
                    return Err(BadArguments::Operand {
                        command: command.name,
                        word: text.to_owned(),
                    });
                }
                invocation.operands.push(text.to_owned());
                continue;
            }
            Some("--") => {
                only_operands = true;
                continue;
            }
            Some("-c") => ("--config", None),
            Some("-h") => ("--help", None),
            Some("-V" | "--version") => return Ok(Asked::Version),
            Some(text) => match text.split_once('=') {
                Some((name, value)) => (name, Some(OsString::from(value))),
                None => (text, None),
            },
        };
        let option = COMMON
            .iter()
            .chain(command.options)
            .find(|option| option.name == name)
            .ok_or_else(|| BadArguments::UnknownOption {
                command: command.name,
                word: name.to_owned(),
            })?;
        let value = match (option.value, inline) {
            (None, None) => OsString::new(),
            (None, Some(_)) => return Err(BadArguments::Value { option: option.name }),
            (Some(_), Some(value)) => value,
            (Some(value), None) => words.next().ok_or(BadArguments::NoValue {
                option: option.name,
                value,
            })?,
        };
        match option.name {
            "--help" => return Ok(Asked::Help(named.map(|_| command))),
            "--config" => invocation.config = Some(value.into()),
            name => {
                let value = value.into_string().map_err(BadArguments::NoText)?;
                invocation.options.push((name, value));
            }
        }
    }
    Ok(Asked::Run(invocation))
}

/// A number below zero is an operand.
fn looks_like_option(word: &str) -> bool {
    word.strip_prefix('-')
        .is_some_and(|rest| rest.starts_with(|first: char| !first.is_ascii_digit() && first != '.'))
}

fn unknown_command(commands: &'static [Command], word: &str) -> BadArguments {
    // A slip or two of the finger, in words that are long enough for it.
    let suggestion = commands
        .iter()
        .map(|command| (strsim::osa_distance(word, command.name), command.name))
        .filter(|(distance, name)| *distance <= 2 && distance + 1 < name.len())
        .min()
        .map(|(_, name)| name);
    BadArguments::UnknownCommand {
        word: word.to_owned(),
        suggestion,
    }
}

#[cfg(test)]
#[path = "arguments_tests.rs"]
mod tests;
