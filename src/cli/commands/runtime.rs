//! `outpost runtime …`, and finding runtimes by what people call them.

use super::Context;
use crate::cli::args::{RuntimeCommand, Which};
use crate::cli::error::{CliError, DONE};
use crate::cli::show::{self, short};
use crate::protocol::control::{control_lane, control_of};
use crate::protocol::identity::ID_LENGTH;
use crate::protocol::model::{Runtime, RuntimeState};
use crate::protocol::{Answer, Refusal};

/// `outpost runtime …`
pub async fn runtime(command: RuntimeCommand, context: &mut Context<'_>) -> Result<u8, CliError> {
    match command {
        RuntimeCommand::Add {
            id,
            name,
            runtime_type,
            control_id,
            approve,
        } => {
            let mut wanted = vec![(id, name.clone(), runtime_type.clone())];
            wanted.extend(control_id.map(|id| (id, control_of(&name), control_of(&runtime_type))));
            add_all(wanted, approve, context).await
        }
        RuntimeCommand::List => list(context).await,
        RuntimeCommand::Approve(which) => change(which, Change::Approve, context).await,
        RuntimeCommand::Reject(which) => change(which, Change::Reject, context).await,
        RuntimeCommand::Delete(which) => change(which, Change::Delete, context).await,
    }
}

/// Adds a runtime and perhaps its control lane: id, name and type of each.
async fn add_all(
    wanted: Vec<(String, String, String)>,
    approve: bool,
    context: &mut Context<'_>,
) -> Result<u8, CliError> {
    let mut added = Vec::new();
    for (id, name, runtime_type) in wanted {
        added.push(add(id, name, runtime_type, approve, context).await?);
    }
    let line = |runtime: &Runtime| format!("{} {}", runtime.id, show::runtime_state(runtime.state));
    let lines: Vec<String> = added.iter().map(line).collect();
    // For machines one runtime is an object, as the server answers it.
    let answer = match <[Runtime; 1]>::try_from(added) {
        Ok([one]) => Answer::Runtime(one),
        Err(several) => Answer::Runtimes(several),
    };
    context.answer(&answer, || lines.join("\n"));
    Ok(DONE)
}

async fn add(
    id: String,
    name: String,
    runtime_type: String,
    approve: bool,
    context: &mut Context<'_>,
) -> Result<Runtime, CliError> {
    if id.len() != ID_LENGTH || !id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(CliError::usage(format!(
            "{id:?} is not the id of a runtime; ids have {ID_LENGTH} lower-case hex digits, the agent prints its own"
        )));
    }
    let owner = context.settings.as_colony_owner()?;
    let colony_id = context.settings.colony()?;
    let wanted = Runtime {
        id,
        runtime_type,
        name,
        colony_id: colony_id.clone(),
        ..Runtime::default()
    };
    let mut runtime = match owner.add_runtime(&wanted).await {
        Ok(runtime) => runtime.value,
        // The very same one may be added again: whoever repeats a command wants what it says.
        Err(error) if matches!(error.refusal(), Some(Refusal::Duplicate { .. })) => {
            let there = owner.get_runtimes(&colony_id).await?.value;
            match there.into_iter().find(|runtime| runtime.id == wanted.id) {
                Some(same) if (&same.name, &same.runtime_type) == (&wanted.name, &wanted.runtime_type) => {
                    context.console.note("this runtime is there already");
                    same
                }
                Some(other) => {
                    return Err(CliError::Unfinished(format!(
                        "the runtime {} is there already as {:?} of type {:?}; delete it first (outpost runtime delete {})",
                        short(&wanted.id),
                        other.name,
                        other.runtime_type,
                        short(&wanted.id)
                    )));
                }
                None => {
                    return Err(CliError::Unfinished(format!(
                        "the runtime {} belongs to another colony of this server; an agent needs a key of its own for each colony",
                        short(&wanted.id)
                    )));
                }
            }
        }
        Err(error) => return Err(error.into()),
    };
    if approve && runtime.state != RuntimeState::Approved {
        owner.approve_runtime(&runtime.id).await?;
        runtime.state = RuntimeState::Approved;
    }
    if runtime.state != RuntimeState::Approved {
        context.console.note(format!(
            "it may work after: outpost runtime approve {}",
            short(&runtime.id)
        ));
    }
    Ok(runtime)
}

async fn list(context: &mut Context<'_>) -> Result<u8, CliError> {
    let colony = context.settings.colony()?;
    let runtimes = context
        .settings
        .as_owner_or_operator()?
        .get_runtimes(&colony)
        .await?
        .value;
    let table = show::runtimes(&runtimes);
    context.answer(&Answer::Runtimes(runtimes), || table);
    Ok(DONE)
}

#[derive(Clone, Copy)]
enum Change {
    Approve,
    Reject,
    Delete,
}

async fn change(which: Which, change: Change, context: &mut Context<'_>) -> Result<u8, CliError> {
    let owner = context.settings.as_colony_owner()?;
    let colony = context.settings.colony()?;
    let runtimes = owner.get_runtimes(&colony).await?.value;
    // All are found before any is changed.
    let mut chosen: Vec<Runtime> = Vec::new();
    for word in &which.runtimes {
        let runtime = the_one(word, &runtimes)?;
        // Whoever names an agent means its control lane as well; whoever gives an id means that.
        let control = control_lane(runtime, &runtimes).filter(|_| runtime.name == *word);
        for runtime in [Some(runtime), control].into_iter().flatten() {
            if chosen.iter().all(|other| other.id != runtime.id) {
                chosen.push(runtime.clone());
            }
        }
    }
    for runtime in &mut chosen {
        let word = match change {
            Change::Approve => {
                owner.approve_runtime(&runtime.id).await?;
                runtime.state = RuntimeState::Approved;
                "approved"
            }
            Change::Reject => {
                owner.reject_runtime(&runtime.id).await?;
                runtime.state = RuntimeState::Rejected;
                "rejected"
            }
            Change::Delete => {
                owner.delete_runtime(&runtime.id).await?;
                "deleted"
            }
        };
        if !context.json {
            context.console.line(format!(
                "{word} {} {}",
                runtime.id,
                crate::console::printable(&runtime.name)
            ));
        }
    }
    if context.json {
        context.answer(&Answer::Runtimes(chosen), String::new);
    }
    Ok(DONE)
}

/// The fewest digits that may stand for an id.
const FEWEST_DIGITS: usize = 4;

/// Whom a word names: the runtimes of that name, else those whose id begins so.
pub(super) fn named<'a>(word: &str, runtimes: &'a [Runtime]) -> Vec<&'a Runtime> {
    let by_name: Vec<&Runtime> = runtimes.iter().filter(|runtime| runtime.name == word).collect();
    if !by_name.is_empty() || word.len() < FEWEST_DIGITS {
        return by_name;
    }
    runtimes
        .iter()
        .filter(|runtime| runtime.id.starts_with(word))
        .collect()
}

/// The candidates of an ambiguous word, for a message.
pub(super) fn candidates(runtimes: &[&Runtime]) -> String {
    let each: Vec<String> = runtimes
        .iter()
        .map(|runtime| {
            format!(
                "{} ({}, {})",
                short(&runtime.id),
                runtime.runtime_type,
                show::runtime_state(runtime.state)
            )
        })
        .collect();
    each.join(", ")
}

/// The one runtime that a word names.
fn the_one<'a>(word: &str, runtimes: &'a [Runtime]) -> Result<&'a Runtime, CliError> {
    match named(word, runtimes)[..] {
        [one] => Ok(one),
        [] => Err(CliError::usage(format!(
            "no runtime is called {word:?} or has an id that begins so; outpost runtime list shows all"
        ))),
        ref several => Err(CliError::usage(format!(
            "{word:?} is ambiguous: {}; name one by its id",
            candidates(several)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtimes() -> Vec<Runtime> {
        [
            ("aaaa1111", "lamp"),
            ("aaaa2222", "lamp"),
            ("bbbb3333", "aaaa1111"),
        ]
        .into_iter()
        .map(|(id, name)| Runtime {
            id: id.to_owned(),
            name: name.to_owned(),
            ..Runtime::default()
        })
        .collect()
    }

    #[test]
    fn a_runtime_is_named_by_its_name_or_the_beginning_of_its_id() {
        let all = runtimes();
        assert_eq!(the_one("bbbb", &all).unwrap().id, "bbbb3333");
        assert_eq!(the_one("aaaa2", &all).unwrap().id, "aaaa2222");
        assert_eq!(
            the_one("aaaa1111", &all).unwrap().id,
            "bbbb3333",
            "a name stands over an id"
        );
        for (word, text) in [
            ("aaaa", "ambiguous: aaaa1111 ("),
            ("lamp", "ambiguous"),
            ("bbb", "no runtime"),
            ("dock", "no runtime"),
        ] {
            let error = the_one(word, &all).unwrap_err().to_string();
            assert!(error.contains(text), "{word}: {error}");
        }
    }
}
