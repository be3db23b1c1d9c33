use std::path::Path;

use super::super::Running;
use super::*;
use crate::console::Console;

fn nothing(_: Invocation, _: &mut Console) -> Running<'_> {
    Box::pin(async { 0 })
}

const RUN: Command = Command {
    name: "run",
    operands: "",
    takes_operands: false,
    summary: "",
    text: "",
    options: &[],
    run: nothing,
};

const COMMANDS: &[Command] = &[
    RUN,
    Command {
        name: "try",
        takes_operands: true,
        options: &[
            CommandOption {
                name: "--hold",
                value: Some("DURATION"),
                help: "",
            },
            CommandOption {
                name: "--yes",
                value: None,
                help: "",
            },
        ],
        ..RUN
    },
];

fn asked(words: &[&str]) -> Result<Asked, BadArguments> {
    parse(COMMANDS, words.iter().map(OsString::from))
}

fn run(words: &[&str]) -> Invocation {
    match asked(words) {
        Ok(Asked::Run(invocation)) => invocation,
        Ok(_) => panic!("{words:?}: help or version"),
        Err(error) => panic!("{words:?}: {error}"),
    }
}

#[test]
fn without_a_command_the_first_is_meant() {
    for words in [
        &[][..],
        &["--config", "a b.toml"],
        &["run", "-c", "a b.toml"],
        &["--config=a b.toml"],
    ] {
        let invocation = run(words);
        assert_eq!(invocation.command.name, "run");
        let config = words.len().min(1);
        assert_eq!(
            invocation.config.as_deref(),
            [None, Some(Path::new("a b.toml"))][config]
        );
    }
}

#[test]
fn options_may_stand_anywhere_and_what_follows_two_dashes_is_none() {
    let invocation = run(&[
        "try", "lamp.dim", "--hold", "3s", "-5", "--yes", "--", "--hold", "-x",
    ]);
    assert_eq!(invocation.command.name, "try");
    assert_eq!(invocation.operands, ["lamp.dim", "-5", "--hold", "-x"]);
    assert_eq!(invocation.value("--hold"), Some("3s"));
    assert!(invocation.has("--yes") && !invocation.has("--no"));
    assert_eq!(
        run(&["try", "--hold=1", "--hold=2"]).value("--hold"),
        Some("2"),
        "the last one counts"
    );
}

#[test]
fn help_and_version_win() {
    assert!(matches!(asked(&["--help"]), Ok(Asked::Help(None))));
    assert!(matches!(asked(&["try", "x", "-h"]), Ok(Asked::Help(Some(command))) if command.name == "try"));
    assert!(matches!(asked(&["--version"]), Ok(Asked::Version)));
}

#[test]
fn what_is_not_understood_is_named() {
    for (words, expected) in [
        (&["rnu"][..], "did you mean `run`?"),
        (&["agent.toml"], "there is no command \"agent.toml\";"),
        (&["--conf", "x"], "run: unknown option \"--conf\""),
        (&["--check"], "--check"),
        (&["run", "x"], "unexpected \"x\""),
        (&["--config"], "--config needs a value: --config FILE"),
        (&["try", "--hold"], "--hold needs a value: --hold DURATION"),
        (&["try", "--yes=1"], "--yes takes no value"),
    ] {
        let Err(error) = asked(words) else {
            panic!("{words:?} was understood")
        };
        assert!(error.to_string().contains(expected), "{words:?}: {error}");
    }
}

/// What documents tell people to type is understood.
#[test]
fn what_the_documents_tell_to_type_is_understood() {
    let mut typed = 0;
    for page in [
        include_str!("../../../README.md"),
        include_str!("../../../docs/agent.md"),
        include_str!("../../../docs/drone.md"),
        include_str!("../../../docs/inputs.md"),
        include_str!("../../../docs/outputs.md"),
        include_str!("../../../docs/safety.md"),
        include_str!("../../../docs/service.md"),
        include_str!("../../../systemd/README.md"),
    ] {
        for piece in page.lines().chain(page.split('`')) {
            let line = piece.trim_start_matches("sudo -u outpost-agent ");
            let Some(words) = line.strip_prefix("outpost-agent ") else {
                continue;
            };
            // The first line alone, without a comment.
            let words = words.lines().next().unwrap().split('#').next().unwrap();
            if words.contains('`') {
                // A line of prose; its pieces come by themselves.
                continue;
            }
            let understood = parse(
                super::super::COMMANDS,
                words.split_whitespace().map(OsString::from),
            );
            assert!(understood.is_ok(), "{line}: {}", understood.err().unwrap());
            typed += 1;
        }
    }
    assert!(
        typed > 8,
        "only {typed} seen: is the test looking in the right places?"
    );
}
